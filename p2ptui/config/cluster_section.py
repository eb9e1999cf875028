"""The options of a server that shares its network with others, by way of a NATS broker."""

import ipaddress
from typing import Annotated, Final

from p2ptui.config.broker_url import BROKER_URL, HIDDEN, shown_broker, split_broker
from p2ptui.config.option import COUNT, About, Form, Section
from p2ptui.wire.address import is_wildcard, parse_ip_address


def _check_advertised(text: str) -> None:
    if not text:
        return
    address = parse_ip_address(text)
    if address is None or is_wildcard(address[0]):
        raise ValueError  # clients look up no name that a server tells them


_ADVERTISED: Final = Form(
    "IP:PORT or [IPV6]:PORT, no host name and not all addresses, or empty", _check_advertised
)


class ClusterOptions(Section, frozen=True, kw_only=True):
    """Several servers of one network, through a NATS broker with JetStream; off by default."""

    servers: Annotated[
        tuple[str, ...],
        About(
            "The broker: its NATS servers, any of which will do; tls:// insists on TLS. Empty: this"
            " node serves its network alone. A user and password may stand before the host, as in"
            " nats://USER:PASSWORD@HOST; they are never shown.",
            max_length=16,
            form=BROKER_URL,
            shown=shown_broker,
        ),
    ] = ()
    name: Annotated[
        str,
        About("What the other servers call this one; empty: as server.name.", max_length=64),
    ] = ""
    address: Annotated[
        str,
        About(
            "Where clients of the other servers reach this one: an IP address and a port, no host"
            " name; empty: where it listens, unless that is all addresses.",
            form=_ADVERTISED,
        ),
    ] = ""
    credentials: Annotated[
        str,
        About("The file that proves who this server is: .creds, or an nkey.", max_length=4096),
    ] = ""
    tls_ca: Annotated[
        str,
        About(
            "The file with the certificates that vouch for the broker's; empty: the system's.",
            max_length=4096,
        ),
    ] = ""
    tls_cert: Annotated[
        str,
        About("The file with this server's own certificate, if the broker asks.", max_length=4096),
    ] = ""
    tls_key: Annotated[str, About("The file with its key.", max_length=4096)] = ""
    max_nodes: Annotated[
        int, About("Nodes of other servers known here, and in the bucket.", "nodes", 1, COUNT)
    ] = 200_000
    heartbeat: Annotated[
        float,
        About(
            "Each node is told of anew after this time, and forgotten after three of it; the same"
            " on all servers of a network.",
            "s",
            0.1,
            3600,
        ),
    ] = 30.0


def _certificate_without_key(options: ClusterOptions) -> str:
    """`cluster.tls_cert` and `cluster.tls_key` must be set together."""
    if bool(options.tls_cert) == bool(options.tls_key):
        return ""
    missing = "tls_key" if options.tls_cert else "tls_cert"
    return (
        "cluster.tls_cert and cluster.tls_key go together: a certificate is of no use without"
        f" its key; set cluster.{missing} too"
    )


def _masked_password(options: ClusterOptions) -> str:
    """A URL in `cluster.servers` must not hold `***`, which `--print-config` writes for a user and
    password.
    """
    if all(split_broker(url).username != HIDDEN for url in options.servers):
        return ""
    return (
        f"cluster.servers: the user and password were hidden as {HIDDEN} when this was"
        " printed; write them in again"
    )


def _two_credentials(options: ClusterOptions) -> str:
    """`cluster.credentials` excludes a user, password or token in `cluster.servers`."""
    if not options.credentials or all(
        split_broker(url).username is None for url in options.servers
    ):
        return ""
    return (
        "cluster.credentials is set, and cluster.servers holds a user or token too; leave one out"
    )


def _certificates_without_tls(options: ClusterOptions) -> str:
    """`cluster.tls_ca` and `cluster.tls_cert` need `tls://` in each URL of `cluster.servers`."""
    if not (options.tls_ca or options.tls_cert) or all(
        split_broker(url).scheme == "tls" for url in options.servers
    ):
        return ""
    return (
        "cluster.tls_ca or cluster.tls_cert is set, and a URL in cluster.servers does not"
        " begin with tls://: a man in the middle could strip TLS; write tls://"
    )


CLUSTER_RULES: Final = (
    _certificate_without_key,
    _masked_password,
    _two_credentials,
    _certificates_without_tls,
)
"""Of the section."""


def _unreachable_cluster_node(options: ClusterOptions, listens: str) -> str:
    """`cluster.servers` is set, `server.address` is all addresses, and `cluster.address` is empty:
    clients of the other servers are not told where to reach this one.
    """
    if not options.servers or options.address or listens not in ("0.0.0.0", "::"):
        return ""
    return (
        "cluster.address is not set, and this node listens on all addresses: clients of the"
        " other servers are not told where to reach it; set cluster.address"
    )


def _readable_password(options: ClusterOptions, _listens: str) -> str:
    """`cluster.servers` holds a password for a broker on another machine without `tls://`: anybody
    on the path can read it.
    """
    if not any(_gives_away(url) for url in options.servers):
        return ""
    return (
        "cluster.servers gives a password to a broker on another machine without TLS: anybody"
        " on the path can read it; write tls://"
    )


CLUSTER_WARNINGS: Final = (_unreachable_cluster_node, _readable_password)
"""Of the section and the host of `server.address`: what is allowed but will surprise."""


def _gives_away(url: str) -> bool:
    broker = split_broker(url)
    if broker.username is None or broker.scheme == "tls":
        return False
    return not _is_here(broker.hostname or "")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
