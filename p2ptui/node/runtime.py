"""What runs under a node: socket, core, pump and background tasks, started and ended together."""

import asyncio
import logging
import random
import time
import uuid
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import (
    CallFinished,
    Event,
    PeerStatus,
    PeerStatusChanged,
    StunReplyDue,
)
from p2ptui.core.identity import canonical_id, own_capabilities, own_metadata, own_node_info
from p2ptui.errors import LocalError, P2PError
from p2ptui.io.driver import Driver
from p2ptui.io.machine import Machine, StillMachine
from p2ptui.io.refusal import PATIENT_PAUSES_S, find_refusal
from p2ptui.io.resolve import resolve
from p2ptui.io.udp import DatagramSocket, open_udp
from p2ptui.node.connector import Connector
from p2ptui.node.departures import Departures, Silences
from p2ptui.node.idle_store import IdleStore
from p2ptui.node.ipv6_beside import keep_ipv6_beside, wants_ipv6_beside
from p2ptui.node.joiner import Elsewhere, Joining
from p2ptui.node.moves import Moves
from p2ptui.node.nat_service import NatService
from p2ptui.node.networks import own_networks, watch_networks
from p2ptui.node.partings import Partings
from p2ptui.node.stun_serving import StunServing
from p2ptui.node.subscription import Subscription
from p2ptui.node.traversal_support import TraversalSupport
from p2ptui.version import VERSION
from p2ptui.wire.address import Address, format_address, ip_version, parse_address

log = logging.getLogger("p2ptui.node")

OpenSocket: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]

CLOSE_FLUSH_S: Final = 0.5
"""How long `close` waits, at most, for the system to take goodbyes that it had no room for."""

CLOSE_LOOKS: Final = 10
"""So often it looks meanwhile whether they have left."""

MAX_FACED: Final = 8
"""Servers of which the way there is looked up."""


class Runtime:
    """The machinery of one started node; `start` makes it.

    Args:
        config: Every option.
        sock: The open socket; `close` closes it.
        open_socket: Opens further ones.
        clock: Seconds that only go forward.
        rng: Where ids and jitter come from.
        wall: Unix time, seconds.
        machine: What the node runs on; without it one that never moves.
    """

    def __init__(
        self,
        config: Config,
        sock: DatagramSocket,
        open_socket: OpenSocket,
        clock: Callable[[], float],
        rng: random.Random,
        wall: Callable[[], float] = time.time,
        machine: Machine | None = None,
    ) -> None:
        server = config.server
        self._config = config
        self._clock = clock
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self.socket = sock
        self.started_at = clock()
        node_id = canonical_id(server.node_id) or str(
            uuid.UUID(int=rng.getrandbits(128), version=4)
        )
        identity = own_node_info(
            node_id,
            server.name,
            VERSION,
            format_address(sock.local_address),
            server.network_id,
            own_capabilities(config),
            own_metadata(config),
        )
        self.endpoint = Endpoint(config, identity, rng, wall() - self.started_at)
        store = IdleStore(wall)
        self.endpoint.keepalives.recall = store.recall
        self.endpoint.keepalives.on_learnt = store.remember
        self._driver = Driver(
            self.endpoint,
            sock,
            self._handle_event,
            clock,
            wall,
            on_failure=self._fail,
            on_late=self.endpoint.moving.excuse,
        )
        self.connector = Connector(
            self.endpoint,
            self.call,
            clock,
            sock.local_address,
            self.require_running,
            self.flush,
            self.begin,
            partial(find_refusal, pauses_s=PATIENT_PAUSES_S) if open_socket is open_udp else None,
            self._is_node,
        )
        self.nat = NatService(
            config,
            self.endpoint,
            sock.local_address,
            open_socket,
            self.call,
            clock,
            self.flush,
            rng,
        )
        """The diagnosis of this node's NAT."""
        self._moves = Moves(
            self.endpoint, machine or StillMachine(), sock.local_address[0], clock, self.flush
        )
        self._support = TraversalSupport(
            config, self.endpoint, sock, self.nat, clock, self.flush, rng, self.begin
        )
        self._calls: dict[int, asyncio.Future[Any]] = {}
        # Not held here: a reader that its owner has forgotten must hold up nobody.
        self._references: list[weakref.ref[Subscription]] = []
        self._read_noted = False
        self.endpoint.readers.on_read = self._note_read
        self.partings = Partings()
        """Joined servers to which somebody said goodbye."""
        self._departures = Departures()
        self._silences = Silences()
        self._tasks: set[asyncio.Task[None]] = set()
        self.joining = Joining(
            self.connector.connect,
            self._wait_until_left,
            clock,
            rng,
            self.partings,
            self._moves.pause,
            self.begin,
            Elsewhere(
                self.connector.connect_elsewhere, self._wait_until_silent, self.connector.leave
            ),
            self.endpoint.peers.has_session_at,
        )
        self.endpoint.server_watch.on_silent.append(self._silences.note)
        self.nat.found_at = self.joining.found_at
        self._stun = StunServing(
            self.endpoint, self.connector, sock.local_address, clock, self.flush
        )
        self.failure: BaseException | None = None
        """What broke the machinery itself."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] | None = None

    @classmethod
    async def start(
        cls,
        config: Config,
        open_socket: OpenSocket,
        clock: Callable[[], float],
        rng: random.Random,
        wall: Callable[[], float] = time.time,
        machine: Machine | None = None,
    ) -> "Runtime":
        """Bind the address, and begin to serve, to look for neighbours and to join servers.

        Raises:
            BindError: The listening address cannot be taken.
            LocalError: It cannot be resolved.
        """
        listen = await resolve(parse_address(config.server.address))
        sock = await open_socket(listen)
        runtime = cls(config, sock, open_socket, clock, rng, wall, machine)
        runtime.begin(runtime._driver.run(), "pump")
        runtime.begin(runtime._moves.run(), "moves")
        work = watch_networks(
            runtime.endpoint.neighbours,
            runtime.socket.local_address,
            clock,
            runtime.flush,
            runtime.note_hosts,
            searching=config.server.enable_discovery,
            pause=runtime._moves.pause_until_changed,
        )
        runtime.begin(work, "networks")
        runtime._use_ip_versions()
        if config.stun_server.enable:
            await runtime._stun.open(config.stun_server, open_socket)
            runtime.begin(runtime._stun.run(), "stun")
        runtime._keep_joined()
        return runtime

    def reload(self, config: Config) -> None:
        """Go by other options from now on: by those that can change."""
        self._config = config
        self.endpoint.reload(config)
        self.nat.reload(config)
        self._keep_joined()

    def _keep_joined(self) -> None:
        servers = (*self._config.server.join, *self._stun.partner)
        self.joining.keep(servers, self._config.security.auth_timeout)

    @property
    def now(self) -> float:
        """The time on the endpoint's clock, seconds."""
        return self._clock()

    async def _is_node(self, address: Address) -> bool:
        return await self.nat.is_node(address)

    def note_hosts(self, hosts: tuple[Address, ...]) -> None:
        """This machine's addresses, as others on its networks reach this node."""
        offers = self.endpoint.traversal.offers
        servers = [peer.address for peer in self.endpoint.peers.best_servers(self.now)]
        offers.own = own_networks(self.socket.local_address, servers[:MAX_FACED])
        offers.hosts = offers.own.worth_telling(hosts)

    def _use_ip_versions(self) -> None:
        host, port = self.socket.local_address
        if host == "::":
            return  # one socket for both
        self.endpoint.traversal.standing.reach(ip_version(host))
        if self._config.ice.enable and wants_ipv6_beside((host, port)):
            work = keep_ipv6_beside(
                port,
                self.nat.open_probe,
                self._support.stand_beside,
                pause=self._moves.pause_until_changed,
            )
            self.begin(work, "IPv6")

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Own a task: `close` cancels it, and `failure` tells its exception."""
        task = self._loop.create_task(work, name=name)
        task.add_done_callback(self._handle_task_end)
        self._tasks.add(task)
        return task

    def _handle_task_end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or self.closing:
            return
        error = task.exception()
        if error is not None:
            self._fail(error)
        elif self.socket.closed:
            self._fail(OSError("the event loop lost the socket"))

    def _fail(self, error: BaseException) -> None:
        """The machinery is broken: nothing is done any more, and nobody waits for it."""
        if self.failure is not None:
            return
        log.error("the node failed", exc_info=error)
        self.failure = error
        self._stop()
        self._end_waiting(self._failure_words(), error)

    def _failure_words(self) -> str:
        return f"the node failed: {type(self.failure).__name__}: {self.failure}"

    async def wait_ended(self) -> None:
        """Wait until the node breaks or is closed.

        Raises:
            LocalError: It was closed.
            Exception: What broke it.
        """
        await asyncio.shield(self._ended)

    @property
    def closing(self) -> bool:
        """Whether `close` was called."""
        return self._closed is not None

    def require_running(self) -> None:
        """Nothing can be asked of a node that is closed, or broken.

        Raises:
            LocalError: This one is.
        """
        if self.closing:
            raise LocalError("the node is closed")
        if self.failure is not None:
            raise LocalError(f"{self._failure_words()}; close it")

    async def close(self, reason: str) -> None:
        """Say goodbye to every peer, send what is left, and release everything."""
        if self._closed is not None:
            await asyncio.shield(self._closed)
            return
        self._closed = self._loop.create_future()
        try:
            if self.failure is None:
                self.endpoint.close(reason, self.now)
                self._driver.flush()
                await self._wait_until_sent()
        finally:
            self._stop()
            closed = f"the node was closed: {reason}"
            self._end_waiting(closed, LocalError(closed))
            try:
                await asyncio.gather(*self._tasks, return_exceptions=True)
            finally:
                self._closed.set_result(None)

    async def _wait_until_sent(self) -> None:
        for _ in range(CLOSE_LOOKS):
            if not self.socket.counters().backlog:
                return
            await asyncio.sleep(CLOSE_FLUSH_S / CLOSE_LOOKS)

    def _stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        self._driver.close()
        self.socket.close()
        self._support.close()
        self._stun.close()
        self.joining.give_up()

    def _end_waiting(self, reason: str, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # marks it as seen, for those who never wait for it
        for future in self._calls.values():
            if not future.done():
                future.set_exception(LocalError(reason))
        self._calls.clear()
        for subscription in self._subscriptions:
            subscription.close()
        self._references.clear()

    # Calls and events.

    def flush(self) -> None:
        """Let what was just asked of the endpoint happen."""
        self._driver.flush()

    def call(self, token: int) -> Awaitable[Any]:
        """The end of a call on the endpoint, to be awaited; from now on it is not missed.

        What ended it is its result, or the P2PError that it raises.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls[token] = future
        future.add_done_callback(lambda _: self._calls.pop(token, None))
        self._driver.flush()
        return future

    async def _wait_until_left(self, address: Address) -> None:
        if self.endpoint.peers.at(address) is not None:
            await self._departures.wait(address)

    async def _wait_until_silent(self, address: Address) -> None:
        peer = self.endpoint.peers.at(address)
        if peer is None or not self.endpoint.server_watch.is_called_silent(peer):
            await self._silences.wait(address)

    def later(self, delay_s: float, action: Callable[[float], None]) -> asyncio.TimerHandle:
        """Do something to the endpoint after a time, seconds."""

        def run() -> None:
            try:
                action(self.now)
                self._driver.flush()
            except Exception as error:
                self._fail(error)

        return self._loop.call_later(delay_s, run)

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, CallFinished):
            future = self._calls.get(event.token)
            if future is not None and not future.done():
                if isinstance(event.outcome, P2PError):
                    future.set_exception(event.outcome)
                else:
                    future.set_result(event.outcome)
            return
        if isinstance(event, StunReplyDue):
            self._stun.send(event)
            return
        if self._support.handle(event):
            return
        if isinstance(event, PeerStatusChanged):
            self._departures.note(event)
            self._note_server(event)
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell all readers."""
        for subscription in self._subscriptions:
            subscription.put(event)

    @property
    def _subscriptions(self) -> list[Subscription]:
        return [reader for each in self._references if (reader := each()) is not None]

    def subscribe(self, limit: int, *, data: bool = True) -> Subscription:
        """What happens from now on; `data` is whether that includes Data."""
        self._driver.flush()  # what has come already is for those who read already
        self._references = [each for each in self._references if each() is not None]
        room = self.endpoint.readers.open(self._config.reliability.reader_bytes) if data else None
        subscription = Subscription(limit, room)
        self._references.append(weakref.ref(subscription))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        subscription.close()
        self._references = [each for each in self._references if each() is not subscription]

    def _note_read(self) -> None:
        # It may come from wherever a reader that nobody holds is collected, any thread included.
        if not (self._read_noted or self.closing or self._loop.is_closed()):
            self._read_noted = True
            self._loop.call_soon_threadsafe(self._handle_read)

    def _handle_read(self) -> None:
        self._read_noted = False
        if not self.closing and self.failure is None:
            self.endpoint.handle_read(self.now)
            self._driver.flush()

    def _note_server(self, event: PeerStatusChanged) -> None:
        """The way to a server that was joined tells which of the own addresses is the best."""
        if event.status is PeerStatus.AUTHENTICATED:
            peer = self.endpoint.peers.at(event.address)
            if peer is not None and peer.is_joined_server:
                self.note_hosts(self.endpoint.traversal.offers.hosts)
