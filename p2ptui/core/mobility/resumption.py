"""A session whose address may no longer work is requested again, and goes on meanwhile.

Beginning anew ends the previous session. But the machine may have left the network of the other
node, and then only a server that both have joined can carry the session on; see `failover`. So
where such a server may exist, the request for a new session is sent beside the old one, which it
names. An answer begins the new session at once; without one, the old session goes on through the
server, or ends like any session that falls silent. A private address is not asked: in the current
network, anyone may have that address and could claim to be the node. There only the server can
carry the session on, and a direct path is searched for as between any two nodes that it knows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import is_one_place
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.relay.failover import Failover
from p2ptui.core.sessions.asking import (
    Greeting,
    came_without_key,
    read_answer,
    seen_address,
    write_request,
)
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.repetition import RETRY_INTERVAL_S, RETRY_JITTER
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import DisconnectPayload, Envelope, MessageType
from p2ptui.wire.message import ReceivedHandshakeResponse as Response

NOT_THE_ONE: Final = "another node was asked for"


@dataclass(slots=True)
class _Asked:
    """A request that was sent while the session went on."""

    greeting: Greeting | None
    """None: the address is private, and is not asked."""
    reason: str
    deadline: float
    joined_at: float
    """When the session that goes on began."""
    timer: Timer | None = None
    is_wrong: bool = False
    """Whether another node is at the address now."""


class Resumptions:
    """Resumes sessions.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports peers that have left.
        handshake: Begins sessions anew.
        failover: Knows whether a server may carry a session on.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        handshake: Handshake,
        failover: Failover,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._handshake = handshake
        self._failover = failover
        self._asked: BoundedTable[Peer, _Asked] = state.tables.add(
            "resumptions", BoundedTable(state.most_peers)
        )
        self.take_second_answer: Callable[[Peer, Envelope, float], bool] = lambda *_: False
        """Takes further answers to the request of a session that has begun; see `confirming`."""
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def is_under_way(self, peer: Peer) -> bool:
        """Whether a peer's session is being resumed: then its address says nothing new."""
        return peer in self._asked

    def take_up(self, peer: Peer, now: float, reason: str) -> None:
        """Ask a peer for a new session, and keep the old one if a server may carry that on.

        Args:
            peer: A peer with a session.
            now: The time, seconds.
            reason: Why, in one line.
        """
        (self.keep if self.may_keep(peer) else self.begin_anew)(peer, now, reason)

    def may_keep(self, peer: Peer) -> bool:
        """Whether a server may carry the session on."""
        return self._failover.may_hold(peer)

    def hold(self, peer: Peer, now: float, reason: str) -> None:
        """A secured peer is told under seal where this node is; meanwhile the servers are asked."""
        self._failover.hold(peer, reason, now)

    def let_go(self, peer: Peer, now: float) -> None:
        """Its own address has answered: the session needs no server."""
        self._failover.let_go(peer, now)

    def begin_anew(self, peer: Peer, now: float, reason: str) -> None:
        """The old session is over: ask for a new one; see `take_up`."""
        self._handshake.reconnect(peer, now, reason)

    def keep(self, peer: Peer, now: float, reason: str) -> None:
        """Ask for a new one while the old one goes on; see `take_up`."""
        self._forget(peer)
        deadline = now + self._state.config.security.auth_timeout
        greeting = self._greet(peer, now) if is_one_place(peer.address) else None
        asked = _Asked(greeting, reason, deadline, peer.session.joined_at)
        self._asked.put(peer, asked)
        peer.forget_pair()
        self._failover.hold(peer, reason, now)
        self._try(peer, asked, now)

    def _greet(self, peer: Peer, now: float) -> Greeting:
        number = peer.channel.numbering.take()
        heard, without_key = peer.handshake_heard, came_without_key(peer)
        greeting = write_request(
            self._state, self._delivery, number, heard, now, without_key=without_key
        )
        peer.handshakes.ask_beside(greeting.message_id, greeting.sequence)
        return greeting

    def _try(self, peer: Peer, asked: _Asked, now: float) -> None:
        if self._asked.get(peer) is not asked or self._state.closing:
            return
        if now >= asked.deadline:
            self._forget(peer)
            self._failover.let_go(peer, now)
            return
        greeting = asked.greeting
        is_over = asked.is_wrong or peer.has_begun_anew(asked.joined_at)
        is_open = self._failover.is_held(peer) and not is_over
        if greeting is not None and is_open:
            self._put(peer, greeting.data, MessageType.HANDSHAKE_REQUEST, Reason.OWN_PLAN, now)
        pause_s = RETRY_INTERVAL_S * self._state.rng.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)
        asked.timer = self._state.timers.schedule(
            min(now + pause_s, asked.deadline), lambda at: self._try(peer, asked, at)
        )

    def take_answer(self, peer: Peer, message: Envelope, now: float) -> bool:
        """A HandshakeResponse from an address with a session; returns whether it was requested
        here.

        Args:
            peer: The peer with that address.
            message: The response.
            now: The time, seconds.
        """
        asked = self._asked.get(peer)
        greeting = asked.greeting if asked is not None else None
        if asked is None or greeting is None:
            return self.take_second_answer(peer, message, now)
        if message.ack_for is None or not greeting.is_named_by(message):
            return False
        if peer.has_begun_anew(asked.joined_at):
            self._state.counters.drop("late_handshake")
            return True
        answer = read_answer(message, self._state.identity, offer=greeting.offer)
        if answer is None or answer.info is None:
            self._state.counters.drop("malformed")
        elif peer.seal is not None and answer.shown is None:
            self._state.counters.drop("stripped_exchange")
        elif answer.response.success and answer.info.id == peer.node_id:
            self._forget(peer)
            self._handshake.resume(peer, greeting, message, now, asked.reason)
        elif answer.response.success:
            self._part(peer, asked, message, now)
        return True

    def handle_late_response(self, peer: Peer, response: Response, _now: float) -> None:
        """An unrequested HandshakeResponse: it says something new only after requests that
        crossed."""
        if not peer.initiated or peer.public_address is not None:
            self._state.counters.drop("unsolicited_handshake_response")
            return
        peer.facts.public_address = seen_address(response)

    def _part(self, peer: Peer, asked: _Asked, message: Envelope, now: float) -> None:
        """In the current network another node has this address, and takes this node for its
        peer."""
        asked.is_wrong = True
        goodbye = encode_payload(DisconnectPayload(NOT_THE_ONE, handshake=message.id))
        _, data = self._delivery.build(MessageType.DISCONNECT, goodbye, now)
        self._put(peer, data, MessageType.DISCONNECT, Reason.GOODBYE, now)

    def _put(self, peer: Peer, data: bytes, kind: str, reason: Reason, now: float) -> None:
        """Send to its own address, whichever path the session takes."""
        self._state.trace_to(peer, peer.address, kind, data)
        gate = self._state.gate
        gate.send(data, peer.address, gate.grant(reason, peer.address, now, peer.purse))

    def _forget(self, peer: Peer) -> None:
        asked = self._asked.pop(peer, None)
        if asked is not None and asked.timer is not None:
            asked.timer.cancel()
