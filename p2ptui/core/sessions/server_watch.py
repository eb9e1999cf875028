"""A suspected server is pinged until it answers or is gone.

Heartbeats notice a dead server within a minute, which is too late for messages that go through it.
Code that sees that nothing comes back asks for this closer watch. It also finds a server that was
restarted: such a server answers the first Ping with an Error, and is joined again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.pings import SILENT_PINGS, SILENT_S
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState

SHORTEST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 1.0
PAUSE_GROWTH: Final = 1.5
PAUSE_JITTER: Final = 0.1
"""Between two Pings. A server that comes back after a while is found within a second, at the cost
of one small datagram a second for as long as its session lasts."""

SILENT_PINGS_HEARD: Final = 4
"""A server that is heard meanwhile is reported as silent after this many unanswered Pings, two
seconds, and not after two: if one datagram in ten is lost, both are lost by chance once in
thirty watches. It is reported in the end, since it may not hear this node."""


@dataclass(slots=True, eq=False)
class _Look:
    began: float
    pings: int = 0
    """Pings since it began; earlier ones mean nothing, as one of them may just have been sent."""
    is_told: bool = False
    """Whether the server was reported as silent."""


class ServerWatch:
    """Closely watches servers that may be dead.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports servers that have left.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._looks: BoundedTable[Peer, _Look] = state.tables.add(
            "servers_doubted", BoundedTable(state.most_peers)
        )
        self.on_silent: list[Callable[[Peer, float], None]] = []
        """Called once in each watch when the server has not answered several Pings."""
        lifecycle.on_left.append(lambda peer, _: self._end(peer))

    def doubt(self, server: Peer, now: float) -> None:
        """Check whether a server is live, unless that is already in progress."""
        if server.is_authenticated and server not in self._looks:
            look = _Look(now)
            if server.pings.unanswered_since <= server.hears_at:
                server.pings.excuse()  # one was lost, and something else has been answered since
            self._looks.put(server, look)
            self._go_on(server, look, SHORTEST_PAUSE_S, now)

    def is_called_silent(self, server: Peer) -> bool:
        """Whether a server was reported as silent, and has not answered since."""
        look = self._looks.get(server)
        return look is not None and look.is_told

    def _go_on(self, server: Peer, look: _Look, pause_s: float, now: float) -> None:
        if self._looks.get(server) is not look or self._state.closing:
            return
        if now > look.began and server.hears_at >= look.began:
            self._end(server)
            return
        if not look.is_told and _is_silent(server, look, now):
            look.is_told = True
            for listener in self.on_silent:
                listener(server, now)
        look.pings += 1
        self._delivery.ping(server, now)
        jitter = self._state.rng.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)
        longer = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)
        self._state.timers.schedule(
            now + pause_s * jitter,
            lambda at: self._go_on(server, look, longer, at),
        )

    def _end(self, server: Peer) -> None:
        self._looks.pop(server, None)


def _is_silent(server: Peer, look: _Look, now: float) -> bool:
    is_heard = server.last_received > look.began
    needed = SILENT_PINGS_HEARD if is_heard else SILENT_PINGS
    had_time = look.pings >= needed and now >= look.began + SILENT_S
    return had_time and server.is_silent(now)
