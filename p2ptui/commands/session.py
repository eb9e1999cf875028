"""The node behind a one-shot command, and the way to the target that was named."""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.config.load import load_config
from p2ptui.core.events import Path, PingResult, SendResult
from p2ptui.core.identity import canonical_id
from p2ptui.errors import LocalError, P2PError, UnknownPeerError
from p2ptui.io.resolve import resolve
from p2ptui.node import Node, PeerView
from p2ptui.node.lookup import find_named
from p2ptui.wire.address import Address, format_address, parse_address
from p2ptui.wire.message import Capability

DIRECT_ATTEMPT_S: Final = 2.0
"""How long a direct path to a node behind a server is sought before it is asked by way of it."""

DEFAULT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A node that a command talks to."""

    node: Node
    node_id: str
    name: str
    address: Address
    """Its own where the path is direct, else the server's."""
    is_peer: bool
    """Whether there is a session with it; else it is reached by way of the server."""

    @property
    def path(self) -> Path:
        """How it is reached."""
        return Path.DIRECT if self.is_peer else Path.RELAY

    async def ping(self, timeout_s: float) -> PingResult:
        """Measure one round trip."""
        return await self.node.ping(self.node_id, timeout_s)

    async def send(self, payload: Any, timeout_s: float) -> SendResult:
        """Send one message."""
        if self.is_peer:
            return await self.node.send(self.node_id, payload, timeout_s=timeout_s)
        return await self.node.send_routed(self.node_id, payload, timeout_s=timeout_s)


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments by which a target is named."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="HOST:PORT; with --join also a node id, the beginning of one, or a name",
    )
    parser.add_argument("--join", metavar="HOST:PORT", help="a server that knows the target")


def command_config(options: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The configuration of a command's node: that of the user, but for what makes it a server.

    Raises:
        ConfigError: It cannot be used.
    """
    overrides: dict[str, object] = {
        # It comes and goes beside a node that may run with the same file.
        "server.node_id": "",
        "server.enable_discovery": False,
        "server.join": [],
    }
    if options.network_id is not None:
        overrides["server.network_id"] = options.network_id
    return load_config(options.config, environ, overrides)


@contextlib.asynccontextmanager
async def open_node(config: Config, server: Address) -> AsyncIterator[Node]:
    """Run a node on a free port of the family that reaches `server`."""
    local = "[::]:0" if ":" in server[0] else "0.0.0.0:0"
    async with Node(config.with_options(address=local)) as node:
        yield node


def read_address(text: str, parser: argparse.ArgumentParser) -> Address:
    """Read `HOST:PORT`, or leave with the exit code of wrong usage."""
    try:
        address = parse_address(text)
    except ValueError as error:
        parser.error(str(error))
    if address[1] == 0:
        parser.error(f"{text!r}: port 0 is no port to connect to")
    return address


async def first_hop(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Address:
    """The address to connect to first: the server's, or the target's own.

    Raises:
        LocalError: Its host does not resolve.
    """
    text = options.join if options.join is not None else options.target
    if options.join is None and ":" not in text:
        parser.error(f"{text!r} is not HOST:PORT; a node id or a name needs --join HOST:PORT")
    return await resolve(read_address(text, parser))


async def reach(
    node: Node, options: argparse.Namespace, server: Address, timeout_s: float
) -> Target:
    """Connect to the target that the arguments name.

    Raises:
        P2PError: It cannot be found or reached.
    """
    peer = await node.connect(server, timeout_s)
    if options.join is None:
        return _as_target(node, peer)
    wanted = await _find(node, peer, options.target, timeout_s)
    if wanted.node_id == peer.node_id:
        return _as_target(node, peer)
    if Capability.ROUTING not in wanted.capabilities:
        # Its program takes no handshake from a peer: an introduction is all there is.
        with contextlib.suppress(P2PError):
            await node.connect(wanted.node_id, DIRECT_ATTEMPT_S)
        return wanted
    try:
        direct = await node.connect(wanted.node_id, min(DIRECT_ATTEMPT_S, timeout_s))
    except P2PError:
        return wanted
    return _as_target(node, direct)


def _as_target(node: Node, peer: PeerView) -> Target:
    return Target(node, peer.node_id, peer.name, peer.address, is_peer=True)


@dataclass(frozen=True, slots=True)
class _Wanted(Target):
    capabilities: tuple[str, ...] = ()


async def _find(node: Node, server: PeerView, text: str, timeout_s: float) -> _Wanted:
    listed = await node.list_nodes(server, timeout_s)
    node_id = canonical_id(text)
    if node_id == server.node_id or text == server.name:
        return _Wanted(node, server.node_id, server.name, server.address, is_peer=True)
    if node_id is not None:
        found = next((entry for entry in listed.nodes if entry.node_id == node_id), None)
        if found is None:
            where = format_address(server.address)
            raise UnknownPeerError(f"the server at {where} does not know node {node_id}")
    else:
        others = [entry for entry in listed.nodes if entry.node_id != node.id]
        try:
            found = find_named(text, others)
        except UnknownPeerError:
            if server.node_id.startswith(text.lower()):
                return _Wanted(node, server.node_id, server.name, server.address, is_peer=True)
            raise
    if found.node_id == node.id:
        raise LocalError("that is this command itself")
    return _Wanted(
        node,
        found.node_id,
        found.name,
        server.address,
        is_peer=False,
        capabilities=found.capabilities,
    )


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object, pure ASCII: nothing remote in it can act on a terminal."""
    print(json.dumps(value, ensure_ascii=True))


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as milliseconds with three decimals."""
    return None if seconds is None else round(seconds * 1000, 3)


async def gather_cancelled(tasks: list["asyncio.Task[None]"]) -> None:
    """End tasks and wait until they have."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
