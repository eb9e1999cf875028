"""Whole nodes behind NATs: diagnosed, with further sockets and predicted ports, and all closed."""

import asyncio
from pathlib import Path as FilePath
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.connection import Method
from p2ptui.core.events import DatagramDue, Path, PathChanged, SocketsDone, SocketsWanted
from p2ptui.errors import BindError, P2PError
from p2ptui.nat.behavior import NatType
from p2ptui.node import traversal_support
from p2ptui.wire.address import Address
from tests.simulated_nat import KINDS, Nat, Nats
from tests.town import Town
from tests.virtual_loop import run_virtual

SERVER: Address = ("198.51.100.9", 8080)
SECOND: Address = ("198.51.100.8", 8080)


@pytest.fixture(autouse=True)
def state(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_state_dir", lambda *_, **__: str(tmp_path))


class Scene:
    """Two servers that serve STUN, and two nodes behind NATs that joined both."""

    def __init__(self, kind_a: str, kind_b: str, **options: Any) -> None:
        self.nats = Nats()
        self.town = Town(translate=self.nats.translate)
        self.kinds = (kind_a, kind_b)
        self.options = options

    async def __aenter__(self) -> "Scene":
        await self.town.__aenter__()
        stun = {"enable": True, "address": "198.51.100.9:3478"}
        self.server = await self.town.start(
            "server", SERVER, stun_server=stun, allow_symmetric_nat_relay=True
        )
        stun = {"enable": True, "address": "198.51.100.8:3478"}
        self.second = await self.town.start("second", SECOND, stun_server=stun)
        nodes = []
        for number, kind in enumerate(self.kinds, 1):
            inside = f"192.168.{number}.2"
            self.nats.add(Nat(f"198.51.100.{number}", {inside}, KINDS[kind], seed=number))
            node = await self.town.start(f"node-{number}", (inside, 5000), **self.options)
            await node.connect(SERVER)
            nodes.append(node)
        self.a, self.b = nodes
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self.town.__aexit__(*failure)

    async def meet(self, within_s: float = 20.0) -> Any:
        """`a` connects to `b` by its id; the peer once the path is direct, or the time is over."""
        await self.a.connect(self.b.id)
        for _ in range(int(within_s / 0.05)):
            peer = self.a.peer(self.b.id)
            if peer.path is Path.DIRECT:
                break
            await asyncio.sleep(0.05)
        return self.a.peer(self.b.id)


def sockets(node: Node) -> int:
    return len(node._runtime._support._sockets)


def test_nodes_behind_cones_meet() -> None:
    async def story() -> None:
        async with Scene("port-restricted-cone", "restricted-cone") as scene:
            peer = await scene.meet(2)
            assert peer.path is Path.DIRECT
            assert peer.connection.method is Method.PLAIN
            assert (await scene.a.send(scene.b.id, "hello")).delivered
            assert sockets(scene.a) == sockets(scene.b) == 0

    run_virtual(story())


def test_a_node_that_meets_nobody_directly_stays_relayed() -> None:
    async def story() -> None:
        async with Scene("symmetric, random", "symmetric, random") as scene:
            peer = await scene.meet(15)
            assert peer.path is Path.RELAY
            assert (await scene.a.send(scene.b.id, "hello")).delivered
            assert sockets(scene.a) == sockets(scene.b) == 0

    run_virtual(story())


class Loose:
    """A support whose node is played by the test."""

    def __init__(self, town: Town, node: Node) -> None:
        self.support = node._runtime._support
        self.told: list[tuple[tuple[int, ...], tuple[Address, ...]]] = []
        traversal = node._runtime.endpoint.traversal
        traversal.sockets_ready = (  # type: ignore[method-assign]
            lambda _node, numbers, predicted, _now: self.told.append((numbers, predicted))
        )


def test_sockets_are_opened_counted_and_closed() -> None:
    async def story() -> None:
        async with Town() as town:
            node = await town.start("node")
            loose = Loose(town, node)
            assert loose.support.handle(SocketsWanted("x", 5, 0))
            await asyncio.sleep(0.1)
            ((numbers, predicted),) = loose.told
            assert len(numbers) == 5
            assert predicted == ()
            assert sockets(node) == 5
            loose.support.handle(SocketsDone(numbers[:3]))
            loose.support.handle(SocketsDone((*numbers[:3], 999)))
            assert sockets(node) == 2

    run_virtual(story())


def test_there_is_a_limit_for_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traversal_support, "MAX_SOCKETS", 8)

    async def story() -> None:
        async with Town() as town:
            node = await town.start("node")
            loose = Loose(town, node)
            for name in ("x", "y", "z"):
                loose.support.handle(SocketsWanted(name, 5, 0))
            await asyncio.sleep(0.1)
            assert sockets(node) == 8
            assert sum(len(numbers) for numbers, _ in loose.told) == 8
            assert node.stats().drops["sockets_full"] == 2

    run_virtual(story())


def test_a_socket_that_cannot_be_opened_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with Town() as town:
            node = await town.start("node")
            loose = Loose(town, node)
            opened = 0
            inner = loose.support._nat.open_probe

            async def open_probe(address: Address, **options: Any) -> Any:
                nonlocal opened
                opened += 1
                if opened == 4:
                    raise BindError("no more")
                return await inner(address, **options)

            monkeypatch.setattr(loose.support._nat, "open_probe", open_probe)
            loose.support.handle(SocketsWanted("x", 10, 0))
            await asyncio.sleep(0.1)
            ((numbers, _),) = loose.told
            assert len(numbers) == sockets(node) == 3

    run_virtual(story())


def test_a_node_that_is_closed_meanwhile_leaves_no_socket() -> None:
    """While the ports are predicted the sockets are open already."""

    async def story() -> None:
        async with Town() as town:
            node = await town.start("node")
            loose = Loose(town, node)

            async def predict(_ports: list[int]) -> tuple[Address, ...]:
                await asyncio.sleep(100)
                return ()

            loose.support._predict = predict  # type: ignore[method-assign]
            loose.support.handle(SocketsWanted("x", 10, 4))
            await asyncio.sleep(0.1)
            attached = len(town.network._attached)
            assert attached == 11
            await node.close()
            assert town.network._attached == {}
            assert loose.told == []

    run_virtual(story())


def test_a_datagram_leaves_by_the_socket_that_it_names() -> None:
    async def story() -> None:
        async with Town() as town:
            node = await town.start("node")
            seen: list[tuple[bytes, int]] = []

            def translate(data: bytes, source: Address, to: Address, now: float) -> Any:
                seen.append((data, source[1]))
                return source, to

            town.network.translate = translate
            loose = Loose(town, node)
            loose.support.handle(SocketsWanted("x", 1, 0))
            await asyncio.sleep(0.1)
            (((number,), _),) = loose.told
            port = loose.support._sockets[number].local_address[1]
            to = ("10.0.0.99", 1)
            for due in (
                DatagramDue(0, b"own", to, 2),
                DatagramDue(number, b"beside", to, None),
                DatagramDue(number + 1, b"of a socket that is gone", to, None),
            ):
                assert loose.support.handle(due)
            assert seen == [(b"own", node.address[1]), (b"beside", port)]

    run_virtual(story())


def test_a_diagnosis_that_finds_nothing_is_not_waited_for() -> None:
    async def story() -> None:
        async with Scene("symmetric, random", "symmetric, random") as scene:
            facts = []
            traversal = scene.a._runtime.endpoint.traversal
            inner = traversal.facts_ready
            traversal.facts_ready = (  # type: ignore[method-assign]
                lambda found, now: (facts.append(found.nat_type), inner(found, now))
            )

            async def diagnose(*_: Any, **__: Any) -> Any:
                raise P2PError("no server")

            scene.a._runtime._support._nat.diagnose = diagnose  # type: ignore[method-assign]
            await scene.meet(3)
            assert len(facts) == 1

    run_virtual(story())


def test_each_sample_has_the_time_at_which_it_left() -> None:
    """Without it nobody can say how many flows others begin in that time."""

    async def story() -> None:
        async with Scene("symmetric, step 1", "port-restricted-cone") as scene:
            support = scene.a._runtime._support
            server = await support._sampling_server()
            assert server is not None
            samples, outside = await support._sample(server)
            times = [at for at, _ in samples]
            assert outside == "198.51.100.1"
            assert len(times) == traversal_support.SAMPLES
            assert times == sorted(set(times))
            assert times[-1] - times[0] < 0.1

    run_virtual(story())


def test_no_port_is_told_beyond_the_range_of_the_options() -> None:
    async def story() -> None:
        async with Scene("symmetric, step 1", "port-restricted-cone") as scene:
            support = scene.a._runtime._support
            first = await support._predict(list(range(6000, 6010)))
            assert len(first) == 10
            highest = max(port for _, port in first)
            options = {"port_range_max": highest + 12}
            support._config = support._config.with_options(port_prediction=options)
            second = await support._predict(list(range(6000, 6010)))
            assert second
            assert all(port <= highest + 12 for _, port in second)

    run_virtual(story())


def test_what_a_diagnosis_cannot_name_is_not_named() -> None:
    async def story() -> None:
        async with Town() as town:
            stun = {"enable": True, "address": "198.51.100.9:3478"}
            await town.start("server", SERVER, stun_server=stun)
            node = await town.start("node", ("198.51.100.1", 5000))
            await node.connect(SERVER)
            told: list[Any] = []
            traversal = node._runtime.endpoint.traversal
            traversal.facts_ready = (  # type: ignore[method-assign]
                lambda facts, _now: told.append(facts)
            )
            report = await node.diagnose_nat(())
            assert report.nat_type is NatType.UNKNOWN
            assert [facts.nat_type for facts in told] == [report.nat_type]
            assert [facts.mapping for facts in told] == [report.mapping]

    run_virtual(story())


def test_ports_are_sampled_at_the_address_of_a_name_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {
        "hangs.example": None,
        "dead.example": [("198.51.100.77", 3478), ("198.51.100.78", 3478)],
        "stun.example": [("2001:db8::1", 3478), ("198.51.100.77", 3478), ("198.51.100.8", 3478)],
        "six.example": [("2001:db8::1", 3478)],
    }

    async def resolve_all(address: Address) -> list[Address]:
        found = names[address[0]]
        if found is None:
            await asyncio.sleep(3600)
        assert found is not None
        return found

    monkeypatch.setattr(traversal_support, "resolve_all", resolve_all)

    async def story() -> None:
        ice = {"stun_servers": [f"{name}:3478" for name in names]}
        async with Scene("port-restricted-cone", "restricted-cone", ice=ice) as scene:
            support = scene.a._runtime._support
            monkeypatch.setattr(support._nat, "joined_stun_servers", list)
            assert await support._sampling_server() == ("198.51.100.8", 3478)

    run_virtual(story())


def test_a_change_of_the_relay_is_no_outcome_of_a_search() -> None:
    async def story() -> None:
        async with Scene("port-restricted-cone", "restricted-cone") as scene:
            a, b = scene.a, scene.b
            scene.town.partition(a, b)
            assert (await scene.meet(20)).path is Path.RELAY
            scene.town.network.heal(a.address[0], b.address[0])

            punching = asyncio.ensure_future(a.punch(b.id, 15))
            await asyncio.sleep(0.001)
            change = PathChanged(b.id, Path.RELAY, SECOND, Method.RELAY.value, "another server")
            a._endpoint._state.emit(change)
            a._runtime.flush()
            assert (await punching).path is Path.DIRECT

    run_virtual(story())


def test_a_search_that_finds_nothing_ends_with_that() -> None:
    async def story() -> None:
        async with Scene("port-restricted-cone", "restricted-cone") as scene:
            scene.town.partition(scene.a, scene.b)
            peer = await scene.meet(20)
            assert peer.path is Path.RELAY
            began = asyncio.get_running_loop().time()
            peer = await scene.a.punch(scene.b.id, 60)
            assert peer.path is Path.RELAY
            assert asyncio.get_running_loop().time() - began < 30

    run_virtual(story())
