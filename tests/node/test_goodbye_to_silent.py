"""A goodbye to a silent server while another address of its name is searched: that ends, too."""

import asyncio
import random

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.errors import HandshakeError
from p2ptui.node import Node
from p2ptui.node.joiner import Elsewhere, keep_joined
from p2ptui.node.partings import Partings
from tests.node.test_host_names import run_with_names
from tests.node.test_other_addresses import FIRST, NAME, NAMES, SECOND, SERVER, servers_of
from tests.town import Town
from tests.virtual_loop import run_virtual

NAMED = ("server.example", 8080)


class Script:
    """A joiner, and servers at two addresses, of which the first falls silent."""

    def __init__(self, search_s: float = 0.05, *, is_one_machine: bool = False) -> None:
        self.search_s = search_s
        self.is_one_machine = is_one_machine
        self.partings = Partings()
        self.gone = {FIRST: asyncio.Event(), SECOND: asyncio.Event()}
        self.silent = {FIRST: asyncio.Event(), SECOND: asyncio.Event()}
        self.log: list[str] = []
        self.left: list[object] = []
        self.task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        async def connect(_server, _timeout_s):
            self.log.append("joined")
            for event in (*self.gone.values(), *self.silent.values()):
                event.clear()
            return ConnectResult("id", FIRST, None)

        async def connect_elsewhere(_server, _timeout_s, but):
            self.log.append("search")
            try:
                await asyncio.sleep(self.search_s)
            except asyncio.CancelledError:
                self.log.append("given up")
                raise
            other = SECOND if but == FIRST else FIRST
            if self.is_one_machine:
                self.gone[but].set()
                await asyncio.sleep(0.01)
            self.log.append("joined elsewhere")
            self.gone[other].clear()
            self.silent[other].clear()
            return ConnectResult("id", other, None)

        async def wait_until_left(address):
            await self.gone[address].wait()

        async def wait_until_silent(address):
            await self.silent[address].wait()

        clock = asyncio.get_running_loop().time
        elsewhere = Elsewhere(connect_elsewhere, wait_until_silent, self.left.append)
        rng = random.Random(0)
        await keep_joined(
            NAMED, connect, wait_until_left, clock, rng, 1.0, self.partings, None, elsewhere
        )

    def part(self, address=FIRST) -> bool:
        is_kept = self.partings.part(address)
        self.gone[address].set()
        return is_kept

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.049])
def test_the_search_is_given_up(after_s: float) -> None:
    async def story():
        script = Script()
        await asyncio.sleep(1)
        script.silent[FIRST].set()
        await asyncio.sleep(after_s)
        assert script.part()
        await asyncio.sleep(600)
        assert "joined elsewhere" not in script.log
        assert script.log.count("joined") == 1
        script.partings.resume(FIRST)
        await asyncio.sleep(1)
        assert script.log.count("joined") == 2
        await script.end()

    run_virtual(story())


def test_what_is_joined_at_the_same_moment_is_left() -> None:
    async def story():
        script = Script(search_s=0.5)
        await asyncio.sleep(1)
        script.silent[FIRST].set()
        asyncio.get_running_loop().call_later(0.5, script.part)
        await asyncio.sleep(60)
        assert script.left == [SECOND] or "joined elsewhere" not in script.log
        await script.end()

    run_virtual(story())


def test_the_same_machine_leaves_its_other_address_by_itself() -> None:
    async def story():
        script = Script(is_one_machine=True)
        await asyncio.sleep(1)
        script.silent[FIRST].set()
        await asyncio.sleep(10)
        assert script.log == ["joined", "search", "joined elsewhere"]
        assert script.left == []
        await script.end()

    run_virtual(story())


def test_a_goodbye_to_the_address_that_was_left_means_nothing_later() -> None:
    async def story():
        script = Script()
        await asyncio.sleep(1)
        script.silent[FIRST].set()
        await asyncio.sleep(1)
        assert not script.part(FIRST)  # it is not kept: its other address is
        script.silent[SECOND].set()
        await asyncio.sleep(1)
        script.silent[FIRST].set()
        await asyncio.sleep(1)
        assert script.log.count("joined elsewhere") == 3
        await script.end()

    run_virtual(story())


# --- with whole nodes


async def until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("not reached within three seconds")


async def fall_silent(town: Town, first: Node, client: Node) -> None:
    """Until this node shakes hands with the other address of the first server."""
    town.crash(first)
    task = asyncio.create_task(client.send(FIRST, "hello", timeout_s=60))
    await until(lambda: any(peer.address == SECOND for peer in client.peers))
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("is_one_machine", [False, True])
@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.01, 0.015])
def test_no_other_address_is_joined_after_a_goodbye(is_one_machine: bool, after_s: float) -> None:
    async def whole():
        async with Town() as town:
            first = await town.start("first", FIRST, **SERVER)
            same = first if is_one_machine else None
            second = await town.start("second", SECOND, same_as=same, **SERVER)
            client = await town.start("a", join=[NAME])
            await asyncio.sleep(1)
            assert servers_of(client) == {FIRST}
            await fall_silent(town, first, client)
            await asyncio.sleep(after_s)
            assert await client.disconnect(FIRST)
            await asyncio.sleep(30)
            assert servers_of(client) == set()
            assert not client.peers
            assert not second.peers

    run_with_names(whole(), NAMES)


def test_who_is_asked_for_by_name_is_kept_again_wherever_it_is() -> None:
    async def whole():
        async with Town() as town:
            first = await town.start("first", FIRST, **SERVER)
            second = await town.start("second", SECOND, **SERVER)
            client = await town.start("a", join=[NAME])
            await asyncio.sleep(1)
            await fall_silent(town, first, client)
            assert await client.disconnect(FIRST)
            await asyncio.sleep(10)
            await client.connect(NAME)
            assert servers_of(client) == {SECOND}
            await asyncio.sleep(10)
            await second.close()
            await town.start("heir", SECOND, **SERVER)
            await asyncio.sleep(10)
            assert servers_of(client) == {SECOND}

    run_with_names(whole(), NAMES)


def test_a_handshake_for_which_nobody_waits_ends() -> None:
    async def whole():
        async with Town() as town:
            client = await town.start("a")
            started = client._started
            for addresses in ([FIRST], [FIRST, SECOND]):
                token = started.endpoint.connect_any(addresses, started.now, 30.0)
                call = asyncio.ensure_future(started.call(token))
                await asyncio.sleep(0.1)
                started.endpoint.give_up(token, "it is not wanted any more", started.now)
                started.flush()
                with pytest.raises(HandshakeError, match="not wanted"):
                    await call
                await asyncio.sleep(1)
                assert not client.peers

    run_virtual(whole())
