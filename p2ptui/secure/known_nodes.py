"""Whom this user's nodes have met before, and what to make of who comes back.

A lasting node is known by its id, which follows from its keys. People know names and addresses:
a name that comes with another id, and an address that is answered by another id or by nobody with
a key, are said to be `changed`, until the user says that it is right.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from p2ptui.bounded import LOOKED_AT
from p2ptui.errors import NotMetError, UnknownPeerError
from p2ptui.nearest import suggestion
from p2ptui.secure.identity import PublicKeys, is_made_of_keys
from p2ptui.secure.met import (
    MAX_KNOWN_NAME,
    DamagedError,
    KnownAddress,
    Met,
    read_address,
    read_keys,
    written_address,
    written_keys,
)
from p2ptui.secure.strangers import REGULAR_AFTER_S, Strangers
from p2ptui.text import printable

__all__ = [
    "MAX_ADDRESS_TEXT",
    "MAX_KNOWN_ADDRESSES",
    "MAX_KNOWN_NAME",
    "MAX_KNOWN_NODES",
    "SEEN_STEP_S",
    "SHORTEST_PREFIX",
    "DamagedError",
    "Judgement",
    "KnownAddress",
    "KnownNode",
    "KnownNodes",
    "Met",
    "Trust",
    "without_keys",
]

MAX_KNOWN_NODES: Final = 2_048
"""Who came by itself goes first, then the one seen longest ago, but none that the user verified or
joined by its address."""

MAX_KNOWN_ADDRESSES: Final = 1_024
MAX_ADDRESS_TEXT: Final = 300

GOING: Final = 128
"""Who may make room is looked for once for so many."""

SEEN_STEP_S: Final = 3_600.0
"""When somebody was seen last is noted no finer than this."""

ABSENT_S: Final = 180 * 86_400.0
"""Who came by itself, and has not been seen for so long, makes room for whoever comes."""

SHORTEST_PREFIX: Final = 4
"""Characters of an id by which a node may be named."""

FORM: Final = 1


class Trust(StrEnum):
    """How far the identity of the other side is known."""

    VERIFIED = "verified"
    """The user has confirmed that it is the right one."""
    KNOWN = "known"
    """It has the same keys as before."""
    NEW = "new"
    """It was never met before."""
    OPEN = "open"
    """It has no keys, so nobody can tell who it is."""
    CHANGED = "changed"
    """Its name, address or id belonged to another node before, or had keys."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How far a node can be trusted.

    Args:
        trust: The judgement in a word.
        advice: What happened and what to do, in a sentence; empty if there is nothing to do.
    """

    trust: Trust
    advice: str = ""


_OPEN: Final = Judgement(Trust.OPEN)
"""What nearly all without keys are judged, in one object."""


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node with lasting keys that was met.

    Args:
        id: Its id, which is made from its keys.
        keys: Its public keys.
        name: Its name when it was last seen.
        first_seen: When it was first seen, Unix time, seconds.
        last_seen: When it was last seen, Unix time, seconds.
        verified: Whether the user has confirmed that it is the right one.
        disputed: Whether it came under the name of another node, and the user has not confirmed
            it yet.
        named: Whether the user has named it to connect to it, or has confirmed it; all others came
            by themselves.
    """

    id: str
    keys: PublicKeys
    name: str
    first_seen: float
    last_seen: float
    verified: bool = False
    disputed: bool = False
    named: bool = False

    @property
    def is_regular(self) -> bool:
        """Whether it was met over so long a time that it is no passing stranger."""
        return not self.disputed and self.last_seen - self.first_seen >= REGULAR_AFTER_S


class KnownNodes:
    """The known nodes of one user, without their file.

    Args:
        is_partial: Whether others were known, and can no longer be read: then one that seems new
            may have been met before, and is judged so.
    """

    def __init__(self, *, is_partial: bool = False) -> None:
        self.is_partial = is_partial
        self._nodes: dict[str, KnownNode] = {}
        self._ids_by_name: dict[str, set[str]] = {}
        self._owners: dict[str, set[str]] = {}
        """The same without those in dispute: of these nobody can make many."""
        self._disputed: dict[str, None] = {}
        """Ids of those, the one seen longest ago first."""
        self._going: list[KnownNode] = []
        """Those that may make room next, the first at the end: to find them takes all of them."""
        self._addresses: dict[str, KnownAddress] = {}
        self._joined_ids: dict[str, None] | None = None
        self._named = 0
        """How many the user has named or verified."""
        self._strangers = Strangers(self._room_for_strangers)

    def _room_for_strangers(self) -> int:
        return MAX_KNOWN_NODES - self._named

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[KnownNode]:
        return iter(self._nodes.values())

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    @property
    def has_addresses(self) -> bool:
        """Whether it is known of any address who answers there."""
        return bool(self._addresses)

    def get(self, node_id: str) -> KnownNode | None:
        """One node, by its whole id."""
        return self._nodes.get(node_id)

    def name_of(self, node_id: str) -> str:
        """What a node called itself when it was last seen; empty if it is not known."""
        known = self._nodes.get(node_id)
        return known.name if known is not None else ""

    def own_name_of(self, node_id: str) -> str:
        """The same, if it is the node that is meant by that name; empty if another one is."""
        known = self._nodes.get(node_id)
        is_its = known is not None and node_id in self._owners_of(known.name)
        return known.name if known is not None and is_its else ""

    def at(self, joined: str) -> str | None:
        """The id that belongs to an address as it was typed."""
        known = self._addresses.get(_address_key(joined))
        return None if known is None else known.id

    def has_met(self, node_id: str, *places: str | None) -> bool:
        """Whether anything is known of an id, or of who is at an address as it was typed.

        Args:
            node_id: The whole id.
            places: Addresses; None stands for none.
        """
        if node_id in self._nodes:
            return True
        known = self._addresses
        return bool(known) and any(
            place is not None and _address_key(place) in known for place in places
        )

    def copy(self) -> "KnownNodes":
        """Another one that knows the same; what becomes of either is not the other's."""
        other = KnownNodes(is_partial=self.is_partial)
        other._nodes = dict(self._nodes)
        other._ids_by_name = {name: set(ids) for name, ids in self._ids_by_name.items()}
        other._owners = {name: set(ids) for name, ids in self._owners.items()}
        other._disputed = dict(self._disputed)
        other._addresses = dict(self._addresses)
        other._named = self._named
        self._strangers.copy_to(other._strangers)
        return other

    def heed(self, is_here: Callable[[str], bool]) -> None:
        """Have nobody who is connected now make room for strangers.

        Args:
            is_here: Whether a node is, by its id.
        """
        self._strangers.is_here = is_here

    # What to make of a node.

    def judge(self, met: Met) -> Judgement:
        """What is known of who is on the other side; changes nothing."""
        if met.keys is not None and met.keys.id != met.id:
            return Judgement(
                Trust.CHANGED,
                f"{met.called} has keys that do not fit its id: end the session; it is not"
                " the node of that id",
            )
        if met.keys is None:
            return self._judge_open(met)
        changed = self._changed_address(met) or self._changed_name(met)
        if changed:
            return Judgement(Trust.CHANGED, changed)
        known = self._nodes.get(met.lasting_id)
        if known is None:
            return Judgement(Trust.NEW, self._doubt(met))
        return Judgement(Trust.VERIFIED if known.verified else Trust.KNOWN)

    def judge_listed(self, node_id: str, name: str) -> Judgement | None:
        """What is known of a node that others tell of: what a session with it would be judged, if
        it has the keys of the id. None for an id that was never met.

        Args:
            node_id: Its id.
            name: What it is said to be called.
        """
        known = self._nodes.get(node_id)
        return None if known is None else self.judge(Met(node_id, known.keys, name))

    def _judge_open(self, met: Met) -> Judgement:
        if met.id in self._nodes:
            return Judgement(
                Trust.CHANGED,
                f"{met.called} {_does(met)} without its key, which it had before: wait, or ask"
                f" its user; if it has none any more: p2ptui forget {met.id}",
            )
        changed = self._changed_address(met) or self._changed_name(met)
        if changed:
            return Judgement(Trust.CHANGED, changed)
        return Judgement(Trust.OPEN, without_keys(met)) if is_made_of_keys(met.id) else _OPEN

    def _changed_address(self, met: Met) -> str:
        """What to say where another node was at this address before; nothing if that is not so."""
        if met.joined is None:
            return ""
        before = self._addresses.get(_address_key(met.joined))
        if before is None or (before.id == met.lasting_id and before.passing_keys is None):
            return ""
        where = printable(met.joined, MAX_ADDRESS_TEXT)
        if met.keys is None:
            named = before.id if before.passing_keys is None else where
            return (
                f"{where} {_does(met)} without a key, and had one before: wait, or ask its user; if"
                f" it has none any more: p2ptui forget {named}"
            )
        if before.passing_keys is not None:
            return ""
        return (
            f"{where} is not the node of before: ask its user whether its id is now {met.id}, and"
            f" was {before.id}; if so: {_agree(met, before.id)}"
        )

    def _changed_name(self, met: Met) -> str:
        """What to say where this name was another's before; nothing if that is not so."""
        if not self._owners:
            return ""
        if met.keys is not None and met.ephemeral:
            signer = self._nodes.get(met.lasting_id)  # it is as good as whose it is
            if signer is None or not signer.disputed:
                return ""
            return self._changed_name(Met(signer.id, signer.keys, signer.name))
        known = self._nodes.get(met.id)
        if known is not None and (
            known.verified or (not known.disputed and _name_key(known.name) == _name_key(met.name))
        ):
            return ""
        others = self._owners_of(met.name) - {met.id}
        if not others:
            return ""
        name = printable(met.name, MAX_KNOWN_NAME)
        before = max(others, key=lambda other: self._nodes[other].last_seen)
        if met.keys is None:
            return (
                f"{name} is not the {name} of before, which had a key (id {before}): wait, or ask"
                f" its user; if it has none any more: p2ptui forget {before}"
            )
        return (
            f"{name} is not the {name} of before: ask its user whether its id is now {met.id}, and"
            f" was {before}; if so: p2ptui trust {met.id}"
        )

    def _owners_of(self, name: str) -> set[str]:
        """Ids of those that are meant by a name: none that is in dispute, and where the user has
        verified any, those alone."""
        key = _name_key(name)
        owners = self._owners.get(key, set()) if key else set()
        return {one for one in owners if self._nodes[one].verified} or owners

    def claimed_of_named(self, met: Met) -> str:
        """The id of a node that the user named or verified, of which one that has changed has the
        id, the name or the address; empty if there is none. It is none by what it is itself."""
        own_id = "" if met.keys is None else met.lasting_id
        at = self.at(met.joined) if met.joined is not None else None
        for node_id in (met.id, at or "", *sorted(self._owners_of(met.name))):
            known = self._nodes.get(node_id)
            if known is not None and known.named and node_id != own_id:
                return node_id
        return ""

    def _doubt(self, met: Met) -> str:
        if not self.is_partial:
            return ""
        return (
            f"{met.called} may have been met before, since not all known nodes can be read:"
            f" compare its id with its user; if it is right: p2ptui trust {met.lasting_id}"
        )

    # What is kept.

    def note(self, met: Met, now_wall: float) -> bool:
        """Remember a node that was met; open ones are not, and of ephemeral ones only that there
        were keys at the address at which the user joined them.

        Args:
            met: Who it is; judge it first, since afterwards it is known.
            now_wall: Unix time, seconds.

        Returns:
            Whether anything is to be written down.

        Raises:
            ValueError: Its keys do not fit its id.
        """
        if met.keys is None:
            return False
        if met.keys.id != met.id:
            raise ValueError("the keys do not fit the id")
        if met.ephemeral:
            return self._note_passing(met, met.keys)
        disputed = bool(self._changed_name(met))
        known = self._nodes.get(met.id)
        name = printable(met.name, MAX_KNOWN_NAME)
        named, host = met.came_from is None, met.came_from or ""
        if known is None:
            known = KnownNode(
                met.id, met.keys, name, now_wall, now_wall, disputed=disputed, named=named
            )
            is_news = self._put(known, host)
        else:
            # Another's name is not taken over: the next time it would be its own.
            owners = self._owners_of(name)
            name = known.name if owners and met.id not in owners else name
            disputed, named = known.disputed and disputed, known.named or named
            seen = replace(known, name=name, disputed=disputed, named=named)
            is_news = seen != known or now_wall - known.last_seen >= SEEN_STEP_S
            if is_news:
                self._put(replace(seen, last_seen=max(now_wall, known.last_seen)), host)
        return self._note_address(met) or is_news

    def see(self, ids: Iterable[str], now_wall: float) -> bool:
        """Those are connected now, and so seen now.

        Args:
            ids: Of whom.
            now_wall: Unix time, seconds.

        Returns:
            Whether anything is to be written down.
        """
        is_news = False
        for node_id in ids:
            known = self._nodes.get(node_id)
            if known is not None and now_wall - known.last_seen >= SEEN_STEP_S:
                self._put(replace(known, last_seen=now_wall))
                is_news = True
        return is_news

    def recall_hosts(self, before: "KnownNodes") -> None:
        """Where strangers came from is not written down: what was known of that holds on.

        Args:
            before: What was known before the file was read.
        """
        hosts = before._strangers
        for node_id in list(self._strangers):  # all of them, so that their order stays
            host = self._strangers.host_of(node_id) or hosts.host_of(node_id)
            self._strangers.put(node_id, host, is_regular=self._nodes[node_id].is_regular)

    def _note_address(self, met: Met) -> bool:
        if met.joined is None or met.id not in self._nodes:
            return False
        key = _address_key(met.joined)
        before = self._addresses.get(key)
        if before is None or before.passing_keys is not None:
            return self._put_address(key, KnownAddress(met.id))
        claimed_by = "" if before.id == met.id else met.id
        if not claimed_by or before.claimed_by == claimed_by:
            return False
        self._addresses[key] = KnownAddress(before.id, claimed_by)
        return True

    def _note_passing(self, met: Met, keys: PublicKeys) -> bool:
        """An address that the user joined was answered with keys, if only such as do not last."""
        if met.joined is None:
            return False
        key = _address_key(met.joined)
        if key in self._addresses:
            return False  # that it had keys is known
        return self._put_address(key, KnownAddress(met.id, passing_keys=keys))

    def _put_address(self, key: str, known: KnownAddress) -> bool:
        """Keep who answers at an address; False if there is no room. Those that last go first."""
        if len(key) > MAX_ADDRESS_TEXT:
            return False
        if key not in self._addresses and len(self._addresses) >= MAX_KNOWN_ADDRESSES:
            known_at = self._addresses.items()
            oldest = next((one for one, at in known_at if at.passing_keys is not None), None)
            if oldest is None:
                return False
            del self._addresses[oldest]
        self._addresses[key] = known
        self._joined_ids = None
        return True

    def trust(self, ref: str, met: Met | None = None, now_wall: float = 0.0) -> KnownNode:
        """The user says that a node is the right one; the addresses that it claimed are its own.

        Args:
            ref: Its name, its id, or the beginning of its id.
            met: The node of a session that is meant by it, which may be new; None without one.
            now_wall: Unix time, seconds; for one that is new.

        Raises:
            UnknownPeerError: None is known by it, or several are.
        """
        if met is not None and met.keys is not None and not met.ephemeral:
            self.note(met.as_named(), now_wall)
            ref = met.id
        node = self.find(ref)
        trusted = replace(node, verified=True, disputed=False, named=True)
        if met is not None and met.id == node.id:
            trusted = replace(trusted, name=printable(met.name, MAX_KNOWN_NAME))
        self._put(trusted)
        self._joined_ids = None
        for key, known in list(self._addresses.items()):
            if known.claimed_by == node.id:
                self._addresses[key] = KnownAddress(node.id)
        return trusted

    def forget(self, ref: str) -> KnownNode:
        """Forget a node, its name and its addresses: who comes next in its place is new.

        Args:
            ref: Its name, its id, the beginning of its id, or an address at which it was joined.

        Returns:
            The node; where there is only an address, whose keys did not last, under that name.

        Raises:
            UnknownPeerError: None is known by it, or several are.
        """
        known = self._addresses.get(_address_key(ref))
        if known is not None and known.passing_keys is not None:
            del self._addresses[_address_key(ref)]
            self._joined_ids = None
            return KnownNode(known.id, known.passing_keys, ref.strip()[:MAX_KNOWN_NAME], 0.0, 0.0)
        node = self.find(ref if known is None else known.id)
        self._drop(node)
        self._joined_ids = None
        for key, address in list(self._addresses.items()):
            if address.id == node.id:
                del self._addresses[key]
            elif address.claimed_by == node.id:
                self._addresses[key] = replace(address, claimed_by="")
        return node

    def find(self, ref: str) -> KnownNode:
        """The node that is meant by a name, an id or the beginning of one.

        Raises:
            UnknownPeerError: None is, or several are: the text names them.
        """
        by_id = self._nodes.get(ref.lower())
        if by_id is not None:
            return by_id
        fitting = self.named(ref) or self.beginning(ref)
        shown = printable(ref, 80)
        if not fitting:
            hint = suggestion(ref, [node.name for node in self])
            raise NotMetError(f"no known node is called {shown!r}{hint}")
        if len(fitting) > 1:
            newest = sorted(fitting, key=lambda node: node.last_seen, reverse=True)
            named = ", ".join(node.id for node in newest[:5])
            raise UnknownPeerError(f"{shown!r} could be any of several nodes: {named}; give the id")
        return fitting[0]

    def owners(self, name: str) -> list[KnownNode]:
        """Those that are meant by a name: who came under another's does not own it."""
        return [self._nodes[one] for one in self._owners_of(name)]

    def named(self, name: str) -> list[KnownNode]:
        """All of this name, those as well that came under another's."""
        return [self._nodes[one] for one in self._ids_by_name.get(_name_key(name), ())]

    def beginning(self, prefix: str, shortest: int = SHORTEST_PREFIX) -> list[KnownNode]:
        """All whose id begins so; none where that has fewer characters than `shortest`."""
        if len(prefix) < shortest:
            return []
        return [node for node in self if node.id.startswith(prefix.lower())]

    def _put(self, node: KnownNode, host: str = "") -> bool:
        """Keep a node; False if there is no room for a new one.

        Args:
            node: Which.
            host: Where it came from by itself; empty: where it did before, if that is known.
        """
        before = self._nodes.get(node.id)
        if before is not None:
            host = host or self._strangers.host_of(node.id)
            self._unlist(before)
        elif len(self._nodes) >= MAX_KNOWN_NODES and not self._make_room(node):
            return False
        if node.named:
            self._strangers.discard(node.id)
        else:
            is_in = self._strangers.put(node.id, host, is_regular=node.is_regular)
            for gone in self._strangers.gone():
                self._drop(self._nodes[gone])
            if not is_in:
                return False
        self._list(node)
        return True

    def _list(self, node: KnownNode) -> None:
        self._nodes[node.id] = node
        self._named += node.named
        key = _name_key(node.name)
        self._ids_by_name.setdefault(key, set()).add(node.id)
        if node.disputed:
            self._disputed[node.id] = None
        else:
            self._owners.setdefault(key, set()).add(node.id)

    def _drop(self, node: KnownNode) -> None:
        self._unlist(node)
        self._strangers.discard(node.id)

    def _unlist(self, node: KnownNode) -> None:
        """The opposite of `_list`: its place among strangers remains for now."""
        del self._nodes[node.id]
        self._named -= node.named
        key = _name_key(node.name)
        self._disputed.pop(node.id, None)
        for ids in (self._ids_by_name, self._owners):
            if key in ids:
                ids[key].discard(node.id)
                if not ids[key]:
                    del ids[key]

    def _make_room(self, newcomer: KnownNode) -> bool:
        """One that is not to be kept goes, or will for a stranger, by the shares of strangers; a
        flood of new ones must not cost more than each."""
        # Those that came under another's name first: they are of the least worth.
        for node_id in islice(self._disputed, LOOKED_AT):
            node = self._nodes[node_id]
            if not self._is_kept(node):
                self._drop(node)
                return True
        for node_id in self._strangers.longest_unseen():
            if self._is_absent(node_id, newcomer.last_seen):
                self._drop(self._nodes[node_id])
                return True
        if not newcomer.named:
            return len(self._strangers) > 0
        weakest = self._strangers.weakest()
        if weakest is not None:
            self._drop(self._nodes[weakest])
            return True
        return self._drop_oldest()

    def _is_absent(self, node_id: str, now_wall: float) -> bool:
        has_gone = now_wall - self._nodes[node_id].last_seen >= ABSENT_S
        return has_gone and not self._strangers.is_here(node_id)

    def _drop_oldest(self) -> bool:
        """Of those that the user has named the one seen longest ago goes, if it is not here."""
        for _ in range(2):
            while self._going:
                node = self._going.pop()
                if self._nodes.get(node.id) is node and not self._is_kept(node):
                    self._drop(node)
                    return True
            going = [node for node in self if not self._is_kept(node)]
            going.sort(key=lambda node: node.last_seen)
            self._going = going[:GOING][::-1]
        return False

    def _is_kept(self, node: KnownNode) -> bool:
        return node.verified or node.id in self._joined or self._strangers.is_here(node.id)

    @property
    def _joined(self) -> dict[str, None]:
        """Ids of those that belong to an address; looked for anew when the addresses change."""
        if self._joined_ids is None:
            self._joined_ids = dict.fromkeys(known.id for known in self._addresses.values())
        return self._joined_ids

    # In writing.

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "form": FORM,
            "nodes": [_written(node) for node in self],
            "addresses": {key: written_address(at) for key, at in self._addresses.items()},
        }

    @classmethod
    def from_dict(cls, content: Any, *, is_partial: bool = False) -> "KnownNodes":
        """Read what `to_dict` wrote.

        Raises:
            DamagedError: Anything in it is not as `to_dict` writes it.
        """
        known = cls(is_partial=is_partial)
        try:
            if content["form"] != FORM:
                raise DamagedError(f"is of form {content['form']!r}, and this version knows {FORM}")
            nodes, addresses = content["nodes"], content["addresses"]
            if len(nodes) > MAX_KNOWN_NODES or len(addresses) > MAX_KNOWN_ADDRESSES:
                raise DamagedError("has more entries than are ever written")
            for key, entry in addresses.items():
                known._addresses[key] = read_address(entry)
            known._read_nodes([_read(entry) for entry in nodes])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DamagedError("is damaged: something is missing or wrong in it") from None
        return known

    def _read_nodes(self, nodes: list[KnownNode]) -> None:
        """Keep those of the file, in its order; strangers as they were seen. Who settled is not
        written: regulars first, and then who was there before, as when they came."""
        for node in {node.id: node for node in nodes}.values():
            named = node.named or node.id in self._joined
            self._list(node if named == node.named else replace(node, named=named))
        strangers = [node for node in self if not node.named]
        settling = sorted(strangers, key=lambda node: (not node.is_regular, node.first_seen))
        seen = sorted(strangers, key=lambda node: (not node.is_regular, node.last_seen))
        for node in (*settling, *seen):  # once settled it is, and the order is of the last time
            self._strangers.put(node.id, "", is_regular=node.is_regular)


def _written(node: KnownNode) -> dict[str, Any]:
    written: dict[str, Any] = {
        "id": node.id,
        **written_keys(node.keys),
        "name": node.name,
        "first_seen": round(node.first_seen),
        "last_seen": round(node.last_seen),
        "verified": node.verified,
        "disputed": node.disputed,
    }
    if node.named:
        written["named"] = True
    return written


def _read(entry: Any) -> KnownNode:
    keys = read_keys(entry)
    name, verified, disputed = entry["name"], entry["verified"], entry["disputed"]
    named = entry.get("named", verified)  # earlier versions did not write it
    times = float(entry["first_seen"]), float(entry["last_seen"])
    sound = (
        isinstance(name, str)
        and len(name) <= MAX_KNOWN_NAME
        and isinstance(verified, bool)
        and isinstance(disputed, bool)
        and isinstance(named, bool)
        and all(map(math.isfinite, times))
        and keys.id == entry["id"]
    )
    if not sound:
        raise ValueError
    return KnownNode(
        keys.id, keys, name, *times, verified=verified, disputed=disputed, named=named or verified
    )


def without_keys(met: Met) -> str:
    """What to say of a node that has not shown the keys of which its id is made."""
    return (
        f"{met.called} claims an id that is made from keys, and has not shown them ({met.id}):"
        " say nothing secret; somebody on the way may have taken the exchange of keys out: ask its"
        " user, and try from another network"
    )


def _does(met: Met) -> str:
    return "asks" if met.asks else "answers"


def _agree(met: Met, before: str) -> str:
    """How the user says that a change is right; there is no trust in what does not last."""
    return f"p2ptui forget {before}" if met.ephemeral else f"p2ptui trust {met.id}"


def _name_key(name: str) -> str:
    """Names that people take for the same one."""
    folded = unicodedata.normalize("NFKC", printable(name, MAX_KNOWN_NAME)).casefold()
    return " ".join(folded.split())


def _address_key(text: str) -> str:
    return text.strip().lower()
