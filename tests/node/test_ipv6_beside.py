"""The socket for IPv6 beside a node's own: where it is, and that it follows the machine."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from p2ptui.errors import BindError
from p2ptui.node import ipv6_beside
from p2ptui.node.ipv6_beside import global_ipv6, keep_ipv6_beside, wants_ipv6_beside
from p2ptui.node.networks import NETWORKS_REFRESH_S
from p2ptui.wire.address import Address
from tests.virtual_loop import run_virtual


@dataclass
class Opened:
    """A socket."""

    address: Address
    closed: bool = False


class Machine:
    """Its address at each look, and what was opened there."""

    def __init__(self, *hosts: str | None, taken: tuple[Address, ...] = ()) -> None:
        self._hosts = list(hosts)
        self._taken = taken
        self.used: list[Any] = []
        self.opened: list[Opened] = []

    def look_up(self) -> str | None:
        return self._hosts.pop(0) if len(self._hosts) > 1 else self._hosts[0]

    async def open(self, address: Address) -> Any:
        if address in self._taken:
            raise BindError("taken")
        self.opened.append(Opened(address))
        return self.opened[-1]

    def _use(self, sock: Any) -> None:
        self.used.append(None if sock is None else sock.address)

    def run(self, looks: int) -> None:
        async def story() -> None:
            work = keep_ipv6_beside(5000, self.open, self._use, self.look_up)
            task = asyncio.create_task(work)
            await asyncio.sleep(NETWORKS_REFRESH_S * (looks - 0.5))
            task.cancel()

        run_virtual(story())


def test_it_is_at_the_machines_address_with_the_nodes_port() -> None:
    machine = Machine("2a01::5")
    machine.run(3)
    assert machine.used == [("2a01::5", 5000)]


def test_without_an_address_there_is_none() -> None:
    machine = Machine(None)
    machine.run(3)
    assert machine.used == []


def test_it_follows_the_address() -> None:
    machine = Machine("2a01::5", "2a01::5", "2a01::6", None)
    machine.run(4)
    assert machine.used == [("2a01::5", 5000), ("2a01::6", 5000), None]


def test_a_socket_that_was_lost_is_opened_again() -> None:
    machine = Machine("2a01::5")
    use = machine._use

    def lose(sock: Any) -> None:
        use(sock)
        sock.closed = len(machine.used) == 1

    machine._use = lose  # type: ignore[method-assign]
    machine.run(4)
    assert machine.used == [("2a01::5", 5000)] * 2


def test_where_the_port_is_taken_it_has_another() -> None:
    machine = Machine("2a01::5", taken=(("2a01::5", 5000),))
    machine.run(1)
    assert machine.used == [("2a01::5", 0)]


def test_an_address_that_cannot_be_had_yet_is_tried_again() -> None:
    machine = Machine("2a01::5", taken=(("2a01::5", 5000), ("2a01::5", 0)))
    machine.run(1)
    assert machine.used == [None]
    machine._taken = ()
    machine.run(1)
    assert machine.used == [None, ("2a01::5", 5000)]


@pytest.mark.parametrize(
    ("source", "found"),
    [("2a01::5", "2a01::5"), ("fd00::5", None), ("fe80::1%eth0", None), (None, None)],
)
def test_only_a_global_address_counts(
    source: str | None, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipv6_beside, "source_host", lambda _host, _port: source)
    assert global_ipv6() == found


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("0.0.0.0", True), ("127.0.0.1", False), ("192.168.1.2", False), ("::", False)],
)
def test_who_listens_on_one_address_means_that_one(host: str, wanted: bool) -> None:
    assert wants_ipv6_beside((host, 5000)) is wanted
