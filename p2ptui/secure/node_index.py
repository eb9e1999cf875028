"""Known nodes by id and by name: which one a word means."""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from p2ptui.errors import NotMetError, UnknownPeerError
from p2ptui.nearest import suggestion
from p2ptui.secure.known_node import KnownNode
from p2ptui.secure.met import MAX_KNOWN_NAME
from p2ptui.text import printable, shown

SHORTEST_PREFIX: Final = 4
"""The least characters of an id that may name a node."""


class NodeIndex:
    """Known nodes, each with an id of its own."""

    def __init__(self) -> None:
        self._nodes: dict[str, KnownNode] = {}
        self._ids_by_name: dict[str, set[str]] = {}
        self._owners: dict[str, set[str]] = {}
        """The same without disputed nodes: nobody can create many of the others."""
        self._disputed: dict[str, None] = {}
        self._named = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[KnownNode]:
        return iter(self._nodes.values())

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    def __getitem__(self, node_id: str) -> KnownNode:
        return self._nodes[node_id]

    @property
    def named_by_user(self) -> int:
        """How many nodes the user has named or verified."""
        return self._named

    @property
    def disputed(self) -> Iterable[str]:
        """Ids of the nodes that came under another's name, the one seen longest ago first."""
        return self._disputed

    @property
    def has_owners(self) -> bool:
        """Whether any name means a node."""
        return bool(self._owners)

    def get(self, node_id: str) -> KnownNode | None:
        """One node, by its whole id."""
        return self._nodes.get(node_id)

    def copy(self) -> "NodeIndex":
        """An independent copy."""
        other = NodeIndex()
        other._nodes = dict(self._nodes)
        other._ids_by_name = {name: set(ids) for name, ids in self._ids_by_name.items()}
        other._owners = {name: set(ids) for name, ids in self._owners.items()}
        other._disputed = dict(self._disputed)
        other._named = self._named
        return other

    def add(self, node: KnownNode) -> None:
        """Add a node whose id is not in the index."""
        self._nodes[node.id] = node
        self._named += node.named
        key = name_key(node.name)
        self._ids_by_name.setdefault(key, set()).add(node.id)
        if node.disputed:
            self._disputed[node.id] = None
        else:
            self._owners.setdefault(key, set()).add(node.id)

    def remove(self, node: KnownNode) -> None:
        """The opposite of `add`."""
        del self._nodes[node.id]
        self._named -= node.named
        key = name_key(node.name)
        self._disputed.pop(node.id, None)
        for ids in (self._ids_by_name, self._owners):
            if key in ids:
                ids[key].discard(node.id)
                if not ids[key]:
                    del ids[key]

    def owners_of(self, name: str) -> set[str]:
        """Ids of the nodes meant by a name: no disputed ones, and only verified ones if there are
        any."""
        key = name_key(name)
        owners = self._owners.get(key, set()) if key else set()
        return {one for one in owners if self._nodes[one].verified} or owners

    def named(self, name: str) -> list[KnownNode]:
        """All nodes with this name, including those that came under another's."""
        return [self._nodes[one] for one in self._ids_by_name.get(name_key(name), ())]

    def beginning(self, prefix: str, shortest: int) -> list[KnownNode]:
        """All nodes whose id begins with `prefix`; none if it is shorter than `shortest`."""
        if len(prefix) < shortest:
            return []
        return [node for node in self if node.id.startswith(prefix.lower())]

    def find(self, ref: str) -> KnownNode:
        """The node that is meant by a name, an id or the beginning of one.

        Raises:
            UnknownPeerError: None is meant, or several are: the text names them.
        """
        by_id = self._nodes.get(ref.lower())
        if by_id is not None:
            return by_id
        fitting = self.named(ref) or self.beginning(ref, SHORTEST_PREFIX)
        if not fitting:
            hint = suggestion(ref, [node.name for node in self])
            raise NotMetError(f"no known node is called {shown(ref)}{hint}")
        if len(fitting) > 1:
            newest = sorted(fitting, key=lambda node: node.last_seen, reverse=True)
            named = ", ".join(node.id for node in newest[:5])
            raise UnknownPeerError(
                f"{shown(ref)} could be any of several nodes: {named}; give the id"
            )
        return fitting[0]


def name_key(name: str) -> str:
    """The key shared by all names that people take for the same."""
    folded = unicodedata.normalize("NFKC", printable(name, MAX_KNOWN_NAME)).casefold()
    return " ".join(folded.split())
