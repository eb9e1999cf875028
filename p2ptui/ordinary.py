"""Reads ordinary files: never waits, and reads no more than a limit."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def _open_at_once(name: str, flags: int) -> int:
    """Open without blocking: opening a pipe would wait."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def open_ordinary(path: Path) -> BinaryIO:
    """Open a file for reading, without ever waiting.

    Raises:
        OSError: It cannot be read; or it is a pipe or a device, which could keep a reader waiting.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - whoever asked closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device; name an ordinary file")
    return file


def read_ordinary(path: Path, limit: int) -> bytes:
    """The content of a file.

    Args:
        path: The file.
        limit: The largest size, bytes.

    Raises:
        OSError: It cannot be read, is a pipe or a device, or is larger.
    """
    with open_ordinary(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes")
    return data
