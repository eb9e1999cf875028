"""The sockets that carry only STUN, on loopback: what is bound, what is warned of, who answers."""

import asyncio
import errno
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from p2ptui import Config, Node
from p2ptui.errors import BindError, ConfigError, LocalError
from p2ptui.io.bind import bind_error
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.io.stun_client import CONTACT, StunAnswer, StunClient
from p2ptui.io.stun_sockets import StunSockets, _refusal, require_other_node
from p2ptui.io.udp import open_udp
from p2ptui.nat.behavior import Dependence
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.stun import AttributeType, Change
from tests.virtual_loop import run_virtual

HOST, SECOND_HOST = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A socket of somebody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        yield sock


@pytest.fixture
def ports() -> tuple[int, int]:
    """Two ports that are free at both addresses."""
    sockets = []
    found: list[int] = []
    while len(found) < 2:
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets += [first, second]
        first.bind((HOST, 0))
        try:
            second.bind((SECOND_HOST, first.getsockname()[1]))
        except OSError:
            if len(sockets) > 20:
                pytest.skip(f"{SECOND_HOST} is no address of this machine")
            continue
        found.append(first.getsockname()[1])
    for sock in sockets:
        sock.close()
    return found[0], found[1]


def options(**changes: object) -> Config:
    return Config().with_options(
        address=f"{HOST}:0", enable_discovery=False, stun_server={"enable": True, **changes}
    )


@asynccontextmanager
async def client() -> AsyncIterator[StunClient]:
    opened = StunClient(await open_udp((HOST, 0), broadcast=False), random.Random(1))
    try:
        yield opened
    finally:
        await opened.close()


async def ask(server: Address, change: Change | None = None) -> StunAnswer:
    async with client() as asking:
        answer = await asking.start(server, CONTACT, change=change).wait()
    assert answer is not None
    return answer


async def test_a_node_serves_on_its_own_socket_and_on_the_separate_port(
    ports: tuple[int, int],
) -> None:
    config = options(address=f"{HOST}:{ports[0]}", alternate_port=0)
    async with Node(config) as node:
        for place in (node.address, (HOST, ports[0])):
            answer = await ask(place)
            assert answer.source == place
            assert answer.message.response_origin == place
            assert answer.message.other_address is None
            assert answer.message.xor_mapped is not None
            assert answer.message.xor_mapped[0] == HOST


async def test_a_taken_port_is_a_warning_and_the_own_socket_still_serves(
    taken: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    at = format_address(taken.getsockname())
    with caplog.at_level(logging.WARNING, logger="p2ptui.stun"):
        async with Node(options(address=at)) as node:
            answer = await ask(node.address)
            assert answer.source == node.address
            refused = await ask(node.address, Change.PORT)
            assert refused.message.unknown == (AttributeType.CHANGE_REQUEST,)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning == (
        f"STUN is not served at {at}: address already in use; change address in [stun_server]"
    )


def test_what_this_machine_lacks_is_not_blamed_on_the_address() -> None:
    at = "192.0.2.1:3478"

    def refused(number: int) -> str:
        error = OSError(number, os.strerror(number))
        cannot_bind = bind_error(("192.0.2.1", 3478), error)
        cannot_bind.__cause__ = error
        return _refusal(Place.PRIMARY, at, cannot_bind)

    assert refused(errno.EMFILE) == (
        f"STUN is not served at {at}: too many files and sockets are open; raise the limit"
        " (ulimit -n), or run fewer programs"
    )
    assert refused(errno.EADDRINUSE) == (
        f"STUN is not served at {at}: address already in use; change address in [stun_server]"
    )
    own = _refusal(Place.PRIMARY, at, BindError(f"cannot bind {at}: it is a group; choose another"))
    assert own == f"STUN is not served at {at}: it is a group; change address in [stun_server]"


async def test_a_taken_alternate_port_leaves_the_rest(
    taken: socket.socket, ports: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    port = taken.getsockname()[1]
    with caplog.at_level(logging.WARNING, logger="p2ptui.stun"):
        async with Node(options(address=f"{HOST}:{ports[0]}", alternate_port=port)) as node:
            assert (await ask((HOST, ports[0]))).source == (HOST, ports[0])
            moved = await ask(node.address, Change.PORT)
            assert moved.source == (HOST, ports[0])
            refused = await ask((HOST, ports[0]), Change.PORT)
            assert refused.message.unknown == (AttributeType.CHANGE_REQUEST,)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("; change alternate_port in [stun_server]")


@pytest.mark.parametrize(
    ("change", "host", "which"),
    [
        (None, HOST, 0),
        (Change.PORT, HOST, 1),
        (Change.IP, SECOND_HOST, 0),
        (Change.BOTH, SECOND_HOST, 1),
    ],
)
async def test_two_addresses_do_all_of_rfc_5780(
    ports: tuple[int, int], change: Change | None, host: str, which: int
) -> None:
    config = options(
        address=f"{HOST}:{ports[0]}", alternate_address=SECOND_HOST, alternate_port=ports[1]
    )
    async with Node(config):
        answer = await ask((HOST, ports[0]), change)
    assert answer.source == (host, ports[which])
    assert answer.message.response_origin == answer.source
    assert answer.message.other_address == (SECOND_HOST, ports[1])


async def test_a_second_address_that_this_machine_does_not_have_is_warned_of(
    ports: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    config = options(address=f"{HOST}:{ports[0]}", alternate_address="192.0.2.1", alternate_port=0)
    with caplog.at_level(logging.WARNING, logger="p2ptui.stun"):
        async with Node(config):
            answer = await ask((HOST, ports[0]))
    assert answer.message.other_address is None
    assert caplog.records[0].getMessage() == (
        f"STUN is not served at 192.0.2.1:{ports[0]}: no interface of this machine has this"
        " address; change alternate_address in [stun_server]"
    )


async def test_a_name_without_an_address_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    config = options(address="nobody.invalid:3478", alternate_address="127.0.0.2")
    with caplog.at_level(logging.WARNING, logger="p2ptui.stun"):
        async with Node(config) as node:
            assert (await ask(node.address)).source == node.address
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("STUN is not served at nobody.invalid:3478: ")


async def test_where_stun_is_served_is_one_line_of_the_log(
    ports: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    config = options(address=f"{HOST}:{ports[0]}", alternate_port=ports[1])
    with caplog.at_level(logging.INFO, logger="p2ptui.node"):
        async with Node(config) as node:
            own = format_address(node.address)
    told = [m for m in caplog.messages if m.startswith("STUN")]
    assert told == [f"STUN at {own}, {HOST}:{ports[0]}, {HOST}:{ports[1]}"]


async def test_a_partner_that_is_this_node_is_warned_of_and_not_joined(
    ports: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    partner = f"localhost:{ports[1]}"
    config = options(address=f"{HOST}:{ports[0]}", alternate_port=0, partner=partner).with_options(
        address=f"{HOST}:{ports[1]}"
    )
    with caplog.at_level(logging.INFO, logger="p2ptui.node"):
        async with Node(config) as node:
            assert (await ask(node.address)).message.other_address is None
            running = {task.get_name() for task in asyncio.all_tasks()}
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warning == (
        f"the STUN partner {partner} is not used: {HOST}:{ports[1]} is this node itself;"
        " change partner in [stun_server]"
    )
    assert not [name for name in running if name.startswith("join")]


@pytest.mark.parametrize(
    ("partner", "local", "own"),
    [
        ((HOST, 8080), (HOST, 8080), True),
        ((HOST, 8080), ("0.0.0.0", 8080), True),
        ((HOST, 8081), ("0.0.0.0", 8080), False),
        (("192.0.2.1", 8080), ("0.0.0.0", 8080), False),
        ((SECOND_HOST, 8080), (HOST, 8080), False),
    ],
)
def test_a_partner_is_another_node(partner: Address, local: Address, own: bool) -> None:
    if own:
        with pytest.raises(LocalError, match="this node itself"):
            require_other_node(partner, local)
    else:
        require_other_node(partner, local)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"alternate_address": "2001:db8::1"}, ["alternate_address", "address"]),
        (
            {"address": "[::1]:3478", "alternate_address": "127.0.0.2"},
            ["alternate_address", "address", "IPv6"],
        ),
        (
            {"address": f"{HOST}:3478", "alternate_address": HOST},
            ["alternate_address", "address", "differ"],
        ),
        ({"alternate_address": "0.0.0.0"}, ["alternate_address", "single"]),
        ({"address": "[::]:1", "alternate_address": "::"}, ["alternate_address", "single"]),
        ({"alternate_address": "224.0.0.1"}, ["alternate_address", "single"]),
        ({"partner": "0.0.0.0:8080"}, ["partner", "other node"]),
        ({"partner": "[::]:8080"}, ["partner", "other node"]),
        ({"partner": "224.0.0.1:8080"}, ["partner", "other node"]),
        ({"partner": "127.0.0.1:8080"}, ["partner", "server.address", "itself"]),
    ],
)
def test_addresses_that_do_not_go_together_are_refused(
    changes: dict[str, str], keys: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        Config().with_options(stun_server=changes)
    for key in keys:
        assert key in str(refused.value)


async def test_the_addresses_are_free_again_after_the_node(ports: tuple[int, int]) -> None:
    for _ in range(2):
        async with Node(options(address=f"{HOST}:{ports[0]}", alternate_port=ports[1])):
            await ask((HOST, ports[1]))


@pytest.fixture
def v6_port() -> int:
    """A free port of the loopback of IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
            port: int = sock.getsockname()[1]
            return port
    except OSError:
        pytest.skip("this machine has no IPv6")


async def test_ipv6_is_served_and_diagnosed_beside_ipv4(v6_port: int) -> None:
    config = options(address=f"[::1]:{v6_port}", alternate_port=0)
    async with Node(config) as node:
        servers = [f"[::1]:{v6_port}", format_address(node.address)]
        report = await node.diagnose_nat(servers)
        assert [server.ok for server in report.servers] == [True, True]
        assert report.mapped is not None
        assert report.mapped_v6 is not None
        assert (report.mapped[0], report.mapped_v6[0]) == (HOST, "::1")
        alone = await node.diagnose_nat(servers[:1])
        assert alone.mapped is not None
        assert alone.mapped[0] == "::1"
        assert alone.mapping is Dependence.NONE


# --- what is bound for which options


def bound(**changes: object) -> dict[Place, Address]:
    async def story() -> dict[Place, Address]:
        network = MemoryNetwork()
        config = Config().with_options(stun_server=changes)
        sockets = await StunSockets.open(
            config.stun_server, lambda at: MemorySocket.open(network, at)
        )
        places = sockets.places
        sockets.close()
        return places

    return run_virtual(story())


def test_what_is_bound() -> None:
    one, two = "10.0.0.1", "10.0.0.2"
    assert bound(address=f"{one}:3478", alternate_port=0) == {Place.PRIMARY: (one, 3478)}
    assert bound(address=f"{one}:3478") == {
        Place.PRIMARY: (one, 3478),
        Place.ALTERNATE_PORT: (one, 3479),
    }
    assert bound(address=f"{one}:3478", alternate_address=two) == {
        Place.PRIMARY: (one, 3478),
        Place.ALTERNATE_PORT: (one, 3479),
        Place.ALTERNATE_ADDRESS: (two, 3478),
        Place.ALTERNATE_BOTH: (two, 3479),
    }
    assert bound(address=f"{one}:0", alternate_address=two, alternate_port=0) == {
        Place.PRIMARY: (one, 49152),
        Place.ALTERNATE_ADDRESS: (two, 49152),
    }


async def test_the_ports_follow_the_host_that_the_node_listens_on() -> None:
    one = "10.0.0.1"
    network = MemoryNetwork()
    places = []
    for changes in ({}, {"address": ":5000"}, {"address": "10.0.0.7:6000"}):
        options = Config().with_options(stun_server=changes).stun_server
        sockets = await StunSockets.open(options, lambda at: MemorySocket.open(network, at), one)
        places.append(sockets.places[Place.PRIMARY])
        sockets.close()
    assert places == [(one, 3478), (one, 5000), ("10.0.0.7", 6000)]


async def test_stun_of_a_node_on_loopback_is_on_loopback(ports: tuple[int, int]) -> None:
    async with Node(options(port=ports[0], alternate_port=ports[1])) as node:
        for port in ports:
            answer = await ask((HOST, port))
            assert answer.message.response_origin == (HOST, port)
        assert node.address[0] == HOST


def test_without_the_primary_there_is_nothing_to_be_an_alternate_of() -> None:
    assert bound(address="0.0.0.0:3478", alternate_address="") == {}  # one host only here


def test_datagrams_are_handed_on_with_the_place_they_came_to() -> None:
    async def story() -> None:
        network = MemoryNetwork()
        config = Config().with_options(stun_server={"address": "10.0.0.1:3478"})
        sockets = await StunSockets.open(
            config.stun_server, lambda at: MemorySocket.open(network, at)
        )
        received: list[tuple[bytes, Address, Place]] = []
        running = asyncio.ensure_future(sockets.run(lambda *what: received.append(what)))
        sender = await MemorySocket.open(network, ("10.0.0.9", 5))
        sender.send(b"one", ("10.0.0.1", 3478))
        sender.send(b"two", ("10.0.0.1", 3479))
        await asyncio.sleep(1)
        assert received == [
            (b"one", ("10.0.0.9", 5), Place.PRIMARY),
            (b"two", ("10.0.0.9", 5), Place.ALTERNATE_PORT),
        ]
        sockets.send(Place.ALTERNATE_PORT, b"three", ("10.0.0.9", 5))
        sockets.send(Place.ALTERNATE_BOTH, b"from a place that is not there", ("10.0.0.9", 5))
        await asyncio.sleep(1)
        assert sender.drain(10) == [(b"three", ("10.0.0.1", 3479))]
        sockets.close()
        await running
        sender.close()

    run_virtual(story())
