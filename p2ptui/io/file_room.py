"""Room for others' files: how many files and bytes all senders, and each of them, may keep here."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from p2ptui.bounded import BoundedTable, Share, Shares, owners_at
from p2ptui.io.directory_change import DirectoryChange, Moment
from p2ptui.io.file_names import bare_name

MAX_NUMBER: Final = 999
"""Most files with one name: `notes (999).txt` is the last."""

STRANGERS_SHARE: Final = 0.75
"""The share of all untrusted senders together: the rest stays free for those that this node's user
trusts. The shares of strangers are parts of this one, so none of them has all of it."""

CARRIER_SHARE: Final = 0.25
"""The part of that for files that come through one node: with its own address's share, it still
leaves some to others."""

LOOKED_AT: Final = 256
"""How many files are checked at a time, when there is no room, for whether they still exist."""


class FileSender(NamedTuple):
    """The sender of a file that counts for shares."""

    node_id: str
    """Its id: the lasting one, if it has proved that."""
    host: str = ""
    """The host that its datagrams come from, as for `owners_at`: its own, or that of the node that
    brings them."""
    carrier: str = ""
    """The node through which the file came; empty if it came directly."""


class NoRoomError(Exception):
    """One more file, or one of this size, would exceed a limit; the text says which."""


class _Owner(NamedTuple):
    kind: str
    """In words, for people."""
    name: object
    share: Share


class _Kept(NamedTuple):
    name: str
    """Its name without its number, even if the sender chose the number; empty if it has none."""
    size_bytes: int
    owners: tuple[_Owner, ...]


_STRANGERS: Final = "all who are not trusted"

T = TypeVar("T")

_Owners: TypeAlias = tuple[_Owner, ...]

_Key: TypeAlias = tuple[str, object, str]
"""The kind of an owner, its name, and a name of files; empty for all files."""


class FileRoom:
    """Counts the files that were kept and are still there.

    Args:
        directory: The directory.
        max_files: Most files.
        max_bytes: Most bytes of all files together.
        shares: The part of both for one address, and for one prefix of what all strangers have. One
            node has the same part as an address, and no address has more than its prefix.
        change: Tells when something in the directory changed.
    """

    def __init__(
        self,
        directory: Path,
        max_files: int,
        max_bytes: int,
        shares: Shares,
        change: DirectoryChange,
    ) -> None:
        self._directory, self._change = directory, change
        self._max_files, self._max_bytes = max_files, max_bytes
        self._strangers = Share(STRANGERS_SHARE)
        self._prefix = Share(lambda: STRANGERS_SHARE * shares.prefix())
        self._address = Share(lambda: min(shares.address(), STRANGERS_SHARE * shares.prefix()))
        self._carrier = Share(STRANGERS_SHARE * CARRIER_SHARE)
        self._kept: BoundedTable[str, _Kept] = BoundedTable(max_files, refuses=True)
        self._bytes = 0
        # Each file counts for five owners at most, once for all files and once for its name.
        self._files_of: BoundedTable[_Key, int] = BoundedTable(10 * max_files, refuses=True)
        self._bytes_of: BoundedTable[_Key, int] = BoundedTable(5 * max_files, refuses=True)
        self._looked_at: Moment | None = None
        """When all files were last checked; `_began_at` is when the check of those that are left
        began."""
        self._began_at = change.now()
        self._to_look_at = list(self._kept)

    def bytes_for(self, sender: FileSender | None, name: str) -> int:
        """The most bytes that one more file may have.

        Args:
            sender: Its sender; None if it counts for no share.
            name: The name that it is to have.

        Raises:
            NoRoomError: It may not be kept at all.
        """
        owners = self._owners(sender)
        self._try_again(self._require_one_more, owners, name)
        return max(0, min([self._max_bytes - self._bytes, *map(self._bytes_left, owners)]))

    def require_bytes(self, sender: FileSender | None, size_bytes: int) -> None:
        """Check that a file is small enough.

        Raises:
            NoRoomError: It is not.
        """
        self._try_again(self._require_bytes, self._owners(sender), size_bytes)

    def note(self, path: Path, name: str, size_bytes: int, sender: FileSender | None) -> None:
        """A file was kept.

        Args:
            path: Its path.
            name: The name that it was to have.
            size_bytes: Its size.
            sender: Its sender; None if it counts for no share.
        """
        self._forget(path.name)
        bare = bare_name(name)
        kept = _Kept(bare if path.name != bare else "", size_bytes, self._owners(sender))
        if self._kept.put(path.name, kept):
            self._count(kept, 1)

    # Owners.

    def _owners(self, sender: FileSender | None) -> _Owners:
        if sender is None:
            return ()
        address, prefix = owners_at(sender.host) if sender.host else (None, None)
        found = (
            ("sender", sender.node_id, self._address),
            # Loopback addresses count too: a program there can use a new id for each file.
            ("address", address or sender.host or None, self._address),
            ("network", prefix, self._prefix),
            ("node that brings files of others", sender.carrier or None, self._carrier),
            (_STRANGERS, "", self._strangers),
        )
        return tuple(_Owner(*each) for each in found if each[1] is not None)

    # What owners hold.

    def _try_again(self, require: Callable[[_Owners, T], None], owners: _Owners, what: T) -> None:
        """Require something; if that fails, try again if files have gone meanwhile."""
        try:
            require(owners, what)
        except NoRoomError:
            if not self._gives_back():
                raise
            require(owners, what)

    def _require_one_more(self, owners: _Owners, name: str) -> None:
        if len(self._kept) >= self._max_files:
            raise NoRoomError(f"the limit of {self._max_files} files is reached (max_files)")
        name = bare_name(name)
        for kind, owner, share in owners:
            most = share.limit(self._max_files)
            if (self._files_of.get((kind, owner, "")) or 0) >= most:
                words = f"{most} of {self._max_files} files"
                raise NoRoomError(f"{_share_of(kind)}, {words}, is used up (max_files)")
            most = share.limit(MAX_NUMBER)
            if (self._files_of.get((kind, owner, name)) or 0) >= most:
                raise NoRoomError(f"{_share_of(kind)}, {most} files of one name, is used up")

    def _bytes_left(self, owner: _Owner) -> int:
        used = self._bytes_of.get((owner.kind, owner.name, ""))
        if not used and owner.kind != _STRANGERS:
            return self._max_bytes  # as in all tables, an owner's first may have any size
        return owner.share.limit(self._max_bytes) - (used or 0)

    def _require_bytes(self, owners: _Owners, size_bytes: int) -> None:
        if size_bytes > self._max_bytes - self._bytes:
            raise NoRoomError(f"the limit of {self._max_bytes} bytes is reached (max_bytes)")
        for owner in owners:
            if size_bytes > self._bytes_left(owner):
                most = owner.share.limit(self._max_bytes)
                words = f"{most} of {self._max_bytes} bytes"
                raise NoRoomError(f"{_share_of(owner.kind)}, {words}, is used up (max_bytes)")

    def _count(self, kept: _Kept, sign: int) -> None:
        self._bytes += sign * kept.size_bytes
        for kind, owner, _ in kept.owners:
            _add(self._files_of, (kind, owner, ""), sign)
            _add(self._bytes_of, (kind, owner, ""), sign * kept.size_bytes)
            if kept.name:
                _add(self._files_of, (kind, owner, kept.name), sign)

    # What has gone.

    def _forget(self, name: str) -> None:
        kept = self._kept.pop(name)
        if kept is not None:
            self._count(kept, -1)

    def _gives_back(self) -> bool:
        """Check some files, in turn; returns whether any of them is gone."""
        if self._looked_at is not None and not self._change.is_since(self._looked_at):
            return False
        if not self._to_look_at:
            self._began_at, self._to_look_at = self._change.now(), list(self._kept)
        at_once, self._to_look_at = self._to_look_at[:LOOKED_AT], self._to_look_at[LOOKED_AT:]
        if not self._to_look_at:
            self._looked_at = self._began_at
        gone = [name for name in at_once if not os.path.lexists(self._directory / name)]
        for name in gone:
            self._forget(name)
        return bool(gone)


def _add(table: BoundedTable[_Key, int], key: _Key, change: int) -> None:
    count = (table.pop(key) or 0) + change
    if count:
        table.put(key, count)


def _share_of(kind: str) -> str:
    return f"the share of {kind if kind.startswith('all') else 'one ' + kind}"
