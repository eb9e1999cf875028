"""The bus of a network on a NATS broker with JetStream: one link after the other, endlessly."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from p2ptui.bounded import BoundedTable
from p2ptui.config.broker_url import reached_broker
from p2ptui.config.cluster_section import ClusterOptions
from p2ptui.core.cluster.bus import Heard, Order
from p2ptui.io.ended import end_tasks
from p2ptui.io.nats_names import Names
from p2ptui.io.nats_trouble import AWAY_S, INSTALL, REFUSED_S, BrokerError, StoodStillError
from p2ptui.tagged import tagged
from p2ptui.text import printable

if TYPE_CHECKING:
    from p2ptui.io.nats_link import Link

log = logging.getLogger("p2ptui.cluster")

SOON_S: Final = 0.1
"""Pause before the first attempt after a link that worked; each further pause is twice as long."""

MAX_TOLD: Final = 16
"""Reasons for the broker being away that are remembered as reported."""


@dataclass(frozen=True, slots=True)
class BusStatus:
    """The state of the link to the broker."""

    is_up: bool
    since: float
    """When it came up or went down, seconds."""
    broker: str
    """The broker, without passwords; the last one that was tried."""
    trouble: str
    """Why it is down; empty while it is up."""
    round_trip_s: float | None
    """To the broker and back."""
    counters: dict[str, int]
    """See `nats_link.Counters`."""


class NatsBus:
    """A bus that never waits and never gives up; `run` keeps the link up.

    Args:
        options: Where the broker is.
        network_id: The network's id.
        own_id: This server's id.
        heard: Called with what arrives.
        clock: A monotonic clock, seconds.
        rng: Spreads the attempts of many servers.
    """

    def __init__(
        self,
        options: ClusterOptions,
        network_id: str,
        own_id: str,
        heard: Heard,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._options, self._own_id, self._heard = options, own_id, heard
        self._clock, self._rng = clock, rng
        self._names = Names.of(network_id)
        self._link: Link | None = None
        self._since = clock()
        self._broker, self._trouble = "", "the broker has not been reached yet"
        self._told: BoundedTable[str, None] = BoundedTable(MAX_TOLD)
        self._counts: Callable[[], dict[str, int]] = dict

    def status(self) -> BusStatus:
        """The state of the link to the broker."""
        link = self._link
        return BusStatus(
            link is not None,
            self._since,
            self._broker,
            self._trouble,
            None if link is None else link.round_trip_s,
            self._counts(),
        )

    def do(self, order: Order) -> None:
        """See `core.cluster.bus.Bus.do`."""
        if self._link is not None:
            self._link.do(order)

    async def run(self) -> None:
        """Keep a link to the broker, until cancelled."""
        keeping = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait([keeping])
        finally:
            if not keeping.done():
                await end_tasks([keeping])
        keeping.result()

    async def _keep(self) -> NoReturn:
        try:
            from p2ptui.io import nats_link
        except ImportError:
            self._tell_down(BrokerError(INSTALL, REFUSED_S))
            await asyncio.get_running_loop().create_future()
        counters = nats_link.Counters()
        self._counts = lambda: msgspec.structs.asdict(counters)
        wait_s = SOON_S
        brokers: list[str] = []
        while True:
            if not brokers:
                brokers = list(self._options.servers)
                self._rng.shuffle(brokers)
            self._broker = reached_broker(url := brokers.pop())
            links = counters.links
            try:
                link = await nats_link.open_link(
                    url,
                    self._options,
                    self._names,
                    self._own_id,
                    self._heard,
                    self._clock,
                    counters,
                )
                await self._use(link)
            except BrokerError as error:
                self._tell_down(error)
                longest_s = AWAY_S if brokers else error.again_s
            wait_s = SOON_S if counters.links > links else min(2 * wait_s, longest_s)
            await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))

    async def _use(self, link: "Link") -> NoReturn:
        """Use a link until it ends.

        Raises:
            BrokerError: Why it ended.
        """
        try:
            await link.run(self._options, lambda: self._come_up(link))
        finally:
            if self._link is not None:
                self._link, self._since = None, self._clock()
                self._heard.handle_link(False, self._since)
            await link.close()

    def _come_up(self, link: "Link") -> None:
        self._link, self._since = link, self._clock()
        self._trouble = ""
        self._told.clear()
        log.info(
            "cluster: linked to the broker %s",
            self._broker,
            extra=tagged("cluster_link_up", broker=self._broker),
        )
        self._heard.handle_link(True, self._since)

    def _tell_down(self, error: BrokerError) -> None:
        """Report once, however often it is tried, and again if there is something the user has to
        change.
        """
        self._trouble = why = str(error)
        if why not in self._told and (not len(self._told) or error.again_s > AWAY_S):
            self._told.put(why, None)
            is_known = isinstance(error, StoodStillError)
            log.log(
                logging.INFO if is_known else logging.WARNING,
                "cluster: %s; this server keeps serving its own peers",
                printable(why, 600),
                extra=tagged("cluster_link_down", broker=self._broker, reason=printable(why, 600)),
            )

    async def drain(self) -> None:
        """Wait until what it was told has reached the broker, for a short time."""
        if self._link is not None:
            await self._link.drain()
