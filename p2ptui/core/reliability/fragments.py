"""Messages larger than a datagram: cut by the sender, assembled and reported by the receiver."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from p2ptui.wire.frames import (
    FRAGMENT_OVERHEAD,
    MAX_BITMAP_BYTES,
    Fragment,
    FragmentAck,
    TransferStatus,
    encode_fragment,
)

ACK_EVERY: Final = 2
"""A receiver reports after this many fragments (RFC 9000, section 13.2.2), or after ACK_DELAY_S."""

ACK_DELAY_S: Final = 0.01
"""How long a report may wait for a second fragment."""

COMPLETED_REMEMBERED: Final = 256
"""Finished messages that a receiver can still confirm; four times what a sender has under way."""

PARTIAL_MESSAGES_PER_PEER: Final = 128
"""Messages of one peer that may be in assembly at the same time."""


class OutgoingTransfer:
    """One message under way in fragments: what to send next, what is lost, what has arrived.

    Loss is detected by time, as in RACK (RFC 8985, section 6.2): a fragment is
    lost when one sent sufficiently later has arrived.

    Args:
        sequence: The message's sequence number, which names the transfer.
        message: Its bytes.
        datagram_bytes: Largest frame.
    """

    __slots__ = (
        "_arrived",
        "_chunk",
        "_lost",
        "_message",
        "_next",
        "_sent_at",
        "_times_sent",
        "count",
        "sequence",
    )

    def __init__(self, sequence: int, message: bytes, datagram_bytes: int) -> None:
        self.sequence = sequence
        self._message = message
        self._chunk = datagram_bytes - FRAGMENT_OVERHEAD
        self.count = -(-len(message) // self._chunk)
        self._arrived = 0  # bit k stands for fragment k
        self._lost: deque[int] = deque()
        self._next = 0
        # Fragments under way only, in the order of their last transmission.
        self._sent_at: dict[int, float] = {}
        self._times_sent = bytearray(self.count)

    @property
    def is_complete(self) -> bool:
        """Whether the receiver has reported every fragment."""
        return self._next == self.count and not self._sent_at and not self._lost

    @property
    def has_more(self) -> bool:
        """Whether a fragment waits to be sent, for the first time or again."""
        return bool(self._lost) or self._next < self.count

    def frame(self, index: int) -> bytes:
        """The datagram of one fragment."""
        start = index * self._chunk
        chunk = self._message[start : start + self._chunk]
        return encode_fragment(
            Fragment(self.sequence, len(self._message), self._chunk, index, chunk)
        )

    def size(self, index: int) -> int:
        """Bytes of the datagram of one fragment."""
        last = len(self._message) - self._chunk * (self.count - 1)
        return FRAGMENT_OVERHEAD + (last if index == self.count - 1 else self._chunk)

    def take(self, now: float) -> int:
        """The index of the fragment to send now; only while `has_more`."""
        if self._lost:
            index = self._lost.popleft()
        else:
            index = self._next
            self._next += 1
        self._sent_at[index] = now
        self._times_sent[index] = min(self._times_sent[index] + 1, 255)
        return index

    def handle_ack(self, ack: FragmentAck) -> list[tuple[int, float, bool]]:
        """Take a report; `arrived` tells whether it showed anything new.

        Returns:
            What was under way and has arrived: index, time of the last transmission, and
            whether it was sent only once.
        """
        news: list[tuple[int, float, bool]] = []
        new = self._reported(ack) & ~self._arrived
        self._arrived |= new
        while new:
            index = (new & -new).bit_length() - 1
            new &= new - 1
            sent_at = self._sent_at.pop(index, None)
            if sent_at is None:
                self._lost.remove(index)  # given up too early: it needs not be sent again
            else:
                news.append((index, sent_at, self._times_sent[index] == 1))
        return news

    def _reported(self, ack: FragmentAck) -> int:
        # Only what has been sent can have arrived, whatever the report claims.
        below = min(ack.below, self.count)
        reported = (1 << below) - 1 | int.from_bytes(ack.bitmap, "little") << below
        return reported & (1 << self._next) - 1

    @property
    def arrived(self) -> int:
        """How many fragments the receiver has reported."""
        return self._arrived.bit_count()

    def detect_lost(self, newest_sent_at: float, reorder_s: float) -> list[tuple[int, float]]:
        """Give up what was sent more than `reorder_s` before a fragment that has arrived.

        Returns:
            Index and time of transmission of each; they will be sent again.
        """
        lost: list[tuple[int, float]] = []
        for index, sent_at in self._sent_at.items():
            if sent_at >= newest_sent_at - reorder_s:
                break
            lost.append((index, sent_at))
        self._give_up(lost)
        return lost

    def detect_timeout(self, before: float) -> list[tuple[int, float]]:
        """Give up what was sent before the time `before` (a retransmission timeout ago)."""
        lost = [(index, sent_at) for index, sent_at in self._sent_at.items() if sent_at <= before]
        self._give_up(lost)
        return lost

    def repeat_last(self) -> None:
        """Let the last fragment be sent once more, to ask for the report of completion."""
        self._lost.append(self.count - 1)

    def _give_up(self, lost: list[tuple[int, float]]) -> None:
        for index, _ in lost:
            del self._sent_at[index]
            self._lost.append(index)

    @property
    def is_under_way(self) -> bool:
        """Whether any fragment has been sent of which nothing is known."""
        return bool(self._sent_at)

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of all fragments under way."""
        return sum(self.size(index) for index in self._sent_at)


@dataclass(slots=True)
class _Partial:
    total_bytes: int
    chunk_bytes: int
    count: int
    expires: float
    data: bytearray
    arrived: bytearray
    remaining: int
    below: int = 0
    unreported: int = 0
    report_at: float | None = None


@dataclass(slots=True)
class ReassemblyBudget:
    """Bytes that partial messages of all peers together may hold."""

    limit_bytes: int
    used_bytes: int = 0


@dataclass(slots=True)
class Assembled:
    """What a fragment led to."""

    report: FragmentAck | None = None
    """To be sent now."""
    message: bytes | None = None
    """The whole message, once; the report of its completion follows its acceptance."""
    refused: bool = False
    progressed: bool = False


@dataclass(slots=True)
class Reassembly:
    """The messages of one peer that are arriving in fragments.

    Args:
        max_message_bytes: Longer messages are refused.
        max_bytes: What partial messages of this peer may hold.
        timeout_s: A partial message to which nothing is added expires.
        budget: The limit over all peers.
    """

    max_message_bytes: int
    max_bytes: int
    timeout_s: float
    budget: ReassemblyBudget
    _partial: dict[int, _Partial] = field(default_factory=dict)
    _completed: deque[int] = field(default_factory=lambda: deque(maxlen=COMPLETED_REMEMBERED))
    _used: int = 0

    def receive(self, fragment: Fragment, now: float) -> Assembled:
        """Take one fragment."""
        sequence = fragment.sequence
        if sequence in self._completed:
            return Assembled(FragmentAck(sequence, TransferStatus.COMPLETE, fragment.count))
        partial = self._partial.get(sequence)
        if partial is None:
            if fragment.total_bytes > self.max_message_bytes:
                return Assembled(FragmentAck(sequence, TransferStatus.TOO_LARGE, 0), refused=True)
            if not self._has_room(fragment.total_bytes):
                return Assembled(FragmentAck(sequence, TransferStatus.BUSY, 0), refused=True)
            partial = self._open(fragment, now)
        elif (partial.total_bytes, partial.chunk_bytes) != (
            fragment.total_bytes,
            fragment.chunk_bytes,
        ):
            return Assembled(refused=True)
        return self._store(partial, fragment, now)

    def _has_room(self, total_bytes: int) -> bool:
        return (
            len(self._partial) < PARTIAL_MESSAGES_PER_PEER
            and self._used + total_bytes <= self.max_bytes
            and self.budget.used_bytes + total_bytes <= self.budget.limit_bytes
        )

    def _open(self, fragment: Fragment, now: float) -> _Partial:
        # Its memory is counted in full from its first fragment, so that many
        # beginnings cannot promise more than there is.
        count = fragment.count
        partial = _Partial(
            total_bytes=fragment.total_bytes,
            chunk_bytes=fragment.chunk_bytes,
            count=count,
            expires=now + self.timeout_s,
            data=bytearray(fragment.total_bytes),
            arrived=bytearray(count),
            remaining=count,
        )
        self._partial[fragment.sequence] = partial
        self._used += fragment.total_bytes
        self.budget.used_bytes += fragment.total_bytes
        return partial

    def _store(self, partial: _Partial, fragment: Fragment, now: float) -> Assembled:
        index = fragment.index
        repeated = bool(partial.arrived[index])
        if not repeated:
            partial.arrived[index] = 1
            partial.remaining -= 1
            start = index * partial.chunk_bytes
            partial.data[start : start + len(fragment.data)] = fragment.data
            partial.expires = now + self.timeout_s
        if partial.remaining == 0:
            message = bytes(partial.data)
            self._drop(fragment.sequence)
            self._completed.append(fragment.sequence)
            report = FragmentAck(fragment.sequence, TransferStatus.COMPLETE, partial.count)
            return Assembled(report, message, progressed=True)
        partial.unreported += 1
        self._advance(partial)
        in_order = partial.below == index + 1  # neither leaves a hole nor closes one
        if repeated or not in_order or partial.unreported >= ACK_EVERY:
            return Assembled(self._report(fragment.sequence, partial), progressed=not repeated)
        if partial.report_at is None:
            partial.report_at = now + ACK_DELAY_S
        return Assembled(progressed=True)

    @staticmethod
    def _advance(partial: _Partial) -> None:
        hole = partial.arrived.find(0, partial.below)
        partial.below = partial.count if hole < 0 else hole

    @staticmethod
    def _report(sequence: int, partial: _Partial) -> FragmentAck:
        partial.unreported = 0
        partial.report_at = None
        last = partial.arrived.rfind(1, partial.below)
        bits = 0 if last < 0 else last + 1 - partial.below
        bits = min(bits, MAX_BITMAP_BYTES * 8)
        window = partial.arrived[partial.below : partial.below + bits]
        # int() reads the flags as binary digits, most significant first.
        digits = bytes(48 + flag for flag in reversed(window))
        value = int(digits, 2) if bits else 0
        bitmap = value.to_bytes(-(-bits // 8), "little")
        return FragmentAck(sequence, TransferStatus.PROGRESS, partial.below, bitmap)

    def handle_timeout(self, now: float) -> tuple[list[FragmentAck], int]:
        """Expire what has stalled, report what waits.

        Returns:
            The reports to send, and how many partial messages expired.
        """
        reports: list[FragmentAck] = []
        expired = [key for key, partial in self._partial.items() if partial.expires <= now]
        for sequence in expired:
            self._drop(sequence)
        for sequence, partial in self._partial.items():
            if partial.report_at is not None and partial.report_at <= now:
                reports.append(self._report(sequence, partial))
        return reports, len(expired)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` has something to do next, or None."""
        return min(
            (
                partial.expires if partial.report_at is None else partial.report_at
                for partial in self._partial.values()
            ),
            default=None,
        )

    def clear(self) -> None:
        """Give everything back: the session is over."""
        for sequence in list(self._partial):
            self._drop(sequence)
        self._completed.clear()

    @property
    def partial_bytes(self) -> int:
        """Bytes held by partial messages of this peer."""
        return self._used

    def _drop(self, sequence: int) -> None:
        partial = self._partial.pop(sequence)
        self._used -= partial.total_bytes
        self.budget.used_bytes -= partial.total_bytes
