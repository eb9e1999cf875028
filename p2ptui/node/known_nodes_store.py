"""The known nodes of this user, in a file that all nodes and commands of the user share.

A node notes the nodes that it meets; meanwhile a shell command may trust or forget one. So each
change is made under a lock to the current content of the file, and its caller is told if it could
not be written. The file is read anew when it has changed.

A damaged file is set aside and reported in one line; while it exists, unknown nodes are judged as
perhaps met before.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, TypeVar

from p2ptui.errors import LocalError
from p2ptui.io.own_file import read_own_file, write_trouble
from p2ptui.places import user_file
from p2ptui.secure.known_nodes import DamagedError, KnownNode, KnownNodes, Met
from p2ptui.tagged import tagged
from p2ptui.text import cause, shown_path

log = logging.getLogger("p2ptui.node")

FILE_NAME: Final = "known_nodes.json"

MAX_KNOWN_BYTES: Final = 8 << 20
"""The largest file: more than all kept nodes can need, whatever their names."""

MAX_KEPT_BESIDE: Final = 99

T = TypeVar("T")

Version = tuple[int, int, int, int]


class NotWrittenError(LocalError):
    """The file is unchanged: it cannot be read or written.

    Args:
        what: The file, and what is wrong with it.
        why_not_noted: The consequence for a node that notes whom it meets, and until when.
        to_do: What a user who asked for the change can do about it.
    """

    def __init__(self, what: str, why_not_noted: str, to_do: str) -> None:
        super().__init__(f"{what}: nothing is changed; {to_do}, and try again")
        self.of_notes = f"{what}: {why_not_noted}"
        """The text if no user asked, and a node has only noted whom it met."""


class KnownNodesStore:
    """Known nodes with a file behind them.

    Args:
        wall: Unix time, seconds.
        path: The file; by default that of the platform, and none for a user without a home: then
            nodes are known as long as this object lives.
    """

    def __init__(self, wall: Callable[[], float], path: Path | None = None) -> None:
        self._wall = wall
        self._path = path or user_file("state", FILE_NAME)
        self._known = KnownNodes()
        self._version: Version | None = None
        self._is_read = self._path is None
        """Whether the known nodes are the content of this version of the file."""
        self._told: set[str] = set()

    @property
    def known(self) -> KnownNodes:
        """All known nodes, according to the file; if it cannot be read, that is reported once."""
        try:
            self._refresh()
        except NotWrittenError as error:
            self.tell(error)
        return self._known

    @property
    def has_changed(self) -> bool:
        """Whether the file has changed since it was last read or written."""
        return self._path is not None and _version(self._path) != self._version

    def note_all(self, met: Iterable[Met], here: Collection[str] = ()) -> None:
        """Remember that these were met, and write the file if that is news.

        Args:
            met: The nodes.
            here: The ids of nodes that are connected now.

        Raises:
            NotWrittenError: It could not be written.
        """

        def note(known: KnownNodes) -> bool:
            now_wall = self._wall()
            known.heed(here.__contains__)
            is_news = known.see(here, now_wall)
            return sum(known.note(one, now_wall) for one in met) > 0 or is_news

        self._change(note, bool)

    def trust(self, ref: str, met: Met | None = None) -> KnownNode:
        """The user confirms that a node is the right one.

        Args:
            ref: Its name, its id, or the beginning of its id.
            met: The node of a session that is meant by it; None without one.

        Raises:
            UnknownPeerError: No known node is meant by it, or several are.
            NotWrittenError: It could not be written.
        """
        return self._change(lambda known: known.trust(ref, met, self._wall()))

    def forget(self, ref: str) -> KnownNode:
        """Forget a node: the next one in its place is new.

        Args:
            ref: Its name, its id, the beginning of its id, or an address at which it was joined.

        Raises:
            UnknownPeerError: No known node is meant by it, or several are.
            NotWrittenError: It could not be written.
        """
        return self._change(lambda known: known.forget(ref))

    def tell(self, error: NotWrittenError) -> None:
        """Report once that nobody is remembered; again only if it has worked meanwhile."""
        self._say(error.of_notes)

    def _say(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            log.warning("%s", line, extra=tagged("known_nodes_not_kept"))

    def _change(
        self, change: Callable[[KnownNodes], T], is_news: Callable[[T], bool] = lambda _: True
    ) -> T:
        """Change the current content of the file, and write it if that is news."""
        self._refresh()  # an unreadable file gets no lock beside it
        with self._locked():
            self._refresh()
            try:
                result = change(self._known)
                if self._path is not None and is_news(result):
                    self._write(self._path)
            except BaseException:
                self._is_read = self._path is None  # what is in memory may be half a change
                raise
        return result

    # The file.

    def _refresh(self) -> None:
        """Read the file if it has changed since it was last read.

        Raises:
            NotWrittenError: It cannot be read.
        """
        if self._path is None:
            return
        version = _version(self._path)
        if self._is_read and version == self._version:
            return
        if version is None and self._version is not None:
            self._say(
                f"{shown_path(self._path)}: is gone: nodes that were known count as new until it is"
                " back"
            )
        before = self._known
        self._is_read, self._version = False, version
        self._known = KnownNodes(is_partial=True)
        self._known = self._read(self._path)
        self._known.recall_hosts(before)
        self._is_read = True

    def _read(self, path: Path) -> KnownNodes:
        is_partial = bool(_beside(path))
        try:
            raw = read_own_file(path, MAX_KNOWN_BYTES)  # what is cut off is damaged
            return KnownNodes.from_dict(json.loads(raw), is_partial=is_partial)
        except FileNotFoundError:
            return KnownNodes(is_partial=is_partial)
        except OSError as error:
            raise NotWrittenError(
                f"{shown_path(path)}: cannot be read: {cause(error)}",
                "nodes that were known seem new, and none is remembered until it can be",
                "repair it or move it away",
            ) from None
        except (DamagedError, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, DamagedError) else "is damaged"
            self._keep_beside(path, why)
        return KnownNodes(is_partial=True)

    def _keep_beside(self, path: Path, why: str) -> None:
        """Move a damaged file out of the way without overwriting another.

        Raises:
            NotWrittenError: It cannot be moved.
        """
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
            self._say(
                f"{shown_path(path)}: {why}: it is kept as {other.name}; until you repair or delete"
                " that, nodes that were known seem new"
            )
            return
        raise NotWrittenError(
            f"{shown_path(path)}: {why}",
            "nodes that were known seem new, and none is remembered until you repair it or move it"
            " away",
            "repair it or move it away",
        )

    def _write(self, path: Path) -> None:
        fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(json.dumps(self._known.to_dict()).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise NotWrittenError(
                f"{shown_path(path)}: cannot be written: {write_trouble(path, error)}",
                "whom this node meets is forgotten when it ends, unless it can be written by then",
                "mend that",
            ) from None
        self._version = _version(path)
        self._told.clear()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file, as far as the system supports that."""
        lock: IO[bytes] | None = None
        if self._path is not None:
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
    # Including the time when its permissions changed: an unreadable file may be readable now.
    return about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size


def _beside(path: Path) -> list[Path]:
    """Damaged files that were set aside."""
    try:
        return list(path.parent.glob(f"{path.stem}.damaged-*{path.suffix}"))
    except OSError:
        return []
