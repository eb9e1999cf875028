"""List the nodes that a server knows."""

import argparse
from collections.abc import Mapping
from typing import Any

import msgspec

from p2ptui.commands import CommandParser, Work
from p2ptui.commands.listing import add_list_arguments, asked_words, judge_list, trust_words
from p2ptui.commands.servers import connect, look_up
from p2ptui.commands.session import (
    command_config,
    open_node,
    read_address,
)
from p2ptui.commands.table import print_table
from p2ptui.commands.target import Deadline, tell_changes, trust_fields
from p2ptui.commands.warning import warn_of_broker
from p2ptui.config import Config
from p2ptui.core.events import ServerList
from p2ptui.core.identity import short_id
from p2ptui.node import Node, PeerView
from p2ptui.text import printable
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import ListedNode, NodeInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui peers`."""
    parser.add_argument("server", metavar="HOST:PORT[#ID]", help="the server to ask")
    add_list_arguments(parser)


def prepare(options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]) -> Work:
    """Check the arguments; the result asks a server, and prints the list."""
    config = command_config(options, environ)
    server = read_address(options.server, parser)
    return lambda: _run(options, config, server)


async def _run(options: argparse.Namespace, config: Config, server: Address) -> int:
    deadline = Deadline(options.timeout)
    addresses = await look_up(server, deadline)
    async with open_node(config, addresses) as node:
        peer = await connect(node, addresses, deadline)
        tell_changes(node)
        servers = await node.list_servers(peer, deadline.left_s)
        listed = await node.list_nodes(peer, deadline.left_s)
        others = [entry for entry in listed.nodes if entry.node_id != node.id]
        holders = _Holders(peer, servers)
        if options.json:
            options.answer.tell(_report(node, peer, others, holders))
        else:
            _print_table(node, peer, others, holders)
        warn_of_broker(servers)
    return judge_list(len(listed.nodes), "node", complete=listed.complete)


class _Holders:
    """Which server of a cluster holds which node, according to the server that was asked.

    Args:
        asked: That server.
        servers: All servers; none if it serves alone.
    """

    def __init__(self, asked: PeerView, servers: ServerList) -> None:
        self.are_several = bool(servers.servers)
        self._asked_id = asked.node_id
        self._names = {one.id: one.name for one in servers.servers}

    def of(self, listed: NodeInfo) -> tuple[str, str]:
        """Name and id of a node's server: remote text; empty if the name is not known."""
        server_id = listed.server if isinstance(listed, ListedNode) else self._asked_id
        return self._names.get(server_id, ""), server_id

    def fields(self, listed: NodeInfo) -> dict[str, Any]:
        """The same for programs; empty if there is no cluster."""
        if not self.are_several:
            return {}
        name, server_id = self.of(listed)
        return {"server": name or None, "server_id": server_id}


def _report(node: Node, peer: PeerView, nodes: list[NodeInfo], holders: _Holders) -> dict[str, Any]:
    public = peer.public_address
    return {
        "server": _as_reached(peer),
        "public_address": None if public is None else format_address(public),
        "nodes": [
            {
                **msgspec.to_builtins(one),
                "trust": _trust_of(node, one),
                **holders.fields(one),
            }
            for one in nodes
        ],
    }


def _as_reached(peer: PeerView) -> dict[str, Any] | None:
    """The server, listed like the others: with the address at which it was reached, and the largest
    datagram on the path to it.
    """
    if peer.info is None:
        return None
    info = msgspec.structs.replace(peer.info, listen_addr=format_address(peer.address))
    trust = trust_fields(peer.trust, peer.advice)
    return {**msgspec.to_builtins(info), "path_mtu": peer.datagram_bytes, **trust}


def _trust_of(node: Node, listed: NodeInfo) -> str | None:
    """The trust in a listed id; only a session shows whether the node really has it."""
    judgement = node.judge_listed(listed.id, listed.name)
    return None if judgement is None else judgement.trust.value


def _print_table(node: Node, peer: PeerView, nodes: list[NodeInfo], holders: _Holders) -> None:
    public = peer.public_address
    seen = "" if public is None else f", which sees you at {format_address(public)}"
    print(f"{asked_words(peer)}{seen}{trust_words(peer)}")
    if not nodes:
        print("no other nodes")
        return
    print_table(
        ("NAME", "ID", "ADDRESS", "VERSION", "SERVER", "TRUST"),
        [
            (
                printable(one.name, 32),
                one.id,
                printable(one.listen_addr, 64),
                printable(one.version, 16),
                _server_words(*holders.of(one)) if holders.are_several else "",
                _trust_of(node, one) or "",
            )
            for one in nodes
        ],
        left_out=("SERVER", "TRUST"),
    )


def _server_words(name: str, server_id: str) -> str:
    return printable(name, 32) or short_id(server_id)
