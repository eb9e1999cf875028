"""Finding whom a person names: what is known first, then what the joined servers know."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.errors import P2PError, UnknownPeerError
from p2ptui.node.lookup import PeerRef, SeveralFitError, find_node, is_name, with_session
from p2ptui.node.others import OtherNode

ASK_TIMEOUT_S: Final = 3.0
"""Names are asked for within a command: who has none for so long is not waited for."""


class Finder:
    """Looks nodes up for the calls of a node.

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
        self._endpoint = endpoint
        self._call = call
        self._clock = clock

    async def find(self, ref: PeerRef, timeout_s: float = ASK_TIMEOUT_S) -> Peer | OtherNode:
        """The node that is meant; where nobody here is called so, the joined servers are asked.

        Args:
            ref: What was said.
            timeout_s: Seconds that asking may take, at most three.

        Raises:
            UnknownPeerError: None fits, or several do.
        """
        try:
            return find_node(self._endpoint, ref, self._clock())
        except SeveralFitError:
            raise
        except UnknownPeerError:
            if not await self._ask(ref, timeout_s):
                raise
        return find_node(self._endpoint, ref, self._clock())

    async def find_peer(self, ref: PeerRef, timeout_s: float = ASK_TIMEOUT_S) -> Peer:
        """The same, but a node with a session.

        Raises:
            UnknownPeerError: None fits, or several do, or there is no session.
        """
        return with_session(await self.find(ref, timeout_s))

    async def _ask(self, ref: PeerRef, timeout_s: float) -> bool:
        """Ask the servers that were not asked just now; whether any was."""
        if not isinstance(ref, str) or not is_name(ref):
            return False
        now = self._clock()
        limit_s = min(timeout_s, ASK_TIMEOUT_S)
        tokens = []
        for server in self._endpoint.naming.servers_to_ask(now):
            try:
                tokens.append(self._endpoint.list_nodes(server, now, limit_s))
            except P2PError:
                continue  # too many lists are awaited: what is known must do
        # What they answer is noted as it comes.
        await asyncio.gather(*map(self._call, tokens), return_exceptions=True)
        return bool(tokens)
