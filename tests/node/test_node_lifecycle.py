"""How a node begins and ends: calls that wait come to an end, and nothing is left over."""

import asyncio
import logging

import pytest

from p2ptui import Node
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import PeerStatusChanged
from p2ptui.errors import BindError, LocalError, P2PError
from tests.town import Town, next_of
from tests.virtual_loop import run_virtual

NODE_ID = "00000000-0000-4000-8000-000000000001"


def calls_of(node: Node) -> list:
    """Every call that needs a running node."""
    return [
        lambda: node.id,
        lambda: node.info,
        lambda: node.address,
        lambda: node.peers,
        lambda: node.routes,
        node.stats,
        node.events,
        lambda: node.peer("x"),
        lambda: node.trace(enabled=True),
        lambda: node.connect("10.0.0.9:80"),
        lambda: node.connect(NODE_ID),
        lambda: node.ping("x"),
        lambda: node.ping_routed(NODE_ID),
        lambda: node.send("x", "x"),
        lambda: node.send_routed(NODE_ID, "x"),
        lambda: node.relay("x", NODE_ID, b"x"),
        lambda: node.list_nodes("x"),
        lambda: node.discover(),
        lambda: node.disconnect("x"),
        lambda: node.wait_failed(),
    ]


async def outcome_of(call) -> str:
    """What a call says when it fails."""

    async def called():
        result = call()
        return await result if asyncio.iscoroutine(result) else result

    with pytest.raises(LocalError) as caught:
        await called()
    return str(caught.value)


# --- beginning


def test_a_node_that_is_not_started_says_so():
    async def story():
        async with Town() as town:
            node = town.make("node")
            for call in calls_of(node):
                assert await outcome_of(call) == "the node is not running; start it first"
            await node.close()  # harmless
            await node.start()
            assert node.info.name == "node"

    run_virtual(story())


def test_a_node_starts_once():
    async def story():
        async with Town() as town:
            node = town.make("node")
            starting = asyncio.gather(node.start(), node.start(), return_exceptions=True)
            assert [type(outcome) for outcome in await starting] == [type(None), LocalError]
            with pytest.raises(LocalError, match="started already"):
                await node.start()
            await node.close()
            with pytest.raises(LocalError, match="started already; make another one"):
                await node.start()

    run_virtual(story())


def test_a_node_whose_address_was_taken_may_try_again():
    async def story():
        async with Town() as town:
            first = await town.start("first")
            second = town.make("second", first.address)
            with pytest.raises(BindError) as caught:
                await second.start()
            assert str(caught.value) == (
                "cannot bind 10.0.0.2:8080: address already in use;"
                " choose another address with --address, or port 0 for a free one"
            )
            await first.close()
            await second.start()
            assert second.address == ("10.0.0.2", 8080)

    run_virtual(story())


def test_who_a_node_is():
    async def story():
        async with Town() as town:
            named = await town.start("alice", node_id=NODE_ID.upper(), network_id="test")
            assert (named.id, named.info.name, named.info.network_id) == (NODE_ID, "alice", "test")
            assert named.info.listen_addr == "10.0.0.2:8080"
            nameless, another = await town.start(), await town.start()
            assert nameless.info.name == f"p2ptui-{nameless.id[:8]}"
            assert nameless.id != another.id

    run_virtual(story())


# --- ending


def test_closing_says_goodbye_to_every_peer():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            told = [alice.events(), bob.events()]
            await server.close("maintenance")
            for events in told:
                left = await next_of(events, PeerStatusChanged)
                assert left.status.value == "disconnected"
                assert "maintenance" in left.reason

    run_virtual(story())


def test_a_closed_node_says_so():
    async def story():
        async with Town() as town:
            node = await town.start("node")
            await node.close()
            for call in calls_of(node)[:-1]:
                assert await outcome_of(call) == "the node is closed"
            assert await outcome_of(node.wait_failed) == "the node was closed: shutting down"

    run_virtual(story())


def test_closing_twice_or_at_once_is_fine():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            await asyncio.gather(*(client.close() for _ in range(3)))
            await client.close()
            async with town.make("context") as node:
                await node.close()

    run_virtual(story())


def test_calls_that_wait_end_with_an_error_when_the_node_closes():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            town.crash(server)
            waiting = [
                asyncio.ensure_future(call)
                for call in (
                    alice.connect("10.0.0.99:80", 100),
                    alice.connect(bob.id, 100),
                    alice.ping("server", 100),
                    alice.ping_routed(bob.id, 100),
                    alice.relay("server", bob.id, b"x", 100),
                    alice.send_routed(bob.id, "x", timeout_s=100),
                )
            ]
            sending = asyncio.ensure_future(alice.send("server", "x"))
            watching = asyncio.ensure_future(alice.wait_failed())
            listing = asyncio.ensure_future(alice.list_nodes("server", 100))
            reading = asyncio.ensure_future(next_of(alice.events(), type(None)))
            await asyncio.sleep(0.3)
            began = asyncio.get_running_loop().time()
            await alice.close("enough")
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, P2PError)
                assert "enough" in str(outcome) or "gone" in str(outcome)
            assert (await sending).status.value == "failed"
            for ended in (listing, watching):
                with pytest.raises(LocalError, match="the node was closed: enough"):
                    await ended
            assert not alice.has_failed
            with pytest.raises(AssertionError, match="the events ended"):
                await reading
            assert asyncio.get_running_loop().time() - began < 1

    run_virtual(story())


def test_a_call_that_is_cancelled_leaves_nothing():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            town.crash(server)
            for call in (client.ping("server", 20), client.send("server", "x", timeout_s=20)):
                task = asyncio.ensure_future(call)
                await asyncio.sleep(0.1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await asyncio.sleep(60)
            assert not client.has_failed

    run_virtual(story())


def test_goodbyes_wait_for_room_but_not_for_long(monkeypatch):
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            sock = client._started.socket
            counters = sock.counters()
            rooms = iter([2, 1, 0])
            monkeypatch.setattr(
                type(sock),
                "counters",
                lambda self: type(counters)(**{**fields(counters), "backlog": next(rooms, 0)}),
            )
            began = now()
            await client.close()
            assert 0 < now() - began < 0.2
            monkeypatch.setattr(
                type(sock),
                "counters",
                lambda self: type(counters)(**{**fields(counters), "backlog": 1}),
            )
            began = now()
            await server.close()
            assert now() - began == pytest.approx(0.5)

    def fields(counters):
        return {name: getattr(counters, name) for name in counters.__dataclass_fields__}

    def now():
        return asyncio.get_running_loop().time()

    run_virtual(story())


def test_a_close_that_is_cancelled_still_releases_everything(monkeypatch):
    async def story():
        async with Town() as town:
            node = await town.start("node")
            runtime = node._started

            async def for_ever():
                await asyncio.sleep(3600)

            monkeypatch.setattr(runtime, "_wait_until_sent", for_ever)
            closing = asyncio.ensure_future(node.close())
            await asyncio.sleep(1)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert runtime.socket.closed
            heir = await town.start("heir", runtime.socket.local_address)
            assert heir.address == runtime.socket.local_address

    run_virtual(story())


# --- what breaks inside


@pytest.mark.parametrize("broken", ["receive_datagram", "handle_timeout", "datagrams_to_send"])
def test_a_failure_of_the_machinery_reaches_whoever_waits(monkeypatch, caplog, broken):
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            watch = asyncio.ensure_future(client.wait_failed())
            waiting = asyncio.ensure_future(client.ping("server", 100))
            reading = asyncio.ensure_future(next_of(client.events(), type(None), 1000))
            await asyncio.sleep(0)

            def fail(endpoint, *_args):
                if endpoint is client._started.endpoint:
                    raise ZeroDivisionError("a mistake in the core")
                return intact(endpoint, *_args)

            intact = getattr(Endpoint, broken)
            if broken == "handle_timeout":
                town.crash(server)  # so that nothing but the timer is left
            monkeypatch.setattr(Endpoint, broken, fail)
            with pytest.raises(ZeroDivisionError, match="a mistake in the core"):
                await watch
            words = "the node failed: ZeroDivisionError: a mistake in the core"
            with pytest.raises(LocalError, match=words):
                await waiting
            with pytest.raises(AssertionError, match="the events ended"):
                await reading
            assert client.has_failed
            for call in calls_of(client)[:-1]:
                assert await outcome_of(call) == f"{words}; close it"
            with pytest.raises(ZeroDivisionError):
                await client.wait_failed()
            monkeypatch.undo()

    with caplog.at_level(logging.ERROR):
        run_virtual(story())
    (record,) = [record for record in caplog.records if record.name == "p2ptui.node"]
    assert record.exc_info[0] is ZeroDivisionError


def test_a_socket_that_the_loop_lost_is_a_failure_too():
    async def story():
        async with Town() as town:
            node = await town.start("node")
            watch = asyncio.ensure_future(node.wait_failed())
            await asyncio.sleep(1)
            node._started.socket.close()
            with pytest.raises(OSError, match="lost the socket"):
                await watch

    run_virtual(story())


def test_waiting_for_a_failure_that_never_comes():
    async def story():
        async with Town() as town:
            node = await town.start("node")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(node.wait_failed(), 3600)
            assert not node.has_failed

    run_virtual(story())


def test_a_timer_of_a_call_that_fails_is_a_failure_too(monkeypatch):
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            town.crash(server)
            waiting = asyncio.ensure_future(client.send("server", "x", timeout_s=0.3))
            await asyncio.sleep(0)

            def fail(*_args):
                raise ZeroDivisionError

            monkeypatch.setattr(Endpoint, "cancel", fail)
            with pytest.raises(LocalError, match="the node failed: ZeroDivisionError"):
                await waiting

    run_virtual(story())
