"""Room for the files of others: how many of them, and how many bytes, all and each may keep."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from p2ptui.bounded import BoundedTable, Share, Shares, owners_at
from p2ptui.io.directory_change import DirectoryChange, Moment
from p2ptui.io.file_names import bare_name

MAX_NUMBER: Final = 999
"""Files of one name: `notes (999).txt` is the last."""

STRANGERS_SHARE: Final = 0.75
"""Of all who are not trusted together: the rest stays free for those whom this node's user trusts.
The shares of strangers are parts of this one, so that none of them has all of it."""

CARRIER_SHARE: Final = 0.25
"""Of that what comes by way of one node: it and its own address together leave some to others."""

LOOKED_AT: Final = 256
"""Files of which it is looked, when there is no room, whether they are still there."""


class FileSender(NamedTuple):
    """Whose a file is, where it counts for a share."""

    node_id: str
    """The lasting id, where one is shown."""
    host: str = ""
    """Where its datagrams come from, as `owners_at` takes it: it, or the node that brings them."""
    carrier: str = ""
    """By way of which node it came; empty if it came by itself."""


class NoRoomError(Exception):
    """One more file, or one of this size, would be too much; the text says of what."""


class _Owner(NamedTuple):
    kind: str
    """In a word, for people."""
    name: object
    share: Share


class _Kept(NamedTuple):
    name: str
    """The name of which it has a number, be it that its sender chose it; empty if it has none."""
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
        directory: Where.
        max_files: Files, at most.
        max_bytes: Bytes of all together, at most.
        shares: What one address may have of both, and one prefix of the part that all strangers
            have. One node has what an address has, and no address has more than its prefix.
        change: When something in the directory changed.
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
        """When all files were looked at last, and when it was begun with those that are left."""
        self._began_at = change.now()
        self._to_look_at = list(self._kept)

    def bytes_for(self, sender: FileSender | None, name: str) -> int:
        """How large one more file may be.

        Args:
            sender: Whose it is; None if it counts for no share.
            name: How it is to be called.

        Raises:
            NoRoomError: It may not be there at all.
        """
        owners = self._owners(sender)
        self._try_again(self._require_one_more, owners, name)
        return max(0, min([self._max_bytes - self._bytes, *map(self._bytes_left, owners)]))

    def require_bytes(self, sender: FileSender | None, size_bytes: int) -> None:
        """Whether a file is as small as it must be.

        Raises:
            NoRoomError: It is not.
        """
        self._try_again(self._require_bytes, self._owners(sender), size_bytes)

    def note(self, path: Path, name: str, size_bytes: int, sender: FileSender | None) -> None:
        """A file is kept.

        Args:
            path: As this one.
            name: How it was to be called.
            size_bytes: What it has.
            sender: Whose it is; None if it counts for no share.
        """
        self._forget(path.name)
        bare = bare_name(name)
        kept = _Kept(bare if path.name != bare else "", size_bytes, self._owners(sender))
        if self._kept.put(path.name, kept):
            self._count(kept, 1)

    # Whose.

    def _owners(self, sender: FileSender | None) -> _Owners:
        if sender is None:
            return ()
        address, prefix = owners_at(sender.host) if sender.host else (None, None)
        found = (
            ("sender", sender.node_id, self._address),
            # Of a loopback address as well: whoever is there can take a new id for each file.
            ("address", address or sender.host or None, self._address),
            ("network", prefix, self._prefix),
            ("node that brings files of others", sender.carrier or None, self._carrier),
            (_STRANGERS, "", self._strangers),
        )
        return tuple(_Owner(*each) for each in found if each[1] is not None)

    # What they have.

    def _try_again(self, require: Callable[[_Owners, T], None], owners: _Owners, what: T) -> None:
        """Require something; where it fails, once more if something has gone meanwhile."""
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
            return self._max_bytes  # as in all tables, whoever has nothing may have one of any size
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
        """Look at some files, in turn; whether any of them is there no more."""
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
