"""One reader's view of a node's events: bounded, and honest about what it missed."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from p2ptui.core.events import (
    DataReceived,
    Event,
    EventsDropped,
    MessageTraced,
    RelayDataReceived,
)
from p2ptui.errors import LocalError

MAX_BYTES: Final = 16 << 20
"""Messages that may wait for a reader, whatever their number: one may have a megabyte."""


class Subscription(AsyncIterator[Event]):
    """Events from now on, in order; the newest are dropped when the reader is too slow.

    Args:
        limit: Events that may wait for the reader.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """Add an event, or count it as dropped."""
        if self._closed:
            return
        size = _size_of(event)
        if len(self._events) >= self._limit or self._bytes + size > MAX_BYTES:
            self._dropped += 1
            return
        if self._dropped:
            # Where they are missing, the reader is told; that takes a place of its own.
            self._events.append(EventsDropped(self._dropped))
            self._dropped = 0
        self._events.append(event)
        self._bytes += size
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
        return self._pop()

    def _pop(self) -> Event:
        event = self._events.popleft()
        self._bytes -= _size_of(event)
        return event

    def take(self, limit: int) -> list[Event]:
        """At most `limit` events that already wait; never blocks."""
        taken: list[Event] = []
        with suppress(IndexError):
            while len(taken) < limit:
                taken.append(self._pop())
        if not self._events and self._dropped:
            taken.append(EventsDropped(self._dropped))
            self._dropped = 0
        return taken


def _size_of(event: Event) -> int:
    if isinstance(event, DataReceived | MessageTraced):
        return event.size_bytes
    return len(event.data) if isinstance(event, RelayDataReceived) else 0
