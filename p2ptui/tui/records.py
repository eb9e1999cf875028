"""The message log as plain records in bounded memory; the screen renders only those it shows."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from p2ptui.text import printable
from p2ptui.wire.codec import MalformedError, decode_envelope, decode_payload
from p2ptui.wire.message import ROUTED_KEY, Envelope, MessageType, ReceivedRoutedPayload
from p2ptui.wire.sealed import describe_sealed, is_sealed

MAX_RECORDS: Final = 10_000
MAX_BYTES: Final = 8 << 20
"""Beyond either limit, the oldest records are dropped."""

MAX_KEPT_BYTES: Final = 16 << 10
"""The most bytes kept of one message; the rest of a longer one is dropped."""

SUMMARY_CHARACTERS: Final = 400

IN: Final = "in"
OUT: Final = "out"
NOTE: Final = "note"

SEALED_KIND: Final = "Sealed"
"""A routed message that only its target can read; on the wire it is Data."""


@dataclass(frozen=True, eq=False)
class Record:
    """A message that came or went, or a note of the node."""

    number: int
    """Counts up from 0 during the whole session."""
    time: float
    """Unix time, seconds."""
    direction: str
    level: str
    peer: str
    """The peer's name, neutralised."""
    node_id: str
    address: str
    kind: str
    """The message type, neutralised."""
    size_bytes: int
    data: bytes
    """The message, at most MAX_KEPT_BYTES of it; empty for a note."""
    text: str = ""
    """The text of a note; for a message, the words before its payload."""
    is_routed: bool = False
    """The message is Data that holds another message, which the fields above describe."""
    is_sealed: bool = False
    """Nobody on the way could read it; `data` is what was inside."""

    @cached_property
    def summary(self) -> str:
        """What it is about, in one line without control characters."""
        about = _summarise(self.data, self.size_bytes, self.is_routed)
        return printable("  ".join(filter(None, (self.text, about))), SUMMARY_CHARACTERS)

    @property
    def haystack(self) -> str:
        """The text that a filter searches; made anew each time, since it would double the
        memory.
        """
        return (
            f"{self.direction} {self.peer} {self.node_id} {self.address} {self.kind} {self.summary}"
        )

    def pretty(self) -> str:
        """The whole message, indented; remote text in it is left escaped."""
        if not self.data:
            return printable(self.text, MAX_KEPT_BYTES)
        try:
            text = msgspec.json.format(self.data, indent=2).decode()
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return printable(self.data.decode("utf-8", "replace"), MAX_KEPT_BYTES)
        return "\n".join(printable(line, MAX_KEPT_BYTES) for line in text.split("\n"))

    def as_dict(self) -> dict[str, Any]:
        """The record for a JSON Lines file."""
        return {
            "time": self.time,
            "direction": self.direction,
            "level": self.level,
            "peer": self.peer,
            "node_id": self.node_id,
            "address": self.address,
            "type": self.kind,
            "bytes": self.size_bytes,
            "sealed": self.is_sealed,
            "message": self.data.decode("utf-8", "replace") or self.text,
        }


def inner_message(message: Envelope) -> tuple[ReceivedRoutedPayload, Envelope] | None:
    """The message that Data carries from one node to another; None if it carries none."""
    if message.message_type != MessageType.DATA or ROUTED_KEY.encode() not in bytes(
        message.payload
    ):
        return None
    try:
        routed = decode_payload(message.payload, ReceivedRoutedPayload)
        return routed, decode_envelope(bytes(routed.original_message))
    except MalformedError:
        return None


def _summarise(data: bytes, size_bytes: int, is_routed: bool) -> str:
    if not data:
        return ""
    try:
        message = decode_envelope(data)
    except MalformedError:
        # The rest of a long message was dropped.
        return f"{size_bytes} bytes" if size_bytes > len(data) else "not a message of this protocol"
    inner = inner_message(message) if is_routed else None
    if inner is not None:
        message = inner[1]
        if is_sealed(message):
            return describe_sealed(message)
    text = bytes(message.payload)[: 2 * SUMMARY_CHARACTERS].decode("utf-8", "replace")
    parts = [] if text == "null" else [text]
    if message.ack_for is not None:
        parts.append(f"for {message.ack_for}")
    # A routed message has no number: numbers only count messages between neighbours.
    if message.requires_ack and message.sequence_number is not None:
        parts.append(f"#{message.sequence_number}")
    return "  ".join(parts)


class RecordLog:
    """The newest records; numbers are never reused.

    Args:
        max_records: How many are kept.
        max_bytes: Bytes of messages that are kept.
    """

    def __init__(self, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._records: deque[Record] = deque()
        self._bytes = 0
        self.next_number = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    @property
    def first_number(self) -> int:
        """The number of the oldest record kept."""
        return self.next_number - len(self._records)

    def append(self, record: Record) -> None:
        """Add a record whose number is `next_number`."""
        self._records.append(record)
        self._bytes += len(record.data)
        self.next_number += 1

    def trim(self, keep_from: int | None = None) -> int:
        """Drop the oldest records beyond the limits; return the number of the first that is kept.

        Args:
            keep_from: The record that a reader looks at: up to twice the limits are kept for it.
        """
        factor = 1 if keep_from is None else 2
        while self._records and (
            len(self._records) > factor * self._max_records
            or self._bytes > factor * self._max_bytes
            or (
                keep_from is not None
                and self._records[0].number < keep_from
                and len(self._records) > self._max_records
            )
        ):
            self._bytes -= len(self._records.popleft().data)
        return self.first_number

    def get(self, number: int) -> Record | None:
        """The record with this number, if it is kept."""
        index = number - self.first_number
        return self._records[index] if 0 <= index < len(self._records) else None
