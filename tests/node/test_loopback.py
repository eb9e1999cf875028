"""The same node on real sockets of this machine, under both event loops; nothing sleeps."""

import asyncio
import contextlib
import gc

import pytest

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived, Path, PeerStatus, PeerStatusChanged, SendStatus
from p2ptui.errors import BindError, HandshakeError
from p2ptui.io.bind import bind_udp
from p2ptui.wire.address import format_address
from tests.patience import PATIENCE_S
from tests.town import next_of


def has_ipv6() -> bool:
    try:
        bind_udp(("::1", 0)).close()
    except BindError:
        return False
    return True


@pytest.fixture(params=["plain", "uvloop"])
def run(request):
    """Runs a story on the loop of the parameter; one that hangs fails."""
    factory = asyncio.SelectorEventLoop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run(story):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(story, PATIENCE_S))
            assert not asyncio.all_tasks(runner.get_loop())
        gc.collect()  # a socket that was left open warns, and a warning is an error

    return run


@pytest.fixture(
    params=[
        "127.0.0.1",
        pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")),
    ]
)
def host(request):
    return request.param


@contextlib.asynccontextmanager
async def nodes(host: str, *names: str, **options):
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                Node(
                    Config().with_options(
                        name=name,
                        address=format_address((host, 0)),
                        enable_discovery=False,
                        **options,
                    )
                )
            )
            for name in names
        ]


def test_connect_ping_send_and_leave(run, host):
    async def story():
        async with nodes(host, "server", "client", echo="all") as (server, client):
            assert server.address[0] == host
            at_server = server.events()
            peer = await client.connect(format_address(server.address))
            assert (peer.name, peer.public_address) == ("server", client.address)
            result = await client.ping(peer)
            assert 0 < result.rtt_s < PATIENCE_S
            assert (result.path, result.address) == (Path.DIRECT, server.address)
            at_client = client.events()
            sent = await client.send(peer, {"text": "grüße"})
            assert sent.status is SendStatus.DELIVERED
            received = await next_of(at_server, DataReceived)
            assert (received.node_id, received.payload) == (client.id, {"text": "grüße"})
            assert (await next_of(at_client, DataReceived)).is_echo
            unreliable = await client.send(peer, "once", reliable=False)
            assert unreliable.status is SendStatus.SENT
            assert (await next_of(at_server, DataReceived)).payload == "once"
            await client.close("bye")
            left = await next_of(at_server, PeerStatusChanged)
            assert left.status is PeerStatus.DISCONNECTED

    run(story())


def test_three_nodes_find_and_reach_each_other(run, host):
    async def story():
        async with nodes(host, "server", "alice", "bob") as (server, alice, bob):
            await asyncio.gather(alice.connect(server.address), bob.connect(server.address))
            listed = await alice.list_nodes("server")
            assert "bob" in {node.name for node in listed.nodes}
            at_bob = bob.events()
            assert (await alice.ping_routed(bob.id)).path is Path.RELAY
            assert (await alice.send_routed(bob.id, "by relay")).delivered
            assert (await next_of(at_bob, DataReceived)).path is Path.RELAY
            peer = await alice.connect(bob.id)
            assert peer.address == bob.address
            assert (await alice.send(peer, "direct")).delivered
            assert (await next_of(at_bob, DataReceived)).path is Path.DIRECT

    run(story())


def test_a_megabyte_arrives_whole(run, host):
    async def story():
        async with nodes(host, "server", "client") as (server, client):
            events = server.events()
            await client.connect(server.address)
            text = "0123456789abcdef" * 65_500  # with its envelope just below the limit
            result = await client.send("server", text)
            assert result.delivered
            assert result.size_bytes > len(text)
            assert (await next_of(events, DataReceived)).payload == text

    run(story())


def test_an_address_in_use_is_one_clear_line(run, host):
    async def story():
        async with nodes(host, "first") as (first,):
            where = format_address(first.address)
            with pytest.raises(BindError) as caught:
                await Node(Config().with_options(address=where)).start()
            assert str(caught.value) == (
                f"cannot bind {where}: address already in use;"
                " choose another address with --address, or port 0 for a free one"
            )

    run(story())


def test_nobody_listens_at_the_port(run, host):
    async def story():
        async with nodes(host, "client", "gone") as (client, gone):
            address = gone.address
            await gone.close()
            with pytest.raises(HandshakeError, match="no answer from"):
                await client.connect(address, timeout_s=0.3)
            assert client.peers == []

    run(story())


def test_a_hundred_clients_at_once(run):
    async def story():
        names = [f"client-{number}" for number in range(100)]
        async with (
            nodes("127.0.0.1", "server", max_connections=100) as (server,),
            nodes("127.0.0.1", *names) as clients,
        ):
            await asyncio.gather(*(client.connect(server.address) for client in clients))
            results = await asyncio.gather(*(client.send("server", "x") for client in clients))
            assert all(result.delivered for result in results)
            assert server.stats().connected == 100

    run(story())


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_an_address_in_another_spelling(run):
    async def story():
        async with nodes("::1", "server") as (server,), nodes("::", "client") as (client,):
            long = f"[0:0:0:0:0:0:0:1]:{server.address[1]}"
            assert (await client.connect(long)).node_id == server.id
            assert client.peer(long).node_id == server.id
        async with nodes("127.0.0.1", "server") as (server,), nodes("::", "client") as (client,):
            mapped = f"[::ffff:127.0.0.1]:{server.address[1]}"
            assert (await client.connect(mapped)).address == server.address

    run(story())


def test_a_name_of_this_machine(run):
    async def story():
        async with nodes("127.0.0.1", "server", "client") as (server, client):
            peer = await client.connect(f"localhost:{server.address[1]}")
            assert peer.node_id == server.id

    run(story())
