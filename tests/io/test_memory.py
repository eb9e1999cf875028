import asyncio
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.errors import BindError
from p2ptui.io import memory
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.io.udp import INBOX_DATAGRAMS
from p2ptui.wire.address import own_host
from tests.virtual_loop import START_S, run_virtual

ALICE = ("10.0.0.1", 4000)
BOB = ("10.0.0.2", 4000)
CAROL = ("10.0.0.3", 4000)


def network(**options) -> MemoryNetwork:
    """A network with Alice, Bob and Carol."""
    made = MemoryNetwork(**options)
    for address in (ALICE, BOB, CAROL):
        made.attach(address)
    return made


def payloads(deliveries) -> list[bytes]:
    return [data for data, _, _ in deliveries]


# The network by itself


def test_a_datagram_arrives_when_its_latency_has_passed():
    net = network(latency_s=0.05)
    net.send(b"hello", ALICE, BOB, now=10.0)
    assert net.next_delivery() == pytest.approx(10.05)
    assert net.deliver(10.04) == []
    assert net.deliver(10.06) == [(b"hello", ALICE, BOB)]
    assert net.next_delivery() is None


def test_datagrams_of_the_same_time_keep_their_order():
    net = network()
    for number in range(10):
        net.send(b"%d" % number, ALICE, BOB, now=0.0)
    assert payloads(net.deliver(0.0)) == [b"%d" % number for number in range(10)]


def test_jitter_adds_to_the_latency_within_its_bound():
    net = network(latency_s=0.1, jitter_s=0.02)
    for _ in range(200):
        net.send(b"x", ALICE, BOB, now=0.0)
    assert net.deliver(0.0999) == []
    early = len(net.deliver(0.11))
    assert 50 < early < 150
    assert early + len(net.deliver(0.12)) == 200


def test_loss_duplication_and_reordering_happen_as_often_as_asked():
    net = network(loss=0.2, duplication=0.1, reorder=0.3, reorder_delay_s=1.0, seed=7)
    for _ in range(2000):
        net.send(b"x", ALICE, BOB, now=0.0)
    on_time, late = net.deliver(0.0), net.deliver(1.0)
    counters = net.counters()
    assert counters.lost == pytest.approx(400, rel=0.2)
    assert counters.duplicated == pytest.approx(160, rel=0.3)
    assert counters.reordered == len(late) == pytest.approx(530, rel=0.2)
    assert counters.delivered == len(on_time) + len(late)
    assert counters.delivered == counters.sent - counters.lost + counters.duplicated


def test_a_datagram_above_the_mtu_is_dropped():
    net = network(mtu=1200)
    net.send(bytes(1200), ALICE, BOB, now=0.0)
    net.send(bytes(1201), ALICE, BOB, now=0.0)
    assert [len(data) for data in payloads(net.deliver(0.0))] == [1200]
    assert net.counters().dropped_mtu == 1

    net = network()
    net.send(bytes(65_507), ALICE, BOB, now=0.0)
    net.send(bytes(65_508), ALICE, BOB, now=0.0)
    assert (net.counters().dropped_mtu, len(net.deliver(0.0))) == (1, 1)


def test_a_link_is_one_direction_and_the_more_exact_one_wins():
    net = network(latency_s=0.01)
    net.set_link(ALICE[0], BOB[0], latency_s=1.0)
    net.set_link(ALICE, BOB[0], latency_s=2.0)
    net.set_link(CAROL[0], BOB, latency_s=3.0, loss=1.0)
    other_port = (ALICE[0], 5000)
    net.send(b"exact", ALICE, BOB, now=0.0)
    net.send(b"host", other_port, BOB, now=0.0)
    net.send(b"back", BOB, ALICE, now=0.0)
    net.send(b"lost", CAROL, BOB, now=0.0)
    assert payloads(net.deliver(0.01)) == [b"back"]
    assert payloads(net.deliver(1.0)) == [b"host"]
    assert payloads(net.deliver(2.0)) == [b"exact"]
    assert net.counters().lost == 1


@pytest.mark.parametrize(("a", "b"), [(ALICE, BOB), (BOB[0], ALICE[0]), (ALICE[0], BOB)])
def test_a_partition_cuts_both_directions_until_it_is_healed(a, b):
    net = network(latency_s=1.0)
    net.send(b"under way", ALICE, BOB, now=0.0)
    net.partition(a, b)
    net.send(b"there", ALICE, BOB, now=0.0)
    net.send(b"back", BOB, ALICE, now=0.0)
    net.send(b"around", ALICE, CAROL, now=0.0)
    assert payloads(net.deliver(1.0)) == [b"around"]
    assert net.counters().dropped_partition == 3
    net.heal(a, b)
    net.heal(a, b)
    net.send(b"again", ALICE, BOB, now=1.0)
    assert payloads(net.deliver(2.0)) == [b"again"]


def test_nobody_at_the_destination_is_counted():
    net = network()
    net.send(b"x", ALICE, ("10.0.0.9", 1), now=0.0)
    net.send(b"x", ALICE, BOB, now=0.0)
    net.detach(BOB)
    net.detach(BOB)
    assert net.deliver(0.0) == []
    assert net.counters().dropped_unknown == 2


@pytest.mark.parametrize("host", ["255.255.255.255", "10.0.0.255"])
def test_a_broadcast_reaches_everybody_with_that_port(host):
    net = network(broadcast_hosts=["10.0.0.255"])
    net.attach(("10.0.0.4", 5000))
    net.send(b"anybody?", ALICE, (host, 4000), now=0.0)
    assert net.deliver(0.0) == [(b"anybody?", ALICE, address) for address in (ALICE, BOB, CAROL)]


def test_a_translation_changes_what_the_other_side_sees():
    outside = ("203.0.113.1", 61_000)

    def translate(data, source, destination, now):
        if data == b"blocked":
            return None
        return (outside, destination) if source == ALICE else (source, ALICE)

    net = network(translate=translate, latency_s=1.0)
    net.set_link(ALICE, BOB, latency_s=2.0)
    net.send(b"out", ALICE, BOB, now=0.0)
    net.send(b"in", BOB, outside, now=0.0)
    net.send(b"blocked", BOB, outside, now=0.0)
    assert net.deliver(2.0) == [(b"in", BOB, ALICE), (b"out", outside, BOB)]
    assert net.counters().dropped_translation == 1
    assert net.counters().sent == 3


def test_what_is_under_way_is_bounded():
    net = network(latency_s=1.0, max_in_flight=10)
    for _ in range(15):
        net.send(b"x", ALICE, BOB, now=0.0)
    assert net.counters().dropped_full == 5
    assert len(net.deliver(1.0)) == 10


@pytest.mark.parametrize(
    "options", [{"loss": 1.1}, {"reorder": -0.1}, {"latency_s": -1}, {"jitter_s": float("nan")}]
)
def test_a_link_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is a"):
        MemoryNetwork(**options)


@given(
    seed=st.integers(),
    link=st.fixed_dictionaries(
        {
            "loss": st.floats(0, 1),
            "duplication": st.floats(0, 1),
            "reorder": st.floats(0, 1),
            "jitter_s": st.floats(0, 10),
        }
    ),
)
def test_the_same_seed_gives_the_same_story_and_every_datagram_is_accounted_for(seed, link):
    def story():
        net = network(seed=seed, **link)
        deliveries = []
        for number in range(50):
            net.send(b"%d" % number, ALICE, BOB, now=number / 10)
            deliveries += net.deliver(number / 10)
        deliveries += net.deliver(1000.0)
        return deliveries, net.counters()

    deliveries, counters = story()
    assert story() == (deliveries, counters)
    assert counters.delivered == len(deliveries)
    assert counters.sent + counters.duplicated == counters.delivered + counters.lost


# The socket on it


def test_two_sockets_talk_over_a_slow_link():
    async def story():
        loop, net = asyncio.get_running_loop(), MemoryNetwork(latency_s=0.5)
        alice, bob = await MemorySocket.open(net, ALICE), await MemorySocket.open(net, BOB)
        alice.send(b"ping", BOB)
        await bob.wait()
        assert loop.time() == pytest.approx(START_S + 0.5)
        assert bob.drain(10) == [(b"ping", ALICE)]
        bob.send(b"pong", ALICE)
        await alice.wait()
        assert loop.time() == pytest.approx(START_S + 1.0)
        assert alice.drain(10) == [(b"pong", BOB)]
        assert alice.counters().bytes_out == alice.counters().bytes_in == 4

    run_virtual(story())


def test_an_earlier_delivery_moves_the_timer_forward():
    async def story():
        loop, net = asyncio.get_running_loop(), MemoryNetwork(latency_s=0.1)
        net.set_link(ALICE, BOB, latency_s=60.0)
        alice, bob, carol = [await MemorySocket.open(net, who) for who in (ALICE, BOB, CAROL)]
        alice.send(b"slow", BOB)
        alice.send(b"fast", CAROL)
        await carol.wait()
        assert loop.time() == pytest.approx(START_S + 0.1)
        await bob.wait()
        assert loop.time() == pytest.approx(START_S + 60)

    run_virtual(story())


def test_a_drain_keeps_its_budget_and_the_socket_stays_readable():
    async def story():
        net = MemoryNetwork()
        alice, bob = await MemorySocket.open(net, ALICE), await MemorySocket.open(net, BOB)
        for number in range(5):
            alice.send(b"%d" % number, BOB)
        await bob.wait()
        assert [data for data, _ in bob.drain(3)] == [b"0", b"1", b"2"]
        assert bob.drain(0) == []
        await bob.wait()
        assert [data for data, _ in bob.drain(3)] == [b"3", b"4"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bob.wait(), 10)

    run_virtual(story())


def test_closing_wakes_whoever_waits_and_frees_the_address():
    async def story():
        net = MemoryNetwork(latency_s=1.0)
        alice, bob = await MemorySocket.open(net, ALICE), await MemorySocket.open(net, BOB)
        alice.send(b"too late", BOB)
        asyncio.get_running_loop().call_later(0.5, bob.close)
        await bob.wait()
        assert bob.closed
        assert bob.drain(10) == []
        await bob.wait()
        bob.close()
        bob.send(b"from the grave", ALICE)
        assert bob.counters().dropped_out == 1
        await asyncio.sleep(10)
        assert net.counters().dropped_unknown == 1
        (await MemorySocket.open(net, BOB)).close()
        alice.send(b"the last socket takes the timer with it", BOB)
        alice.close()

    run_virtual(story())


def test_free_ports_are_found_and_a_taken_one_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "FIRST_EPHEMERAL_PORT", 65_533)

    async def story():
        net = MemoryNetwork()
        first = await MemorySocket.open(net, ("10.0.0.1", 0))
        second = await MemorySocket.open(net, ("10.0.0.1", 0))
        local = await MemorySocket.open(net, ("localhost", 0))
        assert first.local_address == ("10.0.0.1", 65_533)
        assert second.local_address == ("10.0.0.1", 65_534)
        assert local.local_address == ("127.0.0.1", 65_533)
        with pytest.raises(BindError, match="address already in use; choose another"):
            await MemorySocket.open(net, first.local_address)
        assert net.attach(("10.0.0.1", 0)) == ("10.0.0.1", 65_535)
        with pytest.raises(BindError, match=r"cannot bind 10\.0\.0\.1:0: address already in use"):
            net.attach(("10.0.0.1", 0))

    run_virtual(story())


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "nosuch.example"])
def test_a_socket_has_one_host(host):
    with pytest.raises(BindError, match="cannot bind"):
        MemoryNetwork().attach((host, 80))


def test_a_failed_send_blames_its_destination():
    async def story():
        alice = await MemorySocket.open(MemoryNetwork(), ALICE)
        alice.send(bytes(65_508), BOB)
        alice.send(b"x", ("nosuch.example", 1))
        alice.send(b"x", ("2001:db8::1", 1))
        assert [alice.next_send_failure()[1].errno for _ in range(3)] == [
            errno.EMSGSIZE,
            errno.EINVAL,
            errno.EAFNOSUPPORT,
        ]
        assert alice.next_send_failure() is None
        assert alice.counters().send_errors == {"EMSGSIZE": 1, "EINVAL": 1, "EAFNOSUPPORT": 1}
        assert alice.counters().datagrams_out == 0

    run_virtual(story())


def test_a_flood_fills_the_inbox_and_no_more():
    async def story():
        net = MemoryNetwork()
        alice, bob = await MemorySocket.open(net, ALICE), await MemorySocket.open(net, BOB)
        for _ in range(INBOX_DATAGRAMS + 10):
            alice.send(b"x", BOB)
        await asyncio.sleep(1)
        assert len(bob.drain(10_000)) == INBOX_DATAGRAMS
        assert bob.counters().dropped_in == 10

    run_virtual(story())


def test_what_is_attached_without_a_socket_takes_datagrams_silently():
    async def story():
        net = network()
        socket = await MemorySocket.open(net, ("10.0.0.9", 1))
        socket.send(b"x", BOB)
        await asyncio.sleep(1)
        assert net.counters().delivered == 1

    run_virtual(story())


def test_a_network_may_go_on_in_another_loop():
    net = MemoryNetwork()

    async def story(port):
        sock = await MemorySocket.open(net, (ALICE[0], port))
        sock.send(b"to myself", sock.local_address)
        await sock.wait()
        return sock.drain(1)

    assert run_virtual(story(1)) == [(b"to myself", (ALICE[0], 1))]
    assert run_virtual(story(2)) == [(b"to myself", (ALICE[0], 2))]


def test_a_machine_without_addresses_sends_nothing_and_says_so() -> None:
    async def story() -> None:
        network = MemoryNetwork()
        there = await MemorySocket.open(network, ("10.0.0.9", 6000))
        here = await MemorySocket.open(network, ("0.0.0.0", 5000), hosts=["10.0.0.1"])
        here.set_hosts([])
        here.send(b"x", there.local_address)
        await asyncio.sleep(1)

        assert there.drain(9) == []
        assert here.counters().datagrams_out == 0
        address, error = here.next_send_failure()
        assert (address, error.errno) == (there.local_address, errno.ENETUNREACH)
        here.set_hosts(["10.0.0.2"])
        here.send(b"y", there.local_address)
        await asyncio.sleep(1)
        assert there.drain(9) == [(b"y", ("10.0.0.2", 5000))]

    run_virtual(story())


def test_what_was_sent_to_all_is_answered_from_an_own_address() -> None:
    async def story() -> None:
        network = MemoryNetwork(broadcast_hosts=["10.0.0.255"])
        there = await MemorySocket.open(network, ("10.0.0.9", 6000))
        here = await MemorySocket.open(network, ("0.0.0.0", 5000), hosts=["10.0.0.1"])
        for host in ("10.0.0.255", "255.255.255.255"):
            there.send(b"x", (host, 5000))
            await asyncio.sleep(1)
            ((_, source),) = here.drain(9)
            assert own_host(source) == "10.0.0.1"

    run_virtual(story())
