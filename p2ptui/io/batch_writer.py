"""Writes many datagrams with one system call, and equal-sized ones to one peer on this machine as
one.

Several datagrams of the same size to one destination on loopback are handed to the kernel in one
piece, which it cuts again (UDP_SEGMENT; udp(7)): they pass through the system once. Elsewhere such
a train would be a single packet to everything before the network card, such as a firewall, a queue
or another namespace: a rule on its length, or a loss, would take all of it at once.
"""

import ctypes
import errno
import functools
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, compress
from operator import not_
from typing import Final, TypeAlias

from p2ptui.io.datagrams import Traffic
from p2ptui.io.mmsg import (
    CALLS,
    ENTRY_BYTES,
    ENTRY_WORDS,
    NAME_BYTES,
    NAME_ROOM,
    PART_WORDS,
    SIZE_OF_ANCILLARY,
    WORD_BYTES,
    Ancillary,
    OfThread,
    ancillary_bytes,
    mapped,
    words,
)
from p2ptui.wire.address import Address, is_loopback, own_host
from p2ptui.wire.frames import Unfragmented

Way: TypeAlias = tuple[bytes, Ancillary]
"""Bytes that begin with a destination in the system's form, and what names the source."""

Entry: TypeAlias = tuple[bytes | list[bytes], Address]
"""A datagram, or a train of them, and its destination."""

CALL_ENTRIES: Final = 64
"""Datagrams, or trains of them, per call."""
CALL_BYTES: Final = 256 << 10
"""Their bytes, which are copied side by side."""
_USUAL_BYTES: Final = CALL_BYTES // CALL_ENTRIES
"""A call has room for its maximum number of these."""
TRAIN_LENGTH: Final = 64
"""Datagrams in a train: every kernel that accepts trains accepts this many."""
TRAIN_BYTES: Final = 65_000
"""Their bytes: with the headers no more than an IP packet can hold. A larger datagram goes
alone.
"""
WORTH_A_BATCH: Final = 4
"""Up to this many datagrams, each to a different destination, cost no more one by one."""
REFUSED_TRAINS: Final = 8
"""After this many refused trains in a row, none is tried for a while."""
BATCHES_WITHOUT: Final = 256
"""Batches until trains are tried again."""

_UDP_SEGMENT: Final = 103
"""Linux's number; Python has no name for it."""
_SEGMENT: Final = struct.Struct("=H")
_ANCILLARY_ROOM: Final = 80
"""For a source, and the size of a train's datagrams."""

_NO_ROOM: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})
_OF_EARLIER: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED})
"""Errors that an earlier datagram met, those of `ConnectionError`."""


class _WriteSlots:
    """The memory that a call sends from; one for all sockets of a family in a thread."""

    def __init__(self, family: int) -> None:
        name_bytes = NAME_BYTES[socket.AddressFamily(family)]
        self._data, self._data_at = mapped(CALL_BYTES)
        self._names, names_at = mapped(CALL_ENTRIES * NAME_ROOM)
        self._ancillary, ancillary_at = mapped(CALL_ENTRIES * _ANCILLARY_ROOM)
        parts, parts_at = mapped(CALL_ENTRIES * PART_WORDS * WORD_BYTES)
        vector, self.vector_at = mapped(CALL_ENTRIES * ENTRY_BYTES)
        entries = words(vector)
        for number in range(CALL_ENTRIES):
            for word, value in enumerate(
                (
                    names_at + number * NAME_ROOM,
                    name_bytes,
                    parts_at + number * PART_WORDS * WORD_BYTES,
                    1,
                    ancillary_at + number * _ANCILLARY_ROOM,
                )
            ):
                entries[number * ENTRY_WORDS + word] = value
        self._places, self._sizes = words(parts)[::PART_WORDS], words(parts)[1::PART_WORDS]
        self._ancillary_sizes = entries[SIZE_OF_ANCILLARY::ENTRY_WORDS]
        self._nothing = memoryview(array("L", [0] * CALL_ENTRIES))
        self._has_ancillary = False

    def fill(self, data: list[bytes], names: list[bytes], more: list[bytes]) -> None:
        """Put side by side what leaves in one call, as much as there is room for.

        Args:
            data: The bytes of each entry.
            names: The destination of each, in `NAME_ROOM` bytes.
            more: The ancillary data of each; empty if there is none at all.
        """
        assert len(names) == len(data)
        assert len(more) in (0, len(data))
        # Work on each entry is done by one call for all entries.
        sizes, whole, count = array("L", map(len, data)), b"".join(data), len(data)
        self._data[: len(whole)] = whole
        self._names[: NAME_ROOM * count] = b"".join(names)
        self._sizes[:count] = memoryview(sizes)
        places = array("L", accumulate(sizes[:-1], initial=self._data_at))
        self._places[:count] = memoryview(places)
        if self._has_ancillary:
            self._ancillary_sizes[:] = self._nothing
        self._has_ancillary = bool(more)
        for number, ancillary in enumerate(more):
            at = number * _ANCILLARY_ROOM
            self._ancillary[at : at + len(ancillary)] = ancillary
            self._ancillary_sizes[number] = len(ancillary)


_SLOTS: Final = OfThread(_WriteSlots)


class BatchWriter:
    """Writes to one socket; only for the thread that makes it.

    Args:
        sock: The socket; `is_batched` must be true for it.
        names_of: Returns the form, in `NAME_ROOM` bytes, of destinations that need nothing else;
            empty if `way_to` must be asked.
        way_to: Returns how a destination is reached; raises OSError if it is invalid.
        send_alone: Sends one datagram by itself, and handles failures. Returns False if what
            follows must wait behind it.
        traffic: Counts what has left.
    """

    def __init__(
        self,
        sock: socket.socket,
        names_of: Callable[[list[Address]], list[bytes]],
        way_to: Callable[[Address], Way],
        send_alone: Callable[[bytes, Address], bool],
        traffic: Traffic,
    ) -> None:
        assert CALLS is not None
        self._send = CALLS[1]
        self._fileno = sock.fileno
        self._names_of = names_of
        self._way_to = way_to
        self._send_alone = send_alone
        self._traffic = traffic
        self._slots = _SLOTS.get(sock.family)
        self._longest_train = TRAIN_LENGTH if _has_trains(sock) else 1
        self._refusals = 0
        self._batches_without = 0
        self._entries: list[tuple[Entry, bytes, bytes, bytes]] = []
        self._used_bytes = 0
        self._has_room = True
        self.errors = 0
        """Errors of earlier datagrams that were read; they name no peer."""

    def write(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send all, in order for each destination; a failed datagram does not affect those after
        it.
        """
        self._has_room = True
        if self._batches_without:
            self._batches_without -= 1
            if not self._batches_without:
                self._longest_train = TRAIN_LENGTH
        if _has_groups(datagrams):
            self._write_groups(datagrams)
            return
        for start in range(0, len(datagrams), CALL_ENTRIES):
            self._write_singly(datagrams[start : start + CALL_ENTRIES])

    def _write_singly(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send one datagram to each of many destinations: there are no trains to look for."""
        names = self._names_of([address for _, address in datagrams])
        data = [each for each, _ in datagrams]
        if not all(names) or max(map(len, data)) > _USUAL_BYTES or Unfragmented in map(type, data):
            usual = [
                bool(name) and len(each) <= _USUAL_BYTES and type(each) is not Unfragmented
                for name, each in zip(names, data, strict=True)
            ]
            self._write_groups(list(compress(datagrams, map(not_, usual))))
            datagrams = list(compress(datagrams, usual))
            names, data = list(compress(names, usual)), list(compress(data, usual))
        if datagrams:
            self._slots.fill(data, names, [])
            self._send_filled(datagrams)

    def _write_groups(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send datagrams to the same destination together."""
        groups: dict[Address, tuple[Address, list[bytes]]] = {}
        last: Address | None = None
        for data, address in datagrams:
            if type(data) is Unfragmented:
                self._send_groups(groups)
                groups, last = {}, None
                self._has_room = self._send_alone(data, address)
                continue
            if address is not last:
                group = groups.get(address)
                if group is not None and _differ(group[0], address):
                    # The same peer has asked two of our addresses: that makes two sources.
                    self._send_groups(groups)
                    groups, group = {}, None
                if group is None:
                    group = groups[address] = address, []
                last, append = address, group[1].append
            append(data)
        self._send_groups(groups)

    def _send_groups(self, groups: dict[Address, tuple[Address, list[bytes]]]) -> None:
        if len(groups) < WORTH_A_BATCH and all(len(group) == 1 for _, group in groups.values()):
            for address, group in groups.values():
                self._send_each(group, address)
            return
        way_to, put = self._way_to, self._put
        for address, group in groups.values():
            try:
                name, source = way_to(address)
            except OSError:
                self._send_each(group, address)
                continue
            longest = self._longest_train if len(group) > 1 and _is_here(address[0]) else 1
            start = 0
            while start < len(group):
                end = _end_of_train(group, start, longest)
                put(group[start:end], address, name, source)
                start = end
        self._flush()

    def _put(self, train: list[bytes], address: Address, name: bytes, source: Ancillary) -> None:
        is_train = len(train) > 1
        data = b"".join(train) if is_train else train[0]
        size = len(data)
        if size > TRAIN_BYTES:
            self._flush()
            self._send_each(train, address)
            return
        if len(self._entries) >= CALL_ENTRIES or self._used_bytes + size > CALL_BYTES:
            # If there is no room for those, `send_alone` queues this one behind them.
            self._flush()
        self._used_bytes += size
        entry = (train if is_train else data), address
        if len(name) != NAME_ROOM:
            name = name[:NAME_ROOM].ljust(NAME_ROOM, b"\0")
        segment_bytes = len(train[0]) if is_train else 0
        more = _ancillary(tuple(source), segment_bytes) if source or is_train else b""
        self._entries.append((entry, data, name, more))

    def _flush(self) -> None:
        """Send what was gathered."""
        entries, self._entries, self._used_bytes = self._entries, [], 0
        if entries:
            more = [more for _, _, _, more in entries]
            self._slots.fill(
                [data for _, data, _, _ in entries],
                [name for _, _, name, _ in entries],
                more if any(more) else [],
            )
            self._send_filled([entry for entry, _, _, _ in entries])

    def _send_filled(self, entries: Sequence[Entry]) -> None:
        sent = 0
        while sent < len(entries):
            done = 0
            if self._has_room:  # otherwise everything waits behind what found no room
                at = self._slots.vector_at + sent * ENTRY_BYTES
                done = self._send(self._fileno(), at, len(entries) - sent)
            if done > 0:
                self._note_sent(entries[sent : sent + done])
                sent += done
                continue
            train, address = entries[sent]
            sent += 1
            if self._has_room:
                self._note_error(ctypes.get_errno(), is_train=isinstance(train, list))
            self._send_each(train if isinstance(train, list) else [train], address)

    def _note_sent(self, entries: Sequence[Entry]) -> None:
        trains = [train for train, _ in entries if isinstance(train, list)]
        sent = [data for data, _ in entries if isinstance(data, bytes)]
        if trains:
            sent += chain.from_iterable(trains)
            self._refusals = 0  # a train was accepted
        self._traffic.note_all_sent(sent)

    def _note_error(self, error: int, *, is_train: bool) -> None:
        if error in _OF_EARLIER:
            self.errors += 1
        elif is_train and error not in _NO_ROOM:
            # It may be this path: a datagram that does not fit it would be fragmented, and a
            # train's are not. It may also be the network card, or that of the route.
            self._refusals += 1
            if self._refusals >= REFUSED_TRAINS:
                self._longest_train, self._batches_without = 1, BATCHES_WITHOUT

    def _send_each(self, train: list[bytes], address: Address) -> None:
        for data in train:
            self._has_room = self._send_alone(data, address)


def _has_groups(datagrams: Sequence[tuple[bytes, Address]]) -> bool:
    """Whether some go to the same destination, or there are too few to check."""
    count = len(datagrams)
    if count < WORTH_A_BATCH or datagrams[0][1] is datagrams[1][1]:
        return True
    return len({address for _, address in datagrams}) < count


def _is_here(host: str) -> bool:
    return host.startswith("127.") or (":" in host and is_loopback(host))


def _differ(one: Address, other: Address) -> bool:
    return one is not other and own_host(one) != own_host(other)


def _end_of_train(group: list[bytes], start: int, longest: int) -> int:
    """The end of a run of datagrams of one size, of which the last may be shorter."""
    size, end = len(group[start]), start + 1
    if not size:
        return end
    most = min(len(group), start + longest, start + TRAIN_BYTES // size)
    while end < most:
        other = len(group[end])
        if other != size:
            return end + 1 if 0 < other < size else end
        end += 1
    return end


def _has_trains(sock: socket.socket) -> bool:
    try:
        sock.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
    except OSError:
        return False  # before Linux 4.18
    return True


@functools.lru_cache(maxsize=1024)
def _ancillary(source: tuple[tuple[int, int, bytes], ...], segment_bytes: int) -> bytes:
    parts = list(source)
    if segment_bytes:
        parts.append((socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT.pack(segment_bytes)))
    return ancillary_bytes(parts)
