"""Whether a deployed server still knows this node: it answers the Pings of strangers too.

A restarted server of the reference's kind has forgotten its peers and does not say so. Two things
reveal it: it pings only its peers, and its node list names all of them, including the node that
asks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.wire.message import NULL, ListNodesPayload, MessageType

FRESH_SHARE: Final = 0.5
"""Nothing is asked within this share of a heartbeat's interval after a Ping of the server, or after
the handshake. So a restart is noticed within two heartbeats, even one that comes just after it."""

LISTS_WITHOUT: Final = 2
"""How many lists in a row must not name this node: one could be forged, or made in between."""

ASK_AGAIN_S: Final = 2.0
MOST_ASKED: Final = 6
"""A request or its answer may be lost: it is repeated after this time, and at most this often with
one heartbeat."""


PROBED_S: Final = 10.0
"""A list is long, and anybody can forge a newcomer's request that makes this node ask for one: for
all of them together, a server is asked once in this time."""

MOST_PROBED: Final = 3
PROBED_AGAIN_S: Final = 1.0
"""It is asked again only if no list comes, after this pause, and at most this often."""


@dataclass(slots=True)
class _Probe:
    """A server is asked because a newcomer may be at its address."""

    began: float
    asked: int = 0
    asked_at: float = -math.inf


@dataclass(slots=True)
class _Question:
    """A requested node list."""

    peer: Peer
    without: int = 0
    """Lists that did not name this node."""
    asked: int = 0
    """How often it was requested."""
    began: float = 0.0
    timer: Timer | None = None


class Membership:
    """Asks deployed servers that this node joined, with each heartbeat, whether it is listed.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports servers that have left.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._questions: BoundedTable[str, _Question] = state.tables.add(
            "membership_questions", BoundedTable(state.most_peers)
        )
        self._probes: BoundedTable[str, _Probe] = BoundedTable(state.most_peers)
        self.on_forgotten: Callable[[Peer, float, str], None] = lambda *_: None
        """Called when a server no longer knows this node."""
        lifecycle.on_left.append(lambda peer, _: self._handle_left(peer))

    def check(self, peer: Peer, now: float) -> None:
        """A heartbeat is due: ask a deployed server, unless it has just shown what it knows."""
        if peer.dialect is not Dialect.REFERENCE or not peer.is_joined_server:
            return
        interval = self._state.config.server.heartbeat_interval
        if now - peer.liveness.known_at < FRESH_SHARE * interval:
            self._forget(peer)
            return
        self._forget(peer)
        question = _Question(peer, began=now)
        self._questions.put(peer.node_id, question)
        self._ask(question, now)

    def probe(self, peer: Peer, now: float) -> bool:
        """Ask a server for its list, whatever that says: only a server has one. Somebody else may
        have caused this. So a server that has not proved its address pays for it, and each is asked
        for one list in `PROBED_S`, whatever the cause.

        Returns:
            Whether it was asked.
        """
        probe = self._probes.get(peer.node_id)
        if probe is None or now >= probe.began + PROBED_S:
            probe = _Probe(now)
            self._probes.put(peer.node_id, probe)
        if probe.asked >= MOST_PROBED or now < probe.asked_at + PROBED_AGAIN_S:
            return False
        if not self._delivery.ask(peer, MessageType.LIST_NODES_REQUEST, now):
            return False
        probe.asked += 1
        probe.asked_at = now
        return True

    def _ask(self, question: _Question, now: float) -> None:
        if question.timer is not None:
            question.timer.cancel()
        peer = question.peer
        if question.asked >= MOST_ASKED or peer.liveness.known_at > question.began:
            return
        question.asked += 1
        self._delivery.send(peer, MessageType.LIST_NODES_REQUEST, NULL, now, reason=Reason.OWN_PLAN)
        question.timer = self._state.timers.schedule(
            now + ASK_AGAIN_S, lambda at: self._ask(question, at)
        )

    def handle_list(self, peer: Peer, payload: ListNodesPayload, now: float) -> bool:
        """A node list came; returns whether it was requested here."""
        probe = self._probes.get(peer.node_id)
        if probe is not None:
            probe.asked = MOST_PROBED
        question = self._questions.get(peer.node_id)
        if question is None or question.peer is not peer:
            return False
        own_id = self._state.identity.id
        is_whole = payload.page == 0 and not payload.more
        if not is_whole or any(
            own_id in (canonical_id(node.id), canonical_id(node.node_id)) for node in payload.nodes
        ):
            peer.liveness.note_known(now)
            self._forget(peer)
            return True
        question.without += 1
        if question.without < LISTS_WITHOUT:
            self._ask(question, now)
            return True
        self._forget(peer)
        self.on_forgotten(peer, now, "its node list does not name this node: it was restarted")
        return True

    def _handle_left(self, peer: Peer) -> None:
        self._probes.pop(peer.node_id)
        self._forget(peer)

    def _forget(self, peer: Peer) -> None:
        question = self._questions.get(peer.node_id)
        if question is not None and question.peer is peer:
            del self._questions[peer.node_id]
            if question.timer is not None:
                question.timer.cancel()
