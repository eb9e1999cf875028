"""Endpoints in the middle of much, made anew for each case: what one lived through is replayed.

A small world is played once, and every call that one of its nodes gets is kept. A new endpoint
with the same randomness that gets the same calls is in the same state, in a few milliseconds.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address
from p2ptui.wire.message import NodeInfo
from tests.core.meeting import Meeting
from tests.simulation import UNIX_START, Host

OPTIONS: Final[dict[str, Any]] = {
    "max_connections": 12,
    "max_routes": 24,
    "max_seen": 24,
    "introductions_max": 8,
    "max_message_size": 100_000,
    "reassembly_bytes_per_peer": 120_000,
    "reassembly_bytes_total": 200_000,
    "max_unauthenticated_connections": 8,
    "max_concurrent_relays": 4,
    "max_checks": 64,
}
"""Small limits, so that a case may reach them."""

LATER_S: Final = 1.5
"""What would have come in this time is kept as well: a case may let it come."""


class Arrival(NamedTuple):
    """A datagram that came to a node."""

    data: bytes
    source: Address
    socket: int
    """0: the node's own."""


class _PeerAt(NamedTuple):
    """Stands for a peer among the arguments of a call."""

    address: Address


@dataclass
class Script:
    """All that happened to one endpoint, and what is needed to let it happen again."""

    config: Config
    identity: NodeInfo
    rng_seed: str
    hosts: tuple[Address, ...]
    facts: NatFacts | None
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    """What came, and what came within `LATER_S` after the end of the calls."""
    own: list[bytes] = field(default_factory=list)
    """What it sent meanwhile."""
    now: float = 0.0
    sockets: tuple[int, ...] = ()
    peers: tuple[tuple[Address, str], ...] = ()
    """Whom it knows: address and node id."""

    @cached_property
    def text(self) -> str:
        """All that was said meanwhile."""
        return b"\n".join([arrival.data for arrival in self.arrivals] + self.own).decode("latin-1")

    def replay(self) -> Endpoint:
        """A new endpoint that has lived through it."""
        endpoint = Endpoint(self.config, self.identity, random.Random(self.rng_seed), UNIX_START)
        endpoint.traversal.offers.hosts = self.hosts
        for path, arguments, options in self.calls:
            call = _method(endpoint, path)
            call(*(_as_peer(endpoint, each) for each in arguments), **options)
            endpoint.datagrams_to_send(self.now)
            while endpoint.next_event() is not None:
                pass
        return endpoint


def _method(endpoint: Endpoint, path: str) -> Callable[..., Any]:
    found: Any = endpoint
    for name in path.split("."):
        found = getattr(found, name)
    method: Callable[..., Any] = found
    return method


def _as_peer(endpoint: Endpoint, argument: Any) -> Any:
    return endpoint.peers.at(argument.address) if isinstance(argument, _PeerAt) else argument


RECORDED: Final = (
    *("receive_datagram", "receive_beside", "handle_timeout", "handle_read"),
    *("connect", "introduce", "ping", "ping_routed", "send", "send_routed", "relay", "list_nodes"),
    "stun.open",
    *("traversal.facts_ready", "traversal.sockets_ready", "traversal.flows.take_probe"),
)
"""Calls by which anything happens to an endpoint."""


class _Overheard:
    """An endpoint, or a part of it, as its host sees it: the calls of `RECORDED` are told first.

    The endpoint itself is left as it is, so that it may be a compiled one.
    """

    def __init__(self, inside: Any, tell: Callable[..., None], before: str = "") -> None:
        self._inside = inside
        self._tell = tell
        self._before = before

    def __getattr__(self, name: str) -> Any:
        path = self._before + name
        found = getattr(self._inside, name)
        if any(each.startswith(f"{path}.") for each in RECORDED):
            return _Overheard(found, self._tell, f"{path}.")
        return partial(self._call, path, found) if path in RECORDED else found

    def _call(self, path: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._tell(path, arguments, options)
        return method(*arguments, **options)


class RecordedHost(Host):
    """A host that keeps every call to its endpoint, until `script`."""

    endpoint: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.arrivals: list[Arrival] = []
        self.own: list[bytes] = []
        self.stopped = False
        self.endpoint = _Overheard(self.endpoint, self._keep)

    def _keep(self, path: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        if not self.stopped:
            kept = [_PeerAt(a.address) if isinstance(a, Peer) else a for a in arguments]
            self.calls.append((path, tuple(kept), options))
        if path.startswith("receive_"):
            socket = arguments[2] if path == "receive_beside" else 0
            self.arrivals.append(Arrival(arguments[0], arguments[1], socket))

    def script(self) -> Script:
        """What has happened until now; no more is kept but what arrives."""
        self.stopped = True
        return Script(
            config=self.endpoint.config,
            identity=self.endpoint.identity,
            rng_seed=f"{self.world.seed} {self.address}",
            hosts=self.endpoint.traversal.offers.hosts,
            facts=self.facts,
            calls=self.calls,
            arrivals=self.arrivals,
            own=self.own,
            now=self.world.now,
            sockets=tuple(self.sockets),
            peers=tuple((peer.address, peer.node_id) for peer in self.endpoint.peers),
        )


def _recorded(play: Callable[[], RecordedHost]) -> Script:
    with patch("tests.simulation.Host", RecordedHost):
        host = play()
        script = host.script()
        network, own = host.world.network, host.own
        send = network.send

        def seen(data: bytes, source: Address, *more: Any, **rest: Any) -> None:
            if source[0] == host.address[0]:
                own.append(bytes(data))
            send(data, source, *more, **rest)

        network.send = seen  # type: ignore[method-assign]
        host.world.run_for(LATER_S)
    return script


def _busy_meeting(kind_a: str, kind_b: str) -> tuple[Meeting, Host]:
    """A server with relaying nodes, a third of our own, and a deployed client."""
    meeting = Meeting(kind_a, kind_b, options=OPTIONS, server=OPTIONS)
    world, own = meeting.world, meeting.server.address
    places = {Place.OWN: own, Place.PRIMARY: (own[0], 3478), Place.ALTERNATE_PORT: (own[0], 3479)}
    meeting.server.endpoint.stun.open(places, None)
    third = world.host(("203.0.113.50", 5000), **OPTIONS)
    third.outcome(third.connect(meeting.server))
    client = world.puppet(("203.0.113.60", 6000))
    client.join(meeting.server)
    world.run_for(2)
    return meeting, third


def _server() -> RecordedHost:
    """Relays for two, knows four, has lists, fragments, Pings and introductions under way."""
    meeting, third = _busy_meeting("symmetric, random", "symmetric, random")
    world, server = meeting.world, meeting.server
    assert isinstance(server, RecordedHost)
    meeting.ask()
    world.run_for(1.5)
    if meeting.peer(meeting.a) is not None:
        meeting.say("relayed " * 300)
    third.endpoint.send_routed(meeting.b.id, "routed", 8, world.now, 10.0)
    third.send(server, "a long message " * 400)
    client = server.endpoint.peers.authenticated(meeting.a.id)
    assert client is not None
    server.endpoint.send(client, "another one " * 400, world.now)
    server.ping(third)
    peer = third.peer(server)
    assert peer is not None
    third.endpoint.list_nodes(peer, world.now, 5.0)
    world.run_for(0.05)
    return server


def _searching() -> RecordedHost:
    """Asks for a node by way of the server, and sends checks from further sockets."""
    meeting, _ = _busy_meeting("symmetric, random", "port-restricted-cone")
    assert isinstance(meeting.a, RecordedHost)
    meeting.ask()
    meeting.world.run_for(0.4)
    return meeting.a


def _direct() -> RecordedHost:
    """Has a direct path, long messages on it in both directions, and a routed one under way."""
    meeting, third = _busy_meeting("port-restricted-cone", "port-restricted-cone")
    world, a = meeting.world, meeting.a
    assert isinstance(a, RecordedHost)
    meeting.connect()
    world.run_until(meeting.is_direct, 10)
    a.endpoint.send_routed(third.id, "routed", 8, world.now, 10.0)
    meeting.say("a long message " * 2000)
    meeting.say("another one " * 2000, back=True)
    a.ping(meeting.server)
    world.run_for(0.05)
    return a


@cache
def scripts() -> tuple[Script, ...]:
    """All states, played once."""
    return (
        _recorded(_server),
        _recorded(_searching),
        _recorded(_direct),
    )
