"""Lists that a server returns on request: the nodes it knows, or the servers of its network."""

from dataclasses import dataclass

from p2ptui.wire.message import ListedServer, NodeInfo


@dataclass(frozen=True, slots=True)
class NodeList:
    """The nodes that a server knows."""

    nodes: tuple[NodeInfo, ...]
    """The nodes; those at another server of a cluster are `ListedNode`s, which name that server."""
    complete: bool
    """False if pages were still missing when the time was up."""


@dataclass(frozen=True, slots=True)
class ServerList:
    """The servers of a network, as one of them knows them."""

    servers: tuple[ListedServer, ...]
    """The server that was asked first, then the others; empty if it serves the network alone."""
    complete: bool
    """False if pages were still missing when the time was up."""
