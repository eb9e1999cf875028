"""Which server carries the offers of a search: any that both sides have joined will do."""

from typing import Final

from p2ptui.core.addresses import relay_address
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt

NO_SERVER_REST_S: Final = 5.0
"""A search for which there is no server begins this much later, if there is one by then."""


def choose_server(state: NodeState, attempt: Attempt, now: float) -> bool:
    """Let an attempt use another server if its own is useless; returns whether it has one.

    Args:
        state: The shared state.
        attempt: The attempt.
        now: The time, seconds.
    """
    first = state.peers.cluster.instead_of(attempt.server, now)
    if _is_of_use(first, now) and first not in attempt.unknown_at:
        if first is not attempt.server:
            attempt.use(first)
        return True
    servers = [
        server
        for server in state.peers.best_servers(now)
        if server.is_ours and not server.is_silent(now) and server.node_id != attempt.node_id
    ]
    fresh = [server for server in servers if server not in attempt.unknown_at]
    if servers and not fresh:
        attempt.unknown_at.clear()  # it may have joined one of them meanwhile
        fresh = servers
    if not fresh:
        return False
    attempt.use(fresh[0])
    return True


def may_speak(state: NodeState, attempt: Attempt, server: Peer, now: float) -> bool:
    """Whether a server that is not an attempt's own may bring its offers from now on.

    Another server must not divert a session that the attempt's own server brought about, unless
    that server is no longer usable, or the other one is known to bring the same node. Servers of
    one cluster count as one: whichever a node asks, its home answers.
    """
    if state.peers.cluster.are_one(attempt.server, server):
        return True
    peer = state.peers.authenticated(attempt.node_id)
    if peer is not None and state.peers.at(relay_address(server.address, peer.node_id)) is peer:
        return True
    return not _is_of_use(attempt.server, now)


def _is_of_use(server: Peer, now: float) -> bool:
    return server.is_joined_server and not server.is_silent(now)
