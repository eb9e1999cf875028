"""A node's way to its servers: it connects to them, keeps them joined, and notices when they are
gone.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from p2ptui.core.events import PeerStatus, PeerStatusChanged, TrustChanged
from p2ptui.core.peers import Peer
from p2ptui.io.refusal import PATIENT_PAUSES_S, find_refusal
from p2ptui.node.acquaintances import Acquaintances
from p2ptui.node.connector import Connector
from p2ptui.node.driven import Driven
from p2ptui.node.joiner import Elsewhere, Joining
from p2ptui.node.known_nodes_book import KnownNodesBook
from p2ptui.node.network import Network
from p2ptui.node.partings import Partings
from p2ptui.node.refuge import Refuge
from p2ptui.node.refused import Refusals
from p2ptui.wire.address import Address

Begin: TypeAlias = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]

_AUTHENTICATED: Final = PeerStatus.AUTHENTICATED
_ENDS: Final = frozenset({PeerStatus.DISCONNECTED, PeerStatus.FAILED})


class _Waiting:
    """Tasks that wait for something to happen to the peer at an address."""

    def __init__(self) -> None:
        self._waiting: dict[Address, list[asyncio.Future[None]]] = {}

    async def wait(self, address: Address) -> None:
        """Return when it happens."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(address, [])
        waiting.append(future)
        try:
            await future
        finally:
            if future in waiting:
                waiting.remove(future)
            if self._waiting.get(address) == []:
                del self._waiting[address]

    def tell(self, address: Address) -> None:
        """It happens now: wake them."""
        for future in self._waiting.pop(address, ()):
            if not future.done():
                future.set_result(None)


class Servers:
    """Connects to nodes, and keeps servers joined.

    Args:
        driven: The node's endpoint.
        local: Where its socket is bound.
        rng: For the jitter of pauses.
        begin: Starts a task that the node owns.
        require_running: Raises a LocalError once the node has ended.
        pause_until_moved: Waits this many seconds, or until the machine has moved; returns whether
            it has.
        is_node: Whether a node answers small datagrams at an address.
        book: The known nodes.
        tell: Tells an event to all readers.
        is_real: Whether datagrams travel over the system's network, which reports refusals.
    """

    def __init__(
        self,
        driven: Driven,
        local: Address,
        rng: random.Random,
        begin: Begin,
        require_running: Callable[[], None],
        pause_until_moved: Callable[[float], Awaitable[bool]],
        is_node: Callable[[Address], Awaitable[bool]],
        book: KnownNodesBook,
        tell: Callable[[TrustChanged], None],
        *,
        is_real: bool,
    ) -> None:
        self.acquaintances = Acquaintances(driven.endpoint, book, tell)
        """What is known about other nodes."""
        self._endpoint = driven.endpoint
        self.connector = Connector(
            driven.endpoint,
            driven.call,
            driven.clock,
            local,
            require_running,
            driven.flush,
            begin,
            partial(find_refusal, pauses_s=PATIENT_PAUSES_S) if is_real else None,
            is_node,
            self.acquaintances,
        )
        self.partings = Partings()
        """Joined servers to which the user said goodbye."""
        self._departures = _Waiting()
        self._silences = _Waiting()
        driven.endpoint.server_watch.on_silent.append(self._note_silence)
        self.joining = Joining(
            self.connector.connect,
            self._wait_until_left,
            driven.clock,
            rng,
            self.partings,
            pause_until_moved,
            begin,
            Elsewhere(
                self.connector.connect_elsewhere, self._wait_until_silent, self.connector.leave
            ),
            driven.endpoint.peers.has_session_at,
            lambda node_id: driven.endpoint.peers.authenticated(node_id) is not None,
        )
        self._refuge = Refuge(
            driven.endpoint.home,
            self.connector.connect_any,
            self.connector.leave,
            self.joining.is_at,
            driven.clock,
            rng,
            begin,
            driven.endpoint.counters.drop,
        )
        self.acquaintances.is_kept = self.joining.is_kept
        self.acquaintances.kept_pin = self.joining.pin_at
        self.refusals = Refusals(driven.endpoint, self.acquaintances, driven.clock, self._is_wanted)
        """Nodes that this node asked and refused."""
        self.network = Network(driven.endpoint, driven.call, driven.clock)
        """The servers of this node's network."""

    def _is_wanted(self, given: str, address: Address) -> bool:
        return self.joining.keeps(given) and not self.partings.is_parted(address)

    def note(self, event: PeerStatusChanged) -> None:
        """A peer's status has changed."""
        if event.status is _AUTHENTICATED:
            self.refusals.settle(event.address)
        elif event.status in _ENDS:
            self._departures.tell(event.address)

    def _note_silence(self, server: Peer, _now: float) -> None:
        self._silences.tell(server.address)

    async def _wait_until_left(self, address: Address) -> None:
        if self._endpoint.peers.at(address) is not None:
            await self._departures.wait(address)

    async def _wait_until_silent(self, address: Address) -> None:
        peer = self._endpoint.peers.at(address)
        if peer is None or not self._endpoint.server_watch.is_called_silent(peer):
            await self._silences.wait(address)
