"""Nodes that meet on a relaying server and find no direct path, for the transcripts of relaying."""

from typing import Any

from p2ptui.core.peers import Peer
from p2ptui.core.relay.values import RelayClient
from tests.simulation import Host, Puppet, World


def relaying(world: World, **options: Any) -> Host:
    """A server that relays."""
    return world.host(allow_symmetric_nat_relay=True, **options)


def node(world: World, *servers: Host, node_id: str | None = None, **options: Any) -> Host:
    """A node that joined servers and looks for no direct path."""
    host = world.host(node_id=node_id, **{"ice": {"enable": False}} | options)
    for server in servers:
        host.outcome(host.connect(server))
    world.run_for(1)
    return host


def puppet(world: World, server: Host, node_id: str | None = None) -> Puppet:
    """A deployed client that has shown that it receives at its address."""
    client = world.puppet(node_id=node_id)
    client.join(server)
    server.ping(client)
    world.run_for(1)
    client.take()
    return client


def ask(one: Host, server: Host, other: Host | str, timeout_s: float = 10.0) -> int:
    """Ask for a node by its id; the token."""
    via = one.peer(server)
    assert via is not None
    node_id = other if isinstance(other, str) else other.id
    token = one.endpoint.introduce(via, node_id, one.world.now, timeout_s)
    one.settle()
    return token


def seen(one: Host, other: Host) -> Peer:
    """A node as another has it as its peer."""
    peer = one.endpoint.peers.authenticated(other.id)
    assert peer is not None
    return peer


def say(one: Host, other: Host, payload: Any, *, reliable: bool = True) -> int:
    token = one.endpoint.send(seen(one, other), payload, one.world.now, reliable=reliable)
    one.settle()
    return token


def account(server: Host, client: Host | Puppet) -> RelayClient:
    """What the server counts of a client."""
    (found,) = [c for c in server.endpoint.relays(100).clients if c.node_id == client.id]
    return found


def open_relays(server: Host) -> int:
    return server.endpoint.relays(0).open
