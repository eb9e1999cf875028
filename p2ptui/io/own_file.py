"""Files for their user alone: what others may do with one, and reading one that can be trusted."""

import errno
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Final

from p2ptui.ordinary import open_ordinary
from p2ptui.text import cause, shown_path

_WRITERS: Final = stat.S_IWGRP | stat.S_IWOTH

OWN_MODE: Final = 0o600
"""The mode of a file that only its user reads and writes."""

OTHERS: Final = 0o077
"""What nobody else may do with such a file."""


def credential_rights(path: Path) -> int:
    """Rights that a file seems to give to others, but that let nobody else in.

    systemd gives a service a credential as a file owned by root, in a folder that only the
    service's user can enter. An access control list lets that user read it, which shows as a right
    of the group.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return stat.S_IRGRP if folder and path.parent == Path(folder) else 0


def is_for_others(about: os.stat_result, rights: int = OTHERS) -> bool:
    """Whether users other than its own have any of these rights to a file; False on Windows."""
    return sys.platform != "win32" and bool(about.st_mode & rights)


def other_owner(about: os.stat_result) -> int | None:
    """The user that a file belongs to, if that is neither this one nor root; None on Windows."""
    if sys.platform == "win32" or about.st_uid in (0, os.geteuid()):
        return None
    return about.st_uid


def try_place(path: Path) -> None:
    """Check that a file could be created at a path, together with any missing folders.

    Only creating one shows that: rights are not all that counts. Nothing is left behind.

    Raises:
        OSError: It could not.
        ValueError: It is not a valid path.
    """
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    name = folder / f".p2ptui-{secrets.token_hex(8)}.try"
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWN_MODE))
    name.unlink()


def write_trouble(path: Path, error: Exception) -> str:
    """Why a file could not be written: if its folder is missing, that comes first."""
    is_about_place = getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.ENOENT)
    try:
        is_missing = is_about_place and not path.parent.exists()
    except OSError:
        is_missing = False
    if not is_missing:
        return cause(error)
    folder = shown_path(path.parent)
    return f"its folder {folder} does not exist, and cannot be made: {cause(error)}"


def read_own_file(path: Path, limit: int) -> bytes:
    """The content of a file, if no other user can have written it.

    Args:
        path: Its path.
        limit: Most bytes to read.

    Raises:
        OSError: It cannot be read, or is no ordinary file; or others can change it (POSIX), and
            nothing is read.
    """
    with open_ordinary(path) as file:
        about = os.fstat(file.fileno())
        if is_for_others(about, _WRITERS):
            mode = stat.S_IMODE(about.st_mode)
            raise OSError(
                errno.EPERM,
                f"others can change it (mode {mode:04o}), so it is not trusted; if nobody has, run"
                f" chmod 600 {shown_path(path)}",
            )
        return file.read(limit)
