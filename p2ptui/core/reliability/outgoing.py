"""Messages that wait for their acknowledgement, and the queue of those sent in fragments."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from p2ptui.core.events import SendResult, SendStatus
from p2ptui.core.reliability.fragments import MAX_TRANSFERS, OutgoingTransfer
from p2ptui.text import counted
from p2ptui.wire.codec import decode_envelope, encode_envelope
from p2ptui.wire.templates import Unnumbered

MAX_TRANSFER_BYTES: Final = 1 << 20
"""The most bytes of these together, so that a receiver has room to assemble them all."""


class OutgoingMessage:
    """One message that waits for its acknowledgement.

    It has no number until it first leaves: numbers used up by messages that never left would look
    to the receiver like gaps that nothing fills.

    Args:
        draft: The message to send; None once it has been written.
        message_id: Its id.
        kind: Its `message_type`.
        size_bytes: Its bytes on the wire; an upper bound until it has its number.
        token: Names it in the report of its result.
        whole: Whether it leaves in one datagram, whatever its size, since the peer takes no
            fragments.
        for_reader: Whether it is for a program that reads at the other end, and waits while that
            program has no room.
    """

    __slots__ = (
        "attempts",
        "began_at",
        "data",
        "deadline",
        "done",
        "draft",
        "excused",
        "for_reader",
        "in_flight",
        "is_large",
        "kind",
        "left_before",
        "message_id",
        "refusals",
        "sent_at",
        "sequence",
        "size_bytes",
        "stalled",
        "timeout_s",
        "token",
        "transfer",
        "whole",
    )

    def __init__(
        self,
        draft: Unnumbered | None,
        message_id: str,
        kind: str,
        size_bytes: int,
        token: int | None,
        whole: bool = False,
        for_reader: bool = False,
    ) -> None:
        self.draft = draft
        self.message_id = message_id
        self.kind = kind
        self.size_bytes = size_bytes
        self.token = token
        self.whole = whole
        self.for_reader = for_reader
        self.sequence = -1
        """Its number, once it has left."""
        self.data = b""
        self.transfer: OutgoingTransfer | None = None
        self.attempts = 0
        """Transmissions; for a message in fragments 1, and 1 more for each stall."""
        self.excused = 0
        """Transmissions that do not count: on a path that is gone, or while the receiver had no
        room."""
        self.began_at = 0.0
        self.sent_at = 0.0
        self.timeout_s = 0.0
        self.deadline = 0.0
        self.in_flight = 0
        """Bytes in flight, for a message in one datagram."""
        self.stalled = 0
        """Timeouts of a message in fragments since its last progress."""
        self.refusals = 0
        """How often the receiver had no memory for it since its last progress."""
        self.is_large = False
        """Whether it leaves in fragments."""
        self.left_before = False
        """Whether all of it has left in another form: in one datagram, or under another number."""
        self.done = False

    @property
    def has_left(self) -> bool:
        """Whether all of it may have arrived."""
        if self.left_before:
            return True
        return self.attempts > 0 if self.transfer is None else self.transfer.has_left

    def recut(self, transfer: OutgoingTransfer) -> None:
        """From now on it leaves in these fragments, of which none has left, and not as before."""
        self.left_before = self.has_left
        self.transfer = transfer

    @property
    def tries(self) -> int:
        """Transmissions that count: to a receiver with room, on the path in use."""
        return self.attempts - self.excused

    @property
    def datagram_bytes(self) -> int:
        """Bytes of its largest datagram; 0 while it waits to be cut."""
        if self.transfer is not None:
            return self.transfer.largest
        return 0 if self.is_large else self.size_bytes

    @property
    def silence_words(self) -> str:
        """Why it is given up if its receiver says nothing."""
        if self.transfer is not None:
            return "no fragment was acknowledged any more"
        return f"no acknowledgement after {counted(self.attempts, 'try', 'tries')}"

    def write(self, sequence: int) -> None:
        """Assign its number, which fixes its bytes."""
        assert self.draft is not None
        self.sequence = sequence
        self.data = self.draft.write(sequence)
        self.size_bytes = len(self.data)
        self.draft = None

    def renumber(self, sequence: int) -> None:
        """Assign another number: it has left, and belongs to another session from now on."""
        envelope = decode_envelope(self.data)
        self.sequence = envelope.sequence_number = sequence
        self.data = encode_envelope(envelope)
        self.size_bytes = len(self.data)


class Finished:
    """A finished message.

    Args:
        message: The message.
        status: What became of it.
        rtt_s: The round trip, seconds; None if it was not measured.
        reason: Why it was not delivered.
        is_open: Whether it may have arrived all the same.
    """

    __slots__ = "_is_open", "_reason", "_rtt_s", "_status", "message"

    def __init__(
        self,
        message: OutgoingMessage,
        status: SendStatus,
        rtt_s: float | None,
        reason: str | None,
        is_open: bool,
    ) -> None:
        self.message = message
        self._status = status
        self._rtt_s = rtt_s
        self._reason = reason
        self._is_open = is_open

    @property
    def result(self) -> SendResult:
        """The result for the call that sent it; most messages have none."""
        message = self.message
        return SendResult(
            self._status,
            message.attempts,
            self._rtt_s,
            message.size_bytes,
            self._reason,
            self._is_open,
        )


class TransferQueue:
    """Large messages: some in flight, the others in the order in which they were queued."""

    __slots__ = ("_under_way", "_waiting", "bytes_under_way", "count")

    def __init__(self) -> None:
        # A list, which is small while it is empty: there are two of these for each peer.
        self._waiting: list[OutgoingMessage] = []
        # By id: a number may change, see `Outbox.renumber`.
        self._under_way: OrderedDict[str, OutgoingMessage] = OrderedDict()
        self.bytes_under_way = 0
        """Bytes of all messages with a fragment sent."""
        self.count = 0
        """How many there are; read for each datagram."""

    def __len__(self) -> int:
        return self.count

    def _note_count(self) -> None:
        self.count = len(self._waiting) + len(self._under_way)

    def append(self, message: OutgoingMessage) -> None:
        """Queue a message that has a transfer."""
        self._waiting.append(message)
        self._note_count()

    def under_way(self) -> OutgoingMessage | None:
        """The message in flight whose fragment leaves next, or None."""
        for message in self._under_way.values():
            if message.transfer is not None and message.transfer.has_more:
                return message
        return None

    def waiting(self) -> OutgoingMessage | None:
        """The message that may begin next, or None."""
        if not self._waiting or not self._has_room(self._waiting[0]):
            return None
        return self._waiting[0]

    def begin(self, message: OutgoingMessage) -> None:
        """The first waiting one, which has its number, is in flight from now on."""
        del self._waiting[0]
        self._under_way[message.message_id] = message
        self.bytes_under_way += message.size_bytes
        self._note_count()

    def adopt(self, message: OutgoingMessage) -> None:
        """A message that left in one datagram continues in fragments."""
        self._under_way[message.message_id] = message
        self.bytes_under_way += message.size_bytes
        self._note_count()

    def recount(self) -> None:
        """Messages have other numbers, which may be longer or shorter."""
        self.bytes_under_way = sum(each.size_bytes for each in self._under_way.values())

    def __iter__(self) -> Iterator[OutgoingMessage]:
        yield from self._under_way.values()
        yield from self._waiting

    def _has_room(self, message: OutgoingMessage) -> bool:
        if not self._under_way:
            return True  # alone it may leave, however large it is
        within = self.bytes_under_way + message.size_bytes <= MAX_TRANSFER_BYTES
        return within and len(self._under_way) < MAX_TRANSFERS

    def discard(self, message: OutgoingMessage) -> None:
        """A message is finished."""
        if self._under_way.pop(message.message_id, None) is not None:
            self.bytes_under_way -= message.size_bytes
        elif message in self._waiting:
            self._waiting.remove(message)
        self._note_count()

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._under_way.clear()
        self.bytes_under_way = 0
        self._note_count()
