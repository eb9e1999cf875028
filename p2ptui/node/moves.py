"""Notices that this machine has moved or slept, and has the node's sessions resumed.

Changes elsewhere on the machine (container bridges that come and go) do not concern a node: after a
change, the routes to the peers in use are looked up, and only peers whose route has changed are
asked again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.io.machine import Machine, Way
from p2ptui.tagged import tagged
from p2ptui.wire.address import SOMEWHERE, Address

log = logging.getLogger("p2ptui.moves")

SETTLE_S: Final = 0.2
"""Changes come in groups: an address goes, another comes, and then a route."""

SPACING_S: Final = 0.5
"""The least time between two comparisons of routes, however many changes there are."""

TICK_S: Final = 0.5
"""How often clocks are compared, and routes read if the system announces no changes."""

SLEPT_S: Final = 2.0
"""Nobody notices a shorter sleep."""

MAX_DESTINATIONS: Final = 256
"""Peers whose route is looked up: servers, and a few of those that came by themselves
(`mobility.moving:MAX_FOLLOWED`)."""


class NetworkMonitor:
    """Watches one machine for one node.

    Args:
        endpoint: The node's protocol.
        machine: The machine, which may move.
        local_host: Where the node's socket is bound.
        clock: The time on the endpoint's clock, seconds.
        flush: Carries out what was asked of the endpoint.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        machine: Machine,
        local_host: str,
        clock: Callable[[], float],
        flush: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._machine = machine
        self._local_host = local_host
        self._clock = clock
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._ways: dict[str, Way] = {}
        """The routes by which the hosts in use were last reached."""
        self._away: set[str] = set()
        """Hosts without a route at the last comparison, or whose link was interrupted."""
        self._planned: asyncio.TimerHandle | None = None
        self._compared_at = -SPACING_S
        self._down: set[int] = set()
        """Interfaces without a carrier."""
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()

    # What others wait for.

    async def pause(self, seconds: float) -> bool:
        """Wait this long, or until this machine has moved or slept; returns whether it has."""
        return await _wait(self._moved, seconds)

    async def pause_until_changed(self, seconds: float) -> None:
        """Wait this long, or until anything about this machine's networks may have changed."""
        await _wait(self._changed, seconds)

    # What is watched.

    async def run(self) -> None:
        """Watch until cancelled."""
        stop = self._machine.watch(self._handle_change)
        self._endpoint.moving.on_begun = self._note_begun
        asleep_s, at = self._machine.asleep_s(), self._clock()
        self._compare_routes()
        try:
            while True:
                await asyncio.sleep(TICK_S)
                before, asleep_s = asleep_s, self._machine.asleep_s()
                began, at = at, self._clock()
                slept_s = max(asleep_s - before, 0.0) + max(at - began - TICK_S, 0.0)
                if slept_s >= SLEPT_S:
                    self._handle_sleep(slept_s, at)
                if stop is None or self._has_new_hosts():
                    self._compare_routes()
        finally:
            if self._planned is not None:
                self._planned.cancel()
            if stop is not None:
                stop()

    def _handle_change(self, links: dict[int, bool]) -> None:
        went_down = {index for index, has_carrier in links.items() if not has_carrier}
        self._interrupt(went_down)
        self._down = (self._down | went_down) - (links.keys() - went_down)
        if self._planned is None:
            wait_s = max(SETTLE_S, self._compared_at + SPACING_S - self._loop.time())
            self._planned = self._loop.call_later(wait_s, self._handle_settled_change)

    def _interrupt(self, links: set[int]) -> None:
        """Links are down, if only for a moment: the peers reached through them must be asked."""
        if links:
            self._away |= {host for host, way in self._ways.items() if way.interface in links}

    def _handle_settled_change(self) -> None:
        self._planned = None
        self._compare_routes()
        _pulse(self._changed)

    def _handle_sleep(self, slept_s: float, now: float) -> None:
        log.info(
            "this machine stood still for %.0f s: its peers are asked",
            slept_s,
            extra=tagged("machine_slept", seconds=round(slept_s, 3)),
        )
        self._compare_routes()
        self._endpoint.moving.wake(slept_s, lambda address: address[0] not in self._away, now)
        self._flush()
        _pulse(self._moved)
        _pulse(self._changed)

    # Routes.

    def _hosts(self) -> list[str]:
        found = dict.fromkeys(SOMEWHERE.values())  # for the default routes
        for address in self._endpoint.moving.destinations(MAX_DESTINATIONS):
            found[address[0]] = None
        return list(found)

    def _note_begun(self, address: Address) -> None:
        """A session begins: from now on its route is compared with the current one, even if that
        changes before the next check."""
        host = address[0]
        if host in self._ways or len(self._ways) >= MAX_DESTINATIONS:
            return
        way = self._machine.way_to(host, self._local_host)
        if way is not None and way.interface not in self._down:
            self._ways[host] = way

    def _has_new_hosts(self) -> bool:
        return any(host not in self._ways and host not in self._away for host in self._hosts())

    def _compare_routes(self) -> None:
        """Compare the routes with the last ones, and act on what has changed."""
        self._compared_at = self._loop.time()
        before, away = self._ways, self._away
        self._ways, self._away = {}, set()
        moved, back = set[str](), set[str]()
        for host in self._hosts():
            known, way = before.get(host), self._machine.way_to(host, self._local_host)
            if way is None or way.interface in self._down:
                self._away.add(host)
                if known is not None:
                    self._ways[host] = known
                continue
            self._ways[host] = way
            if known is not None and way != known:
                moved.add(host)
            elif host in away:
                back.add(host)
        if moved or back:
            self._tell(moved, back)

    def _tell(self, moved: set[str], back: set[str]) -> None:
        now, moving = self._clock(), self._endpoint.moving
        if moved:
            count = moving.move(lambda address: address[0] in moved, now)
            ways = sorted({self._ways[host].source for host in moved})
            log.info(
                "this machine has moved to %s: %d peers are asked",
                ", ".join(ways),
                count,
                extra=tagged("machine_moved", addresses=ways, peers=count),
            )
        if back:
            moving.check(lambda address: address[0] in back, now)
        self._flush()
        _pulse(self._moved)
        _pulse(self._changed)


def _pulse(event: asyncio.Event) -> None:
    """Wake all tasks that wait at this moment."""
    event.set()
    event.clear()


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
