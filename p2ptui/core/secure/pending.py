"""One key exchange as the side that answers has it, and what it is told."""

from dataclasses import dataclass
from typing import NamedTuple

from msgspec import UNSET

from p2ptui.core.accounts import Purse
from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.identity import canonical_id
from p2ptui.core.sealing import Plain
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.state import NodeState
from p2ptui.secure import Responder
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_envelope, encode_payload
from p2ptui.wire.exchange import Account, ExchangeKey, InAnswer, encode_inside
from p2ptui.wire.message import (
    Envelope,
    ExchangeResponsePayload,
    MessageType,
    ReceivedNodeInfo,
    RefusedExchangePayload,
    RetryPayload,
)


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
    tries: int = 0
    asked_at: float = 0.0
    message_3: bytes = b""
    """The last message, if it is complete, and waits for a place."""


class Request(NamedTuple):
    """One that is being looked at."""

    data: bytes
    """As it came."""
    address: Address
    message: Envelope
    earned: Purse


def write_answer(
    state: NodeState,
    account: Account,
    request: Request,
    responder: Responder,
    number: int,
    sequence: int,
    refusal: bytes,
    now: float,
) -> Told:
    """Write the answer to a request, with message 2 in it.

    Args:
        state: The shared ground.
        account: Who this node is.
        request: What is answered.
        responder: Has read it.
        number: Of the session, on frames for this node.
        sequence: Of the answer.
        refusal: What a refusal of message 3 would name.
        now: The time, seconds.

    Raises:
        SecureError: The key of who asks shares no secret.
    """
    response_id = state.ids.uuid()
    is_seen = relayed_node(request.address) is None
    seen = format_address(visible_address(request.address)) if is_seen else None
    inside = InAnswer(account, seen, response_id, sequence, refusal)
    text = responder.answer(encode_inside(inside), number=number)
    payload = ExchangeResponsePayload(
        node_info={"id": state.identity.id}, success=True, public_addr=seen, exchange=text
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
    return Told(response_id, sequence, Plain(encode_envelope(envelope)))


def write_retry(state: NodeState, request: Request, token: str, now: float) -> bytes:
    """Write to who asks under load that it must come again with a token.

    Args:
        state: The shared ground.
        request: What is answered.
        token: For its address and its exchange.
        now: The time, seconds.
    """
    words = "too many handshakes at once: come again"
    payload = RetryPayload(success=False, error_message=words, retry=token)
    return _write_no(state, request.message, payload, now)


def write_refusal(state: NodeState, pending: Pending, words: str, now: float) -> bytes:
    """Write to who has come so far why it is no peer, in a way that nobody else can.

    Args:
        state: The shared ground.
        pending: Its exchange.
        words: Why.
        now: The time, seconds.
    """
    refuses = pending.refusal.hex()
    payload = RefusedExchangePayload(success=False, error_message=words, refuses=refuses)
    return _write_no(state, pending.message, payload, now)


def _write_no(
    state: NodeState, request: Envelope, payload: RetryPayload | RefusedExchangePayload, now: float
) -> bytes:
    envelope = Envelope(
        state.ids.uuid(),
        MessageType.HANDSHAKE_RESPONSE,
        state.unix(now),
        encode_payload(payload),
        ack_for=request.sequence_number,
    )
    return Plain(encode_envelope(envelope))


def offered(message: Envelope) -> str | None:
    """The key exchange that a request offers."""
    exchange = _read_offer(message).exchange
    return None if exchange is UNSET else exchange


def offered_token(message: Envelope) -> str:
    """The retry token in a request; empty if there is none."""
    retry = _read_offer(message).retry
    return retry if isinstance(retry, str) else ""


def _read_offer(message: Envelope) -> ExchangeKey:
    try:
        return decode_payload(message.payload, ExchangeKey)
    except MalformedError:
        return ExchangeKey()


def claimed_id(message: Envelope) -> str:
    """The id that a request names; empty if it names none."""
    try:
        info = decode_payload(message.payload, ReceivedNodeInfo)
    except MalformedError:
        return ""
    return canonical_id(info.id if info.id is not None else info.node_id) or ""
