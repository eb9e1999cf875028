"""The handshake in both roles: a request answered, a request made.

The side that asks repeats its request, byte for byte, until an answer comes.
The side that answers keeps nothing for an address before it accepts it, and
answers a repeated request with the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from p2ptui.core.admission import Admission
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import ConnectResult, PeerStatus
from p2ptui.core.identity import RefusedError, accept_node_info, dialect_of
from p2ptui.core.lifecycle import Lifecycle
from p2ptui.core.peers import HANDSHAKES_REMEMBERED, Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import HandshakeError, LocalError
from p2ptui.wire.address import Address, format_address, parse_ip_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    Capability,
    Envelope,
    ErrorPayload,
    HandshakeRequestPayload,
    HandshakeResponsePayload,
    MessageType,
    NodeInfo,
    ReceivedHandshakeResponse,
    ReceivedNodeInfo,
)

RETRY_INTERVAL_S: Final = 0.5
"""Between repetitions of a request. Not doubled: within `auth_timeout` that would leave five
tries, and one handshake in 170 would fail at 20 % loss each way; two small datagrams a second
burden nobody."""

RETRY_JITTER: Final = 0.1

_EVICTION_CANDIDATES: Final = 16
"""Peers looked at for one that must make room, longest silent first: no newcomer costs more."""

REQUEST_BYTES: Final = 640
"""A request is padded to this size: the answer, its Ack and a first page fit three times that."""


@dataclass(slots=True)
class _Attempt:
    peer: Peer
    message_id: str
    sequence: int
    data: bytes
    deadline: float
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A HandshakeRequest that passed all checks but that of its id's owner."""

    address: Address
    message: Envelope
    info: NodeInfo
    size_bytes: int


class Handshake:
    """Makes peers out of addresses.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Where peers are entered and removed.
        admission: What strangers may cost.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, admission: Admission
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._admission = admission
        self._attempts: dict[Address, _Attempt] = {}
        self.on_id_taken: Callable[[Arrival, Peer, float], None] | None = None
        """Called when a newcomer brings the id of a peer at another address."""

    # The side that asks.

    def connect(self, address: Address, now: float, timeout_s: float) -> int:
        """Begin (or join) a handshake with `address`; the token of its ConnectResult.

        Raises:
            LocalError: The peer table is full.
        """
        token = self._state.new_token()
        peer = self._state.peers.at(address)
        if peer is not None and peer.is_authenticated:
            self._state.finish(token, self._result(peer))
            return token
        attempt = self._attempts.get(address)
        if attempt is None:
            limit = self._state.config.server.max_connections
            if peer is None and len(self._state.peers) >= limit:
                raise LocalError(
                    f"cannot connect to {format_address(address)}: {limit} peers are the limit"
                    " (max_connections)"
                )
            peer = peer or self._lifecycle.open(address, now, initiated=True)
            attempt = self._begin(peer, now + timeout_s, now)
        attempt.deadline = max(attempt.deadline, now + timeout_s)
        attempt.tokens.append(token)
        return token

    def reconnect(self, peer: Peer, now: float, reason: str) -> None:
        """Begin a new session with a peer that this node had asked for and that forgot it."""
        self._lifecycle.restart(peer, now, reason)
        peer.proved = False
        self._begin(peer, now + self._state.config.security.auth_timeout, now)

    def _begin(self, peer: Peer, deadline: float, now: float) -> _Attempt:
        sequence = peer.channel.sender.take_sequence()
        own = self._state.identity
        payload = HandshakeRequestPayload(
            **{name: getattr(own, name) for name in own.__struct_fields__}
        )
        size = len(encode_payload(payload)) + 256
        padded = HandshakeRequestPayload(
            **{name: getattr(own, name) for name in own.__struct_fields__},
            padding=" " * max(REQUEST_BYTES - size, 0),
        )
        message_id, data = self._delivery.build(
            MessageType.HANDSHAKE_REQUEST,
            encode_payload(padded),
            now,
            sequence_number=sequence,
            requires_ack=True,
        )
        attempt = _Attempt(peer, message_id, sequence, data, deadline)
        self._attempts[peer.address] = attempt
        self._lifecycle.set_status(peer, PeerStatus.HANDSHAKING)
        self._try(attempt, now)
        return attempt

    def _try(self, attempt: _Attempt, now: float) -> None:
        peer = attempt.peer
        if now >= attempt.deadline:
            where = format_address(peer.address)
            self._fail(attempt, now, f"no answer from {where}; is a node running there?")
            return
        self._delivery.transmit(
            peer, attempt.data, MessageType.HANDSHAKE_REQUEST, now, budgeted=False
        )
        pause = RETRY_INTERVAL_S * self._state.rng.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)
        when = min(now + pause, attempt.deadline)
        peer.timer = self._state.timers.schedule(when, lambda at: self._try(attempt, at))

    def _fail(self, attempt: _Attempt, now: float, reason: str) -> None:
        self._attempts.pop(attempt.peer.address, None)
        self._lifecycle.remove(attempt.peer, PeerStatus.FAILED, now, reason)
        for token in attempt.tokens:
            self._state.finish(token, HandshakeError(reason))

    def cancel(self, peer: Peer, now: float, reason: str) -> None:
        """Give up a handshake that was asked for."""
        attempt = self._attempts.get(peer.address)
        if attempt is not None:
            self._fail(attempt, now, reason)

    def handle_response(self, address: Address, message: Envelope, now: float) -> bool:
        """The answer to a request of this node; whether the session began with it."""
        attempt = self._attempts.get(address)
        if attempt is None or (
            message.ack_for is not None
            and message.ack_for not in (attempt.sequence, attempt.message_id)
        ):
            self._state.counters.drop("unsolicited_handshake_response")
            return False
        try:
            response = decode_payload(message.payload, ReceivedHandshakeResponse)
            if not response.success:
                self._fail(attempt, now, _refusal(address, response.error_message))
                return False
            info = accept_node_info(response.node_info or ReceivedNodeInfo(), self._state.identity)
        except MalformedError:
            self._state.counters.drop("malformed")
            return False
        except RefusedError as error:
            where = format_address(address)
            self._fail(attempt, now, f"the node at {where} cannot be a peer: {error}")
            return False
        known = self._state.peers.with_id(info.id)
        if known is not None and known is not attempt.peer:
            where = format_address(known.address)
            self._fail(attempt, now, f"node {info.id} is already connected, at {where}")
            return False
        peer = attempt.peer
        self._describe(peer, info, message)
        if message.ack_for is not None:
            self._delivery.prove(peer, now)
        if response.public_addr is not None:
            peer.public_address = parse_ip_address(response.public_addr)
        self._succeed(attempt, now)
        return True

    def handle_ack(self, peer: Peer, key: int | str, now: float) -> bool:
        """An Ack of a handshake message, in either role; whether it was one."""
        attempt = self._attempts.get(peer.address)
        if attempt is not None and key in (attempt.sequence, attempt.message_id):
            peer.acks = True
            self._delivery.prove(peer, now)
            return True
        if key in peer.response_keys:
            peer.acks = True
            self._delivery.prove(peer, now)
            return True
        return False

    def handle_error(self, address: Address, payload: ErrorPayload, now: float) -> bool:
        """The reference refuses a handshake by an Error; whether this was one."""
        attempt = self._attempts.get(address)
        if attempt is None or payload.code is not None:
            return False
        self._fail(attempt, now, _refusal(address, payload.error))
        return True

    def _succeed(self, attempt: _Attempt, now: float) -> None:
        peer = attempt.peer
        self._attempts.pop(peer.address, None)
        self._lifecycle.authenticate(peer, now)
        for token in attempt.tokens:
            self._state.finish(token, self._result(peer))

    @staticmethod
    def _result(peer: Peer) -> ConnectResult:
        return ConnectResult(peer.node_id, peer.address, peer.public_address)

    def _describe(self, peer: Peer, info: NodeInfo, message: Envelope) -> None:
        peer.info = info
        peer.capabilities = frozenset(info.capabilities)
        peer.dialect = dialect_of(message)
        if message.sequence_number is not None and Capability.RETRANSMIT in peer.capabilities:
            peer.channel.sequences.start(message.sequence_number)

    # The side that answers.

    def handle_request(self, address: Address, message: Envelope, size: int, now: float) -> None:
        """Somebody wants to be a peer."""
        peer = self._state.peers.at(address)
        if peer is not None and message.id in peer.handshake_ids:
            self._repeat(peer, message, now)
            return
        try:
            received = decode_payload(message.payload, ReceivedNodeInfo)
            info = accept_node_info(received, self._state.identity)
            arrival = Arrival(address, message, info, size)
            self._check_room(arrival, now)
        except MalformedError as error:
            self.refuse(address, message, size, f"malformed handshake: {error}", now)
            return
        except RefusedError as error:
            self.refuse(address, message, size, str(error), now)
            return
        owner = self._state.peers.with_id(info.id)
        if owner is not None and owner.address != address and self.on_id_taken is not None:
            self.on_id_taken(arrival, owner, now)
            return
        self.accept(arrival, now)

    def _repeat(self, peer: Peer, message: Envelope, now: float) -> None:
        if peer.handshake_ids[-1] != message.id or not peer.handshake_response:
            self._state.counters.duplicates += 1
            return
        self._delivery.transmit(peer, peer.handshake_response, MessageType.HANDSHAKE_RESPONSE, now)
        if message.requires_ack:
            self._delivery.acknowledge(peer, message, now)

    def _check_room(self, arrival: Arrival, now: float) -> None:
        peers = self._state.peers
        limit = self._state.config.server.max_connections
        if (
            len(peers) < limit
            or peers.at(arrival.address) is not None
            or peers.with_id(arrival.info.id) is not None
        ):
            return
        # Whoever forges addresses must not fill the house: who never said another
        # word after its handshake and never proved its address makes room.
        patience = self._state.config.security.auth_timeout
        for peer in islice(peers, _EVICTION_CANDIDATES):
            silent = peer.messages_in == 0 and not peer.proved and not peer.initiated
            if silent and now - peer.created_at >= patience:
                reason = "never proved its address"
                self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, reason)
                return
        raise RefusedError(f"the server is full: {limit} peers (max_connections)")

    def refuse(
        self, address: Address, message: Envelope, size: int, reason: str, now: float
    ) -> None:
        """Answer that the handshake failed, and why."""
        self._state.counters.handshakes_refused += 1
        _, data = self._response(address, message, reason, None, now)
        if self._admission.may_answer(len(data), size, now):
            self._state.put_datagram(data, address)
        else:
            self._state.counters.drop("refusal_unsent")

    def refuse_known(self, arrival: Arrival, now: float) -> None:
        """Answer that another peer has the newcomer's id."""
        reason = f"node id {arrival.info.id} already exists"
        self.refuse(arrival.address, arrival.message, arrival.size_bytes, reason, now)

    def accept(self, arrival: Arrival, now: float) -> None:
        """Make the newcomer a peer, or begin a new session with the peer at its address."""
        message = arrival.message
        peer = self._state.peers.at(arrival.address)
        if peer is not None and peer.info is not None and peer.info.id != arrival.info.id:
            reason = f"replaced by node {arrival.info.id} at the same address"
            self._attempts.pop(peer.address, None)
            self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, reason)
            peer = None
        if peer is None:
            peer = self._lifecycle.open(arrival.address, now, initiated=False)
            peer.bytes_in = arrival.size_bytes
        elif peer.is_authenticated:
            self._lifecycle.restart(peer, now, "it began a new session")
        peer.accepted = True
        peer.handshake_ids = [*peer.handshake_ids[1 - HANDSHAKES_REMEMBERED :], message.id]
        self._describe(peer, arrival.info, message)
        self._state.counters.handshakes_accepted += 1
        own = Capability.RETRANSMIT in peer.capabilities
        sequence = peer.channel.sender.take_sequence() if own else None
        response_id, response = self._response(peer.address, message, None, sequence, now)
        peer.handshake_response = response
        peer.response_keys = (response_id,) if sequence is None else (response_id, sequence)
        self._delivery.transmit(peer, response, MessageType.HANDSHAKE_RESPONSE, now)
        if message.requires_ack:
            self._delivery.acknowledge(peer, message, now)
        attempt = self._attempts.get(peer.address)
        if attempt is not None:
            self._succeed(attempt, now)  # the requests crossed
        else:
            self._lifecycle.authenticate(peer, now)

    def _response(
        self,
        address: Address,
        message: Envelope,
        reason: str | None,
        sequence: int | None,
        now: float,
    ) -> tuple[str, bytes]:
        payload = HandshakeResponsePayload(
            node_info=self._state.identity,
            success=reason is None,
            error_message=reason,
            public_addr=format_address(address),
        )
        # The request's number comes back, as proof to who asked; the reference writes null.
        ack_for = None if message.speaks_reference else message.sequence_number
        return self._delivery.build(
            MessageType.HANDSHAKE_RESPONSE,
            encode_payload(payload),
            now,
            sequence_number=sequence,
            requires_ack=sequence is not None,
            ack_for=ack_for,
        )


def _refusal(address: Address, words: str | None) -> str:
    return f"{format_address(address)} refused the handshake: {words or 'no reason given'}"
