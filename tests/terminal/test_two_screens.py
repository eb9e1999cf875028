"""Two people on one machine, each at a screen; also while 1,000 messages a second arrive."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from p2ptui.config import Config
from p2ptui.node import Node
from tests.patience import SLOWER
from tests.terminal.flood import flood
from tests.terminal.terminal import Screen, Terminal

TIMEOUT_S = 5
FLOOD_PER_SECOND = 1000

OPTIONS = ("--heartbeat-interval", "1", "--connection-timeout", str(TIMEOUT_S))


@asynccontextmanager
async def flooded(screen: Screen, per_second: int) -> AsyncIterator[None]:
    """Have a third node send to a screen."""
    options = Config().with_options(address="127.0.0.1:0", enable_discovery=False, name="flooder")
    async with Node(options) as node:
        peer = await node.connect(await screen.address())
        task = asyncio.create_task(flood(node, peer, per_second))
        try:
            yield
            assert not task.done(), "the flood has dried up"
            counted = node.peer(peer.node_id)
            meant = per_second * (counted.connected_for_s - 1)
            assert counted.messages_out >= 0.8 * meant / SLOWER
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("per_second", [0, FLOOD_PER_SECOND])
async def test_two_screens_talk_and_one_notices_when_the_other_dies(
    per_second: int, terminal: Terminal
) -> None:
    alice = terminal.open("alice", OPTIONS)
    bob = terminal.open("bob", OPTIONS)
    bobs_address = await bob.address()
    await alice.address()
    async with AsyncExitStack() as stack:
        if per_second:
            await stack.enter_async_context(flooded(alice, per_second))
            await alice.shows("flood")
            alice.type("filter !flooder")
        alice.type(f"connect {bobs_address}")
        await alice.shows("connected to bob")
        await bob.shows("● alice")
        alice.type("ping bob 3")
        await alice.shows("3 of 3 answered")
        alice.type("send bob hello from alice")
        await alice.shows("delivered .* to bob")
        await bob.shows("hello from alice")
        bob.type("send alice hello from bob")
        await bob.shows("delivered .* to alice")
        await alice.shows("hello from bob")

        os.kill(bob.pid, signal.SIGKILL)
        await bob.exit_code()
        await alice.shows(r"bob +.*disconnected")
        assert alice.running
    alice.press("C-q")
    assert await alice.exit_code() == 0
    await alice.is_restored()
