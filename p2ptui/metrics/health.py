"""Whether a node is alive, and whether it is ready to do its work."""

from typing import Final, NamedTuple

from p2ptui.node import Node
from p2ptui.node.running import RunState
from p2ptui.wire.address import format_address

_NOT_RUNNING: Final = {
    RunState.NOT_STARTED: "the node has not started yet",
    RunState.CLOSING: "the node is closing",
    RunState.FAILED: "the node has failed",
}


class Health(NamedTuple):
    """The answer to a probe."""

    is_well: bool
    said: dict[str, str | int]
    """The answer and its reasons, for JSON."""


def liveness(node: Node) -> Health:
    """Whether the event loop runs, as it does if this is called, and the node has not failed."""
    has_failed = node.state is RunState.FAILED
    return Health(not has_failed, {"status": "failed" if has_failed else "alive"})


def readiness(node: Node) -> Health:
    """Whether the node is ready: its socket is bound, and a server is joined if it has any to join.

    The link to a cluster's broker is only reported: a server without it still serves its own
    clients.
    """
    if node.state is not RunState.RUNNING:
        return Health(False, {"status": "not ready", "reason": _NOT_RUNNING[node.state]})
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
