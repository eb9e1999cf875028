"""What two nodes seal for each other when other nodes hand it on: the payload of an inner Data.

It is Data, because programs that forward routed messages may know no other type. It is recognized
by its `ack_for`, which no other Data has: nothing a user sends is mistaken for it. Each field is
text: what `secure.exchange` and `secure.frames` write in bytes, in base64url without padding.

A frame holds 64 KiB at most. A longer message is cut into parts. Each part begins with the number
of parts before it and after it, and their counters are consecutive, so that none can be left out,
duplicated, moved, or taken from another message.
"""

import base64
import binascii
import re
import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import Envelope, MessageType

SEALED: Final = "sealed"
"""The `ack_for` of such Data."""

PART_BYTES: Final = 48_000
"""Bytes of a message in one frame."""

MAX_PARTS: Final = 0xFFFF

_PLACE: Final = struct.Struct(">HH")
"""At the beginning of each part: the number of parts before it and after it."""

_PART_OVERHEAD: Final = _PLACE.size + 29 + 3
"""In bytes; about three of them are quotation marks and a comma."""

ENVELOPE_BYTES: Final = 1_536
"""What else a sealed message contains: its envelope, and the last message of a key exchange."""

_BASE64: Final = re.compile(r"[A-Za-z0-9_-]*")

Text = Annotated[str, Meta(max_length=8192)]


class Sealed(Struct, omit_defaults=True):
    """One step between two nodes: a message of a key exchange, or one sealed with its keys."""

    exchange: Text | UnsetType = UNSET
    """Message 1, with its pattern's name."""
    answer: Text | UnsetType = UNSET
    """Message 2."""
    finish: Text | UnsetType = UNSET
    """The frame of message 3; sent with each message until the first one comes back."""
    frames: list[str] | UnsetType = UNSET
    """The parts of one message."""
    unknown: Text | UnsetType = UNSET
    """The frame that says that a session is unknown."""
    refused: Text | UnsetType = UNSET
    """Why there will be no session: remote text."""
    proof: Text | UnsetType = UNSET
    """What only a node that has read message 2 can name; without it a refusal is hearsay."""


def is_sealed(message: Envelope) -> bool:
    """Whether a message is of this kind."""
    return message.ack_for == SEALED and message.message_type == MessageType.DATA


def describe_sealed(message: Envelope) -> str:
    """What such a message is, in a few words for people."""
    try:
        sealed = decode_payload(message.payload, Sealed)
    except MalformedError:
        return "malformed"
    if isinstance(sealed.refused, str):
        return f"refused: {sealed.refused}"
    for value, words in (
        (sealed.exchange, "keys asked for"),
        (sealed.answer, "keys answered"),
        (sealed.unknown, "session unknown"),
        (sealed.finish, "sealed, and the last message of the key exchange"),
        (sealed.frames, "sealed from end to end"),
    ):
        if value is not UNSET:
            return words
    return "malformed"


def to_text(data: bytes) -> str:
    """Encode bytes as base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def to_bytes(text: str) -> bytes:
    """Decode what `to_text` wrote. MalformedError for anything else."""
    if not _BASE64.fullmatch(text):
        raise MalformedError("that is no base64url")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise MalformedError(str(error)) from None


def seal_parts(message: bytes, seal: Callable[[bytes], bytes]) -> list[str]:
    """Cut a message, seal each part, and write the frames.

    Args:
        message: At most `PART_BYTES * MAX_PARTS`.
        seal: Makes a frame of a part; its exceptions pass through.
    """
    starts = range(0, max(len(message), 1), PART_BYTES)
    parts = (message[start : start + PART_BYTES] for start in starts)
    last = len(starts) - 1
    return [to_text(seal(_PLACE.pack(at, last - at) + part)) for at, part in enumerate(parts)]


def open_parts(frames: Sequence[bytes], unseal: Callable[[bytes], bytes]) -> bytes:
    """Open the frames of a message and join its parts.

    Args:
        frames: In the order in which they came.
        unseal: Opens a frame; its exceptions pass through.

    Raises:
        MalformedError: A part is missing, was moved, or belongs to another message.
    """
    first, parts = frames[0][:13], []
    counter = int.from_bytes(first[5:], "big")
    if len(frames) > MAX_PARTS:
        raise MalformedError("a sealed message has too many parts")
    for place, frame in enumerate(frames):
        if frame[:5] != first[:5] or int.from_bytes(frame[5:13], "big") != counter + place:
            raise MalformedError("the parts of a sealed message do not belong together")
        part = unseal(frame)
        if part[: _PLACE.size] != _PLACE.pack(place, len(frames) - 1 - place):
            raise MalformedError("a part of a sealed message is missing")
        parts.append(part[_PLACE.size :])
    return b"".join(parts)


def sealed_size(size: int) -> int:
    """The most bytes that a message of this size takes once it is sealed, with its envelope."""
    parts = -(-max(size, 1) // PART_BYTES)
    return (size + parts * _PART_OVERHEAD) * 4 // 3 + ENVELOPE_BYTES
