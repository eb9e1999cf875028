"""What one peer must acknowledge: sent within the window, again after a timeout, or given up.

A message that fits a datagram is acknowledged as a whole. A longer one leaves
in fragments, one such message at a time, and counts as delivered when its
Ack or the report of its completion arrives. Small messages overtake large ones,
but nothing leaves so far ahead that the receiver would forget what is missing.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2ptui.config import ReliabilityOptions
from p2ptui.core.events import SendResult, SendStatus
from p2ptui.core.reliability.congestion import CongestionWindow
from p2ptui.core.reliability.duplicates import MAX_MISSING, sequence_distance
from p2ptui.core.reliability.fragments import OutgoingTransfer
from p2ptui.core.reliability.outgoing import OutgoingMessage, TransferQueue
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.errors import QueueFullError
from p2ptui.wire.frames import FragmentAck, TransferStatus

_REORDER_FRACTION: Final = 0.25
"""Of a round trip: how much later a datagram may arrive than its successors (RFC 8985, 6.2)."""

_SENT_AGAIN: Final = 256
"""Messages that were sent again and acknowledged, of which a second Ack may come."""

_STALE_DEADLINES: Final = 256
"""Deadlines that were put off or need no care any more are swept out above this many."""

_TRANSFER_TRIES_FACTOR: Final = 2
"""A transfer without any progress gets this many times `max_tries` timeouts: much is at stake."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A message that needs no more care, and what became of it."""

    message: OutgoingMessage
    result: SendResult


def _is_current(entry: tuple[float, int, OutgoingMessage]) -> bool:
    when, _, message = entry
    return not message.done and when == message.deadline


class ReliableSender:
    """The sending half of one session.

    Args:
        options: `[reliability]` of the configuration.
        rtt: The path's round-trip estimator.
        first_sequence: Where the numbering starts; the first message has the number after it.
        datagram_bytes: Messages above this size travel in fragments.
    """

    def __init__(
        self,
        options: ReliabilityOptions,
        rtt: RttEstimator,
        first_sequence: int,
        datagram_bytes: int,
    ) -> None:
        self._options = options
        self._rtt = rtt
        self._sequence = first_sequence
        self._datagram_bytes = datagram_bytes
        self.window = CongestionWindow(
            datagram_bytes, options.initial_window, options.max_window, rtt
        )
        self._small: deque[OutgoingMessage] = deque()
        self._large = TransferQueue()
        # In the order of their numbers: the first is the oldest that still matters.
        self._by_sequence: OrderedDict[int, OutgoingMessage] = OrderedDict()
        self._by_id: dict[str, OutgoingMessage] = {}
        self._deadlines: list[tuple[float, int, OutgoingMessage]] = []
        self._sent_again: OrderedDict[int | str, float] = OrderedDict()
        self._resend: OrderedDict[int, bytes] = OrderedDict()
        self._resend_bytes = 0
        self.queued_bytes = 0
        """Bytes of all messages that wait or are under way."""
        self.retransmissions = 0

    def __len__(self) -> int:
        return len(self._by_sequence)

    @property
    def next_sequence(self) -> int:
        """The number that the next message of this session must have."""
        return (self._sequence + 1) & 0xFFFFFFFF

    def take_sequence(self) -> int:
        """Use up the next sequence number of this session (unsigned 32 bit, wrapping)."""
        self._sequence = self.next_sequence
        return self._sequence

    def check_room(self, size: int) -> None:
        """Raise QueueFullError if `size` more bytes may not wait."""
        if self.queued_bytes + size > self._options.max_queued_bytes:
            raise QueueFullError(
                f"{self.queued_bytes} bytes already wait for this peer"
                f" (max_queued_bytes = {self._options.max_queued_bytes}); try again later"
            )

    def submit(self, message: OutgoingMessage) -> None:
        """Queue a message, numbered `next_sequence`, for sending; see `to_send`.

        Raises:
            QueueFullError: `max_queued_bytes` are already waiting.
        """
        self.check_room(len(message.data))
        self._sequence = message.sequence
        self.queued_bytes += len(message.data)
        self._by_sequence[message.sequence] = message
        self._by_id[message.message_id] = message
        if len(message.data) > self._datagram_bytes and not message.whole:
            message.transfer = OutgoingTransfer(
                message.sequence, message.data, self._datagram_bytes
            )
            self._large.append(message)
        else:
            self._small.append(message)

    def to_send(self, now: float) -> Iterator[bytes]:
        """The datagrams that window and pace let go now; each counts as sent when taken."""
        window = self.window
        while window.has_room and window.next_send(now) <= now:
            if (small := self._next_small()) is not None:
                self._small.popleft()
                yield self._transmit(small, now)
            elif (large := self._next_large()) is not None and large.transfer is not None:
                yield self._transmit_fragment(large, large.transfer, now)
            else:
                return

    def _next_small(self) -> OutgoingMessage | None:
        small = self._small
        while small and small[0].done:
            small.popleft()
        if small and (small[0].attempts or self._is_in_reach(small[0])):
            return small[0]
        return None

    def _next_large(self) -> OutgoingMessage | None:
        return self._large.next(self._is_in_reach)

    def _is_in_reach(self, message: OutgoingMessage) -> bool:
        # What the receiver forgot to be missing it would take for a duplicate. This also
        # keeps a stream of small messages from starving a large one.
        oldest = next(iter(self._by_sequence))
        return sequence_distance(message.sequence, oldest) <= MAX_MISSING

    def _transmit(self, message: OutgoingMessage, now: float) -> bytes:
        size = len(message.data)
        message.attempts += 1
        if message.attempts == 1:
            message.began_at = now
        else:
            self.retransmissions += 1
        message.sent_at = now
        message.in_flight = size
        self.window.handle_sent(size, now)
        self._set_deadline(message, self._rtt.rto(message.tries), now)
        return message.data

    def _transmit_fragment(
        self, message: OutgoingMessage, transfer: OutgoingTransfer, now: float
    ) -> bytes:
        index = transfer.take(now)
        if message.attempts == 0:
            message.attempts = 1
            message.began_at = now
        self.window.handle_sent(transfer.size(index), now)
        if message.deadline <= now:
            self._set_deadline(message, self._rtt.rto(message.stalled + 1), now)
        return transfer.frame(index)

    def _set_deadline(self, message: OutgoingMessage, timeout_s: float, now: float) -> None:
        message.timeout_s = timeout_s
        message.deadline = now + timeout_s
        heap = self._deadlines
        heapq.heappush(heap, (message.deadline, message.sequence, message))
        if len(heap) > _STALE_DEADLINES + 2 * len(self._by_sequence):
            self._deadlines = [entry for entry in heap if _is_current(entry)]
            heapq.heapify(self._deadlines)

    def handle_ack(self, key: int | str, now: float) -> Finished | None:
        """An Ack names a sequence number or a message id; None if nothing waits for it."""
        message = self._by_sequence.get(key) if isinstance(key, int) else self._by_id.get(key)
        if message is None or message.attempts == 0:
            # A second Ack: the message was sent again though the first was on its way.
            timeout_s = self._sent_again.pop(key, None)
            if timeout_s is not None:
                self._rtt.hold(timeout_s)
            return None
        if message.transfer is None:
            if message.attempts == 1:
                self._rtt.observe(now - message.sent_at)  # Karn: only what was sent once
            elif self._rtt.srtt is None:
                self._rtt.hold(message.timeout_s)
            else:
                # Lost, or was the timeout too short? If it was, a second Ack comes.
                self._sent_again[key] = message.timeout_s
                if len(self._sent_again) > _SENT_AGAIN:
                    self._sent_again.popitem(last=False)
        return self._finish(message, SendStatus.DELIVERED, now)

    def handle_fragment_ack(self, ack: FragmentAck, now: float) -> Finished | None:
        """A receiver reports on a transfer; the message if that ends it."""
        message = self._by_sequence.get(ack.sequence)
        if message is None or message.transfer is None or message.attempts == 0:
            return None
        transfer = message.transfer
        if ack.status is TransferStatus.COMPLETE:
            return self._finish(message, SendStatus.DELIVERED, now)
        if ack.status is TransferStatus.TOO_LARGE:
            reason = "the message is larger than the peer accepts"
            return self._finish(message, SendStatus.FAILED, now, reason)
        if ack.status is TransferStatus.BUSY:
            return None  # it is sent again after the timeout
        before = transfer.arrived
        news = transfer.handle_ack(ack)
        if transfer.arrived == before:
            return None
        newest = float("-inf")
        clean = False
        for _, sent_at, sent_once in news:
            elapsed = now - sent_at
            if sent_once:
                clean = True
                self._rtt.observe(elapsed)
            if sent_once or elapsed >= (self._rtt.minimum or 0.0):
                # Else the report is of an earlier transmission (RFC 8985, section 6.2, step 2).
                newest = max(newest, sent_at)
        if message.stalled and not clean:
            self._rtt.hold(message.timeout_s)
        message.stalled = 0
        self.window.handle_acked(sum(transfer.size(index) for index, _, _ in news))
        reorder_s = _REORDER_FRACTION * (self._rtt.srtt or self._rtt.rto())
        self._count_lost(transfer, transfer.detect_lost(newest, reorder_s), now)
        self._set_deadline(message, self._rtt.rto(), now)
        return None

    def _count_lost(
        self, transfer: OutgoingTransfer, lost: list[tuple[int, float]], now: float
    ) -> None:
        self.retransmissions += len(lost)
        for index, sent_at in lost:
            self.window.handle_lost(transfer.size(index), sent_at, now)

    def expire(self, now: float) -> None:
        """Count everything that is under way as overdue: the way that it went is gone.

        What was learnt of that way is not held against the new one (RFC 9000, section 9.4).
        """
        self._rtt.restart()
        self.window.restart(now)
        for message in list(self._by_sequence.values()):
            if message.attempts:
                message.excused = message.attempts - 1
                message.stalled = 0
                self._set_deadline(message, 0.0, now)

    def handle_timeout(self, now: float) -> list[Finished]:
        """Give up what has had all its tries; let the others be sent again by `to_send`."""
        finished: list[Finished] = []
        again: list[OutgoingMessage] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heapq.heappop(self._deadlines)
            if not _is_current(entry):
                continue
            message = entry[2]
            message.deadline = 0.0  # taken care of, even if it stands here twice
            if message.transfer is None:
                self.window.handle_lost(message.in_flight, message.sent_at, now)
                message.in_flight = 0
                if message.tries >= self._options.max_tries:
                    finished.append(self._time_out(message, now))
                else:
                    again.append(message)
            elif (done := self._handle_stall(message, message.transfer, now)) is not None:
                finished.append(done)
        self._small.extendleft(reversed(again))
        return finished

    def _handle_stall(
        self, message: OutgoingMessage, transfer: OutgoingTransfer, now: float
    ) -> Finished | None:
        if not transfer.is_under_way and transfer.has_more:
            return None  # small messages had the window; the next fragment sets a deadline
        message.stalled += 1
        message.attempts += 1
        if message.stalled > _TRANSFER_TRIES_FACTOR * self._options.max_tries:
            return self._time_out(message, now)
        self._count_lost(transfer, transfer.detect_timeout(now - self._rtt.rto()), now)
        if transfer.is_complete:
            # All has arrived but nobody said that the whole did: any fragment asks again.
            transfer.repeat_last()
            self.retransmissions += 1
        self._set_deadline(message, self._rtt.rto(message.stalled + 1), now)
        return None

    def _time_out(self, message: OutgoingMessage, now: float) -> Finished:
        reason = f"no acknowledgement after {message.attempts} tries"
        if message.transfer is not None:
            reason = "no fragment was acknowledged any more"
        return self._finish(message, SendStatus.TIMED_OUT, now, reason)

    def resend(self, sequence: int, now: float) -> bytes | None:
        """The peer asks for a message again (`Retransmit`).

        Returns:
            The datagram to send, empty bytes if it is arriving in fragments or on its way
            already, None if it is no longer held.
        """
        message = self._by_sequence.get(sequence)
        if message is None:
            return self._resend.get(sequence)
        if message.transfer is not None or message.attempts == 0 or message.in_flight == 0:
            return b""
        self.retransmissions += 1
        message.attempts += 1
        self.window.handle_lost(message.in_flight, message.sent_at, now)
        self.window.handle_sent(message.in_flight, now)
        message.sent_at = now
        self._set_deadline(message, self._rtt.rto(message.tries), now)
        return message.data

    def cancel(self, token: int, now: float, reason: str) -> Finished | None:
        """Stop trying to deliver the message of `token`."""
        for message in self._by_sequence.values():
            if message.token == token:
                if message.transfer is not None:
                    self._large.discard(message)
                elif message.attempts == 0:
                    self._small.remove(message)
                return self._finish(message, SendStatus.TIMED_OUT, now, reason)
        return None

    def fail_all(self, reason: str, now: float) -> list[Finished]:
        """Give everything up: the session is over."""
        messages = list(self._by_sequence.values())
        finished = [self._finish(message, SendStatus.FAILED, now, reason) for message in messages]
        for container in (self._small, self._large, self._deadlines, self._resend):
            container.clear()
        self._resend_bytes = 0
        return finished

    def next_timeout(self, now: float) -> float | None:
        """When `handle_timeout` or `to_send` has something to do next, or None."""
        while self._deadlines and not _is_current(self._deadlines[0]):
            heapq.heappop(self._deadlines)
        earliest = self._deadlines[0][0] if self._deadlines else None
        waiting = self._next_small() is not None or self._next_large() is not None
        if waiting and self.window.has_room:
            pace = self.window.next_send(now)
            earliest = pace if earliest is None else min(earliest, pace)
        return earliest

    def _finish(
        self, message: OutgoingMessage, status: SendStatus, now: float, reason: str | None = None
    ) -> Finished:
        message.done = True
        del self._by_sequence[message.sequence]
        del self._by_id[message.message_id]
        self.queued_bytes -= len(message.data)
        delivered = status is SendStatus.DELIVERED
        self._settle_window(message, delivered=delivered)
        if message.transfer is not None:
            self._large.discard(message)
        if delivered and message.transfer is None:
            self._remember(message)
        timed = delivered and (message.attempts == 1 or message.transfer is not None)
        rtt_s = now - message.began_at if timed else None
        result = SendResult(status, message.attempts, rtt_s, len(message.data), reason)
        return Finished(message, result)

    def _settle_window(self, message: OutgoingMessage, *, delivered: bool) -> None:
        transfer = message.transfer
        size = message.in_flight if transfer is None else transfer.bytes_in_flight
        (self.window.handle_acked if delivered else self.window.release)(size)

    def _remember(self, message: OutgoingMessage) -> None:
        self._resend[message.sequence] = message.data
        self._resend_bytes += len(message.data)
        while self._resend_bytes > self._options.resend_buffer_bytes:
            _, data = self._resend.popitem(last=False)
            self._resend_bytes -= len(data)
