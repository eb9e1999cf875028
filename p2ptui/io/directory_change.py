"""Whether something in a directory has changed, by the time that its file system records."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

COARSEST_S: Final = 2.0
"""Changes this close together may have the same time: two seconds on FAT, some milliseconds if the
kernel uses the time of its last tick, as Linux does."""


class Moment(NamedTuple):
    """One reading of a directory's time."""

    changed_ns: int
    """When it had last changed, nanoseconds; -1 if that is unknown."""
    is_sure: bool
    """Whether it covers every change before it was read that this machine can see: a network drive
    may tell up to a minute later, with a later time."""


class DirectoryChange:
    """Reads when a directory changed.

    Args:
        directory: The directory.
        clock: A monotonic clock, seconds.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._clock = directory, clock
        self._last_ns, self._last_seen_at = -1, clock()
        """The time that was read last, and when it was first read."""

    def now(self) -> Moment:
        """A reading; take it before you look into the directory."""
        changed_ns = self._read()
        return Moment(changed_ns, self._clock() - self._last_seen_at >= COARSEST_S)

    def is_since(self, moment: Moment) -> bool:
        """Whether something may have changed since a reading, so that it is worth a look.

        If the reading is not sure, this also holds once it would be: a change right after it is not
        missed for ever.
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
