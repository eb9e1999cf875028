"""The readers of a node's events: each is bounded, and told what it missed."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from p2ptui.core.events import (
    DataDropped,
    DataReceived,
    ErrorReceived,
    Event,
    EventsDropped,
    MessageTraced,
    PeersDiscovered,
    RelayDataReceived,
    RoutesReceived,
)
from p2ptui.core.readers import ReaderRoom, Readers
from p2ptui.errors import LocalError

MAX_TRACED_BYTES: Final = 16 << 20
"""Traced messages that may wait for a reader, in total: one message may have a megabyte."""

MAX_LISTED_BYTES: Final = 1 << 20
"""Lists of nodes and routes, and error texts, that may wait for a reader, in memory. One list may
have a thousand entries.
"""

_ENTRY_BYTES: Final = 400
_TEXT_BYTES: Final = 60
"""Approximate memory of a list entry or a short text."""

_LISTS: Final = frozenset({PeersDiscovered, RoutesReceived, ErrorReceived})
"""Events with lists and texts."""

_Data: TypeAlias = DataReceived | RelayDataReceived

_DATA: Final = frozenset({DataReceived, RelayDataReceived})
_OF_DATA: Final = _DATA | {DataDropped}
"""As types: a set look-up is cheaper than checking against a union."""


class Subscription(AsyncIterator[Event]):
    """An async iterator of events, in order; `Node.events()` makes it.

    Data is never dropped: it is acknowledged only if there is room for it. Of the other
    events, the newest are dropped if the reader is too slow.

    Args:
        limit: Events other than Data that may wait for the reader.
        room: The reader's room for Data; None if it wants none.
        awaited: Holds it while a task waits for its next event. The event loop keeps no reference
            to such a task, so a task that its creator forgot would vanish together with its
            subscription.
        wants: Called with each event as it happens; returns whether the reader gets it; None: all.
            Data that it does not want counts as read. It must be quick. If it raises, the reader
            gets the exception after the waiting events, and this subscription ends.
    """

    def __init__(
        self,
        limit: int,
        room: ReaderRoom | None = None,
        awaited: "set[Subscription] | None" = None,
        wants: Callable[[Event], bool] | None = None,
    ) -> None:
        self._limit = limit
        self._wants = wants
        self._awaited: set[Subscription] = set() if awaited is None else awaited
        self.room = room
        self._news = 0
        self._traced_bytes = 0
        self._listed_bytes = 0
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._closed = False
        self._error: Exception | None = None
        """What `wants` raised, until the reader gets it."""
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """Add an event, or count it as dropped."""
        if self._closed:
            return
        kind = type(event)
        if kind in _OF_DATA and (self.room is None or not _reads(self.room, event)):
            return
        if isinstance(event, EventsDropped):
            self._dropped += event.count
            return
        if self._wants is not None:
            try:
                is_wanted = self._wants(event)
            except Exception as error:
                # It is the reader's mistake: neither the node nor other readers are affected.
                self._error = error
                self.close()
                return
            if not is_wanted:
                if kind in _DATA:
                    self._note_read(event)
                return
        if isinstance(event, DataDropped) and self._merge(event):
            return
        if kind not in _DATA:
            if not self._has_room(event):
                self._dropped += 1
                return
            self._count(event, 1)
        if self._dropped:
            # The reader is told where events are missing; that takes a place of its own.
            self._events.append(EventsDropped(self._dropped))
            self._dropped = 0
        self._events.append(event)
        self._wake()

    def _has_room(self, event: Event) -> bool:
        if self._news >= self._limit:
            return False
        if isinstance(event, MessageTraced):
            return self._traced_bytes + event.size_bytes <= MAX_TRACED_BYTES
        if type(event) not in _LISTS:
            return True
        listed = listed_bytes(event)
        return not listed or self._listed_bytes + listed <= MAX_LISTED_BYTES

    def _count(self, event: Event, sign: int) -> None:
        """An event starts (1) or stops (-1) waiting."""
        self._news += sign
        if isinstance(event, MessageTraced):
            self._traced_bytes += sign * event.size_bytes
        elif type(event) in _LISTS:
            self._listed_bytes += sign * listed_bytes(event)

    def _merge(self, event: DataDropped) -> bool:
        # A sender that sends too much must not push out what others say.
        last = self._events[-1] if self._events else None
        if not isinstance(last, DataDropped) or last.node_id != event.node_id:
            return False
        self._events[-1] = DataDropped(event.node_id, last.count + event.count)
        return True

    def close(self) -> None:
        """End the iteration after the waiting events; from now on no sender waits for it."""
        self._closed = True
        if self.room is not None:
            self.room.close()
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
                self._raise_error()
                raise StopAsyncIteration
            if self._waiter is not None:
                raise LocalError("another task waits for these events; subscribe once for each")
            self._waiter = asyncio.get_running_loop().create_future()
            self._awaited.add(self)
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._awaited.discard(self)
        return self._pop()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _pop(self) -> Event:
        event = self._events.popleft()
        if type(event) in _DATA:
            self._note_read(event)
        elif type(event) is not EventsDropped:
            self._count(event, -1)
        return event

    def _note_read(self, event: Event) -> None:
        if self.room is not None and isinstance(event, _Data):
            self.room.read(carrier_of(event), data_bytes(event))

    def take(self, limit: int) -> list[Event]:
        """Take at most `limit` events that are already waiting; never blocks.

        Raises:
            Exception: No event is waiting, and `wants` has raised this error.
        """
        taken: list[Event] = []
        with suppress(IndexError):
            while len(taken) < limit:
                taken.append(self._pop())
        if not self._events and self._dropped:
            taken.append(EventsDropped(self._dropped))
            self._dropped = 0
        if not taken:
            self._raise_error()
        return taken


class Subscriptions:
    """All readers of a node's events.

    Args:
        readers: Their room for Data.
        handle_read: Called when one has read Data, at most once for each turn of the event loop.
    """

    def __init__(self, readers: Readers, handle_read: Callable[[], None]) -> None:
        # Weak references: a reader that its owner has forgotten must hold up nobody.
        self._references: list[weakref.ref[Subscription]] = []
        self._awaited: set[Subscription] = set()
        """Subscriptions held strongly: a task waits for their next event."""
        self._readers = readers
        self._handle_read = handle_read
        self._loop = asyncio.get_running_loop()
        self._read_noted = False
        self._closed = False
        readers.on_read = self._note_read
        readers.are_all()

    def __iter__(self) -> Iterator[Subscription]:
        return iter([reader for each in self._references if (reader := each()) is not None])

    def __getitem__(self, index: int) -> Subscription:
        return list(self)[index]

    def open(
        self,
        limit: int,
        reader_bytes: int | None,
        wants: Callable[[Event], bool] | None = None,
        key: str = "",
    ) -> Subscription:
        """Subscribe to what happens from now on.

        Args:
            limit: Events other than Data that may wait for the reader.
            reader_bytes: Bytes of Data that may wait for it; None: it gets no Data.
            key: If not empty, it gets only Data that may have this key.
            wants: Whether it gets an event; see `Subscription`.
        """
        room = None if reader_bytes is None else self._readers.open(reader_bytes, key)
        subscription = Subscription(limit, room, self._awaited, wants)
        living = [each for each in self._references if each() is not None]
        self._references = [*living, weakref.ref(subscription)]
        return subscription

    def end(self, subscription: Subscription) -> None:
        """End one subscription."""
        subscription.close()
        self._references = [each for each in self._references if each() is not subscription]

    def tell(self, event: Event) -> None:
        """Tell all readers an event."""
        for reference in self._references:  # replaced, not modified, if one comes or goes meanwhile
            subscription = reference()
            if subscription is not None:
                subscription.put(event)

    def close(self) -> None:
        """End all of them."""
        self._closed = True
        for subscription in self:
            subscription.close()
        self._references = []

    def _note_read(self) -> None:
        # It may be called wherever an unreferenced reader is collected, in any thread.
        if not (self._read_noted or self._closed or self._loop.is_closed()):
            self._read_noted = True
            self._loop.call_soon_threadsafe(self._take_read)

    def _take_read(self) -> None:
        self._read_noted = False
        if not self._closed:
            self._handle_read()


def _reads(room: ReaderRoom, event: Event) -> bool:
    """Whether an event about Data is for a reader; for a payload, as its room decides."""
    if not room.key:
        return True
    if isinstance(event, DataReceived):
        return event.may_have(room.key)
    return not isinstance(event, RelayDataReceived) or room.reads(event.data)


def carrier_of(event: _Data) -> str:
    """The node whose share of a reader's room a message takes."""
    if isinstance(event, DataReceived):
        return event.carrier_id or event.node_id
    return event.server_id


def listed_bytes(event: Event) -> int:
    """Approximate memory of an event's lists and texts, beyond the event itself."""
    if isinstance(event, PeersDiscovered):
        texts = sum(len(entry.capabilities) for entry in event.joined)
        return _ENTRY_BYTES * len(event.joined) + _TEXT_BYTES * (texts + 2 * len(event.left))
    if isinstance(event, RoutesReceived):
        return _ENTRY_BYTES * len(event.routes)
    return len(event.text) if isinstance(event, ErrorReceived) else 0


def data_bytes(event: _Data) -> int:
    """The bytes of a message for the program that reads it."""
    return event.size_bytes if isinstance(event, DataReceived) else len(event.data)
