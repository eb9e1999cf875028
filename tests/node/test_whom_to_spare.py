"""Who is spared where the name of a server that is to be joined is not found in time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from p2ptui.config import Config
from p2ptui.core.addresses import relay_address, socket_address
from p2ptui.errors import LocalError
from p2ptui.node import whom_to_spare
from p2ptui.node.depended import Dependencies, plan_filtering, spared_lines
from p2ptui.node.whom_to_spare import DependencyFinder, why_spared
from p2ptui.wire.address import Address
from tests.node.test_depended import ONE, THREE, TWO, server
from tests.virtual_loop import run_virtual

NAME = "server.example"


class Names:
    """A resolver, and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, takes_s: float, found: list[str]) -> None:
        self.asked: list[str] = []
        self._takes_s = takes_s
        self._found = found
        monkeypatch.setattr(whom_to_spare, "resolve_all", self._resolve)

    async def _resolve(self, address: Address) -> list[Address]:
        self.asked.append(address[0])
        await asyncio.sleep(self._takes_s)
        if not self._found:
            raise LocalError("no such name")
        return [(host, address[1]) for host in self._found]


def finder(named: list[str] | None = None) -> DependencyFinder:
    endpoint: Any = SimpleNamespace(
        peers=[],
        introductions=[],
        traversal=SimpleNamespace(offers=SimpleNamespace(all=list)),
    )
    config = Config().with_options(server={"join": (f"{NAME}:8080",)})
    return DependencyFinder(config, endpoint, named or [])


def found(*, calls: int = 1, named: list[str] | None = None) -> Dependencies:
    async def story() -> Dependencies:
        spare = finder(named)
        return [await spare.find() for _ in range(calls)][-1]

    return run_virtual(story())


def test_a_name_is_looked_up_once_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, 0.1, [ONE[0]])

    assert found(calls=2) == Dependencies.on([ONE[0]])
    assert names.asked == [NAME]


@pytest.mark.parametrize(("takes_s", "hosts"), [(5.0, [ONE[0]]), (0.1, [])])
def test_where_a_name_is_not_found_in_time_everybody_is_spared(
    monkeypatch: pytest.MonkeyPatch, takes_s: float, hosts: list[str]
) -> None:
    Names(monkeypatch, takes_s, hosts)
    depended = found()
    one, third = server(ONE, TWO), server(THREE, ("203.0.113.4", 3479))

    assert depended
    assert depended.is_careful
    plan = plan_filtering([one, third], one, [one, third], depended)
    assert plan.questions == ()
    assert plan.spared == (one, third)
    lines = spared_lines(plan.spared, depended)
    assert all(f"it may be {NAME}, whose address was not found" in line for line in lines)
    both = Dependencies.on([ONE[0]], unfound=[NAME])
    assert "this node depends on it" in spared_lines([one], both)[0]
    reason = why_spared(("8.8.8.8", 8080), ("9.9.9.9", 8080), depended)
    assert reason is not None
    assert reason.startswith(f"whose peer may be {NAME}, whose address was not found")


def test_a_name_that_is_connected_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, 5.0, [])
    at = ("203.0.113.1", 8080)
    peer = SimpleNamespace(address=at, sends_to=at, node_id="n", is_authenticated=True)

    async def story() -> tuple[Dependencies, Dependencies]:
        spare = finder()
        spare._found_at = {(NAME, 8080): at}
        before = await spare.find()
        spare._endpoint.peers.append(peer)
        return before, await spare.find()

    assert run_virtual(story()) == (Dependencies.on([], unfound=[NAME]), Dependencies.on([at[0]]))


def test_who_is_named_is_asked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, 5.0, [])
    depended = found(named=[f"{ONE[0]}:3478"])
    one, third = server(ONE, TWO), server(THREE, ("203.0.113.4", 3479))

    plan = plan_filtering([one, third], one, [one, third], depended)
    assert {asked for asked, _ in plan.questions} == {one}


def test_of_a_relayed_peer_the_server_is_depended_on(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, 0.0, [ONE[0]])
    spare = finder()
    relayed = relay_address(THREE, "01234567-89ab-cdef-0123-456789abcdef")
    direct = socket_address(4, ("203.0.113.77", 5000))
    spare._endpoint.peers.append(SimpleNamespace(address=relayed, sends_to=direct, node_id="n"))

    assert set(spare._in_use()) == {THREE[0], "203.0.113.77"}
