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
from p2ptui.core.events import CallFinished, Event, PeerStatus, PeerStatusChanged
from p2ptui.core.identity import canonical_id, own_node_info
from p2ptui.errors import LocalError, P2PError
from p2ptui.io.driver import Driver
from p2ptui.io.interfaces import broadcast_addresses, local_networks
from p2ptui.io.resolve import resolve
from p2ptui.io.udp import DatagramSocket
from p2ptui.node.joiner import keep_joined
from p2ptui.node.subscription import Subscription
from p2ptui.version import VERSION
from p2ptui.wire.address import Address, format_address, parse_address

log = logging.getLogger("p2ptui.node")

OpenSocket: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]

CLOSE_FLUSH_S: Final = 0.5
"""How long `close` waits for the system to take goodbyes that it had no room for."""

NETWORKS_REFRESH_S: Final = 30.0
"""A machine's networks are looked up this often: cables and radios come and go."""

_LOOPBACK: Final = ("127.0.0.1",)


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
        self._driver = Driver(self.endpoint, sock, self._handle_event, clock, wall)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._subscriptions: list[Subscription] = []
        self._departures: dict[Address, list[asyncio.Future[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.failure: asyncio.Future[None] = self._loop.create_future()
        """Gets the exception if the machinery itself fails."""

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
                parse_address(text), runtime.join, runtime.wait_until_left, clock, rng
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
        if task.cancelled() or self.failure.done():
            return
        error = task.exception()
        if error is not None:
            log.error("%s failed: %s: %s", task.get_name(), type(error).__name__, error)
            self.failure.set_exception(error)
            self.failure.exception()  # marks it as seen, for those who never wait for it

    async def close(self, reason: str) -> None:
        """Say goodbye to every peer, send what is left, and release everything."""
        if self.socket.closed:
            return
        pump, *others = self._tasks
        for task in others:
            task.cancel()
        self.endpoint.close(reason, self.now)
        self._driver.flush()
        if self.socket.counters().backlog:
            await asyncio.sleep(CLOSE_FLUSH_S)
        self._driver.close()
        self.socket.close()
        pump.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for future in self._calls.values():
            if not future.done():
                future.set_exception(LocalError(f"the node was closed: {reason}"))
        self._calls.clear()
        for subscription in self._subscriptions:
            subscription.close()

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
            action(self.now)
            self._driver.flush()

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

    # Servers to stay connected to.

    async def join(self, server: Address, timeout_s: float) -> Address:
        """Shake hands with a server; the address that answered.

        Raises:
            P2PError: It cannot be found, refused, or did not answer.
        """
        address = await self.resolve(server)
        await self.call(self.endpoint.connect(address, self.now, timeout_s))
        return address

    async def resolve(self, address: Address) -> Address:
        """Look a host up, in the family of the socket.

        Raises:
            LocalError: It does not resolve.
        """
        return await resolve(address, family=_family_of(self.socket.local_address[0]))

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
        if host.startswith("127.") or ":" in host:
            # A loopback socket reaches no network, and IPv6 has no broadcast.
            return networks, _LOOPBACK if host.startswith("127.") else ()
        return networks, (*_LOOPBACK, *broadcast_addresses())


def _family_of(host: str) -> socket.AddressFamily:
    # The wildcard of IPv6 takes both families.
    if host == "::":
        return socket.AF_UNSPEC
    return socket.AF_INET6 if ":" in host else socket.AF_INET
