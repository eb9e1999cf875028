"""The frames of secured sessions, written and strictly parsed.

Integers are unsigned and big-endian. The first bytes are in the range of binary frames (0xC0-0xFF,
see `wire/frames`), apart from those in use there; no JSON and no STUN message begins with them.

    SECURED          E0 | receiver's session u32 | counter u64 | sealed datagram | tag, 16 bytes
    MESSAGE_3        E1 | receiver's session u32 | Noise message 3
    UNKNOWN_SESSION  E2 | session u32 | counter u64

The receiver of a frame has chosen the session number, and finds the keys by it. The header of a
SECURED frame is the associated data of the rest, and its counter is the nonce. Inside is the
datagram that would have been sent without a session: one JSON message or one frame. UNKNOWN_SESSION
answers only a SECURED frame, and repeats its session and counter; it proves only that its sender
has seen that frame.
"""

import struct
from dataclasses import dataclass
from typing import Final

from p2ptui.secure.noise import MAX_MESSAGE_BYTES, TAG_BYTES

SECURED: Final = 0xE0
MESSAGE_3: Final = 0xE1
UNKNOWN_SESSION: Final = 0xE2

SECURED_HEADER: Final = struct.Struct("!BIQ")
_MESSAGE_3: Final = struct.Struct("!BI")

HEADER_BYTES: Final = SECURED_HEADER.size
"""Type, session number and counter: 13 bytes."""

SECURED_OVERHEAD: Final = HEADER_BYTES + TAG_BYTES
"""A secured datagram is this much longer than the datagram itself: 29 bytes."""

LONGEST_BYTES: Final = HEADER_BYTES + MAX_MESSAGE_BYTES
"""The longest secured datagram."""

MESSAGE_3_HEADER_BYTES: Final = _MESSAGE_3.size

MIN_MESSAGE_3_BYTES: Final = 2 * TAG_BYTES + 32
"""A static key and an empty payload, both sealed."""

MAX_SESSION: Final = 2**32 - 1
MAX_COUNTER: Final = 2**64 - 2
"""The value above it is reserved (Noise, section 5.1)."""


@dataclass(frozen=True, slots=True)
class UnknownSession:
    """Someone who was sent a frame for this session says that there is no such session."""

    session: int
    counter: int


@dataclass(frozen=True, slots=True)
class Message3:
    """The last message of a key exchange; the receiver chose the session number."""

    session: int
    message: bytes


def secured_header(session: int, counter: int) -> bytes:
    """The first 13 bytes of a secured datagram."""
    return SECURED_HEADER.pack(SECURED, session, counter)


def read_secured(frame: bytes) -> tuple[int, int] | None:
    """Session number and counter of a secured datagram, or None if it is not one: another type, too
    short to hold even an empty datagram, or with the reserved counter.

    `transport.Transport.open` repeats these checks inline, since it runs for each datagram.
    """
    if not SECURED_OVERHEAD <= len(frame) <= LONGEST_BYTES:
        return None
    kind, session, counter = SECURED_HEADER.unpack_from(frame)
    if kind != SECURED or counter > MAX_COUNTER:
        return None
    return session, counter


def session_of(frame: bytes) -> int:
    """The session that a frame of this module names; for anything shorter than a header, any
    number.
    """
    return int.from_bytes(frame[1:MESSAGE_3_HEADER_BYTES], "big")


def counter_of(frame: bytes) -> int:
    """The counter of a secured datagram that `read_secured` accepted."""
    return int.from_bytes(frame[MESSAGE_3_HEADER_BYTES:HEADER_BYTES], "big")


def encode_message_3(message: Message3) -> bytes:
    """Write the last message of a key exchange."""
    return _MESSAGE_3.pack(MESSAGE_3, message.session) + message.message


def decode_message_3(frame: bytes) -> Message3 | None:
    """Read a `Message3`; None if the frame is not one."""
    length = len(frame) - MESSAGE_3_HEADER_BYTES
    if not MIN_MESSAGE_3_BYTES <= length <= MAX_MESSAGE_BYTES or frame[0] != MESSAGE_3:
        return None
    _, session = _MESSAGE_3.unpack_from(frame)
    return Message3(session, frame[MESSAGE_3_HEADER_BYTES:])


def encode_unknown_session(frame: bytes) -> bytes | None:
    """The answer to a secured datagram of an unknown session, 16 bytes shorter than the shortest of
    these; None if the frame is not a secured datagram, which gets no answer.
    """
    if read_secured(frame) is None:
        return None
    return bytes((UNKNOWN_SESSION,)) + frame[1:HEADER_BYTES]


def decode_unknown_session(frame: bytes) -> UnknownSession | None:
    """Read an `UnknownSession`; None if the frame is not one."""
    if len(frame) != HEADER_BYTES or frame[0] != UNKNOWN_SESSION:
        return None
    _, session, counter = SECURED_HEADER.unpack(frame)
    return UnknownSession(session, counter) if counter <= MAX_COUNTER else None
