"""Staying connected to a server: growing, jittered pauses, and back after every loss."""

import asyncio
import logging
import random

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus
from p2ptui.errors import HandshakeError
from p2ptui.node.joiner import Joining, keep_joined
from p2ptui.node.partings import Partings
from p2ptui.wire.address import format_address
from tests.town import Town
from tests.virtual_loop import run_virtual

SERVER = ("192.0.2.1", 8080)


class Script:
    """What happens to the attempts of `keep_joined`, and when they were made.

    Args:
        outcomes: For each attempt, how long the connection holds in seconds; None for a
            refusal. After the last one every attempt is refused.
    """

    def __init__(self, *outcomes: float | None) -> None:
        self._outcomes = list(outcomes)
        self._holds = 0.0
        self.attempts: list[float] = []

    async def connect(self, server, timeout_s):
        assert server == SERVER
        assert timeout_s == 10
        self.attempts.append(asyncio.get_running_loop().time())
        holds = self._outcomes.pop(0) if self._outcomes else None
        if holds is None:
            raise HandshakeError("refused")
        self._holds = holds
        return ConnectResult("id", ("192.0.2.1", 8080), None)

    async def wait_until_left(self, address):
        assert address == SERVER
        await asyncio.sleep(self._holds)

    async def run(self, for_s: float, seed: int = 1) -> list[float]:
        """Keep joined for so long; the pauses between the attempts, in seconds."""
        clock = asyncio.get_running_loop().time
        work = keep_joined(
            SERVER, self.connect, self.wait_until_left, clock, random.Random(seed), 10.0
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work, for_s)
        return [b - a for a, b in zip(self.attempts, self.attempts[1:], strict=False)]


def test_pauses_grow_up_to_a_minute_and_are_jittered():
    async def story():
        pauses = await Script().run(for_s=600)
        for pause, expected in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=False):
            assert expected * 0.75 <= pause <= expected * 1.25
        assert len(pauses) >= 9
        others = await Script().run(for_s=600, seed=2)
        assert others != pauses

    run_virtual(story())


def test_a_connection_that_held_begins_with_a_short_pause_again():
    async def story():
        script = Script(None, None, None, 100, None)
        pauses = await script.run(for_s=150)
        assert 3 <= pauses[2] <= 5
        assert 100 <= pauses[3] <= 100.25
        assert pauses[4] <= 1.25

    run_virtual(story())


def test_a_connection_that_breaks_at_once_does_not():
    async def story():
        pauses = await Script(*[0.1] * 20).run(for_s=600)
        assert pauses[5] > 20

    run_virtual(story())


def test_what_happens_is_logged_once_each(caplog):
    with caplog.at_level(logging.INFO, logger="p2ptui.join"):
        run_virtual(Script(None, 5).run(for_s=7))
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "cannot join 192.0.2.1:8080: refused"
    assert told[1].startswith("joining 192.0.2.1:8080 again in ")
    assert told[2:4] == ["joined 192.0.2.1:8080", "lost 192.0.2.1:8080"]


# --- with whole nodes


async def until(condition, within_s=120.0):
    for _ in range(int(within_s / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not reached within {within_s} s")


def connected(node, name):
    return any(p.name == name and p.status is PeerStatus.AUTHENTICATED for p in node.peers)


def test_a_node_joins_its_servers_at_start_and_again_after_a_restart():
    async def story():
        async with Town() as town:
            address = town.free_address()
            client = await town.start("client", join=(format_address(address),))
            await asyncio.sleep(30)  # nobody is there yet
            server = await town.start("server", address)
            await until(lambda: connected(client, "server"))
            await asyncio.sleep(60)
            await server.close()
            await until(lambda: not connected(client, "server"))
            await town.start("heir", address)
            await until(lambda: connected(client, "heir"))

    run_virtual(story())


def test_a_server_that_crashed_and_came_back_has_its_peers_again():
    async def story():
        async with Town() as town:
            address = town.free_address()
            options = {"heartbeat_interval": 5.0, "connection_timeout": 20.0}
            client = await town.start("client", join=(format_address(address),), **options)
            server = await town.start("server", address)
            await until(lambda: connected(client, "server"))
            server._started.socket.send = lambda *_: None  # without a goodbye
            await server.close()
            heir = await town.start("heir", address)
            await until(lambda: connected(client, "heir") and connected(heir, "client"))

    run_virtual(story())


def test_a_server_given_twice_or_of_the_node_itself_does_no_harm():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            own = town.free_address()
            where = format_address(server.address)
            client = await town.start("client", own, join=(where, where, format_address(own)))
            await asyncio.sleep(300)
            assert connected(client, "server")
            assert len(client.peers) <= 2
            assert not client.has_failed

    run_virtual(story())


# --- after a goodbye


def test_a_joined_server_that_was_said_goodbye_to_stays_away_until_it_is_asked_for():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            address = server.address
            where = format_address(address)
            client = await town.start("client", join=(where,))
            await until(lambda: connected(client, "server"))
            assert await client.disconnect("server") is True
            for _ in range(60):
                await asyncio.sleep(10)
                assert client.peers == []
            await client.connect(where)
            assert connected(client, "server")
            # And from then on it is kept joined as before.
            await asyncio.sleep(60)
            await server.close()
            await until(lambda: not connected(client, "server"))
            await town.start("heir", address)
            await until(lambda: connected(client, "heir"))
            assert await client.disconnect("heir") is True
            await asyncio.sleep(300)
            assert client.peers == []

    run_virtual(story())


def test_a_goodbye_while_a_server_is_being_asked_holds_too():
    async def story():
        async with Town() as town:
            address = town.free_address()
            client = await town.start("client", join=(format_address(address),))
            await asyncio.sleep(0.2)
            assert await client.disconnect(address) is True
            await town.start("server", address)
            await asyncio.sleep(300)
            assert client.peers == []

    run_virtual(story())


def test_a_goodbye_during_the_pause_before_the_next_attempt_holds_too():
    async def story():
        partings, script = Partings(), Script()
        clock = asyncio.get_running_loop().time
        work = asyncio.ensure_future(
            keep_joined(
                SERVER,
                script.connect,
                script.wait_until_left,
                clock,
                random.Random(1),
                10.0,
                partings,
            )
        )
        await asyncio.sleep(20)
        asked = len(script.attempts)
        partings.part(SERVER)
        await asyncio.sleep(600)
        assert len(script.attempts) == asked > 2
        partings.resume(SERVER)
        await asyncio.sleep(1.5)
        assert len(script.attempts) == asked + 2, "at once, and with short pauses again"
        work.cancel()

    run_virtual(story())


def test_a_goodbye_to_one_server_concerns_no_other_and_a_plain_peer_is_not_kept():
    async def story():
        async with Town() as town:
            one, two, bob = [await town.start(name) for name in ("one", "two", "bob")]
            join = (format_address(one.address), format_address(two.address))
            client = await town.start("client", join=join)
            await client.connect(bob.address)
            await until(lambda: connected(client, "one") and connected(client, "two"))
            assert await client.disconnect("bob") is False
            assert await client.disconnect("one") is True
            address = two.address
            await two.close()
            await town.start("heir", address)
            await until(lambda: connected(client, "heir"))
            assert [peer.name for peer in client.peers] == ["heir"]

    run_virtual(story())


def test_a_new_time_limit_counts_for_servers_that_are_kept_joined() -> None:
    async def story() -> None:
        loop, limits = asyncio.get_running_loop(), []

        async def connect(_address, timeout_s):
            limits.append(timeout_s)
            raise HandshakeError("refused")

        async def pause(_seconds):
            await asyncio.sleep(1)
            return True

        async def never(_address):
            raise AssertionError("nothing was joined")

        tasks = []

        def begin(work, _name):
            tasks.append(loop.create_task(work))
            return tasks[-1]

        joining = Joining(connect, never, loop.time, random.Random(1), Partings(), pause, begin)
        joining.keep(["192.0.2.1:8080"], 10.0)
        await asyncio.sleep(1.5)
        joining.keep(["192.0.2.1:8080"], 2.0)
        await asyncio.sleep(2)
        assert limits == [10.0, 10.0, 2.0, 2.0]
        assert len(tasks) == 1
        joining.keep([], 2.0)

    run_virtual(story())
