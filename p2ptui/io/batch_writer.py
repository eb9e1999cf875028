"""Writes many datagrams by one system call, and on this machine equal ones to one peer as one.

Several datagrams of a size to one destination on loopback are handed over in one piece, which the
kernel cuts again (UDP_SEGMENT; udp(7)): they go the way through the system once. Elsewhere such a
train would be one packet to all that stands before the network card, a firewall, a queue, another
namespace: a rule on the length, or a loss, would take all of it at once.
"""

import ctypes
import errno
import functools
import socket
import struct
from collections.abc import Callable, Sequence
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
"""What begins with a destination as the system has it, and what names the source."""

CALL_ENTRIES: Final = 64
"""Datagrams, or trains of them, of one call."""
CALL_BYTES: Final = 256 << 10
"""Their bytes, which are copied side by side."""
TRAIN_LENGTH: Final = 64
"""Datagrams of one train, which every kernel takes that takes any."""
TRAIN_BYTES: Final = 65_000
"""Their bytes: with the headers no more than an IP packet may have. A larger one goes alone."""
WORTH_A_BATCH: Final = 4
"""So many datagrams to as many destinations cost no more one by one."""
REFUSED_TRAINS: Final = 8
"""Trains refused one after the other, after which none is tried for a while."""
BATCHES_WITHOUT: Final = 256
"""Batches until then."""

_UDP_SEGMENT: Final = 103
"""Linux's number; Python has no name for it."""
_SEGMENT: Final = struct.Struct("=H")
_ANCILLARY_ROOM: Final = 80
"""For a source and the size of the datagrams of a train."""

_NO_ROOM: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})
_OF_EARLIER: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED})
"""What an earlier datagram met, as `ConnectionError` has it."""


class _WriteSlots:
    """From where a call takes what it sends; one for all sockets of a family in a thread."""

    def __init__(self, family: int) -> None:
        name_bytes = NAME_BYTES[socket.AddressFamily(family)]
        self.data, self.data_at = mapped(CALL_BYTES)
        self.names, names_at = mapped(CALL_ENTRIES * NAME_ROOM)
        self.ancillary, ancillary_at = mapped(CALL_ENTRIES * _ANCILLARY_ROOM)
        parts, parts_at = mapped(CALL_ENTRIES * PART_WORDS * WORD_BYTES)
        vector, self.vector_at = mapped(CALL_ENTRIES * ENTRY_BYTES)
        self.parts, entries = words(parts), words(vector)
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
        self.ancillary_sizes = entries[SIZE_OF_ANCILLARY::ENTRY_WORDS]


_SLOTS: Final = OfThread(_WriteSlots)


class BatchWriter:
    """Writes to one socket; for the thread that makes it alone.

    Args:
        sock: The socket; it must be one of which `is_batched` is true.
        way_to: Tells how a destination is reached; an OSError if it is none.
        send_alone: Sends one datagram by itself, and knows what to do if that fails. False when
            what follows must wait behind it.
        traffic: Where it is counted what has left.
    """

    def __init__(
        self,
        sock: socket.socket,
        way_to: Callable[[Address], Way],
        send_alone: Callable[[bytes, Address], bool],
        traffic: Traffic,
    ) -> None:
        assert CALLS is not None
        self._send = CALLS[1]
        self._fileno = sock.fileno
        self._name_bytes = NAME_BYTES[sock.family]
        self._way_to = way_to
        self._send_alone = send_alone
        self._traffic = traffic
        self._slots = _SLOTS.get(sock.family)
        self._longest_train = TRAIN_LENGTH if _has_trains(sock) else 1
        self._refusals = 0
        self._batches_without = 0
        self._entries: list[tuple[list[bytes], Address]] = []
        self._used_bytes = 0
        self._has_room = True
        self.errors = 0
        """Errors of earlier datagrams that were met; they name no peer."""

    def write(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send all, to each destination in order; what fails loses nothing that comes after it."""
        self._has_room = True
        if self._batches_without:
            self._batches_without -= 1
            if not self._batches_without:
                self._longest_train = TRAIN_LENGTH
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
                    # The same peer, which asked two of our addresses: these are two sources.
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
            if len(group) == 1:
                put(group, group[0], address, name, source)
                continue
            longest = self._longest_train if is_loopback(address[0]) else 1
            start = 0
            while start < len(group):
                end = _end_of_train(group, start, longest)
                train = group[start:end]
                put(train, b"".join(train), address, name, source)
                start = end
        self._flush()

    def _put(
        self, train: list[bytes], data: bytes, address: Address, name: bytes, source: Ancillary
    ) -> None:
        size = len(data)
        if size > TRAIN_BYTES:
            self._flush()
            self._send_each(train, address)
            return
        if len(self._entries) >= CALL_ENTRIES or self._used_bytes + size > CALL_BYTES:
            # Where there is no room for those, `send_alone` has it wait behind them.
            self._flush()
        entries, begin, slots = self._entries, self._used_bytes, self._slots
        number, end = len(entries), begin + size
        self._used_bytes = end
        slots.data[begin:end] = data
        part = PART_WORDS * number
        slots.parts[part] = slots.data_at + begin
        slots.parts[part + 1] = size
        at = number * NAME_ROOM
        slots.names[at : at + self._name_bytes] = name[: self._name_bytes]
        if source or len(train) > 1:
            more = _ancillary(tuple(source), len(train[0]) if len(train) > 1 else 0)
            at = number * _ANCILLARY_ROOM
            slots.ancillary[at : at + len(more)] = more
            slots.ancillary_sizes[number] = len(more)
        else:
            slots.ancillary_sizes[number] = 0
        entries.append((train, address))

    def _flush(self) -> None:
        """Send what was put together."""
        entries, self._entries = self._entries, []
        sent, self._used_bytes = 0, 0
        while sent < len(entries):
            done = 0
            if self._has_room:  # else all waits behind what found none
                at = self._slots.vector_at + sent * ENTRY_BYTES
                done = self._send(self._fileno(), at, len(entries) - sent)
            if done > 0:
                self._note_sent(entries[sent : sent + done])
                sent += done
                continue
            train, address = entries[sent]
            sent += 1
            if self._has_room:
                self._note_error(ctypes.get_errno(), is_train=len(train) > 1)
            self._send_each(train, address)

    def _note_sent(self, entries: list[tuple[list[bytes], Address]]) -> None:
        sent = [data for train, _ in entries for data in train]
        self._traffic.note_all_sent(sent)
        if len(sent) > len(entries):
            self._refusals = 0  # a train was taken

    def _note_error(self, error: int, *, is_train: bool) -> None:
        if error in _OF_EARLIER:
            self.errors += 1
        elif is_train and error not in _NO_ROOM:
            # It may be the way of this one: a datagram that does not fit it would be cut, and the
            # datagrams of a train are not. It may also be the network card, or that of the route.
            self._refusals += 1
            if self._refusals >= REFUSED_TRAINS:
                self._longest_train, self._batches_without = 1, BATCHES_WITHOUT

    def _send_each(self, train: list[bytes], address: Address) -> None:
        for data in train:
            self._has_room = self._send_alone(data, address)


def _differ(one: Address, other: Address) -> bool:
    return one is not other and own_host(one) != own_host(other)


def _end_of_train(group: list[bytes], start: int, longest: int) -> int:
    """Datagrams of one size, of which the last one may be shorter."""
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
