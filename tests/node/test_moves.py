"""A node whose machine moves, sleeps, or has neighbours that come and go, on virtual time."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived, PeerStatus, PeerStatusChanged
from p2ptui.io.machine import Way
from p2ptui.io.memory import MemorySocket
from p2ptui.node.moves import SETTLE_S, SPACING_S
from p2ptui.wire.address import format_address
from tests.simulated_nat import KINDS, Nat, Nats
from tests.town import Town, taken
from tests.virtual_loop import run_virtual

SERVER = ("198.51.100.9", 8080)
INSIDE = ("192.168.1.2", 5000)
HOME, CAFE = "198.51.100.1", "198.51.100.2"
NOTICED_S = 1.0


class FakeMachine:
    """A machine that moves when it is told to.

    Args:
        tells: Whether it tells of changes; otherwise it must be looked at.
    """

    def __init__(self, *, tells: bool = True) -> None:
        self.way: Way | None = Way("192.168.1.2", 1, "192.168.1.1")
        self.slept_s = 0.0
        self.looks = 0
        self.stopped = False
        self._tells = tells
        self._on_change: Callable[[dict[int, bool]], None] = lambda _: None

    def way_to(self, host: str, local_host: str) -> Way | None:
        self.looks += 1
        return self.way

    def watch(self, on_change: Callable[[dict[int, bool]], None]) -> Callable[[], None] | None:
        if not self._tells:
            return None
        self._on_change = on_change
        return self._stop

    def _stop(self) -> None:
        self.stopped = True
        self._on_change = lambda _: None

    def asleep_s(self) -> float:
        return self.slept_s

    def change(self, links: dict[int, bool] | None = None) -> None:
        """Something of its networks has changed."""
        self._on_change(links or {})


class Trip:
    """A server, and a node that has joined it from behind a NAT."""

    def __init__(self, town: Town, machine: FakeMachine, **options: Any) -> None:
        self.town = town
        self.machine = machine
        self._options = options
        self.plug(HOME)

    def plug(self, outside: str | None) -> None:
        """The node's machine is in another network; None: in none."""
        if outside is None:
            self.town.network.translate = lambda *_: None
        else:
            nat = Nat(outside, {INSIDE[0]}, KINDS["port-restricted-cone"])
            self.town.network.translate = Nats(nat).translate

    async def begin(self) -> None:
        self.server = await self.town.start("server", SERVER)
        join = (format_address(SERVER),)
        self.node = await self.town.start("node", INSIDE, self.machine, join=join, **self._options)
        await asyncio.sleep(100)
        assert self.is_joined(HOME)

    def is_joined(self, outside: str) -> bool:
        """Whether both sides are connected, and the server sees the node there."""
        there = [
            peer
            for peer in self.server.peers
            if peer.address[0] == outside and peer.status is PeerStatus.AUTHENTICATED
        ]
        here = [peer for peer in self.node.peers if peer.status is PeerStatus.AUTHENTICATED]
        return bool(there and here)

    async def joined_after_s(self, outside: str, within_s: float = 60.0) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self.is_joined(outside):
            assert loop.time() - began < within_s
            await asyncio.sleep(0.01)
        return loop.time() - began


def trip(story: Callable[[Trip], Any], machine: FakeMachine | None = None, **options: Any) -> None:
    async def run() -> None:
        async with Town() as town:
            one = Trip(town, machine or FakeMachine(), **options)
            await one.begin()
            await story(one)
        assert one.machine.stopped or not one.machine._tells

    run_virtual(run())


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(
    "way",
    [
        Way("192.168.7.7", 1, "192.168.7.1"),  # another address on the interface
        Way("192.168.7.7", 2, "192.168.7.1"),  # the default route by another interface
        Way("192.168.1.2", 1, "192.168.1.99"),  # another router
    ],
    ids=["address", "interface", "router"],
)
def test_a_new_way_is_noticed_and_the_session_goes_on_within_a_second(tells, way) -> None:
    async def story(one: Trip) -> None:
        events = one.server.events()
        waiting = asyncio.create_task(one.node.send("server", {"n": 1}))
        one.machine.way = way
        one.plug(CAFE)
        one.machine.change()
        assert await one.joined_after_s(CAFE) <= NOTICED_S
        assert (await waiting).delivered
        back = await one.server.send("node", {"n": 2})
        assert back.delivered
        assert len(one.server.peers) == 1
        assert [event.payload for event in taken(events, DataReceived)] == [{"n": 1}]

    trip(story, FakeMachine(tells=tells))


def test_a_machine_that_moves_as_soon_as_it_has_joined_says_so_at_once() -> None:
    """As one whose interface gets a second lease, or Wi-Fi, while programs start."""

    async def run() -> None:
        async with Town() as town:
            one = Trip(town, FakeMachine())
            one.server = await town.start("server", SERVER)
            one.node = await town.start("node", INSIDE, one.machine)
            await asyncio.sleep(2.01)  # between two looks
            await one.node.connect(SERVER)
            one.machine.way = Way("192.168.7.7", 1, "192.168.7.1")
            one.plug(CAFE)
            one.machine.change()
            assert await one.joined_after_s(CAFE) <= SETTLE_S + 0.1

    run_virtual(run())


def test_what_was_sent_while_there_was_no_way_arrives_once() -> None:
    async def story(one: Trip) -> None:
        events = one.server.events()
        one.machine.way = None
        one.plug(None)
        one.machine.change()
        sends = [asyncio.create_task(one.node.send("server", n)) for n in range(20)]
        await asyncio.sleep(1)  # six tries are over after three seconds
        one.machine.way = Way("192.168.7.7", 1, "192.168.7.1")
        one.plug(CAFE)
        one.machine.change()
        assert await one.joined_after_s(CAFE) <= NOTICED_S
        results = await asyncio.gather(*sends)
        assert all(result.delivered for result in results)
        received = [event.payload for event in taken(events, DataReceived)]
        assert sorted(received) == list(range(20))

    trip(story)


def test_what_was_known_of_the_nat_is_forgotten_with_it() -> None:
    async def story(one: Trip) -> None:
        offers = one.node._endpoint.traversal.offers
        offers.facts = known = type(offers.facts)(diagnosed=True)
        one.machine.change()
        await asyncio.sleep(2)
        assert offers.facts is known
        one.machine.way = Way("192.168.7.7", 1, "192.168.7.1")
        one.machine.change()
        await asyncio.sleep(2)
        assert not offers.facts.is_known

    trip(story)


def test_a_swarm_of_changes_elsewhere_costs_next_to_nothing() -> None:
    async def story(one: Trip) -> None:
        events, out = one.node.events(), one.node.stats().datagrams_out
        await asyncio.sleep(60)
        usual = one.node.stats().datagrams_out - out
        one.machine.looks, out = 0, one.node.stats().datagrams_out
        for number in range(6000):
            one.machine.change({50 + number % 20: bool(number % 2)})
            await asyncio.sleep(0.01)
        assert taken(events, PeerStatusChanged) == []
        assert one.node.stats().datagrams_out - out <= 2 * usual
        hosts = 3
        assert one.machine.looks <= hosts * (60 / SPACING_S + 2)

    trip(story)


def test_changes_of_ones_own_way_without_end_make_no_storm() -> None:
    async def story(one: Trip) -> None:
        out = one.node.stats().datagrams_out
        for number in range(6000):
            one.machine.way = Way(f"192.168.7.{number % 200 + 1}", 1, "192.168.7.1")
            one.machine.change()
            await asyncio.sleep(0.01)
        assert one.node.stats().datagrams_out - out <= 20 * 60 / SPACING_S
        await asyncio.sleep(3)
        assert one.is_joined(HOME)

    trip(story)


def test_a_pause_before_the_next_join_ends_when_the_machine_moves() -> None:
    async def story() -> None:
        async with Town() as town:
            machine = FakeMachine()
            node = await town.start("node", INSIDE, machine, join=(format_address(SERVER),))
            await asyncio.sleep(400)  # nobody is there: the pauses are a minute
            await town.start("server", SERVER)
            machine.way = Way("192.168.7.7", 1, "192.168.7.1")
            machine.change()
            await asyncio.sleep(12)  # an attempt may be under way, which takes ten
            assert [peer.status for peer in node.peers] == [PeerStatus.AUTHENTICATED]

    run_virtual(story())


def test_a_cable_that_is_pulled_and_put_back_is_no_end_of_the_session() -> None:
    async def story(one: Trip) -> None:
        events = one.node.events()
        one.machine.change({1: False})
        one.plug(None)
        await asyncio.sleep(20)
        assert taken(events, PeerStatusChanged) == []
        one.plug(HOME)
        one.machine.change({1: True})
        await asyncio.sleep(2)
        assert one.is_joined(HOME)
        assert taken(events, PeerStatusChanged) == []

    trip(story)


# --- sleep


def test_a_sleeper_is_connected_again_within_a_second() -> None:
    async def story(one: Trip) -> None:
        # Its clock stands still while the server's goes on: the server loses it, and says so to
        # a machine that sleeps.
        endpoint = one.server._endpoint
        now = asyncio.get_running_loop().time()
        endpoint.disconnect(next(iter(endpoint.peers)), "silent", now)
        endpoint.datagrams_to_send(now)
        one.machine.slept_s += 3600
        assert await one.joined_after_s(HOME) <= NOTICED_S
        assert (await one.node.send("server", "awake")).delivered

    trip(story)


def test_a_clock_that_jumped_loses_no_session() -> None:
    async def story() -> None:
        async with Town() as town:
            server = await town.start("server", SERVER)
            jump = 0.0
            loop = asyncio.get_running_loop()
            config = Config().with_options(
                name="node",
                address=format_address(INSIDE),
                enable_discovery=False,
                join=(format_address(SERVER),),
                nat_detection={"enable": False, "stun_servers": []},
                ice={"stun_servers": []},
            )
            node = Node(
                config,
                open_socket=lambda at: MemorySocket.open(town.network, at),
                clock=lambda: loop.time() + jump,
                rng=random.Random(1),
                machine=FakeMachine(),
            )
            async with node:
                await asyncio.sleep(10)
                events = node.events()
                for seconds in (5.0, 70.0, 3600.0, 86_400.0):
                    jump += seconds
                    await asyncio.sleep(2)
                    assert (await node.send("server", seconds)).delivered
                    assert (await server.send("node", seconds)).delivered
                statuses = [event.status for event in taken(events, PeerStatusChanged)]
                assert PeerStatus.DISCONNECTED not in statuses
                assert PeerStatus.FAILED not in statuses

    run_virtual(story())


def test_a_short_delay_is_no_sleep() -> None:
    async def story(one: Trip) -> None:
        out = one.node.stats().datagrams_out
        for _ in range(20):
            one.machine.slept_s += 1.0
            await asyncio.sleep(0.5)
        assert one.node.stats().datagrams_out - out <= 4

    trip(story)
