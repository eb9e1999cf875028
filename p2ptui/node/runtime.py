"""What runs under a node: socket, core, pump and background tasks, started and ended together."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeAlias

from p2ptui.config import Config
from p2ptui.core.events import Event, PeerStatusChanged, StunReplyDue
from p2ptui.errors import LocalError
from p2ptui.io.machine import Machine
from p2ptui.io.resolve import resolve
from p2ptui.io.udp import DatagramSocket, open_udp
from p2ptui.node.attachment import Attachment
from p2ptui.node.driven import Driven
from p2ptui.node.nat_service import NatService
from p2ptui.node.own_endpoint import Own, make_endpoint
from p2ptui.node.servers import Servers
from p2ptui.node.stun_serving import StunServing
from p2ptui.node.subscription import Subscription, Subscriptions
from p2ptui.node.traversal_support import TraversalSupport
from p2ptui.wire.address import Address, parse_address

log = logging.getLogger("p2ptui.node")

OpenSocket: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]

GOODBYES_AT_ONCE: Final = 32
"""Peers to which `close` says goodbye before the event loop gets its turn."""

GOODBYES_S: Final = 3.0
"""How long it does so, at most; then all remaining peers are told at once."""

CLOSE_FLUSH_S: Final = 0.5
"""How long `close` waits, at most, for the system to accept goodbyes that it had no room for."""

CLOSE_LOOKS: Final = 10
"""How often, in that time, it checks whether they were sent."""


class AmongOthers(Protocol):
    """The part of a node that serves its network together with others; see `node.cluster`."""

    def drain(self) -> None:
        """The node is about to say goodbye."""

    async def close(self) -> None:
        """The node has said goodbye."""


class Runtime:
    """The machinery of one started node; `start` makes it.

    Args:
        config: Every option.
        own: Who it is, and which nodes its user knows.
        sock: The open socket; `close` closes it.
        open_socket: Opens further sockets.
        clock: A monotonic clock, seconds.
        rng: The source of ids and jitter.
        wall: Unix time, seconds.
        machine: The machine that the node runs on; by default one that never moves.
    """

    def __init__(
        self,
        config: Config,
        own: Own,
        sock: DatagramSocket,
        open_socket: OpenSocket,
        clock: Callable[[], float],
        rng: random.Random,
        wall: Callable[[], float] = time.time,
        machine: Machine | None = None,
    ) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self.socket = sock
        self.started_at = clock()
        local = sock.local_address
        self.endpoint = make_endpoint(config, local, rng, wall, self.started_at, own)
        self._driven = driven = Driven(
            self.endpoint, sock, self._handle_event, clock, wall, self.fail
        )
        self.flush = driven.flush
        """Carries out what was just asked of the endpoint."""
        self.call = driven.call
        """An awaitable for the end of a call on the endpoint."""
        self.later = driven.later
        """Does something to the endpoint after a delay, seconds."""
        self._subscriptions = Subscriptions(self.endpoint.readers, self._handle_read)
        self._attachment = Attachment(driven, local, machine, self.begin)
        self.nat = NatService(
            config, self.endpoint, local, open_socket, driven.call, clock, driven.flush, rng
        )
        """The diagnosis of this node's NAT."""
        self._servers = Servers(
            driven,
            local,
            rng,
            self.begin,
            self.require_running,
            self._attachment.pause_until_moved,
            self.nat.is_node,
            own.book,
            self.tell,
            is_real=open_socket is open_udp,
        )
        self.connector = self._servers.connector
        self.joining = self._servers.joining
        self.partings = self._servers.partings
        self.acquaintances = self._servers.acquaintances
        self.refused = self._servers.refusals.shown
        """The servers that are to be joined and are refused."""
        self.network = self._servers.network
        """The servers of this node's network."""
        self.nat.found_at = self.joining.found_at
        self._support = TraversalSupport(
            config, self.endpoint, sock, self.nat, clock, driven.flush, rng, self.begin
        )
        self._stun = StunServing(self.endpoint, self.connector, local, clock, driven.flush)
        self.among_others: AmongOthers | None = None
        """Told about the end; None for a node that serves its network alone."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None
        """What broke the machinery itself."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] | None = None

    @classmethod
    async def start(
        cls,
        config: Config,
        own: Own,
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
        runtime = cls(config, own, sock, open_socket, clock, rng, wall, machine)
        runtime.begin(runtime._driven.run(), "pump")
        runtime._attachment.begin(searching=config.server.enable_discovery)
        runtime._attachment.use_ip_versions(
            runtime.nat.open_probe, runtime._support.stand_beside, beside=config.ice.enable
        )
        if runtime.acquaintances.book.has_file:
            runtime.begin(runtime.acquaintances.keep(), "known nodes")
        if config.stun_server.enable:
            await runtime._stun.open(config.stun_server, open_socket)
            runtime.begin(runtime._stun.run(), "stun")
        runtime._keep_joined()
        return runtime

    def reload(self, config: Config) -> None:
        """Use other options from now on, as far as they can change."""
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
        return self._driven.clock()

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Start a task: `close` cancels it, and `failure` has its exception."""
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
            self.fail(error)
        elif self.socket.closed:
            self.fail(OSError("the event loop lost the socket"))

    def fail(self, error: BaseException) -> None:
        """The machinery is broken: stop everything, and let nobody wait for it."""
        if self.failure is not None:
            return
        log.error("the node failed", exc_info=error, extra={"event": "node_failed"})
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
        """Check that the node is neither closed nor broken.

        Raises:
            LocalError: It is.
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
                await self._say_goodbye(reason)
            await self.acquaintances.close()  # even if the node broke
        finally:
            self._stop()
            closed = f"the node was closed: {reason}"
            self._end_waiting(closed, LocalError(closed))
            try:
                await asyncio.gather(*self._tasks, return_exceptions=True)
            finally:
                self._closed.set_result(None)

    async def _say_goodbye(self, reason: str) -> None:
        """Say goodbye in groups, each after the previous one was sent: otherwise some would be lost
        for lack of room in the system, and the loop would stall. If cancelled, all remaining peers
        are told at once."""
        self.joining.give_up()  # peers that are told goodbye are not lost
        if self.among_others is not None:
            self.among_others.drain()
        end = self.now + GOODBYES_S
        try:
            while self.endpoint.leave(reason, self.now, GOODBYES_AT_ONCE) and self.now < end:
                self.flush()
                await asyncio.sleep(0)
                await self._wait_until_sent()
        finally:
            self.endpoint.close(reason, self.now)
            self.flush()
        await self._wait_until_sent()
        if self.among_others is not None:
            await self.among_others.close()

    async def _wait_until_sent(self) -> None:
        for _ in range(CLOSE_LOOKS):
            if not self.socket.counters().backlog:
                return
            await asyncio.sleep(CLOSE_FLUSH_S / CLOSE_LOOKS)

    def _stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        self._driven.close()
        self.socket.close()
        self._support.close()
        self._stun.close()
        self.joining.give_up()

    def _end_waiting(self, reason: str, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # marks it as seen if nobody ever waits for it
        self._driven.end_calls(reason)
        self._subscriptions.close()

    # Events, and their readers.

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, StunReplyDue):
            self._stun.send(event)
        elif isinstance(event, PeerStatusChanged):
            self._servers.note(event)
            self._attachment.note(event)
            self.acquaintances.note(event, self.tell)
        elif not self._support.handle(event):
            self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell all readers."""
        self._subscriptions.tell(event)

    def subscribe(
        self,
        limit: int,
        *,
        data: bool | str = True,
        wants: Callable[[Event], bool] | None = None,
    ) -> Subscription:
        """Subscribe to what happens from now on; `data` says whether that includes Data, or names a
        key that Data must have, and `wants` whether it includes an event."""
        self.flush()  # what has already come is for existing readers
        reader_bytes = self._config.reliability.reader_bytes if data else None
        key = data if isinstance(data, str) else ""
        return self._subscriptions.open(limit, reader_bytes, wants, key)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        self._subscriptions.end(subscription)

    def _handle_read(self) -> None:
        if not self.closing:
            self.endpoint.handle_read(self.now)
            self.flush()
