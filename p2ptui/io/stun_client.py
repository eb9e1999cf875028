"""STUN transactions over one socket: retransmitted until answered, and no answer taken on trust.

Each transmission has its own id (the last byte counts them), whereas RFC 8489, section 6.2.1,
repeats the same bytes. So an answer tells which transmission it answers, the round trip is exact
even after a loss, and the share of losses is known.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from p2ptui.core.gate import Gate
from p2ptui.io.advice import Advice, send_advice
from p2ptui.io.exits import Exit
from p2ptui.io.udp import DatagramSocket
from p2ptui.wire.address import Address
from p2ptui.wire.stun import (
    TRANSACTION_ID_BYTES,
    Change,
    MessageClass,
    StunError,
    StunMessage,
    decode,
    encode,
)

BATCH: Final = 64

_TOO_MANY: Final = Advice("too many questions were sent there", "ask again in ten seconds")

_ANSWERS: Final = (MessageClass.SUCCESS, MessageClass.ERROR)
PREFIX_BYTES: Final = TRANSACTION_ID_BYTES - 1
"""Bytes of a transaction id that stay the same; the twelfth byte counts transmissions."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a request is sent, and until when its answer is awaited; seconds from its start."""

    sends_at_s: tuple[float, ...]
    give_up_s: float


CONTACT: Final = Schedule((0.0, 0.2, 0.4, 0.6, 0.8, 1.2, 1.6, 2.0), 2.5)
"""For a server about which nothing is known. RFC 8489 begins with 500 ms and gives up after 39.5 s;
nobody should wait longer than three seconds for "blocked". At 10 % loss each way the first five all
fail once in 4,000 times: the later ones must not begin too late."""

AGAIN: Final = Schedule((0.0, 0.2, 0.4, 0.6, 0.8, 1.2), 1.7)
"""From a second socket, if the first one has met only silence for 0.8 s: both end at the same
time."""

LONGEST_PAUSE_S: Final = 0.15
"""Even if the round trip is longer than twice that: several transmissions are then in flight at
once, which costs a server nothing. Losses this far apart are independent, and seven unanswered ones
are known after 0.9 s and two round trips: in time for a report within 2 s, up to a round trip of
0.36 s. With a pause that grew with the round trip, it would be too late from 0.33 s on."""


def steady_schedule(rtt_s: float, sends: int, shortest_s: float = 0.1) -> Schedule:
    """A schedule for a server whose round trip is known: evenly spaced, so that silence is soon
    certain.

    Args:
        rtt_s: The measured round trip, seconds.
        sends: Most transmissions.
        shortest_s: Least seconds between two.
    """
    pause = min(max(shortest_s, rtt_s / 2), LONGEST_PAUSE_S)
    last = pause * (sends - 1)
    return Schedule(
        tuple(pause * number for number in range(sends)), last + max(2 * rtt_s, 2 * shortest_s)
    )


@dataclass(frozen=True, slots=True)
class StunAnswer:
    """What came back."""

    message: StunMessage
    source: Address
    rtt_s: float
    transmission: int
    """Which one was answered, counted from 0."""


@dataclass(slots=True, eq=False)
class Transaction:
    """One request on its way."""

    server: Address
    request: StunMessage
    schedule: Schedule
    sent_at_s: list[float] = field(default_factory=list)
    trouble: Advice | None = None
    """Why the system did not send it."""
    failed: int = 0
    """Transmissions that the system did not send."""
    answer: StunAnswer | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None
    on_done: Callable[[], None] | None = None
    """Called once it is answered or given up."""

    def is_answered_by(self, message: StunMessage) -> bool:
        """Whether a message, wherever it arrived, belongs to this request."""
        prefix = self.request.transaction_id[:PREFIX_BYTES]
        return message.transaction_id[:PREFIX_BYTES] == prefix

    @property
    def error(self) -> str | None:
        """`trouble` in one line; None if there is none."""
        return str(self.trouble) if self.trouble is not None else None

    @property
    def sent(self) -> int:
        """Transmissions that left this machine."""
        return len(self.sent_at_s) - self.failed

    @property
    def lost(self) -> int:
        """Transmissions that were certainly lost, given that a later one was answered."""
        return 0 if self.answer is None else self.answer.transmission

    async def wait(self) -> StunAnswer | None:
        """The answer, or None once it is given up."""
        await self.done.wait()
        return self.answer


class StunClient:
    """STUN transactions over a socket of their own, which `close` closes.

    Args:
        sock: The socket.
        rng: The source of transaction ids.
        gate: Grants the requests; None makes a new one.
    """

    def __init__(self, sock: DatagramSocket, rng: random.Random, gate: Gate | None = None) -> None:
        self._socket = sock
        self._exit = Exit(sock, gate)
        self._rng = rng
        self.on_stray: Callable[[StunMessage, Address], None] | None = None
        """Called with each message that answers no request from here, and its source."""
        self.tag = rng.randbytes(TRANSACTION_ID_BYTES)
        """The transaction id of this client's indications, by which their receiver recognises
        them."""
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, Transaction] = {}
        self._reader = self._loop.create_task(self._read(), name="stun client")

    @property
    def local_address(self) -> Address:
        """Where the socket is bound; the host may be a wildcard."""
        return self._socket.local_address

    def start(
        self,
        server: Address,
        schedule: Schedule,
        *,
        change: Change | None = None,
        response_port: int | None = None,
        padding: int | None = None,
    ) -> Transaction:
        """Send a Binding request, at once and then by the schedule until it is answered.

        Args:
            server: A literal IP address and a port.
            schedule: When to send it, and when to give up.
            change: Ask for the answer from another place (RFC 5780, 7.2).
            response_port: Ask for it to another port of this host (7.5).
            padding: Bytes of padding in the request (7.6).
        """
        prefix = self._rng.randbytes(PREFIX_BYTES)
        request = StunMessage(
            message_class=MessageClass.REQUEST,
            transaction_id=prefix + b"\0",
            change_request=change,
            response_port=response_port,
            padding=padding,
        )
        transaction = Transaction(server, request, schedule)
        self._waiting[prefix] = transaction
        self._transmit(transaction)
        return transaction

    def indicate(self, address: Address) -> bool:
        """Send a Binding indication, which nobody answers, with the id `tag`; returns whether it is
        granted."""
        message = StunMessage(message_class=MessageClass.INDICATION, transaction_id=self.tag)
        return self._exit.ask(encode(message), address)

    async def close(self) -> None:
        """Give up everything, and close the socket."""
        for transaction in list(self._waiting.values()):
            self._finish(transaction)
        self._socket.close()
        self._reader.cancel()
        # Awaiting the task itself would hide a cancellation of the caller meanwhile.
        await asyncio.wait({self._reader})
        if not self._reader.cancelled() and (error := self._reader.exception()) is not None:
            raise error

    def _transmit(self, transaction: Transaction) -> None:
        number = len(transaction.sent_at_s)
        times = transaction.schedule.sends_at_s
        prefix = transaction.request.transaction_id[:PREFIX_BYTES]
        request = msgspec.structs.replace(
            transaction.request, transaction_id=prefix + bytes((number,))
        )
        transaction.sent_at_s.append(self._loop.time())
        is_failed = not self._exit.ask(encode(request), transaction.server)
        if is_failed:
            transaction.trouble = _TOO_MANY
        while (failure := self._socket.next_send_failure()) is not None:
            address, error = failure
            if address == transaction.server:
                transaction.trouble = send_advice(error, address, self.local_address)
                is_failed = True
        transaction.failed += is_failed
        if not transaction.sent:
            # Unreachable, or too large: the next one would fare the same.
            self._finish(transaction)
            return
        more = number + 1 < len(times)
        due = times[number + 1] if more else transaction.schedule.give_up_s
        # From now, not from the start: a process that was held up would send all at once, and take
        # it for silence that no answer came at the same moment.
        transaction.timer = self._loop.call_later(
            due - times[number], self._transmit if more else self._finish, transaction
        )

    def _finish(self, transaction: Transaction, answer: StunAnswer | None = None) -> None:
        self._waiting.pop(transaction.request.transaction_id[:PREFIX_BYTES], None)
        if transaction.timer is not None:
            transaction.timer.cancel()
        transaction.answer = answer
        transaction.done.set()
        if transaction.on_done is not None:
            transaction.on_done()

    async def _read(self) -> None:
        while not self._socket.closed:
            await self._socket.wait()
            for data, source in self._socket.drain(BATCH):
                self._receive(data, source)

    def _receive(self, data: bytes, source: Address) -> None:
        try:
            message = decode(data)
        except StunError:
            return
        transaction = self._waiting.get(message.transaction_id[:PREFIX_BYTES])
        if transaction is None or message.message_class not in _ANSWERS:
            if self.on_stray is not None:
                self.on_stray(message, source)
            return
        number = message.transaction_id[-1]
        if number >= len(transaction.sent_at_s):
            return
        # Only the server itself is believed, unless another place was asked to answer.
        if source != transaction.server and transaction.request.change_request is None:
            return
        rtt_s = self._loop.time() - transaction.sent_at_s[number]
        self._finish(transaction, StunAnswer(message, source, rtt_s, number))
