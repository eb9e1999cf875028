"""The handshake as the side that answers: who may enter, and what it is told.

Nothing is kept for an address before it is accepted, and a repeated request is
answered with the same bytes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from msgspec import UnsetType

from p2ptui.core.accounts import Grant, Purse, Reason
from p2ptui.core.addresses import relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction, PeerStatus
from p2ptui.core.identity import RefusedError, accept_node_info, dialect_of
from p2ptui.core.peers import Dialect, Peer, Standing
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.sessions.crossings import Crossings
from p2ptui.core.sessions.greetings import (
    is_extended,
    response_payloads,
    shortest_response_bytes,
)
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.other_ways import AlternatePath, AlternatePaths, Told
from p2ptui.core.sessions.takeover import Claim, Takeover
from p2ptui.core.state import NodeState
from p2ptui.core.trust import vouches
from p2ptui.text import counted
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import Capability, Envelope, MessageType, NodeInfo, ReceivedNodeInfo


@dataclass(frozen=True, slots=True)
class Arrival:
    """A HandshakeRequest that passed all checks but that of its id's owner."""

    address: Address
    message: Envelope
    info: NodeInfo
    earned: Purse
    """What the request pays for."""
    inherited: Channel | None = None
    """What it had at its last address, where it was found silent."""
    former_ids: tuple[str, ...] = ()
    """Of the requests that it made from there: copies may come late."""


class Responder:
    """Answers HandshakeRequests.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Where peers are entered and removed.
        takeover: Settles who owns an id.
        handshake: The other side, with which requests may cross.
        ways: Requests that came from several addresses.
        crossings: Requests that crossed by several ways.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        takeover: Takeover,
        handshake: Handshake,
        ways: AlternatePaths,
        crossings: Crossings,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._takeover = takeover
        self._handshake = handshake
        self._ways = ways
        self._crossings = crossings
        self._shortest_response = shortest_response_bytes(state.identity)
        self.on_restart: Callable[[Peer, Address, float], None] = lambda *_: None
        """Called when a relayed node begins a new session: with the address that it came from."""

    def take_request(self, address: Address, message: Envelope, earned: Purse, now: float) -> bool:
        """Somebody wants to be a peer; see `handle_request`."""
        peer = self._state.peers.at(address)
        both = peer is not None and relayed_node(peer.address) and relayed_node(address)
        if peer is not None and both:
            # By way of whichever server, it is the same node.
            self.on_restart(peer, address, now)
            address = peer.address
            earned = self._state.gate.by_other_server(earned, address)
        self.handle_request(address, message, earned, now)
        return True

    def handle_request(
        self,
        address: Address,
        message: Envelope,
        earned: Purse,
        now: float,
        inherited: Channel | None = None,
        former_ids: tuple[str, ...] = (),
    ) -> None:
        """Somebody wants to be a peer.

        Args:
            address: Where the request came from.
            message: The request.
            earned: What it pays for.
            now: The time, seconds.
            inherited: What it had at its last address, where it was found silent.
            former_ids: Of the requests that it made from there.
        """
        peer = self._state.peers.at(address)
        if peer is not None and message.id in peer.handshakes.requests:
            self._repeat(peer, address, message, earned, now)
            return
        try:
            received = decode_payload(message.payload, ReceivedNodeInfo)
            info = accept_node_info(received, self._state.identity, relayed_node(address))
            arrival = Arrival(address, message, info, earned, inherited, former_ids)
            self._check_room(arrival, now)
        except MalformedError as error:
            self._refuse(address, message, earned, f"malformed handshake: {error}", now)
            return
        except RefusedError as error:
            self._refuse(address, message, earned, str(error), now)
            return
        owner = self._state.peers.with_id(info.id)
        if owner is None or owner.address == address:
            self._accept(arrival, now)
            return
        is_late = self._crossings.is_late(owner, address, now)
        if is_late and self._state.peers.add_alias(owner, address, Standing.ANSWERED):
            # One session by two ways: no claim, and no news either.
            self._accept(arrival, now)
            return
        if peer is None and self._ways.is_same_attempt(owner, message, now):
            self._answer_other_way(owner, arrival, now)
            return
        self._claim(owner, arrival, received.continues, now)

    def _claim(self, owner: Peer, arrival: Arrival, continues: str | UnsetType, now: float) -> None:
        """A newcomer brings the id of a peer at another address."""
        if self._ways.is_late_copy(owner, arrival.message):
            self._state.counters.drop("late_handshake")
            self._refuse_known(arrival, now)
            return
        address, message, earned = arrival.address, arrival.message, arrival.earned
        # Much may have happened meanwhile: the request is looked at as if it came now.
        claim = Claim(
            owner,
            address,
            message.id,
            refuse=lambda at: self._refuse_known(arrival, at),
            grant=lambda at, channel: self.handle_request(
                address, message, earned, at, channel, tuple(owner.handshakes.requests)
            ),
        )
        if owner.is_authenticated and vouches(owner, continues):
            self._takeover.grant_at_once(claim, now)
        else:
            self._takeover.begin(claim, now)

    def _repeat(
        self, peer: Peer, address: Address, message: Envelope, earned: Purse, now: float
    ) -> None:
        if peer.handshakes.requests[-1] != message.id or not peer.handshakes.response:
            self._state.counters.duplicates += 1
            return
        peer.liveness.hear(now)
        # As with the first answer, one that this node asked itself is no victim. Its own requests
        # may have used up all that it may be sent, and without this answer it never proves itself.
        if peer.initiated or peer.purse.may_receive(len(peer.handshakes.response)):
            self._transmit_response(peer, address, earned, now)
        if message.requires_ack:
            self._delivery.acknowledge(peer, message, now)

    def _check_room(self, arrival: Arrival, now: float) -> None:
        peers = self._state.peers
        is_known = peers.at(arrival.address) is not None
        if is_known or peers.with_id(arrival.info.id) is not None:
            return
        if not self._lifecycle.make_room(now):
            limit = self._state.config.server.max_connections
            raise RefusedError(f"the server is full: {counted(limit, 'peer')} (max_connections)")

    def _refuse(
        self, address: Address, message: Envelope, earned: Purse, reason: str, now: float
    ) -> None:
        self._state.counters.handshakes_refused += 1
        peer = self._state.peers.at(address)
        purse = None if peer is None else peer.purse
        limit = (purse or earned).allowance
        _, data = self._response(address, message, reason, None, limit, now)
        to = address if peer is None else peer.sends_to
        if self._state.gate.refuse(data, to, earned, now, purse):
            self._state.trace(Direction.OUT, address, "", MessageType.HANDSHAKE_RESPONSE, data)
        else:
            self._state.counters.drop("refusal_unsent")

    def _refuse_known(self, arrival: Arrival, now: float) -> None:
        reason = f"node id {arrival.info.id} already exists"
        self._refuse(arrival.address, arrival.message, arrival.earned, reason, now)

    def _answer_other_way(self, owner: Peer, arrival: Arrival, now: float) -> None:
        """A request that was accepted has come from another address too: both are answered."""
        way = self._ways.at(arrival.address, arrival.message)
        if way is None:
            sequence = next((key for key in owner.handshake_keys[-1:] if type(key) is int), None)
            told = self._tell(arrival, sequence, arrival.earned.allowance, now)
            way = AlternatePath(owner, arrival.address, arrival.message.id, told)
        data = way.told.response
        if not self._state.gate.refuse(data, arrival.address, arrival.earned, now):
            self._state.counters.drop("refusal_unsent")
            return
        self._ways.keep(
            way,
            lambda at, left: self._accept(replace(arrival, inherited=left), at, way.told),
            now,
        )
        self._state.trace(Direction.OUT, arrival.address, "", MessageType.HANDSHAKE_RESPONSE, data)

    def _accept(self, arrival: Arrival, now: float, told: Told | None = None) -> None:
        """Make the newcomer a peer, or begin a new session with the peer at its address.

        Args:
            arrival: Who it is.
            now: The time, seconds.
            told: What has answered it already.
        """
        message = arrival.message
        known = self._state.peers.at(arrival.address)
        if known is not None and known.node_id not in ("", arrival.info.id):
            known = None  # it will be replaced
        allowance = _allowance(arrival, known)
        if allowance < self._shortest_response:
            self._state.counters.drop("handshake_too_short")
            return
        if known is None:
            peer = self._enter(arrival, now)
        else:
            peer = known
            if peer.is_authenticated and not self._crossings.is_late(peer, arrival.address, now):
                self._lifecycle.restart(peer, now, "it began a new session")
        peer.session.accepted = True
        peer.take_pair(arrival.address)
        peer.handshakes.note_request(message.id)
        self._lifecycle.describe(peer, arrival.info, message, now)
        self._state.counters.handshakes_accepted += 1
        numbered = Capability.RETRANSMIT in peer.capabilities
        numbering = peer.channel.sender.numbering
        is_told = told is not None  # and has paid for it
        if told is None:
            sequence = numbering.begin() if numbered else None
            told = self._tell(arrival, sequence, allowance, now)
        elif told.sequence is not None:
            numbering.begin_at(told.sequence)
        has_crossed = peer.status is PeerStatus.HANDSHAKING
        peer.handshakes.answer(told.response, told.response_id, told.keys, crossed=has_crossed)
        if numbered:
            peer.liveness.last_ping_sent = now  # the response asks for an Ack, which proves as much
        if not is_told:
            self._ways.open(peer, now)
            self._transmit_response(peer, arrival.address, arrival.earned, now)
        peer.purse.earn_handshake()
        peer.purse.keep_for_pings()
        if message.requires_ack:
            self._acknowledge(peer, message, now)
        self._lifecycle.authenticate(peer, now)
        if peer.acks_owed and not peer.untold:
            self._delivery.pay_acks(peer, now)
            self._delivery.challenge(peer, now)
        self._handshake.handle_crossing(peer, now)

    def _acknowledge(self, peer: Peer, message: Envelope, now: float) -> None:
        if peer.proved or peer.dialect is Dialect.SPEC:
            self._delivery.acknowledge(peer, message, now)
        else:
            # The response says as much, and the list that follows says more.
            self._delivery.owe_ack(peer, message, now)

    def _enter(self, arrival: Arrival, now: float) -> Peer:
        other = self._state.peers.at(arrival.address)
        if other is not None:
            reason = f"replaced by node {arrival.info.id} at the same address"
            self._lifecycle.remove(other, PeerStatus.DISCONNECTED, now, reason)
        peer = self._lifecycle.open(
            arrival.address,
            now,
            initiated=False,
            inherited=arrival.inherited
            or self._crossings.channel(arrival.info.id, arrival.address),
        )
        peer.purse.absorb(arrival.earned)
        # A late copy of what the one before it sent must not bring that one back.
        former_ids = arrival.former_ids if other is None else other.handshakes.requests
        peer.handshakes.requests = former_ids
        return peer

    def _transmit_response(self, peer: Peer, address: Address, earned: Purse, now: float) -> None:
        """Answer where the request came from, which need not be where the session goes."""
        response = peer.handshakes.response
        kind = MessageType.HANDSHAKE_RESPONSE
        if self._crossings.leads_to(address, peer.node_id) and address != peer.sends_to:
            self._state.trace(Direction.OUT, address, peer.node_id, kind, response)
            grant = self._grant(peer, address, earned, now)
            self._state.gate.send(response, address, grant)
            return
        grant = self._grant(peer, peer.sends_to, earned, now)
        self._delivery.transmit_from(grant, peer, response, kind, now)

    def _grant(self, peer: Peer, to: Address, earned: Purse, now: float) -> Grant:
        gate = self._state.gate
        if peer.initiated:
            # A peer that this node asked itself is no victim of what it is sent.
            return gate.grant(Reason.HANDSHAKE, to, now, peer.purse)
        return gate.answer(peer.purse, to, earned)

    def _tell(self, arrival: Arrival, sequence: int | None, limit: float, now: float) -> Told:
        extended = is_extended(arrival.info)
        response_id, data = self._response(
            arrival.address, arrival.message, None, sequence, limit, now, extended=extended
        )
        return Told(response_id, sequence, data)

    def _response(
        self,
        address: Address,
        message: Envelope,
        reason: str | None,
        sequence: int | None,
        limit: float,
        now: float,
        *,
        extended: bool = False,
    ) -> tuple[str, bytes]:
        """The answer to a request: its id and bytes; the short form where `limit` asks for it."""
        own, dialect = self._state.identity, dialect_of(message)
        # The request's number comes back, as proof to who asked; the reference writes null.
        ack_for = None if message.speaks_reference else message.sequence_number
        for payload in response_payloads(own, dialect, address, reason, extended=extended):
            message_id, data = self._delivery.build(
                MessageType.HANDSHAKE_RESPONSE,
                payload,
                now,
                sequence_number=sequence,
                requires_ack=sequence is not None,
                ack_for=ack_for,
            )
            if len(data) <= limit:
                break
        return message_id, data


def _allowance(arrival: Arrival, known: Peer | None) -> float:
    """Bytes that may be sent to where a request came from, to answer it."""
    earned = arrival.earned.allowance
    if known is None:
        return earned
    # A peer that this node asked itself is no victim of what it is sent.
    return math.inf if known.initiated else max(earned, known.purse.allowance)
