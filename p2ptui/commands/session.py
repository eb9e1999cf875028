"""The node behind a one-shot command, and the way to its target."""

import argparse
import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from p2ptui.commands import CommandParser
from p2ptui.commands.servers import Servers, connect, look_all_up
from p2ptui.commands.target import REJOIN_PAUSE_S, Deadline, Target, tell_changes
from p2ptui.commands.warning import warn
from p2ptui.config import Config
from p2ptui.config.load import files_to_read, load_config
from p2ptui.errors import P2PError, PeerGoneError
from p2ptui.node import Node, PeerView
from p2ptui.wire.address import (
    Address,
    NoInterfaceError,
    format_address,
    ip_version,
    require_interface,
    single_host,
    with_port,
)
from p2ptui.wire.joined import found_for, parse_joined
from p2ptui.wire.message import Capability, NodeInfo

DIRECT_ATTEMPT_S: Final = 5.0
"""How long to try for a session with a node behind a server before reaching it inside messages to
the server. If the server relays, there is one at once."""

DEFAULT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """How to reach the target, according to the arguments."""

    first: Address
    """The first server's address, or the target's own; its host may be a name."""
    wanted: str | None = None
    """The node to ask the servers for."""
    others: tuple[Address, ...] = ()
    """Further servers, in the order in which they are asked."""

    @property
    def servers(self) -> tuple[Address, ...]:
        """All servers that may have to be reached first."""
        return self.first, *self.others


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments by which a target is named."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="HOST:PORT, or HOST:PORT#ID for that node and no other; with --join also a node id,"
        " the beginning of an id, or a name",
    )
    parser.add_argument(
        "--join",
        action="append",
        metavar="HOST:PORT[#ID]",
        help="a server that knows the target (with ID, no other server); may be given several"
        " times, and the next server is asked if one does not know the target",
    )


def command_config(options: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The configuration of a command's node: the user's, without what makes it a server.

    Raises:
        ConfigError: It cannot be used.
    """
    return load_command(options, environ, command_overrides(options))


def load_command(
    options: argparse.Namespace, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Config:
    """The same with other overrides. Unless given another identity, the node makes keys of its own
    and proves whose it is, provided that the user has not switched that off (security.ephemeral).

    Raises:
        ConfigError: It cannot be used.
    """
    config = load_config(files_to_read(options.config), environ, overrides)
    if options.identity is not None:
        return config
    signed_by = None if config.security.ephemeral else config.security.identity
    own_keys = {"security.identity": "", "security.ephemeral": True, "signed_by": signed_by}
    return config.with_values(own_keys)


def command_overrides(options: argparse.Namespace) -> dict[str, object]:
    """The options in which a command's node differs from the configuration, by path."""
    overrides: dict[str, object] = {
        # It comes and goes beside a node that may use the same file.
        "server.node_id": "",
        "server.enable_discovery": False,
        "server.join": [],
        "server.max_connections": Config().server.max_connections,
        "files.receive_into": "",
        "cluster.servers": [],
    }
    if options.identity is not None:
        overrides["security.identity"] = options.identity
        overrides["security.ephemeral"] = False
    if options.network_key_file is not None:
        overrides["security.network_key_file"] = options.network_key_file
    if options.network_id is not None:
        overrides["server.network_id"] = options.network_id
    if getattr(options, "name", None) is not None:
        overrides["server.name"] = options.name
    return overrides


def read_address(text: str, parser: CommandParser) -> Address:
    """Read a `HOST:PORT` to be reached, or exit with the code of wrong usage."""
    address = _read_any_address(text, parser)
    require_reach(address, parser)
    return address


def require_reach(address: Address, parser: CommandParser) -> None:
    """Exit with the code of wrong usage if an address lacks its interface."""
    try:
        require_interface(address)
    except NoInterfaceError as error:
        parser.error(str(error))


def _read_any_address(text: str, parser: CommandParser) -> Address:
    try:
        address = parse_joined(text)
    except ValueError as error:
        parser.error(str(error))
    if address[1] == 0:
        parser.error(f"{text!r}: port 0 is no port to connect to")
    try:
        ipaddress.ip_address(address[0])
    except ValueError:
        return address  # a name, looked up later
    try:
        return found_for(address, single_host(address))
    except ValueError as error:
        parser.error(str(error))


def read_way(options: argparse.Namespace, parser: CommandParser) -> TargetSpec:
    """Read target and server, or exit with the code of wrong usage."""
    text: str = options.target
    if options.join is not None:
        if not text:
            parser.error("the target is empty; give a node id, the beginning of one, or a name")
        first, *others = (_read_any_address(server, parser) for server in options.join)
        return TargetSpec(first, text, tuple(others))
    if ":" not in text and with_port(text) is None:
        parser.error(f"{text!r} is not HOST:PORT; a node id or a name needs --join HOST:PORT")
    return TargetSpec(_read_any_address(text, parser))


@contextlib.asynccontextmanager
async def open_node(config: Config, servers: Sequence[Address]) -> AsyncIterator[Node]:
    """Run a node on a free port, which reaches each of these addresses as far as the system can."""
    has_ipv6 = any(ip_version(host) == 6 for host, _ in servers)
    local = "[::]:0" if has_ipv6 else "0.0.0.0:0"
    async with Node(config.with_options(address=local)) as node:
        tell_unsigned(node)
        yield node


def tell_unsigned(node: Node) -> None:
    """Print on standard error why the node does not prove whose it is, if it should."""
    if node.own_identity.unsigned:
        warn(node.own_identity.unsigned)


@contextlib.asynccontextmanager
async def open_target(
    config: Config, spec: TargetSpec, deadline: Deadline, *, tells_changes: bool = True
) -> AsyncIterator[Target]:
    """Run a node, and connect it to the target.

    Args:
        config: The configuration of the node.
        spec: How the target is reached.
        deadline: When to give up.
        tells_changes: Whether to report nodes that have changed; otherwise the caller does.

    Raises:
        P2PError: The target cannot be found or reached in time.
    """
    first = await look_all_up(spec.servers, deadline)
    async with open_node(config, first) as node:
        if spec.wanted is None:
            reached = await reach(node, first, None, deadline)
            if tells_changes:
                tell_changes(node)
            yield reached
            return
        servers = Servers(node, first, deadline)
        target = await _reach_by(node, servers, spec.wanted, deadline)
        if tells_changes:
            tell_changes(node)
        keeping = asyncio.create_task(_stay_joined(node, target.server, servers.left))
        try:
            yield target
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def _reach_by(node: Node, servers: Servers, wanted: str, deadline: Deadline) -> Target:
    """Connect to a node through a server: one that leaves meanwhile may come back in time.

    Raises:
        P2PError: It cannot be found or reached; if the server has not come back, that it left.
    """
    has_left = False
    began = asyncio.get_running_loop().time()
    while True:
        try:
            return await _reach_wanted(node, servers, wanted, deadline, began)
        except P2PError as error:
            joined = servers.joined
            is_there = joined is None or any(peer.address == joined.address for peer in node.peers)
            has_left |= not is_there
            if not has_left:
                raise
            if deadline.left_s <= REJOIN_PAUSE_S:
                if joined is None or is_there:
                    raise
                where = format_address(joined.address)
                words = f"the server at {where} has left meanwhile; try again"
                raise PeerGoneError(words) from error
        # Others also need a moment to join it again.
        await asyncio.sleep(REJOIN_PAUSE_S)


async def _stay_joined(node: Node, server: Address, addresses: Sequence[Address]) -> None:
    """Join a server again whenever it has left, until cancelled."""
    while True:
        await asyncio.sleep(REJOIN_PAUSE_S)
        if all(peer.address != server for peer in node.peers):
            with contextlib.suppress(P2PError):
                server = (await node.connect_any(addresses, DEFAULT_TIMEOUT_S)).address


async def reach(
    node: Node, first: Sequence[Address], wanted: str | None, deadline: Deadline
) -> Target:
    """Connect to the target.

    Args:
        node: The command's node.
        first: The addresses of the servers, or of the target itself.
        wanted: The node to ask the servers for; None if the target is at `first`.
        deadline: When to give up.

    Raises:
        P2PError: It cannot be found or reached.
    """
    began = asyncio.get_running_loop().time()
    if wanted is None:
        peer = await connect(node, first, deadline)
        return _met(node, peer, peer.address, began)
    return await _reach_wanted(node, Servers(node, first, deadline), wanted, deadline, began)


def _met(
    node: Node, to: PeerView, server: Address, began: float, wanted: str | None = None
) -> Target:
    return Target(
        node,
        to.node_id,
        to.name,
        server,
        is_peer=True,
        began=began,
        capabilities=to.capabilities,
        met=to,
        wanted=wanted or "",
    )


async def _reach_wanted(
    node: Node, servers: Servers, wanted: str, deadline: Deadline, began: float
) -> Target:
    peer, found = await servers.find(wanted)
    if not isinstance(found, NodeInfo):
        return _met(node, await connect(node, found, deadline), peer.address, began)
    if found.node_id == peer.node_id:
        return _met(node, peer, peer.address, began, wanted)
    failure = "it takes no session from another client of the server"
    # A program that does not route takes no handshake from a peer: the attempt ends with
    # the introduction, and that is all there is.
    try:
        met = await node.connect(found.node_id, min(DIRECT_ATTEMPT_S, deadline.left_s))
        if Capability.ROUTING in found.capabilities:
            return _met(node, met, peer.address, began, wanted)
    except P2PError as error:
        if all(one.address != peer.address for one in node.peers):
            raise  # the server has left: there is no other way either
        failure = f"{error}; its messages are routed instead"
    return Target(
        node,
        found.node_id,
        found.name,
        peer.address,
        is_peer=False,
        began=began,
        failure=failure,
        capabilities=found.capabilities,
        wanted=wanted,
    )


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as milliseconds with three decimals."""
    return None if seconds is None else round(seconds * 1000, 3)
