"""Messages larger than a datagram, as their receiver assembles and reports them."""

import zlib
from array import array
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.core.reliability.fragments import MAX_TRANSFERS
from p2ptui.wire.address import Address
from p2ptui.wire.frames import MAX_BITMAP_BYTES, Fragment, FragmentAck, TransferStatus

ACK_EVERY: Final = 2
"""A receiver reports after this many fragments (RFC 9000, section 13.2.2), or after ACK_DELAY_S."""

ACK_DELAY_S: Final = 0.01
"""How long a report may wait for a second fragment."""

PARTIAL_MESSAGES_PER_PEER: Final = 2 * MAX_TRANSFERS
"""Messages of one peer being assembled at the same time: those that it has in flight, and as many
that it gave up."""

MAX_PARTIAL_MESSAGES: Final = 65_536
"""Messages of all peers together that may be in assembly at the same time."""

ABANDONED_S: Final = 3.0
"""A message without a new fragment for this long makes room for another of the same peer."""

_AS_DIGITS: Final = bytes(48 + flag for flag in range(2)).ljust(256, b"0")
"""Flags as binary digits."""

MAX_RECUTS: Final = 8
"""How often one message may be cut smaller on its way: each time costs as much as a hundred
fragments."""

COMPLETED_REMEMBERED: Final = 2 * MAX_TRANSFERS
"""Finished messages that a receiver can still confirm: no sender asks for older ones."""


@dataclass(slots=True)
class _Partial:
    total_bytes: int
    chunk_bytes: int
    count: int
    expires: float
    data: bytearray
    arrived: bytearray
    remaining: int
    held: int = -1
    """Gives its memory back."""
    deferred: bool = False
    """Whether all but one fragment has arrived, and the reader has no room for the message."""
    below: int = 0
    unreported: int = 0
    report_at: float | None = None
    recuts: int = 0
    named: bool = False
    """Whether reports name the size of the pieces."""

    def is_recut_by(self, fragment: Fragment) -> bool:
        """Whether a fragment shows that its sender now cuts the message smaller."""
        return (
            fragment.recut
            and fragment.total_bytes == self.total_bytes
            and fragment.chunk_bytes < self.chunk_bytes
            and self.recuts < MAX_RECUTS
        )

    def recut(self, chunk_bytes: int) -> None:
        """Count in smaller pieces from now on, keeping what has arrived."""
        old = self.chunk_bytes
        count = -(-self.total_bytes // chunk_bytes)
        arrived = bytearray(count)
        # Range by range, so that the work depends on what arrived, not on what was announced.
        start = self.arrived.find(1)
        while start >= 0:
            end = self.arrived.find(0, start)
            first = -(-start * old // chunk_bytes)
            beyond = count if end < 0 else end * old // chunk_bytes
            if beyond > first:
                arrived[first:beyond] = b"\1" * (beyond - first)
            start = -1 if end < 0 else self.arrived.find(1, end)
        self.arrived, self.chunk_bytes, self.count = arrived, chunk_bytes, count
        self.remaining = arrived.count(0)
        self.below = 0
        self.recuts += 1


class ReassemblyBudget:
    """Memory for the partial messages of all peers together.

    Args:
        limit_bytes: Most bytes in total.
        shares: The shares of bytes and of messages, for each address and prefix.
    """

    def __init__(self, limit_bytes: int, shares: Shares | None = None) -> None:
        self._held: BoundedTable[int, None] = BoundedTable(
            MAX_PARTIAL_MESSAGES, limit_bytes=limit_bytes, refuses=True, shares=shares or Shares()
        )
        self._numbers = count()

    @property
    def used_bytes(self) -> int:
        """Bytes in use."""
        return self._held.used_bytes

    def take(self, size_bytes: int, address: Address | None) -> int | None:
        """Take room for one message.

        Args:
            size_bytes: Its size.
            address: Where it comes from; None: it counts to nobody's share.

        Returns:
            What gives it back; None if there is no room.
        """
        number = next(self._numbers)
        is_held = self._held.put(number, None, address=address, size_bytes=size_bytes)
        return number if is_held else None

    def give_back(self, number: int) -> None:
        """The message is complete, or given up."""
        self._held.pop(number)


@dataclass(slots=True)
class Assembled:
    """The result of a fragment."""

    report: FragmentAck | None = None
    """The report to send now."""
    message: bytes | None = None
    """The complete message, still unconfirmed: see `Reassembly.accept`."""
    refused: bool = False
    progressed: bool = False


@dataclass(frozen=True, slots=True)
class _Completed:
    """A completed message, as far as needed to recognise its fragments."""

    total_bytes: int
    chunk_bytes: int
    checksums: "array[int]"

    def holds(self, fragment: Fragment) -> bool:
        """Whether a fragment belongs to this message, and not to another one with its number."""
        return (
            (fragment.total_bytes, fragment.chunk_bytes) == (self.total_bytes, self.chunk_bytes)
        ) and zlib.crc32(fragment.data) == self.checksums[fragment.index]


@dataclass(slots=True)
class Reassembly:
    """The messages of one peer that are arriving in fragments.

    A complete message stays until its reader has decided: `accept` confirms it, `defer` leaves it
    one fragment short, `discard` forgets it.

    Args:
        max_message_bytes: Longer messages are refused.
        max_bytes: Most bytes that partial messages of this peer may hold.
        timeout_s: How long a partial message lives without a new fragment, seconds.
        budget: The limit over all peers.
    """

    max_message_bytes: int
    max_bytes: int
    timeout_s: float
    budget: ReassemblyBudget
    _partial: BoundedTable[int, _Partial] = field(init=False)
    _completed: BoundedTable[int, _Completed] = field(
        default_factory=lambda: BoundedTable(COMPLETED_REMEMBERED)
    )
    _paused: bool = False

    def __post_init__(self) -> None:
        self._partial = BoundedTable(
            PARTIAL_MESSAGES_PER_PEER, limit_bytes=self.max_bytes, refuses=True
        )

    def pause(self) -> None:
        """The peer was told to wait: partial messages are kept, since they are not its fault."""
        self._paused = True

    def resume(self, now: float) -> None:
        """The peer may continue."""
        self._paused = False
        for partial in self._partial.values():
            partial.expires = now + self.timeout_s

    def receive(self, fragment: Fragment, now: float, address: Address | None = None) -> Assembled:
        """Take one fragment.

        Args:
            fragment: The fragment.
            now: The time, seconds.
            address: The peer's address, to whose share of the memory the message counts.
        """
        sequence = fragment.sequence
        completed = self._completed.get(sequence)
        if completed is not None and completed.holds(fragment):
            return Assembled(FragmentAck(sequence, TransferStatus.COMPLETE, fragment.count))
        partial = self._partial.get(sequence)
        if partial is None:
            if fragment.total_bytes > self.max_message_bytes:
                return Assembled(FragmentAck(sequence, TransferStatus.TOO_LARGE, 0), refused=True)
            held = self._take_room(fragment.total_bytes, address, now)
            if held is None:
                return Assembled(FragmentAck(sequence, TransferStatus.BUSY, 0), refused=True)
            partial = self._open(fragment, held, now)
        elif partial.is_recut_by(fragment):
            partial.recut(fragment.chunk_bytes)
        elif (partial.total_bytes, partial.chunk_bytes) != (
            fragment.total_bytes,
            fragment.chunk_bytes,
        ):
            return Assembled(refused=True)
        partial.named = partial.named or fragment.recut
        return self._store(partial, fragment, now)

    def _take_room(self, total_bytes: int, address: Address | None, now: float) -> int | None:
        """Take room, if necessary from what the peer has most likely given up; returns what gives
        it back."""
        while True:
            if self._partial.has_room_for(total_bytes):
                held = self.budget.take(total_bytes, address)
                if held is not None:
                    return held
            silent = min(
                (each for each in self._partial.items() if not each[1].deferred),
                key=lambda each: each[1].expires,
                default=None,
            )
            if silent is None or now < silent[1].expires - self.timeout_s + ABANDONED_S:
                return None
            self._drop(silent[0])

    def _open(self, fragment: Fragment, held: int, now: float) -> _Partial:
        # Its memory is counted in full from its first fragment, so that many first
        # fragments cannot claim more than there is.
        pieces = fragment.count
        partial = _Partial(
            total_bytes=fragment.total_bytes,
            chunk_bytes=fragment.chunk_bytes,
            count=pieces,
            expires=now + self.timeout_s,
            data=bytearray(fragment.total_bytes),
            arrived=bytearray(pieces),
            remaining=pieces,
            held=held,
        )
        self._partial.put(fragment.sequence, partial, size_bytes=fragment.total_bytes)
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
            return Assembled(message=bytes(partial.data), progressed=True)
        partial.unreported += 1
        self._advance(partial)
        in_order = partial.below == index + 1  # neither leaves a hole nor closes one
        if repeated or not in_order or partial.unreported >= ACK_EVERY:
            return Assembled(self._report(fragment.sequence, partial), progressed=not repeated)
        if partial.report_at is None:
            partial.report_at = now + ACK_DELAY_S
        return Assembled(progressed=True)

    def accept(self, fragment: Fragment) -> FragmentAck | None:
        """Accept the message that `fragment` completed; returns the report that confirms it. None
        if the message has ended its session, or gave up its own number."""
        partial = self._drop(fragment.sequence)
        if partial is None:
            return None
        chunk, data = partial.chunk_bytes, memoryview(partial.data)
        checksums = array(
            "I", (zlib.crc32(data[at : at + chunk]) for at in range(0, partial.total_bytes, chunk))
        )
        completed = _Completed(partial.total_bytes, chunk, checksums)
        self._completed.put(fragment.sequence, completed)
        return FragmentAck(fragment.sequence, TransferStatus.COMPLETE, partial.count)

    def defer(self, fragment: Fragment, now: float) -> FragmentAck | None:
        """There is no room for the message that `fragment` completed; returns the report of that.
        Everything but this fragment is kept, which the sender repeats when there is room."""
        partial = self._partial.get(fragment.sequence)
        if partial is None:
            return None
        partial.arrived[fragment.index] = 0
        partial.remaining = 1
        partial.deferred = True
        partial.below = min(partial.below, fragment.index)
        partial.unreported = 0
        partial.report_at = None
        partial.expires = now + self.timeout_s
        return FragmentAck(fragment.sequence, TransferStatus.BUSY, 0)

    def withdraw(self, sequence: int) -> None:
        """The peer has given up a message."""
        self._drop(sequence)

    def discard(self, fragment: Fragment) -> None:
        """What `fragment` completed is not a valid message; none of it is confirmed."""
        self._drop(fragment.sequence)

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
        digits = window[::-1].translate(_AS_DIGITS)
        value = int(digits, 2) if bits else 0
        bitmap = value.to_bytes(-(-bits // 8), "little")
        chunk = partial.chunk_bytes if partial.named else 0
        return FragmentAck(sequence, TransferStatus.PROGRESS, partial.below, bitmap, chunk)

    def handle_timeout(self, now: float) -> tuple[list[FragmentAck], int]:
        """Expire stalled messages, and send delayed reports.

        Returns:
            The reports to send, and how many partial messages expired.
        """
        reports: list[FragmentAck] = []
        expired = [
            key
            for key, partial in self._partial.items()
            if partial.expires <= now and not self._paused
        ]
        for sequence in expired:
            self._drop(sequence)
        for sequence, partial in self._partial.items():
            if partial.report_at is not None and partial.report_at <= now:
                reports.append(self._report(sequence, partial))
        return reports, len(expired)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` has something to do next, or None."""
        if not self._partial:
            return None
        return min(
            (
                partial.expires if partial.report_at is None else partial.report_at
                for partial in self._partial.values()
                if partial.report_at is not None or not self._paused
            ),
            default=None,
        )

    def clear(self) -> None:
        """Free everything: the session is over."""
        for sequence in list(self._partial):
            self._drop(sequence)
        self._completed.clear()

    @property
    def partial_bytes(self) -> int:
        """Bytes held by partial messages of this peer."""
        return self._partial.used_bytes

    def _drop(self, sequence: int) -> _Partial | None:
        partial = self._partial.pop(sequence)
        if partial is not None:
            self.budget.give_back(partial.held)
        return partial
