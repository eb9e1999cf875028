"""Datagrams that travel few hops, and those that must not be cut: real sockets on loopback."""

import asyncio
import errno
import socket
import sys
from contextlib import suppress
from typing import Any

import pytest

from p2ptui.errors import BindError
from p2ptui.io.bind import bind_udp, forbidden_fragments, limited_hops
from p2ptui.io.datagrams import DatagramTooLongError
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.io.udp import open_udp
from tests.patience import PATIENCE_S
from tests.virtual_loop import run_virtual

HOSTS = [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]


def received_with_ttl(sock: socket.socket, family: socket.AddressFamily) -> tuple[bytes, int]:
    data, parts, *_ = sock.recvmsg(100, 100)
    (hops,) = [int.from_bytes(value[:4], sys.byteorder) for _, _, value in parts]
    return data, hops


@pytest.fixture(params=HOSTS, ids=["v4", "v6"])
def receiver(request: pytest.FixtureRequest) -> Any:
    host, family = request.param
    if sys.platform == "win32" or (family == socket.AF_INET6 and not socket.has_ipv6):
        pytest.skip("this system tells no hops")
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            pytest.skip(f"{host} is no address of this machine")
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_RECVTTL", 12), 1)
        sock.settimeout(PATIENCE_S)
        yield sock


def test_only_the_one_datagram_has_few_hops(receiver: socket.socket) -> None:
    host, port = receiver.getsockname()[:2]

    async def story() -> None:
        sock = await open_udp((host, 0))
        sock.send(b"before", (host, port))
        sock.send(b"short", (host, port), ttl=3)
        sock.send(b"after", (host, port))
        assert sock.counters().datagrams_out == 3
        sock.close()

    asyncio.run(story())
    told = [received_with_ttl(receiver, receiver.family) for _ in range(3)]

    assert [data for data, _ in told] == [b"before", b"short", b"after"]
    first, short, last = [hops for _, hops in told]
    assert short == 3
    assert first == last > 3


def test_the_hops_are_put_back_whatever_happens() -> None:
    with bind_udp(("127.0.0.1", 0)) as sock:
        before = sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
        with suppress(RuntimeError), limited_hops(sock, 2):
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 2
            raise RuntimeError
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == before


def test_a_socket_for_both_versions_limits_the_hops_of_both() -> None:
    """The opener of a NAT would go all the way to an IPv4 peer otherwise."""
    four, six = (socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
    with bind_udp(("::", 0)) as sock:
        if sock.family != socket.AF_INET6:
            pytest.skip("no IPv6 here")
        before = [sock.getsockopt(*option) for option in (four, six)]
        with limited_hops(sock, 2):
            assert [sock.getsockopt(*option) for option in (four, six)] == [2, 2]
        assert [sock.getsockopt(*option) for option in (four, six)] == before


@pytest.mark.parametrize("ttl", [-5, 0, 100_000])
def test_hops_that_the_system_refuses_are_no_error(ttl: int) -> None:
    async def story() -> None:
        sock = await open_udp(("127.0.0.1", 0))
        sock.send(b"data", ("127.0.0.1", 9), ttl=ttl)
        sock.close()

    asyncio.run(story())


def test_a_closed_socket_sends_nothing() -> None:
    async def story() -> None:
        sock = await open_udp(("127.0.0.1", 0))
        sock.close()
        sock.send(b"data", ("127.0.0.1", 9), ttl=2)
        assert sock.counters().datagrams_out == 0
        assert sock.counters().dropped_out == 1

    asyncio.run(story())


@pytest.mark.skipif(sys.platform != "linux", reason="the numbers of the options are Linux's")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_socket_can_forbid_fragments(host: str) -> None:
    family = socket.IPPROTO_IPV6 if ":" in host else socket.IPPROTO_IP
    option = 23 if ":" in host else 10
    try:
        plain, whole = bind_udp((host, 0)), bind_udp((host, 0), unfragmented=True)
    except Exception:
        pytest.skip(f"{host} is no address of this machine")
    with plain, whole:
        assert whole.getsockopt(family, option) == 3
        assert plain.getsockopt(family, option) != 3


def test_a_node_may_open_such_a_socket() -> None:
    async def story() -> None:
        sock = await open_udp(("127.0.0.1", 0), broadcast=False, unfragmented=True)
        sock.send(b"data", sock.local_address)
        await asyncio.wait_for(sock.wait(), PATIENCE_S)
        assert [data for data, _ in sock.drain(1)] == [b"data"]
        sock.close()

    asyncio.run(story())


def test_in_memory_few_hops_reach_the_own_nat_and_nobody_else() -> None:
    seen = []

    def translate(data: bytes, source: Any, to: Any, now: float) -> Any:
        seen.append(data)
        return source, to

    async def story() -> None:
        network = MemoryNetwork(translate=translate)
        a = await MemorySocket.open(network, ("10.0.0.1", 1))
        b = await MemorySocket.open(network, ("10.0.0.2", 1))
        a.send(b"short", b.local_address, ttl=2)
        a.send(b"far", b.local_address)
        await b.wait()
        assert [data for data, _ in b.drain(10)] == [b"far"]
        a.close()
        b.close()

    run_virtual(story())
    assert seen == [b"short", b"far"]


@pytest.mark.skipif(sys.platform != "linux", reason="the numbers of the options are Linux's")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_fragments_are_forbidden_for_one_datagram_only(host: str) -> None:
    options = [(socket.IPPROTO_IP, 10)]
    if ":" in host:
        options.append((socket.IPPROTO_IPV6, 23))
    try:
        sock = bind_udp((host, 0))
    except BindError:
        pytest.skip(f"{host} is no address of this machine")
    with sock:
        before = [sock.getsockopt(*option) for option in options]
        with suppress(RuntimeError), forbidden_fragments(sock):
            assert [sock.getsockopt(*option) for option in options] == [3] * len(options)
            raise RuntimeError
        assert [sock.getsockopt(*option) for option in options] == before


def test_what_is_too_long_is_told_with_its_length() -> None:
    async def story() -> None:
        sock = await open_udp(("127.0.0.1", 0))
        sock.send(bytes(65_507), sock.local_address, unfragmented=True)
        sock.send(bytes(65_508), sock.local_address, unfragmented=True)
        sock.send(bytes(65_509), sock.local_address)
        told = [sock.next_send_failure() for _ in range(3)]
        sock.close()
        assert told[2] is None
        for failure, size in zip(told[:2], (65_508, 65_509), strict=True):
            assert failure is not None
            assert failure[0] == sock.local_address
            assert isinstance(failure[1], DatagramTooLongError)
            assert failure[1].size_bytes == size
            assert failure[1].errno == errno.EMSGSIZE

    asyncio.run(story())


def test_in_memory_what_must_not_be_cut_has_a_limit_of_its_own() -> None:
    async def story() -> None:
        network = MemoryNetwork(mtu=1400, uncut_mtu=1000)
        a = await MemorySocket.open(network, ("10.0.0.1", 1))
        b = await MemorySocket.open(network, ("10.0.0.2", 1))
        for size in (1000, 1001):
            a.send(bytes(size), b.local_address, unfragmented=True)
        for size in (1400, 1401):
            a.send(bytes(size), b.local_address)
        await b.wait()
        assert [len(data) for data, _ in b.drain(10)] == [1000, 1400]
        assert network.counters().dropped_mtu == 2
        a.close()
        b.close()

    run_virtual(story())
