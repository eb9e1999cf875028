"""The answering side of the handshake: which nodes are admitted, and what they are told.

Nothing is kept for an address before it is accepted, and a repeated request is answered with the
same bytes.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from p2ptui.core.accounts import Purse
from p2ptui.core.addresses import relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction, PeerStatus
from p2ptui.core.peers import Dialect, Peer, Standing
from p2ptui.core.sessions.answers import Answers
from p2ptui.core.sessions.arrival import NOTHING, Arrival, Legacy, Requests
from p2ptui.core.sessions.crossings import Crossings
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.newcomers import Newcomers
from p2ptui.core.sessions.other_ways import AlternatePath, AlternatePaths, Told
from p2ptui.core.sessions.takeover import Claim, Takeover
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability, Envelope, MessageType

# Bound here, since looking up an enum member runs Python code.
_HANDSHAKING: Final = PeerStatus.HANDSHAKING
_SPEC: Final = Dialect.SPEC


class Responder:
    """Answers HandshakeRequests.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Where peers are added and removed.
        takeover: Decides who owns an id.
        on_crossing: Called with each accepted peer: this node may have asked it, too.
        requests: Reads requests.
        answers: Writes answers.
        ways: Requests that came from several addresses.
        crossings: Requests that crossed on several paths.
        newcomers: Holds nodes at addresses in use until they prove that they are there.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        takeover: Takeover,
        on_crossing: Callable[[Peer, float], None],
        requests: Requests,
        answers: Answers,
        ways: AlternatePaths,
        crossings: Crossings,
        newcomers: Newcomers,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._takeover = takeover
        self._on_crossing = on_crossing
        self._requests = requests
        requests.on_turn = self.handle_request
        self.on_unseated: Callable[[Arrival, float], None] = lambda *_: None
        """Called with a request that is to be answered although there is no room for it."""
        self._answers = answers
        self._ways = ways
        self._crossings = crossings
        self._newcomers = newcomers
        newcomers.accept = self._let_in
        self.on_answered_again: Callable[[Peer, float], None] = lambda *_: None
        """Called when a peer that may have begun anew was answered again, and keeps its session."""
        self.on_restart: Callable[[Peer, Address, float], None] = lambda *_: None
        """Called when a relayed node begins a new session: with the address that it came from."""

    def take_request(self, address: Address, message: Envelope, earned: Purse, now: float) -> bool:
        """A node asks for a session; see `handle_request`."""
        self.handle_request(address, message, earned, now)
        return True

    def handle_request(
        self,
        address: Address,
        message: Envelope,
        earned: Purse,
        now: float,
        legacy: Legacy = NOTHING,
    ) -> None:
        """A node asks for a session.

        Args:
            address: Where the request came from.
            message: The request.
            earned: What it pays for.
            now: The time, seconds.
            legacy: What it had at its last address, which was found silent.
        """
        peer = self._state.peers.at(address)
        if peer is not None and message.id in peer.handshakes.requests:
            self._repeat(peer, address, message, earned, now)
            return
        came_by = None if peer is None else _other_server(peer, address)
        if peer is not None and came_by is not None:
            address = peer.address
        arrival = self._requests.read(address, message, earned, legacy, now)
        if arrival is None:
            return
        if came_by is not None:
            arrival = replace(arrival, came_by=came_by)
        if not arrival.has_seat:
            self.on_unseated(arrival, now)
            return
        owner = self._state.peers.with_id(arrival.info.id)
        is_new = peer is None and owner is None  # as nearly all are
        if not is_new and self._needs_proof(arrival):
            self._refuse_known(arrival, now)
            return
        if peer is not None and self._is_beside(peer, owner, arrival, now):
            return
        if owner is None or owner.address == address:
            self._accept(self._at_home(arrival, now), now)
            return
        is_late = self._crossings.is_late(owner, address, now)
        is_late = is_late and self._newcomers.is_known(owner, arrival)
        if is_late and self._state.peers.add_alias(owner, address, Standing.ANSWERED):
            # One session on two paths: no claim, and no news either.
            self._accept(arrival, now)
            return
        if peer is None and self._ways.is_same_attempt(owner, message, now):
            self._answer_other_way(owner, arrival, now)
            return
        self._claim(owner, arrival, now)

    def _needs_proof(self, arrival: Arrival) -> bool:
        """Whether a request would end or move a secured peer's session without proving keys."""
        peers = self._state.peers
        known = peers.at(arrival.address), peers.with_id(arrival.info.id)
        is_secured = any(peer is not None and peer.seal is not None for peer in known)
        return is_secured and arrival.proof is None

    def _is_beside(self, peer: Peer, owner: Peer | None, arrival: Arrival, now: float) -> bool:
        """Whether a request from a peer's address ends nothing, at least for now.

        Args:
            peer: The peer at that address.
            owner: The peer with the id that it carries, if any.
            arrival: The request.
            now: The time, seconds.
        """
        if owner is not None and owner is not peer:
            return False  # the owner is asked first
        if self._newcomers.is_same(peer, arrival):
            self._newcomers.note_before(arrival.address)
            self._answer_again(peer, arrival, now)
            return True
        if self._newcomers.is_known(peer, arrival) and self._crossings.is_late(
            peer, arrival.address, now
        ):
            return False
        if not self._newcomers.must_show(peer, arrival):
            return False
        self._newcomers.hold(peer, arrival, now)
        return True

    def _at_home(self, arrival: Arrival, now: float) -> Arrival:
        """The same, to be answered through the server that it came by, whichever node it is
        from."""
        came_by = arrival.came_by
        if came_by is None:
            return arrival
        peer = self._state.peers.at(arrival.address)
        if peer is not None:
            self.on_restart(peer, came_by, now)
        earned = self._state.gate.by_other_server(arrival.earned, arrival.address)
        return replace(arrival, earned=earned, came_by=None)

    def _let_in(self, arrival: Arrival, told: Told, now: float) -> None:
        """A newcomer that was held has proved that it is there."""
        owner = self._state.peers.with_id(arrival.info.id)
        if self._needs_proof(arrival):
            self._state.counters.drop("unsealed")
            return
        if owner is None or owner is self._state.peers.at(arrival.address):
            self._accept(self._at_home(arrival, now), now, told)
            return
        former_ids = owner.handshakes.requests

        claim = Claim(
            owner,
            arrival.address,
            arrival.message.id,
            refuse=lambda _: None,
            grant=lambda at, channel: self._accept(
                replace(arrival, legacy=Legacy(channel, former_ids)), at, told
            ),
        )
        self._takeover.grant_at_once(claim, now)

    def _answer_again(self, peer: Peer, arrival: Arrival, now: float) -> None:
        """A program that keeps no session state asks again for a session that it already has."""
        peer.follow_pair(arrival.address)  # it hears what is sent from the address that it asked
        message = arrival.message
        told = self._answers.accept(arrival, None, _allowance(arrival, peer), now)
        self._state.counters.handshakes_accepted += 1
        peer.handshakes.answer_again(message.id, told.kept)
        peer.liveness.hear(now)
        peer.liveness.clear(now)
        peer.purse.earn_handshake()
        grant = self._state.gate.grant_answer(peer.purse, peer.sends_to, arrival.earned)
        if grant.has_room(len(told.response)):
            kind = MessageType.HANDSHAKE_RESPONSE
            self._delivery.transmit_from(grant, peer, told.response, kind, now)
        peer.purse.keep_for_pings()  # a restarted peer is pinged like a new one
        if message.requires_ack:
            self._acknowledge(peer, message, now)
        if peer.session.may_greet(now):
            self.on_answered_again(peer, now)
        if peer.acks_owed and not peer.untold:
            self._delivery.pay_acks(peer, now)
            self._delivery.challenge(peer, now)

    def _claim(self, owner: Peer, arrival: Arrival, now: float) -> None:
        """A newcomer claims the id of a peer at another address."""
        if self._ways.is_late_copy(owner, arrival.message):
            self._state.counters.drop("late_handshake")
            self._refuse_known(arrival, now)
            return
        address, message, earned = arrival.address, arrival.message, arrival.earned
        # Much may have happened meanwhile: the request is handled as if it came now.
        claim = Claim(
            owner,
            address,
            message.id,
            refuse=lambda at: self._refuse_known(arrival, at),
            grant=lambda at, channel: self.handle_request(
                address, message, earned, at, Legacy(channel, owner.handshakes.requests)
            ),
            continues=arrival.continues,
            hold=partial(self._newcomers.hold, owner, arrival) if arrival.acknowledges else None,
        )
        self._takeover.begin(claim, now)

    def _repeat(
        self, peer: Peer, address: Address, message: Envelope, earned: Purse, now: float
    ) -> None:
        if not peer.handshakes.may_repeat(message.id):
            self._state.counters.duplicates += 1
            return
        self._newcomers.note_before(address)
        peer.liveness.hear(now)
        # If the purse is empty, the request pays: without this answer the peer never proves itself.
        response = self._answers.repeated(peer.handshakes.response)
        self._transmit_response(peer, response, address, earned, now)
        if message.requires_ack:
            self._delivery.acknowledge(peer, message, now)

    def _refuse_known(self, arrival: Arrival, now: float) -> None:
        reason = f"node id {arrival.info.id} already exists"
        self._answers.refuse(arrival.address, arrival.message, arrival.earned, reason, now)

    def _answer_other_way(self, owner: Peer, arrival: Arrival, now: float) -> None:
        """A request that was accepted has come from another address too: both are answered."""
        way = self._ways.at(arrival.address, arrival.message)
        if way is None:
            is_numbered = any(type(key) is int for key in owner.handshake_keys[-1:])
            # Its own number, so that an Ack shows that this answer was received, not the other one.
            sequence = self._state.rng.getrandbits(32) if is_numbered else None
            told = self._answers.accept(arrival, sequence, arrival.earned.allowance, now)
            way = AlternatePath(owner, arrival.address, arrival.message.id, told)
        if not self._answers.send(arrival, way.told.response, now, is_known=True):
            return
        self._ways.keep(
            way,
            lambda at, channel: self._accept(arrival.bringing(channel), at, way.told),
            now,
        )

    def _accept(self, arrival: Arrival, now: float, told: Told | None = None) -> None:
        """Make the newcomer a peer, or begin a new session with the peer at its address.

        Args:
            arrival: The newcomer.
            now: The time, seconds.
            told: The answer that it has already been sent.
        """
        message, info = arrival.message, arrival.info
        there = known = self._state.peers.at(arrival.address)
        if known is not None and known.node_id not in ("", info.id):
            known = None  # it will be replaced
        allowance = _allowance(arrival, known)
        if told is None and allowance < self._answers.shortest_bytes:
            self._state.counters.drop("handshake_too_short")
            return
        if known is None:
            peer = self._enter(arrival, there, now)
        else:
            peer = known
            if peer.is_authenticated and not self._crossings.is_late(peer, arrival.address, now):
                self._lifecycle.restart(peer, now, "it began a new session")
        if arrival.proof is not None and self._state.seals is not None:
            self._state.seals.enter(peer, arrival.proof, now)
        peer.session.accepted = True
        peer.take_pair(arrival.address)
        peer.handshakes.note_request(message.id)
        self._lifecycle.describe(peer, info, message, now)
        self._state.counters.handshakes_accepted += 1
        numbered = Capability.RETRANSMIT in peer.facts.capabilities
        is_told = told is not None  # and has paid for it
        if told is None:
            sequence = peer.channel.numbering.begin() if numbered else None
            told = self._answers.accept(arrival, sequence, allowance, now)
        elif told.sequence is not None:
            peer.channel.begin_at(told.sequence)
        has_crossed = peer.status is _HANDSHAKING
        peer.handshakes.answer(told.kept, told.response_id, told.keys, crossed=has_crossed)
        if numbered:
            peer.liveness.last_ping_sent = now  # the response asks for an Ack, which proves as much
        if not is_told:
            self._ways.open(peer, now)
            self._transmit_response(peer, told.response, arrival.address, arrival.earned, now)
        peer.purse.earn_handshake()
        peer.purse.keep_for_pings()
        if message.requires_ack:
            self._acknowledge(peer, message, now)
        self._lifecycle.authenticate(peer, now)
        peer.liveness.note_seat(has_answered=arrival.has_answered)
        if peer.acks_owed and not peer.untold:
            self._delivery.pay_acks(peer, now)
            self._delivery.challenge(peer, now)
        self._on_crossing(peer, now)

    def _acknowledge(self, peer: Peer, message: Envelope, now: float) -> None:
        if peer.purse.proved or peer.facts.dialect is _SPEC:
            self._delivery.acknowledge(peer, message, now)
        else:
            # The response says as much, and the list that follows says more.
            self._delivery.owe_ack(peer, message, now)

    def _enter(self, arrival: Arrival, other: Peer | None, now: float) -> Peer:
        """Enter a newcomer, in place of the peer at its address."""
        if other is not None:
            reason = f"replaced by node {arrival.info.id} at the same address"
            self._lifecycle.remove(other, PeerStatus.DISCONNECTED, now, reason)
        peer = self._lifecycle.open(
            arrival.address,
            now,
            initiated=False,
            inherited=arrival.legacy.channel
            or self._crossings.channel(arrival.info.id, arrival.address),
            is_proved=arrival.proof is not None,  # it has read what was sent there
        )
        peer.purse.absorb(arrival.earned)
        # A late copy of the previous peer's request must not bring that peer back.
        former_ids = arrival.legacy.former_ids if other is None else other.handshakes.requests
        peer.handshakes.requests = former_ids
        return peer

    def _transmit_response(
        self, peer: Peer, response: bytes, address: Address, earned: Purse, now: float
    ) -> None:
        """Answer at the request's source, which may differ from the session's path."""
        kind = MessageType.HANDSHAKE_RESPONSE
        if address != peer.sends_to and self._crossings.leads_to(address, peer.node_id):
            self._state.trace(Direction.OUT, address, peer.node_id, kind, response)
            grant = self._state.gate.grant_answer(peer.purse, address, earned)
            self._state.gate.send(response, address, grant)
            return
        grant = self._state.gate.grant_answer(peer.purse, peer.sends_to, earned)
        if grant.has_room(len(response)):
            self._delivery.transmit_from(grant, peer, response, kind, now)
        else:  # it owes for the previous peer; the request comes again, and pays too
            self._state.counters.drop("unproved_budget")


def _other_server(peer: Peer, address: Address) -> Address | None:
    """Where a relayed node's request came from, if through another server than in its address:
    it is the same node."""
    both = relayed_node(peer.address) and relayed_node(address)
    return address if both and address != peer.address else None


def _allowance(arrival: Arrival, known: Peer | None) -> float:
    """Bytes that may be sent to the source of a request to answer it."""
    earned = arrival.earned.allowance
    return earned if known is None else max(earned, known.purse.allowance)
