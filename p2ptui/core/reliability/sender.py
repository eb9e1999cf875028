"""What one peer must acknowledge: sent within the window, repeated after a timeout, or given up.

A message that fits a datagram is acknowledged as a whole. A longer one leaves in fragments, and
counts as delivered when its Ack or the report of its completion arrives. Small messages overtake
large ones, but nothing is sent so far ahead that the receiver could no longer tell whether it is a
duplicate.
"""

from collections.abc import Iterator

from p2ptui.core.events import SendStatus
from p2ptui.core.reliability.deadlines import earliest
from p2ptui.core.reliability.outgoing import Finished, OutgoingMessage
from p2ptui.core.reliability.parts import SenderParts
from p2ptui.core.reliability.resting import Resting
from p2ptui.wire.frames import FragmentAck, TransferStatus


class ReliableSender(SenderParts):
    """The sending half of one session; for its arguments see `SenderParts`."""

    def __len__(self) -> int:
        return len(self._outbox)

    def rest(self, now: float) -> Resting | None:
        """What remains of it when it has nothing to do; None while it has.

        Args:
            now: The time, seconds.
        """
        if not self._is_idle:
            return None
        self._settle_path(now)
        return self._resting() if self.path.is_settled else None

    def take_retransmissions(self) -> int:
        """Return and reset `retransmissions`."""
        count = self.retransmissions
        self._retransmissions = self._transfers.retransmissions = 0
        return count

    @property
    def queued_bytes(self) -> int:
        """Bytes of all messages queued or in flight."""
        return self._outbox.queued_bytes

    def take_begun(self) -> list[OutgoingMessage]:
        """The messages that have left for the first time since the last call."""
        return self._outbox.take_begun()

    def take_withdrawn(self) -> list[int]:
        """Numbers of abandoned messages with fragments at the other end, each once."""
        withdrawn = self._withdrawn
        if withdrawn:
            self._withdrawn = []
        return withdrawn

    def check_room(self, size: int) -> None:
        """Raise QueueFullError if `size` more bytes may not be queued."""
        self._outbox.check_room(size)

    def submit(self, message: OutgoingMessage) -> None:
        """Queue a message; see `to_send`.

        Raises:
            QueueFullError: `max_queued_bytes` are already queued.
        """
        self._outbox.check_room(message.size_bytes)
        message.is_large = message.size_bytes > self.path.size_bytes and not message.whole
        self._outbox.add(message)

    def fit(self, now: float) -> None:
        """Follow the path's size; to be called before `take_withdrawn` and `to_send`."""
        self._settle_path(now)
        self._withdrawn += self._fitting.fit(now)

    def to_send(self, now: float) -> Iterator[bytes]:
        """The datagrams that window and pacing allow now; each counts as sent when taken."""
        if (skip := self.skips.to_send(now)) is not None:
            yield skip
        if self._is_probe_due(now):
            yield from self._probe(now)
        window, turns = self.window, self._turns
        while self._outbox.may_have_more and window.has_room and window.next_send(now) <= now:
            small, large = turns.next_small(), turns.next_large()
            if small is not None and (large is None or turns.may_overtake):
                turns.overtaken += 1
                self._outbox.lane(small).take_small()
                yield self._transmit(small, now)
            elif large is not None:
                turns.overtaken = 0
                yield self._transmit_fragment(large, now)
            else:
                return

    @property
    def needs_skip(self) -> bool:
        """Whether the receiver must be told that numbers are skipped: see `skips`."""
        # While one is in flight, its Ack may make room.
        return self.skips.is_needed(waiting=self._outbox.only_waits)

    def _begin(self, message: OutgoingMessage, now: float) -> None:
        self._outbox.begin(message, self.numbering.take())
        message.began_at = now

    def _is_probe_due(self, now: float) -> bool:
        waiting = self._outbox.for_readers.count
        return self.room.paused and bool(waiting) and self.room.probe_at <= now

    def _probe(self, now: float) -> Iterator[bytes]:
        """Ask a receiver that had no room, with the oldest message."""
        if self.room.unanswered >= self._options.max_tries:
            self._reopen(now)  # it no longer answers: from here on tries count
            return
        message = self._outbox.oldest_for_readers or self._begin_paused(now)
        self.room.note_probe(now)
        if message is not None:
            self._retransmissions += 1
            transfer = message.transfer
            yield message.data if transfer is None else transfer.probe()

    def _begin_paused(self, now: float) -> OutgoingMessage | None:
        lane = self._outbox.for_readers
        message = lane.first_small() or lane.large.waiting()
        if message is None or not self._turns.may_begin():
            return None
        self._begin(message, now)
        message.attempts = message.excused = 1
        if message.is_large:
            self._transfers.open(message)
        return message

    def _transmit(self, message: OutgoingMessage, now: float) -> bytes:
        if message.attempts == 0:
            self._begin(message, now)
        else:
            self._retransmissions += 1
        message.attempts += 1
        message.sent_at = now
        self._outbox.lane(message).note_in_flight(message, message.size_bytes)
        self.window.handle_sent(message.size_bytes, now)
        self._set_deadline(message, self._rtt.rto(message.tries), now)
        return message.data

    def _transmit_fragment(self, message: OutgoingMessage, now: float) -> bytes:
        if message.attempts == 0:
            self._begin(message, now)
            message.attempts = 1
            self._transfers.open(message)
        return self._transfers.transmit(message, now)

    def _set_deadline(self, message: OutgoingMessage, timeout_s: float, now: float) -> None:
        self._deadlines.set(message, timeout_s, now, self._outbox.count_left)

    def handle_ack(self, key: int | str, now: float) -> Finished | None:
        """An Ack names a sequence number or a message id; None if nothing waits for it."""
        message = self._outbox.find(key)
        if message is None or message.attempts == 0:
            foreign = isinstance(key, int) and not self.numbering.was_used(key)
            if not self._second_acks.handle(key) and foreign:
                self.skips.handle_foreign_number(now)
            return None
        self._note_answer(message, now)
        self._fitting.note_passed(message)
        if message.transfer is None:
            if message.attempts == 1:
                self._rtt.observe(now - message.sent_at)  # Karn: only what was sent once
            elif self._rtt.srtt is None:
                self._rtt.hold(message.timeout_s)
            else:
                self._second_acks.expect(key, message.timeout_s)
        return self._finish(message, SendStatus.DELIVERED, now)

    def awaits_report(self, sequence: int) -> bool:
        """Whether fragments of this message are in flight, so that its receiver may report."""
        message = self._outbox.find(sequence)
        return message is not None and message.transfer is not None and message.attempts > 0

    def handle_fragment_ack(self, ack: FragmentAck, now: float) -> Finished | None:
        """A receiver reports on a transfer; returns the message if that completes it."""
        message = self._outbox.find(ack.sequence)
        if message is None or message.transfer is None or message.attempts == 0:
            return None
        self._note_answer(message, now)
        transfer = message.transfer
        if ack.status is TransferStatus.COMPLETE:
            self._fitting.note_passed(message)
            return self._finish(message, SendStatus.DELIVERED, now)
        if ack.status is TransferStatus.TOO_LARGE:
            reason = "the message is larger than the peer accepts"
            return self._finish(message, SendStatus.FAILED, now, reason, is_refused=True)
        if ack.status is TransferStatus.BUSY:
            self._transfers.handle_busy(message, now)
        else:
            self._transfers.handle_progress(message, transfer, ack, now)
        return None

    def handle_receive_window(self, number: int, room_bytes: int, now: float) -> None:
        """The receiver says how much room its readers have for this node.

        Args:
            number: The number of the update; it counts up.
            room_bytes: 0 when there is none.
            now: The time, seconds.
        """
        if not self.room.is_news(number):
            return
        was_paused = self.room.paused
        self.room.handle_update(number, room_bytes, now)
        if self.room.paused:
            self._pause(now)
        elif was_paused:
            self._transfers.resume(now)

    def _pause(self, now: float) -> None:
        """What is in flight was or will be refused: none of it counts as a failed try."""
        refused: list[OutgoingMessage] = []
        for message in self._outbox.left:
            if not message.for_reader:
                continue
            message.excused, message.stalled, message.deadline = message.attempts, 0, 0.0
            if message.transfer is not None:
                self._transfers.release(message.transfer, now)
            elif message.in_flight:
                self.window.release(message.in_flight)
                self._outbox.lane(message).note_in_flight(message, 0)
                refused.append(message)
        self._outbox.again(refused)

    def _note_answer(self, message: OutgoingMessage, now: float) -> None:
        if message.for_reader and self.room.paused and self.room.unanswered:
            self._reopen(now)  # the message that probed it found room

    def _reopen(self, now: float) -> None:
        self.room.open(None)
        self._transfers.resume(now)

    def renew(self, now: float) -> None:
        """A new session with the same node begins: unacknowledged messages are sent again."""
        self.room.reset()
        self.skips.reset()
        self.expire(now)
        for message in self._outbox.left:
            if message.transfer is not None:
                self._settle_window(message, delivered=False)
                self._transfers.restart(message)

    def begin_at(self, sequence: int) -> None:
        """The session begins with a handshake message that already has its number. A peer that
        accepted it knows no earlier numbers: messages that have left and continue in this
        session are renumbered."""
        self.numbering.begin_at(sequence)
        self._outbox.renumber(self.numbering)
        for message in self._outbox.left:
            self._transfers.renumber(message)

    def leave_path(self, *, still_arrives: bool) -> None:
        """Datagrams take another path from now on, which starts without what was learnt about the
        previous one (RFC 9000, section 9.4).

        Args:
            still_arrives: Whether what is in flight may still arrive; otherwise it counts as
                overdue, as in `expire`, at the next opportunity.
        """
        self.path.reset()
        self._has_left_path = True
        self._has_lost_path |= not still_arrives

    def _settle_path(self, now: float) -> None:
        if self._has_lost_path:
            self.expire(now)
        elif self._has_left_path:
            self._begin_path(now)

    def _begin_path(self, now: float) -> None:
        self._has_left_path = self._has_lost_path = False
        self._rtt.restart()
        self.window.restart(now)
        self.path.reset()

    def expire(self, now: float) -> None:
        """Count everything in flight as overdue: its path is gone."""
        self._begin_path(now)
        for message in self._outbox.left:
            message.excused = message.attempts - 1
            message.stalled = 0
            if message.in_flight or message.transfer is not None:  # the others wait already
                self._set_deadline(message, 0.0, now)

    def is_overdue(self, now: float) -> bool:
        """Whether `handle_timeout` will find a message that was not acknowledged in time."""
        due = self._deadlines.earliest()
        return due is not None and due <= now

    def handle_timeout(self, now: float) -> list[Finished]:
        """Give up messages that have had all their tries; have the others sent again by
        `to_send`."""
        self._settle_path(now)
        self.path.handle_timeout(now)
        self._resend.expire(now)
        finished = self._give_up_waiting(now) if self.skips.has_failed(now) else []
        again: list[OutgoingMessage] = []
        while (message := self._deadlines.next_due(now)) is not None:
            if message.transfer is None:
                self.window.handle_lost(message.in_flight, message.sent_at, now)
                self.path.note_lost(message.in_flight, message.sent_at, now)
                self._outbox.lane(message).note_in_flight(message, 0)
                if message.tries >= self._options.max_tries:
                    finished.append(self._time_out(message, now))
                else:
                    again.append(message)
            elif self._transfers.handle_stall(message, message.transfer, now):
                finished.append(self._time_out(message, now))
        self._outbox.again(again)
        return finished

    def _give_up_waiting(self, now: float) -> list[Finished]:
        # They have no numbers, and cannot get any that the peer would accept.
        reason = "the peer no longer acknowledges anything"
        waiting = [message for message in self._outbox.messages if message.attempts == 0]
        return [self._finish(message, SendStatus.TIMED_OUT, now, reason) for message in waiting]

    def _time_out(self, message: OutgoingMessage, now: float) -> Finished:
        return self._finish(message, SendStatus.TIMED_OUT, now, message.silence_words)

    def resend(self, sequence: int, now: float) -> bytes | None:
        """The peer asks for a message again (`Retransmit`).

        Returns:
            The datagram to send, empty bytes if it is arriving in fragments or on its way
            already, None if it is no longer held.
        """
        message = self._outbox.find(sequence)
        if message is None:
            return self._resend.get(sequence)
        if message.transfer is not None or message.attempts == 0 or message.in_flight == 0:
            return b""
        self._retransmissions += 1
        message.attempts += 1
        self.window.handle_lost(message.in_flight, message.sent_at, now)
        self.path.note_lost(message.in_flight, message.sent_at, now)
        self.window.handle_sent(message.in_flight, now)
        message.sent_at = now
        self._set_deadline(message, self._rtt.rto(message.tries), now)
        return message.data

    def cancel(self, token: int, now: float, reason: str) -> Finished | None:
        """Stop trying to deliver the message with `token`."""
        message = self._outbox.with_token(token)
        if message is None:
            return None
        return self._finish(message, SendStatus.TIMED_OUT, now, reason)

    def fail_all(self, reason: str, now: float) -> list[Finished]:
        """Give up everything: the session is over."""
        finished = [
            self._finish(message, SendStatus.FAILED, now, reason)
            for message in self._outbox.messages
        ]
        for container in (self._outbox, self._deadlines, self._resend, self._withdrawn):
            container.clear()
        return finished

    def next_timeout(self, now: float) -> float | None:
        """When `handle_timeout` or `to_send` has something to do next, or None."""
        due = earliest(self._deadlines.earliest(), self._resend.due)
        due = earliest(earliest(due, self.path.next_timeout()), self.skips.next_timeout())
        if self.room.paused and self._outbox.for_readers.count:
            due = earliest(due, self.room.probe_at)
        if not (self._outbox.may_have_more and self.window.has_room):
            return due
        waits = self._turns.next_small() is not None or self._turns.next_large() is not None
        return earliest(due, self.window.next_send(now)) if waits else due

    def _finish(
        self,
        message: OutgoingMessage,
        status: SendStatus,
        now: float,
        reason: str | None = None,
        *,
        is_refused: bool = False,
    ) -> Finished:
        delivered = status is SendStatus.DELIVERED
        if message.attempts:
            self._settle_window(message, delivered=delivered)
        self._outbox.remove(message)
        if not delivered and message.transfer is not None:
            self._withdrawn.append(message.sequence)
        if delivered:
            self.numbering.handle_acknowledged(message.sequence)
            if message.for_reader:
                self.room.note_accepted(message.size_bytes)
        if delivered and message.transfer is None:
            self._resend.add(message.sequence, message.data, now)
        timed = delivered and (message.attempts == 1 or message.transfer is not None)
        rtt_s = now - message.began_at if timed else None
        is_open = not delivered and not is_refused and message.has_left
        return Finished(message, status, rtt_s, reason, is_open)

    def _settle_window(self, message: OutgoingMessage, *, delivered: bool) -> None:
        transfer = message.transfer
        size = message.in_flight if transfer is None else transfer.bytes_in_flight
        self._outbox.lane(message).note_in_flight(message, 0)
        (self.window.handle_acked if delivered else self.window.release)(size)
