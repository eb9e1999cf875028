"""How much room the local readers of Data have: an Ack promises that there was room.

Each reader has a fixed number of bytes. A sender may hold as many of them as remain free
afterwards, so one sender alone may hold half, ten may hold an eleventh each, and something is
always left for the next one (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on
Networking 6(2), 1998). Senders that find no room wait in line, and room that becomes free is
reserved for the first of them.
"""

import weakref
from collections.abc import Callable, Iterator
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.encoded import may_have_key, quoted

EVENT_OVERHEAD_BYTES: Final = 512
"""Roughly the memory of a message in a reader's queue, besides its own bytes."""

RESERVED_S: Final = 2.0
"""How long room that was promised to a sender is reserved for it."""

WINDOW_STEP: Final = 16
"""A waiting sender is told of room once this fraction of the whole is free: notices about every few
bytes would cost more than the bytes."""

MAX_WAITING: Final = 1024
"""Most senders in line; further ones learn of room when they ask again."""


class ReaderRoom:
    """One reader's bytes, and how many messages of each sender wait for it.

    Args:
        readers: All readers of the node.
        limit_bytes: The most that may wait in total.
        key: If not empty, the reader takes only data that may be an object with this key.
    """

    __slots__ = ("__weakref__", "_held", "_keys", "_readers", "key", "limit_bytes", "used_bytes")

    def __init__(self, readers: "Readers", limit_bytes: int, key: str = "") -> None:
        self._readers = readers
        self.limit_bytes = limit_bytes
        self.key = key
        self._keys = (quoted(key),) if key else None
        self.used_bytes = 0
        self._held: dict[str, int] = {}

    def reads(self, data: bytes) -> bool:
        """Whether it takes a payload, decided without decoding it.

        Args:
            data: The JSON, or what a server relayed.
        """
        keys = self._keys
        return keys is None or may_have_key(data, keys)

    def held_by(self, node_id: str) -> int:
        """Bytes of one sender that wait to be read."""
        return self._held.get(node_id, 0)

    def hold(self, node_id: str, size_bytes: int) -> None:
        """A message from this sender waits to be read."""
        cost = size_bytes + EVENT_OVERHEAD_BYTES
        self.used_bytes += cost
        self._held[node_id] = self._held.get(node_id, 0) + cost

    def read(self, node_id: str, size_bytes: int) -> None:
        """A message from this sender was read."""
        cost = size_bytes + EVENT_OVERHEAD_BYTES
        self.used_bytes -= cost
        left = self._held[node_id] - cost
        if left:
            self._held[node_id] = left
        else:
            del self._held[node_id]
        self._readers.handle_read()

    def close(self) -> None:
        """The reader ends, and no longer delays anyone."""
        self._readers.close(self)


class Readers:
    """All readers of a node, and the senders that wait for them.

    A reader that is no longer referenced is forgotten together with its room.
    """

    def __init__(self) -> None:
        self._rooms: list[weakref.ref[ReaderRoom]] = []
        self._waiting: BoundedTable[str, int] = BoundedTable(MAX_WAITING, refuses=True)
        # Each was in line before: if too many are promised room, the first one loses its promise.
        self._promised: BoundedTable[str, tuple[int, float]] = BoundedTable(
            MAX_WAITING, on_evicted=self._handle_evicted
        )
        self._promised_bytes = 0
        self._are_all = False
        self._keys: tuple[bytes, ...] | None = None
        """A payload that any reader wants contains one of these; None: all are wanted."""
        self.on_read: Callable[[], None] | None = None
        """Called when something was read while a sender waits."""

    def are_all(self) -> None:
        """From now on only the rooms opened here read Data: without any, Data is reported to
        nobody."""
        self._are_all = True
        self._keep(self._rooms)

    def _keep(self, rooms: list[weakref.ref[ReaderRoom]]) -> None:
        # One may have been collected since the list was made.
        self._rooms = [each for each in rooms if each() is not None]
        keys = {room.key for room in self._open()}
        some = self._are_all and "" not in keys
        self._keys = tuple(map(quoted, sorted(keys))) if some else None

    def reads(self, data: bytes) -> bool:
        """Whether any reader wants a payload, decided without decoding it.

        Args:
            data: The JSON.
        """
        keys = self._keys
        return keys is None or may_have_key(data, keys)

    @property
    def waiting(self) -> int:
        """How many senders wait for room."""
        return len(self._waiting)

    def sizes(self) -> dict[str, int]:
        """How much waits, and how many senders."""
        return {"reader_bytes": self.used_bytes, "senders_waiting": self.waiting}

    @property
    def used_bytes(self) -> int:
        """Bytes that wait for all readers together."""
        return sum(room.used_bytes for room in self._open())

    def open(self, limit_bytes: int, key: str = "") -> ReaderRoom:
        """Open a room for a reader of Data, or of objects with a key; it ends with `close`, or when
        the room is garbage-collected."""
        room = ReaderRoom(self, limit_bytes, key)
        self._keep([*self._rooms, weakref.ref(room, self._handle_collected)])
        return room

    def close(self, room: ReaderRoom) -> None:
        """A reader ends: it delays nobody any more."""
        self._keep([each for each in self._rooms if each() is not room])
        self.handle_read()

    def _handle_collected(self, dead: "weakref.ref[ReaderRoom]") -> None:
        self._keep([each for each in self._rooms if each is not dead])
        self.handle_read()

    def handle_read(self) -> None:
        """There is more room than before."""
        if self._waiting and self.on_read is not None:
            self.on_read()

    def _open(self) -> Iterator[ReaderRoom]:
        for reference in self._rooms:
            room = reference()
            if room is not None:
                yield room

    def admit(self, node_id: str, size_bytes: int, now: float, data: bytes | None = None) -> bool:
        """Whether every reader of a message has room for it; if so, the room is taken.

        Args:
            node_id: Its sender.
            size_bytes: The size of its payload.
            now: The time, seconds.
            data: The payload; without it, all readers count.
        """
        if not self._rooms:
            return True
        rooms = [room for room in self._open() if data is None or room.reads(data)]
        cost = size_bytes + EVENT_OVERHEAD_BYTES
        if not all(self._has_room(room, node_id, cost, now) for room in rooms):
            return False
        for room in rooms:
            room.hold(node_id, size_bytes)
        if self._promised or self._waiting:
            self._settle(node_id)
            self._waiting.pop(node_id, None)
        return True

    def _has_room(self, room: ReaderRoom, node_id: str, cost: int, now: float) -> bool:
        free = room.limit_bytes - room.used_bytes
        if not room.used_bytes or (node_id in self._promised and cost <= free):
            return True
        return cost <= free - self._kept_from(node_id, now) - room.held_by(node_id)

    def _kept_from(self, node_id: str, now: float) -> int:
        """Bytes reserved for others: promised, or to be promised next."""
        while self._promised and self._promised[next(iter(self._promised))][1] <= now:
            self._settle(next(iter(self._promised)))
        kept = self._promised_bytes - self._promised.get(node_id, (0, 0.0))[0]
        first = next(iter(self._waiting), node_id)
        return kept if first == node_id else kept + self._waiting[first]

    def _settle(self, node_id: str) -> None:
        """Nothing is reserved for a sender any more."""
        promised = self._promised.pop(node_id)
        if promised is not None:
            self._promised_bytes -= promised[0]

    def _handle_evicted(self, _node_id: str, promised: tuple[int, float]) -> None:
        self._promised_bytes -= promised[0]

    def wait(self, node_id: str, size_bytes: int) -> bool:
        """Put a sender in line, to be told when there is room; returns whether the line had a
        place.

        Args:
            node_id: The sender that found no room.
            size_bytes: The size of the payload.
        """
        self._settle(node_id)
        cost = size_bytes + EVENT_OVERHEAD_BYTES
        return node_id in self._waiting or self._waiting.put(node_id, cost)

    def leave_line(self, node_id: str) -> None:
        """A sender now sends what nobody reads: nothing is reserved for its earlier messages."""
        if self._waiting and self._waiting.pop(node_id, None) is not None:
            self.handle_read()

    def forget(self, node_id: str) -> None:
        """A sender has left."""
        self._waiting.pop(node_id, None)
        self._settle(node_id)
        self.handle_read()

    def next_with_room(self, now: float) -> tuple[str, int] | None:
        """The sender that has waited longest, if there is room for it: it leaves the line, and the
        room is reserved for it for a while.

        Returns:
            Its node id, and how many bytes it may send; None if nobody can be told anything.
        """
        node_id = next(iter(self._waiting), None)
        if node_id is None:
            return None
        need = promised = self._waiting[node_id]
        offered = 2**32 - 1
        for room in self._open():
            kept = self._kept_from(node_id, now)
            free = room.limit_bytes - room.used_bytes - kept
            step = max(need, room.limit_bytes // WINDOW_STEP)
            # An empty reader has room for a message of any size, but only for one.
            if (room.used_bytes or kept) and free < step:
                return None
            share = max(free - room.held_by(node_id), step)
            offered = min(offered, share)
            promised = max(promised, step)
        del self._waiting[node_id]
        self._promised.put(node_id, (promised, now + RESERVED_S))
        self._promised_bytes += promised
        return node_id, offered
