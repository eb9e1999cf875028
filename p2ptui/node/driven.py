"""An endpoint at work: the pump that drives it, its clock, and the calls whose end is awaited."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import CallFinished, Event
from p2ptui.errors import LocalError, P2PError
from p2ptui.io.driver import Driver
from p2ptui.io.fair_inbox import FairInbox, Owner, Standing
from p2ptui.io.udp import DatagramSocket
from p2ptui.wire.address import Address


class Driven:
    """One endpoint, and everything needed to drive it.

    Args:
        endpoint: The protocol.
        sock: The socket that carries its datagrams.
        on_event: Called with every event except the ends of calls.
        clock: A monotonic clock, seconds.
        wall: Unix time, seconds.
        on_failure: Called with what broke the machinery.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sock: DatagramSocket,
        on_event: Callable[[Event], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.endpoint = endpoint
        self.clock = clock
        """The time on the endpoint's clock, seconds."""
        self._on_event = on_event
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._driver = Driver(
            endpoint,
            sock,
            self._handle_event,
            clock,
            wall,
            on_failure=on_failure,
            on_late=endpoint.moving.excuse,
            on_due=self._handle_due,
            inbox=FairInbox(self._owner_of, self._drop),
        )

    async def run(self) -> None:
        """Move datagrams and run timers, until cancelled."""
        await self._driver.run()

    def flush(self) -> None:
        """Carry out what was just asked of the endpoint."""
        self._driver.flush()

    def call(self, token: int) -> Awaitable[Any]:
        """An awaitable for the end of a call on the endpoint; from now on it is not missed.

        It returns the result of the call, or raises its P2PError.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls[token] = future
        future.add_done_callback(lambda _: self._calls.pop(token, None))
        self._driver.flush()
        return future

    def later(self, delay_s: float, action: Callable[[float], None]) -> asyncio.TimerHandle:
        """Do something to the endpoint after a delay, seconds."""

        def run() -> None:
            try:
                action(self.clock())
                self._driver.flush()
            except Exception as error:
                self._on_failure(error)

        return self._loop.call_later(delay_s, run)

    def close(self) -> None:
        """Stop the pump."""
        self._driver.close()

    def end_calls(self, reason: str) -> None:
        """End all awaited calls: none will end by itself."""
        for future in self._calls.values():
            if not future.done():
                future.set_exception(LocalError(reason))
        self._calls.clear()

    def _owner_of(self, address: Address) -> Owner | None:
        peer = self.endpoint.peers.sender(address)
        if peer is None:
            return None
        return (Standing.PROVED if peer.proved else Standing.SESSION, peer.address)

    def _handle_due(self, now: float) -> None:
        """Work through what is due for a while; then the event loop gets its turn."""
        self.endpoint.handle_timeout(now, self.clock)

    def _drop(self, cause: str) -> None:
        self.endpoint.counters.drop(cause)

    def _handle_event(self, event: Event) -> None:
        if not isinstance(event, CallFinished):
            self._on_event(event)
            return
        future = self._calls.get(event.token)
        if future is None or future.done():
            return
        if isinstance(event.outcome, P2PError):
            future.set_exception(event.outcome)
        else:
            future.set_result(event.outcome)
