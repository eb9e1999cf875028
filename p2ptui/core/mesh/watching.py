"""While a person watches, server lists are requested at once and kept fresh.

A newcomer is pushed one page of a list, and entries that nobody confirms are forgotten after
`route_lifetime`. So a node with a screen asks each server that it joined for the whole list when it
joins, and three more times within that lifetime: two requests may be lost. Other nodes do not ask.
"""

from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.mesh.naming import Naming
from p2ptui.core.mesh.queries import list_request
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.errors import LocalError
from p2ptui.wire.message import NULL, Capability, MessageType

MAX_SERVERS: Final = 8
"""Servers whose lists are kept fresh, those joined first. An answer has about 300 bytes for each
node that the server knows."""

FIRST_PAUSE_S: Final = 0.5
"""After a join: what the server sends unasked comes first."""

JITTER: Final = 0.5
"""Up to this fraction is added to that pause, and taken from the time between two requests, so that
a server that comes back is not asked by everyone at once."""

ASKS_PER_LIFETIME: Final = 3

SHORTEST_S: Final = 10.0
"""The least time between two requests to one server, however soon routes are forgotten."""


class Watching:
    """Asks the joined servers for their lists while somebody looks at them (`naming.watched`).

    Args:
        state: The shared state.
        delivery: Sends messages.
        naming: Asks deployed servers, whose lists contain names only on request.
        lifecycle: Reports servers that come and go.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, naming: Naming, lifecycle: Lifecycle
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._naming = naming
        self._due: BoundedTable[str, Timer] = state.tables.add(
            "lists_kept_fresh", BoundedTable(MAX_SERVERS, refuses=True, full="lists_unkept")
        )
        lifecycle.on_joined.append(self._handle_joined)
        lifecycle.on_left.append(self._end)

    def __len__(self) -> int:
        return len(self._due)

    def set_watched(self, now: float, *, enabled: bool) -> None:
        """Whether somebody watches from now on."""
        self._naming.watched = enabled
        if enabled:
            self._begin_others(now)
            return
        for timer in self._due.values():
            timer.cancel()
        self._due.clear()

    def _handle_joined(self, peer: Peer, now: float) -> None:
        if peer.initiated:
            self._begin(peer, now)

    def _begin_others(self, now: float) -> None:
        for peer in list(self._state.peers.initiated):
            if peer.node_id not in self._due and not self._begin(peer, now):
                return

    def _begin(self, peer: Peer, now: float) -> bool:
        """Begin to ask a peer if it is a server; False if there is no room for it."""
        if not (self._naming.watched and peer.is_joined_server):
            return True
        known = self._due.pop(peer.node_id, None)
        if known is not None:
            known.cancel()
        if not self._due.admit():
            return False
        due = now + FIRST_PAUSE_S * self._state.rng.uniform(1.0, 1 + JITTER)
        if not _tells_names(peer):
            self._naming.note_planned(peer, due)
        self._plan(peer, due)
        return True

    def _end(self, peer: Peer, now: float) -> None:
        timer = self._due.pop(peer.node_id, None)
        if timer is not None:
            timer.cancel()
            self._begin_others(now)

    def _plan(self, peer: Peer, due: float) -> None:
        timer = self._state.timers.schedule(due, lambda at: self._ask(peer, at))
        self._due.put(peer.node_id, timer)

    def _ask(self, peer: Peer, now: float) -> None:
        if not (self._naming.watched and peer.is_joined_server):
            self._due.pop(peer.node_id, None)
            return
        if _tells_names(peer):
            self._request(peer, now)
        else:
            self._naming.ask(peer, now)
        lifetime = self._state.config.routing.route_lifetime
        pause = max(lifetime / ASKS_PER_LIFETIME, SHORTEST_S)
        self._plan(peer, now + pause * self._state.rng.uniform(1 - JITTER / 2, 1.0))

    def _request(self, peer: Peer, now: float) -> None:
        kind = MessageType.DISCOVERY_REQUEST
        if Capability.RETRANSMIT not in peer.capabilities:
            self._delivery.send(peer, kind, NULL, now, reason=Reason.OWN_PLAN)
            return
        try:
            self._delivery.send_reliable(peer, kind, list_request(peer), now)
        except LocalError:
            self._state.counters.drop("queue_full")


def _tells_names(peer: Peer) -> bool:
    return Capability.PEER_UPDATES in peer.capabilities
