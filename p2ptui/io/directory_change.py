"""Whether something in a directory has changed, by the time that its file system keeps of that."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

COARSEST_S: Final = 2.0
"""Changes so close together may have the same time: two seconds on FAT, some milliseconds where the
kernel takes the time of its last tick, as Linux does."""


class Moment(NamedTuple):
    """What was read of a directory once."""

    changed_ns: int
    """When it had last changed, nanoseconds; -1 if that could not be told."""
    is_sure: bool
    """Whether every change before it was read is in it."""


class DirectoryChange:
    """Reads when a directory changed.

    Args:
        directory: Which.
        clock: Seconds that only grow.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._clock = directory, clock
        self._last_ns, self._last_seen_at = -1, clock()
        """The time that was read last, and when it was read for the first time."""

    def now(self) -> Moment:
        """To be read before one looks into the directory."""
        changed_ns = self._read()
        return Moment(changed_ns, self._clock() - self._last_seen_at >= COARSEST_S)

    def is_since(self, moment: Moment) -> bool:
        """Whether something may have changed since then, so that it is worth a look.

        Of a moment that is not sure it is said once more when it would be: what changed right after
        it is not missed for ever.
        """
        if self._read() != moment.changed_ns:
            return True
        return not moment.is_sure and self._clock() - self._last_seen_at >= COARSEST_S

    def _read(self) -> int:
        try:
            changed_ns = self._directory.stat().st_mtime_ns
        except (OSError, ValueError):  # ValueError: a name that no file can have
            changed_ns = -1
        if changed_ns != self._last_ns:
            self._last_ns, self._last_seen_at = changed_ns, self._clock()
        return changed_ns
