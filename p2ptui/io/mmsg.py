"""recvmmsg(2) and sendmmsg(2) of Linux: many datagrams with one system call.

They are called through ctypes, which takes a microsecond or two per call; there is one call for a
batch, and the work on each datagram is slicing mapped memory, which is as fast as anything. So
there is nothing to compile and nothing to install, and pure Python can use them too.
"""

import ctypes
import functools
import mmap
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeAlias, TypeVar

from p2ptui.io.resolve import sockaddr_of
from p2ptui.wire.address import MAX_PORT, Address

ENTRY_WORDS: Final = 8
"""Size of `struct mmsghdr` in machine words: name, its size, parts, their number, ancillary data,
its size, flags, and the bytes of the datagram. Smaller fields are padded at the end.
"""
SIZE_OF_ANCILLARY, SIZE_OF_DATAGRAM = 5, 7
WORD_BYTES: Final = ctypes.sizeof(ctypes.c_size_t)
ENTRY_BYTES: Final = ENTRY_WORDS * WORD_BYTES
PART_WORDS: Final = 2
"""`struct iovec`: address and size."""

NAME_BYTES: Final = {socket.AF_INET: 16, socket.AF_INET6: 28}
"""`sockaddr_in` and `sockaddr_in6`."""
NAME_ROOM: Final = 32
"""Room for either, with padding so that what follows begins at a word."""

Ancillary: TypeAlias = Sequence[tuple[int, int, bytes]]
"""Level, kind and content, as in the socket module."""
_NAME4: Final = struct.Struct("=H2s4s8x")
_NAME6: Final = struct.Struct("=H2s4s16sI")
_HEADER: Final = struct.Struct("=Qii" if WORD_BYTES == 8 else "=Iii")
"""`struct cmsghdr`: the size with this header, level and kind."""

Made = TypeVar("Made")
_Call: TypeAlias = Callable[[int, int, int], int]


def _find_calls() -> tuple[_Call, _Call] | None:
    # With the other byte order, fields smaller than a word would be at its other end.
    if sys.platform != "linux" or sys.byteorder != "little":
        return None
    try:
        library: Any = ctypes.CDLL(None, use_errno=True)
        recvmmsg, sendmmsg = library.recvmmsg, library.sendmmsg
    except (AttributeError, OSError):
        return None  # a C library without them
    recvmmsg.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_void_p,
    ]
    sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    flags = int(socket.MSG_DONTWAIT)

    def receive(fd: int, vector: int, count: int) -> int:
        received: int = recvmmsg(fd, vector, count, flags, None)
        return received

    def send(fd: int, vector: int, count: int) -> int:
        sent: int = sendmmsg(fd, vector, count, flags)
        return sent

    return receive, send


CALLS: Final = _find_calls()
"""Receive and send on a socket (its number, address of the vector, number of its entries); neither
blocks. None if the system has no such calls.
"""


def is_batched(sock: socket.socket) -> bool:
    """Whether a socket is read and written in batches: not if its own calls have been replaced, as
    by a test that makes them fail.
    """
    return CALLS is not None and type(sock) is socket.socket and sock.family in NAME_BYTES


def mapped(size: int) -> tuple[mmap.mmap, int]:
    """Private memory of this process, and its address; pages that are never used take no room."""
    if sys.platform == "win32":
        raise NotImplementedError
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))


def words(memory: mmap.mmap) -> "memoryview[int]":
    """The same memory, a machine word at a time."""
    return memoryview(memory).cast("L")


class OfThread(threading.local, Generic[Made]):
    """Objects of which each thread has its own: a call runs without the interpreter's lock, so two
    threads must never share its memory.

    Args:
        make: Makes one for a family, and whatever else tells kinds of sockets apart.
    """

    def __init__(self, make: Callable[..., Made]) -> None:
        self._make = make
        self._kinds: dict[tuple[int, ...], Made] = {}

    def get(self, *kind: int) -> Made:
        """This thread's object for a kind of socket."""
        made = self._kinds.get(kind)
        if made is None:
            made = self._kinds[kind] = self._make(*kind)
        return made


def ancillary_in(data: bytes) -> Ancillary:
    """Parse ancillary data from its form in memory (cmsg(3))."""
    found: list[tuple[int, int, bytes]] = []
    at = 0
    while at + _HEADER.size <= len(data):
        size, level, kind = _HEADER.unpack_from(data, at)
        if size < _HEADER.size:
            break
        found.append((level, kind, data[at + _HEADER.size : at + size]))
        at += _whole_words(size)
    return found


def ancillary_bytes(ancillary: Ancillary) -> bytes:
    """The inverse of `ancillary_in`."""
    made = b""
    for level, kind, data in ancillary:
        size = _HEADER.size + len(data)
        made += (_HEADER.pack(size, level, kind) + data).ljust(_whole_words(size), b"\0")
    return made


def _whole_words(size: int) -> int:
    return (size + WORD_BYTES - 1) & -WORD_BYTES


def forget_names() -> None:
    """Forget cached destinations: an interface that went and came back has a new index."""
    sockaddr_of.cache_clear()
    _packed_by_kind.cache_clear()


def packed_name(address: Address, family: socket.AddressFamily) -> bytes:
    """A destination in the system's form, for a socket of `family`.

    Raises:
        OSError: As `sockaddr_of`.
    """
    host, port = address
    if family == socket.AF_INET and 0 < port <= MAX_PORT:
        # The usual case, which is cheaper to compute than to cache for many destinations.
        with suppress(OSError, ValueError):  # the latter for a null byte in it
            return _NAME4.pack(family, port.to_bytes(2, "big"), socket.inet_pton(family, host))
    return _packed_by_kind(address, family)


@functools.lru_cache(maxsize=1024)
def _packed_by_kind(address: Address, family: socket.AddressFamily) -> bytes:
    return pack_name(sockaddr_of(address, family), family)


def pack_name(sockaddr: Any, family: int) -> bytes:
    """Convert an address from the socket module's form to the system's."""
    if family == socket.AF_INET:
        host, port = sockaddr
        return _NAME4.pack(family, port.to_bytes(2, "big"), socket.inet_pton(family, host))
    host, port, flow, scope = sockaddr
    packed = socket.inet_pton(family, host)
    return _NAME6.pack(family, port.to_bytes(2, "big"), flow.to_bytes(4, "big"), packed, scope)


def sockaddr_in(name: bytes, family: int) -> Any:
    """The inverse of `pack_name`; more may follow the name."""
    if family == socket.AF_INET:
        _, port, packed = _NAME4.unpack_from(name)
        return socket.inet_ntop(family, packed), int.from_bytes(port, "big")
    _, port, flow, packed, scope = _NAME6.unpack_from(name)
    host = socket.inet_ntop(family, packed)
    return host, int.from_bytes(port, "big"), int.from_bytes(flow, "big"), scope
