"""Messages larger than a datagram, as their sender cuts them, and what has arrived of them."""

import math
from collections import deque
from typing import Final

from p2ptui.wire.frames import (
    FRAGMENT_OVERHEAD,
    Fragment,
    FragmentAck,
    encode_fragment,
)

MAX_TRANSFERS: Final = 64
"""Messages in flight in fragments at once: one slightly larger than a datagram need not take a
round trip of its own."""


class OutgoingTransfer:
    """One message in flight in fragments: what to send next, what is lost, what has arrived.

    Loss is detected by time, as in RACK (RFC 8985, section 6.2): a fragment is lost when one sent
    sufficiently later has arrived.

    Args:
        sequence: The message's sequence number, which names the transfer.
        message: Its bytes.
        datagram_bytes: The largest frame.
    """

    __slots__ = (
        "_arrived",
        "_chunk",
        "_deaf_until",
        "_lost",
        "_message",
        "_named",
        "_next",
        "_reached",
        "_sent_at",
        "_times_sent",
        "count",
        "last_sent_at",
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
        self._reached = 0
        """Bytes of the message that have left, in whatever cut: each begins with the first one."""
        self._named = False
        self._deaf_until = -math.inf
        self.last_sent_at = -math.inf
        """When any of its fragments was last sent."""
        # Only fragments in flight, in the order of their last transmission.
        self._sent_at: dict[int, float] = {}
        self._times_sent = bytearray(self.count)

    @property
    def has_left(self) -> bool:
        """Whether every byte of the message was sent at least once."""
        return self._reached >= len(self._message)

    def recut(self, datagram_bytes: int, *, named: bool, deaf_until: float) -> "OutgoingTransfer":
        """Cut the message into smaller pieces: all are to be sent, unless the receiver reports
        them.

        Args:
            datagram_bytes: The largest frame.
            named: Whether the receiver names the cut that it reports on; otherwise it forgets the
                previous one.
            deaf_until: Until then, reports that name no cut may be about the previous one.
        """
        made = OutgoingTransfer(self.sequence, self._message, datagram_bytes)
        made._lost.extend(range(made.count))
        made._next = made.count
        made._reached = self._reached
        made._named = named
        made._deaf_until = deaf_until
        return made

    def afresh(self) -> "OutgoingTransfer":
        """The same pieces, none of them sent: the receiver may still know some."""
        made = OutgoingTransfer(self.sequence, self._message, self._chunk + FRAGMENT_OVERHEAD)
        made._reached = self._reached
        made._named = self._named
        return made

    def is_meant_by(self, ack: FragmentAck, now: float) -> bool:
        """Whether a report is about the current pieces of the message."""
        if ack.chunk_bytes or self._named:
            return self._named and ack.chunk_bytes == self._chunk
        return now >= self._deaf_until

    @property
    def largest(self) -> int:
        """Bytes of its largest datagram."""
        return self.size(0)

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
            Fragment(self.sequence, len(self._message), self._chunk, index, chunk, self._named)
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
        self._sent_at[index] = self.last_sent_at = now
        self._times_sent[index] = min(self._times_sent[index] + 1, 255)
        self._note_left(index)
        return index

    def probe(self) -> bytes:
        """The datagram that asks a receiver without room; it counts as no transmission."""
        index = self.probe_index
        self._note_left(index)
        return self.frame(index)

    @property
    def probe_index(self) -> int:
        """A fragment that the receiver has not reported, or the last one."""
        if self._lost:
            return self._lost[0]
        return min(self._next, self.count - 1)

    def _note_left(self, index: int) -> None:
        self._reached = max(self._reached, min((index + 1) * self._chunk, len(self._message)))

    def handle_ack(self, ack: FragmentAck) -> list[tuple[int, float, bool]]:
        """Take a report; `arrived` shows whether it contained anything new.

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
                self._lost.remove(index)  # given up too early: it need not be sent again
            else:
                news.append((index, sent_at, self._times_sent[index] == 1))
        return news

    def _reported(self, ack: FragmentAck) -> int:
        # Only fragments that were sent can have arrived, whatever the report claims.
        below = min(ack.below, self.count)
        reported = (1 << below) - 1 | int.from_bytes(ack.bitmap, "little") << below
        return reported & (1 << self._next) - 1

    @property
    def arrived(self) -> int:
        """How many fragments the receiver has reported."""
        return self._arrived.bit_count()

    def detect_lost(self, newest_sent_at: float, reorder_s: float) -> list[tuple[int, float]]:
        """Give up fragments sent more than `reorder_s` before one that has arrived.

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
        """Give up fragments sent before the time `before` (a retransmission timeout ago)."""
        lost = [(index, sent_at) for index, sent_at in self._sent_at.items() if sent_at <= before]
        self._give_up(lost)
        return lost

    def repeat_last(self) -> None:
        """Send the last fragment once more, to ask for the report of completion."""
        self._lost.append(self.count - 1)

    def _give_up(self, lost: list[tuple[int, float]]) -> None:
        for index, _ in lost:
            del self._sent_at[index]
            self._lost.append(index)

    @property
    def is_under_way(self) -> bool:
        """Whether any sent fragment is unaccounted for."""
        return bool(self._sent_at)

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of all fragments in flight."""
        return sum(self.size(index) for index in self._sent_at)
