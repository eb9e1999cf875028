"""What a server lists when it is asked: the nodes that it knows, or the servers of its network."""

from dataclasses import dataclass

from p2ptui.wire.message import ListedServer, NodeInfo


@dataclass(frozen=True, slots=True)
class NodeList:
    """The nodes that a server knows."""

    nodes: tuple[NodeInfo, ...]
    """Those that another server holds are `ListedNode`s, where it says so."""
    complete: bool
    """False when pages were missing at the end of the time given."""


@dataclass(frozen=True, slots=True)
class ServerList:
    """The servers of a network, as one of them knows them: itself first."""

    servers: tuple[ListedServer, ...]
    """None where it serves the network alone."""
    complete: bool
    """As of a `NodeList`."""
