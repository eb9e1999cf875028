"""The first questions to STUN servers: slow names, lost flows, refusals, and sessions of one's own.

On virtual time, with a diagnosis but without a node.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from p2ptui.core.events import ProbeReport
from p2ptui.errors import LocalError
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.io.stun_client import StunClient
from p2ptui.nat.behavior import NatType, Reply, Seen
from p2ptui.nat.report import NatReport
from p2ptui.nat.report_text import report_markdown, report_rows
from p2ptui.node import nat_evidence
from p2ptui.node.diagnosis import Diagnosis
from p2ptui.node.nat_evidence import OwnSocket
from p2ptui.node.nat_tests import Ground, probe_by_peer
from p2ptui.node.stun_servers import MAX_SERVERS, RESOLVE_S, first_to_answer
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.stun import MessageClass, StunMessage, decode, encode
from tests.simulated_nat import KINDS, Nat, Nats
from tests.virtual_loop import run_virtual

CLIENT, OUTSIDE = "192.168.77.2", "198.51.100.1"
ONE, TWO, DEAD = ("203.0.113.1", 3478), ("203.0.113.101", 3478), ("203.0.113.250", 3478)


class Square:
    """A client behind a port-restricted NAT, and plain servers on the other side."""

    def __init__(self, *, is_blocked: bool = False) -> None:
        behaviour = KINDS["blocked" if is_blocked else "port-restricted-cone"]
        self.nats = Nats(Nat(OUTSIDE, {CLIENT}, behaviour))
        self.network = MemoryNetwork(latency_s=0.01, translate=self.nats.translate)
        self.clients: list[MemorySocket] = []
        self._servers: list[tuple[MemorySocket, asyncio.Task[None]]] = []

    async def serve(self, address: Address) -> None:
        sock = await MemorySocket.open(self.network, address)

        async def answer() -> None:
            while not sock.closed:
                await sock.wait()
                for data, source in sock.drain(100):
                    request = decode(data)
                    answer = StunMessage(
                        message_class=MessageClass.SUCCESS,
                        transaction_id=request.transaction_id,
                        xor_mapped=source,
                    )
                    if request.message_class is MessageClass.REQUEST:
                        sock.send(encode(answer), source)

        self._servers.append((sock, asyncio.ensure_future(answer())))

    async def close(self) -> None:
        for sock, task in self._servers:
            sock.close()
            await task
        assert all(sock.closed for sock in self.clients)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def open_socket(self, address: Address, *, unfragmented: bool = False) -> MemorySocket:
        if ":" in address[0]:
            raise AssertionError("nobody here has IPv6")
        self.clients.append(await MemorySocket.open(self.network, (CLIENT, address[1])))
        return self.clients[-1]


async def slow_resolve(address: Address, *, names: dict[str, tuple[float, str]]) -> list[Address]:
    """Each name with how long it takes, and its addresses, with spaces between."""
    after_s, hosts = names[address[0]]
    await asyncio.sleep(after_s)
    return [(host, address[1]) for host in hosts.split()]


def diagnose(
    *servers: str,
    alive: tuple[Address, ...] = (ONE, TWO),
    names: dict[str, tuple[float, str]] | None = None,
    is_blocked: bool = False,
    own: OwnSocket | None = None,
    find_refusal: Callable[[Address], Awaitable[str | None]] | None = None,
    prepare: Callable[[Square], None] = lambda _: None,
) -> NatReport:
    async def resolve(address: Address) -> list[Address]:
        return await slow_resolve(address, names=names or {})

    async def story() -> NatReport:
        square = Square(is_blocked=is_blocked)
        for address in alive:
            await square.serve(address)
        prepare(square)
        diagnosis = Diagnosis(
            square.open_socket,
            random.Random(1),
            host=CLIENT,
            own=own,
            resolve=resolve,
            find_refusal=find_refusal,
        )
        try:
            return await diagnosis.run(servers)
        finally:
            await square.close()

    return run_virtual(story())


# --- names


def test_a_hanging_name_costs_a_server_with_an_address_no_time() -> None:
    names = {"slow.example": (3600.0, "203.0.113.9")}
    alone = diagnose(format_address(ONE), format_address(TWO))
    beside = diagnose("slow.example:3478", format_address(ONE), format_address(TWO), names=names)
    assert beside.mapping is alone.mapping
    assert beside.duration_s == pytest.approx(alone.duration_s, abs=0.1)
    assert beside.duration_s < 2
    assert beside.servers[0].error == "its name was not looked up in time"


def test_where_every_name_hangs_nothing_can_be_asked() -> None:
    names = {f"slow{number}.example": (3600.0, "") for number in range(MAX_SERVERS)}
    report = diagnose(*(f"{name}:3478" for name in names), names=names)
    assert (report.udp, report.nat_type) == (None, NatType.UNKNOWN)
    assert report.duration_s == pytest.approx(RESOLVE_S)
    assert "could be asked at all" in report.meaning
    assert "names resolve" in report.advice


def test_a_name_that_does_not_resolve_is_no_silence_where_somebody_nearby_is_heard() -> None:
    own = OwnSocket((CLIENT, 8080), (), (("192.168.77.4", 8080),))
    report = diagnose("hangs.example:3478", names={"hangs.example": (3600.0, "")}, own=own)
    assert (report.udp, report.nat_type) == (True, NatType.UNKNOWN)
    assert "No server further away could be asked. Why: " in report.meaning
    assert "names resolve" in report.advice
    assert not any("silent" in line for line in report.evidence)


def test_blocked_is_said_in_three_seconds_beside_a_slow_name() -> None:
    names = {"slow.example": (0.9, ONE[0]), "hangs.example": (3600.0, "")}
    report = diagnose(
        "slow.example:3478", "hangs.example:3478", format_address(TWO), names=names, is_blocked=True
    )
    assert (report.udp, report.nat_type) == (False, NatType.BLOCKED)
    assert report.duration_s < 3


def test_the_slowest_name_that_counts_still_makes_a_report_in_two_seconds() -> None:
    report = diagnose("slow.example:3478", names={"slow.example": (RESOLVE_S - 0.01, ONE[0])})
    assert report.udp is True
    assert report.duration_s < 2


def test_a_name_that_is_slower_than_the_first_answer_still_serves_as_a_witness() -> None:
    names = {"slow.example": (0.8, TWO[0])}
    report = diagnose(format_address(ONE), "slow.example:3478", names=names)
    assert report.mapping.value == "endpoint-independent"


def test_of_a_name_with_a_dead_and_a_live_address_it_is_said_which_is_which() -> None:
    names = {"stun.example": (0.0, f"{DEAD[0]} {ONE[0]}")}
    servers = diagnose("stun.example:3478", names=names).as_json()["servers"]
    ok = {server["at"]: server["ok"] for server in servers}
    assert ok == {f"{DEAD[0]}:3478": False, f"{ONE[0]}:3478": True}
    assert {server["address"] for server in servers} == {"stun.example:3478"}
    assert "at" not in diagnose(format_address(ONE)).as_json()["servers"][0]


# --- silence


def test_one_unlucky_socket_is_not_taken_for_blocked() -> None:
    """As where the outside port that the NAT computes for it is in use."""

    def lose_first(square: Square) -> None:
        translate = square.nats.translate

        def unlucky(data: bytes, source: Address, to: Address, now: float) -> Any:
            if square.clients and source == square.clients[0].local_address:
                return None
            return translate(data, source, to, now)

        square.network.translate = unlucky

    report = diagnose(format_address(ONE), format_address(TWO), prepare=lose_first)
    assert report.udp is True
    assert report.mapping.value == "endpoint-independent"
    assert report.duration_s < 3


def test_the_evidence_counts_what_was_really_sent() -> None:
    report = diagnose(format_address(DEAD), alive=())
    assert report.nat_type is NatType.BLOCKED
    assert report.duration_s < 3
    # Eight by the first schedule, six more from the second socket.
    assert any("asked 14 times" in line for line in report.evidence)


# --- refusals


async def by_itself(address: Address) -> str | None:
    return address[0]


async def by_a_firewall(_: Address) -> str | None:
    return "192.168.77.1"


def test_a_machine_without_a_stun_server_does_not_mean_blocked() -> None:
    report = diagnose(format_address(DEAD), alive=(), find_refusal=by_itself)
    assert (report.udp, report.nat_type) == (True, NatType.UNKNOWN)
    assert any("no STUN server is running" in line for line in report.evidence)
    assert report.servers[0].error == "refused: no STUN server is running there"
    assert report.duration_s < 1


def test_a_firewall_that_refuses_blocks() -> None:
    report = diagnose(format_address(DEAD), alive=(), find_refusal=by_a_firewall)
    assert (report.udp, report.nat_type) == (False, NatType.BLOCKED)
    assert any("192.168.77.1 does not let it pass" in line for line in report.evidence)


# --- sessions of the node's own


def own_seen(*mapped: Address) -> OwnSocket:
    seen = tuple(
        Seen((f"192.168.77.{number}", 8080), at) for number, at in enumerate(mapped, start=9)
    )
    return OwnSocket((CLIENT, 8080), seen)


def test_blocked_is_named_though_a_neighbour_is_joined() -> None:
    report = diagnose(
        format_address(ONE), format_address(TWO), is_blocked=True, own=own_seen((CLIENT, 8080))
    )
    assert (report.udp, report.nat_type) == (False, NatType.BLOCKED)


@pytest.mark.parametrize("heard", ["127.0.0.1", "192.168.77.9", "9.9.9.9"])
@pytest.mark.parametrize("asked", ["9.9.9.8:3478", "127.0.0.1:3478"])
def test_blocked_is_never_said_while_a_node_is_connected(heard: str, asked: str) -> None:
    """However near it is: that more is blocked would be a guess."""
    own = OwnSocket((CLIENT, 8080), (), ((heard, 8080),))
    report = diagnose(asked, is_blocked=True, own=own)
    assert (report.udp, report.nat_type) == (True, NatType.UNKNOWN)
    assert any("1 node is connected" in line for line in report.evidence)
    is_nearer = asked.startswith("9") and not heard.startswith("9")
    assert ("Nobody further away answered" in report.meaning) is is_nearer


def test_a_session_with_somebody_outside_shows_that_udp_passes() -> None:
    report = diagnose(format_address(DEAD), alive=(), own=own_seen((OUTSIDE, 8080)))
    assert (report.udp, report.nat_type) == (True, NatType.UNKNOWN)


def test_neighbours_do_not_say_that_there_is_no_nat() -> None:
    """One server outside alone does not show the mapping, and two neighbours do not either."""
    report = diagnose(
        format_address(ONE), own=own_seen((CLIENT, 8080), (CLIENT, 8080)), alive=(ONE,)
    )
    assert report.mapping.value == "unknown"


def test_a_public_address_of_ones_own_is_seen_by_everybody() -> None:
    seen = Seen(("9.9.9.9", 8080), ("8.8.4.4", 8080))
    own = OwnSocket(("8.8.4.4", 8080), (seen,))
    assert nat_evidence.unreached([], own, {"8.8.4.4"}).udp is True


# --- a helper behind the same NAT


def test_a_probe_from_behind_the_same_nat_says_nothing() -> None:
    """It comes in by the hairpin, from the NAT's own outside address."""

    async def story() -> None:
        network = MemoryNetwork(latency_s=0.01)
        neighbour = await MemorySocket.open(network, (OUTSIDE, 7777))
        opened: list[MemorySocket] = []

        async def open_socket(address: Address, *, unfragmented: bool = False) -> MemorySocket:
            assert not unfragmented
            opened.append(await MemorySocket.open(network, (CLIENT, address[1])))
            return opened[-1]

        async def ask(tag: bytes) -> ProbeReport:
            probe = StunMessage(message_class=MessageClass.INDICATION, transaction_id=tag)
            neighbour.send(encode(probe), opened[-1].local_address)
            return ProbeReport(has_helper=True, sent=1)

        ground = Ground(open_socket, random.Random(1), CLIENT, ONE, 0.02, (OUTSIDE, 5000))
        test = await probe_by_peer(ground, ONE, ask)
        assert test.reply is Reply.UNTESTABLE
        neighbour.close()

    run_virtual(story())


# --- too many


def test_servers_that_are_too_many_are_named() -> None:
    servers = [f"203.0.113.{number}:3478" for number in range(1, MAX_SERVERS + 3)]
    report = diagnose(*servers, alive=(ONE,))
    assert len(report.servers) == MAX_SERVERS
    assert report.evidence[-1] == (
        f"servers: {MAX_SERVERS} at most are asked; not asked: {', '.join(servers[-2:])}"
    )


# --- a name is all its addresses


NOBODY = "203.0.113.99"


def test_a_name_whose_first_address_is_dead_is_not_blocked() -> None:
    report = diagnose("stun.example:3478", names={"stun.example": (0.0, f"{NOBODY} {ONE[0]}")})
    assert report.udp is True
    assert report.nat_type is not NatType.BLOCKED
    assert report.duration_s < 2.3
    assert [server.ok for server in report.servers] == [False, True]


def test_an_address_that_answers_leaves_the_others_of_its_name_alone() -> None:
    hosts = f"{ONE[0]} {NOBODY} {TWO[0]}"
    report = diagnose("stun.example:3478", names={"stun.example": (0.0, hosts)})
    assert [server.ok for server in report.servers] == [True]


def test_a_name_whose_addresses_are_all_dead_is_blocked_within_three_seconds() -> None:
    hosts = " ".join(f"203.0.113.{number}" for number in range(90, 98))
    report = diagnose("stun.example:3478", names={"stun.example": (0.0, hosts)}, is_blocked=True)
    assert (report.udp, report.nat_type) == (False, NatType.BLOCKED)
    assert report.duration_s < 3


def test_the_first_of_several_addresses_to_answer() -> None:
    async def story() -> tuple[Address | None, Address | None, float]:
        square = Square(is_blocked=False)
        await square.serve(ONE)
        loop = asyncio.get_running_loop()
        client = StunClient(await square.open_socket((CLIENT, 0)), random.Random(1))
        try:
            began = loop.time()
            found = await first_to_answer(client, [(NOBODY, 3478), ONE, TWO])
            took_s = loop.time() - began
            nobody = await first_to_answer(client, [(NOBODY, 3478), (NOBODY, 3479)])
        finally:
            await client.close()
            await square.close()
        return found, nobody, took_s

    found, nobody, took_s = run_virtual(story())
    assert found == ONE
    assert took_s == pytest.approx(0.25, abs=0.1)
    assert nobody is None


# --- one server that is silent


def test_one_silent_server_is_told_as_what_it_is() -> None:
    """It may be frozen as well: nothing shows that UDP is blocked."""
    report = diagnose(format_address(DEAD), alive=())

    assert report.meaning == (
        f"{format_address(DEAD)} did not answer: UDP is blocked here, or that server is down."
    )
    assert report.advice.startswith("Ask another server: p2ptui nat --server HOST:PORT.")
    rows = dict(report_rows(report))
    assert rows["NAT type"] == "no answer"
    assert rows["UDP"] == "blocked here, or the only server that was asked is down"
    assert "blocked (" not in report_markdown(report, "p2ptui nat")


def test_two_silent_servers_are_told_as_blocked() -> None:
    report = diagnose(format_address(ONE), format_address(TWO), is_blocked=True)

    assert dict(report_rows(report))["NAT type"] == "blocked (likely)"
    assert report.meaning.startswith("UDP does not pass")


def test_a_firewall_that_says_so_needs_no_second_server() -> None:
    report = diagnose(format_address(DEAD), alive=(), find_refusal=by_a_firewall)

    assert dict(report_rows(report))["NAT type"] == "blocked (likely)"


def test_a_stun_server_on_a_link_needs_its_interface() -> None:
    with pytest.raises(LocalError, match="needs its interface"):
        diagnose("[fe80::1]:3478")
