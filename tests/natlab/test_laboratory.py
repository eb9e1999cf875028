"""The laboratory's NATs are what their names say, seen with nothing but bare sockets.

That a packet does not arrive is seen without waiting: a later one that must arrive is there first.
"""

import asyncio
import socket
import subprocess
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from tests.natlab.laboratory import Host, Laboratory, Nat
from tests.natlab.rules import FLOWS_PER_SECOND, KINDS, Kind

Address = tuple[str, int]

PASSING = [kind for kind in KINDS if KINDS[kind].udp]


class Server:
    """Two addresses with two ports each."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.host = laboratory.server()
        self.here, self.other_port, self.other_address, self.other_both = self.sockets = [
            self.host.udp_socket(address, port)
            for address in self.host.addresses
            for port in (3478, 3479)
        ]


def seen_from(client: socket.socket, server: socket.socket) -> Address:
    """The address from which the server hears the client."""
    client.sendto(b"who am I?", server.getsockname())
    source: Address
    heard, source = server.recvfrom(100)
    assert heard == b"who am I?"
    return source


def heard_until(client: socket.socket, last: bytes) -> list[bytes]:
    """All that arrives before this."""
    return list(iter(lambda: client.recv(100), last))


def mapping(client: socket.socket, server: Server) -> str:
    here, there, elsewhere = (
        seen_from(client, target)
        for target in (server.here, server.other_port, server.other_address)
    )
    if here == there == elsewhere:
        return "none" if here == client.getsockname() else "EIM"
    return "ADM" if here == there else "APDM"


def filtering(client: socket.socket, server: Server) -> str:
    mapped = seen_from(client, server.here)
    server.other_both.sendto(b"from another address", mapped)
    server.other_port.sendto(b"from another port", mapped)
    server.here.sendto(b"asked for", mapped)
    match heard_until(client, b"asked for"):
        case [b"from another address", b"from another port"]:
            return "EIF"
        case [b"from another port"]:
            return "ADF"
        case []:
            return "APDF"
        case other:
            raise AssertionError(other)


def ports(client: socket.socket, server: Server, nat: Nat) -> str:
    def allocated() -> list[int]:
        return [seen_from(client, target)[1] for target in server.sockets]

    first = allocated()
    if set(first) == {client.getsockname()[1]}:
        return "preserved"
    steps = {after - before for before, after in pairwise(first)}
    if len(steps) == 1:
        return f"step {steps.pop()}"
    nat.forget()
    return "hash" if allocated() == first else "random"


def behind(laboratory: Laboratory, kind: Kind) -> tuple[Server, Nat, Host, socket.socket]:
    server = Server(laboratory)
    nat = laboratory.nat(kind)
    host = nat.host()
    return server, nat, host, host.udp_socket(host.address, 5000)


@pytest.mark.parametrize("kind", PASSING)
def test_maps_as_named(laboratory: Laboratory, kind: Kind) -> None:
    server, nat, host, client = behind(laboratory, kind)
    assert mapping(client, server) == KINDS[kind].mapping
    public = nat.outer if KINDS[kind].translates else host.address
    assert seen_from(client, server.here)[0] == public
    assert host.public_addresses == (public,)


@pytest.mark.parametrize("kind", [kind for kind in PASSING if kind is not Kind.BANNING])
def test_filters_as_named(laboratory: Laboratory, kind: Kind) -> None:
    server, _, _, client = behind(laboratory, kind)
    assert filtering(client, server) == KINDS[kind].filtering


def test_whoever_sends_unasked_is_banned_with_all_its_ports(laboratory: Laboratory) -> None:
    server, _, _, client = behind(laboratory, Kind.BANNING)
    mapped = seen_from(client, server.here)
    server.other_port.sendto(b"unasked", mapped)
    server.here.sendto(b"asked for, and banned", mapped)

    server_elsewhere = server.other_address
    seen_from(client, server_elsewhere)
    server_elsewhere.sendto(b"asked for", mapped)

    assert heard_until(client, b"asked for") == []


@pytest.mark.parametrize("kind", PASSING)
def test_allocates_ports_as_named(laboratory: Laboratory, kind: Kind) -> None:
    server, nat, _, client = behind(laboratory, kind)
    assert ports(client, server, nat) == KINDS[kind].ports


@pytest.mark.parametrize("kind", PASSING)
def test_hairpins_as_named(laboratory: Laboratory, kind: Kind) -> None:
    server, nat, _, alice = behind(laboratory, kind)
    bob = nat.host().udp_socket(port=5001)
    to_alice, from_bob = seen_from(alice, server.here), seen_from(bob, server.here)

    bob.sendto(b"through W", to_alice)
    server.here.sendto(b"asked for", to_alice)

    heard, source = alice.recvfrom(100)
    assert (heard == b"through W") is KINDS[kind].hairpin
    if KINDS[kind].hairpin:
        assert source == from_bob


@pytest.mark.parametrize("kind", [Kind.FULL_CONE, Kind.HAIRPIN, Kind.RESTRICTED])
def test_cones_tell_hosts_with_the_same_port_apart(laboratory: Laboratory, kind: Kind) -> None:
    server, nat, _, alice = behind(laboratory, kind)
    bob = nat.host().udp_socket(port=5000)
    to_alice, to_bob = (seen_from(client, server.here) for client in (alice, bob))
    assert to_alice != to_bob
    assert [filtering(client, server) for client in (alice, bob)] == [KINDS[kind].filtering] * 2
    assert [mapping(client, server) for client in (alice, bob)] == ["EIM", "EIM"]


def test_cones_stay_open_for_one_who_only_answers(laboratory: Laboratory) -> None:
    server = Server(laboratory)

    def kept_open(lifetime_s: int) -> bool:
        nat = laboratory.nat(Kind.FULL_CONE, mapping_timeout_s=lifetime_s)
        client = nat.host().udp_socket(port=5000)
        mapped, began = seen_from(client, server.here), time.monotonic()
        for _ in range(3):
            server.other_address.sendto(b"ping", mapped)
            if not hears(client, b"ping"):
                assert time.monotonic() - began >= lifetime_s, "it was closed too early"
                return False  # the machine stood still for longer than a mapping lives
            began = time.monotonic()
            assert seen_from(client, server.other_address) == mapped
            time.sleep(lifetime_s / 2)
        server.other_both.sendto(b"stranger", mapped)
        return hears(client, b"stranger")

    # Each longer than what a busy machine may need.
    assert any(kept_open(lifetime_s) for lifetime_s in (1, 4, 16))


def hears(client: socket.socket, words: bytes) -> bool:
    """Whether this is the next thing that arrives."""
    try:
        return client.recv(100) == words
    except TimeoutError:
        return False


def test_blocked_lets_tcp_pass_and_no_udp(laboratory: Laboratory) -> None:
    server, _, host, client = behind(laboratory, Kind.BLOCKED)
    client.sendto(b"lost", server.here.getsockname())
    server.here.settimeout(0.1)
    with pytest.raises(TimeoutError):
        server.here.recv(100)

    listening = server.host.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind((server.host.address, 80))
    listening.listen()
    web = host.socket(socket.AF_INET, socket.SOCK_STREAM)
    web.settimeout(2.0)
    web.connect((server.host.address, 80))


def test_flow_limited_loses_new_flows_only(laboratory: Laboratory) -> None:
    server, _, host, client = behind(laboratory, Kind.FLOW_LIMITED)
    seen_from(client, server.here)
    started = time.monotonic()
    heard = []
    for _ in range(200):
        host.udp_socket().sendto(b"new", server.here.getsockname())
        client.sendto(b"old", server.here.getsockname())
        heard += heard_until(server.here, b"old")
    elapsed_s = time.monotonic() - started
    # nft allows a burst of five, of which the client's own flow took one.
    assert 4 <= len(heard) <= 6 + FLOWS_PER_SECOND * elapsed_s


def test_fragile_moves_the_mapping_when_it_is_called_first(laboratory: Laboratory) -> None:
    for kind, kept in ((Kind.FRAGILE, False), (Kind.PORT_RESTRICTED, True)):
        server, nat, _, client = behind(laboratory, kind)
        server.here.sendto(b"too early", (nat.outer, 5000))
        assert (seen_from(client, server.here)[1] == 5000) is kept


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.FIREWALL, Kind.FULL_CONE, Kind.SYMMETRIC_RANDOM])
def test_loses_one_packet_in_ten_each_way(laboratory: Laboratory, kind: Kind) -> None:
    server, nat, _, client = behind(laboratory, kind)
    mapped = seen_from(client, server.here)

    def arrived(sender: socket.socket, receiver: socket.socket, to: Address) -> int:
        count = 0
        receiver.settimeout(0.0)
        for number in range(1000):
            sender.sendto(b"%d" % number, to)
            if number % 50 == 49:  # before the receive buffer overflows
                time.sleep(0.001)
                while True:
                    try:
                        receiver.recv(100)
                    except BlockingIOError:
                        break
                    count += 1
        receiver.settimeout(1.0)  # a busy machine delivers the last ones later
        with suppress(TimeoutError):
            while receiver.recv(100):
                count += 1
        receiver.settimeout(2.0)
        return count

    there = server.here.getsockname()
    assert arrived(client, server.here, there) == 1000
    nat.set_loss(10)
    # Five standard deviations, 9.5 each.
    assert 850 < arrived(client, server.here, there) < 950
    assert 850 < arrived(server.here, client, mapped) < 950
    nat.set_loss(0)
    assert arrived(server.here, client, mapped) == 1000


def test_mappings_live_as_long_as_told(laboratory: Laboratory) -> None:
    kinds = (Kind.FIREWALL, Kind.FULL_CONE, Kind.RESTRICTED, Kind.PORT_RESTRICTED)
    server = Server(laboratory)
    clients = [
        laboratory.nat(kind, mapping_timeout_s=2).host().udp_socket(port=5000) for kind in kinds
    ]
    mapped = [seen_from(client, server.here) for client in clients]

    def reply(words: bytes) -> None:
        for address in mapped:
            server.here.sendto(words, address)

    reply(b"in time")
    assert [client.recv(100) for client in clients] == [b"in time"] * len(kinds)
    time.sleep(2.2)
    reply(b"too late")
    assert [seen_from(client, server.here) for client in clients] == mapped
    reply(b"again")
    assert [client.recv(100) for client in clients] == [b"again"] * len(kinds)


def test_two_nats_in_a_row_add_up(laboratory: Laboratory) -> None:
    server = Server(laboratory)
    outer = laboratory.nat(Kind.FULL_CONE)
    host = outer.nat(Kind.PORT_RESTRICTED).host()
    assert host.public_addresses == (outer.outer,)
    assert seen_from(host.udp_socket(), server.here)[0] == outer.outer
    assert filtering(host.udp_socket(), server) == "APDF"

    host = laboratory.nat(Kind.SYMMETRIC_RANDOM).nat(Kind.FULL_CONE).host()
    assert mapping(host.udp_socket(), server) == "APDM"

    with pytest.raises(ValueError, match="public addresses inside"):
        outer.nat(Kind.OPEN)


def test_a_path_can_be_cut_and_restored(laboratory: Laboratory) -> None:
    server = Server(laboratory)
    nats = [laboratory.nat(Kind.PORT_RESTRICTED) for _ in range(2)]
    alice, bob = (nat.host().udp_socket(port=5000) for nat in nats)
    to_alice, to_bob = seen_from(alice, server.here), seen_from(bob, server.here)
    assert to_alice[0] != to_bob[0]

    alice.sendto(b"opens the way", to_bob)
    bob.sendto(b"through", to_alice)
    assert alice.recv(100) == b"through"

    with laboratory.blocked(*nats):
        bob.sendto(b"cut", to_alice)
        server.here.sendto(b"by relay", to_alice)
        assert alice.recv(100) == b"by relay"

    bob.sendto(b"back", to_alice)
    assert alice.recv(100) == b"back"


@pytest.mark.parametrize("kind", KINDS)
def test_hosts_on_the_same_lan_are_not_routed(laboratory: Laboratory, kind: Kind) -> None:
    nat = laboratory.nat(kind, loss_percent=100)
    alice, bob = nat.host(), nat.host()
    to_alice, to_bob = alice.udp_socket(port=5000), bob.udp_socket(port=5000)
    to_bob.sendto(b"neighbour", (alice.address, 5000))
    assert to_alice.recvfrom(100) == (b"neighbour", (bob.address, 5000))


def test_one_hop_lies_between_two_nats(laboratory: Laboratory) -> None:
    server, _, _, client = behind(laboratory, Kind.PORT_RESTRICTED)
    for ttl in (2, 3):
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        client.sendto(b"ttl %d" % ttl, server.here.getsockname())
    assert server.here.recv(100) == b"ttl 3"


def test_ipv6_is_never_translated(laboratory: Laboratory) -> None:
    server = laboratory.server(ipv6=True)
    assert server.address6
    listening = server.udp_socket(server.address6, 3478)
    router = laboratory.nat(Kind.SYMMETRIC_RANDOM, ipv6=True)
    for host in (laboratory.public_host(ipv6=True), router.host()):
        client = host.udp_socket("::", 5000)
        assert seen_from(client, listening)[:2] == (host.address6, 5000)


async def test_one_loop_owns_sockets_in_several_namespaces(laboratory: Laboratory) -> None:
    loop = asyncio.get_running_loop()
    alice, bob = (laboratory.public_host() for _ in range(2))
    heard: asyncio.Future[tuple[bytes, Address]] = loop.create_future()

    class Listening(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Address) -> None:
            heard.set_result((data, addr))

    to_alice, _ = await loop.create_datagram_endpoint(
        Listening, sock=alice.udp_socket(port=1, timeout_s=0)
    )
    to_bob, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, sock=bob.udp_socket(port=2, timeout_s=0)
    )
    to_bob.sendto(b"hello", (alice.address, 1))
    assert await asyncio.wait_for(heard, 2.0) == (b"hello", (bob.address, 2))
    to_alice.close()
    to_bob.close()


def test_programs_run_inside(laboratory: Laboratory) -> None:
    server, _, host, _ = behind(laboratory, Kind.FULL_CONE)
    send = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        f"s.sendto(b'hello', {server.here.getsockname()!r}); print(sys.prefix != sys.base_prefix)"
    )
    ran = host.run(["python", "-c", send])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert server.here.recvfrom(100)[1][0] == host.public_addresses[0]
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["sleep", "60"], timeout_s=0.05)


def test_nothing_is_left_after_a_failure(requires_laboratory: None) -> None:
    with suppress(ZeroDivisionError), Laboratory() as laboratory:
        host = laboratory.nat(Kind.FULL_CONE).host()
        process = host.start(["sleep", "60"], stdout=subprocess.PIPE)
        opened = host.udp_socket()
        assert Path("/run/netns", host.name).exists()
        raise ZeroDivisionError
    assert process.returncode == -9
    assert opened.fileno() == -1
    common = host.name.rsplit("-", 2)[0]
    assert list(Path("/run/netns").glob(f"{common}*")) == []


def test_two_laboratories_do_not_meet(laboratory: Laboratory) -> None:
    with Laboratory() as another:
        here, there = laboratory.public_host(), another.public_host()
        assert here.address == there.address
        assert here.name != there.name
