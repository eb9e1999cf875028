"""This machine's own networks: whom a search asks, and where others may reach a node."""

import asyncio
from typing import Any

import pytest

from p2ptui.node import networks
from p2ptui.node.networks import NETWORKS_REFRESH_S, look_around, own_addresses, watch_networks
from p2ptui.wire.address import Address
from tests.virtual_loop import run_virtual

ALL = ("127.0.0.1", "192.168.1.2", "10.0.0.7", "169.254.3.4", "::1", "fd00::2", "fe80::1%eth0")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "local_addresses", lambda: ALL)
    monkeypatch.setattr(networks, "broadcast_addresses", lambda: ("192.168.1.255",))
    monkeypatch.setattr(networks, "local_networks", lambda: ("a network",))


def test_a_socket_at_one_address_is_reached_there() -> None:
    assert own_addresses(("192.168.1.2", 5000)) == (("192.168.1.2", 5000),)
    assert own_addresses(("127.0.0.1", 5000)) == (("127.0.0.1", 5000),)


def test_a_socket_at_all_addresses_is_reached_at_those_that_others_can_use() -> None:
    v4 = (("192.168.1.2", 5000), ("10.0.0.7", 5000))
    assert own_addresses(("0.0.0.0", 5000)) == v4
    assert own_addresses(("::", 5000)) == (*v4, ("fd00::2", 5000))


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ("0.0.0.0", ("127.0.0.1", "192.168.1.255")),
        ("192.168.1.2", ("127.0.0.1", "192.168.1.255")),
        ("::", ("127.0.0.1", "::1", "192.168.1.255")),
        ("fd00::2", ("::1",)),
    ],
)
def test_whom_a_search_asks(host: str, asked: tuple[str, ...]) -> None:
    assert look_around(host) == (("a network",), asked)


class Search:
    """What the search was told."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.updates = 0

    def start(self, *told: Any, **options: Any) -> None:
        self.started.append((told, options))

    def update_networks(self, *_: Any) -> None:
        self.updates += 1


def test_networks_are_looked_up_again_from_time_to_time() -> None:
    search, hosts = Search(), list[tuple[Address, ...]]()

    async def story() -> None:
        clock = asyncio.get_running_loop().time
        watching = asyncio.create_task(
            watch_networks(
                search,  # type: ignore[arg-type]
                ("0.0.0.0", 5000),
                clock,
                lambda: None,
                hosts.append,
                searching=True,
            )
        )
        await asyncio.sleep(3.5 * NETWORKS_REFRESH_S)
        watching.cancel()

    run_virtual(story())
    assert len(search.started) == 1
    assert search.updates == 3
    assert hosts == [(("192.168.1.2", 5000), ("10.0.0.7", 5000))] * 4
