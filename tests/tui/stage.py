"""Real nodes in a simulated network, and the screen of one of them, in virtual time."""

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from p2ptui.config import Config, UiOptions
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.node import Node
from p2ptui.tui.app import P2PApp
from p2ptui.tui.history import History
from p2ptui.tui.settings import Settings
from tests.tui.thrift import draw_rest, seldom_drawn
from tests.virtual_loop import VirtualLoop, run_virtual
from tests.virtual_time import unix_time

ALICE = ("10.0.0.1", 8080)

WATCHED_S = 1.5
"""At the beginning and at the end of a wait, every frame is drawn."""


class Stage:
    """Alice with her screen, and whoever else is wanted."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.network = MemoryNetwork(seed=1, latency_s=0.002, jitter_s=0.001)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.alice: Node
        self.alice_name = "alice"
        self.with_toasts = False
        self.app: P2PApp
        self.pilot: Pilot[int]

    def wall(self) -> float:
        return unix_time(self.loop)

    async def node(
        self,
        name: str,
        host: str,
        *,
        secured: bool = True,
        key_log: Path | None = None,
        **options: Any,
    ) -> Node:
        # No names: a look-up would take real time.
        options.setdefault("nat_detection", {"stun_servers": ["203.0.113.1:3478"]})
        config = Config().with_options(
            name=name, address=f"{host}:8080", enable_discovery=False, **options
        )
        return await self._stack.enter_async_context(
            self.make(config, secured=secured, key_log=key_log)
        )

    def at_end(self, action: Callable[[], None]) -> None:
        """Do something before all ends."""
        self._stack.callback(action)

    def make(self, config: Config, *, secured: bool = True, key_log: Path | None = None) -> Node:
        """A node in this network that is not started."""
        return Node(
            config,
            open_socket=functools.partial(MemorySocket.open, self.network),
            clock=self.loop.time,
            rng=random.Random(config.server.name),
            wall=self.wall,
            secured=secured,
            key_log=key_log,
        )

    async def friend(self, name: str, number: int, **options: Any) -> Node:
        """A node that connects to Alice."""
        node = await self.node(name, f"10.0.1.{number}", **options)
        await node.connect(ALICE)
        await asyncio.sleep(0.004)  # Alice lets in by the last message, half a round trip later
        return node

    async def open(
        self,
        size: tuple[int, int] = (120, 40),
        history: History | None = None,
        options: UiOptions | None = None,
        settings: Settings | None = None,
        *,
        diagnose: bool = False,
        **alice: Any,
    ) -> P2PApp:
        self.alice = await self.node(self.alice_name, ALICE[0], **alice)
        self.app = P2PApp(self.alice, history, self.wall, options, settings, diagnose=diagnose)
        self.app.animation_level = "none"
        self.pilot = await self._stack.enter_async_context(
            self.app.run_test(size=size, notifications=self.with_toasts)
        )
        return self.app

    async def wait(self, seconds: float = 0.5) -> None:
        """Let everything be shown; in the middle of a long wait, only now and then."""
        if seconds <= 2 * WATCHED_S:
            await asyncio.sleep(seconds)
        else:
            await asyncio.sleep(WATCHED_S)
            with seldom_drawn():
                await asyncio.sleep(seconds - 2 * WATCHED_S)
            await asyncio.sleep(WATCHED_S)
        await self.pilot.pause()
        if self.app.is_running:
            draw_rest(self.app.screen)

    async def type(self, line: str) -> str:
        """Type a command and send it off; what the screen answers."""
        self.app.bar.type(line)
        await self.pilot.press("enter")
        await self.wait()
        while self.app.bar.said.endswith("..."):
            await self.wait()
        return self.app.bar.said

    def lines(self) -> list[str]:
        """What is on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return [strip.text for strip in strips]

    def text(self) -> str:
        return "\n".join(self.lines())


def play(story: Callable[[Stage], Awaitable[None]]) -> None:
    """Run a story in virtual time."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            await story(Stage(stack))

    run_virtual(run())
