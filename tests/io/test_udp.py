import asyncio
import errno
import socket
import warnings

import pytest

from p2ptui.errors import BindError
from p2ptui.io import udp
from p2ptui.io.bind import bind_udp
from p2ptui.io.interfaces import local_addresses
from p2ptui.io.udp import BACKLOG_DATAGRAMS, INBOX_DATAGRAMS, UdpSocket, adopt, open_udp
from tests.patience import PATIENCE_S

LOOPBACK = ("127.0.0.1", 0)


def has_ipv6() -> bool:
    try:
        bind_udp(("::1", 0)).close()
    except BindError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture(params=["plain", "uvloop"])
def run(request):
    """Runs a coroutine on the loop of the parameter; a test that hangs fails."""
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    else:
        factory = asyncio.SelectorEventLoop

    def run(story):
        with asyncio.Runner(loop_factory=factory) as runner:
            try:
                return runner.run(asyncio.wait_for(story(), PATIENCE_S))
            except BaseException:
                # A story that failed left its sockets open, and uvloop's `close` never returns
                # when the warning about that is an error.
                warnings.simplefilter("ignore", ResourceWarning)
                raise

    return run


@pytest.fixture(params=["direct", "through the transport"])
def mode(request, monkeypatch):
    """With and without direct reading, which Windows' proactor loop does not have."""
    if request.param != "direct":
        monkeypatch.setattr(udp, "_reads_directly", lambda loop: False)
    return request.param


async def take(sock: UdpSocket, count: int) -> list[tuple[bytes, tuple[str, int]]]:
    taken = []
    while len(taken) < count:
        await sock.wait()
        taken += sock.drain(count - len(taken))
    return taken


class ScriptedSocket(socket.socket):
    """A real socket whose next calls fail as a list says; None lets one through."""

    send_script: tuple[OSError | None, ...] = ()
    receive_script: tuple[OSError | None, ...] = ()

    def sendto(self, *args):
        script = list(self.send_script)
        self.send_script = tuple(script[1:])
        if script and script[0] is not None:
            raise script[0]
        return super().sendto(*args)

    def recvfrom(self, *args):
        script = list(self.receive_script)
        self.receive_script = tuple(script[1:])
        if script and script[0] is not None:
            raise script[0]
        return super().recvfrom(*args)


def scripted_socket() -> ScriptedSocket:
    sock = ScriptedSocket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(LOOPBACK)
    return sock


def no_room() -> OSError:
    return BlockingIOError(errno.EAGAIN, "no room")


def test_datagrams_arrive_in_order_with_their_source(run, mode):
    async def story():
        alice, bob = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        sent = [b"%d" % number for number in range(100)]
        for data in sent:
            alice.send(data, bob.local_address)
        assert await take(bob, 100) == [(data, alice.local_address) for data in sent]

        bob.send(b"back", alice.local_address)
        assert await take(alice, 1) == [(b"back", bob.local_address)]
        assert alice.counters().datagrams_out == bob.counters().datagrams_in == 100
        assert alice.counters().bytes_out == bob.counters().bytes_in == sum(map(len, sent))
        alice.close()
        bob.close()

    run(story)


def test_an_empty_datagram_is_a_datagram(run):
    async def story():
        alice, bob = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        alice.send(b"", bob.local_address)
        assert await take(bob, 1) == [(b"", alice.local_address)]
        alice.close()
        bob.close()

    run(story)


def test_a_drain_keeps_its_budget_and_does_not_block(run, mode):
    async def story():
        alice, bob = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        assert bob.drain(10) == []
        for number in range(5):
            alice.send(b"%d" % number, bob.local_address)
        assert bob.drain(0) == []
        await bob.wait()
        first = bob.drain(1)
        assert [data for data, _ in first + await take(bob, 4)] == [b"0", b"1", b"2", b"3", b"4"]
        assert bob.drain(10) == []
        alice.close()
        bob.close()

    run(story)


def test_a_wait_that_is_repeated_or_cancelled_loses_nothing(run, mode):
    async def story():
        alice, bob = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bob.wait(), 0)
        alice.send(b"one", bob.local_address)
        alice.send(b"two", bob.local_address)
        await bob.wait()
        await bob.wait()
        assert [data for data, _ in await take(bob, 2)] == [b"one", b"two"]
        alice.close()
        bob.close()

    run(story)


def test_closing_wakes_whoever_waits(run, mode):
    async def story():
        sock = await open_udp(LOOPBACK)
        waiting = asyncio.ensure_future(sock.wait())
        asyncio.get_running_loop().call_soon(sock.close)
        await waiting
        assert sock.closed
        await sock.wait()
        assert sock.drain(10) == []
        sock.send(b"late", ("127.0.0.1", 9))
        assert sock.counters().dropped_out == 1
        sock.close()

    run(story)


def test_a_socket_that_the_loop_lost_is_closed(run):
    async def story():
        sock = await open_udp(LOOPBACK)
        sock._transport.abort()
        await sock.wait()
        assert sock.closed

        other, ticker = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        other._transport.abort()
        while not other.closed:
            assert other.drain(10) == []
            ticker.send(b"tick", ticker.local_address)
            await take(ticker, 1)
        ticker.close()

    run(story)


def test_a_flood_fills_the_inbox_and_no_more(run, mode):
    async def story():
        bob, flooder = await open_udp(LOOPBACK), bind_udp(LOOPBACK)
        ticker = await open_udp(LOOPBACK)
        while bob.counters().dropped_in < 1000:
            for _ in range(32):
                flooder.sendto(b"x" * 1000, bob.local_address)
            ticker.send(b"tick", ticker.local_address)
            await take(ticker, 1)
        assert bob._inbox.qsize() == INBOX_DATAGRAMS
        assert len(await take(bob, INBOX_DATAGRAMS)) == INBOX_DATAGRAMS
        bob.close()
        ticker.close()
        flooder.close()

    run(story)


def test_a_flood_of_large_datagrams_is_bounded_in_bytes(run, monkeypatch):
    monkeypatch.setattr(udp, "INBOX_BYTES", 100_000)

    async def story():
        bob, ticker = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        while bob.counters().dropped_in < 10:
            ticker.send(bytes(30_000), bob.local_address)
            ticker.send(b"tick", ticker.local_address)
            await take(ticker, 1)
        assert bob._inbox.qsize() == 3
        bob.drain(100)
        assert bob._inbox._size_bytes == 0
        bob.close()
        ticker.close()

    run(story)


def test_a_full_inbox_still_lets_the_end_through(run, monkeypatch):
    monkeypatch.setattr(udp, "INBOX_DATAGRAMS", 0)

    async def story():
        sock = await open_udp(LOOPBACK)
        asyncio.get_running_loop().call_soon(sock.close)
        await sock.wait()
        assert sock.closed

    run(story)


def test_a_failed_send_blames_its_destination_and_nobody_else(run):
    async def story():
        alice, bob = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        too_large_for = ("127.0.0.1", 9)
        alice.send(bytes(65_508), too_large_for)
        alice.send(b"fits", bob.local_address)
        assert await take(bob, 1) == [(b"fits", alice.local_address)]

        address, error = alice.next_send_failure()
        assert (address, error.errno) == (too_large_for, errno.EMSGSIZE)
        assert alice.next_send_failure() is None
        assert alice.counters().send_errors == {"EMSGSIZE": 1}
        assert alice.counters().datagrams_out == 1
        alice.close()
        bob.close()

    run(story)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("nosuch.example", 80), "EINVAL"),
        (("", 80), "EINVAL"),
        (("127.0.0.1", 0), "EINVAL"),
        (("127.0.0.1", 65536), "EINVAL"),
        (("127.0.0.1", -1), "EINVAL"),
        (("2001:db8::1", 80), "EAFNOSUPPORT"),
        (("127.0.0.1\0", 80), "EINVAL"),
    ],
)
def test_what_is_no_destination_fails_without_a_look_up(run, address, name):
    async def story():
        sock = await open_udp(LOOPBACK)
        sock.send(b"x", address)
        assert sock.next_send_failure()[0] == address
        assert sock.counters().send_errors == {name: 1}
        sock.close()

    run(story)


@needs_ipv6
@pytest.mark.parametrize("scope", ["nosuch0", "99999999999", "a\0b"])
def test_a_scope_that_names_no_interface_fails_that_send(run, scope):
    async def story():
        sock = await open_udp(("::1", 0))
        sock.send(b"x", (f"fe80::1%{scope}", 80))
        assert sock.counters().send_errors == {"ENODEV": 1}
        sock.close()

    run(story)


def test_failures_that_nobody_asks_for_are_bounded(run):
    async def story():
        sock = await open_udp(LOOPBACK)
        for port in range(1, 1001):
            sock.send(b"x", ("2001:db8::1", port))
        assert sock.counters().send_errors == {"EAFNOSUPPORT": 1000}
        assert sock.next_send_failure()[0][1] == 1001 - udp.SEND_FAILURES
        sock.close()

    run(story)


def test_datagrams_wait_for_room_and_leave_in_order(run):
    async def story():
        raw = scripted_socket()
        alice, bob = await adopt(raw), await open_udp(LOOPBACK)
        nobufs = OSError(errno.ENOBUFS, "no buffer space")
        raw.send_script = (no_room(), no_room(), nobufs, no_room())
        for data in (b"1", b"2", b"3"):
            alice.send(data, bob.local_address)
        assert alice.counters().backlog == 3
        assert [data for data, _ in await take(bob, 3)] == [b"1", b"2", b"3"]
        assert alice.counters().backlog == 0
        assert alice.counters().datagrams_out == 3
        assert alice.counters().send_errors == {}
        alice.close()
        bob.close()

    run(story)


def test_a_drain_sends_what_waited(run):
    async def story():
        raw = scripted_socket()
        alice = await adopt(raw)
        raw.send_script = (no_room(),)
        alice.send(b"waits", alice.local_address)
        assert alice.counters().backlog == 1
        assert alice.drain(10) == [(b"waits", alice.local_address)]
        alice.close()

    run(story)


def test_the_backlog_is_bounded_and_what_it_drops_is_counted(run):
    async def story():
        raw = scripted_socket()
        alice = await adopt(raw)
        raw.send_script = (no_room(),) * 2000
        for _ in range(BACKLOG_DATAGRAMS + 7):
            alice.send(b"x", ("127.0.0.1", 9))
        assert alice.counters().backlog == BACKLOG_DATAGRAMS
        assert alice.counters().dropped_out == 7
        alice.close()
        assert alice.counters().backlog == 0
        assert alice.counters().dropped_out == BACKLOG_DATAGRAMS + 7

    run(story)


def test_what_has_few_hops_cannot_wait_and_is_counted(run):
    async def story():
        raw = scripted_socket()
        alice = await adopt(raw)
        raw.send_script = (no_room(),)
        alice.send(b"x", ("127.0.0.1", 9), ttl=2)
        assert alice.counters().backlog == 0
        assert alice.counters().dropped_out == 1
        alice.close()

    run(story)


def test_a_full_buffer_of_the_transport_is_no_room(run, monkeypatch):
    monkeypatch.setattr(udp, "_reads_directly", lambda loop: False)
    monkeypatch.setattr(udp, "SEND_BUFFER_BYTES", 3)

    async def story():
        sock = await open_udp(LOOPBACK)
        sock.send(b"four", sock.local_address)
        assert sock.counters().backlog == 1
        sock.close()

    run(story)


def test_a_refusal_of_an_earlier_datagram_blames_nobody_and_stops_nothing(run):
    async def story():
        raw = scripted_socket()
        alice, bob = await adopt(raw), await open_udp(LOOPBACK)
        raw.send_script = (ConnectionResetError(errno.ECONNRESET, "10054 on Windows"),)
        alice.send(b"to bob", bob.local_address)
        assert [data for data, _ in await take(bob, 1)] == [b"to bob"]
        assert alice.next_send_failure() is None

        raw.receive_script = (
            ConnectionResetError(errno.ECONNRESET, "10054 on Windows"),
            ConnectionRefusedError(errno.ECONNREFUSED, "an ICMP refusal"),
        )
        bob.send(b"to alice", alice.local_address)
        received = []
        for _ in range(1000):
            received += alice.drain(10)
        assert received == [(b"to alice", bob.local_address)]
        assert alice.counters().receive_errors == 3
        alice.close()
        bob.close()

    run(story)


def test_a_refusal_that_repeats_itself_fails_that_send(run):
    async def story():
        raw = scripted_socket()
        alice = await adopt(raw)
        refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        raw.send_script = (refused, refused)
        alice.send(b"x", ("127.0.0.1", 9))
        assert alice.next_send_failure() == (("127.0.0.1", 9), refused)
        alice.close()

    run(story)


def test_an_error_that_the_transport_reports_is_counted_and_never_raised(run, mode):
    async def story():
        alice, bob = await open_udp(LOOPBACK), await open_udp(LOOPBACK)
        for _ in range(10_000):
            alice._stream._excq.put_nowait(OSError(errno.ENETUNREACH, "about somebody"))
        bob.send(b"still here", alice.local_address)
        assert await take(alice, 1) == [(b"still here", bob.local_address)]
        alice.send(b"and you", bob.local_address)
        assert await take(bob, 1) == [(b"and you", alice.local_address)]
        assert alice.counters().receive_errors == 10_000
        assert alice._stream._excq.qsize() == 0
        alice.close()
        bob.close()

    run(story)


def test_a_port_is_never_shared_whatever_the_other_program_asks(run):
    async def story():
        node = await open_udp(LOOPBACK)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match=r"in use|ermission|forbidden"):
                thief.bind(node.local_address)
        node.close()

    run(story)


def test_an_empty_host_is_every_ipv4_interface(run):
    async def story():
        everywhere, local = await open_udp(("", 0)), await open_udp(LOOPBACK)
        host, port = everywhere.local_address
        assert host == "0.0.0.0"
        local.send(b"hello", ("127.0.0.1", port))
        assert await take(everywhere, 1) == [(b"hello", local.local_address)]
        everywhere.close()
        local.close()

    run(story)


@needs_ipv6
def test_a_dual_stack_socket_speaks_plain_ipv4_addresses(run, mode):
    async def story():
        both, four, six = [await open_udp((host, 0)) for host in ("::", "127.0.0.1", "::1")]
        port = both.local_address[1]
        four.send(b"from 4", ("127.0.0.1", port))
        assert await take(both, 1) == [(b"from 4", four.local_address)]
        both.send(b"to 4", four.local_address)
        assert await take(four, 1) == [(b"to 4", ("127.0.0.1", port))]
        six.send(b"from 6", ("::1", port))
        assert await take(both, 1) == [(b"from 6", six.local_address)]
        both.send(b"to 6", six.local_address)
        assert await take(six, 1) == [(b"to 6", ("::1", port))]
        for sock in (both, four, six):
            sock.close()

    run(story)


def test_an_ipv4_socket_takes_a_mapped_destination_as_ipv4(run):
    async def story():
        sock = await open_udp(LOOPBACK)
        sock.send(b"mapped", ("::ffff:127.0.0.1", sock.local_address[1]))
        assert await take(sock, 1) == [(b"mapped", sock.local_address)]
        sock.close()

    run(story)


LINK_LOCAL = next((host for host in local_addresses() if host.startswith("fe80:")), None)


@needs_ipv6
@pytest.mark.skipif(LINK_LOCAL is None, reason="no interface has a link-local address")
def test_a_link_local_address_keeps_its_interface_both_ways(run, mode):
    async def story():
        alice, bob = await open_udp((LINK_LOCAL, 0)), await open_udp((LINK_LOCAL, 0))
        assert alice.local_address[0] == LINK_LOCAL
        alice.send(b"hello", bob.local_address)
        assert await take(bob, 1) == [(b"hello", alice.local_address)]
        alice.close()
        bob.close()

    run(story)


def test_a_socket_that_cannot_be_adopted_is_closed(run):
    async def story():
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        stream.setblocking(False)
        with pytest.raises(ValueError, match="socket"):
            await adopt(stream)
        assert stream.fileno() == -1

    run(story)


def test_the_windows_loop_is_the_one_that_cannot_be_read_directly(monkeypatch):
    class ProactorEventLoop(asyncio.SelectorEventLoop):
        pass

    monkeypatch.setattr(asyncio, "ProactorEventLoop", ProactorEventLoop, raising=False)
    proactor, selector = ProactorEventLoop(), asyncio.SelectorEventLoop()
    assert not udp._reads_directly(proactor)
    assert udp._reads_directly(selector)
    proactor.close()
    selector.close()
