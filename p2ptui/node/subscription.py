"""One reader's view of a node's events: bounded, and honest about what it missed."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

from p2ptui.core.events import Event, EventsDropped
from p2ptui.errors import LocalError


class Subscription(AsyncIterator[Event]):
    """Events from now on, in order; the newest are dropped when the reader is too slow.

    Args:
        limit: Events that may wait for the reader.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """Add an event, or count it as dropped."""
        if self._closed:
            return
        if len(self._events) >= self._limit:
            self._dropped += 1
            return
        if self._dropped:
            # Where they are missing, the reader is told; that takes a place of its own.
            self._events.append(EventsDropped(self._dropped))
            self._dropped = 0
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """End the iteration, after what already waits."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                return EventsDropped(dropped)
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise LocalError("another task waits for these events; subscribe once for each")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    def take(self, limit: int) -> list[Event]:
        """At most `limit` events that already wait; never blocks."""
        taken: list[Event] = []
        with suppress(IndexError):
            while len(taken) < limit:
                taken.append(self._events.popleft())
        if not self._events and self._dropped:
            taken.append(EventsDropped(self._dropped))
            self._dropped = 0
        return taken
