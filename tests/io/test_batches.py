"""Many datagrams by one system call do what they do one by one: real sockets on loopback."""

import asyncio
import ctypes
import errno
import itertools
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2ptui.io import batch_reader, batch_writer, mmsg, pktinfo, udp
from p2ptui.io.batch_reader import READ_AT_ONCE, BatchReader
from p2ptui.io.batch_writer import BATCHES_WITHOUT, CALL_ENTRIES, REFUSED_TRAINS, TRAIN_LENGTH
from p2ptui.io.bind import bind_udp
from p2ptui.io.datagrams import DatagramTooLongError
from p2ptui.io.resolve import sockaddr_of
from p2ptui.io.udp import BACKLOG_DATAGRAMS, DRAIN_BYTES, UdpSocket, adopt, open_udp
from p2ptui.wire.address import AskedAddress, own_host
from p2ptui.wire.frames import Unfragmented
from tests.patience import PATIENCE_S

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
LARGEST = 65_507
TOO_LONG = 65_536
"""For IPv6, too."""

needs_batches = pytest.mark.skipif(mmsg.CALLS is None, reason="this system has no such calls")


def has(host: str) -> bool:
    try:
        bind_udp((host, 0)).close()
    except Exception:
        return False
    return True


HOSTS = [
    pytest.param(host, marks=pytest.mark.skipif(not has(host), reason=f"{host} is not this one's"))
    for host in (HERE, "::1", "0.0.0.0", "::")
]


@pytest.fixture(params=["batches", "batches without trains", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the system is called: in each way the same happens."""
    if request.param == "one by one":
        one_by_one(monkeypatch)
    elif mmsg.CALLS is None:
        pytest.skip("this system has no such calls")
    elif request.param == "batches without trains":
        monkeypatch.setattr(batch_writer, "_has_trains", lambda sock: False)
    return str(request.param)


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (udp, pktinfo):
        monkeypatch.setattr(module, "is_batched", lambda sock: False)


@pytest.fixture
def client() -> Iterator[Callable[..., socket.socket]]:
    sockets = []

    def make(host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sockets.append(sock)
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((host, 0))
        return sock

    yield make
    for sock in sockets:
        sock.close()


def reached_at(host: str) -> str:
    return {"0.0.0.0": HERE, "::": HERE}.get(host, host)


def address_of(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return host, port


def all_of(sock: socket.socket, count: int) -> list[bytes]:
    return [sock.recv(LARGEST + 1) for _ in range(count)]


async def take(sock: Any, count: int) -> list[tuple[bytes, Any]]:
    taken: list[tuple[bytes, Any]] = []
    while len(taken) < count:
        taken += sock.drain(count - len(taken))
        await asyncio.sleep(0)
    return taken


MIXED = [
    *[b"a%03d" % number for number in range(70)],  # more than one train
    b"last",
    b"shorter",
    b"s",
    b"",
    b"",
    b"after nothing",
    bytes(1200),
    bytes(1200),
    bytes(17),
    bytes(1200),
    bytes(LARGEST),
    b"after much",
    *[bytes([number]) * 30_000 for number in range(9)],  # no more than two of a train
    *[b"%d" % number for number in range(2 * CALL_ENTRIES)],
]


@pytest.mark.parametrize("host", HOSTS)
def test_the_same_arrives_in_the_same_order(run: Any, way: str, client: Any, host: str) -> None:
    async def story() -> None:
        sock = await open_udp((host, 0))
        one, two = client(reached_at(host)), client(reached_at(host))
        both = [(data, address_of(each)) for data in MIXED for each in (one, two)]
        for start in range(0, len(both), 40):
            sock.send_all(both[start : start + 40])
            for each in (one, two):
                assert all_of(each, len(both[start : start + 40]) // 2) == [
                    data for data, to in both[start : start + 40] if to == address_of(each)
                ]
        counters = sock.counters()
        assert counters.datagrams_out == len(both)
        assert counters.bytes_out == sum(len(data) for data, _ in both)
        assert sock.next_send_failure() is None
        sock.close()

    run(story)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("heard", [True, False])
def test_each_of_many_gets_its_own(
    run: Any, way: str, client: Any, host: str, *, heard: bool
) -> None:
    """One datagram for each: those that are put together at once, and the odd ones among them."""

    async def story() -> None:
        sock = await open_udp((host, 0))
        to = reached_at(host), sock.local_address[1]
        each = [client(to[0]) for _ in range(CALL_ENTRIES + 9)]
        known: list[tuple[str, int]] = [address_of(one) for one in each]
        if heard:
            for one in each:
                one.sendto(b"x", to)
            known = [source for _, source in await take(sock, len(each))]
        odd = {3: b"", 5: bytes(30_000), 7: Unfragmented(b"whole"), 9: bytes(TOO_LONG)}
        for turn in range(3):
            data = [odd.get(number, b"%d of %d" % (number, turn)) for number in range(len(each))]
            sock.send_all([*zip(data, known, strict=True), (b"x", ("no address", 80))])
            for number, one in enumerate(each):
                if number != 9:
                    assert one.recvfrom(LARGEST + 1)[0] == data[number]
            assert sock.next_send_failure()[0] in (known[9], ("no address", 80))  # type: ignore[index]
            assert sock.next_send_failure()[0] in (known[9], ("no address", 80))  # type: ignore[index]
            assert sock.next_send_failure() is None
        counters = sock.counters()
        assert counters.datagrams_out == 3 * (len(each) - 1)
        assert counters.send_errors == {"EMSGSIZE": 3, "EINVAL": 3}
        sock.close()

    run(story)


@pytest.mark.parametrize("host", HOSTS)
def test_the_same_is_read(run: Any, way: str, client: Any, host: str) -> None:
    async def story() -> None:
        sock = await open_udp((host, 0))
        to = reached_at(host), sock.local_address[1]
        one, two = client(to[0]), client(to[0])
        sent = []
        for data, each in itertools.product([b"x", b"", bytes(LARGEST), b"y" * 1200], (one, two)):
            each.sendto(data, to)
            sent.append((data, address_of(each)))
        taken = await take(sock, len(sent))
        assert taken == sent
        assert {own_host(source) for _, source in taken} == {to[0] if host != to[0] else None}
        assert sock.counters().datagrams_in == len(sent)
        assert sock.counters().bytes_in == sum(len(data) for data, _ in sent)
        sock.close()

    run(story)


@needs_batches
def test_without_a_reader_that_knows_names_each_goes_where_it_should(run: Any, client: Any) -> None:
    async def story() -> None:
        sock = await open_udp((HERE, 0))
        sock._reader.close()
        sock._reader = None
        there = [client(HERE) for _ in range(2 * CALL_ENTRIES)]
        assert sock._names_of([address_of(each) for each in there[:3]]) == [b""] * 3
        for half in (there[:CALL_ENTRIES], there[CALL_ENTRIES:]):
            sock.send_all([(b"%d" % each.fileno(), address_of(each)) for each in half])
        assert [all_of(each, 1) for each in there] == [[b"%d" % each.fileno()] for each in there]
        with pytest.raises(AssertionError):
            sock._writer._slots.fill([b"x"] * 2, [], [])
        sock.close()

    run(story)


@needs_batches
@pytest.mark.parametrize("host", HOSTS)
def test_who_is_known_is_the_same_object_each_time(run: Any, client: Any, host: str) -> None:
    async def story() -> None:
        sock = await open_udp((host, 0))
        to = reached_at(host), sock.local_address[1]
        one, two = client(to[0]), client(to[0])
        for each in (one, two) * 20:
            each.sendto(b"x", to)
        sources = [source for _, source in sock.drain(40)]
        assert len(sources) == 40
        assert len({id(source) for source in sources}) == 2
        sock.close()

    run(story)


@needs_batches
def test_senders_without_end_are_not_known_without_end(
    run: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_reader, "MAX_SENDERS", 4)

    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        senders = [client(HERE) for _ in range(30)]
        for each in senders * 2:
            each.sendto(b"x", sock.local_address)
        assert [source for _, source in sock.drain(60)] == 2 * [*map(address_of, senders)]
        reader = sock._reader
        assert len(reader._senders) + len(reader._earlier) <= 8
        assert len(reader.names) <= 4
        sock.close()

    run(story)


def test_a_drain_takes_no_more_than_it_may(run: Any, way: str, client: Any) -> None:
    async def story() -> None:
        sock = await open_udp((HERE, 0))
        one = client(HERE)
        for number in range(3 * READ_AT_ONCE):
            one.sendto(b"%d" % number, sock.local_address)
        taken = [sock.drain(count) for count in (1, READ_AT_ONCE + 1, 0, 5, 1000)]
        assert [len(batch) for batch in taken] == [1, READ_AT_ONCE + 1, 0, 5, 2 * READ_AT_ONCE - 7]
        numbers = [int(data) for batch in taken for data, _ in batch]
        assert numbers == list(range(3 * READ_AT_ONCE))
        sock.close()

    run(story)


def test_a_drain_of_large_ones_ends_early(run: Any, way: str, client: Any) -> None:
    async def story() -> None:
        sock = await open_udp((HERE, 0))
        one, size, sent = client(HERE), 20_000, 4 * READ_AT_ONCE
        for _ in range(sent):
            one.sendto(bytes(size), sock.local_address)
        first = sock.drain(1000)
        most = DRAIN_BYTES // size + 1 + READ_AT_ONCE
        assert 0 < len(first) <= most < sent
        sock.close()

    run(story)


# From where was asked.


@pytest.mark.skipif(sys.platform != "linux", reason="all of 127/8 is Linux's")
def test_all_are_answered_from_where_they_asked(run: Any, way: str, client: Any) -> None:
    async def story() -> None:
        sock = await open_udp(("0.0.0.0", 0))
        port = sock.local_address[1]
        one, two = client(HERE), client(HERE)
        asked = [(one, HERE), (two, ELSEWHERE), (one, ELSEWHERE), (two, HERE), (one, HERE)] * 20
        for number, (each, host) in enumerate(asked):
            each.sendto(b"%d" % number, (host, port))
        sock.send_all(await take(sock, len(asked)))
        for each in (one, two):
            wanted = [
                (b"%d" % number, (host, port))
                for number, (asker, host) in enumerate(asked)
                if asker is each
            ]
            assert [each.recvfrom(100) for _ in wanted] == wanted
        sock.close()

    run(story)


@pytest.mark.skipif(sys.platform != "linux", reason="all of 127/8 is Linux's")
def test_a_source_that_is_not_this_machines_leaves_the_choice_to_the_system(
    run: Any, way: str, client: Any
) -> None:
    async def story() -> None:
        sock = await open_udp(("0.0.0.0", 0))
        one, two = client(HERE), client(HERE)
        lost, known = AskedAddress(address_of(one), "192.0.2.77"), address_of(two)
        sock.send_all([(b"1", lost), (b"x", known), (b"2", lost), (b"3", lost)])
        assert all_of(one, 3) == [b"1", b"2", b"3"]
        assert all_of(two, 1) == [b"x"]
        assert sock.next_send_failure() is None
        sock.close()

    run(story)


# What goes wrong.


@pytest.mark.parametrize("host", HOSTS)
def test_what_fails_loses_nothing_else_and_blames_its_own(
    run: Any, way: str, client: Any, host: str
) -> None:
    async def story() -> None:
        sock = await open_udp((host, 0))
        one, two = client(reached_at(host)), client(reached_at(host))
        to, other = address_of(one), address_of(two)
        no_address, no_port = ("no address", 80), (to[0], 0)
        sock.send_all(
            [
                (b"1", to),
                (bytes(TOO_LONG), to),
                (b"2", to),
                (b"x", no_address),
                (b"x", other),
                (Unfragmented(bytes(TOO_LONG + 1)), to),
                (b"3", to),
                (bytes(300_000), to),
                (b"x", no_port),
                (b"4", to),
            ]
        )
        assert all_of(one, 4) == [b"1", b"2", b"3", b"4"]
        assert all_of(two, 1) == [b"x"]
        failures = []
        while (failure := sock.next_send_failure()) is not None:
            failures.append(failure)
        assert {address for address, _ in failures} == {to, no_address, no_port}
        sizes = [
            error.size_bytes for _, error in failures if isinstance(error, DatagramTooLongError)
        ]
        assert sorted(sizes) == [TOO_LONG, TOO_LONG + 1, 300_000]
        assert sock.counters().send_errors == {"EMSGSIZE": 2, "EINVAL": 2}
        assert sock.counters().datagrams_out == 5
        sock.close()

    run(story)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells an unconnected socket")
def test_what_an_earlier_datagram_met_blames_nobody(run: Any, way: str, client: Any) -> None:
    async def story() -> None:
        raw = bind_udp((HERE, 0))
        raw.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        sock = await adopt(raw)
        with bind_udp((HERE, 0)) as gone:
            nobody = address_of(gone)
        one, two = client(HERE), client(HERE)
        sock.send(b"x", nobody)
        batch = [(b"%d" % number, address_of(each)) for number in range(9) for each in (one, two)]
        sock.send_all(batch)
        assert all_of(one, 9) == all_of(two, 9) == [b"%d" % number for number in range(9)]
        assert sock.next_send_failure() is None
        sock.send(b"x", nobody)
        one.sendto(b"to read", sock.local_address)
        assert sock.drain(10) == [(b"to read", address_of(one))]
        assert sock.counters().receive_errors == 2
        assert sock.counters().datagrams_out == 2 + len(batch)
        sock.close()

    run(story)


class Scripted:
    """The system's call, which fails as a list says; None lets one through."""

    def __init__(self, send: Callable[[int, int, int], int], *script: int | None) -> None:
        self._send = send
        self._script = list(script)
        self.asked: list[int] = []

    def __call__(self, fd: int, vector: int, count: int) -> int:
        self.asked.append(count)
        error = self._script.pop(0) if self._script else None
        if error is None:
            return self._send(fd, vector, count)
        if error < 0:
            return self._send(fd, vector, -error)  # so many, and then something
        ctypes.set_errno(error)
        return -1


def scripted(sock: Any, *script: int | None) -> Scripted:
    made = Scripted(sock._writer._send, *script)
    sock._writer._send = made
    return made


def full(sock: Any) -> Callable[..., int]:
    """Single calls find no room; the call that does, to put it back."""
    real: Callable[..., int] = sock._sendto

    def sendto(*_: Any) -> int:
        raise BlockingIOError(errno.EAGAIN, "no room")

    sock._sendto = sendto
    return real


@needs_batches
def test_where_there_is_no_room_all_wait_in_order(run: Any, client: Any) -> None:
    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        others = [client(HERE) for _ in range(6)]
        batch = [(b"%d" % number, address_of(each)) for number in range(5) for each in others]
        scripted(sock, -2, errno.EAGAIN)  # two trains leave
        real = full(sock)
        sock.send_all(batch)
        assert sock.counters().datagrams_out == 10
        assert sock.counters().backlog == 20
        sock.send_all([(b"5", address_of(each)) for each in others])
        assert sock.counters().backlog == 26
        sock._sendto = real
        sock.drain(1)
        sock.send_all([(b"6", address_of(each)) for each in others])
        for each in others:
            assert all_of(each, 7) == [b"%d" % number for number in range(7)]
        assert sock.counters().backlog == sock.counters().dropped_out == 0
        assert sock.counters().datagrams_out == 42
        assert sock.counters().send_errors == {}
        sock.close()

    run(story)


@needs_batches
def test_what_takes_several_calls_waits_in_order_as_well(run: Any, client: Any) -> None:
    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        other = client(HERE)
        batch = [(b"x" * (number + 1), address_of(other)) for number in range(150)]  # no trains
        scripted(sock, errno.EAGAIN)
        real = full(sock)
        sock.send_all(batch)
        assert sock.counters().backlog == 150
        sock._sendto = real
        sock.drain(1)
        assert all_of(other, 150) == [data for data, _ in batch]
        sock.close()

    run(story)


@needs_batches
def test_what_waits_is_bounded(run: Any, client: Any) -> None:
    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        to = address_of(client(HERE))
        scripted(sock, *[errno.ENOBUFS] * 10)

        def sendto(*_: Any) -> int:
            raise OSError(errno.ENOBUFS, "no room")

        sock._sendto = sendto
        sock.send_all([(b"x", to)] * (BACKLOG_DATAGRAMS + 7))
        assert sock.counters().backlog == BACKLOG_DATAGRAMS
        assert sock.counters().dropped_out == 7
        assert sock.counters().datagrams_out == 0
        sock.close()

    run(story)


@needs_batches
def test_a_train_that_is_refused_leaves_one_by_one(run: Any, client: Any) -> None:
    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        one = client(HERE)
        batch = [(b"%d" % number, address_of(one)) for number in range(9)]
        scripted(sock, *[errno.EIO] * (REFUSED_TRAINS - 1), None, *[errno.EINVAL] * REFUSED_TRAINS)
        for _ in range(REFUSED_TRAINS):
            sock.send_all(batch)
        assert sock._writer._longest_train == TRAIN_LENGTH, "one that is taken begins it anew"
        for _ in range(REFUSED_TRAINS):
            sock.send_all(batch)
        assert sock._writer._longest_train == 1
        for _ in range(BATCHES_WITHOUT):
            assert all_of(one, 9) == [data for data, _ in batch]
            sock.send_all(batch)
        assert sock._writer._longest_train == TRAIN_LENGTH, "it may be otherwise by now"
        assert all_of(one, 9 * 2 * REFUSED_TRAINS) == [data for data, _ in batch] * (
            2 * REFUSED_TRAINS
        )
        assert sock.counters().send_errors == {}
        assert sock.counters().datagrams_out == 9 * (2 * REFUSED_TRAINS + BATCHES_WITHOUT)
        sock.close()

    run(story)


def test_a_socket_that_was_closed_sends_and_reads_nothing(run: Any, way: str, client: Any) -> None:
    async def story() -> None:
        for host in (HERE, "0.0.0.0"):
            sock = await open_udp((host, 0))
            one = client(HERE)
            one.sendto(b"x", (HERE, sock.local_address[1]))
            sock.close()
            with bind_udp((HERE, 0)) as other:  # it may have the number of the closed one
                one.sendto(b"x", other.getsockname())
                sock.send_all([(b"late", address_of(one))] * 9)
                assert sock.drain(10) == []
                assert other.recv(10) == b"x"
            assert sock.counters().dropped_out == 9
            assert sock.counters().datagrams_out == 0

    run(story)


def test_a_socket_that_the_loop_lost_touches_nobody_elses(way: str, client: Any) -> None:
    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        one = client(HERE)
        sock._sock.close()
        with bind_udp((HERE, 0)) as other:  # it may have the number of the lost one
            one.sendto(b"x", other.getsockname())
            sock.send_all([(b"late", address_of(one))] * 9)
            assert sock.drain(10) == []
            assert other.recv(10) == b"x"
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(10)
        assert sock.counters().datagrams_out == 0
        assert sock.counters().send_errors == {"EBADF": 9}
        sock.close()

    asyncio.run(story())


# How often the system is called.


@needs_batches
def test_one_call_takes_many(run: Any, client: Any) -> None:
    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        assert isinstance(sock, UdpSocket)
        one, others = client(HERE), [client(HERE) for _ in range(20)]
        calls = scripted(sock)
        sock.send_all([(bytes(100), address_of(one))] * 64)
        assert calls.asked == [1], "equal ones to one peer are one"
        assert all_of(one, 64) == [bytes(100)] * 64
        sock.send_all([(bytes(size), address_of(each)) for size, each in enumerate(others)])
        assert calls.asked == [1, 20]

        reads: list[int] = []
        assert sock._reader is not None
        receive = sock._reader._receive
        sock._reader._receive = lambda *call: reads.append(call[2]) or receive(*call)
        for _ in range(READ_AT_ONCE + 4):
            one.sendto(b"x", sock.local_address)
        assert len(sock.drain(256)) == READ_AT_ONCE + 4
        assert reads == [READ_AT_ONCE, READ_AT_ONCE]
        sock.close()

    run(story)


@needs_batches
def test_one_datagram_leaves_as_before(run: Any, client: Any) -> None:
    async def story() -> None:
        sock: Any = await open_udp((HERE, 0))
        calls = scripted(sock)
        one, two = client(HERE), client(HERE)
        sock.send_all([(b"x", address_of(one))])
        sock.send_all([(b"y", address_of(one)), (b"x", address_of(two))])
        assert calls.asked == []
        assert all_of(one, 2) == [b"x", b"y"]
        sock.close()

    run(story)


# How destinations are written.


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("port", [0, 1, 65_535, 65_536])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.3.4", "192.0.2.1", "::1", "::ffff:127.0.0.1", "192.0.2", "x", ""]
)
def test_a_destination_is_written_as_by_the_general_way(
    family: socket.AddressFamily, port: int, host: str
) -> None:
    try:
        expected: Any = mmsg.pack_name(sockaddr_of((host, port), family), family)
    except OSError as error:
        expected = error.errno
    try:
        written: Any = mmsg.packed_name((host, port), family)
    except OSError as error:
        written = error.errno
    assert written == expected


# Where it is used.


class OwnCalls(socket.socket):
    """A socket whose calls somebody has replaced."""


def test_a_socket_with_calls_of_its_own_is_used_by_these(run: Any) -> None:
    async def story() -> None:
        raw = OwnCalls(socket.AF_INET, socket.SOCK_DGRAM)
        raw.setblocking(False)
        raw.bind((HERE, 0))
        sock: Any = await adopt(raw)
        assert sock._reader is None
        assert sock._writer is None
        sock.send_all([(b"%d" % number, sock.local_address) for number in range(9)])
        assert [data for data, _ in await take(sock, 9)] == [b"%d" % n for n in range(9)]
        sock.close()

    run(story)


@pytest.mark.parametrize(("name", "value"), [("platform", "win32"), ("byteorder", "big")])
def test_other_systems_have_no_such_calls(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setattr(sys, name, value)
    assert mmsg._find_calls() is None


def test_a_c_library_without_them_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert mmsg._find_calls() is None


@needs_batches
def test_threads_share_no_memory_of_a_call() -> None:
    found: list[Any] = []

    def look() -> None:
        with bind_udp((HERE, 0)) as sock:
            readers = [BatchReader(sock, lambda *_: (HERE, 1)) for _ in range(2)]
            assert readers[0]._slots is readers[1]._slots
            found.append(readers[0]._slots)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is not found[1]


# How it lies in memory.


@pytest.mark.parametrize(
    ("sockaddr", "family"),
    [
        (("192.0.2.1", 65_535), socket.AF_INET),
        (("2001:db8::1", 1, 0, 0), socket.AF_INET6),
        (("fe80::1", 80, 5, 3), socket.AF_INET6),
        (("::ffff:192.0.2.1", 80, 0, 0), socket.AF_INET6),
    ],
)
def test_a_name_reads_as_it_was_written(sockaddr: Any, family: int) -> None:
    name = mmsg.pack_name(sockaddr, family)
    assert len(name) == mmsg.NAME_BYTES[socket.AddressFamily(family)]
    assert mmsg.sockaddr_in(name + b"what follows", family) == sockaddr


def test_ancillary_data_reads_as_it_was_written() -> None:
    parts = [(0, 8, b"twelve bytes"), (41, 50, b"x" * 20), (17, 103, b"ab"), (1, 2, b"")]
    assert mmsg.ancillary_in(mmsg.ancillary_bytes(parts)) == parts
    assert mmsg.ancillary_in(bytes(64)) == []
    assert mmsg.ancillary_in(b"short") == []
