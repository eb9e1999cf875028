"""A whole node on a machine with two addresses, in a network in memory."""

import asyncio
import random

from p2ptui import Config, Node
from p2ptui.io.memory import MemorySocket
from p2ptui.wire.address import own_host
from tests.town import Town
from tests.virtual_loop import run_virtual

FIRST, SECOND = "203.0.113.1", "203.0.113.2"


def test_peers_keep_the_address_that_they_asked() -> None:
    async def story() -> None:
        async with Town() as town:

            async def open_socket(at: tuple[str, int]) -> MemorySocket:
                return await MemorySocket.open(town.network, at, (FIRST, SECOND))

            config = Config().with_options(
                address="0.0.0.0:8080",
                enable_discovery=False,
                nat_detection={"enable": False, "stun_servers": []},
                ice={"enable": False, "stun_servers": []},
            )
            loop = asyncio.get_running_loop()
            async with Node(
                config, open_socket=open_socket, clock=loop.time, rng=random.Random(1)
            ) as server:
                alice, bob = await town.start("alice"), await town.start("bob")
                await alice.connect((FIRST, 8080))
                await bob.connect((SECOND, 8080))
                # Whoever asked one address hears nothing from the other.
                town.network.partition(alice.address[0], SECOND)
                town.network.partition(bob.address[0], FIRST)
                await asyncio.sleep(120)
                for node in (alice, bob):
                    assert (await server.send(node.id, "pushed")).delivered
                    assert (await node.ping(server.id)).rtt_s > 0
                assert server.stats().connected == 2

    run_virtual(story())


def test_a_port_is_taken_at_all_addresses_together() -> None:
    async def story() -> None:
        async with Town() as town:
            sock = await MemorySocket.open(town.network, ("0.0.0.0", 0), (FIRST, SECOND, "::5"))
            one = await MemorySocket.open(town.network, ("10.0.0.9", 7))
            for host in (FIRST, SECOND):
                one.send(b"x", (host, sock.local_address[1]))
                await sock.wait()
                await asyncio.sleep(1)
                [(_, source)] = sock.drain(10)
                assert own_host(source) == host
                sock.send(b"y", source)
                await asyncio.sleep(1)
                assert one.drain(10) == [(b"y", (host, sock.local_address[1]))]
            sock.close()
            one.close()

    run_virtual(story())
