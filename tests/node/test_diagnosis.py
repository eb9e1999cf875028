"""Whole diagnoses of whole nodes, through NATs of every kind, on virtual time."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest

from p2ptui import Node
from p2ptui.config import Config
from p2ptui.core.addresses import visible_address
from p2ptui.errors import BindError, LocalError, PeerTimeoutError
from p2ptui.io.memory import MemorySocket
from p2ptui.io.udp import open_udp
from p2ptui.nat.allocation import AllocationKind
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.nat.report import NatReport
from p2ptui.node.diagnosis import Diagnosis
from p2ptui.node.nat_service import FIRST_JOIN_S, NatService
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.stun import MessageClass, StunMessage, decode, encode
from tests.core.traversal.test_findings import unrelayed
from tests.simulated_nat import KINDS, Behaviour, Nat
from tests.street import CLIENT, NEIGHBOUR, OUTSIDE, STUN, Street
from tests.town import LATENCY_S
from tests.virtual_loop import run_virtual

SECOND_STUN = "203.0.113.101:3478"
NOBODY = "203.0.113.250:3478"

NAT_TYPES = {
    "open": NatType.OPEN,
    "firewall": NatType.FIREWALL,
    "full-cone": NatType.FULL_CONE,
    "restricted-cone": NatType.RESTRICTED_CONE,
    "port-restricted-cone": NatType.PORT_RESTRICTED_CONE,
    "hairpin": NatType.FULL_CONE,
}
PASSING = [name for name, behaviour in KINDS.items() if not behaviour.blocks]


def diagnose(
    behaviour: Behaviour, *servers: str, seed: int = 0, loss: float = 0.0, lifetime: bool = False
) -> NatReport:
    """A diagnosis with one full server; the answers of `servers`, that one without any."""

    async def story() -> NatReport:
        async with Street(behaviour, seed, loss=loss) as street:
            await street.serve()
            client = await street.client()
            return await client.diagnose_nat(servers or [STUN], lifetime=lifetime)

    return run_virtual(story())


# --- every kind


@pytest.mark.parametrize("kind", PASSING)
def test_every_kind_is_named_right_in_two_seconds(kind: str) -> None:
    behaviour = KINDS[kind]
    report = diagnose(behaviour)
    assert report.nat_type is NAT_TYPES.get(kind, NatType.SYMMETRIC)
    assert report.udp is True
    assert report.mapping is behaviour.mapping
    assert report.filtering is behaviour.filtering
    assert report.port_allocation.kind is behaviour.allocation
    sequential = behaviour.allocation is AllocationKind.SEQUENTIAL
    assert report.port_allocation.step == (behaviour.step if sequential else None)
    assert report.local is not None
    assert report.mapped is not None
    assert report.local[0] == CLIENT[0]
    translated = behaviour.mapping is not Dependence.NONE
    assert report.mapped[0] == (OUTSIDE if translated else CLIENT[0])
    assert report.hairpin is (behaviour.hairpin if translated else None)
    assert report.firewall is (kind == "firewall")
    assert report.alg is False
    assert report.mtu == 1500
    assert report.lifetime_s is None
    assert report.confidence >= 0.99
    assert report.duration_s < 2
    (server,) = report.servers
    assert (server.address, server.ok, server.error) == (STUN, True, None)
    assert server.rtt_ms == pytest.approx(2000 * LATENCY_S)


COMBINATIONS = [
    pytest.param(
        Behaviour(mapping, filtering, allocation), id=f"{mapping} {filtering} {allocation}"
    )
    for mapping, allocation in (
        (Dependence.ENDPOINT_INDEPENDENT, AllocationKind.PRESERVED),
        (Dependence.ENDPOINT_INDEPENDENT, AllocationKind.RANDOM),
        (Dependence.ADDRESS, AllocationKind.HASHED),
        (Dependence.ADDRESS, AllocationKind.SEQUENTIAL),
        (Dependence.ADDRESS_AND_PORT, AllocationKind.SEQUENTIAL),
        (Dependence.ADDRESS_AND_PORT, AllocationKind.BLOCK),
    )
    for filtering in (
        Dependence.ENDPOINT_INDEPENDENT,
        Dependence.ADDRESS,
        Dependence.ADDRESS_AND_PORT,
    )
]


@pytest.mark.parametrize("behaviour", COMBINATIONS)
def test_mapping_filtering_and_ports_are_told_apart(behaviour: Behaviour) -> None:
    report = diagnose(behaviour)
    found = report.mapping, report.filtering, report.port_allocation.kind
    assert found == (behaviour.mapping, behaviour.filtering, behaviour.allocation)


@pytest.mark.parametrize("kind", PASSING)
def test_one_in_ten_lost_each_way_changes_no_verdict(kind: str) -> None:
    """At most it is unknown; a wrong name never comes out."""
    behaviour = KINDS[kind]
    expected = NAT_TYPES.get(kind, NatType.SYMMETRIC)
    reports = [diagnose(behaviour, seed=seed, loss=0.1) for seed in range(20)]
    named = [report.nat_type for report in reports]
    assert set(named) <= {expected, NatType.UNKNOWN}
    assert named.count(expected) >= 19
    for report in reports:
        assert report.mapping in (behaviour.mapping, Dependence.UNKNOWN)
        assert report.filtering in (behaviour.filtering, Dependence.UNKNOWN)
        assert report.port_allocation.kind in (behaviour.allocation, AllocationKind.UNKNOWN)
        assert report.duration_s < 4


@pytest.mark.parametrize("kind", ["restricted-cone", "port-restricted-cone", "symmetric, step 1"])
def test_three_in_ten_lost_each_way_are_no_reason_to_guess(kind: str) -> None:
    """Half of all round trips fail: what cannot be known then is unknown."""
    behaviour = KINDS[kind]
    for seed in range(20):
        report = diagnose(behaviour, seed=seed, loss=0.3)
        assert report.mapping in (behaviour.mapping, Dependence.UNKNOWN)
        assert report.filtering in (behaviour.filtering, Dependence.UNKNOWN)
        assert report.port_allocation.kind in (behaviour.allocation, AllocationKind.UNKNOWN)


def test_the_same_seed_makes_the_same_report() -> None:
    behaviour = KINDS["symmetric, random"]
    assert diagnose(behaviour, seed=3, loss=0.1) == diagnose(behaviour, seed=3, loss=0.1)


def test_two_nats_in_a_row_are_as_strict_as_the_stricter() -> None:
    async def story() -> None:
        async with Street(KINDS["symmetric, step 1"]) as street:
            inner = Nat(NEIGHBOUR[0], {"10.77.0.2"}, KINDS["full-cone"])
            street.nats.add(inner)
            await street.serve()
            client = await street.start("client", ("10.77.0.2", 8080))
            report = await client.diagnose_nat([STUN])
            assert report.nat_type is NatType.SYMMETRIC
            assert report.filtering is Dependence.ADDRESS_AND_PORT
            assert report.mapped is not None
            assert report.mapped[0] == OUTSIDE

    run_virtual(story())


# --- blocked, and dead servers


def test_blocked_is_said_in_three_seconds_and_is_nothing_else() -> None:
    report = diagnose(KINDS["blocked"], STUN, NOBODY)
    assert (report.nat_type, report.udp) == (NatType.BLOCKED, False)
    assert report.mapping is report.filtering is Dependence.UNKNOWN
    assert report.port_allocation.kind is AllocationKind.UNKNOWN
    assert report.mapped is None
    assert report.duration_s < 3
    assert report.confidence >= 0.9
    assert [server.error for server in report.servers] == ["no answer", "no answer"]


def test_one_silent_server_may_itself_be_down() -> None:
    one, two = diagnose(KINDS["open"], NOBODY), diagnose(KINDS["blocked"], STUN, NOBODY)
    assert one.nat_type is NatType.BLOCKED
    assert one.confidence < two.confidence
    assert "which may itself be down" in one.evidence[-1]


def test_a_search_for_a_path_is_not_given_up_because_one_server_is_silent() -> None:
    async def story() -> None:
        async with Street(KINDS["open"]) as street:
            client = await street.client()
            report = await client.diagnose_nat([NOBODY])
            assert report.is_doubtful
            runtime = client._runtime
            assert runtime is not None
            facts = runtime.endpoint.traversal.offers.facts
            assert (facts.nat_type, facts.is_known) == (NatType.UNKNOWN, True)

    run_virtual(story())


def test_a_peer_at_a_further_socket_is_evidence_that_udp_passes() -> None:
    meeting = unrelayed()
    node = meeting.b
    service = NatService(
        Config(),
        node.endpoint,
        node.address,
        open_udp,
        lambda _: asyncio.sleep(0),
        lambda: meeting.world.now,
        lambda: None,
        random.Random(1),
    )
    peer = meeting.peer(node)
    assert peer is not None
    heard = service._own_socket().heard

    assert visible_address(peer.address) in heard


def test_a_dead_server_beside_a_live_one_costs_no_time() -> None:
    alone, beside = (
        diagnose(KINDS["restricted-cone"], STUN),
        diagnose(KINDS["restricted-cone"], NOBODY, STUN, "203.0.113.251:3478"),
    )
    assert beside.nat_type is alone.nat_type is NatType.RESTRICTED_CONE
    assert beside.duration_s == pytest.approx(alone.duration_s, abs=0.1)
    assert [server.ok for server in beside.servers] == [False, True, False]


def test_a_machine_without_ipv6_says_so_of_such_a_server_and_asks_the_others() -> None:
    """Names such as those of the default servers have both kinds of address."""
    report = diagnose(KINDS["restricted-cone"], "[2001:db8::1]:3478", STUN)
    assert report.nat_type is NatType.RESTRICTED_CONE
    v6, v4 = report.servers
    assert v4.ok
    assert not v6.ok
    assert v6.error == "this machine has no socket for IPv6"


def test_where_no_socket_can_be_had_at_all_that_is_the_error() -> None:
    with pytest.raises(BindError):
        diagnose(KINDS["open"], "[2001:db8::1]:3478")


def test_the_quickest_of_two_is_preferred() -> None:
    async def story() -> None:
        async with Street(KINDS["port-restricted-cone"]) as street:
            await street.serve()
            await street.serve("203.0.113.101")
            street.network.set_link(CLIENT[0], "203.0.113.1", latency_s=0.08)
            client = await street.client()
            report = await client.diagnose_nat([STUN, SECOND_STUN])
            assert report.nat_type is NatType.PORT_RESTRICTED_CONE
            assert any(f"reached {SECOND_STUN}" in line for line in report.evidence)

    run_virtual(story())


def test_a_server_that_can_do_more_may_be_a_little_slower() -> None:
    async def story() -> None:
        async with Street(KINDS["restricted-cone"]) as street:
            await street.serve()
            await street.serve("203.0.113.101", full=False)
            street.network.set_link(CLIENT[0], "203.0.113.1", latency_s=0.03)
            client = await street.client()
            report = await client.diagnose_nat([STUN, SECOND_STUN])
            assert report.nat_type is NatType.RESTRICTED_CONE

    run_virtual(story())


# --- servers that do less


@asynccontextmanager
async def answering(
    street: Street, address: Address, answer: Callable[[StunMessage, Address], StunMessage | None]
) -> AsyncIterator[None]:
    """A server that answers from one address, whatever it is asked."""
    sock = await MemorySocket.open(street.network, address)

    async def serve() -> None:
        while not sock.closed:
            await sock.wait()
            for data, source in sock.drain(100):
                said = answer(decode(data), source)
                if said is not None:
                    sock.send(encode(said), source)

    task = asyncio.ensure_future(serve())
    try:
        yield
    finally:
        sock.close()
        await task


def success(request: StunMessage, source: Address, **fields: Any) -> StunMessage:
    fields = {"xor_mapped": source} | fields
    return StunMessage(
        message_class=MessageClass.SUCCESS, transaction_id=request.transaction_id, **fields
    )


def ask(
    behaviour: Behaviour,
    answer: Callable[[StunMessage, Address], StunMessage | None],
    *addresses: Address,
) -> NatReport:
    """A diagnosis with servers that answer so, one at each address."""

    async def story() -> NatReport:
        async with Street(behaviour) as street, AsyncExitStack() as stack:
            for address in addresses:
                await stack.enter_async_context(answering(street, address, answer))
            client = await street.client()
            return await client.diagnose_nat([format_address(address) for address in addresses])

    return run_virtual(story())


ONE, OTHER = ("203.0.113.1", 3478), ("203.0.113.101", 3478)


@pytest.mark.parametrize("kind", PASSING)
def test_no_false_full_cone_with_a_server_that_ignores_change_request(kind: str) -> None:
    """It says that it has another address, and answers from the same one."""

    def deaf(request: StunMessage, source: Address) -> StunMessage:
        return success(request, source, other_address=("203.0.113.2", 3479))

    report = ask(KINDS[kind], deaf, ONE, OTHER)
    assert report.filtering is Dependence.UNKNOWN
    assert report.nat_type in (NatType.UNKNOWN, NatType.SYMMETRIC)
    assert any("which ignored the question" in line for line in report.evidence)


@pytest.mark.parametrize("kind", PASSING)
def test_no_verdict_from_the_silence_of_a_server_that_cannot(kind: str) -> None:
    """It says that it has another address, and from there nothing ever comes."""

    def half_deaf(request: StunMessage, source: Address) -> StunMessage | None:
        if request.change_request is not None:
            return None
        return success(request, source, other_address=("203.0.113.2", 3479))

    report = ask(KINDS[kind], half_deaf, ONE, OTHER)
    assert report.filtering is Dependence.UNKNOWN
    assert report.nat_type in (NatType.UNKNOWN, NatType.SYMMETRIC)


@pytest.mark.parametrize("kind", ["port-restricted-cone", "symmetric, step 1", "hairpin"])
def test_plain_binding_still_gives_mapping_ports_latency_and_hairpin(kind: str) -> None:
    behaviour = KINDS[kind]
    report = ask(behaviour, success, ONE, OTHER)
    assert report.filtering is Dependence.UNKNOWN
    if behaviour.mapping is Dependence.ENDPOINT_INDEPENDENT:
        assert report.mapping is behaviour.mapping
    else:
        assert report.nat_type is NatType.SYMMETRIC
    assert report.port_allocation.kind is behaviour.allocation
    assert report.hairpin is behaviour.hairpin
    assert [server.rtt_ms for server in report.servers] == [pytest.approx(2000 * LATENCY_S)] * 2


def test_a_server_of_rfc_3489_that_tells_only_the_plain_address() -> None:
    def old(request: StunMessage, source: Address) -> StunMessage:
        return success(request, source, xor_mapped=None, mapped=source)

    report = ask(KINDS["full-cone"], old, ONE, OTHER)
    assert report.mapping is Dependence.ENDPOINT_INDEPENDENT
    assert report.alg is None


def test_something_that_rewrites_addresses_inside_answers_is_noticed() -> None:
    def rewritten(request: StunMessage, source: Address) -> StunMessage:
        return success(request, source, mapped=CLIENT)

    report = ask(KINDS["full-cone"], rewritten, ONE, OTHER)
    assert report.alg is True
    assert report.mapping is Dependence.ENDPOINT_INDEPENDENT  # the obscured address is believed


def test_an_answer_of_somebody_else_is_no_answer() -> None:
    """Right bytes from a wrong source, and wrong bytes from the right one."""

    async def story() -> None:
        async with Street(KINDS["open"]) as street:
            liar = await MemorySocket.open(street.network, ("203.0.113.66", 3478))
            requests: list[bytes] = []
            translate = street.nats.translate

            def overhear(
                data: bytes, source: Address, to: Address, now: float
            ) -> tuple[Address, Address] | None:
                if to == ONE and data not in requests:
                    requests.append(data)
                    liar.send(encode(success(decode(data), source)), source)
                return translate(data, source, to, now)

            street.network.translate = overhear

            def other_id(request: StunMessage, source: Address) -> StunMessage:
                return msgspec.structs.replace(
                    success(request, source), transaction_id=b"not what was"
                )

            client = await street.client()
            async with answering(street, ONE, other_id):
                report = await client.diagnose_nat([STUN])
            liar.close()
            assert requests
            assert report.nat_type is NatType.BLOCKED

    run_virtual(story())


def test_a_path_that_carries_less_is_measured() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"], mtu=1420 - 28) as street:
            await street.serve()
            client = await street.client()
            assert (await client.diagnose_nat([STUN])).mtu == 1420

    run_virtual(story())


# --- servers on this side of the NAT


TRANSLATING = [name for name in PASSING if KINDS[name].mapping is not Dependence.NONE]
NEAR_STUN = f"{NEIGHBOUR[0]}:3478"


@pytest.mark.parametrize("far_latency_s", [LATENCY_S, 0.6])
@pytest.mark.parametrize("kind", TRANSLATING)
def test_a_neighbour_that_answers_quickest_says_nothing_of_the_nat(
    kind: str, far_latency_s: float
) -> None:
    async def story() -> None:
        async with Street(KINDS[kind]) as street:
            await street.serve(NEIGHBOUR[0])
            await street.serve()
            await street.serve("203.0.113.101")
            street.network.set_link(CLIENT[0], NEIGHBOUR[0], latency_s=0.001)
            for host in ("203.0.113.1", "203.0.113.101"):
                street.network.set_link(CLIENT[0], host, latency_s=far_latency_s)
            client = await street.client()
            told: list[str] = []
            servers = [NEAR_STUN, STUN, SECOND_STUN]
            report = await client.diagnose_nat(servers, on_progress=told.append)
            assert report.nat_type is NAT_TYPES.get(kind, NatType.SYMMETRIC)
            assert report.filtering is KINDS[kind].filtering
            assert report.mapped is not None
            assert report.mapped[0] == OUTSIDE
            assert report.hairpin is KINDS[kind].hairpin
            assert any("on this side of the NAT" in line for line in report.evidence)
            if far_latency_s == LATENCY_S:
                assert len(told) == 2  # nothing was tested twice
                assert report.duration_s < 1

    run_virtual(story())


@pytest.mark.parametrize("kind", TRANSLATING)
def test_a_neighbour_that_can_change_does_not_stand_in_for_those_outside(kind: str) -> None:
    """Those outside do plain Binding only: what is let in from them was not seen."""

    async def story() -> None:
        async with Street(KINDS[kind]) as street, AsyncExitStack() as stack:
            await street.serve(NEIGHBOUR[0])
            for address in (ONE, OTHER):
                await stack.enter_async_context(answering(street, address, success))
            client = await street.client()
            report = await client.diagnose_nat([NEAR_STUN, STUN, SECOND_STUN])
            assert report.filtering is Dependence.UNKNOWN
            assert report.nat_type in (NatType.UNKNOWN, NatType.SYMMETRIC)

    run_virtual(story())


def test_a_probe_from_a_peer_of_a_neighbour_says_nothing_of_the_nat() -> None:
    async def story() -> None:
        async with Street(KINDS["port-restricted-cone"]) as street, AsyncExitStack() as stack:
            server = await street.start("near", NEIGHBOUR)
            helper = await street.start("helper", ("192.168.77.4", 8080))
            await helper.connect(server.address)
            for address in (ONE, OTHER):
                await stack.enter_async_context(answering(street, address, success))
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat([STUN, SECOND_STUN])
            assert report.filtering is Dependence.UNKNOWN
            assert any(f"does not see this node at {OUTSIDE}" in one for one in report.evidence)

    run_virtual(story())


# --- silence, errors and refusals that are no verdict


@pytest.mark.parametrize("kind", ["open", "firewall", "full-cone", "port-restricted-cone"])
def test_silence_of_plain_servers_on_one_host_is_no_filter(kind: str) -> None:
    """They drop CHANGE-REQUEST without a word, as some do."""

    def silent(request: StunMessage, source: Address) -> StunMessage | None:
        return None if request.change_request is not None else success(request, source)

    report = ask(KINDS[kind], silent, ONE, (ONE[0], 3479))
    assert report.filtering is Dependence.UNKNOWN
    assert report.nat_type is NatType.UNKNOWN
    assert any("was not seen to answer from elsewhere" in line for line in report.evidence)


def test_a_joined_node_is_known_to_change_ports() -> None:
    """So its silence says that the ports are filtered, with one address of its own."""

    async def story() -> None:
        async with Street(KINDS["port-restricted-cone"]) as street:
            server = await street.serve(full=False)
            client = await street.client(nat_detection={"stun_servers": []})
            await client.connect(server.address)
            named = [format_address(server.address)]
            report = await client.diagnose_nat(filter_with=named)
            assert report.filtering is Dependence.ADDRESS_AND_PORT

    run_virtual(story())


@pytest.mark.parametrize("code", [401, 420, 500])
def test_a_server_that_refuses_shows_that_udp_passes(code: int) -> None:
    def refuse(request: StunMessage, _: Address) -> StunMessage:
        return StunMessage(
            message_class=MessageClass.ERROR,
            transaction_id=request.transaction_id,
            error=(code, "no"),
        )

    report = ask(KINDS["full-cone"], refuse, ONE, OTHER)
    assert (report.udp, report.nat_type) == (True, NatType.UNKNOWN)
    assert [server.error for server in report.servers] == [f"refused: {code}"] * 2
    assert report.duration_s < 0.5


def destinations(street: Street) -> set[Address]:
    """Where the client sends to, from now on."""
    sent_to = set[Address]()
    translate = street.nats.translate

    def watch(data: bytes, source: Address, to: Address, now: float) -> Any:
        if source[0] == CLIENT[0]:
            sent_to.add(to)
        return translate(data, source, to, now)

    street.network.translate = watch
    return sent_to


@pytest.mark.parametrize(
    "false", [("127.0.0.1", 9), ("224.0.0.1", 9), ("255.255.255.255", 9), ("203.0.113.9", 0)]
)
def test_an_address_that_cannot_be_true_is_not_sent_to(false: Address) -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            sent_to = destinations(street)

            def lie(request: StunMessage, source: Address) -> StunMessage:
                return success(request, source, xor_mapped=false, other_address=false)

            async with answering(street, ONE, lie):
                client = await street.client()
                report = await client.diagnose_nat([STUN])
            assert sent_to == {ONE}
            assert report.udp is True
            assert "can be true" in (report.servers[0].error or "")

    run_virtual(story())


def test_no_server_points_into_a_private_network() -> None:
    """What it names decides where the hairpin test sends."""
    server, victim = ("9.9.9.9", 3478), ("10.9.8.7", 53)

    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            sent_to = destinations(street)

            def point(request: StunMessage, source: Address) -> StunMessage:
                return success(request, source, xor_mapped=victim, other_address=victim)

            async with answering(street, server, point):
                client = await street.client()
                report = await client.diagnose_nat([format_address(server)])
            assert {host for host, _ in sent_to} == {server[0]}
            assert report.hairpin is None
            line = (
                "hairpin: not tested: 10.9.8.7:53 is in a private network, and 9.9.9.9:3478 is not"
            )
            assert line in report.evidence

    run_virtual(story())


@pytest.mark.parametrize("asked", ["203.0.113.1:3478", "203.0.113.1:3479", "203.0.113.1:8080"])
@pytest.mark.parametrize("kind", ["symmetric, step 1", "port-restricted-cone"])
def test_the_ports_of_one_address_show_whether_it_maps_by_port(kind: str, asked: str) -> None:
    """A node with --STUN has two ports beside its own, and says so to none but who joins it."""

    async def story() -> NatReport:
        async with Street(KINDS[kind]) as street:
            await street.serve(full=False)
            client = await street.client()
            return await client.diagnose_nat([asked])

    report = run_virtual(story())
    assert report.duration_s < 2
    assert report.filtering is Dependence.UNKNOWN
    if kind == "port-restricted-cone":
        assert (report.nat_type, report.mapping) == (NatType.UNKNOWN, Dependence.UNKNOWN)
        assert "ports of one address saw" in " ".join(report.evidence)
        assert "p2ptui nat --join HOST:PORT" in report.advice
    else:
        assert report.nat_type is NatType.SYMMETRIC
        assert report.mapping is Dependence.ADDRESS_AND_PORT
        assert report.confidence >= 0.95


@pytest.mark.parametrize("last", range(1, 14))
def test_where_a_socket_cannot_be_opened_that_one_error_comes_out(last: int) -> None:
    """The tests run beside each other, and their errors come in groups."""

    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            await street.serve()
            opened: list[MemorySocket] = []

            async def open_few(address: Address, **_: Any) -> MemorySocket:
                if len(opened) >= last:
                    raise BindError("too many sockets")
                opened.append(await MemorySocket.open(street.network, (CLIENT[0], address[1])))
                return opened[-1]

            with pytest.raises(BindError, match="too many sockets"):
                await Diagnosis(open_few, random.Random(1), host=CLIENT[0]).run([STUN])
            assert all(sock.closed for sock in opened)

    run_virtual(story())


# --- those who help a server with one address


async def partners(street: Street) -> tuple[Node, Node]:
    """Two servers with one address each, that name each other."""
    hosts = ("203.0.113.1", "203.0.113.101")
    nodes = []
    for host, other in (hosts, reversed(hosts)):
        options = {"enable": True, "address": f"{host}:3478", "partner": f"{other}:8080"}
        nodes.append(await street.start(host, (host, 8080), stun_server=options))
    await asyncio.sleep(5)
    return nodes[0], nodes[1]


@pytest.mark.parametrize("kind", PASSING)
def test_two_partners_with_one_address_each_show_every_kind(kind: str) -> None:
    async def story() -> None:
        behaviour = KINDS[kind]
        async with Street(behaviour) as street:
            await partners(street)
            client = await street.client()
            report = await client.diagnose_nat([STUN])
            assert report.nat_type is NAT_TYPES.get(kind, NatType.SYMMETRIC)
            assert (report.mapping, report.filtering) == (behaviour.mapping, behaviour.filtering)
            assert report.duration_s < 2

    run_virtual(story())


def test_a_partner_that_left_makes_filtering_unknown_and_nothing_wrong() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            _, second = await partners(street)
            await second.close()
            await asyncio.sleep(1)
            client = await street.client()
            report = await client.diagnose_nat([STUN])
            assert report.filtering is Dependence.UNKNOWN
            assert any("which refused: 420" in line for line in report.evidence)

    run_virtual(story())


@pytest.mark.parametrize(
    "kind", ["open", "firewall", "full-cone", "restricted-cone", "port-restricted-cone"]
)
def test_a_peer_of_the_server_stands_for_its_second_address(kind: str) -> None:
    async def story() -> None:
        async with Street(KINDS[kind]) as street:
            server = await street.serve(full=False)
            helper = await street.start("helper", ("203.0.113.150", 8080))
            await helper.connect(server.address)
            client = await street.outdoors(KINDS[kind])
            await client.connect(server.address)
            report = await client.diagnose_nat([STUN, format_address(server.address)])
            assert any("another machine, a peer of the server" in one for one in report.evidence)
            assert report.filtering in (KINDS[kind].filtering, Dependence.UNKNOWN)
            if KINDS[kind].filtering in (Dependence.NONE, Dependence.ENDPOINT_INDEPENDENT):
                assert report.filtering is KINDS[kind].filtering

    run_virtual(story())


# --- the lifetime


@pytest.mark.parametrize("lifetime_s", [10.0, 30.0, 60.0])
def test_the_lifetime_of_a_mapping(lifetime_s: float) -> None:
    behaviour = Behaviour(lifetime_s=lifetime_s)
    report = diagnose(behaviour, lifetime=True)
    assert report.lifetime_s == pytest.approx(lifetime_s, rel=0.1)
    assert report.nat_type is NatType.PORT_RESTRICTED_CONE
    assert report.duration_s < 1.5 * lifetime_s + 10


@pytest.mark.parametrize("seed", range(3))
def test_the_lifetime_with_one_in_ten_lost_each_way(seed: int) -> None:
    behaviour = Behaviour(filtering=Dependence.ENDPOINT_INDEPENDENT, lifetime_s=30)
    report = diagnose(behaviour, seed=seed, loss=0.1, lifetime=True)
    assert report.lifetime_s == pytest.approx(30, rel=0.1)


def test_a_mapping_that_lives_longer_than_anybody_waits() -> None:
    report = diagnose(Behaviour(lifetime_s=3600), lifetime=True)
    assert report.lifetime_s == pytest.approx(330, rel=0.1)
    assert "and longer" in report.evidence[-1]


def test_without_response_port_there_is_no_lifetime() -> None:
    async def story() -> None:
        def plain(request: StunMessage, source: Address) -> StunMessage:
            return success(request, source)

        async with Street(KINDS["full-cone"]) as street, answering(street, ONE, plain):
            client = await street.client()
            report = await client.diagnose_nat([STUN], lifetime=True)
            assert report.lifetime_s is None
            assert "RESPONSE-PORT" in report.evidence[-1]

    run_virtual(story())


def test_a_server_that_stops_is_no_mapping_that_died() -> None:
    async def story() -> None:
        async with Street(Behaviour(lifetime_s=3600)) as street:
            server = await street.serve()
            client = await street.client()
            running = asyncio.ensure_future(client.diagnose_nat([STUN], lifetime=True))
            await asyncio.sleep(20)
            await server.close()
            report = await running
            assert report.lifetime_s is None
            assert "the server stopped answering" in report.evidence[-1]

    run_virtual(story())


# --- asking a node for it


def test_the_joined_nodes_that_serve_stun_are_asked() -> None:
    async def story() -> None:
        async with Street(KINDS["restricted-cone"]) as street:
            server, plain = await street.serve(), await street.start("plain")
            client = await street.client(nat_detection={"stun_servers": []})
            await client.connect(server.address)
            await client.connect(plain.address)
            named = [format_address(server.address)]
            report = await client.diagnose_nat(filter_with=named)
            host = server.address[0]
            asked = [format_address((host, port)) for port in (server.address[1], 3478, 3479)]
            assert [one.address for one in report.servers] == asked
            assert report.nat_type is NatType.RESTRICTED_CONE

    run_virtual(story())


def test_the_configured_servers_are_asked() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            await street.serve()
            client = await street.client(nat_detection={"stun_servers": [STUN]})
            assert (await client.diagnose_nat()).nat_type is NatType.FULL_CONE

    run_virtual(story())


def test_nobody_to_ask_is_an_error_of_this_side() -> None:
    async def story() -> None:
        async with Street(KINDS["open"]) as street:
            client = await street.client(nat_detection={"stun_servers": []})
            with pytest.raises(LocalError, match="give one with --server"):
                await client.diagnose_nat()
            with pytest.raises(LocalError):
                await client.diagnose_nat(["no address"])

    run_virtual(story())


def test_the_time_limit_of_the_configuration() -> None:
    async def story() -> None:
        async with Street(KINDS["blocked"]) as street:
            client = await street.client(nat_detection={"detection_timeout_ms": 500})
            with pytest.raises(PeerTimeoutError, match="detection_timeout_ms"):
                await client.diagnose_nat([NOBODY])

    run_virtual(story())


def test_the_retries_of_the_configuration() -> None:
    async def story() -> None:
        async with Street(KINDS["port-restricted-cone"]) as street:
            await street.serve()
            client = await street.client(nat_detection={"retry_count": 8})
            report = await client.diagnose_nat([STUN])
            assert any("asked 9 times" in line for line in report.evidence)

    run_virtual(story())


def test_progress_is_told_in_words() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            await street.serve()
            client = await street.client()
            told: list[str] = []
            await client.diagnose_nat([STUN], on_progress=told.append)
            assert told[0] == "asking the servers"
            assert any(STUN in text for text in told)

    run_virtual(story())


def test_a_diagnosis_that_is_cancelled_leaves_nothing_behind() -> None:
    """The town checks that no task is left, the network that no socket is."""

    async def story() -> None:
        async with Street(KINDS["port-restricted-cone"]) as street:
            await street.serve()
            client = await street.client()
            attached = set(street.network._attached)
            task = asyncio.ensure_future(client.diagnose_nat([STUN]))
            await asyncio.sleep(0.3)
            assert set(street.network._attached) > attached
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert set(street.network._attached) == attached

    run_virtual(story())


def test_the_first_diagnosis_asks_the_server_that_is_being_joined() -> None:
    """It may be the only one there is; where it is dead, little time is lost, and that once."""

    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            server = await street.serve()
            options = {"join": ["203.0.113.1:8080"], "nat_detection": {"stun_servers": []}}
            client = await street.client(**options)
            report = await client.diagnose_nat()
            assert (report.udp, report.mapping) == (True, Dependence.ENDPOINT_INDEPENDENT)
            await client.close()
            await server.close()
            client = await street.client(**options)
            for waited_s in (FIRST_JOIN_S, 0.0):
                began = asyncio.get_running_loop().time()
                with pytest.raises(LocalError, match="give one with --server"):
                    await client.diagnose_nat()
                took_s = asyncio.get_running_loop().time() - began
                assert took_s == pytest.approx(waited_s, abs=0.05)

    run_virtual(story())
