"""Whether a node lives, and whether it does what it is there for."""

from typing import NamedTuple

from p2ptui.node import Node
from p2ptui.wire.address import format_address


class Health(NamedTuple):
    """What is told of a node."""

    is_well: bool
    said: dict[str, str | int]
    """The same with what it comes from, for JSON."""


def liveness(node: Node) -> Health:
    """Whether the event loop turns, as it does if this is called, and the node has not broken."""
    state = node.state
    return Health(state != "failed", {"status": "failed" if state == "failed" else "alive"})


def readiness(node: Node) -> Health:
    """Whether the node serves: its socket is bound, and a server is joined if any is to be.

    The link to the broker of a cluster is told, and no more: a server without it still serves its
    own clients.
    """
    state = node.state
    if state != "running":
        words = "the node has not started yet" if state == "not started" else f"the node is {state}"
        words = "the node has failed" if state == "failed" else words
        return Health(False, {"status": "not ready", "reason": words})
    joined, to_join = node.configured_servers_joined, node.servers_to_join
    said: dict[str, str | int] = {"status": "ready", "address": format_address(node.address)}
    if to_join:
        said |= {"servers_joined": joined, "servers_configured": to_join}
    if (cluster := node.cluster) is not None:
        said["cluster_link"] = "up" if cluster.broker.is_up else "down"
    if to_join and not joined:
        servers = "the server" if to_join == 1 else f"any of {to_join} servers"
        said |= {"status": "not ready", "reason": f"no session with {servers} to join"}
        return Health(False, said)
    return Health(True, said)
