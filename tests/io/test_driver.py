"""The pump: what the endpoint wants is done at the right time, and what breaks is told."""

import asyncio
import itertools
import socket

import pytest

from p2ptui.io.driver import BATCH, DIRECT, LOOK, SLICE_S, Driver
from p2ptui.io.fair_inbox import FairInbox, Standing
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.io.udp import open_udp
from p2ptui.wire.frames import Unfragmented
from tests.patience import PATIENCE_S
from tests.simulation import World
from tests.virtual_loop import run_virtual

HERE = ("10.0.0.1", 80)
THERE = ("10.0.0.2", 80)
QUIET = ("10.0.0.3", 80)


class Endpoint:
    """A core that echoes, and counts who asked it what."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, float]] = []
        self.timeouts: list[float] = []
        self.next: float | None = None
        self.events: list[str] = []
        self.failed: list[tuple[object, str]] = []
        self.unix_offsets: list[float] = []
        self.outgoing: list[tuple[bytes, object]] = []
        self.breaks = False

    def receive_datagram(self, data, address, now):
        if self.breaks:
            raise ZeroDivisionError
        self.received.append((data, now))
        self.outgoing.append((b"echo " + data, address))
        self.events.append(data.decode())

    def datagrams_to_send(self, now):
        taken, self.outgoing = self.outgoing, []
        return taken

    def next_timeout(self):
        return self.next

    def handle_timeout(self, now):
        self.timeouts.append(now)
        self.next = None
        if self.breaks:
            raise ZeroDivisionError

    def next_event(self):
        return self.events.pop(0) if self.events else None

    def fail_datagram(self, address, reason, now):
        self.failed.append((address, reason))

    def set_unix_offset(self, offset):
        self.unix_offsets.append(offset)


class Bench:
    """A driver between an `Endpoint` and a socket, and a second socket across the street."""

    async def __aenter__(self) -> "Bench":
        network = MemoryNetwork(latency_s=0.01)
        self.socket = await MemorySocket.open(network, HERE)
        self.other = await MemorySocket.open(network, THERE)
        self.endpoint = Endpoint()
        self.events: list[str] = []
        self.failures: list[Exception] = []
        self.driver = Driver(
            self.endpoint,
            self.socket,
            self.events.append,
            self.now,
            lambda: 1_795_000_000.0,
            on_failure=self.failures.append,
        )
        self.running = asyncio.ensure_future(self.driver.run())
        return self

    async def __aexit__(self, *_):
        self.driver.close()
        self.socket.close()
        self.other.close()
        await asyncio.gather(self.running, return_exceptions=True)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def answers(self) -> list[bytes]:
        await asyncio.sleep(1)
        return [data for data, _ in self.other.drain(10_000)]


def test_datagrams_go_in_and_answers_and_events_come_out():
    async def story():
        async with Bench() as bench:
            bench.other.send(b"one", HERE)
            bench.other.send(b"two", HERE)
            assert await bench.answers() == [b"echo one", b"echo two"]
            assert bench.events == ["one", "two"]

    run_virtual(story())


def test_a_batch_has_one_time_and_a_flood_is_taken_in_batches():
    async def story():
        async with Bench() as bench:
            for number in range(2 * BATCH + 3):
                bench.other.send(b"%d" % number, HERE)
            assert len(await bench.answers()) == 2 * BATCH + 3
            assert {data for data, _ in bench.endpoint.received} == {
                b"%d" % number for number in range(2 * BATCH + 3)
            }

    run_virtual(story())


def test_a_busy_socket_lets_the_rest_of_the_loop_run(monkeypatch):
    async def story():
        async with Bench() as bench:
            clock = iter(range(1, 1_000_000))
            bench.driver._clock = lambda: bench.now() + 0.001 * next(clock)  # work takes time
            ran = []
            for number in range(1000):
                bench.socket.receive(b"%d" % number, THERE)

            async def another():
                while len(bench.endpoint.received) < 1000:
                    ran.append(len(bench.endpoint.received))
                    await asyncio.sleep(0)

            await another()
            assert len(set(ran)) > 1

    run_virtual(story())


def test_what_came_by_the_time_of_a_timer_is_read_first():
    """A process that had to wait for its turn finds its timers due, and the answers unread."""

    async def story():
        async with Bench() as bench:
            told: list[tuple[str, float]] = []
            bench.endpoint.handle_timeout = lambda now: told.append(("timeout", now))
            receive = bench.endpoint.receive_datagram

            def receive_datagram(data, address, now):
                told.append((data.decode(), now))
                receive(data, address, now)

            bench.endpoint.receive_datagram = receive_datagram
            # Both are there when the loop has its turn again.
            bench.socket.receive(b"answer", THERE)
            bench.driver._handle_timer()
            assert await bench.answers() == [b"echo answer"]
            assert [name for name, _ in told] == ["answer", "timeout"]

    run_virtual(story())


def test_what_comes_while_others_are_processed_is_taken_in_the_same_turn_of_the_loop():
    async def story():
        async with Bench() as bench:
            receive = bench.endpoint.receive_datagram

            def receive_datagram(data, address, now):
                receive(data, address, now)
                if len(bench.endpoint.received) < 5:
                    bench.socket.receive(b"meanwhile", THERE)

            bench.endpoint.receive_datagram = receive_datagram
            bench.socket.receive(b"first", THERE)
            bench.driver._pump()
            assert len(bench.endpoint.received) == 5
            assert len(bench.events) == 5

    run_virtual(story())


def test_who_never_stops_sending_does_not_keep_the_loop():
    async def story():
        async with Bench() as bench:
            spent = itertools.count()
            bench.driver._clock = lambda: bench.now() + 0.001 * next(spent)
            receive = bench.endpoint.receive_datagram

            def receive_datagram(data, address, now):
                receive(data, address, now)
                bench.socket.receive(b"again", THERE)

            bench.endpoint.receive_datagram = receive_datagram
            bench.socket.receive(b"first", THERE)
            bench.driver._pump()
            assert 1 < len(bench.endpoint.received) < 10

    run_virtual(story())


def test_a_flood_does_not_keep_a_timer_from_its_turn():
    async def story():
        async with Bench() as bench:
            for number in range(2 * BATCH):
                bench.socket.receive(b"%d" % number, THERE)
            bench.driver._handle_timer()
            assert bench.endpoint.timeouts
            assert len(bench.endpoint.received) <= BATCH
            await asyncio.sleep(1)
            assert len(bench.endpoint.received) == 2 * BATCH

    run_virtual(story())


def test_where_more_come_than_can_be_processed_each_source_has_its_turn():
    """One source floods; what another one sends meanwhile is processed among the first."""

    async def story():
        async with Bench() as bench:
            peers = {THERE: Standing.PROVED, QUIET: Standing.PROVED}
            bench.driver._inbox = FairInbox(lambda address: (peers[address], address))
            clock = iter(range(1, 1_000_000))
            bench.driver._clock = lambda: bench.now() + 0.0001 * next(clock)  # work takes time
            for number in range(800):
                bench.socket.receive(b"%d" % number, THERE)
            bench.socket.receive(b"quiet", QUIET)
            await bench.answers()
            order = [data for data, _ in bench.endpoint.received]
            assert len(order) == 801
            assert order.index(b"quiet") < DIRECT

    run_virtual(story())


def test_a_few_that_take_long_leave_the_rest_to_its_turn():
    async def story():
        async with Bench() as bench:
            seen: list[int] = []
            spent = 0.0
            receive = bench.endpoint.receive_datagram

            def receive_datagram(data, address, now):
                nonlocal spent
                spent += SLICE_S
                seen.append(bench.driver._inbox.waiting)
                receive(data, address, now)

            bench.endpoint.receive_datagram = receive_datagram
            bench.driver._clock = lambda: bench.now() + spent
            for number in range(DIRECT):
                bench.socket.receive(b"%d" % number, THERE)
            await bench.answers()
            assert len(bench.endpoint.received) == DIRECT
            assert seen[: LOOK + 1] == [0] * LOOK + [DIRECT - LOOK - 1]

    run_virtual(story())


@pytest.mark.parametrize("more_come", [False, True])
def test_a_few_wait_for_their_turn_only_behind_others_that_have_come_meanwhile(more_come):
    async def story():
        async with Bench() as bench:
            seen: list[int] = []
            spent = 0.0
            receive = bench.endpoint.receive_datagram

            def receive_datagram(data, address, now):
                nonlocal spent
                spent += 1.1 * SLICE_S / LOOK
                if more_come and not seen:
                    bench.socket.receive(b"more", QUIET)
                seen.append(bench.driver._inbox.waiting)
                receive(data, address, now)

            bench.endpoint.receive_datagram = receive_datagram
            bench.driver._clock = lambda: bench.now() + spent
            for number in range(2 * LOOK):
                bench.socket.receive(b"%d" % number, THERE)
            await bench.answers()
            assert len(bench.endpoint.received) == 2 * LOOK + more_come
            waited = list(range(LOOK, -1, -1)) if more_come else [0] * LOOK
            assert seen == [0] * LOOK + waited

    run_virtual(story())


def test_what_waits_is_processed_though_nothing_more_comes():
    async def story():
        async with Bench() as bench:
            bench.driver._inbox.put([(b"%d" % number, THERE) for number in range(10)])
            bench.socket.receive(b"wakes", THERE)
            await bench.answers()
            assert len(bench.endpoint.received) == 11
            assert not bench.driver._inbox

    run_virtual(story())


async def turns_of_the_loop() -> None:
    """What was planned for the next turns has happened."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_a_timer_read_is_processed_though_nothing_more_comes():
    """The pump sleeps, and the timer has emptied the socket: nothing is left there to wake it."""

    async def story():
        endpoint, failures = Endpoint(), []
        sock = await open_udp(("127.0.0.1", 0))
        driver = Driver(endpoint, sock, lambda _: None, on_failure=failures.append)
        work, complete = itertools.count(), asyncio.Event()
        driver._clock = lambda: 0.001 * next(work)
        receive = endpoint.receive_datagram

        def receive_datagram(data, address, now):
            receive(data, address, now)
            if len(endpoint.received) == 200:
                complete.set()

        endpoint.receive_datagram = receive_datagram
        running = asyncio.ensure_future(driver.run())
        await asyncio.sleep(0)  # from here the pump waits for the socket
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            for number in range(200):
                other.sendto(b"%d" % number, sock.local_address)
        driver._handle_timer()
        assert len(endpoint.received) < 200
        await asyncio.wait_for(complete.wait(), PATIENCE_S)
        running.cancel()
        endpoint.breaks = True
        driver._inbox.put([(b"x", THERE)] * 2)
        driver._plan_rest()
        await turns_of_the_loop()
        assert [type(error) for error in failures] == [ZeroDivisionError]
        driver._plan_rest()
        driver.close()
        await turns_of_the_loop()
        assert len(failures) == 1
        sock.close()

    asyncio.run(story())


def test_one_timer_fires_when_the_endpoint_wants():
    async def story():
        async with Bench() as bench:
            start = bench.now()
            bench.endpoint.next = start + 5
            bench.driver.flush()
            await asyncio.sleep(1)
            bench.endpoint.next = start + 2  # earlier than planned
            bench.driver.flush()
            await asyncio.sleep(10)
            assert bench.endpoint.timeouts == [pytest.approx(start + 2)]
            assert bench.endpoint.unix_offsets == [pytest.approx(1_795_000_000 - (start + 2))]

    run_virtual(story())


def test_a_later_wish_is_met_though_the_timer_was_set_for_earlier():
    async def story():
        async with Bench() as bench:
            start = bench.now()
            bench.endpoint.next = start + 2
            bench.driver.flush()
            bench.endpoint.next = start + 7
            bench.driver.flush()
            await asyncio.sleep(2.5)
            # Woken in vain once, and then there is no reason for another timer: the
            # endpoint of this test forgets its wish when it is called.
            assert bench.endpoint.timeouts == [pytest.approx(start + 2)]

    run_virtual(story())


def test_what_is_overdue_happens_at_once():
    async def story():
        async with Bench() as bench:
            bench.endpoint.next = bench.now() - 100
            bench.driver.flush()
            await asyncio.sleep(0.01)
            assert len(bench.endpoint.timeouts) == 1

    run_virtual(story())


def test_a_send_that_fails_is_told_to_the_endpoint():
    async def story():
        async with Bench() as bench:
            bench.endpoint.outgoing.append((b"x", ("2001:db8::1", 80)))
            bench.driver.flush()
            ((address, reason),) = bench.endpoint.failed
            assert address == ("2001:db8::1", 80)
            assert "an IPv4 socket cannot send" in reason

    run_virtual(story())


def test_what_a_datagram_breaks_ends_the_pump_with_the_error():
    async def story():
        async with Bench() as bench:
            bench.endpoint.breaks = True
            bench.other.send(b"x", HERE)
            with pytest.raises(ZeroDivisionError):
                await bench.running

    run_virtual(story())


def test_what_the_timer_breaks_is_told_too():
    async def story():
        async with Bench() as bench:
            bench.endpoint.breaks = True
            bench.endpoint.next = bench.now() + 1
            bench.driver.flush()
            await asyncio.sleep(2)
            assert [type(error) for error in bench.failures] == [ZeroDivisionError]

    run_virtual(story())


def test_without_anybody_to_tell_the_loop_reports_it():
    async def story():
        reported = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        async with Bench() as bench:
            bench.driver._on_failure = None
            bench.endpoint.breaks = True
            bench.endpoint.next = bench.now() + 1
            bench.driver.flush()
            await asyncio.sleep(2)
        assert [type(error) for error in reported] == [ZeroDivisionError]

    run_virtual(story())


def test_the_pump_ends_with_the_socket_and_the_timer_with_the_driver():
    async def story():
        async with Bench() as bench:
            bench.endpoint.next = bench.now() + 1
            bench.driver.flush()
            bench.driver.close()
            bench.driver.close()
            bench.socket.close()
            await asyncio.wait_for(bench.running, 1)
            await asyncio.sleep(5)
            assert bench.endpoint.timeouts == []

    run_virtual(story())


class Sessions:
    """With whom there is a session, and what was refused on the way there."""

    def __init__(self, *addresses) -> None:
        self.addresses = addresses
        self.refused: list[tuple[object, int]] = []

    def handle_refused(self, address, size_bytes, now):
        self.refused.append((address, size_bytes))
        return address in self.addresses


@pytest.mark.parametrize("kind", [Unfragmented, bytes])
def test_a_datagram_that_is_too_long_says_nothing_of_a_peer_with_a_session(kind):
    async def story():
        async with Bench() as bench:
            bench.endpoint.path_probes = Sessions(THERE)
            bench.endpoint.outgoing.append((kind(65_508), THERE))
            bench.driver.flush()
            assert bench.endpoint.path_probes.refused == [(THERE, 65_508)]
            assert bench.endpoint.failed == []

    run_virtual(story())


def test_a_datagram_that_is_too_long_ends_what_has_not_become_a_session():
    async def story():
        async with Bench() as bench:
            bench.endpoint.path_probes = Sessions()
            bench.endpoint.outgoing.append((bytes(65_508), THERE))
            bench.driver.flush()
            assert [address for address, _ in bench.endpoint.failed] == [THERE]

    run_virtual(story())


def test_a_probe_that_is_too_long_is_no_send_error():
    async def story():
        async with Bench() as bench:
            bench.endpoint.path_probes = Sessions(THERE)
            bench.endpoint.outgoing.append((Unfragmented(bytes(65_508)), THERE))
            bench.driver.flush()
            assert bench.socket.counters().send_errors == {}
            bench.endpoint.outgoing.append((bytes(65_508), THERE))
            bench.driver.flush()
            assert bench.socket.counters().send_errors == {"EMSGSIZE": 1}

    run_virtual(story())


def test_a_refused_probe_makes_no_node_doubt_its_server():
    async def story():
        world = World()
        server, node = world.host(), world.host()
        node.outcome(node.connect(server))
        world.run_for(3)
        socket = await MemorySocket.open(MemoryNetwork(), HERE)
        driver = Driver(node.endpoint, socket, lambda _: None, lambda: world.now)
        node.endpoint._state.put_datagram(Unfragmented(bytes(65_508)), server.address)
        before = node.peer(server).messages_out
        driver.flush()
        driver.close()
        socket.close()
        assert node.endpoint.sizes()["servers_doubted"] == 0
        assert node.peer(server).messages_out == before
        assert socket.counters().send_errors == {}

    run_virtual(story())
