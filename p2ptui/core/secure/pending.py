"""One key exchange on the answering side, and the request that began it."""

from dataclasses import dataclass
from itertools import chain
from typing import Final

from msgspec import UNSET

from p2ptui.core.accounts import Purse
from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.events import Direction
from p2ptui.core.identity import canonical_id, read_account, shortened
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.state import NodeState
from p2ptui.secure import Responder
from p2ptui.secure.exchange import MESSAGE_2_OVERHEAD
from p2ptui.secure.frames import SECURED_OVERHEAD
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_envelope, encode_payload
from p2ptui.wire.exchange import (
    Account,
    ExchangeKey,
    InAnswer,
    encode_inside,
    shorter_accounts,
)
from p2ptui.wire.frames import RELAY_OVERHEAD, Plain
from p2ptui.wire.message import (
    NULL,
    Envelope,
    ExchangeResponsePayload,
    MessageType,
    RefusedExchangePayload,
    RefusedOfferPayload,
    RetryPayload,
)

LONGEST_ANSWER: Final = 1200
"""Most bytes of an answer, which is never sent in fragments: a size that passes everywhere."""

BROUGHT_BYTES: Final = RELAY_OVERHEAD + SECURED_OVERHEAD
"""How much longer an answer is if it comes through a server with which this node has a secured
session."""


_EXCHANGE: Final = b'"exchange"'
_NO_OFFER: Final = ExchangeKey()

_NO_EXCHANGE: Final = b'"exchange":""'
"""The placeholder for message 2 in a response."""


@dataclass(slots=True, eq=False)
class Pending:
    """A key exchange that was answered."""

    address: Address
    message: Envelope
    """The request, without its payload."""
    earned: Purse
    responder: Responder
    told: Told
    refusal: bytes
    asked_at: float
    """When the request came, seconds."""
    is_blind: bool
    """Whether nothing had arrived in a session with the asking node by then: it may not know about
    one."""
    last: Purse
    """What the latest datagram for it has earned."""
    tries: int = 0
    refused: str = ""
    """Why its last message was refused: it is repeated, and refused again, whatever it contains."""
    final: bytes = b""
    """The last message, once it has arrived."""
    is_held: bool = False
    """Whether it is complete, and waits for the peer at its address, or for a place."""
    is_doubted: bool = False
    """Whether a last message came that did not open, as if made with another network key."""


@dataclass(slots=True, eq=False)
class Request:
    """A request being examined; its content is decoded once, on demand."""

    data: bytes
    """The datagram as it came."""
    address: Address
    message: Envelope
    earned: Purse
    _offer: ExchangeKey | None = None
    _claimed_id: str | None = None

    def _read_offer(self) -> ExchangeKey:
        if self._offer is None:
            if not _may_name(self.data, _EXCHANGE):
                self._offer = _NO_OFFER
                return self._offer
            try:
                self._offer = decode_payload(self.message.payload, ExchangeKey)
            except MalformedError:
                self._offer = ExchangeKey()
        return self._offer

    @property
    def exchange(self) -> str | None:
        """The key exchange that it offers."""
        exchange = self._read_offer().exchange
        return None if exchange is UNSET else exchange

    @property
    def token(self) -> str:
        """The retry token in it; empty if there is none."""
        retry = self._read_offer().retry
        return retry if isinstance(retry, str) else ""

    @property
    def claimed_id(self) -> str:
        """The id that it names; empty if it names none."""
        if self._claimed_id is None:
            self._claimed_id = _claimed_id(self.message)
        return self._claimed_id


def write_answer(
    state: NodeState,
    account: Account,
    request: Request,
    responder: Responder,
    number: int,
    sequence: int,
    refusal: bytes,
    now: float,
    *,
    is_choosy: bool = False,
) -> Told:
    """Write the answer to a request, with message 2 in it.

    Args:
        state: The shared state.
        account: This node's account.
        request: The request.
        responder: The exchange that has read it.
        number: The number of the session, for frames to this node.
        sequence: The number of the answer.
        refusal: What a refusal of message 3 would name.
        now: The time, seconds.
        is_choosy: Whether admission depends on which node asks.

    Raises:
        SecureError: The key of the asking node shares no secret.
    """
    response_id = state.ids.uuid()
    is_seen = relayed_node(request.address) is None
    seen = format_address(visible_address(request.address)) if is_seen else None

    payload = ExchangeResponsePayload(
        node_info={"id": state.identity.id}, success=True, public_addr=seen, exchange=""
    )
    envelope = Envelope(
        response_id,
        MessageType.HANDSHAKE_RESPONSE,
        state.unix(now),
        encode_payload(payload),
        sequence,
        True,
        request.message.sequence_number,
    )
    response = encode_envelope(envelope)
    room = LONGEST_ANSWER - len(response) - (0 if is_seen else BROUGHT_BYTES)
    inside = b""
    for one in chain((account,), shorter_accounts(account)):
        inside = encode_inside(InAnswer(one, seen, response_id, sequence, refusal, is_choosy))
        if _text_length(inside) <= room:
            break
    text = responder.answer(inside, number=number).encode("ascii")
    # It is written once, since base64url needs no escapes; nothing else in it can look like that.
    response = response.replace(_NO_EXCHANGE, b'"exchange":"%s"' % text)
    return Told(response_id, sequence, Plain(response))


def _text_length(inside: bytes) -> int:
    """The length of message 2 as text."""
    return -(-4 * (len(inside) + MESSAGE_2_OVERHEAD) // 3)


def write_retry(state: NodeState, request: Request, token: str, now: float) -> bytes:
    """Tell an asking node, under load, to repeat its request with a token.

    Args:
        state: The shared state.
        request: The request.
        token: The token for its address and its exchange.
        now: The time, seconds.
    """
    words = "too many handshakes at once: try again"
    payload = RetryPayload(success=False, error_message=words, retry=token)
    return write_no(state, request.message, payload, now)


def write_no(
    state: NodeState,
    request: Envelope,
    payload: RetryPayload | RefusedExchangePayload | RefusedOfferPayload,
    now: float,
) -> bytes:
    """Write a negative response, which says nothing else about this node.

    Args:
        state: The shared state.
        request: The request.
        payload: The payload.
        now: The time, seconds.
    """
    envelope = Envelope(
        state.ids.uuid(),
        MessageType.HANDSHAKE_RESPONSE,
        state.unix(now),
        encode_payload(payload),
        ack_for=request.sequence_number,
    )
    return Plain(encode_envelope(envelope))


def note_answer(state: NodeState, data: bytes, to: Address, *, is_out: bool) -> None:
    """Report an answer of a key exchange, or count that it was not paid for.

    Args:
        state: The shared state.
        data: The answer.
        to: The destination.
        is_out: Whether it was sent.
    """
    if is_out:
        state.trace(Direction.OUT, to, "", MessageType.HANDSHAKE_RESPONSE, data)
    else:
        state.counters.drop("refusal_unsent")


def without_payload(message: Envelope) -> Envelope:
    """A request as it is kept until the exchange is complete: the relevant content comes with
    that."""
    return shortened(message, NULL)


def _may_name(data: bytes, key: bytes) -> bool:
    """Whether a key may appear in a message, literally or escaped. If not, the message need not be
    decoded to know that."""
    return data.find(key) >= 0 or data.find(b"\\") >= 0


def _claimed_id(message: Envelope) -> str:
    try:
        info = read_account(message.payload)
    except MalformedError:
        return ""
    return canonical_id(info.id if info.id is not None else info.node_id) or ""
