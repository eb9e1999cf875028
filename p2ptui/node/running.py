"""A node's life, and what can be seen of it from outside."""

import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from p2ptui.config import Config
from p2ptui.config.reload import take_over
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.core.relay.values import RelayReport
from p2ptui.errors import LocalError
from p2ptui.io.machine import Machine, RealMachine
from p2ptui.io.udp import open_udp
from p2ptui.node.files import FileReceiver, open_store
from p2ptui.node.lookup import PeerRef, find_peer
from p2ptui.node.metrics import Stats, snapshot
from p2ptui.node.roster import Roster
from p2ptui.node.runtime import OpenSocket, Runtime
from p2ptui.node.subscription import Subscription
from p2ptui.node.view import PeerView, view
from p2ptui.wire.address import Address
from p2ptui.wire.message import NodeInfo, RouteEntry


class RunningNode:
    """Start, end and state of a node; `Node` adds what it does.

    Args:
        config: Every option; the defaults without it.
        open_socket: Opens the socket at the listening address; for simulated networks.
        clock: Seconds that only go forward.
        rng: Where ids and jitter come from; must be unpredictable but in tests.
        wall: Unix time, seconds.
        machine: What the node runs on, and may move with; by default this one, or one that never
            moves where the sockets are simulated.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        open_socket: OpenSocket = open_udp,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
        machine: Machine | None = None,
    ) -> None:
        self._config = config or Config()
        self._open_socket = open_socket
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._wall = wall
        self._machine = machine or (RealMachine() if open_socket is open_udp else None)
        self._started: Runtime | None = None
        self._files: FileReceiver | None = None
        self._starting = False

    async def start(self) -> None:
        """Bind the address, and begin to serve, to look for neighbours and to join servers.

        Raises:
            BindError: The listening address cannot be taken.
            LocalError: It cannot be resolved, the node runs already, or nothing can be written
                into the directory for files.
        """
        if self._started is not None or self._starting:
            raise LocalError("the node was started already; make another one")
        self._starting = True
        try:
            store = open_store(self._config.files)
            self._started = await Runtime.start(
                self._config, self._open_socket, self._clock, self._rng, self._wall, self._machine
            )
            if store is not None:
                self._files = FileReceiver(self._started, self._config, store)
        finally:
            self._starting = False

    async def close(self, reason: str = "shutting down") -> None:
        """Say goodbye to every peer, send what is left, and release everything. Twice is fine."""
        if self._files is not None:
            await self._files.finish()
        if self._started is not None:
            await self._started.close(reason)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _runtime(self) -> Runtime:
        if self._started is None:
            raise LocalError("the node is not running; start it first")
        self._started.require_running()
        return self._started

    @property
    def _endpoint(self) -> Endpoint:
        return self._runtime.endpoint

    @property
    def has_failed(self) -> bool:
        """Whether the node's own machinery broke; it can only be closed then."""
        return self._started is not None and self._started.failure is not None

    async def wait_failed(self) -> None:
        """Return never, unless the node's own machinery fails: then raise what failed.

        Raises:
            LocalError: The node is not running, or was closed meanwhile.
            Exception: What failed; the node can only be closed then.
        """
        if self._started is None:
            raise LocalError("the node is not running; start it first")
        await self._started.wait_ended()

    def reload(self, config: Config) -> None:
        """Go by other options from now on; see `config.reload` for those that can change.

        Args:
            config: All options. Of the others the node keeps its own, whatever is said here.

        Raises:
            LocalError: The node is not running.
            ConfigError: The new values do not go together with those that stay.
        """
        runtime = self._runtime
        self._config, _, _ = take_over(self._config, config)
        runtime.reload(self._config)

    # What there is.

    @property
    def id(self) -> str:
        """This node's id."""
        return self._endpoint.identity.id

    @property
    def info(self) -> NodeInfo:
        """Who this node says it is."""
        return self._endpoint.identity

    @property
    def address(self) -> Address:
        """Where its socket is bound."""
        return self._runtime.socket.local_address

    @property
    def peers(self) -> list[PeerView]:
        """All peers, the one heard of longest ago first."""
        return [self._view(peer) for peer in self._endpoint.peers]

    @property
    def roster(self) -> Roster:
        """Peers, and the nodes behind them, for a table that shows a few of many."""
        return Roster(self._endpoint, self._clock)

    @property
    def routes(self) -> list[RouteEntry]:
        """To whom there is a way, through whom, and how far it is (hops)."""
        return self._endpoint.routes(self._clock())

    def peer(self, peer: PeerRef) -> PeerView:
        """One peer.

        Raises:
            UnknownPeerError: There is none, or the name fits several.
        """
        return self._view(find_peer(self._endpoint, peer, self._clock()))

    def _view(self, peer: Peer) -> PeerView:
        return view(peer, self._clock(), self._endpoint.peers)

    def relays(self, limit: int = 100) -> RelayReport:
        """What this node relays for others, and what it refuses, by client.

        Args:
            limit: Open relays and clients to name, at most; the most recent ones are.
        """
        return self._endpoint.relays(limit)

    def stats(self) -> Stats:
        """Totals since the start, and how full the node is."""
        runtime = self._runtime
        return snapshot(runtime.endpoint, runtime.socket, runtime.now - runtime.started_at)

    def events(self, limit: int | None = None, *, data: bool = True) -> Subscription:
        """What happens from now on, as an async iterator of `p2ptui.core.events`.

        Messages of others are told DELIVERED when they wait in the queues of all who read Data.
        A reader that falls behind by `reader_bytes` makes those wait who write to it.

        Args:
            limit: Events other than Data that may wait for the reader (`event_queue_size` without
                it); beyond that they are dropped, and an EventsDropped says how many.
            data: Whether this is a reader of Data. One that is not gets none, and holds up nobody.

        Raises:
            LocalError: The limit is below 1.
        """
        if limit is None:
            limit = self._config.server.event_queue_size
        if limit < 1:
            raise LocalError(f"limit = {limit}: at least one event must have room")
        return self._runtime.subscribe(limit, data=data)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; also one that has ended, with the node or before."""
        if self._started is not None:
            self._started.unsubscribe(subscription)

    def trace(self, *, enabled: bool) -> None:
        """Whether every message that comes and goes is told as a MessageTraced event."""
        self._endpoint.set_tracing(enabled=enabled)

    def watch_names(self, *, enabled: bool) -> None:
        """Whether somebody looks at the nodes behind the joined servers, and at their names.

        Then the servers' lists are asked for at once and kept fresh; else when they are needed.
        """
        self._endpoint.watching.set_watched(self._runtime.now, enabled=enabled)
        self._runtime.flush()
