"""The nodes that this user's nodes have met: which are remembered, and which make room for others.

A lasting node is known by its id, which follows from its keys. People know names and addresses:
`judging` says how far those can be trusted.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from p2ptui.bounded import LOOKED_AT
from p2ptui.secure import known_nodes_json
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.judging import Judge, without_keys
from p2ptui.secure.known_addresses import (
    MAX_ADDRESS_TEXT,
    MAX_KNOWN_ADDRESSES,
    KnownAddress,
    KnownAddresses,
)
from p2ptui.secure.known_node import Judgement, KnownNode, Trust
from p2ptui.secure.known_nodes_json import DamagedError
from p2ptui.secure.met import MAX_KNOWN_NAME, Met
from p2ptui.secure.node_index import SHORTEST_PREFIX, NodeIndex
from p2ptui.secure.strangers import Strangers
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
"""Nodes that came by themselves make room first, then the one seen longest ago, but never one that
the user verified or joined by its address."""

GOING: Final = 128
"""How many nodes that may make room one search collects."""

SEEN_STEP_S: Final = 3_600.0
"""The resolution of the time when a node was last seen."""

ABSENT_S: Final = 180 * 86_400.0
"""A node that came by itself, and was not seen for this long, makes room for any newcomer."""


class KnownNodes:
    """The known nodes of one user, without their file.

    Args:
        is_partial: Whether others were known that can no longer be read: then one that seems new
            may have been met before, and is judged accordingly.
        nodes: The nodes known already.
        addresses: Who answers at which address.
    """

    def __init__(
        self,
        *,
        is_partial: bool = False,
        nodes: NodeIndex | None = None,
        addresses: KnownAddresses | None = None,
    ) -> None:
        self._is_partial = is_partial
        self._nodes = NodeIndex() if nodes is None else nodes
        self._addresses = KnownAddresses() if addresses is None else addresses
        self._judge = Judge(self._nodes, self._addresses, is_partial=is_partial)
        self._going: list[KnownNode] = []
        """Nodes that may make room, the next one last: finding them takes a pass over all nodes."""
        self._strangers = Strangers(self._room_for_strangers)

    def _room_for_strangers(self) -> int:
        return MAX_KNOWN_NODES - self._nodes.named_by_user

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[KnownNode]:
        return iter(self._nodes)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    @property
    def has_addresses(self) -> bool:
        """Whether it is known for any address who answers there."""
        return len(self._addresses) > 0

    def get(self, node_id: str) -> KnownNode | None:
        """One node, by its whole id."""
        return self._nodes.get(node_id)

    def name_of(self, node_id: str) -> str:
        """What a node called itself when it was last seen; empty if the node is unknown."""
        known = self._nodes.get(node_id)
        return known.name if known is not None else ""

    def own_name_of(self, node_id: str) -> str:
        """The same, if that name means this node; empty if it means another one."""
        known = self._nodes.get(node_id)
        is_its = known is not None and node_id in self._nodes.owners_of(known.name)
        return known.name if known is not None and is_its else ""

    def at(self, joined: str) -> str | None:
        """The id that belongs to an address as it was typed."""
        known = self._addresses.get(joined)
        return None if known is None else known.id

    def has_met(self, node_id: str, *places: str | None) -> bool:
        """Whether anything is known about an id, or about who is at an address as it was typed.

        Args:
            node_id: The whole id.
            places: Addresses; a None is ignored.
        """
        if node_id in self._nodes:
            return True
        return self.has_addresses and any(
            place is not None and self._addresses.get(place) is not None for place in places
        )

    def copy(self) -> "KnownNodes":
        """An independent copy."""
        nodes, addresses = self._nodes.copy(), self._addresses.copy()
        other = KnownNodes(is_partial=self._is_partial, nodes=nodes, addresses=addresses)
        self._strangers.copy_to(other._strangers)
        return other

    def heed(self, is_here: Callable[[str], bool]) -> None:
        """Let no node that is connected now make room for strangers.

        Args:
            is_here: Whether the node with an id is connected.
        """
        self._strangers.is_here = is_here

    # How far a node can be trusted.

    def judge(self, met: Met) -> Judgement:
        """Judge who is on the other side; changes nothing."""
        return self._judge.judge(met)

    def judge_listed(self, node_id: str, name: str) -> Judgement | None:
        """Judge a node that others list; see `Judge.judge_listed`."""
        return self._judge.judge_listed(node_id, name)

    def claimed_of_named(self, met: Met) -> str:
        """Whose id, name or address a node has taken; see `Judge.claimed_of_named`."""
        return self._judge.claimed_of_named(met)

    def find(self, ref: str) -> KnownNode:
        """The node that is meant by a name, an id or the beginning of one.

        Raises:
            UnknownPeerError: None is meant, or several are: the text names them.
        """
        return self._nodes.find(ref)

    def owners(self, name: str) -> list[KnownNode]:
        """The nodes meant by a name: one that came under another's name does not own it."""
        return [self._nodes[one] for one in self._nodes.owners_of(name)]

    def named(self, name: str) -> list[KnownNode]:
        """All nodes with this name, including those that came under another's."""
        return self._nodes.named(name)

    def beginning(self, prefix: str, shortest: int = SHORTEST_PREFIX) -> list[KnownNode]:
        """All nodes whose id begins with `prefix`; none if it is shorter than `shortest`."""
        return self._nodes.beginning(prefix, shortest)

    # What is kept.

    def note(self, met: Met, now_wall: float) -> bool:
        """Remember a node that was met; open ones are not remembered, and of ephemeral ones only
        that there were keys at the address where the user joined them.

        Args:
            met: Who it is; judge it first, since afterwards it is known.
            now_wall: Unix time, seconds.

        Returns:
            Whether there is anything to write to the file.

        Raises:
            ValueError: Its keys do not fit its id.
        """
        if met.keys is None:
            return False
        if met.keys.id != met.id:
            raise ValueError("the keys do not fit the id")
        if met.ephemeral:
            return self._note_passing(met, met.keys)
        disputed = bool(self._judge.changed_name(met))
        known = self._nodes.get(met.id)
        name = printable(met.name, MAX_KNOWN_NAME)
        named, host = met.came_from is None, met.came_from or ""
        if known is None:
            known = KnownNode(
                met.id, met.keys, name, now_wall, now_wall, disputed=disputed, named=named
            )
            is_news = self._put(known, host)
        else:
            # Another node's name is not adopted: the next time it would count as this node's own.
            owners = self._nodes.owners_of(name)
            name = known.name if owners and met.id not in owners else name
            disputed, named = known.disputed and disputed, known.named or named
            seen = replace(known, name=name, disputed=disputed, named=named)
            is_news = seen != known or now_wall - known.last_seen >= SEEN_STEP_S
            if is_news:
                self._put(replace(seen, last_seen=max(now_wall, known.last_seen)), host)
        return self._note_address(met) or is_news

    def see(self, ids: Iterable[str], now_wall: float) -> bool:
        """Record nodes that are connected, and so seen, now.

        Args:
            ids: Their ids.
            now_wall: Unix time, seconds.

        Returns:
            Whether there is anything to write to the file.
        """
        is_news = False
        for node_id in ids:
            known = self._nodes.get(node_id)
            if known is not None and now_wall - known.last_seen >= SEEN_STEP_S:
                self._put(replace(known, last_seen=now_wall))
                is_news = True
        return is_news

    def recall_hosts(self, before: "KnownNodes") -> None:
        """Keep what was known about where strangers came from: it is not in the file.

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
        return self._addresses.note(met.joined, met.id)

    def _note_passing(self, met: Met, keys: PublicKeys) -> bool:
        """A node answered with keys at an address that the user joined, even if they do not
        last."""
        return met.joined is not None and self._addresses.note_passing(met.joined, met.id, keys)

    def trust(self, ref: str, met: Met | None = None, now_wall: float = 0.0) -> KnownNode:
        """The user says that a node is the right one; the addresses that it claimed are its own.

        Args:
            ref: Its name, its id, or the beginning of its id.
            met: The node of a session that is meant by `ref`, which may be new; None without one.
            now_wall: Unix time, seconds; for a new node.

        Raises:
            UnknownPeerError: No known node is meant by it, or several are.
        """
        if met is not None and met.keys is not None and not met.ephemeral:
            self.note(met.as_named(), now_wall)
            ref = met.id
        node = self.find(ref)
        trusted = replace(node, verified=True, disputed=False, named=True)
        if met is not None and met.id == node.id:
            trusted = replace(trusted, name=printable(met.name, MAX_KNOWN_NAME))
        self._put(trusted)
        self._addresses.trust(node.id)
        return trusted

    def forget(self, ref: str) -> KnownNode:
        """Forget a node, its name and its addresses: the next node in its place is new.

        Args:
            ref: Its name, its id, the beginning of its id, or an address at which it was joined.

        Returns:
            The node; for a mere address, whose keys did not last, one named like the address.

        Raises:
            UnknownPeerError: No known node is meant by it, or several are.
        """
        known = self._addresses.get(ref)
        if known is not None and known.passing_keys is not None:
            self._addresses.drop(ref)
            return KnownNode(known.id, known.passing_keys, ref.strip()[:MAX_KNOWN_NAME], 0.0, 0.0)
        node = self.find(ref if known is None else known.id)
        self._drop(node)
        self._addresses.forget(node.id)
        return node

    def _put(self, node: KnownNode, host: str = "") -> bool:
        """Keep a node; False if there is no room for a new one.

        Args:
            node: The node.
            host: The host that it came from by itself; empty: the previous one, if known.
        """
        before = self._nodes.get(node.id)
        if before is not None:
            host = host or self._strangers.host_of(node.id)
            self._nodes.remove(before)
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
        self._nodes.add(node)
        return True

    def _drop(self, node: KnownNode) -> None:
        self._nodes.remove(node)
        self._strangers.discard(node.id)

    def _make_room(self, newcomer: KnownNode) -> bool:
        """Remove a node that need not be kept; for a stranger, the shares of strangers do that
        later. Each newcomer of a flood must cost the same."""
        # Those that came under another's name first: they are worth the least. But no stranger
        # takes the place of one that the user has named.
        for node_id in islice(self._nodes.disputed, LOOKED_AT):
            node = self._nodes[node_id]
            if not self._is_kept(node) and (newcomer.named or not node.named):
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
        """Remove, of the nodes that the user has named, the one seen longest ago and not
        connected."""
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
        return node.verified or node.id in self._addresses.ids or self._strangers.is_here(node.id)

    # As JSON.

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return known_nodes_json.written(self, self._addresses.items())

    @classmethod
    def from_dict(cls, content: Any, *, is_partial: bool = False) -> "KnownNodes":
        """Read what `to_dict` wrote.

        Raises:
            DamagedError: Anything in it is not as `to_dict` writes it.
        """
        nodes, addresses = known_nodes_json.read(content, MAX_KNOWN_NODES)
        known = cls(is_partial=is_partial, addresses=KnownAddresses(addresses))
        known._read_nodes(nodes)
        return known

    def _read_nodes(self, nodes: list[KnownNode]) -> None:
        """Keep the nodes of the file, in its order; strangers in the order in which they were seen.
        The file does not say which had settled: regulars come first, then the earlier ones, as when
        they came."""
        for node in {node.id: node for node in nodes}.values():
            named = node.named or node.id in self._addresses.ids
            self._nodes.add(node if named == node.named else replace(node, named=named))
        strangers = [node for node in self if not node.named]
        settling = sorted(strangers, key=lambda node: (not node.is_regular, node.first_seen))
        seen = sorted(strangers, key=lambda node: (not node.is_regular, node.last_seen))
        for node in (*settling, *seen):  # once settled, it stays; the second pass orders
            self._strangers.put(node.id, "", is_regular=node.is_regular)
