"""Both halves of one session over a bad link, on virtual time.

What a peer does with datagrams is done here with the real parts: sequence numbers,
reassembly, reports. After each step it must hold that nothing is due any more, and
that what is said to be under way makes sense.
"""

import heapq
import random
from itertools import count
from typing import Final

from p2ptui.config import Config
from p2ptui.core.events import SendResult, SendStatus
from p2ptui.core.reliability.duplicates import RELIABLE_IDS, ReceivedNumbers, RecentIds
from p2ptui.core.reliability.outgoing import Finished, OutgoingMessage
from p2ptui.core.reliability.reassembly import Reassembly, ReassemblyBudget
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.core.reliability.sender import ReliableSender
from p2ptui.wire.frames import Fragment, FragmentAck, decode_frame, encode_fragment_ack

MESSAGE: Final = b"M"
ACK: Final = b"A"
RETRANSMIT: Final = b"R"
SKIP: Final = b"S"
HEAD_BYTES: Final = 9


class StubMessage(OutgoingMessage):
    """Bytes that name its number and its mark, instead of JSON."""

    mark: int

    def write(self, sequence: int) -> None:
        self.sequence = sequence
        head = MESSAGE + sequence.to_bytes(4, "big") + self.mark.to_bytes(4, "big")
        self.data = head.ljust(self.size_bytes, b".")

    def renumber(self, sequence: int) -> None:
        self.size_bytes += 1  # written out, a number may be longer than another
        self.write(sequence)


_marks = count(1)


def message(size: int, token: int | None = None) -> OutgoingMessage:
    """A message of `size` bytes, at least `HEAD_BYTES`."""
    mark = next(_marks)
    made = StubMessage(None, f"id-{mark}", "Data", max(size, HEAD_BYTES), token)
    made.mark = mark if token is None else token
    made.for_reader = True
    return made


class Session:
    """A sender, its peer, and the link between them."""

    def __init__(
        self,
        seed: int | random.Random = 0,
        *,
        latency_s: float = 0.02,
        jitter_s: float = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
        first_sequence: int = 0,
        **options: object,
    ) -> None:
        config = Config().with_options(**options)
        reliability = config.reliability
        self.rng = random.Random(seed) if isinstance(seed, int) else seed
        self.latency_s, self.jitter_s = latency_s, jitter_s
        self.loss, self.duplication = loss, duplication
        self.now = 1000.0
        self.rtt = RttEstimator(
            reliability.initial_rto_ms / 1000,
            reliability.min_rto_ms / 1000,
            reliability.max_rto_ms / 1000,
        )
        self.sender = ReliableSender(
            reliability, self.rtt, first_sequence, config.server.datagram_budget
        )
        self.sender.numbering.bounded = True
        self.sequences = ReceivedNumbers(
            first_sequence, reliability.reorder_wait_ms / 1000, reliability.retransmit_requests
        )
        self.ids = RecentIds(RELIABLE_IDS)
        self.budget = ReassemblyBudget(reliability.reassembly_bytes_total)
        self.reassembly = Reassembly(
            config.server.max_message_size,
            reliability.reassembly_bytes_per_peer,
            reliability.reassembly_timeout,
            self.budget,
        )
        self.submitted: dict[int, OutgoingMessage] = {}
        """What was sent, by token."""
        self.delivered: list[int] = []
        """Tokens of what reached the reader, in that order."""
        self.told: list[tuple[int | None, SendResult]] = []
        """Token and result of each message that ended, in that order."""
        self.datagrams = 0
        """Datagrams that the sender put on the link."""
        self._link: list[tuple[float, int, bool, bytes]] = []
        self._order = count()

    def send(self, size: int) -> int:
        """Submit a message; its token, which counts from 1."""
        token = len(self.submitted) + 1
        made = message(size, token)
        self.sender.submit(made)
        self.submitted[token] = made
        return token

    @property
    def results(self) -> dict[int | None, SendResult]:
        return dict(self.told)

    def run(self, seconds: float = 1000.0) -> None:
        """Move time on until nothing is left to do, or so long."""
        end = self.now + seconds
        while self.step(end):
            pass

    def step(self, end: float) -> bool:
        """Do what is due next; False if that is not before `end`."""
        self._settle()
        times = [
            self._link[0][0] if self._link else None,
            self.sender.next_timeout(self.now),
            self.sequences.next_timeout(),
            self.reassembly.next_timeout(),
        ]
        due = min((time for time in times if time is not None), default=end)
        if due >= end:
            self.now = end
            return False
        assert due > self.now or self._link[0][0] <= self.now, "time stands still"
        self.now = max(self.now, due)
        while self._link and self._link[0][0] <= self.now:
            _, _, to_peer, data = heapq.heappop(self._link)
            (self._peer_receives if to_peer else self._sender_receives)(data)
        self._settle()
        return True

    def _settle(self) -> None:
        """Let both sides do what is due now; then nothing may be due any more."""
        now = self.now
        for finished in self.sender.handle_timeout(now):
            self._finish(finished)
        if self.sender.needs_skip:
            skip = SKIP + self.sender.numbering.next.to_bytes(4, "big")
            self.sender.skips.begin(skip.hex(), skip, now)
        for data in self.sender.to_send(now):
            self.datagrams += 1
            self._put(data, to_peer=True)
        for sequence in self.sequences.to_request(now, self.rtt.rto()):
            self._put(RETRANSMIT + sequence.to_bytes(4, "big"), to_peer=False)
        for report in self.reassembly.handle_timeout(now)[0]:
            self._put(encode_fragment_ack(report), to_peer=False)
        for later in (
            self.sender.next_timeout(now),
            self.sequences.next_timeout(),
            self.reassembly.next_timeout(),
        ):
            assert later is None or later > now
        waiting = self.sender._outbox.messages
        if len(waiting) < 100:  # to look at thousands each time would take too long
            assert self.sender.queued_bytes == sum(made.size_bytes for made in waiting)
            assert self.sender.window.in_flight == sum(
                made.transfer.bytes_in_flight if made.transfer else made.in_flight
                for made in waiting
            )

    def _put(self, data: bytes, *, to_peer: bool) -> None:
        copies = 2 if self.rng.random() < self.duplication else 1
        for _ in range(copies):
            if self.rng.random() >= self.loss:
                arrival = self.now + self.latency_s + self.rng.uniform(0, self.jitter_s)
                heapq.heappush(self._link, (arrival, next(self._order), to_peer, data))

    def _peer_receives(self, data: bytes) -> None:
        frame = decode_frame(data)
        if isinstance(frame, Fragment):
            assembled = self.reassembly.receive(frame, self.now)
            if assembled.progressed:
                self.sequences.postpone(frame.sequence, self.now + self.reassembly.timeout_s)
            report = assembled.report
            if assembled.message is not None:
                self._take(assembled.message)
                report = self.reassembly.accept(frame)
            if report is not None:
                self._put(encode_fragment_ack(report), to_peer=False)
        elif data[:1] == SKIP:
            self.sequences.skip_to(int.from_bytes(data[1:5], "big"))
            self._put(ACK + data, to_peer=False)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        number, token = int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:9], "big")
        assert data == self.submitted[token].data
        assert self.sequences.covers(number), "an honest sender is never beyond the window"
        if self.ids.add(str(token)):
            self.sequences.add(number, self.now)
            self.delivered.append(token)
        self._put(ACK + data[1:5], to_peer=False)

    def _sender_receives(self, data: bytes) -> None:
        frame = decode_frame(data)
        sequence = int.from_bytes(data[1:5], "big")
        if isinstance(frame, FragmentAck):
            self._finish(self.sender.handle_fragment_ack(frame, self.now))
        elif data[:2] == ACK + SKIP:
            assert self.sender.skips.handle_ack(data[1:].hex()) or self.duplication or self.loss
        elif data[:1] == ACK:
            self._finish(self.sender.handle_ack(sequence, self.now))
        else:
            again = self.sender.resend(sequence, self.now)
            if again:
                self.datagrams += 1
                self._put(again, to_peer=True)

    def _finish(self, finished: Finished | None) -> None:
        if finished is not None:
            self.told.append((finished.message.token, finished.result))

    def cancel(self, token: int) -> None:
        """Take a message back."""
        self._finish(self.sender.cancel(token, self.now, "cancelled"))

    def check_the_end(self) -> None:
        """After all has been said: nothing twice, nothing falsely, nothing left."""
        tokens = [token for token, _ in self.told]
        assert sorted(tokens) == sorted(self.submitted)
        assert len(set(self.delivered)) == len(self.delivered)
        believed = {token for token, result in self.told if result.status is SendStatus.DELIVERED}
        assert believed <= set(self.delivered)
        assert len(self.sender) == 0
        assert (self.sender.queued_bytes, self.sender.window.in_flight) == (0, 0)
        assert self.sender.next_timeout(self.now) is None
        assert self.budget.used_bytes == self.reassembly.partial_bytes == 0
