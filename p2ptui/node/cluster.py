"""This server among the others of its network: connects its part of the core to the broker."""

import asyncio
import ipaddress
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from p2ptui.bounded.rates import TokenBucket
from p2ptui.config import Config
from p2ptui.core.cluster.bus import Publish
from p2ptui.core.cluster.others import ServerStatus, Trouble
from p2ptui.core.cluster.room import ClusterStatus
from p2ptui.io.nats_bus import BusStatus, NatsBus
from p2ptui.node.runtime import Runtime
from p2ptui.node.server_rows import time_words
from p2ptui.tagged import tagged
from p2ptui.text import counted, printable
from p2ptui.wire.address import Address, format_address

__all__ = ["ClusterReport", "ClusterService", "ServerStatus"]

log = logging.getLogger("p2ptui.cluster")

TOLD_PER_S: Final = 1.0
MAX_TOLD_AT_ONCE: Final = 64
"""Log lines about other servers at once: anyone with access to the broker can have them come and
go.
"""

SHOWN_NAME: Final = 64
"""Characters of a server's name in the log."""

_PLAIN_NAME: Final = re.compile(r"[\w.-]+")
"""Other names are quoted: they could look like the rest of a line."""

GRAVE: Final = (Trouble.COPIED_IDENTITY,)
"""Troubles that keep this server from announcing its peers."""


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """The state of this server among the others."""

    cluster: ClusterStatus
    """What it knows about them, and they about it."""
    broker: BusStatus
    """The link to the broker."""
    since_s: float
    """How long the link has been up, or down; seconds."""

    @property
    def link_words(self) -> str:
        """The state of the link to the broker: harmless text, in a few words, without the cause."""
        if not self.broker.is_up:
            return f"down for {time_words(self.since_s)}"
        is_read = self.cluster.is_complete
        return f"up for {time_words(self.since_s)}" if is_read else "up, reading the list of nodes"

    @property
    def line(self) -> str:
        """The whole report on one line."""
        cluster, broker = self.cluster, self.broker
        why = "" if broker.is_up else f" ({printable(broker.trouble)})"
        due = f" ({cluster.entries_due} due)" if cluster.entries_due else ""
        return (
            f"cluster: broker {self.link_words}{why},"
            f" {counted(len(cluster.servers), 'other server')},"
            f" {counted(cluster.nodes, 'node')} elsewhere, {cluster.entries} told of{due},"
            f" handed over {cluster.handed}, taken {cluster.taken}, failed {cluster.failed},"
            f" waiting {cluster.waiting}"
        )


class ClusterService:
    """Connects the core's cluster code and the broker: a `Heard` that applies what it hears.

    Args:
        runtime: The node, just started; it closes this service when it ends.
        config: Every option.
        rng: Spreads the attempts to reach the broker.
    """

    def __init__(self, runtime: Runtime, config: Config, rng: Random) -> None:
        options, identity = config.cluster, runtime.endpoint.identity
        self._runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._room = room = runtime.endpoint.open_cluster(
            options.name or identity.name,
            options.address or _reachable(runtime.socket.local_address),
            runtime.now,
        )
        self._bus = NatsBus(options, identity.network_id, identity.id, self, self._now, rng)
        self._is_turn_planned = self._is_over = False
        room.on_orders = self._plan_turn
        room.on_trouble = _tell_trouble
        self._told: dict[str, tuple[str, bool]] = {}
        """The servers as last reported in the log: their names, and whether they drain; no more
        than the core knows.
        """
        self._rate = TokenBucket(TOLD_PER_S, self._now(), MAX_TOLD_AT_ONCE)
        room.on_servers.append(self._tell_servers)
        runtime.among_others = self
        runtime.begin(self._bus.run(), "cluster")

    def _now(self) -> float:
        return self._runtime.now

    def report(self) -> ClusterReport:
        """The current state."""
        now, broker = self._now(), self._bus.status()
        return ClusterReport(self._room.status(now), broker, max(0.0, now - broker.since))

    def servers(self) -> list[ServerStatus]:
        """The other servers that are up."""
        return self._room.servers(self._now())

    def drain(self) -> None:
        """This server is going down: the others are told, and nobody is sent here any more."""
        self._room.drain(self._now())
        self._give_orders()

    async def close(self) -> None:
        """Withdraw what the others were told; waits a short time for the broker."""
        self._room.close(self._now())
        self._give_orders()
        await self._bus.drain()
        self._is_over = True

    def _tell_servers(self, now: float) -> None:
        """Log a line for each server that has come, drains, or is gone, as far as there is room."""
        before, self._told = self._told, {}
        for server in self._room.servers(now):
            server_id = server.server_id
            known = before.get(server_id)
            # Making a name printable can take a tenth of a millisecond: only done when it appears.
            words = called(server.name, server_id) if known is None else known[0]
            self._told[server_id] = words, server.is_draining
            if server.is_draining and not (known is not None and known[1]):
                self._log(now, server_id, words, "is going down")
            elif known is None:
                self._log(now, server_id, words, "is there")
        for server_id, (words, _) in before.items():
            if server_id not in self._told:
                self._log(now, server_id, words, "is gone")

    def _log(self, now: float, server_id: str, words: str, what: str) -> None:
        if self._rate.take(now):
            log.info(
                "cluster: %s %s",
                words,
                what,
                extra=tagged(
                    "cluster_server_changed", server=words, server_id=server_id, change=what
                ),
            )

    # Turns: what came from the broker is applied, and what is meant for it is sent.

    def _plan_turn(self) -> None:
        if not self._is_turn_planned:
            self._is_turn_planned = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._is_turn_planned = False
        if self._is_over or self._runtime.failure is not None:
            return
        try:
            self._runtime.flush()
            self._give_orders()
        except Exception as error:
            self._runtime.fail(error)

    def _give_orders(self) -> None:
        for order in self._room.orders():
            self._bus.do(order)

    # Called by the broker's client: `Heard`.

    def handle_link(self, is_up: bool, now: float) -> None:
        """See `Heard.handle_link`."""
        self._tell(self._room.handle_link, is_up, now)

    def handle_complete(self, now: float) -> None:
        """See `Heard.handle_complete`."""
        self._tell(self._room.handle_complete, now)

    def receive_entry(self, key: str, value: bytes | None, revision: int, now: float) -> None:
        """See `Heard.receive_entry`."""
        self._tell(self._room.receive_entry, key, value, revision, now)

    def receive_message(self, subject: str, data: bytes, now: float) -> None:
        """See `Heard.receive_message`."""
        self._tell(self._room.receive_message, subject, data, now)

    def handle_put(self, key: str, revision: int, now: float) -> None:
        """See `Heard.handle_put`."""
        self._tell(self._room.handle_put, key, revision, now)

    def handle_refused(self, key: str, now: float) -> None:
        """See `Heard.handle_refused`."""
        self._tell(self._room.handle_refused, key, now)

    def handle_unsent(self, order: Publish, is_too_large: bool, now: float) -> None:
        """See `Heard.handle_unsent`."""
        self._tell(self._room.handle_unsent, order, is_too_large, now)

    def _tell(self, receive: Callable[..., None], *what: Any) -> None:
        try:
            receive(*what)
        except Exception as error:  # else the broker's client would swallow it
            self._runtime.fail(error)
        else:
            self._plan_turn()


def called(name: str, server_id: str) -> str:
    """A server's name in the log: harmless, with its id, whatever the name looks like."""
    shown = printable(name, SHOWN_NAME)
    if not _PLAIN_NAME.fullmatch(shown):
        shown = '"' + shown.replace('"', "'") + '"'
    return f"{shown} ({server_id})"


def _reachable(local: Address) -> str:
    """Where clients reach a node bound to this address; empty if that does not tell."""
    return "" if ipaddress.ip_address(local[0]).is_unspecified else format_address(local)


def _tell_trouble(trouble: Trouble, words: str) -> None:
    level = logging.ERROR if trouble in GRAVE else logging.WARNING
    log.log(
        level,
        "cluster: %s",
        printable(words, 600),
        extra=tagged("cluster_trouble", kind=trouble.name.lower()),
    )
