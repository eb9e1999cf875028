"""Sockets on all addresses of this machine answer from the one that was asked.

On Linux the whole of 127.0.0.0/8 is this machine's, which makes two addresses of every host.
"""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import pytest

from p2ptui.errors import BindError
from p2ptui.io import own_sockets, pktinfo
from p2ptui.io.bind import bind_udp
from p2ptui.io.datagrams import DatagramSocket
from p2ptui.io.kernel_choice import CHOICE_S, MAX_CHOICES, WORTH_LOOKING, KernelChoice
from p2ptui.io.own_sockets import ADDRESSES_S, SocketPerAddress
from p2ptui.io.udp import adopt, open_udp
from p2ptui.wire.address import Address, AskedAddress, own_host
from tests.patience import PATIENCE_S
from tests.virtual_loop import run_virtual

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="all of 127/8 is Linux's")

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
Run: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["pktinfo", "sockets"])
def opened(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Awaitable[DatagramSocket]]:
    """Opens a wildcard socket as Linux has it, and as other systems do."""
    monkeypatch.setattr(
        own_sockets, "local_addresses", lambda: [FIRST, SECOND, "::1"], raising=True
    )
    return lambda host: open_udp((host, 0), pktinfo=request.param == "pktinfo")


@pytest.fixture
def client() -> Iterator[Callable[..., socket.socket]]:
    sockets = []

    def make(host: str, port: int, at: str = "") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sockets.append(sock)
        sock.settimeout(PATIENCE_S)
        if at:
            sock.bind((at, 0))
        sock.connect((host, port))
        return sock

    yield make
    for sock in sockets:
        sock.close()


async def take(sock: DatagramSocket, count: int = 1) -> list[tuple[bytes, Address]]:
    taken: list[tuple[bytes, Address]] = []
    while len(taken) < count:
        await sock.wait()
        taken += sock.drain(count - len(taken))
    return taken


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_answer_comes_from_where_was_asked(
    run: Run, opened: Any, client: Any, host: str
) -> None:
    async def story() -> None:
        sock = await opened(host)
        port = sock.local_address[1]
        assert sock.local_address[0] == host
        hosts = (FIRST, SECOND) if host == "0.0.0.0" else (FIRST, SECOND, "::1")
        for asked in hosts:
            asker = client(asked, port)
            for number in range(3 * WORTH_LOOKING):  # before and after the route is known
                asker.send(b"%d" % number)
                [(data, source)] = await take(sock)
                assert source == asker.getsockname()[:2]
                assert own_host(source) == asked
                sock.send(data, source)
                assert asker.recv(100) == b"%d" % number
            sock.send(b"few hops", source, ttl=2)
            assert asker.recv(100) == b"few hops"
        assert sock.next_send_failure() is None
        sock.close()

    run(story)


def test_one_that_asks_elsewhere_is_answered_from_there(run: Run, opened: Any, client: Any) -> None:
    async def story() -> None:
        sock = await opened("0.0.0.0")
        port = sock.local_address[1]
        asker = client(SECOND, port, FIRST)
        asker.send(b"one")
        [(_, first)] = await take(sock)
        asker.connect((FIRST, port))
        asker.send(b"two")
        [(_, second)] = await take(sock)
        assert first == second
        assert (own_host(first), own_host(second)) == (SECOND, FIRST)
        sock.send(b"to the second", second)
        assert asker.recv(100) == b"to the second"
        asker.connect((SECOND, port))
        sock.send(b"to the first", first)
        assert asker.recv(100) == b"to the first"
        sock.close()

    run(story)


def test_an_address_that_is_not_this_machines_leaves_the_choice_to_the_system(
    run: Run, opened: Any, client: Any
) -> None:
    async def story() -> None:
        sock = await opened("0.0.0.0")
        asker = client(FIRST, sock.local_address[1], FIRST)
        for _ in range(2 * WORTH_LOOKING):
            sock.send(b"x", AskedAddress(asker.getsockname(), "192.0.2.77"))
            assert asker.recv(100) == b"x"
        assert sock.next_send_failure() is None
        sock.close()

    run(story)


def test_a_plain_address_is_sent_to_as_before(run: Run, opened: Any, client: Any) -> None:
    async def story() -> None:
        sock = await opened("0.0.0.0")
        asker = client(FIRST, sock.local_address[1], FIRST)
        sock.send(b"x", asker.getsockname())
        assert asker.recv(100) == b"x"
        sock.send(b"x", ("no address", 1))
        failure = sock.next_send_failure()
        assert failure is not None
        assert failure[1].errno == errno.EINVAL
        sock.close()

    run(story)


def test_what_a_wildcard_took_is_given_back(run: Run, opened: Any, client: Any) -> None:
    async def story() -> None:
        before = descriptors()
        for _ in range(5):
            sock = await opened("0.0.0.0")
            waiting = asyncio.ensure_future(sock.wait())
            await asyncio.sleep(0)
            sock.close()
            sock.close()
            await waiting
            assert sock.closed
            assert sock.drain(10) == []
            sock.send(b"x", (FIRST, 9))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert descriptors() <= before

    run(story)


def test_nothing_is_lost_when_a_wait_is_cancelled_or_nobody_takes(
    run: Run, opened: Any, client: Any
) -> None:
    async def story() -> None:
        sock = await opened("0.0.0.0")
        asker = client(SECOND, sock.local_address[1])
        for _ in range(3):
            waiting = asyncio.ensure_future(sock.wait())
            await asyncio.sleep(0)
            waiting.cancel()
        for number in range(200):
            asker.send(b"%d" % number)
        turns = 0
        while turns < 20:  # the loop is not kept busy by what nobody takes
            await asyncio.sleep(0)
            turns += 1
        taken = await take(sock, 200)
        assert [data for data, _ in taken] == [b"%d" % number for number in range(200)]
        assert sock.counters().datagrams_in == 200
        sock.close()

    run(story)


def test_a_bound_address_costs_nothing(run: Run) -> None:
    async def story() -> None:
        sock: Any = await open_udp((FIRST, 0))
        assert sock._pktinfo is None
        other = await open_udp((FIRST, 0))
        other.send(b"x", sock.local_address)
        [(_, source)] = await take(sock)
        assert type(source) is tuple
        sock.close()
        other.close()

    run(story)


# What the system says.


def pktinfo4(spec: str, header: str) -> tuple[int, int, bytes]:
    packed = pktinfo._PKTINFO4.pack(1, socket.inet_aton(spec), socket.inet_aton(header))
    return socket.IPPROTO_IP, pktinfo._IP_PKTINFO, packed


def pktinfo6(host: str) -> tuple[int, int, bytes]:
    packed = pktinfo._PKTINFO6.pack(socket.inet_pton(socket.AF_INET6, host), 1)
    return socket.IPPROTO_IPV6, pktinfo._IPV6_PKTINFO, packed


@pytest.mark.parametrize(
    ("ancillary", "asked"),
    [
        ([], None),
        ([pktinfo4("192.0.2.1", "192.0.2.1")], "192.0.2.1"),
        ([pktinfo4("192.0.2.1", "192.0.2.255")], "192.0.2.1"),
        ([pktinfo4("0.0.0.0", "224.0.0.1")], None),
        ([pktinfo6("2001:db8::1")], "2001:db8::1"),
        ([pktinfo6("fe80::1")], "fe80::1"),
        ([pktinfo6("ff02::1")], None),
        ([pktinfo6("::ffff:192.0.2.255"), pktinfo4("192.0.2.1", "192.0.2.255")], "192.0.2.1"),
        ([pktinfo6("::ffff:192.0.2.255")], None),
        ([(socket.IPPROTO_IP, pktinfo._IP_PKTINFO, b"short")], None),
        ([(socket.SOL_SOCKET, 1, b"other"), pktinfo4("192.0.2.1", "192.0.2.1")], "192.0.2.1"),
    ],
)
def test_only_an_address_of_one_host_answers(
    ancillary: list[tuple[int, int, bytes]], asked: str | None
) -> None:
    assert pktinfo._asked_host(ancillary) == asked


# The system's own choice.


def test_a_route_is_looked_up_for_busy_hosts_only() -> None:
    async def story() -> None:
        looked: list[str] = []

        def look_up(host: str, _port: int) -> str | None:
            looked.append(host)
            return "192.0.2.1"

        choice = KernelChoice(look_up)
        for number in range(5 * MAX_CHOICES):  # strangers
            assert not choice.is_certain(f"10.0.{number >> 8}.{number & 255}", "192.0.2.1")
        assert looked == []
        assert len(choice) == MAX_CHOICES
        await asyncio.sleep(CHOICE_S)
        assert len(choice) == 0
        told = [choice.is_certain("198.51.100.1", "192.0.2.1") for _ in range(100)]
        assert told == [False] * (WORTH_LOOKING - 1) + [True] * (101 - WORTH_LOOKING)
        assert not choice.is_certain("198.51.100.1", "192.0.2.2")
        assert looked == ["198.51.100.1"]
        choice.forget()

    run_virtual(story())


def test_a_choice_that_changes_is_noticed_within_a_second() -> None:
    async def story() -> None:
        sources = ["192.0.2.1", "192.0.2.2"]
        choice = KernelChoice(lambda _host, _port: sources[0])
        assert choice.towards("198.51.100.1") == "192.0.2.1"
        sources.pop(0)
        assert choice.towards("198.51.100.1") == "192.0.2.1"
        await asyncio.sleep(CHOICE_S)
        assert choice.towards("198.51.100.1") == "192.0.2.2"
        choice.forget()

    run_virtual(story())


def test_without_a_way_nothing_is_certain() -> None:
    async def story() -> None:
        choice = KernelChoice(lambda _host, _port: None)
        assert choice.towards("198.51.100.1") is None
        assert not choice.is_certain("198.51.100.1", "192.0.2.1")
        choice.forget()

    run_virtual(story())


# A socket for each address.


async def open_one(address: Address) -> DatagramSocket:
    return await adopt(bind_udp(address))


def free_port(_address: Address) -> int:
    with bind_udp(("0.0.0.0", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_the_sockets_follow_the_addresses(
    run: Run, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_sockets, "ADDRESSES_S", 0.01)

    async def story() -> None:
        hosts = [FIRST]
        sock = await SocketPerAddress.open(("0.0.0.0", 0), free_port, open_one, lambda: hosts)
        port = sock.local_address[1]
        asker = client(SECOND, port)
        asker.send(b"nobody is there")
        with pytest.raises(ConnectionRefusedError):
            asker.recv(1)
        hosts.append(SECOND)
        source: Address | None = None
        while source is None:
            await asyncio.sleep(0.01)
            try:
                asker.send(b"now")
                source = next((source for _, source in sock.drain(10)), None)
            except ConnectionRefusedError:
                pass
        assert own_host(source) == SECOND
        while sock.drain(10):
            pass
        hosts.remove(SECOND)
        while True:
            await asyncio.sleep(0.01)
            try:
                asker.send(b"still?")
                asker.send(b"still?")
            except ConnectionRefusedError:
                break
        counters = sock.counters()
        assert counters.datagrams_in >= 1
        sock.close()
        assert sock.counters().datagrams_in >= counters.datagrams_in

    run(story)


def test_a_port_that_is_taken_at_one_address_is_refused_with_advice(run: Run) -> None:
    async def story() -> None:
        with bind_udp((SECOND, 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(BindError, match="already in use"):
                await SocketPerAddress.open(
                    ("0.0.0.0", port), lambda _: port, open_one, lambda: [FIRST, SECOND]
                )

    run(story)


def test_a_free_port_is_free_at_all_addresses(run: Run) -> None:
    async def story() -> None:
        with bind_udp((SECOND, 0)) as other:
            taken = other.getsockname()[1]
            ports = iter((taken, free_port(("", 0))))
            sock = await SocketPerAddress.open(
                ("0.0.0.0", 0), lambda _: next(ports), open_one, lambda: [FIRST, SECOND]
            )
            assert sock.local_address[1] != taken
            sock.close()

    run(story)


def test_addresses_are_looked_up_often_enough_to_be_noticed_within_a_second() -> None:
    assert ADDRESSES_S <= 1.0


def test_who_was_heard_on_both_versions_is_answered_by_a_socket_of_one(
    run: Run, client: Any
) -> None:
    async def story() -> None:
        both, four = await open_udp(("::", 0)), await open_udp(("0.0.0.0", 0))
        asker = client(SECOND, both.local_address[1])
        asker.send(b"x")
        [(_, source)] = await take(both)
        asker.connect((SECOND, four.local_address[1]))
        four.send(b"from the other", source)
        assert asker.recv(100) == b"from the other"
        assert four.next_send_failure() is None
        both.close()
        four.close()

    run(story)


def test_without_any_address_nothing_was_counted(run: Run) -> None:
    async def story() -> None:
        async def open_one(_: Address) -> DatagramSocket:
            raise AssertionError("there is no address to bind")

        sock = SocketPerAddress(("0.0.0.0", 5000), open_one, list)
        counters = sock.counters()
        assert (counters.datagrams_in, counters.datagrams_out) == (0, 0)
        assert not counters.send_errors
        sock.close()

    run(story)


class TenThousand:
    """A socket's `recvmsg`: so many senders in turn, who all ask one address."""

    family = socket.AF_INET

    def __init__(self, count: int) -> None:
        self._count = count
        self._next = 0

    def recvmsg(self, _size: int, _room: int) -> Any:
        number, self._next = self._next, (self._next + 1) % self._count
        told = pktinfo._PKTINFO4.pack(1, socket.inet_aton(FIRST), socket.inet_aton(FIRST))
        ancillary = [(socket.IPPROTO_IP, pktinfo._IP_PKTINFO, told)]
        return b"x", ancillary, 0, (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 80)

    def fileno(self) -> int:
        return self._pair[0].fileno()

    def close(self) -> None:
        for sock in self._pair:
            sock.close()

    def __getattr__(self, name: str) -> Any:
        if name == "_pair":
            self._pair = socket.socketpair(type=socket.SOCK_DGRAM)
            return self._pair
        return None


def read_in_turn(senders: int, rounds: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How often it was put together what a sender asked, and how much of it is kept."""
    made = []
    source = pktinfo._source
    monkeypatch.setattr(pktinfo, "_source", lambda *known: made.append(known) or source(*known))
    kept = 0

    async def story() -> None:
        nonlocal kept
        stream = pktinfo.PktinfoStream(TenThousand(senders), asyncio.Queue())  # type: ignore[arg-type]
        for _ in range(rounds):
            received: list[tuple[bytes, Address]] = []
            stream.read(received, senders)
            assert {own_host(address) for _, address in received} == {FIRST}
        kept = len(stream._sources) + len(stream._earlier)
        stream.close()

    asyncio.run(story())
    return len(made), kept


def test_what_ten_thousand_peers_ask_is_put_together_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _ = read_in_turn(10_000, 3, monkeypatch)

    assert made == 10_000


def test_senders_without_end_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _, kept = read_in_turn(5 * pktinfo.MAX_SOURCES, 1, monkeypatch)

    assert kept <= 2 * pktinfo.MAX_SOURCES
