"""Returns to the system the memory that the allocator keeps.

Each datagram is read into a buffer for the largest, and cut. With glibc, what remains of it keeps
the pages around it from being returned, so the process would grow to several times what it holds.
"""

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

from p2ptui.bounded import owners_at
from p2ptui.io.mmsg import forget_names

TRIM_ABOVE: Final = 512
"""Datagrams since the last time, after which it is worth doing again."""

PAUSE_S: Final = 1.0
"""Least time between two runs."""

AFTERWARDS_S: Final = 4.0
"""This long after the last datagram it is done once more: what was kept briefly is gone by then."""

PAUSE_FACTOR: Final = 200
"""The pause is this many times as long as a run takes: a large heap takes longer."""


def _find_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None  # not glibc
    trim.argtypes = [ctypes.c_size_t]
    return trim


_trim: Final = _find_trim()


class Heap:
    """Returns memory to the system after much was read.

    Args:
        loop: The event loop that schedules it.
        trim: The function that does it; None if the allocator cannot.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, trim: Callable[[int], int] | None = _trim
    ) -> None:
        self._loop = loop
        self._trim = trim
        self._read = 0
        self._planned: asyncio.TimerHandle | None = None
        self._is_last = False
        self._pause_s = PAUSE_S

    def note_read(self, datagrams: int) -> None:
        """Record that this many datagrams were read."""
        self._read += datagrams
        if self._read > TRIM_ABOVE and self._trim is not None:
            if self._planned is not None and self._is_last:
                self.close()
            if self._planned is None:
                self._is_last = False
                self._planned = self._loop.call_later(self._pause_s, self._give_back)

    def close(self) -> None:
        """Schedule nothing more."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None

    def _give_back(self) -> None:
        assert self._trim is not None
        self._read, self._planned = 0, None
        began = self._loop.time()
        # A cache of addresses that may belong to nobody; it is quickly filled again.
        owners_at.cache_clear()
        forget_names()
        self._trim(0)
        self._pause_s = max(PAUSE_S, PAUSE_FACTOR * (self._loop.time() - began))
        if not self._is_last:
            self._is_last = True
            self._planned = self._loop.call_later(AFTERWARDS_S, self._give_back)
