"""Reads many datagrams with one system call, and recognises senders that were heard before.

What comes with a datagram besides its bytes, the sender's address and which of this machine's
addresses was asked, lies side by side in memory. All of it together is the key by which a sender is
known: a known sender is found with one look-up, as the same object each time, and nothing is
parsed.
"""

import ctypes
import errno
import socket
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from p2ptui.io.datagrams import MAX_DATAGRAM_BYTES
from p2ptui.io.mmsg import (
    CALLS,
    ENTRY_BYTES,
    ENTRY_WORDS,
    NAME_BYTES,
    NAME_ROOM,
    PART_WORDS,
    SIZE_OF_ANCILLARY,
    SIZE_OF_DATAGRAM,
    WORD_BYTES,
    Ancillary,
    OfThread,
    ancillary_in,
    mapped,
    sockaddr_in,
    words,
)
from p2ptui.wire.address import Address

Learn: TypeAlias = Callable[[Any, Ancillary, bytes], Address]
"""Returns a sender's address, given its address in the socket module's form, the ancillary data,
and bytes that begin with its address in the system's form.
"""

READ_AT_ONCE: Final = 16
"""Datagrams per call: twice as many save less than a tenth of a microsecond each, and the memory
read into is this many times the largest datagram.
"""

MAX_SENDERS: Final = 10_240
"""Senders that are known at a time. The same number that were heard before them are kept too; those
of them that are not heard again meanwhile are forgotten.
"""

_SLOT_BYTES: Final = MAX_DATAGRAM_BYTES + 1
_NOTHING_THERE: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})


class _ReadSlots:
    """The memory that a call reads into; one for all sockets of a kind in a thread."""

    def __init__(self, family: int, ancillary_bytes: int) -> None:
        self.stride = NAME_ROOM + ancillary_bytes
        self.data, data_at = mapped(READ_AT_ONCE * _SLOT_BYTES)
        self.keys, keys_at = mapped(READ_AT_ONCE * self.stride)
        self.vector, self.vector_at = mapped(READ_AT_ONCE * ENTRY_BYTES)
        parts, parts_at = mapped(READ_AT_ONCE * PART_WORDS * WORD_BYTES)
        self._parts = words(parts)
        entries = words(self.vector)
        for number in range(READ_AT_ONCE):
            part = PART_WORDS * number
            self._parts[part] = data_at + number * _SLOT_BYTES
            self._parts[part + 1] = _SLOT_BYTES
            key_at = keys_at + number * self.stride
            for word, value in enumerate(
                (
                    key_at,
                    NAME_BYTES[socket.AddressFamily(family)],
                    parts_at + part * WORD_BYTES,
                    1,
                    key_at + NAME_ROOM if ancillary_bytes else 0,
                    ancillary_bytes,
                    0,
                    0,
                )
            ):
                entries[number * ENTRY_WORDS + word] = value
        self.places = tuple(
            (number * _SLOT_BYTES, number * self.stride, number * self.stride + NAME_ROOM)
            for number in range(READ_AT_ONCE)
        )
        self.no_ancillary = [0] * READ_AT_ONCE
        self.sizes = entries[SIZE_OF_DATAGRAM::ENTRY_WORDS]
        self.ancillary_sizes = entries[SIZE_OF_ANCILLARY::ENTRY_WORDS]
        self.blank = bytes(self.vector)
        """The vector before a call: each call overwrites it with the sizes of names and ancillary
        data.
        """


_SLOTS: Final = OfThread(_ReadSlots)


class BatchReader:
    """Reads one socket; only for the thread that makes it.

    Args:
        sock: The socket; `is_batched` must be true for it.
        learn: Called once for each unknown sender.
        ancillary_bytes: Room for the ancillary data of each datagram.
    """

    def __init__(self, sock: socket.socket, learn: Learn, ancillary_bytes: int = 0) -> None:
        assert CALLS is not None
        self._receive = CALLS[0]
        self._fileno = sock.fileno
        self._family = sock.family
        self._learn = learn
        self._slots = _SLOTS.get(sock.family, ancillary_bytes)
        self._has_ancillary = ancillary_bytes > 0
        self._senders: dict[bytes, Address] = {}
        self._earlier: dict[bytes, Address] = {}
        self.names: dict[Address, bytes] = {}
        """The known senders as destinations, in `NAME_ROOM` bytes; if more than that distinguishes
        them, `learn` has to keep it.
        """
        self.errors = 0
        """Errors of earlier datagrams that were read; they name no peer."""

    def read(self, received: list[tuple[bytes, Address]], budget: int) -> int:
        """Read what there is; return its size in bytes.

        Args:
            received: The datagrams are appended here, each with its sender.
            budget: Datagrams to read at most, errors included.
        """
        slots, size = self._slots, 0
        while budget > 0:
            wanted = min(budget, READ_AT_ONCE)
            count = self._receive(self._fileno(), slots.vector_at, wanted)
            if count < 0:
                if ctypes.get_errno() in _NOTHING_THERE:
                    return size
                # An ICMP refusal ends this read, but not reading as such.
                self.errors += 1
                budget -= 1
                continue
            size += self._take(received, count)
            if count < wanted:
                return size
            budget -= count
        return size

    def _take(self, received: list[tuple[bytes, Address]], count: int) -> int:
        slots = self._slots
        data, keys, known_as, append = slots.data, slots.keys, self._senders.get, received.append
        sizes = slots.sizes[:count].tolist()
        if self._has_ancillary:
            used = slots.ancillary_sizes[:count].tolist()
            slots.vector[: count * ENTRY_BYTES] = slots.blank[: count * ENTRY_BYTES]
        else:
            used = slots.no_ancillary
        for (place, key_at, key_end), size, more in zip(slots.places, sizes, used, strict=False):
            key = keys[key_at : key_end + more]
            address = known_as(key)
            if address is None:
                address = self._note(key)
                known_as = self._senders.get
            append((data[place : place + size], address))
        return sum(sizes)

    def _note(self, key: bytes) -> Address:
        if len(self._senders) >= MAX_SENDERS:
            self._earlier, self._senders, self.names = self._senders, {}, {}
        address = self._earlier.get(key)
        if address is None:
            address = self._learn(
                sockaddr_in(key, self._family), ancillary_in(key[NAME_ROOM:]), key
            )
        self._senders[key] = address
        if not self._has_ancillary and "%" not in address[0]:
            self.names[address] = key  # an interface may come back with another number
        return address

    def close(self) -> None:
        """Forget all senders."""
        self._senders.clear()
        self._earlier.clear()
        self.names.clear()
