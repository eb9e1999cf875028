"""The servers of the network, as one of them reports them to a node: their names, and how to reach
them.

A server is not in the node lists of other servers: a node that looks for it connects to it
directly.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from p2ptui.core.addresses import visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import ServerList
from p2ptui.core.mobility.told_servers import worth_keeping
from p2ptui.errors import P2PError, UnknownPeerError
from p2ptui.node.lookup import (
    OtherServerError,
    SeveralFitError,
    find_named,
    may_mean,
    server_words,
)
from p2ptui.wire.address import Address, format_address, parse_ip_address
from p2ptui.wire.joined import JoinedAddress
from p2ptui.wire.message import ListedServer, NodeInfo, OtherServer

ASK_S: Final = 3.0
"""How long a server may take to answer; until then what is known must do."""

ASKED_S: Final = 2.0
"""It is not asked again this soon for the next name."""

FRESH_S: Final = 15.0
"""How long a server's number of peers, and when it was heard, are shown."""

UNKNOWN_PLACE: Final = ("0.0.0.0", 0)
"""For a server that listens on all its addresses."""

MAX_LISTED: Final = 257
"""Servers of one list that are kept: as many as a server knows, and itself."""


class Network:
    """What this node knows about the servers of its network.

    Args:
        endpoint: Its protocol.
        call: Waits for the end of a call on the endpoint.
        clock: The time on the endpoint's clock, seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        call: Callable[[int], Awaitable[Any]],
        clock: Callable[[], float],
    ) -> None:
        self._endpoint, self._call, self._clock = endpoint, call, clock
        self._listed: tuple[ListedServer, ...] = ()
        """The home's last answer, itself first."""
        self._listed_at = -math.inf
        self._asked_of: tuple[str, object] = "", ()
        """Which home was asked last, and which other servers it had named."""
        self._asked_at = -math.inf

    def servers(self) -> list[ListedServer]:
        """See `Node.network_servers`."""
        endpoint, now = self._endpoint, self._clock()
        told = endpoint.elsewhere.servers_told(now)
        home = endpoint.home.server
        if told or home is None:
            return told
        at = {home.node_id: visible_address(home.address)}
        for one in endpoint.home.told:
            at.setdefault(one.node_id, one.address)
        listed = {one.id: one for one in self._of_home()}
        if now > self._listed_at + FRESH_S:
            listed = {
                one.id: ListedServer(one.id, one.name, one.address, draining=one.draining)
                for one in listed.values()
            }
        known = [
            replace(listed.pop(node_id), address=format_address(address))
            if node_id in listed
            else ListedServer(node_id, self._name_of(node_id), format_address(address))
            for node_id, address in at.items()
        ]
        return [*known, *listed.values()]

    def _name_of(self, node_id: str) -> str:
        return self._endpoint.naming.name_of(node_id, self._clock())

    def _of_home(self) -> tuple[ListedServer, ...]:
        home = self._endpoint.home.server
        is_of_it = home is not None and self._listed and self._listed[0].id == home.node_id
        return self._listed if is_of_it else ()

    async def learn(self, longest_s: float) -> None:
        """Ask the home which servers there are, unless the last answer is recent enough.

        Args:
            longest_s: It is not asked again within this time, seconds, unless the home has changed,
                or has named other servers meanwhile.
        """
        home = self._endpoint.home
        now, server = self._clock(), home.server
        if server is None:
            return
        subject = server.node_id, home.told
        if subject == self._asked_of and now < self._asked_at + longest_s:
            return
        self._asked_of, self._asked_at = subject, now
        try:
            answer: ServerList = await self._call(self._endpoint.list_servers(server, now, ASK_S))
        except P2PError:
            return
        if answer.complete and answer.servers and answer.servers[0].id == server.node_id:
            self._listed, self._listed_at = answer.servers[:MAX_LISTED], self._clock()

    def require_none(self, text: str) -> None:
        """Check that a text does not mean another server of the network.

        Args:
            text: A name, an id or the beginning of one.

        Raises:
            OtherServerError: It means one; the error has its address.
            UnknownPeerError: It means a server whose address is unknown, or several.
        """
        home, own_id = self._endpoint.home.server, self._endpoint.identity.id
        servers = {
            one.id: one
            for one in self.servers()
            if one.id != own_id and (home is None or one.id != home.node_id)
        }
        try:
            found = find_named(text, with_servers({}, text, servers.values()))
        except SeveralFitError:
            raise
        except UnknownPeerError:
            return
        own_address = parse_ip_address(self._endpoint.identity.listen_addr) or UNKNOWN_PLACE
        teller = own_address if home is None else home.address
        server = servers[found.node_id]
        raise OtherServerError(server, way_to_server(server, teller, own_id))

    async def explain(self, error: UnknownPeerError, text: str) -> UnknownPeerError:
        """Extend the reason why a node was not found by what the network's servers have to do with
        it.

        Args:
            error: The reason without them.
            text: What was looked for: a name, an id or the beginning of one.

        Raises:
            UnknownPeerError: As `require_none`.
        """
        await self.learn(ASKED_S)
        self.require_none(text)
        first = next(iter(self.servers()), None)
        if first is None or first.linked is not False:
            return error
        who = "this server" if first.id == self._endpoint.identity.id else "the server"
        return type(error)(f"{error}, as far as is known; {without_link(who)}")


def without_link(where: str) -> str:
    """What to say about a server that does not know a node, while it only knows its own peers.

    Args:
        where: The server.
    """
    return (
        f"{where} currently has no link to the other servers, and one of them may have the node:"
        " try again later, or ask another server"
    )


def with_servers(
    nodes: Mapping[str, NodeInfo], text: str, servers: Iterable[ListedServer]
) -> list[NodeInfo]:
    """The nodes that a text may mean, and the servers: each once.

    Args:
        nodes: As a server lists them, and this server itself, by id.
        text: The reference.
        servers: The servers of its network, itself first: it may have another name among them.
    """
    candidates = dict(nodes)
    for one in servers:
        if one.id not in nodes or may_mean(text, "", one.name):
            candidates[one.id] = NodeInfo(
                id=one.id, node_id=one.id, name=one.name, version="", listen_addr=one.address
            )
    return list(candidates.values())


def way_to_server(server: ListedServer, teller: Address, own_id: str) -> JoinedAddress:
    """The address of another server of the network, with the id whose keys it must have.

    Args:
        server: That server.
        teller: Address of the server that named it.
        own_id: This node's id.

    Raises:
        UnknownPeerError: Its address is unknown, or not one that the naming server may give.
    """
    told = worth_keeping([OtherServer(server.id, server.address)], teller, own_id)
    if not told:
        raise UnknownPeerError(
            f"{server_words(server)} is another server of the network, and its address is not"
            " known: set cluster.address there"
        )
    return JoinedAddress(told[0].address, pin=told[0].node_id)
