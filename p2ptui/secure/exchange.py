"""The key exchange inside the handshake: three messages, and what is bound to them.

Message 1 is text in the request, under a key of the caller's choice; message 2 is text in the
response; message 3 follows the header of a binary frame (`frames.Message3`).

    initiator = Initiator(keys, number=mine, psk=psk)
    request = initiator.fill(encode_request(initiator.placeholder))   # repeated as it is

        responder = Responder(request, value, its_keys, psk=psk)      # no key is used so far
        text = responder.answer(b"inside 2", number=its)

    answer = initiator.read_answer(text)                              # who it is: stay or go
    finished = initiator.finish(b"inside 3", now)
    frame = encode_message_3(Message3(finished.transport.remote_number, finished.message_3))

        completed = responder.complete(decode_message_3(frame).message, now)

The request is sent with the value of its key-exchange field filled in. Both sides hash a label and
the request with that value replaced by as many zeros, which is how the initiator's caller first
wrote it. So nobody can change or strip anything else in the request either. With a network key the
pattern is XXpsk3, and only a side that has the key can complete it; otherwise it is XX.

Each side's chosen session number is the first four bytes inside its message (2 or 3); the caller
sees only what follows.
"""

import binascii
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.frames import MAX_SESSION
from p2ptui.secure.noise import (
    KEY_BYTES,
    TAG_BYTES,
    XX,
    HandshakeState,
    KeyPair,
    Pattern,
    XXpsk3,
)
from p2ptui.secure.transport import SessionKeys, Transport

StaticKeys: TypeAlias = KeyPair
"""The long-term X25519 key pair of a node: `StaticKeys(private, public)`, 32 bytes each."""

LABEL: Final = b"p2ptui key exchange 1\0"
"""Begins the prologue: nothing that is signed or hashed elsewhere begins with it."""

NUMBER_BYTES: Final = 4

MESSAGE_2_OVERHEAD: Final = KEY_BYTES + (KEY_BYTES + TAG_BYTES) + NUMBER_BYTES + TAG_BYTES
"""Bytes of message 2 besides its payload: 100. As text, each 3 bytes take 4 characters."""

PATTERNS: Final = {pattern.name: pattern for pattern in (XX, XXpsk3)}
"""The patterns of a session, by name."""

_FIRST_BYTES: Final = {XX.name: KEY_BYTES, XXpsk3.name: KEY_BYTES + TAG_BYTES}
"""Message 1 holds an ephemeral key and, with a network key, a tag."""

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered a request, and what was inside message 2."""

    payload: bytes
    remote_static: bytes
    """The other side's X25519 public key, whose private key it has proved to own."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a key exchange on the initiator's side, after message 2."""

    transport: Transport
    message_3: bytes
    """To be sent in its frame, and repeated until the first frame comes back."""
    payload: bytes
    """What was inside message 2."""
    remote_static: bytes
    """The other side's X25519 public key, whose private key it has proved to own."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a key exchange on the responder's side, after message 3."""

    transport: Transport
    payload: bytes
    """What was inside message 3."""
    remote_static: bytes


def prologue_of(datagram: bytes, value: str) -> bytes:
    """The part of the request that both sides hash: a label, and its bytes with zeros for the
    value.

    Args:
        datagram: The request, exactly as it is on the wire.
        value: The string in it that is the value of the key-exchange field.

    SecureError unless the value occurs in the request exactly once, between quotation marks and
    without escapes: otherwise two requests could have the same prologue.
    """
    quoted = b'"' + value.encode("utf-8", "replace") + b'"'
    before, found, after = datagram.partition(quoted)
    if not value or not found or quoted in datagram[len(before) + 1 :]:
        raise SecureError(Reason.MALFORMED, "a request must hold its key exchange once, as it is")
    return LABEL + before + b'"' + b"0" * (len(quoted) - 2) + b'"' + after


def ephemeral_of(value: str) -> bytes:
    """The part of a request's key exchange that stays the same when the request is sent again with
    a retry token: the pattern's name and the ephemeral key. SecureError if it is malformed.
    """
    pattern, message = _read_value(value)
    return pattern.name.encode() + message[:KEY_BYTES]


class Initiator:
    """The side that sends the request."""

    def __init__(
        self,
        keys: StaticKeys,
        *,
        number: int,
        psk: bytes | None = None,
        ephemeral: KeyPair | None = None,
    ) -> None:
        """Begin a key exchange.

        Args:
            keys: The X25519 key pair of this node.
            number: The session number that frames sent to this side must carry.
            psk: The network key, 32 bytes: the pattern is then XXpsk3, else XX.
            ephemeral: For tests and simulations only; otherwise a new one is generated.

        SecureError if the network key has the wrong length.
        """
        _require_psk(psk)
        self.pattern: Final = XX if psk is None else XXpsk3
        self._keys = keys
        self._number = number
        self._psks = () if psk is None else (psk,)
        self._ephemeral = ephemeral or KeyPair.generate()
        self._asked: HandshakeState | None = None
        self._answered: HandshakeState | None = None
        self._answer: Answer | None = None
        self._remote_number = 0
        self._is_over = False

    @property
    def by_network_key(self) -> bool:
        """Whether this exchange needs the network key."""
        return self.pattern.psks > 0

    @property
    def placeholder(self) -> str:
        """Stands in for the value in the request passed to `fill`: as many zeros."""
        return "0" * len(_write_value(self.pattern, bytes(_FIRST_BYTES[self.pattern.name])))

    def fill(self, datagram: bytes) -> bytes:
        """The request to send: of the same length, with message 1 in place of the placeholder.

        A repeated request is these same bytes again. For a different request, such as one with a
        retry token, call this again: then only the answer to the new one counts. SecureError unless
        the placeholder occurs in it exactly once.
        """
        if self._is_over:
            raise SecureError(Reason.OUT_OF_TURN, "this key exchange is over")
        placeholder = self.placeholder
        prologue = prologue_of(datagram, placeholder)
        state = HandshakeState(
            self.pattern,
            initiator=True,
            prologue=prologue,
            s=self._keys,
            e=self._ephemeral,
            psks=self._psks,
        )
        value = _write_value(self.pattern, state.write_message())
        self._asked, self._answered, self._answer = state, None, None
        return datagram.replace(_quoted(placeholder), _quoted(value))

    def read_answer(self, text: str) -> Answer:
        """Read message 2 from the response.

        Anyone on the path can answer under its own identity, so the caller checks who answered
        before it reveals its own identity. If it is the wrong node, or the message is refused, the
        exchange goes on: the next answer is read as if this one had not come.

        SecureError if it is cut short, altered, or answers another request.
        """
        if self._asked is None or self._is_over:
            raise SecureError(Reason.OUT_OF_TURN, "no answer to a request is expected")
        state = self._asked.copy()
        number, payload = _split_number(state.read_message(decode_text(text)))
        self._answered, self._remote_number = state, number
        answer = Answer(payload, _static_of(state))
        self._answer = answer
        return answer

    def finish(self, payload: bytes, now: float) -> Finished:
        """Write message 3 to the sender of the last answer read; then this exchange is over.

        Args:
            payload: The contents of message 3.
            now: On the caller's clock, in seconds.

        SecureError if no answer was read, or the payload is too long.
        """
        state, answer = self._answered, self._answer
        if state is None or answer is None or self._is_over:
            raise SecureError(Reason.OUT_OF_TURN, "no answer has been read")
        message_3 = state.write_message(_write_number(self._number) + payload)
        self._is_over = True  # the same keys must never seal from counter 0 twice
        sending, receiving = state.split()
        transport = Transport(
            SessionKeys(sending.key, receiving.key),
            local_number=self._number,
            remote_number=self._remote_number,
            is_initiator=True,
            began_at=now,
        )
        return Finished(transport, message_3, answer.payload, answer.remote_static)


class Responder:
    """The side that answers a request."""

    def __init__(
        self,
        request: bytes,
        value: str,
        keys: StaticKeys,
        *,
        psk: bytes | None = None,
        accepts: Collection[str] | None = None,
        ephemeral: KeyPair | None = None,
    ) -> None:
        """Read message 1. No key is used yet, so this costs almost nothing.

        Args:
            request: The request, exactly as it is on the wire.
            value: The value of its key-exchange field.
            keys: The X25519 key pair of this node.
            psk: The network key, 32 bytes, if there is one.
            accepts: Names of patterns that may be answered; by default XXpsk3 with a network key,
                else XX. Both, if some ids are admitted without the network key.
            ephemeral: For tests and simulations only; otherwise a new one is generated.

        SecureError if the value is malformed or not in the request verbatim, if its pattern is
        unknown or does not match the network key, or if that key has the wrong length.
        """
        _require_psk(psk)
        pattern, message_1 = _read_value(value)
        self.pattern: Final = pattern
        _require_pattern(pattern, has_psk=psk is not None, accepts=accepts)
        self._state = HandshakeState(
            pattern,
            initiator=False,
            prologue=prologue_of(request, value),
            s=keys,
            e=ephemeral,
            psks=(psk,) if psk is not None and pattern is XXpsk3 else (),
        )
        self._state.read_message(message_1)
        self._number = 0

    def answer(self, payload: bytes, *, number: int) -> str:
        """Write message 2, for the response; the keys are agreed here, which is the expensive part.

        Args:
            payload: The contents; the requester is not known yet, and may read it.
            number: The session number that frames sent to this side must carry.

        SecureError if the request's key shares no secret, or the payload is too long.
        """
        message_2 = self._state.write_message(_write_number(number) + payload)
        self._number = number
        return encode_text(message_2)

    def complete(self, message_3: bytes, now: float) -> Completed:
        """Read message 3 (without its frame's header), which shows who the other side is.

        SecureError if it is cut short, altered, from another exchange, or, with
        `Reason.NETWORK_KEY_DIFFERS`, if its key is right but its end does not authenticate. Then
        nothing has changed, and the genuine message may still come.
        """
        state = self._state
        try:
            read = state.read_message(message_3)
        except SecureError as error:
            if error.reason is Reason.ALTERED and state.has_read_static and self.by_network_key:
                text = "the other side uses another network key"
                raise SecureError(Reason.NETWORK_KEY_DIFFERS, text) from None
            raise
        number, payload = _split_number(read)
        receiving, sending = state.split()
        transport = Transport(
            SessionKeys(sending.key, receiving.key),
            local_number=self._number,
            remote_number=number,
            is_initiator=False,
            began_at=now,
        )
        return Completed(transport, payload, _static_of(state))

    @property
    def by_network_key(self) -> bool:
        """Whether this exchange needs the network key."""
        return self.pattern.psks > 0


def is_first_to_rekey(own: bytes, other: bytes) -> bool:
    """Whether this side's exchange goes on when both sides have begun one with each other at once.

    If so, it leaves the other side's request unanswered; otherwise it answers, and gives up its own
    when message 3 arrives. So the result is one set of keys, rather than two, with each side
    preferring its own.

    Args:
        own: This node's static public key; before any session, its id.
        other: The same of the other node.
    """
    return own < other


def _quoted(value: str) -> bytes:
    return f'"{value}"'.encode()


def _write_value(pattern: Pattern, message: bytes) -> str:
    return f"{pattern.name}.{encode_text(message)}"


def _read_value(value: str) -> tuple[Pattern, bytes]:
    name, _, text = value.partition(".")
    pattern = PATTERNS.get(name)
    if pattern is None:
        raise SecureError(Reason.UNKNOWN_PATTERN, "a key exchange of a kind that is not known here")
    message = decode_text(text)
    if len(message) != _FIRST_BYTES[name]:
        raise SecureError(Reason.MALFORMED, "the first message of a key exchange is malformed")
    return pattern, message


def _require_psk(psk: bytes | None) -> None:
    if psk is not None and len(psk) != KEY_BYTES:
        raise SecureError(Reason.BAD_KEY, f"a network key has {KEY_BYTES} bytes")


def _require_pattern(pattern: Pattern, *, has_psk: bool, accepts: Collection[str] | None) -> None:
    accepted = {XXpsk3.name if has_psk else XX.name} if accepts is None else accepts
    if pattern.psks and not has_psk:
        text = "the other side uses a network key, and this node has none"
        raise SecureError(Reason.NETWORK_KEY_MISSING, text)
    if pattern.name not in accepted:
        if has_psk:
            text = "this node wants the network key, and the other side has offered none"
            raise SecureError(Reason.NETWORK_KEY_WANTED, text)
        raise SecureError(Reason.UNKNOWN_PATTERN, "that key exchange is not accepted here")


def encode_text(data: bytes) -> str:
    """Bytes as base64url without padding."""
    text = binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=")
    return text.decode("ascii")


def decode_text(text: str) -> bytes:
    """Decode what `encode_text` writes; SecureError for anything else, even other spellings of the
    same bytes.
    """
    if text.isascii():
        raw = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
        try:
            data = binascii.a2b_base64(raw)
        except binascii.Error:
            data = b""
        if encode_text(data) == text:  # true only of the canonical spelling
            return data
    raise SecureError(Reason.MALFORMED, "a message of a key exchange is no base64url text")


def _write_number(number: int) -> bytes:
    if not 0 <= number <= MAX_SESSION:
        raise SecureError(Reason.MALFORMED, "a session number has 32 bits")
    return number.to_bytes(NUMBER_BYTES, "big")


def _split_number(inside: bytes) -> tuple[int, bytes]:
    if len(inside) < NUMBER_BYTES:
        raise SecureError(Reason.MALFORMED, "a message of a key exchange has no session number")
    return int.from_bytes(inside[:NUMBER_BYTES], "big"), inside[NUMBER_BYTES:]


def _static_of(state: HandshakeState) -> bytes:
    assert state.remote_static is not None  # every pattern of a session sends it
    return state.remote_static
