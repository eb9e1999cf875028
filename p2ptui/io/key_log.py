"""Writes the keys of secured sessions to a file, for debugging captures of this node's traffic.

Anybody with the file can read these sessions. So only the user can read it, and there is no other
way to get keys out: no environment variable, and no option in a file, which may be shared. The keys
of the identity and the network are never written: nobody can use the file to speak as this node, or
to join its network.

One line for each pair of keys, as it is made; a session has a new pair every 15 minutes:

    P2PTUI_SESSION <own number> <other's number> <own id> <other's id> <sent by> <received by>

All but the ids are hex. A secured datagram (E0, number, counter, ciphertext, tag) carries its
receiver's number: it was sealed with `sent by` if that is the other's, and with `received by` if it
is this node's. The cipher is ChaCha20-Poly1305 (RFC 8439); the nonce is four zero bytes and the
counter as 8 bytes, little-endian; the first 13 bytes are the associated data.
"""

import logging
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import astuple
from io import FileIO
from pathlib import Path
from typing import Final

from p2ptui.errors import LocalError
from p2ptui.io.own_file import OWN_MODE, is_for_others, write_trouble
from p2ptui.secure import Transport
from p2ptui.tagged import tagged
from p2ptui.text import cause, shown_path

log = logging.getLogger("p2ptui.io")

LABEL: Final = "P2PTUI_SESSION"

_HEAD: Final = b"# keys of p2ptui sessions: whoever has this file can read them\n"

_FLAGS: Final = (
    os.O_RDWR  # existing content is checked first
    | os.O_CREAT
    | os.O_APPEND
    | getattr(os, "O_NONBLOCK", 0)  # so that opening a pipe does not block
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def key_log_words(path: Path) -> str:
    """The warning to the user while keys are written."""
    return (
        f"the keys of all sessions are written to {shown_path(path)}: whoever has that file can"
        " read them; delete it when you are done"
    )


class KeyLogError(LocalError):
    """Session keys cannot be written where the user wants them."""


class KeyLog:
    """An open file to which session keys are appended.

    Args:
        path: Its path; it is created if it does not exist.
        key_files: The files with the node's own keys, none of which it may be.

    Raises:
        KeyLogError: It cannot be written, others can read it, it is no regular file, or it holds
            anything other than session keys; then it is not changed.
    """

    def __init__(self, path: Path, key_files: Sequence[Path] = ()) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._require_no_key(key_files)  # first: then a missing one is not created
        try:
            self._file = FileIO(os.open(path, _FLAGS, OWN_MODE), "ab+")
            self._require_own(self._file)
            self._require_log(self._file)
            self._write(_HEAD)
        except (OSError, ValueError) as error:
            self.close()
            why = write_trouble(path, error)
            raise KeyLogError(
                f"{shown_path(path)}: session keys cannot be written there: {why}; name"
                " another file with --key-log, or leave it out"
            ) from None
        except KeyLogError:
            self.close()
            raise

    def _require_own(self, file: FileIO) -> None:
        found, name = os.fstat(file.fileno()), shown_path(self.path)
        if not stat.S_ISREG(found.st_mode):
            raise KeyLogError(f"{name}: session keys are written to a regular file only")
        is_theirs = sys.platform != "win32" and found.st_uid != os.geteuid()
        if is_theirs or is_for_others(found):
            raise KeyLogError(
                f"{name}: others can read it, and so the sessions whose keys are written there; run"
                f" chmod 600 {name}, or name another file with --key-log"
            )

    def _require_no_key(self, key_files: Sequence[Path]) -> None:
        if any(_is_same(self.path, each) for each in key_files):
            raise KeyLogError(
                f"{shown_path(self.path)}: holds a key of this node, so no session keys are"
                " written there; name another file with --key-log"
            )

    def _require_log(self, file: FileIO) -> None:
        """Appending to a file other than a key log would damage it."""
        file.seek(0)
        if file.read(len(_HEAD)) not in (b"", _HEAD):
            raise KeyLogError(
                f"{shown_path(self.path)}: holds something else than session keys, and nothing is"
                " written to it; name another file with --key-log"
            )

    def note(self, own_id: str, other_id: str, transport: Transport) -> None:
        """Append the keys of a session. If that fails, it is reported once, and no more are
        written.

        Args:
            own_id: This node's id.
            other_id: The id of the other end.
            transport: The keys, and the numbers of the session.
        """
        if self._file is None:
            return
        sent_by, received_by = astuple(transport.keys)
        line = (
            f"{LABEL} {transport.local_number:08x} {transport.remote_number:08x}"
            f" {own_id} {other_id} {sent_by.hex()} {received_by.hex()}\n"
        )
        try:
            self._write(line.encode("ascii"))
        except OSError as error:
            log.warning(
                "%s: session keys cannot be written there any more: %s; captures of later sessions"
                " cannot be read with it",
                shown_path(self.path),
                cause(error),
                extra=tagged("key_log_failed", path=shown_path(self.path), reason=cause(error)),
            )
            self.close()

    def _write(self, data: bytes) -> None:
        """One write, so that lines of several programs do not mix."""
        assert self._file is not None
        if self._file.write(data) != len(data):
            raise OSError("only a part of a line was written")

    def close(self) -> None:
        """Write no more; calling it again is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_same(path: Path, other: Path) -> bool:
    """Whether both paths lead to the same file, or would if it existed."""
    try:
        return os.path.realpath(path) == os.path.realpath(other) or path.samefile(other)
    except (OSError, ValueError):
        return False
