"""What is known about a node at another server: stored as it came, decoded on demand."""

from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.cluster.entries import capabilities_of, keys_of
from p2ptui.core.cluster.runs import Run
from p2ptui.core.peers import Foreign
from p2ptui.core.tables import Tables
from p2ptui.wire.address import format_address
from p2ptui.wire.cluster import Presence, decode_about
from p2ptui.wire.message import NodeInfo

MAX_PASSING: Final = 4_096
"""Nodes that have just joined another server, as known from something that it handed over."""

PASSING_S: Final = 5.0
"""By then their entries have arrived."""


class Entry:
    """What is known about one node; a `Foreign` is made from it on demand."""

    __slots__ = ("about", "counter", "heard_at", "revision", "run")

    def __init__(
        self, about: bytes, counter: int, heard_at: float, revision: int, run: Run
    ) -> None:
        self.about = about
        """An `About`, as it arrived: most are never decoded."""
        self.counter = counter
        """The counter of the node's latest verified statement; 0: none."""
        self.heard_at = heard_at
        """When it was last reported, seconds."""
        self.revision = revision
        self.run = run

    def says(self, presence: Presence) -> bool:
        """Whether a newer entry says the same, apart from when it was put."""
        run = self.run
        return (
            presence.counter == self.counter
            and presence.server == run.server
            and presence.instance == run.instance
            and bytes(presence.node) == self.about
        )

    def foreign(self, node_id: str, network_id: str) -> Foreign:
        """The node that it describes.

        Args:
            node_id: The id of the node, in canonical text.
            network_id: The id of the network, common to all of them.
        """
        about = decode_about(self.about)
        address = about.host, about.port
        info = NodeInfo(
            id=node_id,
            node_id=node_id,
            name=about.name,
            version=about.version,
            listen_addr=format_address(address),
            capabilities=capabilities_of(about),
            metadata=about.metadata,
            network_id=network_id,
        )
        return Foreign(
            info,
            self.run.server_id,
            address,
            self.heard_at,
            about.proved,
            keys_of(about).text if about.keys else "",
            about.boot.hex(),
            self.counter > 0,
            self.revision > 0,
        )


def reachable(entry: Entry | None, node_id: str, network_id: str) -> Foreign | None:
    """The node that an entry describes, if there is one and its server can be reached."""
    if entry is None or not entry.run.is_live:
        return None
    return entry.foreign(node_id, network_id)


class Passing:
    """Nodes that can be answered although none of their entries has arrived yet.

    Args:
        tables: All tables of this node.
    """

    def __init__(self, tables: Tables) -> None:
        self._entries: BoundedTable[str, Entry] = tables.add(
            "cluster_passing",
            BoundedTable(MAX_PASSING, full="cluster_passing_full", lifetime_s=PASSING_S),
        )

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, node_id: str, entry: Entry, now: float) -> None:
        """A server says that it holds a node."""
        self._entries.put(node_id, entry, now)

    def forget(self, node_id: str) -> None:
        """Something better is known about a node."""
        self._entries.pop(node_id)

    def expire(self, now: float) -> None:
        """Forget nodes that nothing was heard about since."""
        self._entries.expire(now)

    def foreign(self, node_id: str, network_id: str) -> Foreign | None:
        """A node whose server can be reached."""
        return reachable(self._entries.get(node_id), node_id, network_id)
