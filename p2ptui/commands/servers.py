"""The servers of a one-shot command: looked up, joined, and asked for a node one after another."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

from p2ptui.commands.target import Deadline
from p2ptui.commands.warning import warn
from p2ptui.core.events import NodeList
from p2ptui.core.identity import canonical_id
from p2ptui.errors import LocalError, P2PError, UnknownPeerError
from p2ptui.io.advice import barrier
from p2ptui.node import Node, PeerView, connector
from p2ptui.node.lookup import SeveralFitError, find_named
from p2ptui.node.network import way_to_server, with_servers, without_link
from p2ptui.text import printable, shown
from p2ptui.wire.address import (
    Address,
    format_address,
    is_wildcard,
    parse_ip_address,
    with_port,
)
from p2ptui.wire.joined import parse_joined
from p2ptui.wire.message import ListedNode, NodeInfo

OTHERS_S: Final = 3.0
"""How long another server may take to answer, once one has said that it does not know the node."""


async def look_up(address: Address, deadline: Deadline) -> list[Address]:
    """Find all IP addresses of a host.

    Raises:
        LocalError: It does not resolve in time, or does not mean a single host.
    """
    return await connector.look_up(address, deadline.left_s, deadline.timeout_s)


async def look_all_up(servers: Sequence[Address], deadline: Deadline) -> list[Address]:
    """The addresses of all these hosts; a host that is not found only counts if none is found.

    Raises:
        LocalError: As `look_up`, for the first host.
    """
    found = await asyncio.gather(
        *(look_up(server, deadline) for server in servers), return_exceptions=True
    )
    addresses = [one for each in found if not isinstance(each, BaseException) for one in each]
    for error in found:
        if isinstance(error, BaseException) and not (addresses and isinstance(error, P2PError)):
            raise error
    return list(dict.fromkeys(addresses))


class _CutOffError(UnknownPeerError):
    """A server does not know the node, and has no link to the other servers of its network."""


class Servers:
    """The servers that a command may ask, one joined at a time.

    One name may have the addresses of several servers, and each knows its own nodes: if one does
    not know the node, the next is joined.

    Args:
        node: The command's node.
        addresses: Their addresses, in the order in which to try them.
        deadline: When to give up.
    """

    def __init__(self, node: Node, addresses: Sequence[Address], deadline: Deadline) -> None:
        self._node = node
        self._deadline = deadline
        self._addresses = addresses
        self.left = list(addresses)
        """Addresses of servers that have not been asked in vain."""
        self.joined: PeerView | None = None
        """The joined server, if there is one."""

    async def join(self) -> PeerView:
        """Join the first server that answers.

        Raises:
            P2PError: None can be reached in time.
        """
        self.joined = await connect(self._node, self.left, self._deadline)
        return self.joined

    async def find(self, wanted: str) -> tuple[PeerView, NodeInfo | list[Address]]:
        """The first server that knows a node, and the result of `_find` there.

        Raises:
            P2PError: None of them knows it, or one knows several that fit.
        """
        self.left = list(self._addresses)
        ignorant: dict[str, str] = {}
        """Addresses of the servers that do not know it, by id."""
        cut_off: list[str] = []
        """Addresses of those that have no link to the other servers of their network."""
        answer: UnknownPeerError | None = None
        while True:
            try:
                server = await self._join_another() if ignorant else await self.join()
            except P2PError as error:
                if answer is None:
                    raise
                raise _nowhere(answer, ignorant, cut_off, wanted, error) from None
            if server is None:
                assert answer is not None
                raise _nowhere(answer, ignorant, cut_off, wanted) from None
            where = format_address(server.address)
            if server.node_id not in ignorant:
                try:
                    return server, await _find(self._node, server, wanted, self._deadline)
                except SeveralFitError:
                    raise
                except UnknownPeerError as error:
                    answer = answer or error
                    ignorant[server.node_id] = where
                    if isinstance(error, _CutOffError):
                        cut_off.append(where)
            # Otherwise it is a server that was asked already, at another of its addresses.
            self.left = [one for one in self.left if one != server.address]

    async def _join_another(self) -> PeerView | None:
        """Join one of the remaining servers; None if there is none."""
        self.left = [one for one in self.left if barrier(one, self._node.address) is None]
        if not self.left:
            return None
        if self.joined is not None:
            # It is useless, and could not be told from the others at another of its addresses.
            with contextlib.suppress(UnknownPeerError):
                await self._node.disconnect(self.joined, "it does not know who is looked for")
                self.joined = None
        limit = Deadline(min(self._deadline.left_s, OTHERS_S))
        self.joined = await connect(self._node, self.left, limit)
        return self.joined


def _nowhere(
    answer: UnknownPeerError,
    ignorant: Mapping[str, str],
    cut_off: Sequence[str],
    wanted: str,
    failure: P2PError | None = None,
) -> UnknownPeerError:
    """Why a node was not found at several servers, of which the last may not have been reached."""
    words = str(answer)
    node_id = canonical_id(wanted)
    if node_id is not None and len(ignorant) > 1:
        words = f"the servers at {' and '.join(ignorant.values())} do not know node {node_id}"
    if cut_off:
        who = "it" if len(ignorant) == 1 else f"the server at {cut_off[0]}"
        words = f"{words}; {without_link(who)}"
    return UnknownPeerError(words if failure is None else f"{words}; {failure}")


async def connect(node: Node, addresses: Sequence[Address], deadline: Deadline) -> PeerView:
    """Shake hands with the node at any of these addresses.

    If a machine says that nothing listens there, it is believed at once.

    Raises:
        P2PError: It cannot be reached in time.
    """
    reached = [one for one in addresses if barrier(one, node.address) is None]
    if not reached and is_wildcard(node.address[0]):
        # The socket was opened for both IP versions, and the system provided one.
        names = ", ".join(map(format_address, addresses))
        raise LocalError(
            f"cannot connect to {names}: this machine has no IPv6; use an IPv4 address"
        )
    # Unreachable addresses need no mention while there is another.
    return await node.connect_any(reached or addresses, deadline.left_s, heed_refusals=True)


async def _find(
    node: Node, server: PeerView, text: str, deadline: Deadline
) -> NodeInfo | list[Address]:
    """The node that is meant, or its addresses if the server does not know it.

    Raises:
        UnknownPeerError: None is meant, or several are; `_CutOffError` if the server currently
            knows only its own nodes.
    """
    listed, network = await asyncio.gather(
        node.list_nodes(server, deadline.left_s), node.list_servers(server, deadline.left_s)
    )
    known = {entry.node_id: entry for entry in listed.nodes if entry.node_id != node.id}
    if server.info is not None:
        known[server.node_id] = server.info
    node_id = canonical_id(text)
    is_address = parse_ip_address(text) is not None
    if is_address or (":" in text and all(entry.name != text for entry in known.values())):
        # A literal address is an address, even if it is also a node's name.
        with contextlib.suppress(ValueError):
            addresses = await look_up(parse_joined(text), deadline)
            at = set(map(format_address, addresses))
            return next((entry for entry in listed.nodes if entry.listen_addr in at), addresses)
    others = {one.id: one for one in network.servers}
    is_cut_off = any(one.linked is False for one in network.servers[:1])
    try:
        found = find_named(node_id or text, with_servers(known, text, network.servers))
    except SeveralFitError:
        raise
    except UnknownPeerError as error:
        words, where = str(error), f"the server at {format_address(server.address)}"
        if node_id is not None:
            words = f"{where} does not know node {node_id}"
        elif is_cut_off and with_port(text) is None:
            words = (
                f"{where} knows no node that is called {shown(text)} or has an id that begins so"
            )
        words += _caveat(listed)
        raise (_CutOffError if is_cut_off else UnknownPeerError)(words) from None
    if isinstance(found, ListedNode) and is_cut_off:
        who, where = printable(found.name, 64) or found.node_id, format_address(server.address)
        warn(f"{who} is at another server, and the server at {where} currently has no link to it")
    if found.node_id in known:
        return known[found.node_id]
    return [way_to_server(others[found.node_id], server.address, node.id)]


def _caveat(listed: NodeList) -> str:
    return "" if listed.complete else " (its list of nodes arrived incomplete)"
