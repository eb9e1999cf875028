"""The one pump: datagrams and time into the core, datagrams and events out of it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from p2ptui.core.events import Event
from p2ptui.io.advice import send_advice
from p2ptui.io.datagrams import DatagramTooLongError
from p2ptui.io.fair_inbox import FairInbox
from p2ptui.io.heap import Heap
from p2ptui.io.udp import DatagramSocket
from p2ptui.wire.address import Address

BATCH: Final = 256
"""Datagrams read and processed at a time, with one look at the clock."""

DIRECT: Final = 64
"""So many that came at once are taken as they came: nobody waits long for his turn among them."""

LOOK: Final = 8
"""Of these, as many are taken before the next look at how long that takes."""

SLICE_S: Final = 0.002
"""Where more wait than that, the system's buffer is emptied this often: what it has no room for is
lost, whoever sent it. It holds about 500 small datagrams where nobody has enlarged it."""

READS: Final = 8
"""Batches read at once then, at most; reading costs a tenth of what processing does."""

BUSY_S: Final = 0.005
"""A busy socket lets the rest of the event loop run after this: timers, and the screen."""


LATE_S: Final = 2.0
"""A timer that is so late shows that the process stood still: peers were not silent then."""


class PathProbes(Protocol):
    """Who knows what a refused datagram says of a path; see `core.path_probes`."""

    def handle_refused(self, address: Address, size_bytes: int, now: float) -> bool:
        """Whether there is a session, and the refusal said how large its datagrams may be."""


class Core(Protocol):
    """What is pumped: what the I/O asks of `core.endpoint.Endpoint`, and tests may stand in for."""

    @property
    def path_probes(self) -> PathProbes:
        """Told of datagrams that were too long."""

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        """Take a datagram."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        """Hand over what is to leave."""

    def next_event(self) -> Any:
        """Hand over an event of `core.events`; None if there is none."""

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    def fail_datagram(self, address: Address, reason: str, now: float) -> None:
        """A datagram could not be sent."""

    def set_unix_offset(self, unix_offset: float) -> None:
        """What the clock lacks to Unix time, seconds."""


class Driver:
    """Moves datagrams between a socket and an endpoint, and keeps its one timer.

    It belongs to the running event loop and is not safe for threads.

    Args:
        endpoint: The protocol.
        sock: The socket.
        on_event: Called, in order, with each event of the endpoint; must not block or raise.
        clock: Seconds that only go forward.
        wall: Unix time, seconds.
        on_failure: Called with what the endpoint's timer raised, or a datagram that was read for
            it, after which nothing is timed any more. Without it the event loop reports it. What
            another datagram raised, `run` raises.
        on_late: Called with a delay and the time, seconds, before what is due is done so late
            that the process must have stood still.
        on_due: Called with the time, seconds, when something is due; it may leave some of that,
            and is called again. Without it the endpoint does all.
        inbox: Where datagrams wait for their turn when more come than can be processed; without
            it one that knows nobody.
    """

    def __init__(
        self,
        endpoint: Core,
        sock: DatagramSocket,
        on_event: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        on_failure: Callable[[Exception], None] | None = None,
        on_late: Callable[[float, float], None] | None = None,
        on_due: Callable[[float], None] | None = None,
        inbox: FairInbox | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._socket = sock
        self._on_event = on_event
        self._clock = clock
        self._wall = wall
        self._on_failure = on_failure
        self._on_late = on_late
        self._on_due = on_due
        self._inbox = FairInbox() if inbox is None else inbox
        self._loop = asyncio.get_running_loop()
        self._heap = Heap(self._loop)
        self._timer: asyncio.TimerHandle | None = None
        self._rest: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._fires_at = 0.0

    @property
    def now(self) -> float:
        """The time on the clock that the endpoint lives by, seconds."""
        return self._clock()

    async def run(self) -> None:
        """Pump until the socket closes."""
        while not self._socket.closed:
            if not self._inbox.waiting:
                await self._socket.wait()
            self._pump()
            await asyncio.sleep(0)

    def _pump(self) -> None:
        began = self._clock()
        now = began
        while True:
            more = self._take_some(now)
            self.flush()
            now = self._clock()
            if not more or now - began > BUSY_S:
                return

    def _take_some(self, now: float) -> bool:
        """Hand over what has arrived, for a while at most; whether there may be more."""
        inbox, batch = self._inbox, self._socket.drain(BATCH)
        self._heap.note_read(len(batch))
        if not inbox.waiting:
            if not batch:
                return False
            if len(batch) <= DIRECT:
                self._take_directly(batch, now)
                # A look at the socket costs less than another turn of the event loop, and while
                # these were processed others may have come.
                return True
        for _ in range(READS):
            inbox.put(batch)
            if len(batch) < BATCH:
                break
            batch = self._socket.drain(BATCH)
        self._serve(now)
        return True

    def _take_directly(self, batch: list[tuple[bytes, Address]], now: float) -> None:
        """Hand over a few datagrams; if they take too long, the rest of them waits its turn."""
        endpoint = self._endpoint
        if len(batch) <= LOOK:
            for data, address in batch:
                endpoint.receive_datagram(data, address, now)
            return
        look_again = now + SLICE_S
        for start in range(0, len(batch), LOOK):
            if start and (at := self._clock()) > look_again:
                more = self._socket.drain(BATCH)
                self._heap.note_read(len(more))
                if more or at - now > BUSY_S:
                    self._inbox.put(batch[start:])
                    self._inbox.put(more)
                    return
                look_again = at + SLICE_S  # nobody has come who would have to wait for these
            for data, address in batch[start : start + LOOK]:
                endpoint.receive_datagram(data, address, now)

    def _serve(self, now: float) -> None:
        """Hand over what waits, in turns, until the system's buffer should be emptied again."""
        inbox, endpoint, clock = self._inbox, self._endpoint, self._clock
        began = last = clock()
        for _ in range(BATCH):
            waiting = inbox.next()
            if waiting is None:
                return
            data, address = waiting
            endpoint.receive_datagram(data, address, now)
            ended = clock()
            inbox.spend(ended - last)
            if ended - began > SLICE_S:
                return
            last = ended

    def flush(self) -> None:
        """Send what the endpoint has to send, tell its events, and set the timer."""
        now = self._clock()
        while self._transmit(now):
            pass  # what was too long is there in another size
        while (event := self._endpoint.next_event()) is not None:
            self._on_event(event)
        self._arm(now)

    def _transmit(self, now: float) -> bool:
        """Send all that is to leave now; whether the system found any of it too long."""
        datagrams = self._endpoint.datagrams_to_send(now)
        if datagrams:
            self._socket.send_all(datagrams)
        too_long = False
        while (failure := self._socket.next_send_failure()) is not None:
            address, error = failure
            if isinstance(error, DatagramTooLongError):
                too_long = True
                if self._endpoint.path_probes.handle_refused(address, error.size_bytes, now):
                    continue  # it says how large a datagram may be, and nothing of the peer
            advice = send_advice(error, address, self._socket.local_address)
            self._endpoint.fail_datagram(address, str(advice), now)
        return too_long

    def _arm(self, now: float) -> None:
        when = self._endpoint.next_timeout()
        if when is None:
            return
        if self._timer is not None:
            if self._timer_at <= when:
                return  # it comes early enough, and is then set anew
            self._timer.cancel()
        self._timer_at = when
        self._fires_at = max(when, now)
        self._timer = self._loop.call_later(max(when - now, 0.0), self._handle_timer)

    def _handle_timer(self) -> None:
        self._timer = None
        now = self._clock()
        try:
            if self._on_late is not None and now - self._fires_at >= LATE_S:
                self._on_late(now - self._fires_at, now)
            self._endpoint.set_unix_offset(self._wall() - now)
            # Where the process had to wait for its turn, what a timer waited for may have come
            # meanwhile: it must not be asked for again, or given up, because it was not read yet.
            self._take_some(now)
            if self._on_due is None:
                self._endpoint.handle_timeout(now)
            else:
                self._on_due(now)
            self.flush()
        except Exception as error:
            self._fail(error)
        else:
            self._plan_rest()

    def _plan_rest(self) -> None:
        """What was read for a timer must not wait for the next datagram, as `run` may do."""
        if self._inbox.waiting and self._rest is None:
            self._rest = self._loop.call_soon(self._handle_rest)

    def _handle_rest(self) -> None:
        self._rest = None
        try:
            self._pump()
        except Exception as error:
            self._fail(error)
        else:
            self._plan_rest()

    def _fail(self, error: Exception) -> None:
        # Left to the loop it would be a line in a log, and the node stand still.
        if self._on_failure is None:
            raise error
        self._on_failure(error)

    def close(self) -> None:
        """Stop the timer; the socket's owner closes the socket, which ends `run`."""
        for handle in (self._timer, self._rest):
            if handle is not None:
                handle.cancel()
        self._timer = self._rest = None
        self._heap.close()
