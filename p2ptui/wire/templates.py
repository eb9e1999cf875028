"""Writes this node's own messages around the bytes that are the same in each.

The result is, byte for byte, what the encoder makes of the same `Envelope`.
"""

from typing import Final

import msgspec
from msgspec import Raw

from p2ptui.wire.message import MAX_SEQUENCE_NUMBER

NOTHING: Final = b"null"

_encode: Final = msgspec.json.Encoder().encode


class Template:
    """Messages of one type that have no number and ask for no Ack.

    Args:
        kind: Their `message_type`.
    """

    __slots__ = ("_after_id", "_kind", "_second")

    def __init__(self, kind: str) -> None:
        self._kind = _encode(kind)
        self._begin(0)

    def _begin(self, unix: int) -> None:
        self._second = unix
        self._after_id = _after_id(self._kind, unix)

    def write(
        self, message_id: bytes, unix: int, payload: Raw | bytes, ack_for: bytes = NOTHING
    ) -> bytes:
        """The bytes of a message.

        Args:
            message_id: Its id: ASCII that JSON need not escape.
            unix: When it is written, seconds.
            payload: Its payload, encoded.
            ack_for: What it acknowledges, encoded.
        """
        if unix != self._second:
            self._begin(unix)
        return b"".join(
            (b'{"id":"', message_id, self._after_id, payload, _BEFORE_KEY, ack_for, b"}")
        )


class Unnumbered:
    """A message that asks for an Ack, and gets its number only when it leaves.

    Args:
        message_id: Its id: ASCII that JSON need not escape.
        kind: Its `message_type`.
        unix: When it is written, seconds.
        payload: Its payload, encoded.
        ack_for: What it acknowledges.
    """

    __slots__ = ("_after_number", "_before_number")

    def __init__(
        self, message_id: bytes, kind: str, unix: int, payload: Raw | bytes, ack_for: str | None
    ) -> None:
        head = _after_id(_encode(kind), unix)
        self._before_number = b"".join(
            (b'{"id":"', message_id, head, payload, b',"sequence_number":')
        )
        self._after_number = b',"requires_ack":true,"ack_for":%b}' % encode_key(ack_for)

    @property
    def longest_bytes(self) -> int:
        """Its size with the longest number."""
        return len(self._before_number) + _NUMBER_DIGITS + len(self._after_number)

    def write(self, sequence_number: int) -> bytes:
        """The bytes of the message with its number."""
        return b"%b%d%b" % (self._before_number, sequence_number, self._after_number)


def encode_key(key: int | str | None) -> bytes:
    """What a message acknowledges, encoded."""
    return NOTHING if key is None else _encode(key)


def _after_id(kind: bytes, unix: int) -> bytes:
    return b'","message_type":%b,"timestamp":%d,"payload":' % (kind, unix)


_BEFORE_KEY: Final = b',"sequence_number":null,"requires_ack":false,"ack_for":'
_NUMBER_DIGITS: Final = len(str(MAX_SEQUENCE_NUMBER))
