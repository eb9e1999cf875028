"""A file that is believed, since nobody but its user can have written it."""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Final

from p2ptui.text import shown_path

_WRITERS: Final = stat.S_IWGRP | stat.S_IWOTH


def _open_at_once(name: str, flags: int) -> int:
    """A pipe would keep who opens it waiting."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def read_own_file(path: Path, limit: int) -> bytes:
    """What is in a file, if no other user can have put it there.

    Args:
        path: Where it is.
        limit: Bytes to read, at most.

    Raises:
        OSError: It cannot be read; or others can change it, and it is not looked at (POSIX).
    """
    with open(path, "rb", opener=_open_at_once) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if sys.platform != "win32" and mode & _WRITERS:
            raise OSError(
                errno.EPERM,
                f"others can change it (mode {mode:04o}), and it is not believed; if nobody has,"
                f" chmod 600 {shown_path(path)}",
            )
        return file.read(limit)
