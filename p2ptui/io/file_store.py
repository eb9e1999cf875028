"""A directory for others' files: each is written whole or not at all, and never over another."""

import contextlib
import errno
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.errors import LocalError
from p2ptui.io.directory_change import DirectoryChange, Moment
from p2ptui.io.file_names import harmless_name, numbered_name
from p2ptui.io.file_room import MAX_NUMBER as MAX_NUMBER
from p2ptui.io.file_room import FileRoom, FileSender, NoRoomError
from p2ptui.text import cause

MAX_REMEMBERED: Final = 256
"""Names whose last number is remembered; the least recently used one is forgotten, and its number
searched for from the beginning."""

PART_PREFIX: Final = ".p2ptui-"
PART_SUFFIX: Final = ".part"
"""A file that is being written has a name of this form."""

LEFT_AFTER_S: Final = 3600.0
"""One that was not touched for this long was left by a program that crashed: no other node still
writes it."""

_USED_UP: Final = f"{MAX_NUMBER} files have this name already"

_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP}
)
"""What file systems without hard links answer: FAT, and some of phones and networks."""

_CREATE: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


class FileNotKeptError(LocalError):
    """A file was not kept; the text says why, and names no folder of this machine."""


class FileStore:
    """Keeps files, within limits on those that this object has kept and that still exist.

    Args:
        directory: The directory; it must exist.
        max_files: Most files.
        max_bytes: Most bytes of all files together.
        shares: The part of both for each address and prefix.
        clock: A monotonic clock, seconds.

    Raises:
        LocalError: It is not a directory, nothing can be written into it, or what is written there
            would be run.
    """

    def __init__(
        self,
        directory: Path,
        max_files: int,
        max_bytes: int,
        shares: Shares | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self._change = DirectoryChange(directory, clock)
        self._room = FileRoom(directory, max_files, max_bytes, shares or Shares(), self._change)
        self._numbers: BoundedTable[str, int] = BoundedTable(MAX_REMEMBERED)
        """The last number that was given to each name."""
        self._used_up: BoundedTable[str, Moment] = BoundedTable(MAX_REMEMBERED)
        """Names for which no number was free, and when that was."""
        if _is_run_from(directory):
            raise LocalError(
                f"cannot receive files into {directory}: Python runs modules from there, and so"
                " would run a file that is received; choose another folder (--into DIR, or"
                " files.receive_into)"
            )
        try:
            # Only creating a file shows whether files can be created there.
            self._written_at()
        except (OSError, ValueError) as error:
            raise LocalError(f"cannot receive files into {directory}: {cause(error)}") from None

    def keep(self, name: str, chunks: Iterable[bytes], sender: FileSender | None = None) -> Path:
        """Write a file, under a name that is made harmless and that no other file has.

        Blocks while it writes; for one thread at a time.

        Args:
            name: The name that its sender wrote.
            chunks: Its content.
            sender: Its sender; None if it counts for no share.

        Raises:
            FileNotKeptError: It would exceed a limit, or the system refuses it; nothing is left of
                it.
        """
        name = harmless_name(name)
        try:
            most_bytes = self._room.bytes_for(sender, name)
        except NoRoomError as error:
            raise FileNotKeptError(str(error)) from None
        if self._is_used_up(name):
            raise FileNotKeptError(_USED_UP)
        part: Path | None = None
        try:
            part, number = self._create()
            size = self._write(number, chunks, most_bytes, sender)
            path = self._claim(part, name)
        except NoRoomError as error:
            raise FileNotKeptError(str(error)) from None
        except (OSError, ValueError) as error:  # ValueError: a name that the system cannot write
            raise FileNotKeptError(cause(error)) from None
        finally:
            if part is not None:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
            if name in self._used_up:
                self._used_up.replace(name, self._change.now())
        if path is None:
            raise FileNotKeptError(_USED_UP)
        self._room.note(path, name, size, sender)
        return path

    def remove_left(self) -> None:
        """Remove what crashed programs left half written, if that is long ago. Blocks."""
        with contextlib.suppress(OSError), os.scandir(self.directory) as entries:
            before = self._written_at() - LEFT_AFTER_S
            for entry in entries:
                if not (entry.name.startswith(PART_PREFIX) and entry.name.endswith(PART_SUFFIX)):
                    continue
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)

    def _written_at(self) -> float:
        """When a file is written that is written now, by the clock of the file system."""
        part, number = self._create()
        try:
            return os.fstat(number).st_mtime
        finally:
            os.close(number)
            part.unlink()

    def _create(self) -> tuple[Path, int]:
        part = self.directory / f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}"
        return part, os.open(part, _CREATE, 0o666)

    def _write(
        self, number: int, chunks: Iterable[bytes], most_bytes: int, sender: FileSender | None
    ) -> int:
        size = 0
        with os.fdopen(number, "wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > most_bytes:
                    self._room.require_bytes(sender, size)
                file.write(chunk)
            file.flush()
            # Some file systems notice only now that they are full; and "kept" must outlive a crash.
            os.fsync(file.fileno())
        return size

    def _claim(self, part: Path, name: str) -> Path | None:
        """Give a written file a free name, numbered if necessary; None if there is none.

        The bare name is tried first, then the numbers after the last one that was given.
        """
        last = self._numbers.pop(name) or 1
        for number in (1, *range(last + 1, MAX_NUMBER + 1), *range(2, last + 1)):
            path = self.directory / (name if number == 1 else numbered_name(name, number))
            with contextlib.suppress(FileExistsError):
                _move_to_free_name(part, path)
                self._numbers.put(name, number if number > 1 else last)
                return path
        self._numbers.put(name, last)
        self._used_up.put(name, self._change.now())
        return None

    def _is_used_up(self, name: str) -> bool:
        """Whether no number was free, and nothing in the directory has changed since."""
        moment = self._used_up.get(name)
        if moment is None or not self._change.is_since(moment):
            return moment is not None
        del self._used_up[name]
        return False


def _is_run_from(directory: Path) -> bool:
    """Whether this Python imports modules from a directory: one on its search path, the current one
    after `python -m`, or that of a package."""
    try:
        there = directory.stat()
    except (OSError, ValueError):
        return False
    # The cache also holds directories that were searched and have left the path since.
    for entry in {*sys.path, *sys.path_importer_cache}:
        with contextlib.suppress(OSError, ValueError):
            if os.path.samestat(Path(entry).stat(), there):  # an empty one is the current directory
                return True
    return False


def _move_to_free_name(part: Path, path: Path) -> None:
    """Rename, but never over anything, and through no symbolic link.

    Raises:
        FileExistsError: Something has the name, even if only a link to nowhere.
        OSError: What the system refuses.
    """
    if os.name == "nt":
        part.rename(path)  # overwrites nothing there
        return
    try:
        os.link(part, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Creating an empty file claims the name for us alone; then we may overwrite it.
        os.close(os.open(path, _CREATE, 0o666))
        try:
            part.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
