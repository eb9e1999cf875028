"""The options of what gets traffic past NATs: STUN, detection, relaying, prediction, ICE."""

import ipaddress
import uuid
from collections.abc import Mapping
from typing import Annotated, Final

from p2ptui.config.option import (
    COUNT,
    DAY_S,
    GIB,
    HOUR_MS,
    REMOTE_ADDRESS,
    About,
    Form,
    Option,
    Section,
    Shorthand,
    address_form,
)
from p2ptui.wire.address import MAX_PORT, Address, format_address, parse_address, parse_target
from p2ptui.wire.offer import MAX_OWN, MAX_PREDICTED


def _check_optional_ip(text: str) -> None:
    if text:
        ipaddress.ip_address(text)


def _split_stun_address(text: str) -> Address:
    """Host and port; the host is empty where it is the one that the node listens on."""
    if text.startswith(":"):
        return "", parse_address(f"host{text}")[1]
    return parse_address(text)


def _check_node_id(text: str) -> None:
    if str(uuid.UUID(text)) != text.lower():
        raise ValueError


_NODE_ID = Form("a node id: a UUID, as 01234567-89ab-cdef-0123-456789abcdef", _check_node_id)
_STUN_ADDRESS = address_form(
    "HOST:PORT or [IPV6]:PORT, or :PORT on the host of server.address; port 0 takes any free one",
    _split_stun_address,
)
_OPTIONAL_IP = Form("an IP address, or empty", _check_optional_ip)
_OPTIONAL_REMOTE = address_form(
    "HOST:PORT or [IPV6]:PORT, or empty", parse_target, is_remote=True, may_be_empty=True
)
_STUN_SERVERS = ("stun.l.google.com:19302", "stun1.l.google.com:19302")


class StunServerOptions(Section, frozen=True, kw_only=True):
    """Answers to STUN clients, on the node's own socket and on a separate one."""

    enable: Annotated[bool, About("Answer STUN requests.")] = False
    address: Annotated[str, About("The separate address for STUN.", form=_STUN_ADDRESS)] = ":3478"
    alternate_address: Annotated[
        str,
        About(
            "A second IP address of this machine: clients can then test filtering; empty: none.",
            form=_OPTIONAL_IP,
        ),
    ] = ""
    alternate_port: Annotated[
        int, About("The second port, for the same tests; 0: none.", "port", 0, MAX_PORT)
    ] = 3479
    partner: Annotated[
        str,
        About(
            "Another node that replies from its own address if this one has no second; it must"
            " name this one too; empty: none.",
            form=_OPTIONAL_REMOTE,
        ),
    ] = ""
    software: Annotated[
        # RFC 8489, section 14.14: fewer than 128 characters.
        str, About("Sent as the SOFTWARE attribute; empty: none.", max_length=127)
    ] = "p2ptui"
    timeout_ms: Annotated[
        int, About("How long to wait for a reply of the partner.", "ms", 1, HOUR_MS)
    ] = 5000
    max_concurrent_requests: Annotated[
        int, About("Requests that wait for the partner, at most.", "requests", 1, COUNT)
    ] = 1000
    verbose_logging: Annotated[bool, About("Log each request.")] = False


def stun_address(options: StunServerOptions, host: str) -> Address:
    """The separate address for STUN.

    Args:
        options: The section.
        host: Where the node itself listens; it counts unless another host is named.
    """
    named, port = _split_stun_address(options.address)
    return named or host, port


def _second_address(options: StunServerOptions, listen: str) -> str:
    """`stun_server.alternate_address` must be one address of this machine, of the same IP version
    as the host of `stun_server.address`, and differ from it.
    """
    if not options.alternate_address:
        return ""
    alternate = ipaddress.ip_address(options.alternate_address)
    named = f"stun_server.alternate_address = {options.alternate_address!r}"
    at = format_address(stun_address(options, parse_address(listen)[0]))
    beside = f"stun_server.address = {at!r}"
    main = _literal_ip(at)
    if alternate.is_unspecified or alternate.is_multicast:
        return f"{named} must be a single address of this machine"
    if main is not None and main.version != alternate.version:
        return f"{named} must be IPv{main.version} like {beside}"
    return f"{named} must differ from the host of {beside}" if main == alternate else ""


def _other_partner(options: StunServerOptions, listen: str) -> str:
    """`stun_server.partner` must be one address, and not `server.address`."""
    if not options.partner:
        return ""
    named = f"stun_server.partner = {options.partner!r}"
    partner = _literal_ip(options.partner)
    if partner is not None and (partner.is_unspecified or partner.is_multicast):
        return f"{named} must be the address of a single other node"
    is_itself = parse_address(options.partner) == parse_address(listen)
    return f"{named} is this node itself, as server.address says" if is_itself else ""


STUN_RULES: Final = (_second_address, _other_partner)
"""Of [stun_server], and the node's own address, `server.address`."""


def _literal_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(parse_address(address)[0])
    except ValueError:
        return None  # a name


class NatDetectionOptions(Section, frozen=True, kw_only=True):
    """The diagnosis of the NAT."""

    enable: Annotated[bool, About("Diagnose the NAT at start.")] = True
    stun_servers: Annotated[
        tuple[str, ...], About("STUN servers to ask.", max_length=64, form=REMOTE_ADDRESS)
    ] = _STUN_SERVERS
    detection_timeout_ms: Annotated[
        int,
        About(
            "The longest that a diagnosis takes.", "ms", 1, HOUR_MS, aliases=("detection_timeout",)
        ),
    ] = 10_000
    # Three in the field. At 10 % loss each way one request in 770 would go unanswered then, and
    # the report be inconclusive; with six it is one in 100,000.
    retry_count: Annotated[int, About("Repetitions of one request, at most.", "tries", 0, 100)] = 6
    verbose_logging: Annotated[bool, About("Log each step.")] = False


class TrafficForwardingOptions(Section, frozen=True, kw_only=True):
    """Relaying for peers that cannot reach each other."""

    allow_symmetric_nat_relay: Annotated[
        bool,
        About("Relay for connected peers.", aliases=("server.allow_symmetric_nat_relay",)),
    ] = False
    max_relay_rate_per_client: Annotated[
        int,
        About(
            "The most relayed for one client, by its node id, with bursts of one second's worth.",
            "bytes/s",
            1,
            64 * GIB,
        ),
    ] = 1_048_576
    buffer_size: Annotated[
        int,
        About(
            "How much may wait for one client that is over its rate; more is refused.",
            "bytes",
            1,
            GIB,
        ),
    ] = 65_536
    max_concurrent_relays: Annotated[
        int, About("Pairs of nodes that are relayed at a time, at most.", "relays", 1, COUNT)
    ] = 50
    relay_timeout: Annotated[
        float, About("An idle relay is closed after this time.", "s", 0.01, DAY_S)
    ] = 60.0
    allow: Annotated[
        tuple[str, ...],
        About(
            "Relay only for these nodes, both of a pair; empty: for all.",
            max_length=10_000,
            form=_NODE_ID,
        ),
    ] = ()
    deny: Annotated[
        tuple[str, ...],
        About(
            "Never relay for these nodes, whatever `allow` says.", max_length=10_000, form=_NODE_ID
        ),
    ] = ()


class PortPredictionOptions(Section, frozen=True, kw_only=True):
    """Guessing the next port of a symmetric NAT."""

    enable: Annotated[bool, About("Guess ports.")] = True
    max_predictions: Annotated[
        int,
        About(
            f"Ports guessed, at most; no more than {MAX_PREDICTED} are sent to the other side.",
            "ports",
            1,
            65_536,
        ),
    ] = 10
    min_samples: Annotated[int, About("Ports seen before guessing.", "ports", 1, 65_536)] = 3
    prediction_window: Annotated[
        int, About("Guesses stay within this many flows of the last one.", "flows", 1, 65_536)
    ] = 100
    enable_ipv6: Annotated[bool, About("Guess for IPv6 too.")] = True
    port_range_min: Annotated[int, About("The lowest port to guess.", "port", 0, MAX_PORT)] = 1024
    port_range_max: Annotated[int, About("The highest port to guess.", "port", 0, MAX_PORT)] = (
        MAX_PORT
    )
    prediction_timeout_ms: Annotated[
        int, About("A guess is valid for this long.", "ms", 1, HOUR_MS)
    ] = 5000
    enable_port_verification: Annotated[bool, About("Try a guess before it is used.")] = True
    verification_timeout_ms: Annotated[
        int, About("A try takes this long at most.", "ms", 1, HOUR_MS)
    ] = 1000
    enable_nat_type_optimization: Annotated[bool, About("Guess according to the type of NAT.")] = (
        True
    )


class IceOptions(Section, frozen=True, kw_only=True):
    """The search for a direct path between two peers."""

    enable: Annotated[bool, About("Search for direct paths.")] = True
    stun_servers: Annotated[
        tuple[str, ...], About("STUN servers to ask.", max_length=64, form=REMOTE_ADDRESS)
    ] = _STUN_SERVERS
    gathering_timeout: Annotated[
        int, About("Gathering candidates takes this long at most.", "ms", 1, HOUR_MS)
    ] = 5000
    connectivity_check_timeout: Annotated[
        int, About("Trying pairs takes this long at most.", "ms", 1, HOUR_MS)
    ] = 30_000
    max_candidates: Annotated[
        int,
        About(
            f"Addresses sent to the other side (at most {MAX_OWN}) or tried in a round; the next"
            " round takes the next ones.",
            "candidates",
            1,
            1000,
        ),
    ] = 10
    stun_retry_count: Annotated[
        int, About("Repetitions of one request, at most.", "tries", 0, 100)
    ] = 3
    stun_timeout: Annotated[
        int, About("One request takes this long at most.", "ms", 1, HOUR_MS)
    ] = 5000
    pace_ms: Annotated[float, About("The shortest time between two checks.", "ms", 0.1, 1000)] = 1.0
    max_checks: Annotated[int, About("Checks sent in one round, at most.", "checks", 1, COUNT)] = (
        2000
    )
    birthday_sockets: Annotated[
        int,
        About("Sockets opened for a round of many guesses; 0: no such rounds.", "sockets", 0, 1024),
    ] = 256
    birthday_probes: Annotated[int, About("Ports guessed in such a round.", "ports", 1, 65_536)] = (
        1300
    )
    birthday_seconds: Annotated[
        float, About("The first such round takes this long at most.", "s", 0.1, 60)
    ] = 3.0
    adapt_pace: Annotated[
        bool,
        About(
            "Time offers and checks by the round trip to the server; guess fast at first, then"
            " slowly; look for a limit on new flows, and keep to it."
        ),
    ] = True
    opener_ttl: Annotated[
        int,
        About(
            "Hops of the first datagrams, which open only this node's NAT; 0: send none, and do"
            " not wait for them.",
            "hops",
            0,
            255,
        ),
    ] = 2
    port_prediction: PortPredictionOptions = PortPredictionOptions()


def _port_range(section: str) -> Shorthand:
    low, high = f"{section}.port_range_min", f"{section}.port_range_max"
    about = About("Short for port_range_min and port_range_max.", "ports", 0, MAX_PORT)
    option = Option(f"{section}.port_range", tuple[int, int], (0, MAX_PORT), about)
    return Shorthand(option, lambda ports, _: {low: ports[0], high: ports[1]})


def _stun_port() -> Shorthand:
    about = About("Short for an address of that port.", "port", 0, MAX_PORT)
    path = "stun_server.address"

    def expand(port: int, beside: Mapping[str, str]) -> Mapping[str, str]:
        host, _ = _split_stun_address(beside.get(path, f":{port}"))
        return {path: format_address((host, port))}

    return Shorthand(Option("stun_server.port", int, 3478, about), expand)


NAT_SHORTHANDS = (
    _stun_port(),
    _port_range("port_prediction"),
    _port_range("ice.port_prediction"),
)
