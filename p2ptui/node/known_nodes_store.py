"""The known nodes of this user, in a file that all nodes and commands of the user share.

A node notes whom it meets; a command in a shell trusts or forgets meanwhile. So each change is made
to what the file says at that moment, under a lock, and the file is read anew when it has changed.

A file that cannot be read is kept beside, and said in one line; while it is there, nodes that are
not known are judged as perhaps met before.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, TypeVar

from p2ptui.bounded import BoundedTable
from p2ptui.io.own_file import read_own_file
from p2ptui.places import user_file
from p2ptui.secure.known_nodes import DamagedError, Judgement, KnownNode, KnownNodes, Met
from p2ptui.text import cause, shown_path

log = logging.getLogger("p2ptui.node")

FILE_NAME: Final = "known_nodes.json"

WRITE_PAUSE_S: Final = 5.0
"""Whom a node meets is written down no more often than this, and when it ends."""

MAX_UNWRITTEN: Final = 1_024
"""Nodes that were met since; with more they are written down at once."""

MAX_KNOWN_BYTES: Final = 8 << 20
"""Of the file: more than all that are kept can need, with whatever names."""

MAX_KEPT_BESIDE: Final = 99

T = TypeVar("T")

Version = tuple[int, int, int]


class KnownNodesStore:
    """Known nodes with a file behind them.

    Args:
        wall: Unix time, seconds.
        path: The file; that of the platform without it, and none for a user without a home: then
            nodes are known until this object ends.
    """

    def __init__(self, wall: Callable[[], float], path: Path | None = None) -> None:
        self._wall = wall
        self._path = path or user_file("state", FILE_NAME)
        self._known = KnownNodes()
        self._version: Version | None = None
        self._is_read = False
        self._unwritten: BoundedTable[tuple[str, str | None], Met] = BoundedTable(MAX_UNWRITTEN)
        self._written_at = -WRITE_PAUSE_S
        self._can_write = self._path is not None
        self.notices: tuple[str, ...] = ()
        """What the user should know about the file, a line each."""
        self._refresh()

    @property
    def known(self) -> KnownNodes:
        """All of them, as the file says now."""
        self._refresh()
        return self._known

    def judge(self, met: Met) -> Judgement:
        """What is known of who is on the other side; changes nothing."""
        return self.known.judge(met)

    def meet(self, met: Met) -> Judgement:
        """Judge a node, and remember that it was met."""
        judgement = self.judge(met)
        if self._known.note(met, self._wall()):
            self._unwritten.put((met.id, met.joined), met)
            waited_s = self._wall() - self._written_at
            if not 0 <= waited_s < WRITE_PAUSE_S or len(self._unwritten) >= MAX_UNWRITTEN:
                self.flush()
        return judgement

    @property
    def has_changed(self) -> bool:
        """Whether the file is another one than that which was read or written last."""
        return self._path is not None and _version(self._path) != self._version

    def note_all(self, met: Iterable[Met]) -> None:
        """Remember that these were met, and write it down."""
        known = self.known
        for one in met:
            if known.note(one, self._wall()):
                self._unwritten.put((one.id, one.joined), one)
        self.flush()

    def trust(self, ref: str, met: Met | None = None) -> KnownNode:
        """The user says that a node is the right one.

        Args:
            ref: Its name, its id, or the beginning of its id.
            met: The node of a session that is meant by it; None without one.

        Raises:
            UnknownPeerError: None is known by it, or several are.
        """
        return self._change(lambda known: known.trust(ref, met, self._wall()))

    def forget(self, ref: str) -> KnownNode:
        """Forget a node: who comes next in its place is new.

        Args:
            ref: Its name, its id, the beginning of its id, or an address at which it was joined.

        Raises:
            UnknownPeerError: None is known by it, or several are.
        """
        return self._change(lambda known: known.forget(ref))

    def flush(self) -> None:
        """Write down whom this node has met."""
        if self._unwritten:
            self._change(KnownNodes.__len__)

    def _change(self, change: Callable[[KnownNodes], T]) -> T:
        """Change what the file says now, and write it."""
        with self._locked():
            self._refresh()
            result = change(self._known)
            if self._can_write:
                self._write()
            self._unwritten = BoundedTable(MAX_UNWRITTEN)
            self._written_at = self._wall()
        return result

    # The file.

    def _refresh(self) -> None:
        """Read the file if it is not the one that was read last."""
        if self._path is None:
            return
        version = _version(self._path)
        if self._is_read and version == self._version:
            return
        self._is_read, self._version = True, version
        self._known = self._read(self._path)
        for met in self._unwritten.values():
            self._known.note(met, self._wall())

    def _read(self, path: Path) -> KnownNodes:
        is_partial = bool(_beside(path))
        try:
            raw = read_own_file(path, MAX_KNOWN_BYTES)  # what is cut off is damaged
            return KnownNodes.from_dict(json.loads(raw), is_partial=is_partial)
        except FileNotFoundError:
            return KnownNodes(is_partial=is_partial)
        except OSError as error:
            self._can_write = False
            self._tell(
                f"{shown_path(path)}: cannot be read: {cause(error)}: nodes that were known"
                " seem new, and none is remembered until it can be"
            )
        except (DamagedError, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, DamagedError) else "is damaged"
            self._keep_beside(path, why)
        return KnownNodes(is_partial=True)

    def _keep_beside(self, path: Path, why: str) -> None:
        """Move a damaged file out of the way, over no other."""
        for number in range(1, MAX_KEPT_BESIDE + 1):
            other = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
            try:
                os.link(path, other)
                path.unlink()
            except FileExistsError:
                continue
            except FileNotFoundError:
                pass  # another node has just done the same
            except OSError:
                break
            self._version = None
            self._tell(
                f"{shown_path(path)}: {why}: it is kept as {other.name}; until you repair or delete"
                " that, nodes that were known seem new"
            )
            return
        self._can_write = False
        self._tell(
            f"{shown_path(path)}: {why}: nodes that were known seem new, and none is remembered"
            " until you repair it or move it away"
        )

    def _tell(self, line: str) -> None:
        if line not in self.notices:
            self.notices += (line,)
            log.warning("%s", line)

    def _write(self) -> None:
        assert self._path is not None
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(json.dumps(self._known.to_dict()).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            self._tell(
                f"{shown_path(self._path)}: cannot be written: {cause(error)}: whom this"
                " node meets is forgotten when it ends"
            )
            return
        self._version = _version(self._path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the file, as far as the system can tell."""
        lock: IO[bytes] | None = None
        if self._path is not None and self._can_write:
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = open(self._path.with_name(f".{self._path.name}.lock"), "ab")  # noqa: SIM115
                _wait_for(lock.fileno())
        try:
            yield
        finally:
            if lock is not None:
                lock.close()


def _wait_for(number: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX)


def _version(path: Path) -> Version | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


def _beside(path: Path) -> list[Path]:
    """Damaged files that were kept."""
    try:
        return list(path.parent.glob(f"{path.stem}.damaged-*{path.suffix}"))
    except OSError:
        return []
