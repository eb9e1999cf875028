"""What a node has done so far, as one cheap snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import repeat
from operator import attrgetter, contains, itemgetter
from typing import Final

from p2ptui.core.accounts import GrantUse
from p2ptui.core.connection import Method
from p2ptui.core.counters import RoundTrips
from p2ptui.core.endpoint import Endpoint
from p2ptui.io.udp import DatagramSocket, SocketCounters

# With ten thousand peers, once a second: bytecode for each would block the loop for 40 ms.
_SENT_AGAIN: Final = attrgetter("channel.retransmissions")
_SENDS_TO: Final = attrgetter("sends_to")
_HOST: Final = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Stats:
    """Totals since the start, and how full the node's tables are now."""

    uptime_s: float
    """Seconds since the start."""
    peers: Mapping[str, int]
    """The number of peers in each status."""
    datagrams_in: int
    """Datagrams received."""
    datagrams_out: int
    """Datagrams sent."""
    bytes_in: int
    """Bytes received."""
    bytes_out: int
    """Bytes sent."""
    messages_in: int
    """Messages received."""
    messages_out: int
    """Messages sent."""
    duplicates: int
    """Messages that came again, and were not delivered again."""
    retransmissions: int
    """Datagrams that this node sent again."""
    handshakes_accepted: int
    """Requests for a session that this node accepted."""
    handshakes_refused: int
    """Requests for a session that this node refused."""
    delivered: int
    """Data messages handed to this node's readers."""
    forwarded: int
    """Routed messages forwarded for others."""
    relayed: int
    """Datagrams and RelayRequests relayed for others."""
    stun_replies: int
    """Answers to STUN requests."""
    drops: Mapping[str, int]
    """Messages that were not processed or not sent, by cause; see docs/drops.md."""
    socket: SocketCounters
    """The socket's own counters."""
    sizes: Mapping[str, int]
    """The number of entries in each table that others can fill; each has a limit."""
    grants: Mapping[str, GrantUse] = field(default_factory=dict)
    """Datagrams sent to addresses beyond what they had paid for, by reason."""
    connects: Mapping[str, int] = field(default_factory=dict)
    """Handshakes that this node asked for: `begun`, and how each ended."""
    refusals: Mapping[str, int] = field(default_factory=dict)
    """Requests for a session that were refused, by rule."""
    rounds: Mapping[str, int] = field(default_factory=dict)
    """Rounds of checks for a direct path, by method."""
    paths_won: Mapping[str, int] = field(default_factory=dict)
    """Direct paths found, by method."""
    paths_lost: int = 0
    """Direct paths that fell silent and were given up."""
    predictions: Mapping[str, int] = field(default_factory=dict)
    """Predictions of the port of the next sample request, before a round of checks: `right` or
    `wrong`. Whether they lead to paths is in `rounds` and `paths_won`."""
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    """Round trips of Pings to peers."""
    servers: int = 0
    """Servers with which this node has a session that it asked for."""

    @property
    def connected(self) -> int:
        """Peers with a session."""
        return self.peers.get("authenticated", 0)


def snapshot(endpoint: Endpoint, sock: DatagramSocket, uptime_s: float) -> Stats:
    """Take the numbers of a node.

    Args:
        endpoint: Its protocol.
        sock: Its socket.
        uptime_s: How long it has been running, seconds.
    """
    counters = endpoint.counters
    under_way = sum(map(_SENT_AGAIN, endpoint.peers))
    return Stats(
        uptime_s=uptime_s,
        peers={status.value: count for status, count in endpoint.peers.statuses.items() if count},
        datagrams_in=counters.datagrams_in,
        datagrams_out=counters.datagrams_out,
        bytes_in=counters.bytes_in,
        bytes_out=counters.bytes_out,
        messages_in=counters.messages_in,
        messages_out=counters.messages_out,
        duplicates=counters.duplicates,
        retransmissions=counters.retransmissions + under_way,
        handshakes_accepted=counters.handshakes_accepted,
        handshakes_refused=counters.handshakes_refused,
        delivered=counters.delivered,
        forwarded=counters.forwarded,
        relayed=counters.relayed,
        stun_replies=counters.stun_replies,
        drops=dict(counters.drops),
        socket=sock.counters(),
        sizes=endpoint.sizes(),
        grants={reason: replace(use) for reason, use in counters.grants.items()},
        connects=dict(counters.connects),
        refusals=dict(counters.refusals),
        rounds=dict(counters.rounds),
        paths_won=dict(counters.paths_won),
        paths_lost=counters.paths_lost,
        predictions=dict(counters.predictions),
        round_trips=replace(counters.round_trips, counts=list(counters.round_trips.counts)),
        servers=len(endpoint.peers.joined_servers),
    )


def path_kinds(endpoint: Endpoint) -> dict[str, int]:
    """How the peers are reached: `direct` without a search, by the method that found the direct
    path, or by `relay`. It looks at each peer, so call it a few times a minute at most.
    """
    kinds = dict.fromkeys(("direct", *(method.value for method in Method)), 0)
    hosts = map(_HOST, map(_SENDS_TO, endpoint.peers))
    kinds[Method.RELAY.value] = sum(map(contains, hosts, repeat("@")))
    for method in endpoint.traversal.methods():
        kinds[method.value] += 1
    kinds["direct"] = len(endpoint.peers) - sum(kinds.values())
    return kinds
