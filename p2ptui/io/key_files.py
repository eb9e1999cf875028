"""Files that hold a key: for their user alone, written whole or not at all, never over another.

Any problem with a file is reported in one line, and nothing is changed.
"""

import contextlib
import errno
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Final

from p2ptui.errors import ConfigError
from p2ptui.io.advice import read_advice
from p2ptui.io.own_file import (
    OTHERS,
    OWN_MODE,
    credential_rights,
    is_for_others,
    other_owner,
    try_place,
    write_trouble,
)
from p2ptui.secure.secret import MAX_KEY_TEXT, KeyKind, KeyTextError, Secret, read_key, write_key
from p2ptui.text import cause, shown_path

_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # so that opening a pipe does not block
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_CREATE: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)

_LOCKED_BYTE: Final = 1 << 30
"""On Windows a locked byte cannot be read, so one beyond the end of the file is locked."""

_REMEDIES: Final = {
    KeyKind.SEED: "restore it from a copy, or move it away for a new one",
    KeyKind.NETWORK: "restore it from a copy, or take the file of another node of the network",
}


class KeyFileError(ConfigError):
    """A key file cannot be used; it was not changed."""


class NoKeyFileError(KeyFileError):
    """There is no such file."""


class KeyFileExistsError(KeyFileError):
    """The file already exists, and is not overwritten."""


class KeyFile:
    """An open key file, which a program may reserve for itself.

    Args:
        path: Its path.
        kind: The kind of key that it must hold.

    Raises:
        NoKeyFileError: It does not exist.
        KeyFileError: It cannot be read, others can read it, or something else is in it.
    """

    def __init__(self, path: Path, kind: KeyKind) -> None:
        self.path = path
        self._number: int | None = _open(path, kind)
        try:
            self.key = _read(self._number, path, kind)
        except BaseException:
            self.close()
            raise

    def lock(self) -> bool:
        """Become its only user, until `close`; False if another program or object already is."""
        return self._number is not None and _lock(self._number)

    def close(self) -> None:
        """Let others use it; calling it again is harmless."""
        if self._number is not None:
            os.close(self._number)  # which also releases the lock
            self._number = None


def read_key_file(path: Path, kind: KeyKind) -> Secret:
    """The key in a file.

    Raises:
        NoKeyFileError: It does not exist.
        KeyFileError: It cannot be read, others can read it, or something else is in it.
    """
    file = KeyFile(path, kind)
    file.close()
    return file.key


def create_key_file(path: Path, kind: KeyKind, key: Secret) -> None:
    """Write a key into a file of its own, which only this user can read.

    Raises:
        KeyFileExistsError: Something has that name.
        KeyFileError: It cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(fresh, _CREATE, OWN_MODE)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(f"{write_key(kind, key)}\n".encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            _give_name(fresh, path)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink()
    except FileExistsError:
        raise KeyFileExistsError(
            f"{shown_path(path)}: already exists, and is not overwritten; choose another name, or"
            " move it away"
        ) from None
    except (OSError, ValueError) as error:
        raise KeyFileError(
            f"{shown_path(path)}: cannot be written: {write_trouble(path, error)}"
        ) from None


def require_place(path: Path) -> None:
    """Refuse a place where `create_key_file` could not write; nothing is left there.

    Raises:
        KeyFileError: As `create_key_file` would.
    """
    try:
        try_place(path)
    except (OSError, ValueError) as error:
        raise KeyFileError(
            f"{shown_path(path)}: cannot be written: {write_trouble(path, error)}"
        ) from None


def _give_name(fresh: Path, path: Path) -> None:
    """Give a complete file its name, unless something already has it."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links there: the name is claimed first, so nobody else can take it.
        os.close(os.open(path, _CREATE, OWN_MODE))
        os.replace(fresh, path)


def _open(path: Path, kind: KeyKind) -> int:
    where = shown_path(path)
    try:
        return os.open(path, _READ)
    except FileNotFoundError:
        if path.is_symlink():
            raise KeyFileError(
                f"{where}: is a link to a file that is not there, where {kind.words} should be;"
                " restore that file, or remove the link"
            ) from None
        raise NoKeyFileError(f"{where}: there is no such file") from None
    except PermissionError:
        if os.path.isdir(path):  # so Windows reports a folder; Path.is_dir may raise here
            raise KeyFileError(_is_folder(where, kind)) from None
        raise KeyFileError(
            f"{where}: cannot be read: permission denied; let this user read it, and nobody else"
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise KeyFileError(
                f"{where}: cannot be read: it is a link that leads back to itself; remove it"
            ) from None
        do = "name another file, or repair this one"
        why = read_advice(error, do) if isinstance(error, OSError) else f"{error}; {do}"
        raise KeyFileError(f"{where}: cannot be read: {why}") from None


def _read(number: int, path: Path, kind: KeyKind) -> Secret:
    where = shown_path(path)
    try:
        about = os.fstat(number)
        if stat.S_ISDIR(about.st_mode):
            raise KeyFileError(_is_folder(where, kind))
        if not stat.S_ISREG(about.st_mode):
            raise KeyFileError(
                f"{where}: is no ordinary file, where {kind.words} should be; name another one"
            )
        if is_for_others(about, OTHERS & ~credential_rights(path)):
            raise KeyFileError(
                f"{where}: others can read or change it (mode {stat.S_IMODE(about.st_mode):04o}):"
                f" if nobody has, run chmod 600 {where}; otherwise replace it"
            )
        if (uid := other_owner(about)) is not None:
            raise KeyFileError(
                f"{where}: belongs to another user (uid {uid}), who can read and change it: if it"
                " is yours, chown it to this user; otherwise replace it"
            )
        raw = os.read(number, MAX_KEY_TEXT + 1)
    except OSError as error:
        raise KeyFileError(f"{where}: cannot be read: {cause(error)}") from None
    try:
        return read_key(kind, raw.decode("ascii", "replace"))
    except KeyTextError as error:
        raise KeyFileError(f"{where}: {error}; {_REMEDIES[kind]}") from None


def _is_folder(where: str, kind: KeyKind) -> str:
    return f"{where}: is a folder; name a file that holds {kind.words}"


def _lock(number: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(number, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without locks cannot tell: better two nodes with one identity than none at
        # all.
        return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
    return True
