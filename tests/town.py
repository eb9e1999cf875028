"""Whole nodes in a simulated network on virtual time, started and ended together.

    def test_two_nodes_meet():
        async def story():
            async with Town() as town:
                server, client = await town.start("server"), await town.start("client")
                await client.connect(server.address)

        run_virtual(story())

At the end every node is closed, and nothing of it may be left: no task, no socket.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from p2ptui import Config, Node
from p2ptui.core.events import Event
from p2ptui.io.machine import Machine
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.node.subscription import Subscription
from p2ptui.wire.address import Address, format_address

LATENCY_S = 0.01

MET_S = 0.05
"""After a handshake: the side that answered lets the other one in when its last message is there,
half a round trip after `connect` has come back."""


class _Drawn(random.Random):
    """What a node draws; the first 128 bits are its identity, which another one may take on.

    Args:
        seed: Of all but those, if they are given.
        first: These.
    """

    def __init__(self, seed: str, first: int | None = None) -> None:
        super().__init__(seed)
        self.first = first
        self._is_begun = False

    def getrandbits(self, k: int, /) -> int:
        drawn = super().getrandbits(k)
        if k == 128 and not self._is_begun:
            self._is_begun = True
            self.first = drawn = drawn if self.first is None else self.first
        return drawn


class Town:
    """A network and its nodes.

    Args:
        seed: Of all that is random.
        link: Options of `MemoryNetwork` and its links.
    """

    def __init__(self, seed: int = 0, **link: Any) -> None:
        link.setdefault("latency_s", LATENCY_S)
        self.network = MemoryNetwork(seed=seed, **link)
        self._seed = seed
        self._nodes: list[Node] = []
        self._hosts = 1
        self._at_end: list[Callable[[], None]] = []

    async def __aenter__(self) -> "Town":
        return self

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        for node in self._nodes:
            await node.close()
        for action in self._at_end:
            action()
        if kind is None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"these tasks were left: {left}"

    def at_end(self, action: Callable[[], None]) -> None:
        """Do something once all nodes are closed."""
        self._at_end.append(action)

    def free_address(self, port: int = 8080) -> Address:
        """An address of a host of its own."""
        self._hosts += 1
        return f"10.0.0.{self._hosts}", port

    def make(
        self,
        name: str = "",
        address: Address | None = None,
        machine: Machine | None = None,
        same_as: Node | None = None,
        secured: bool = True,
        **options: Any,
    ) -> Node:
        """A node that is not started; its machine never moves, unless one is given. With `same_as`
        it has the keys, and so the id, of another one: that node, once more."""
        config = self.configured(name, address, **options)
        return self.make_from(config, machine, same_as, secured=secured)

    def configured(self, name: str = "", address: Address | None = None, **options: Any) -> Config:
        """The configuration of a node that stays within the town."""
        options.setdefault("enable_discovery", False)
        where = format_address(address or self.free_address())
        # Nobody is looked up outside the town.
        options.setdefault("nat_detection", {"enable": False, "stun_servers": []})
        options.setdefault("ice", {"stun_servers": []})
        return Config().with_options(name=name, address=where, **options)

    def make_from(
        self,
        config: Config,
        machine: Machine | None = None,
        same_as: Node | None = None,
        *,
        secured: bool = True,
        **how: Any,
    ) -> Node:
        """A node with this configuration, that is not started; `how` as for `Node`."""
        seed = f"{self._seed} {config.server.name} {len(self._nodes)}"
        drawn = same_as._rng if same_as is not None else None
        node = Node(
            config,
            open_socket=lambda at: MemorySocket.open(self.network, at),
            clock=asyncio.get_running_loop().time,
            rng=_Drawn(seed, drawn.first if isinstance(drawn, _Drawn) else None),
            machine=machine,
            secured=secured,
            **how,
        )
        self._nodes.append(node)
        return node

    async def start(
        self,
        name: str = "",
        address: Address | None = None,
        machine: Machine | None = None,
        same_as: Node | None = None,
        secured: bool = True,
        **options: Any,
    ) -> Node:
        """A running node."""
        node = self.make(name, address, machine, same_as, secured, **options)
        await node.start()
        return node

    async def trio(self, **server_options: Any) -> tuple[Node, Node, Node]:
        """A server, and two clients that are connected to it."""
        server = await self.start("server", **server_options)
        alice, bob = await self.start("alice"), await self.start("bob")
        await alice.connect(server.address)
        await bob.connect(server.address)
        await asyncio.sleep(MET_S)
        return server, alice, bob

    def partition(self, a: Node, b: Node) -> None:
        """Nothing gets through between two nodes any more."""
        self.network.partition(a.address[0], b.address[0])

    def crash(self, node: Node) -> None:
        """Cut a node off from everybody, as a machine without power is."""
        for other in self._nodes:
            if other is not node:
                self.partition(node, other)


async def next_of(events: Subscription, kind: type[Event], within_s: float = 60.0) -> Any:
    """The next event of a kind; the others before it are passed over."""
    async with asyncio.timeout(within_s):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the events ended before a {kind.__name__} came")


def taken(events: Subscription, kind: type[Event]) -> list[Any]:
    """Those events of a kind that already wait."""
    return [event for event in events.take(100_000) if isinstance(event, kind)]
