"""The machinery under a node: look-ups that take too long, and neighbours that find each other."""

import asyncio
import ipaddress
import socket

import pytest

from p2ptui.core.events import PeerStatus
from p2ptui.errors import LocalError
from p2ptui.node import networks
from tests.town import Town
from tests.virtual_loop import VirtualLoop, run_virtual


def run_with_resolver(story, answer):
    """Run a story on virtual time with a resolver that gives, or raises, what `answer` does."""

    class Loop(VirtualLoop):
        async def getaddrinfo(self, host, port, **options):
            return await answer(host, port)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(story)


# --- look-ups


def test_a_name_is_looked_up():
    async def answer(host, port):
        assert host == "server.example"
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("10.0.0.2", port))]

    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            peer = await client.connect("server.example:8080")
            assert peer.address == server.address

    run_with_resolver(story(), answer)


def test_a_look_up_that_takes_too_long_is_given_up():
    async def answer(host, port):
        await asyncio.sleep(3600)

    async def story():
        async with Town() as town:
            client = await town.start("client")
            began = asyncio.get_running_loop().time()
            with pytest.raises(LocalError) as caught:
                await client.connect("server.example:8080", timeout_s=3)
            assert str(caught.value) == (
                "cannot resolve host 'server.example' within 3 s;"
                " check the network, or use an IP address"
            )
            assert asyncio.get_running_loop().time() - began == pytest.approx(3)

    run_with_resolver(story(), answer)


def test_a_name_that_means_no_single_host_is_refused():
    async def answer(host, port):
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("0.0.0.0", port))]

    async def story():
        async with Town() as town:
            client = await town.start("client")
            with pytest.raises(LocalError, match="stands for every address"):
                await client.connect("zero.example:8080")

    run_with_resolver(story(), answer)


def test_a_node_that_closes_during_a_look_up_connects_nowhere():
    async def answer(host, port):
        await asyncio.sleep(1)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("10.0.0.99", port))]

    async def story():
        async with Town() as town:
            client = await town.start("client")
            connecting = asyncio.ensure_future(client.connect("server.example:8080"))
            await asyncio.sleep(0.5)
            await client.close()
            with pytest.raises(LocalError, match="the node is closed"):
                await connecting
            assert town.network.counters().sent == 0

    run_with_resolver(story(), answer)


def test_joining_survives_a_name_server_that_fails():
    failures = iter([socket.gaierror(-3, "Temporary failure in name resolution")] * 3)

    async def answer(host, port):
        for failure in failures:
            raise failure
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("10.0.0.2", port))]

    async def story():
        async with Town() as town:
            await town.start("server")
            client = await town.start("client", join=("server.example:8080",))
            await asyncio.sleep(60)
            assert [peer.name for peer in client.peers] == ["server"]

    run_with_resolver(story(), answer)


# --- neighbours


@pytest.fixture
def one_lan(monkeypatch):
    """Every node believes that it is attached to 10.0.0.0/24."""
    lan = ipaddress.ip_network("10.0.0.0/24")
    monkeypatch.setattr(networks, "local_networks", lambda: [lan])
    monkeypatch.setattr(networks, "broadcast_addresses", lambda: ["10.0.0.255"])
    return {"broadcast_hosts": ["10.0.0.255"]}


def names(node):
    return {peer.name for peer in node.peers if peer.status is PeerStatus.AUTHENTICATED}


def test_two_nodes_of_one_network_find_each_other(one_lan):
    async def story():
        async with Town(**one_lan) as town:
            one = await town.start("one", town.free_address(8081), enable_discovery=True)
            two = await town.start("two", town.free_address(8085), enable_discovery=True)
            await asyncio.sleep(5)
            assert (names(one), names(two)) == ({"two"}, {"one"})

    run_virtual(story())


def test_a_node_that_does_not_look_is_found_by_one_that_does(one_lan):
    async def story():
        async with Town(**one_lan) as town:
            quiet = await town.start("quiet", town.free_address(8081))
            await asyncio.sleep(30)
            seeker = await town.start("seeker", town.free_address(9999), enable_discovery=True)
            await asyncio.sleep(5)
            assert (names(quiet), names(seeker)) == ({"seeker"}, {"quiet"})

    run_virtual(story())


def test_nodes_of_different_networks_do_not_meet(one_lan):
    async def story():
        async with Town(**one_lan) as town:
            one = await town.start("one", town.free_address(8081), enable_discovery=True)
            two = await town.start(
                "two", town.free_address(8082), enable_discovery=True, network_id="other"
            )
            await asyncio.sleep(200)
            assert (names(one), names(two)) == (set(), set())

    run_virtual(story())


def test_a_node_that_comes_later_is_found_at_the_next_look(one_lan):
    async def story():
        async with Town(**one_lan) as town:
            seeker = await town.start("seeker", town.free_address(8081), enable_discovery=True)
            await asyncio.sleep(30)
            await town.start("late", town.free_address(8090))
            await asyncio.sleep(80)
            assert names(seeker) == {"late"}

    run_virtual(story())


def test_a_cable_that_is_plugged_in_later_is_noticed(monkeypatch):
    plugged = []
    monkeypatch.setattr(networks, "local_networks", lambda: plugged)
    monkeypatch.setattr(
        networks, "broadcast_addresses", lambda: [str(lan.broadcast_address) for lan in plugged]
    )

    async def story():
        async with Town(broadcast_hosts=["10.0.0.255"]) as town:
            one = await town.start("one", town.free_address(8081), enable_discovery=True)
            two = await town.start("two", town.free_address(8082), enable_discovery=True)
            await asyncio.sleep(100)
            assert names(one) == set()
            plugged.append(ipaddress.ip_network("10.0.0.0/24"))
            await asyncio.sleep(150)
            assert (names(one), names(two)) == ({"two"}, {"one"})

    run_virtual(story())
