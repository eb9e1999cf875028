"""A server about which there is doubt is pinged until it answers or is gone.

Heartbeats notice a dead server within a minute, which is too late for those whose messages go by
way of it. Whoever sees that nothing comes back asks for this closer look. It also finds a server
that was restarted: that one answers the first Ping by an Error, and is joined again.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState

SHORTEST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 1.0
PAUSE_GROWTH: Final = 1.5
PAUSE_JITTER: Final = 0.1
"""Between two Pings. A server that comes back after a while is found within a second of that, by a
small datagram a second for as long as its session lasts."""


class ServerWatch:
    """Looks closely at servers that may be dead.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Tells of servers that are gone.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._began: dict[Peer, float] = {}
        self.on_silent: list[Callable[[Peer, float], None]] = []
        """Called once in each look when the server has not answered several Pings."""
        lifecycle.on_left.append(lambda peer, _: self._end(peer))

    def __len__(self) -> int:
        return len(self._began)

    def doubt(self, server: Peer, now: float) -> None:
        """Look whether a server is there, unless that is under way."""
        if server.is_authenticated and server not in self._began:
            self._began[server] = now
            self._look(server, now, SHORTEST_PAUSE_S, now, is_told=False)

    def _look(
        self, server: Peer, began: float, pause_s: float, now: float, *, is_told: bool
    ) -> None:
        if self._began.get(server) != began or self._state.closing:
            return
        if now > began and server.hears_at >= began:
            self._end(server)
            return
        if server.is_silent(now) and not is_told:
            is_told = True
            for listener in self.on_silent:
                listener(server, now)
        self._delivery.ping(server, now)
        jitter = self._state.rng.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)
        longer = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)
        self._state.timers.schedule(
            now + pause_s * jitter,
            lambda at: self._look(server, began, longer, at, is_told=is_told),
        )

    def _end(self, server: Peer) -> None:
        self._began.pop(server, None)
