"""The table of all metrics: name, kind, meaning, label, and where each value comes from.

Everything that deals with metrics reads it: the collector, the documentation, and the tests of the
dashboard and the alerts. Names follow Prometheus' rules: base units, and `_total` for what only
grows. No label holds an id, a name or an address, so the number of series is bounded by this code.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from p2ptui.core.connection import Method
from p2ptui.core.counters import RoundTrips
from p2ptui.node import Stats

if TYPE_CHECKING:
    from p2ptui.node.cluster import ClusterReport

MAX_LABEL_VALUES: Final = 250
"""Series of one metric; any further ones are summed up as `other`."""

OTHER: Final = "other"


class Reading(NamedTuple):
    """A snapshot of a node, from which all values are taken."""

    stats: Stats
    paths: Mapping[str, int]
    """See `RunningNode.path_kinds`."""
    servers_to_join: int
    version: str
    max_connections: int = 0
    log_lines_lost: int = 0
    cluster: "ClusterReport | None" = None
    """None for a node that is in no cluster: then there are no such metrics."""
    configured_servers_joined: int = 0
    """Of these servers, the number with a session."""


Value: TypeAlias = float | Mapping[str, float] | RoundTrips | None
"""A number; a number for each value of the label; or the buckets of a histogram. None: the metric
is left out."""


class Family(NamedTuple):
    """A metric, and how its value is read. The name, the help text and the labels are an interface:
    dashboards and alerts are written against them."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    read: Callable[[Reading], Value]
    label: str = ""
    """The name of its label, if it has one."""


def bounded(values: Mapping[str, float]) -> dict[str, float]:
    """The first values of a label, and the sum of all others. A counter stays a counter, since the
    values counted first stay first.
    """
    kept: dict[str, float] = dict(islice(values.items(), MAX_LABEL_VALUES))
    if len(values) > len(kept):
        rest = sum(islice(values.values(), MAX_LABEL_VALUES, None))
        kept[OTHER] = kept.get(OTHER, 0.0) + rest
    return kept


def _connections(reading: Reading) -> dict[str, float]:
    """Every result from the start, with 0: a value that was never counted has no rate."""
    told: dict[str, float] = dict.fromkeys(("succeeded", "unanswered", "refused", "failed"), 0)
    told |= {end: count for end, count in reading.stats.connects.items() if end != "begun"}
    return told


def _with(names: tuple[str, ...], values: Mapping[str, int]) -> dict[str, float]:
    told: dict[str, float] = dict.fromkeys(names, 0)
    told.update(values)
    return told


def _sizes(reading: Reading, *, in_bytes: bool) -> dict[str, float]:
    end = "_bytes"
    return {
        name.removesuffix(end): size
        for name, size in reading.stats.sizes.items()
        if name.endswith(end) is in_bytes
    }


def _of_cluster(read: "Callable[[ClusterReport], Value]") -> Callable[[Reading], Value]:
    return lambda reading: None if reading.cluster is None else read(reading.cluster)


def _broker(report: "ClusterReport", *names: str) -> dict[str, float]:
    counted = report.broker.counters
    return {name: counted.get(name, 0) for name in names}


WATCHED_DROPS: Final = ("relay_refused", "rate_limited", "over_share")
"""They are exported as 0 from the start: a series that first appears with a count has no rate."""

_METHODS: Final = tuple(method.value for method in Method if method is not Method.RELAY)

FAMILIES: Final = (
    # The node.
    Family(
        "p2ptui_build_info",
        "gauge",
        "Always 1; the label is the running version.",
        lambda r: {r.version: 1},
        "version",
    ),
    Family(
        "p2ptui_uptime_seconds", "gauge", "How long the node has run.", lambda r: r.stats.uptime_s
    ),
    Family(
        "p2ptui_peers",
        "gauge",
        "Current peers, by the status of their session.",
        lambda r: _with(("authenticated", "handshaking"), r.stats.peers),
        "status",
    ),
    Family(
        "p2ptui_max_connections",
        "gauge",
        "The most sessions that this node takes (server.max_connections).",
        lambda r: r.max_connections,
    ),
    Family(
        "p2ptui_peer_paths",
        "gauge",
        "Current peers, by path: direct (no hole punching was needed), the method of hole punching"
        " that found the path (plain, predicted, birthday), or relay.",
        lambda r: r.paths,
        "path",
    ),
    Family(
        "p2ptui_servers_joined",
        "gauge",
        "Servers with a session that this node asked for, whether server.join names them or not.",
        lambda r: r.stats.servers,
    ),
    Family(
        "p2ptui_servers_configured",
        "gauge",
        "Servers that server.join names.",
        lambda r: r.servers_to_join,
    ),
    Family(
        "p2ptui_configured_servers_joined",
        "gauge",
        "Servers that server.join names and that have a session.",
        lambda r: r.configured_servers_joined,
    ),
    Family(
        "p2ptui_log_lost_lines_total",
        "counter",
        "Lines that could not be written to the log file, for example because the disk is full.",
        lambda r: r.log_lines_lost,
    ),
    # Connections.
    Family(
        "p2ptui_connection_attempts_total",
        "counter",
        "Outgoing handshakes begun.",
        lambda r: r.stats.connects.get("begun", 0),
    ),
    Family(
        "p2ptui_connections_total",
        "counter",
        "Outgoing handshakes that have ended, by result: succeeded, elsewhere"
        " (the node was reached at another address first), unanswered, refused, unfit (its answer"
        " was not acceptable), given_up (the caller no longer waits) or failed.",
        _connections,
        "result",
    ),
    Family(
        "p2ptui_handshakes_accepted_total",
        "counter",
        "Incoming handshakes accepted.",
        lambda r: r.stats.handshakes_accepted,
    ),
    Family(
        "p2ptui_handshakes_refused_total",
        "counter",
        "Incoming handshakes refused, by the rule of [security] that refused them; other: for any"
        " other reason, such as another network id or a full peer table.",
        lambda r: _with((OTHER,), r.stats.refusals),
        "reason",
    ),
    # Direct paths.
    Family(
        "p2ptui_path_rounds_total",
        "counter",
        "Rounds of hole punching, by the method that was planned.",
        lambda r: _with(_METHODS, r.stats.rounds),
        "method",
    ),
    Family(
        "p2ptui_paths_found_total",
        "counter",
        "Direct paths that hole punching found, by the method that found them.",
        lambda r: _with(_METHODS, r.stats.paths_won),
        "method",
    ),
    Family(
        "p2ptui_paths_lost_total",
        "counter",
        "Direct paths that fell silent and were given up.",
        lambda r: r.stats.paths_lost,
    ),
    Family(
        "p2ptui_port_predictions_total",
        "counter",
        "Predictions of the next port of this node's NAT, each checked against the next sample"
        " request before a round, by outcome. p2ptui_paths_found_total and"
        " p2ptui_path_rounds_total, method predicted, show whether predicted ports lead to paths.",
        lambda r: _with(("right", "wrong"), r.stats.predictions),
        "outcome",
    ),
    Family(
        "p2ptui_ping_round_trip_seconds",
        "histogram",
        "Round trips of Pings to peers.",
        lambda r: r.stats.round_trips,
    ),
    # Traffic of the protocol.
    Family(
        "p2ptui_received_datagrams_total",
        "counter",
        "Datagrams received by the protocol.",
        lambda r: r.stats.datagrams_in,
    ),
    Family(
        "p2ptui_sent_datagrams_total",
        "counter",
        "Datagrams sent by the protocol.",
        lambda r: r.stats.datagrams_out,
    ),
    Family(
        "p2ptui_received_bytes_total",
        "counter",
        "Bytes of datagrams received.",
        lambda r: r.stats.bytes_in,
    ),
    Family(
        "p2ptui_sent_bytes_total",
        "counter",
        "Bytes of datagrams sent.",
        lambda r: r.stats.bytes_out,
    ),
    Family(
        "p2ptui_received_messages_total",
        "counter",
        "Messages accepted from authenticated peers, Acks included.",
        lambda r: r.stats.messages_in,
    ),
    Family(
        "p2ptui_sent_messages_total",
        "counter",
        "Messages sent to peers.",
        lambda r: r.stats.messages_out,
    ),
    Family(
        "p2ptui_delivered_messages_total",
        "counter",
        "Data messages delivered to this node's user.",
        lambda r: r.stats.delivered,
    ),
    Family(
        "p2ptui_duplicate_messages_total",
        "counter",
        "Messages that arrived again and were not delivered again.",
        lambda r: r.stats.duplicates,
    ),
    Family(
        "p2ptui_retransmitted_datagrams_total",
        "counter",
        "Datagrams sent again because no acknowledgement came.",
        lambda r: r.stats.retransmissions,
    ),
    Family(
        "p2ptui_forwarded_messages_total",
        "counter",
        "Routed messages forwarded to other nodes.",
        lambda r: r.stats.forwarded,
    ),
    Family(
        "p2ptui_relayed_datagrams_total",
        "counter",
        "Datagrams relayed between peers of this server.",
        lambda r: r.stats.relayed,
    ),
    Family(
        "p2ptui_stun_responses_total",
        "counter",
        "Answers to STUN requests.",
        lambda r: r.stats.stun_replies,
    ),
    Family(
        "p2ptui_dropped_total",
        "counter",
        "Data that was not processed, not sent or not kept, by cause; docs/drops.md explains each."
        " Three causes that alerts watch are exported even while they are 0: relay_refused,"
        " rate_limited and over_share.",
        lambda r: _with(WATCHED_DROPS, r.stats.drops),
        "cause",
    ),
    Family(
        "p2ptui_grants_total",
        "counter",
        "Permissions to send an address more than the bytes received from it pay for, by reason.",
        lambda r: {reason: use.granted for reason, use in r.stats.grants.items()},
        "reason",
    ),
    Family(
        "p2ptui_granted_datagrams_total",
        "counter",
        "Datagrams sent with such permissions, by reason.",
        lambda r: {reason: use.datagrams for reason, use in r.stats.grants.items()},
        "reason",
    ),
    Family(
        "p2ptui_granted_bytes_total",
        "counter",
        "Bytes of these datagrams, by reason.",
        lambda r: {reason: use.bytes for reason, use in r.stats.grants.items()},
        "reason",
    ),
    Family(
        "p2ptui_grant_refused_datagrams_total",
        "counter",
        "Datagrams not sent because such a permission was too small, by reason.",
        lambda r: {reason: use.refused for reason, use in r.stats.grants.items()},
        "reason",
    ),
    # How full it is.
    Family(
        "p2ptui_table_entries",
        "gauge",
        "Entries in each table that others can fill, except most tables in which the oldest entry"
        " makes room without harm; docs/limits.md has all limits.",
        lambda r: _sizes(r, in_bytes=False),
        "table",
    ),
    Family(
        "p2ptui_buffer_bytes",
        "gauge",
        "Bytes in each buffer that others can fill.",
        lambda r: _sizes(r, in_bytes=True),
        "buffer",
    ),
    # The socket.
    Family(
        "p2ptui_socket_received_datagrams_total",
        "counter",
        "Datagrams received through the UDP socket.",
        lambda r: r.stats.socket.datagrams_in,
    ),
    Family(
        "p2ptui_socket_sent_datagrams_total",
        "counter",
        "Datagrams sent through the UDP socket.",
        lambda r: r.stats.socket.datagrams_out,
    ),
    Family(
        "p2ptui_socket_received_bytes_total",
        "counter",
        "Bytes received through the UDP socket.",
        lambda r: r.stats.socket.bytes_in,
    ),
    Family(
        "p2ptui_socket_sent_bytes_total",
        "counter",
        "Bytes sent through the UDP socket.",
        lambda r: r.stats.socket.bytes_out,
    ),
    Family(
        "p2ptui_socket_receive_errors_total",
        "counter",
        "Errors read from the UDP socket, such as ICMP refusals.",
        lambda r: r.stats.socket.receive_errors,
    ),
    Family(
        "p2ptui_socket_send_errors_total",
        "counter",
        "Sends that the system refused, by the name of the error.",
        lambda r: r.stats.socket.send_errors,
        "error",
    ),
    Family(
        "p2ptui_socket_dropped_datagrams_total",
        "counter",
        "Datagrams dropped at the socket: received faster than they were read (in), or no room in"
        " the send queue (out).",
        lambda r: {"in": r.stats.socket.dropped_in, "out": r.stats.socket.dropped_out},
        "direction",
    ),
    Family(
        "p2ptui_socket_backlog_datagrams",
        "gauge",
        "Datagrams waiting to be sent.",
        lambda r: r.stats.socket.backlog,
    ),
    # Several servers of one network; only where [cluster] names a broker.
    Family(
        "p2ptui_cluster_link_up",
        "gauge",
        "1 while this server is linked to the broker, else 0.",
        _of_cluster(lambda c: int(c.broker.is_up)),
    ),
    Family(
        "p2ptui_cluster_complete",
        "gauge",
        "1 once this server has read the list of nodes from the broker, else 0.",
        _of_cluster(lambda c: int(c.cluster.is_complete)),
    ),
    Family(
        "p2ptui_cluster_servers",
        "gauge",
        "Other servers of the network that are up.",
        _of_cluster(lambda c: len(c.cluster.servers)),
    ),
    Family(
        "p2ptui_cluster_nodes",
        "gauge",
        "Nodes of the network: here, as announced to the other servers, and elsewhere.",
        _of_cluster(lambda c: {"here": c.cluster.entries, "elsewhere": c.cluster.nodes}),
        "place",
    ),
    Family(
        "p2ptui_cluster_entries_due",
        "gauge",
        "Changes not yet announced to the other servers.",
        _of_cluster(lambda c: c.cluster.entries_due),
    ),
    Family(
        "p2ptui_cluster_handovers_total",
        "counter",
        "Messages for nodes of other servers, by result: sent to another server, taken from one, or"
        " failed. Messages that came back unsent are counted as sent too.",
        _of_cluster(
            lambda c: {
                "sent": c.cluster.given,
                "taken": c.cluster.taken,
                "failed": c.cluster.failed,
            }
        ),
        "result",
    ),
    Family(
        "p2ptui_cluster_returned_handovers_total",
        "counter",
        "Messages for nodes of other servers that came back unsent, since the link to the broker"
        " broke or was full. They are sent again, or fail.",
        _of_cluster(lambda c: c.cluster.returned),
    ),
    Family(
        "p2ptui_cluster_waiting_messages",
        "gauge",
        "Messages waiting for the link to the broker.",
        _of_cluster(lambda c: c.cluster.waiting),
    ),
    Family(
        "p2ptui_cluster_waiting_bytes",
        "gauge",
        "Bytes of these messages.",
        _of_cluster(lambda c: c.cluster.waiting_bytes),
    ),
    Family(
        "p2ptui_cluster_links_total",
        "counter",
        "Times that the link to the broker came up.",
        _of_cluster(lambda c: _broker(c, "links")["links"]),
    ),
    Family(
        "p2ptui_cluster_broker_messages_total",
        "counter",
        "Exchanged with the broker: entries put and refused, messages published, entries and"
        " messages that arrived, and messages dropped on the way in and out.",
        _of_cluster(
            lambda c: _broker(
                c, "puts", "refused", "published", "arrived", "dropped_in", "dropped_out"
            )
        ),
        "what",
    ),
    Family(
        "p2ptui_cluster_broker_round_trip_seconds",
        "gauge",
        "The last round trip to the broker.",
        _of_cluster(lambda c: c.broker.round_trip_s),
    ),
)
"""Every metric of a node, in the order in which it is shown."""
