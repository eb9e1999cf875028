"""The key exchange as the side that answers: requests with one wait beside all that there is.

Such a request is never accepted at once, and nothing is guessed about it. It is answered with
message 2, as far as it pays for that, and waits for message 3, whether its address is free, in use,
or its id is owned elsewhere. Message 3 shows the keys of the id, at the address that was answered:
whoever can do that is the owner, and is let in. Until then nothing changes for anybody.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from msgspec import UNSET

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Purse
from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.identity import RefusedError, accept_node_info, canonical_id, shortened
from p2ptui.core.peers import Peer, Standing
from p2ptui.core.peers.seal import Proof
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.sealing import Mode, Plain, Seals
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.secure import Reason, Responder, SecureError
from p2ptui.secure.exchange import PATTERNS
from p2ptui.secure.frames import decode_message_3
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_envelope, encode_payload
from p2ptui.wire.exchange import (
    REFUSAL_BYTES,
    ExchangeKey,
    InAnswer,
    account_of,
    as_received,
    decode_finish,
    encode_inside,
)
from p2ptui.wire.message import (
    MAX_SEQUENCE_NUMBER,
    NULL,
    Envelope,
    ExchangeResponsePayload,
    MessageType,
    ReceivedNodeInfo,
    RefusedExchangePayload,
)

MAX_PENDING: Final = 1024
"""Key exchanges that were answered and wait for their last message; the oldest makes room."""

PENDING_S: Final = 10.0
"""So long each may take."""

MAX_TRIES: Final = 1024
"""Last messages that are read for one exchange. All but one are forged by somebody who has seen its
answer; one whose first half is a true one's costs a key exchange, any other next to nothing."""


@dataclass(slots=True, eq=False)
class _Pending:
    """A key exchange that was answered."""

    address: Address
    message: Envelope
    """The request, without its payload."""
    earned: Purse
    responder: Responder
    told: Told
    refusal: bytes
    tries: int = 0


class _Request(NamedTuple):
    """One that is being looked at."""

    data: bytes
    """As it came."""
    address: Address
    message: Envelope
    earned: Purse


class Answering:
    """Answers requests with a key exchange, and lets in who completes it.

    Args:
        state: The shared ground.
        seals: The secured sessions.
        sessions: Where peers are let in.
    """

    def __init__(self, state: NodeState, seals: Seals, sessions: SessionParts) -> None:
        self._state = state
        self._seals = seals
        self._lifecycle = sessions.lifecycle
        self._crossings = sessions.crossings
        self._newcomers = sessions.newcomers
        self._answers = sessions.newcomers.answers
        keys = seals.keys
        # With the network key, XX is for those alone who may come without it.
        both = keys.psk is not None and keys.allowed_ids
        self._accepts = tuple(PATTERNS) if both else None
        self._account = account_of(state.identity, keys.identity.ed_public)
        self._pending: BoundedTable[int, _Pending] = state.tables.add(
            "exchanges_pending",
            BoundedTable(
                MAX_PENDING,
                full="exchange_forgotten",
                shares=state.tables.shares,
                lifetime_s=PENDING_S,
                on_evicted=lambda _, pending: self._forget_request(pending),
            ),
        )
        self._by_request: BoundedTable[tuple[Address, str], int] = BoundedTable(2 * MAX_PENDING)

    # Requests.

    def take_request(
        self,
        data: bytes,
        address: Address,
        message: Envelope,
        peer: Peer | None,
        earned: Purse,
        now: float,
    ) -> bool:
        """A request for a handshake; whether it is dealt with here.

        Args:
            data: The datagram.
            address: Where it came from.
            message: The request.
            peer: Who is there, if anybody is.
            earned: What it pays for.
            now: The time, seconds.
        """
        request = _Request(data, address, message, earned)
        if peer is not None and message.id in peer.handshakes.requests:
            # Who completes an exchange has its answer; who speaks in the open is answered again.
            if peer.seal is not None:
                self._state.counters.duplicates += 1
            return peer.seal is not None
        exchange = _offered(message)
        if exchange is None:
            return self._take_plain(request, peer, now)
        number = self._by_request.get((address, message.id))
        pending = None if number is None else self._pending.get(number)
        if pending is not None:
            self._answer(pending, peer, earned, now)
        elif self._is_crossed(peer, message):
            self._state.counters.drop("crossed_exchange")
        else:
            return self._begin(request, exchange, peer, now)
        return True

    def _take_plain(self, request: _Request, peer: Peer | None, now: float) -> bool:
        """A request without an exchange changes nothing for who is secured."""
        if peer is not None and peer.seal is not None:
            self._state.counters.drop("unsealed")
            return True
        node_id = _claimed_id(request.message)
        owner = self._state.peers.with_id(node_id)
        words = self._seals.judge(request.address, node_id, None)
        if owner is not None and owner.seal is not None:
            words = f"node id {node_id} already exists, and has shown its keys"
        elif self._seals.keys.mode is Mode.REQUIRE:
            words = "this node takes secured peers only (security.mode is require)"
        if words:
            self._refuse_request(request, words, now)
        return bool(words)

    def _refuse_request(self, request: _Request, words: str, now: float) -> None:
        self._answers.refuse(request.address, request.message, request.earned, words, now)

    def _is_crossed(self, peer: Peer | None, message: Envelope) -> bool:
        """Whether this node asks the same node as well: of two requests that cross, that of the
        smaller id makes the session."""
        if peer is None or not peer.initiated or peer.is_authenticated:
            return False
        return self._state.identity.id < _claimed_id(message)

    def _begin(self, request: _Request, exchange: str, peer: Peer | None, now: float) -> bool:
        keys, address = self._seals.keys, request.address
        try:
            responder = Responder(
                request.data, exchange, keys.static, psk=keys.psk, accepts=self._accepts
            )
        except SecureError as error:
            if error.reason is Reason.UNKNOWN_PATTERN:
                return self._take_plain(request, peer, now)
            if error.reason is Reason.MALFORMED:
                self._state.counters.drop("malformed")
            else:
                self._refuse_request(request, str(error), now)
            return True
        words = self._lack_of_room(request, peer, now)
        if words:
            self._refuse_request(request, words, now)
            return True
        number = self._seals.new_number(self._pending)
        refusal = self._state.rng.randbytes(REFUSAL_BYTES)
        try:
            told = self._write(request, responder, number, refusal, now)
        except SecureError:
            self._state.counters.drop("malformed")
            return True
        message = shortened(request.message, NULL)
        pending = _Pending(address, message, request.earned, responder, told, refusal)
        if self._pending.put(number, pending, now, address=address):
            self._by_request.put((address, message.id), number)
            self._answer(pending, peer, request.earned, now)
        return True

    def _lack_of_room(self, request: _Request, peer: Peer | None, now: float) -> str:
        """Why there is no seat for who asks; empty if there may be one."""
        seats, address = self._lifecycle.seats, request.address
        is_known = peer is not None or self._state.peers.with_id(_claimed_id(request.message))
        if is_known or seats.is_free(address):
            return ""
        if seats.who_goes(address, now, has_shown=True) is not None:
            return ""
        seats.ask(address, now)
        return seats.words(address)

    def _write(
        self, request: _Request, responder: Responder, number: int, refusal: bytes, now: float
    ) -> Told:
        state, message = self._state, request.message
        response_id, sequence = state.ids.uuid(), self._number_for(request)
        is_seen = relayed_node(request.address) is None
        seen = format_address(visible_address(request.address)) if is_seen else None
        inside = InAnswer(self._account, seen, response_id, sequence, refusal)
        text = responder.answer(encode_inside(inside), number=number)
        payload = ExchangeResponsePayload(
            node_info={"id": state.identity.id}, success=True, public_addr=seen, exchange=text
        )
        data = encode_envelope(
            Envelope(
                response_id,
                MessageType.HANDSHAKE_RESPONSE,
                state.unix(now),
                encode_payload(payload),
                sequence,
                True,
                message.sequence_number,
            )
        )
        return Told(response_id, sequence, Plain(data))

    def _number_for(self, request: _Request) -> int:
        """The number of an answer. Where this node asks the same one, it is that of its request:
        then the other side's window is the same, whichever of the two makes the session."""
        state, address = self._state, request.address
        peer = state.peers.at(address)
        if peer is not None and peer.initiated and not peer.is_authenticated and not peer.resumes:
            channel: Channel | None = peer.channel
        else:
            channel = self._crossings.channel(_claimed_id(request.message), address)
        if channel is None:
            return state.rng.getrandbits(32)
        return (channel.sender.numbering.next - 1) & MAX_SEQUENCE_NUMBER

    def _answer(self, pending: _Pending, peer: Peer | None, earned: Purse, now: float) -> None:
        """Send message 2, if the request pays for it."""
        gate, data, to = self._state.gate, pending.told.response, pending.address
        is_victim = peer is not None and not (peer.proved or peer.initiated)
        purse = peer.purse if peer is not None and is_victim else None
        if not gate.refuse(data, to, earned, now, purse, is_known=peer is not None):
            self._state.counters.drop("refusal_unsent")

    def awaits(self, number: int) -> bool:
        """Whether an exchange is pending by that number: its frames may overtake message 3."""
        return number in self._pending

    # The last message.

    def take_message_3(self, frame: bytes, address: Address, now: float) -> None:
        """The last message of a key exchange, from whoever."""
        message = decode_message_3(frame)
        if message is None:
            self._state.counters.drop("malformed")
            return
        pending = self._pending.get(message.session)
        if pending is None:
            self._take_again(message.session, address)
        elif pending.address != address or pending.tries >= MAX_TRIES:
            self._state.counters.drop("exchange_refused")
        else:
            pending.tries += 1
            self._complete(message.session, pending, message.message, now)

    def _take_again(self, number: int, address: Address) -> None:
        """One that was taken before: its sender has heard nothing yet."""
        peer = self._seals.peer_of(number)
        if peer is None or self._state.peers.at(address) is not peer:
            self._state.counters.drop("exchange_unknown")
        elif peer.seal is not None and not peer.seal.session.current.opened:
            self._state.gate.send_to(peer, b"")

    def _complete(self, number: int, pending: _Pending, message: bytes, now: float) -> None:
        state, address = self._state, pending.address
        try:
            completed = pending.responder.complete(message, now)
        except SecureError as error:
            state.counters.drop(f"exchange_{error.reason}")
            if error.reason is Reason.NETWORK_KEY_DIFFERS:
                self._refuse(pending, str(error), now)
            return
        try:
            account = decode_finish(completed.payload).account
            keys = PublicKeys(completed.remote_static, account.ed_public)
            received = as_received(account, keys.id)
            info = accept_node_info(received, state.identity, relayed_node(address))
        except (MalformedError, RefusedError) as error:
            self._refuse(pending, str(error), now)
            return
        arrival = Arrival(
            address,
            pending.message,
            info,
            pending.earned,
            proof=Proof(completed.transport, keys),
        )
        words = self._doubt(pending, arrival, keys, now)
        if words:
            self._refuse(pending, words, now)
            return
        self._pending.pop(number)
        self._forget_request(pending)
        self._let_in(arrival, pending.told, now)

    def _doubt(self, pending: _Pending, arrival: Arrival, keys: PublicKeys, now: float) -> str:
        """What speaks against who has shown its keys; empty if nothing does."""
        own, node_id, address = self._seals.keys, arrival.info.id, arrival.address
        if own.psk and not pending.responder.pattern.psks and node_id not in own.allowed_ids:
            return "this node wants the network key, and the other side has offered none"
        words = self._seals.judge(address, node_id, keys)
        peers = self._state.peers
        if words or peers.at(address) is not None or peers.with_id(node_id) is not None:
            return words
        if self._lifecycle.make_room(address, now, has_shown=True):
            return ""
        return self._lifecycle.seats.words(address)

    def _let_in(self, arrival: Arrival, told: Told, now: float) -> None:
        state = self._state
        peer = state.peers.at(arrival.address)
        if peer is not None and relayed_node(arrival.address) and peer.address != arrival.address:
            # A relayed node may come by another server than the one in its address.
            arrival = replace(arrival, address=peer.address, came_by=arrival.address)
        owner = state.peers.with_id(arrival.info.id)
        if owner is not None and self._is_way_to(owner, arrival, now):
            self._join_crossed(owner, arrival, told, now)
            return
        self._newcomers.let_in(arrival, told, now, is_proved=True)

    def _is_way_to(self, owner: Peer, arrival: Arrival, now: float) -> bool:
        """Whether a node that has shown its keys has just begun a session by another way."""
        seal, proof = owner.seal, arrival.proof
        if seal is None or proof is None or seal.keys != proof.keys:
            return False
        peers, address = self._state.peers, arrival.address
        is_late = self._crossings.is_late(owner, address, now)
        if owner.address == address or not (is_late or self._seals.has_lost(seal, proof, now)):
            return False
        if relayed_node(address) and relayed_node(owner.address):
            return peers.add_relay(owner, address)
        return peers.add_alias(owner, address, Standing.ANSWERED)

    def _join_crossed(self, owner: Peer, arrival: Arrival, told: Told, now: float) -> None:
        """Two nodes asked each other by two ways: one session, and both its keys open."""
        proof, number = arrival.proof, arrival.message.sequence_number
        assert proof is not None
        assert owner.seal is not None
        if not self._seals.has_lost(owner.seal, proof, now) and told.sequence is not None:
            # The other one may never hear of this node's own request: it knows this answer.
            owner.channel.sender.begin_at(told.sequence)
        if number is not None:
            owner.channel.begin(number)
        self._seals.enter(owner, proof, now)
        owner.session.note_accepted()
        owner.handshakes.note_request(arrival.message.id)
        owner.handshakes.answer(told.response, told.response_id, told.keys, crossed=True)
        self._state.gate.send_to(owner, b"")

    def _refuse(self, pending: _Pending, words: str, now: float) -> None:
        """Tell who has come so far why it is no peer, in a way that nobody else can."""
        state, message = self._state, pending.message
        state.counters.handshakes_refused += 1
        payload = RefusedExchangePayload(
            success=False, error_message=words, refuses=pending.refusal.hex()
        )
        data = encode_envelope(
            Envelope(
                state.ids.uuid(),
                MessageType.HANDSHAKE_RESPONSE,
                state.unix(now),
                encode_payload(payload),
                ack_for=message.sequence_number,
            )
        )
        if not state.gate.refuse(Plain(data), pending.address, state.gate.answer_purse, now):
            state.counters.drop("refusal_unsent")

    def _forget_request(self, pending: _Pending) -> None:
        self._by_request.pop((pending.address, pending.message.id))


def _offered(message: Envelope) -> str | None:
    """The key exchange that a request offers."""
    try:
        exchange = decode_payload(message.payload, ExchangeKey).exchange
    except MalformedError:
        return None
    return None if exchange is UNSET else exchange


def _claimed_id(message: Envelope) -> str:
    """The id that a request names; empty if it names none."""
    try:
        info = decode_payload(message.payload, ReceivedNodeInfo)
    except MalformedError:
        return ""
    return canonical_id(info.id if info.id is not None else info.node_id) or ""
