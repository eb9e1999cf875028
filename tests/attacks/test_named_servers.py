"""A hostile server of a cluster names others: what whoever is there is sent, and what it draws."""

import asyncio
import json
from collections import Counter

import pytest

from p2ptui import Node
from p2ptui.core.mobility.told_servers import ToldServer, worth_keeping
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import MAX_OTHER_SERVERS, MessageType, OtherServer
from tests.core.cluster_servers import cluster, join
from tests.node.test_told_servers import home_of, in_cluster, joined
from tests.simulation import World
from tests.town import Town
from tests.virtual_loop import run_virtual

VICTIMS = [(f"10.9.0.{number}", 53) for number in range(1, 1 + MAX_OTHER_SERVERS)]
MADE_OF_KEYS = [f"{number:08x}-0000-8000-8000-000000000000" for number in range(MAX_OTHER_SERVERS)]
OWN = "ffffffff-0000-8000-8000-000000000000"

A_ROUND_BYTES = 4 * 3 * 1200
"""Four tries in ten minutes, each of three requests in two seconds at most."""


class Tally:
    """What leaves for the victims."""

    def __init__(self, town: Town) -> None:
        self.bytes: Counter[Address] = Counter()
        self.when: list[tuple[float, Address]] = []
        send = town.network.send

        def counted(data: bytes, source: Address, address: Address, now: float, **how) -> object:
            if address in VICTIMS:
                self.bytes[address] += len(data)
                if not self.when or self.when[-1][1] != address:
                    self.when.append((now, address))
            return send(data, source, address, now, **how)

        town.network.send = counted


def named_victims() -> list[OtherServer]:
    return [
        OtherServer(node_id, format_address(where))
        for node_id, where in zip(MADE_OF_KEYS, VICTIMS, strict=True)
    ]


async def at_a_hostile_server(town: Town) -> tuple[Tally, Node, Node]:
    """What leaves for the victims, the server that names them, and a node that has joined it."""
    tally = Tally(town)
    server = await town.start("server")
    in_cluster(server, named_victims())
    return tally, server, await joined(town, "node", server)


def test_nothing_is_sent_to_who_is_named_while_the_server_is_up():
    async def story():
        async with Town() as town:
            tally, _, node = await at_a_hostile_server(town)
            await asyncio.sleep(600)
            assert len(node._endpoint.home.told) == MAX_OTHER_SERVERS
            assert tally.bytes == Counter()

    run_virtual(story())


def test_who_is_named_is_asked_one_at_a_time_a_few_times_and_that_is_all():
    async def story():
        async with Town() as town:
            tally, server, _ = await at_a_hostile_server(town)
            town.crash(server)
            await asyncio.sleep(3600)
            assert set(tally.bytes) == set(VICTIMS)
            # Ten minutes pass six times in an hour.
            assert max(tally.bytes.values()) <= 6 * A_ROUND_BYTES
            for (before, one), (after, other) in zip(tally.when, tally.when[1:], strict=False):
                assert after - before >= 1.9 or one == other

    run_virtual(story())


def test_many_ports_of_one_host_are_asked_no_more_often_than_three(monkeypatch):
    ports = [("10.9.0.1", 1000 + number) for number in range(MAX_OTHER_SERVERS)]
    monkeypatch.setitem(globals(), "VICTIMS", ports)

    async def story():
        async with Town() as town:
            tally, server, _ = await at_a_hostile_server(town)
            town.crash(server)
            await asyncio.sleep(599)
            assert 0 < sum(tally.bytes.values()) <= 3 * A_ROUND_BYTES

    run_virtual(story())


def test_a_server_that_dies_again_and_again_has_them_sent_no_more():
    """It comes back each minute, names them anew, and goes without a word."""

    async def story():
        async with Town() as town:
            tally, server, node = await at_a_hostile_server(town)
            address = server.address
            for _ in range(10):
                server._started.socket.send = lambda *_: None
                await server.close()
                await asyncio.sleep(40)
                server = await town.start("server", address, same_as=server)
                in_cluster(server, named_victims())
                await asyncio.sleep(70)
                assert home_of(node) == server.id
            assert max(tally.bytes.values()) <= 3 * A_ROUND_BYTES  # 1,100 s

    run_virtual(story())


def test_a_goodbye_that_names_them_has_them_sent_no_more():
    async def story():
        async with Town() as town:
            tally, server, _ = await at_a_hostile_server(town)
            await server.close()
            await asyncio.sleep(599)
            assert max(tally.bytes.values()) <= A_ROUND_BYTES

    run_virtual(story())


def test_what_is_forged_in_the_name_of_a_home_is_dropped():
    """Under seal nobody else can write it, and in the open it is none of the session's."""
    world = World(secured=True)
    one, two = cluster(world, 2)
    node = world.host()
    join(world, node, one)
    told = node.endpoint.home.told
    forger = world.puppet()
    for kind, payload in (
        (MessageType.SERVERS, {"servers": [{"id": OWN, "address": "10.9.0.1:53"}]}),
        (MessageType.DISCONNECT, {"servers": [{"id": OWN, "address": "10.9.0.1:53"}]}),
        (MessageType.PRESENCE, {"counter": 1, "signature": "A" * 86}),
    ):
        message = forger.message(kind, payload)
        data = json.dumps(message).encode()
        world.network.send(data, one.host.address, node.address, world.now)
    world.run_for(5)
    assert node.endpoint.home.told == told
    assert node.endpoint.home.server is node.peer(one.host)
    assert told[0].node_id == two.host.id


def test_a_server_that_is_no_home_is_not_heard():
    world = World(secured=True)
    one, two = cluster(world, 2)
    node = world.host()
    join(world, node, one, two)
    told = node.endpoint.home.told
    peer = two.host.peer(node)
    assert peer is not None
    peer.facts.note_used("cluster")  # as if it had said that it is there
    two.tell(OtherServer(MADE_OF_KEYS[0], "10.9.0.1:53"))
    world.run_for(3)
    assert node.endpoint.home.told == told
    assert node.endpoint.counters.drops["servers_unasked"] == 1


@pytest.mark.parametrize(
    ("teller", "address", "is_kept"),
    [
        ("8.8.8.8", "9.9.9.9:80", True),
        ("8.8.8.8", "192.168.1.1:80", False),
        ("8.8.8.8", "10.0.0.1:80", False),
        ("8.8.8.8", "[fd00::1]:80", False),
        ("8.8.8.8", "127.0.0.1:80", False),
        ("8.8.8.8", "[::ffff:127.0.0.1]:80", False),
        ("10.0.0.1", "10.0.0.2:80", True),
        ("10.0.0.1", "9.9.9.9:80", True),
        ("10.0.0.1", "127.0.0.1:80", False),
        ("10.0.0.1", "255.255.255.255:80", False),
        ("10.0.0.1", "239.1.2.3:80", False),
        ("10.0.0.1", "169.254.1.1:80", False),
        ("127.0.0.1", "127.0.0.1:81", True),
        ("fe80::1%eth0", "10.0.0.2:80", True),
        ("2a00::1", "[2a00::2]:80", True),
        ("2a00::1", "[ff02::1]:80", False),
        ("8.8.8.8", "example.org:80", False),
        ("8.8.8.8", "9.9.9.9:0", False),
    ],
)
def test_where_a_server_may_be(teller: str, address: str, is_kept: bool):
    entries = [OtherServer(MADE_OF_KEYS[1], address)]
    assert bool(worth_keeping(entries, (teller, 8080), OWN)) is is_kept


def test_of_many_entries_sixteen_ids_count():
    entries = [OtherServer(MADE_OF_KEYS[0], f"9.9.9.{number}:80") for number in range(1, 200)]
    assert worth_keeping(entries, ("8.8.8.8", 1), OWN) == (
        ToldServer(MADE_OF_KEYS[0], ("9.9.9.1", 80)),
    )
    assert not worth_keeping([OtherServer(OWN, "9.9.9.9:80")], ("8.8.8.8", 1), OWN)
