"""Every option of a node: its place, default, meaning, unit and bounds.

A `Config` is immutable and valid: it cannot be built from values that make no sense
together. Files and the environment are read by `p2ptui.config.load`, and
`p2ptui.config.render` prints.
"""

import uuid
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from p2ptui.config.cluster_section import CLUSTER_RULES, CLUSTER_WARNINGS, ClusterOptions
from p2ptui.config.files_section import FilesOptions
from p2ptui.config.listening import listen_address_for
from p2ptui.config.metrics_section import MetricsOptions
from p2ptui.config.nat_sections import (
    NAT_SHORTHANDS,
    STUN_RULES,
    IceOptions,
    NatDetectionOptions,
    PortPredictionOptions,
    StunServerOptions,
    TrafficForwardingOptions,
)
from p2ptui.config.option import (
    COUNT,
    DAY_S,
    GIB,
    HOUR_MS,
    JOINED_ADDRESS,
    LISTEN_ADDRESS,
    About,
    Form,
    OptionTable,
    Section,
    require,
)
from p2ptui.config.security_section import KEY_RULES, KeyOptions
from p2ptui.config.ui_section import UiOptions
from p2ptui.errors import ConfigError
from p2ptui.secure.secret import Secret
from p2ptui.wire.address import MAX_PORT, parse_address

LogLevel: TypeAlias = Literal["trace", "debug", "info", "warn", "error"]


def _check_node_id(text: str) -> None:
    if text and str(uuid.UUID(text)) != text.lower():
        raise ValueError


def _check_network_id(text: str) -> None:
    if not 1 <= len(text) <= 255:
        raise ValueError


_NODE_ID = Form("a UUID, or empty", _check_node_id)
_NETWORK_ID = Form("text of 1 to 255 characters", _check_network_id)


class ServerOptions(Section, frozen=True, kw_only=True):
    """The node itself: its address, the servers it joins, its timeouts."""

    address: Annotated[
        str,
        About(
            "The address to listen on. Where nothing sets it, a node that joins a server on another"
            " machine takes any free port of all addresses instead.",
            form=LISTEN_ADDRESS,
            aliases=("listen_address",),
        ),
    ] = "127.0.0.1:8080"
    max_connections: Annotated[
        int, About("Connected peers, at most; newcomers beyond are refused.", "peers", 1, COUNT)
    ] = 100
    heartbeat_interval: Annotated[
        float, About("A peer that was silent this long is sent a Ping.", "s", 0.01, DAY_S)
    ] = 30.0
    connection_timeout: Annotated[
        float, About("A peer that was silent this long is lost.", "s", 0.01, DAY_S)
    ] = 60.0
    discovery_port_range: Annotated[
        tuple[int, int],
        About("First and last port on which to look for nodes nearby.", "ports", 1, MAX_PORT),
    ] = (8081, 8090)
    enable_discovery: Annotated[
        bool, About("Look for nodes of the same network on this machine and its subnets.")
    ] = True
    discovery_interval: Annotated[
        float, About("The time between two looks for nodes nearby.", "s", 0.01, DAY_S)
    ] = 60.0
    network_id: Annotated[
        str, About("Only nodes with the same network id talk to each other.", form=_NETWORK_ID)
    ] = "p2p_default"
    peerlist_broadcast_debounce_ms: Annotated[
        int,
        About(
            "A change among the peers waits this long, to be told together with others.",
            "ms",
            0,
            HOUR_MS,
        ),
    ] = 300
    peerlist_broadcast_max_wait_ms: Annotated[
        int,
        About(
            "A change among the peers waits this long at most, however many follow.",
            "ms",
            0,
            HOUR_MS,
        ),
    ] = 1500
    name: Annotated[
        str,
        About("The name that others see; empty: p2ptui- and the start of the id.", max_length=64),
    ] = ""
    node_id: Annotated[
        str,
        About(
            "The node's id, a UUID, but none of version 8; empty: the one of its identity.",
            form=_NODE_ID,
        ),
    ] = ""
    join: Annotated[
        tuple[str, ...],
        About("Nodes to join at start.", max_length=64, form=JOINED_ADDRESS),
    ] = ()
    stats_interval: Annotated[
        float, About("The time between two lines of statistics; 0: none.", "s", 0, DAY_S)
    ] = 300.0
    max_message_size: Annotated[
        int, About("The JSON of one message, at most, in both directions.", "bytes", 1024, GIB)
    ] = 1_048_576
    datagram_budget: Annotated[
        int,
        # 576: what every IPv4 host must take; 65507: the most that UDP over IPv4 carries.
        About("Larger messages are cut into datagrams of this size.", "bytes", 576, 65_507),
    ] = 1200  # below any usual path MTU, so that nothing is fragmented by IP
    datagram_ceiling: Annotated[
        int,
        About(
            "Datagrams to peers that answer probes grow to this size, where the path carries it and"
            " much is to be sent; datagram_budget or less: they never grow.",
            "bytes",
            576,
            65_507,
        ),
    ] = 8972  # a packet of 9,000 bytes, the largest that is usual
    event_queue_size: Annotated[
        int, About("Events other than Data that may wait for a slow reader.", "events", 1, COUNT)
    ] = 10_000
    echo: Annotated[
        Literal["deployed", "all", "none"],
        About(
            "Whose Data is answered with an echo: of peers that did not announce no_echo, as all"
            " deployed clients; of all peers, of which echoes are expected in turn; of none."
        ),
    ] = "deployed"
    verbose_logging: Annotated[bool, About("Log at level debug, as in [logging].")] = False


class ReliabilityOptions(Section, frozen=True, kw_only=True):
    """Acknowledgements, retransmission and reassembly."""

    initial_rto_ms: Annotated[
        int, About("Retransmission time-out before a round trip was seen.", "ms", 1, HOUR_MS)
    ] = 500  # RFC 8489, section 6.2.1
    min_rto_ms: Annotated[int, About("Retransmission time-out, at least.", "ms", 1, HOUR_MS)] = 50
    max_rto_ms: Annotated[int, About("Retransmission time-out, at most.", "ms", 1, HOUR_MS)] = 8000
    max_tries: Annotated[
        int, About("Sends of one datagram before it is given up.", "sends", 1, 100)
    ] = 6
    max_queued_bytes: Annotated[
        int, About("What may wait to be sent to one peer.", "bytes", 1024, GIB)
    ] = 4 << 20
    resend_buffer_bytes: Annotated[
        int, About("Kept for each peer to answer its Retransmit.", "bytes", 0, GIB)
    ] = 262_144
    reader_bytes: Annotated[
        int,
        About(
            "Data that may wait for one slow reader; half of it of one sender.",
            "bytes",
            1024,
            64 * GIB,
        ),
    ] = 16 << 20
    reassembly_bytes_per_peer: Annotated[
        int, About("Incomplete messages from one peer, at most.", "bytes", 1024, GIB)
    ] = 2 << 20
    reassembly_bytes_total: Annotated[
        int, About("Incomplete messages from all peers, at most.", "bytes", 1024, 64 * GIB)
    ] = 64 << 20
    reassembly_timeout: Annotated[
        float, About("An incomplete message is dropped after this time.", "s", 0.01, DAY_S)
    ] = 30.0
    initial_window: Annotated[
        int, About("Unacknowledged datagrams to a new peer.", "datagrams", 1, 65_536)
    ] = 10  # RFC 6928
    max_window: Annotated[
        int, About("Unacknowledged datagrams to one peer, at most.", "datagrams", 1, 65_536)
    ] = 512
    reorder_wait_ms: Annotated[
        int, About("A gap may fill by itself before a Retransmit is sent.", "ms", 0, HOUR_MS)
    ] = 20
    retransmit_requests: Annotated[
        int, About("Retransmits sent for one gap, at most.", "requests", 0, 100)
    ] = 3


class RoutingOptions(Section, frozen=True, kw_only=True):
    """Messages to nodes that are not connected directly."""

    max_hops: Annotated[
        int, About("Hops of a routed message before it is dropped.", "hops", 1, 255)
    ] = 8
    route_lifetime: Annotated[
        float, About("A route that nothing confirmed is forgotten.", "s", 0.01, DAY_S)
    ] = 300.0
    seen_lifetime: Annotated[
        float, About("A routed message is known as a duplicate this long.", "s", 0.01, DAY_S)
    ] = 300.0
    max_routes: Annotated[int, About("Routes kept, at most.", "routes", 1, COUNT)] = 10_000
    max_seen: Annotated[
        int, About("Routed messages known as duplicates, at most.", "messages", 1, COUNT)
    ] = 20_000
    flood_fanout: Annotated[
        int, About("Peers that get a message to which no route is known.", "peers", 0, 255)
    ] = 8
    flood_rate: Annotated[
        int, About("Messages handed on without a route, at most.", "messages/s", 0, COUNT)
    ] = 100
    introductions_max: Annotated[
        int, About("Peers known by introduction only, at most.", "peers", 0, COUNT)
    ] = 256
    introduction_probe_ports: Annotated[
        int, About("Ports probed at an introduced peer, at most.", "ports", 1, 1024)
    ] = 4


class SecurityOptions(KeyOptions, frozen=True, kw_only=True):
    """This node's identity, the nodes it lets in, and the limits for strangers."""

    enable_authentication: Annotated[
        bool,
        About("Accepted for existing files; nothing is ever served without a handshake."),
    ] = True
    auth_timeout: Annotated[
        float, About("A handshake that takes longer is given up.", "s", 0.01, DAY_S)
    ] = 10.0
    max_unauthenticated_connections: Annotated[
        int, About("Unfinished handshakes kept, at most.", "handshakes", 1, COUNT)
    ] = 100
    enable_rate_limiting: Annotated[
        bool, About("Limit what one address may ask before its handshake.")
    ] = True
    max_requests_per_ip: Annotated[
        int,
        About("Datagrams taken from one address before its handshake.", "datagrams/s", 1, COUNT),
    ] = 1000  # not 10, as files in the field say: a whole office shares one address
    unvouched_bytes_per_minute: Annotated[
        int,
        About(
            "Sent to one peer for requests that somebody else may have sent in its name, beyond"
            " three times their own size.",
            "bytes/min",
            10_000,
            10**9,
        ),
    ] = 262_144  # four lists of a hundred nodes at once, and as many within the minute
    max_share_per_address: Annotated[
        float,
        About(
            "Of each table that others fill, peers included, what one address may hold; an IPv6"
            " address counts as its /64. This machine's own programs are not counted. By default an"
            " office behind one address needs max_connections of twice its number of nodes.",
            "of the whole",
            0.01,
            1.0,
        ),
    ] = 0.5
    max_share_per_prefix: Annotated[
        float,
        About(
            "The same for one /24, or /48 of IPv6; private addresses count as no prefix.",
            "of the whole",
            0.01,
            1.0,
        ),
    ] = 0.75


class LoggingOptions(Section, frozen=True, kw_only=True):
    """What is logged, in which format, and where."""

    level: Annotated[LogLevel, About("The least important level that is logged.")] = "info"
    verbose_logging: Annotated[
        bool, About("Log at level debug, unless the level is lower already.")
    ] = False
    format: Annotated[
        Literal["pretty", "json"], About("Lines for people, or one JSON object a line.")
    ] = "pretty"
    log_to_file: Annotated[bool, About("Log to a file too.")] = False
    log_file_path: Annotated[
        str, About("That file; empty: in the user's directory for logs.", max_length=4096)
    ] = ""
    max_log_file_size: Annotated[
        int, About("A file that has grown to this size is put aside.", "MB", 1, 100_000)
    ] = 100
    max_log_files: Annotated[
        int, About("Log files kept, the current one included.", "files", 1, 1000)
    ] = 5


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All options of a node; `Config()` has the defaults. A `Config` never changes.

    docs/configuration.md lists the options of each section.

    Raises:
        ConfigError: A value is out of bounds, or two do not go together.
    """

    server: ServerOptions = ServerOptions()
    reliability: ReliabilityOptions = ReliabilityOptions()
    routing: RoutingOptions = RoutingOptions()
    security: SecurityOptions = SecurityOptions()
    logging: LoggingOptions = LoggingOptions()
    ui: UiOptions = UiOptions()
    files: FilesOptions = FilesOptions()
    cluster: ClusterOptions = ClusterOptions()
    metrics: MetricsOptions = MetricsOptions()
    traffic_forwarding: TrafficForwardingOptions = TrafficForwardingOptions()
    stun_server: StunServerOptions = StunServerOptions()
    nat_detection: NatDetectionOptions = NatDetectionOptions()
    port_prediction: PortPredictionOptions = PortPredictionOptions()
    ice: IceOptions = IceOptions()
    network_key: Secret | None = None
    """The network key, if it is in the environment. It cannot be in a configuration file or on
    the command line, and is never shown."""
    signed_by: str | None = None
    """For the node of a one-shot command: the file of the user's lasting identity, which signs
    whose node it is; empty: the usual file. None: nothing is signed."""

    def __post_init__(self) -> None:
        for option in OPTIONS.options:
            option.accept(option.value_in(self), option.path)
        for lesser, greater in ASCENDING:
            low, high = attrgetter(lesser, greater)(self)
            if low > high:
                raise ConfigError(f"{lesser} = {low} must not exceed {greater} = {high}")
        require(RULES, self)
        require(STUN_RULES, self.stun_server, self.server.address)
        require(KEY_RULES, self.security, self.network_key, self.server.node_id)
        require(CLUSTER_RULES, self.cluster)

    def with_options(self, **options: object) -> "Config":
        """Return a copy with other values, which are checked.

        Args:
            options: Values by the names of options, aliases included: `max_hops=4`. If several
                sections have an option of this name, the one in [server] is meant; if it is not
                in [server], give the section: `ice={"enable": False}`.

        Raises:
            ConfigError: A name is unknown or ambiguous, or a value is not accepted.
        """
        tree = {OPTIONS.path_of(name): value for name, value in options.items()}
        return self.with_values(OPTIONS.settle(tree, ""))

    def with_values(self, values: Mapping[str, Any]) -> "Config":
        """Return a copy with other values by option path: `{"server.name": "alice"}`.

        If this sets `server.join`, and `server.address` was never set, the node will listen where
        it can reach these servers.

        Args:
            values: Values as `OptionTable.settle` returns them.

        Raises:
            ConfigError: Two values do not go together.
        """
        changed = _replaced(self, values)
        default = ServerOptions().address
        is_unsaid = "server.address" not in values and self.server.address == default
        if "server.join" in values and is_unsaid:
            address = listen_address_for(changed.server.join, default)
            return _replaced(changed, {"server.address": address})
        return changed


OPTIONS = OptionTable(
    {
        "server": ServerOptions,
        "reliability": ReliabilityOptions,
        "routing": RoutingOptions,
        "security": SecurityOptions,
        "logging": LoggingOptions,
        "ui": UiOptions,
        "files": FilesOptions,
        "cluster": ClusterOptions,
        "metrics": MetricsOptions,
        "traffic_forwarding": TrafficForwardingOptions,
        "stun_server": StunServerOptions,
        "nat_detection": NatDetectionOptions,
        "port_prediction": PortPredictionOptions,
        "ice": IceOptions,
        "ice.port_prediction": PortPredictionOptions,
    },
    NAT_SHORTHANDS,
)
"""Every option of a `Config`, in the order in which they are printed."""

ASCENDING = (
    ("reliability.min_rto_ms", "reliability.initial_rto_ms"),
    ("reliability.initial_rto_ms", "reliability.max_rto_ms"),
    ("reliability.initial_window", "reliability.max_window"),
    ("server.max_message_size", "reliability.max_queued_bytes"),
    ("server.max_message_size", "reliability.reader_bytes"),
    ("server.max_message_size", "reliability.reassembly_bytes_per_peer"),
    ("reliability.reassembly_bytes_per_peer", "reliability.reassembly_bytes_total"),
    ("security.max_share_per_address", "security.max_share_per_prefix"),
    ("port_prediction.port_range_min", "port_prediction.port_range_max"),
    ("ice.port_prediction.port_range_min", "ice.port_prediction.port_range_max"),
)
"""Options of which the first must not exceed the second."""


def _discovery_ports(config: Config) -> str:
    """The first port of `server.discovery_port_range` must not exceed the last."""
    first, last = config.server.discovery_port_range
    return f"server.discovery_port_range: {first} must not exceed {last}" if first > last else ""


RULES = (_discovery_ports,)
"""Of the whole configuration; those of one section are beside it."""


def prediction_options(config: Config) -> PortPredictionOptions:
    """The port prediction that counts: files have it in two places, and that in ICE is nearer."""
    of_ice = config.ice.port_prediction
    return config.port_prediction if of_ice == PortPredictionOptions() else of_ice


def _no_handshake(config: Config) -> str:
    """`security.enable_authentication = false` has no effect: a handshake is always needed."""
    if config.security.enable_authentication:
        return ""
    return (
        "security.enable_authentication = false is ignored: nothing is served without a handshake"
    )


def _late_heartbeat(config: Config) -> str:
    """`server.heartbeat_interval` is not below `server.connection_timeout`: quiet peers will be
    lost.
    """
    server = config.server
    if server.heartbeat_interval < server.connection_timeout:
        return ""
    return (
        f"server.heartbeat_interval = {server.heartbeat_interval} s is not below "
        f"server.connection_timeout = {server.connection_timeout} s: quiet peers will be lost"
    )


def _long_debounce(config: Config) -> str:
    """`server.peerlist_broadcast_debounce_ms` exceeds `server.peerlist_broadcast_max_wait_ms`: the
    latter counts.
    """
    server = config.server
    if server.peerlist_broadcast_debounce_ms <= server.peerlist_broadcast_max_wait_ms:
        return ""
    return (
        f"server.peerlist_broadcast_debounce_ms = {server.peerlist_broadcast_debounce_ms} "
        "exceeds server.peerlist_broadcast_max_wait_ms = "
        f"{server.peerlist_broadcast_max_wait_ms}: the latter is what counts"
    )


WARNINGS = (_no_handshake, _late_heartbeat, _long_debounce)
"""Of the whole configuration: what is allowed but will surprise."""


def config_warnings(config: Config) -> list[str]:
    """What is allowed but will surprise, one line each."""
    listens = parse_address(config.server.address)[0]
    found = [
        *(rule(config) for rule in WARNINGS),
        *(rule(config.cluster, listens) for rule in CLUSTER_WARNINGS),
    ]
    return [warning for warning in found if warning]


_StructT = TypeVar("_StructT", bound=msgspec.Struct)


def _replaced(struct: _StructT, values: Mapping[str, Any]) -> _StructT:
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            changes[name] = value
    for name, inner_values in inner.items():
        changes[name] = _replaced(getattr(struct, name), inner_values)
    return msgspec.structs.replace(struct, **changes)
