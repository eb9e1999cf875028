"""Messages in flight in fragments: which leave, which are reported, which count as lost."""

import math
from typing import Final

from p2ptui.core.reliability.congestion import CongestionWindow
from p2ptui.core.reliability.deadlines import Deadlines
from p2ptui.core.reliability.fragments import OutgoingTransfer
from p2ptui.core.reliability.outbox import Outbox
from p2ptui.core.reliability.outgoing import OutgoingMessage
from p2ptui.core.reliability.path_mtu import PathMtu
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.wire.frames import FragmentAck

_REORDER_FRACTION: Final = 0.25
"""How much later a datagram may arrive than its successors, as a fraction of a round trip (RFC
8985, section 6.2)."""

_BUSY_PAUSE_S: Final = 1.0
"""A message that the receiver has no memory for is tried again after at most this time."""

_TRIES_FACTOR: Final = 2
"""A transfer without any progress gets this many times `max_tries` timeouts, since more is lost
with it."""


class Transfers:
    """The part of a sender that handles fragments.

    Args:
        outbox: All messages.
        window: How much may be in flight.
        rtt: The path's round-trip estimator.
        deadlines: When messages in flight count as lost.
        path: The largest datagram that passes; it is told which ones do.
        max_tries: How often one datagram is sent.
    """

    __slots__ = (
        "_deadlines",
        "_max_stalls",
        "_outbox",
        "_path",
        "_rtt",
        "_window",
        "retransmissions",
    )

    def __init__(
        self,
        outbox: Outbox,
        window: CongestionWindow,
        rtt: RttEstimator,
        deadlines: Deadlines,
        path: PathMtu,
        max_tries: int,
    ) -> None:
        self._outbox = outbox
        self._window = window
        self._rtt = rtt
        self._deadlines = deadlines
        self._path = path
        self._max_stalls = _TRIES_FACTOR * max_tries
        self.retransmissions = 0

    def open(self, message: OutgoingMessage) -> None:
        """The first waiting large message, which has its number, is in flight from now on."""
        message.transfer = self._new_transfer(message)
        self._outbox.lane(message).large.begin(message)

    def _new_transfer(self, message: OutgoingMessage) -> OutgoingTransfer:
        return OutgoingTransfer(message.sequence, message.data, self._path.size_bytes)

    def renumber(self, message: OutgoingMessage) -> None:
        """A message in flight has another number: it is cut anew."""
        if message.transfer is not None:
            self._window.release(message.transfer.bytes_in_flight)
            message.recut(self._new_transfer(message))

    def restart(self, message: OutgoingMessage) -> None:
        """Send a message from its first fragment on: what had arrived may be forgotten there."""
        if message.transfer is not None:
            message.transfer = message.transfer.afresh()

    def fit(self, message: OutgoingMessage, now: float) -> None:
        """A message in flight or its fragments are too large: continue in smaller ones."""
        transfer = message.transfer
        if transfer is None:
            message.recut(self._new_transfer(message))
        else:
            self._window.release(transfer.bytes_in_flight)
            message.transfer = transfer.recut(
                self._path.size_bytes, named=self._path.grows, deaf_until=now + self._rtt.rto()
            )
        # Earlier losses say nothing about the new ones.
        message.excused, message.stalled = message.attempts, 0
        self._set_deadline(message, self._rtt.rto(), now)

    def transmit(self, message: OutgoingMessage, now: float) -> bytes:
        """The next fragment of an open transfer; it counts as sent."""
        transfer = message.transfer
        assert transfer is not None
        index = transfer.take(now)
        self._window.handle_sent(transfer.size(index), now)
        if message.deadline <= now:
            self._set_deadline(message, self._rtt.rto(message.stalled + 1), now)
        return transfer.frame(index)

    def _set_deadline(self, message: OutgoingMessage, timeout_s: float, now: float) -> None:
        self._deadlines.set(message, timeout_s, now, self._outbox.count_left)

    def handle_progress(
        self, message: OutgoingMessage, transfer: OutgoingTransfer, ack: FragmentAck, now: float
    ) -> None:
        """The receiver reports which fragments have arrived."""
        if not transfer.is_meant_by(ack, now):
            return
        before = transfer.arrived
        news = transfer.handle_ack(ack)
        if transfer.arrived == before:
            return
        newest = -math.inf
        clean = False
        for index, sent_at, sent_once in news:
            self._path.note_passed(transfer.size(index), sent_at)
            elapsed = now - sent_at
            if sent_once:
                clean = True
                self._rtt.observe(elapsed)
            if sent_once or elapsed >= (self._rtt.minimum or 0.0):
                # Otherwise it reports an earlier transmission (RFC 8985, section 6.2, step 2).
                newest = max(newest, sent_at)
        if message.stalled and not clean:
            self._rtt.hold(message.timeout_s)
        message.stalled = message.refusals = 0
        self._window.handle_acked(sum(transfer.size(index) for index, _, _ in news))
        reorder_s = _REORDER_FRACTION * (self._rtt.srtt or self._rtt.rto())
        self._count_lost(transfer, transfer.detect_lost(newest, reorder_s), now)
        self._set_deadline(message, self._rtt.rto(), now)

    def handle_busy(self, message: OutgoingMessage, now: float) -> None:
        """The receiver has no memory to assemble a message in."""
        # It answers, so no try has failed; but asking again at once would be in vain.
        message.stalled = 0
        message.refusals += 1
        if message.refusals > 1:
            pause = min(self._rtt.rto(message.refusals), max(_BUSY_PAUSE_S, self._rtt.rto()))
            self._set_deadline(message, pause, now)

    def handle_stall(
        self, message: OutgoingMessage, transfer: OutgoingTransfer, now: float
    ) -> bool:
        """Nothing was reported in time; returns whether the message is given up."""
        if not transfer.is_under_way and transfer.has_more:
            return False  # small messages had the window; the next fragment sets a deadline
        message.stalled += 1
        message.attempts += 1
        if message.stalled > self._max_stalls:
            return True
        if message.refusals:
            self.release(transfer, now)
        self._count_lost(transfer, transfer.detect_timeout(now - self._rtt.rto()), now)
        if transfer.is_complete:
            # Everything has arrived, but completion was not reported: any fragment asks again.
            transfer.repeat_last()
            self.retransmissions += 1
        self._set_deadline(message, self._rtt.rto(message.stalled + 1), now)
        return False

    def release(self, transfer: OutgoingTransfer, now: float) -> None:
        """What is in flight was refused: it is sent again, and does not count as lost."""
        for index, _ in transfer.detect_timeout(now):
            self._window.release(transfer.size(index))

    def resume(self, now: float) -> None:
        """There is room again: messages with nothing to send ask for their last report."""
        for message in self._outbox.left:
            if message.transfer is not None and not message.deadline:
                if message.transfer.is_complete:
                    message.transfer.repeat_last()
                self._set_deadline(message, self._rtt.rto(), now)

    def _count_lost(
        self, transfer: OutgoingTransfer, lost: list[tuple[int, float]], now: float
    ) -> None:
        self.retransmissions += len(lost)
        for index, sent_at in lost:
            self._window.handle_lost(transfer.size(index), sent_at, now)
            self._path.note_lost(transfer.size(index), sent_at, now)
