"""The one pump: moves datagrams and time into the core, and datagrams and events out of it."""

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
"""Datagrams read and processed at a time, with one reading of the clock."""

DIRECT: Final = 64
"""Up to this many that came at once are processed as they came: nobody waits long among them."""

LOOK: Final = 8
"""Of these, this many are processed before the time is checked again."""

SLICE_S: Final = 0.002
"""If more are waiting, the system's buffer is emptied this often: what does not fit is lost, no
matter who sent it. By default it holds about 500 small datagrams.
"""

READS: Final = 8
"""Batches read at once then, at most; reading costs a tenth of processing."""

BUSY_S: Final = 0.005
"""A busy socket lets the rest of the event loop run after this long: timers, and the screen."""


LATE_S: Final = 2.0
"""A timer this late shows that the process stood still: peers were not silent then."""


class PathProbes(Protocol):
    """Knows what a refused datagram says about a path; see `core.path_probes`."""

    def handle_refused(self, address: Address, size_bytes: int, now: float) -> bool:
        """Whether there is a session, and the refusal told how large its datagrams may be."""


class Core(Protocol):
    """What is pumped: what the I/O needs of `core.endpoint.Endpoint`, and what tests may
    replace.
    """

    @property
    def path_probes(self) -> PathProbes:
        """Told about datagrams that were too long."""

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        """Take a datagram."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        """Return the datagrams that are to leave."""

    def next_event(self) -> Any:
        """Return the next event of `core.events`; None if there is none."""

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    def fail_datagram(self, address: Address, reason: str, now: float) -> None:
        """A datagram could not be sent."""

    def set_unix_offset(self, unix_offset: float) -> None:
        """Set the difference from the clock to Unix time, seconds."""


class Driver:
    """Moves datagrams between a socket and an endpoint, and keeps its one timer.

    It belongs to the running event loop and is not thread-safe.

    Args:
        endpoint: The protocol.
        sock: The socket.
        on_event: Called, in order, with each event of the endpoint; must not block or raise.
        clock: Seconds that only go forward.
        wall: Unix time, seconds.
        on_failure: Called with an exception raised by the endpoint's timer, or by a datagram read
            for it; then no timer runs any more. Without it the event loop reports it. An exception
            raised by any other datagram comes out of `run`.
        on_late: Called with a delay and the time, seconds, before a timer is handled so late that
            the process must have stood still.
        on_due: Called with the time, seconds, when something is due; it may leave some of it
            undone, and is called again. Without it the endpoint does everything.
        inbox: Where datagrams wait when more come than can be processed; by default one that treats
            all sources as strangers.
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
        """The time on the endpoint's clock, seconds."""
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
        """Process what has arrived, for a while at most; return whether there may be more."""
        inbox, batch = self._inbox, self._socket.drain(BATCH)
        self._heap.note_read(len(batch))
        if not inbox.waiting:
            if not batch:
                return False
            if len(batch) <= DIRECT:
                self._take_directly(batch, now)
                # Checking the socket costs less than another turn of the event loop, and more may
                # have come while these were processed.
                return True
        for _ in range(READS):
            inbox.put(batch)
            if len(batch) < BATCH:
                break
            batch = self._socket.drain(BATCH)
        self._serve(now)
        return True

    def _take_directly(self, batch: list[tuple[bytes, Address]], now: float) -> None:
        """Process a few datagrams directly; if they take too long, the rest wait their turn."""
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
                look_again = at + SLICE_S  # nothing has come that would have to wait for these
            for data, address in batch[start : start + LOOK]:
                endpoint.receive_datagram(data, address, now)

    def _serve(self, now: float) -> None:
        """Process what waits, in turns, until the system's buffer should be emptied again."""
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
        """Send what the endpoint has to send, report its events, and set the timer."""
        now = self._clock()
        while self._transmit(now):
            pass  # what was too long is sent again in another size
        while (event := self._endpoint.next_event()) is not None:
            self._on_event(event)
        self._arm(now)

    def _transmit(self, now: float) -> bool:
        """Send everything due now; return whether the system found any of it too long."""
        datagrams = self._endpoint.datagrams_to_send(now)
        if datagrams:
            self._socket.send_all(datagrams)
        too_long = False
        while (failure := self._socket.next_send_failure()) is not None:
            address, error = failure
            if isinstance(error, DatagramTooLongError):
                too_long = True
                if self._endpoint.path_probes.handle_refused(address, error.size_bytes, now):
                    continue  # it tells the allowed size, and nothing about the peer
            advice = send_advice(error, address, self._socket.local_address)
            self._endpoint.fail_datagram(address, str(advice), now)
        return too_long

    def _arm(self, now: float) -> None:
        when = self._endpoint.next_timeout()
        if when is None:
            return
        if self._timer is not None:
            if self._timer_at <= when:
                return  # it fires early enough, and is then set anew
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
            # If the process had to wait for the CPU, what a timer waited for may have arrived: it
            # must not be requested again, or given up, just because it was not read yet.
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
        """What was read for a timer must not wait for the next datagram, as `run` might."""
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
        # Left to the loop, it would only be a line in a log while the node stands still.
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
