"""What runs under a node: socket, core, pump and background tasks, started and ended together."""

import asyncio
import contextlib
import logging
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import (
    CallFinished,
    ConnectResult,
    Event,
    PeerStatus,
    PeerStatusChanged,
)
from p2ptui.core.identity import canonical_id, own_node_info
from p2ptui.core.peers import Peer
from p2ptui.errors import LocalError, P2PError, PeerTimeoutError
from p2ptui.io.driver import Driver
from p2ptui.io.interfaces import broadcast_addresses, local_networks
from p2ptui.io.resolve import resolve
from p2ptui.io.udp import DatagramSocket
from p2ptui.node.arguments import single_host
from p2ptui.node.joiner import keep_joined
from p2ptui.node.subscription import Subscription
from p2ptui.version import VERSION
from p2ptui.wire.address import Address, format_address, parse_address

log = logging.getLogger("p2ptui.node")

OpenSocket: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]

CLOSE_FLUSH_S: Final = 0.5
"""How long `close` waits, at most, for the system to take goodbyes that it had no room for."""

CLOSE_LOOKS: Final = 10
"""So often it looks meanwhile whether they have left."""

SHORTEST_ATTEMPT_S: Final = 0.1
"""What a handshake gets after a look-up that took all the time."""

NETWORKS_REFRESH_S: Final = 30.0
"""A machine's networks are looked up this often: cables and radios come and go."""

_LOOPBACK: Final = ("127.0.0.1",)
_LOOPBACK_V6: Final = ("::1",)


class Runtime:
    """The machinery of one started node; `start` makes it.

    Args:
        config: Every option.
        sock: The open socket; `close` closes it.
        clock: Seconds that only go forward.
        rng: Where ids and jitter come from.
        wall: Unix time, seconds.
    """

    def __init__(
        self,
        config: Config,
        sock: DatagramSocket,
        clock: Callable[[], float],
        rng: random.Random,
        wall: Callable[[], float] = time.time,
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
        listening = format_address(sock.local_address)
        identity = own_node_info(node_id, server.name, VERSION, listening, server.network_id)
        self.endpoint = Endpoint(config, identity, rng, wall() - self.started_at)
        self._driver = Driver(
            self.endpoint, sock, self._handle_event, clock, wall, on_failure=self._fail
        )
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._subscriptions: list[Subscription] = []
        self._departures: dict[Address, list[asyncio.Future[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
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
    ) -> "Runtime":
        """Bind the address, and begin to serve, to look for neighbours and to join servers.

        Raises:
            BindError: The listening address cannot be taken.
            LocalError: It cannot be resolved.
        """
        listen = await resolve(parse_address(config.server.address))
        runtime = cls(config, await open_socket(listen), clock, rng, wall)
        runtime._begin(runtime._driver.run(), "pump")
        runtime._begin(runtime._watch_networks(), "networks")
        for text in config.server.join:
            work = keep_joined(
                parse_address(text),
                runtime.connect,
                runtime.wait_until_left,
                clock,
                rng,
                config.security.auth_timeout,
            )
            runtime._begin(work, f"join {text}")
        return runtime

    @property
    def now(self) -> float:
        """The time on the endpoint's clock, seconds."""
        return self._clock()

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        # Every task is owned here: cancelled by `close`, its exception told by `failure`.
        task = self._loop.create_task(work, name=name)
        task.add_done_callback(self._handle_task_end)
        self._tasks.append(task)

    def _handle_task_end(self, task: "asyncio.Task[None]") -> None:
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
        for task in self._tasks:
            task.cancel()
        self._driver.close()
        self.socket.close()

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
        self._subscriptions.clear()

    # Calls and events.

    def flush(self) -> None:
        """Let what was just asked of the endpoint happen."""
        self._driver.flush()

    async def call(self, token: int) -> Any:
        """Wait for the end of a call on the endpoint; its result.

        Raises:
            P2PError: What ended it.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls[token] = future
        self._driver.flush()
        try:
            return await future
        finally:
            self._calls.pop(token, None)

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
        if isinstance(event, PeerStatusChanged):
            self._note_status(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    def subscribe(self, limit: int) -> Subscription:
        """What happens from now on."""
        subscription = Subscription(limit)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        subscription.close()
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    # Connecting.

    async def connect(self, address: Address, timeout_s: float) -> ConnectResult:
        """Look a host up and shake hands with the node there, all within `timeout_s` seconds.

        Raises:
            P2PError: It cannot be found, refused, or did not answer.
        """
        deadline = self.now + timeout_s
        address = await self.resolve(address, timeout_s)
        self.require_running()
        left = max(deadline - self.now, SHORTEST_ATTEMPT_S)
        result: ConnectResult = await self.call(self.endpoint.connect(address, self.now, left))
        return result

    async def connect_by_id(self, node_id: str, timeout_s: float) -> ConnectResult:
        """Have the joined servers, one after the other, introduce a node, and shake hands with it.

        Raises:
            LocalError: No server is joined.
            P2PError: The last server's introduction led nowhere.
        """
        servers = [peer for peer in self.endpoint.peers if peer.initiated and peer.is_authenticated]
        if not servers:
            raise LocalError(f"cannot find node {node_id}: join a server first")
        deadline = self.now + timeout_s
        while True:
            # A silent server must not use up the time of the next one.
            share = max((deadline - self.now) / len(servers), SHORTEST_ATTEMPT_S)
            try:
                return await self._ask_server(servers.pop(), node_id, share)
            except P2PError:
                if not servers:
                    raise

    async def _ask_server(self, server: Peer, node_id: str, timeout_s: float) -> ConnectResult:
        try:
            async with asyncio.timeout(timeout_s):
                token = self.endpoint.introduce(server, node_id, self.now, timeout_s)
                result: ConnectResult = await self.call(token)
        except TimeoutError:
            raise PeerTimeoutError(f"node {node_id} did not answer in time") from None
        return result

    async def resolve(self, address: Address, timeout_s: float) -> Address:
        """Look a host up, in the family of the socket.

        Raises:
            LocalError: It does not resolve in time, or means no single host.
        """
        family = _family_of(self.socket.local_address[0])
        try:
            async with asyncio.timeout(timeout_s):
                found = await resolve(address, family=family)
        except TimeoutError:
            raise LocalError(
                f"cannot resolve host {address[0]!r} within {timeout_s:g} s;"
                " check the network, or use an IP address"
            ) from None
        return single_host(found)

    async def wait_until_left(self, address: Address) -> None:
        """Return when there is no peer at `address` any more."""
        if self.endpoint.peers.at(address) is None:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._departures.setdefault(address, []).append(future)
        await future

    def _note_status(self, event: PeerStatusChanged) -> None:
        if event.status in (PeerStatus.DISCONNECTED, PeerStatus.FAILED):
            for future in self._departures.pop(event.address, ()):
                if not future.done():
                    future.set_result(None)

    # The machine's own networks.

    async def _watch_networks(self) -> None:
        searching = self._config.server.enable_discovery
        networks, hosts = self._look_around()
        port = self.socket.local_address[1]
        neighbours = self.endpoint.neighbours
        neighbours.start(networks, hosts, port, self.now, searching=searching)
        self._driver.flush()
        while True:
            await asyncio.sleep(NETWORKS_REFRESH_S)
            neighbours.update_networks(*self._look_around())

    def _look_around(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """The attached networks, and the hosts that a search asks."""
        host = self.socket.local_address[0]
        networks = tuple(local_networks())
        # A loopback socket reaches no network, and IPv6 has no broadcast.
        if host.startswith("127."):
            return networks, _LOOPBACK
        if host == "::":
            return networks, (*_LOOPBACK, *_LOOPBACK_V6, *broadcast_addresses())
        if ":" in host:
            return networks, _LOOPBACK_V6
        return networks, (*_LOOPBACK, *broadcast_addresses())


def _family_of(host: str) -> socket.AddressFamily:
    # The wildcard of IPv6 takes both families.
    if host == "::":
        return socket.AF_UNSPEC
    return socket.AF_INET6 if ":" in host else socket.AF_INET
