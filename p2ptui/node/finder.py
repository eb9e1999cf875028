"""Finds the node that a user names: first among those known here, then with the joined servers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.errors import LocalError, P2PError, UnknownPeerError
from p2ptui.node.arguments import read_node_id, read_seconds
from p2ptui.node.lookup import (
    PeerRef,
    SeveralFitError,
    find_named,
    find_node,
    is_name,
    node_id_of,
    with_session,
)
from p2ptui.node.network import Network
from p2ptui.node.others import OtherNode
from p2ptui.wire.message import NodeInfo

SHORTEST_WAIT_S: Final = 0.001

ITSELF: Final = "that is this node itself"
NONE_JOINED: Final = "no server is joined yet: none of those in join has answered"

ASK_TIMEOUT_S: Final = 3.0
"""Names are asked for within a command: a server that takes longer is not waited for."""


class Finder:
    """Looks nodes up for the calls of a node.

    Args:
        endpoint: Its protocol.
        call: Awaits the end of a call on the endpoint.
        clock: The time on the endpoint's clock, seconds.
        network: Knows the servers of the network.
        wait_for_server: If none of the servers to join is joined yet, waits at most this many
            seconds for the first; returns whether it came, or None if there is nothing to wait for.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        call: Callable[[int], Awaitable[Any]],
        clock: Callable[[], float],
        network: Network,
        wait_for_server: Callable[[float], Awaitable[bool | None]],
    ) -> None:
        self._endpoint = endpoint
        self._call = call
        self._clock = clock
        self._network = network
        self._wait_for_server = wait_for_server

    async def find(self, ref: PeerRef, timeout_s: float = ASK_TIMEOUT_S) -> Peer | OtherNode:
        """The node that is meant; if no node known here matches, the joined servers are asked.

        While no server is joined yet, the first one is waited for.

        Args:
            ref: The reference.
            timeout_s: Seconds to wait at most, of which asking takes three at most.

        Raises:
            UnknownPeerError: None fits, or several do, or it is this node; `OtherServerError` if it
                is another server of the network.
        """
        own = self._endpoint.identity
        self.other(node_id_of(ref) or "")
        deadline = self._clock() + timeout_s
        in_vain = False
        for learn in (self._ask_for, self._wait):
            try:
                return find_node(self._endpoint, ref, self._clock())
            except SeveralFitError:
                raise
            except UnknownPeerError:
                left_s = max(deadline - self._clock(), SHORTEST_WAIT_S)
                in_vain |= not await learn(ref, left_s)
        try:
            return find_node(self._endpoint, ref, self._clock())
        except SeveralFitError:
            raise
        except UnknownPeerError as error:
            if isinstance(ref, str) and may_mean(ref, own):
                raise UnknownPeerError(ITSELF) from None
            if in_vain:
                raise UnknownPeerError(f"{error}; {NONE_JOINED}") from None
            raise await self._explained(error, ref) from None

    async def _explained(self, error: UnknownPeerError, ref: PeerRef) -> UnknownPeerError:
        is_word = isinstance(ref, str) and (is_name(ref) or node_id_of(ref) is not None)
        return await self._network.explain(error, str(ref)) if is_word else error

    async def find_peer(self, ref: PeerRef, timeout_s: float = ASK_TIMEOUT_S) -> Peer:
        """The same, but a node with a session.

        Raises:
            UnknownPeerError: None fits, or several do, or there is no session.
        """
        return with_session(await self.find(ref, timeout_s))

    def other(self, node_id: str) -> str:
        """The canonical id of another node.

        Raises:
            UnknownPeerError: It is this node's own id.
        """
        if node_id == self._endpoint.identity.id:
            raise UnknownPeerError(ITSELF)
        return node_id

    async def wait_for_introducer(self, node_id: str, timeout_s: float) -> None:
        """If no server could introduce a node yet, wait for the first one.

        Args:
            node_id: The node.
            timeout_s: The longest wait, seconds.

        Raises:
            LocalError: No server came, or the node is this one.
        """
        peers = self._endpoint.peers
        if peers.authenticated(self.other(node_id)) is not None or any(peers.joined_servers):
            return
        if await self._wait_for_server(timeout_s) is False:
            raise LocalError(f"cannot find node {node_id}: {NONE_JOINED}")

    async def begin_routed(
        self, node_id: str, timeout_s: float, begin: Callable[[str, float], int]
    ) -> int:
        """Begin a call that is routed through others; the first server to be joined may be the only
        way.

        Args:
            node_id: The target.
            timeout_s: Seconds for everything together.
            begin: Gets the id and the seconds that remain; returns the token of the call.

        Raises:
            LocalError: There is no way, or it is this node itself.
        """
        deadline = self._clock() + read_seconds(timeout_s)
        node_id = self.other(read_node_id(node_id))
        try:
            return begin(node_id, timeout_s)
        except LocalError as error:
            came = await self._wait_for_server(timeout_s)
            if came is None:
                raise
            if not came:
                raise LocalError(f"{error}; {NONE_JOINED}") from None
        await self.ask(max(deadline - self._clock(), SHORTEST_WAIT_S))
        return begin(node_id, max(deadline - self._clock(), SHORTEST_WAIT_S))

    async def _ask_for(self, ref: PeerRef, timeout_s: float) -> bool:
        if isinstance(ref, str) and is_name(ref):
            await self.ask(timeout_s)
        return True

    async def _wait(self, ref: PeerRef, timeout_s: float) -> bool:
        """Wait for the first server, which may know the node; False if none came."""
        if node_id_of(ref) is None and not (isinstance(ref, str) and is_name(ref)):
            return True  # an address: no server is needed to find it
        deadline = self._clock() + timeout_s
        came = await self._wait_for_server(timeout_s)
        if came:
            await self.ask(max(deadline - self._clock(), SHORTEST_WAIT_S))
        return came is not False

    async def ask(self, timeout_s: float) -> None:
        """Ask the servers that were not asked recently for their node lists.

        Args:
            timeout_s: Seconds to wait at most; never more than three.
        """
        now = self._clock()
        limit_s = min(timeout_s, ASK_TIMEOUT_S)
        tokens = []
        for server in self._endpoint.naming.servers_to_ask(now):
            try:
                tokens.append(self._endpoint.list_nodes(server, now, limit_s))
            except P2PError:
                continue  # too many lists are awaited: what is known must do
        # Their answers are recorded as they arrive.
        await asyncio.gather(*map(self._call, tokens), return_exceptions=True)


def may_mean(text: str, node: NodeInfo) -> bool:
    """Whether a node could be meant by a name or an id prefix."""
    try:
        find_named(text, [node])
    except UnknownPeerError:
        return False
    return True
