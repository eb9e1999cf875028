"""A diagnosis in a node that is in use: nobody it depends on is banned, and limits are seen."""

import asyncio
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import NatFactsWanted
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.nat.findings import Finding
from p2ptui.nat.report import NatReport
from p2ptui.nat.report_text import report_markdown, report_rows
from p2ptui.wire.address import format_address
from tests.simulated_nat import BANNING, KINDS, LIMITING, Behaviour
from tests.street import CLIENT, STUN, Street
from tests.virtual_loop import run_virtual

SERVER = "203.0.113.1:8080"
OTHER_STUN = "203.0.113.101:3478"
HELPER = ("203.0.113.150", 8080)
SERVER_HOSTS = ("203.0.113.1", "203.0.113.2")
BANNING_ALL = Behaviour(bans_s=60, bans_inside=True)


def banned(street: Street) -> list[str]:
    """Whom the NAT lets in no more."""
    now = asyncio.get_running_loop().time()
    return sorted(host for host in street.nat._banned if street.nat.is_banned(host, now))


async def is_alive(client: Node, server: Node) -> bool:
    """Whether a message to the server is acknowledged."""
    try:
        return (await client.send(server.address, "still there?", timeout_s=5)).delivered
    except Exception:
        return False


def says_not_tested(report: NatReport, server: str) -> bool:
    """Whether a report says so in words, with what to do, wherever it is read."""
    row = dict(report_rows(report))["filtering"]
    ask = f"--filter-with {server}"
    return (
        row.startswith("not tested: it could have")
        and any("not tested with" in line and ask in line for line in report.evidence)
        and ask in report.advice
        and ask in report_markdown(report, "p2ptui nat")
    )


# --- the server that the node depends on


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("named", [None, [STUN], [SERVER], [STUN, SERVER]])
@pytest.mark.parametrize("behaviour", [BANNING, BANNING_ALL])
def test_a_joined_server_is_not_banned(
    behaviour: Behaviour, named: list[str] | None, full: bool
) -> None:
    """By whatever of its addresses it is asked."""

    async def story() -> None:
        async with Street(behaviour) as street:
            server = await street.serve(full=full)
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat(named)
            assert banned(street) == []
            assert await is_alive(client, server)
            assert report.filtering is Dependence.UNKNOWN
            assert report.nat_type is NatType.UNKNOWN
            assert report.findings == ()
            assert report.hairpin is None
            assert says_not_tested(report, report.spared[0])
            assert report.duration_s < 2
            if full:
                assert report.mapping is Dependence.ENDPOINT_INDEPENDENT
                assert report.meaning.startswith(
                    "The NAT keeps one address for all. What is let in"
                )

    run_virtual(story())


def test_a_server_that_is_named_for_it_is_tested_and_its_silence_is_told() -> None:
    async def story() -> None:
        async with Street(BANNING) as street:
            server = await street.serve()
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat(filter_with=[SERVER])
            assert "203.0.113.1" in banned(street)
            assert report.findings == (Finding.BANS_UNASKED_SENDERS,)
            assert report.nat_type is NatType.PORT_RESTRICTED_CONE
            assert "wait a minute" in report.advice
            assert report.as_json()["findings"] == ["bans unasked senders"]

    run_virtual(story())


def test_a_server_that_nobody_depends_on_is_tested_beside() -> None:
    async def story() -> None:
        async with Street(BANNING) as street:
            server = await street.serve(full=False)
            await street.serve("203.0.113.101")
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat([OTHER_STUN])
            assert not set(SERVER_HOSTS) & set(banned(street))
            assert await is_alive(client, server)
            assert report.findings == (Finding.BANS_UNASKED_SENDERS,)
            assert report.filtering is Dependence.ADDRESS_AND_PORT
            assert report.nat_type is NatType.PORT_RESTRICTED_CONE
            assert report.spared == ()

    run_virtual(story())


def test_a_server_is_spared_before_it_is_joined() -> None:
    """As at the start, when the diagnosis and the first handshake begin at once."""

    async def story() -> None:
        async with Street(BANNING) as street:
            await street.serve()
            client = await street.client(join=["203.0.113.77:9", SERVER])
            await client.diagnose_nat([STUN])
            assert banned(street) == []

    run_virtual(story())


async def partners(street: Street) -> tuple[Node, Node]:
    """Two servers with one address each, that name each other."""
    hosts = ("203.0.113.1", "203.0.113.101")
    nodes = []
    for host, other in (hosts, reversed(hosts)):
        options = {"enable": True, "address": f"{host}:3478", "partner": f"{other}:8080"}
        nodes.append(await street.start(host, (host, 8080), stun_server=options))
    await asyncio.sleep(5)
    return nodes[0], nodes[1]


@pytest.mark.parametrize("asked", [[STUN], [OTHER_STUN], [STUN, OTHER_STUN]])
def test_a_partner_does_not_reply_for_another_where_it_is_in_use(asked: list[str]) -> None:
    async def story() -> None:
        async with Street(BANNING) as street:
            first, _ = await partners(street)
            client = await street.client()
            await client.connect(first.address)
            report = await client.diagnose_nat(asked)
            assert first.address[0] not in banned(street)
            assert await is_alive(client, first)
            assert report.udp is True

    run_virtual(story())


# --- peers


@pytest.mark.parametrize("is_in_use", [True, False])
def test_a_helper_that_is_a_peer_in_use_sends_nothing(is_in_use: bool) -> None:
    async def story() -> None:
        async with Street(BANNING) as street:
            server = await street.serve(full=False)
            helper = await street.start("helper", HELPER)
            await helper.connect(server.address)
            client = await street.client()
            await client.connect(server.address)
            if is_in_use:
                await client.connect(helper.address)
            report = await client.diagnose_nat([STUN])
            assert (HELPER[0] in banned(street)) is not is_in_use
            assert await is_alive(client, server)
            if is_in_use:
                assert await is_alive(client, helper)
                assert any("whose peer is a node in use" in line for line in report.evidence)

    run_virtual(story())


def test_a_server_that_does_not_say_who_would_help_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those of before this was told."""

    async def story() -> None:
        async with Street(BANNING) as street:
            server = await street.serve(full=False)
            helper = await street.start("helper", HELPER)
            await helper.connect(server.address)
            client = await street.client()
            await client.connect(server.address)
            monkeypatch.setattr("p2ptui.core.filter_probes.parse_ip_address", lambda text: None)
            report = await client.diagnose_nat([STUN])
            assert banned(street) == []
            assert any("does not say who would send" in line for line in report.evidence)

    run_virtual(story())


def test_a_helper_beside_the_server_may_share_its_address() -> None:
    """Seen from the server it is on its own machine, seen from here it is the server."""

    async def story() -> None:
        async with Street(BANNING) as street:
            server = await street.start(
                "server", ("9.9.9.9", 8080), stun_server={"enable": True, "address": "9.9.9.9:3478"}
            )
            helper = await street.start("helper", ("10.1.1.1", 8080))
            await helper.connect(server.address)
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat(["9.9.9.9:3478"])
            assert banned(street) == []
            assert any("may share its address" in line for line in report.evidence)

    run_virtual(story())


def test_what_a_node_finds_out_by_itself_bans_nobody() -> None:
    """As before a traversal, and when the machine moves."""

    async def story() -> None:
        async with Street(BANNING) as street:
            server = await street.serve()
            client = await street.client()
            await client.connect(server.address)
            client._runtime._support.handle(NatFactsWanted())
            await asyncio.sleep(5)
            facts = client._runtime.endpoint.traversal.offers.facts
            assert facts.diagnosed
            assert facts.mapping is Dependence.ENDPOINT_INDEPENDENT
            assert banned(street) == []
            assert await is_alive(client, server)

    run_virtual(story())


# --- what else sends unasked


def test_the_lifetime_is_not_measured_with_a_server_in_use() -> None:
    """A reply to a mapping that has died is unasked."""

    async def story() -> None:
        async with Street(Behaviour(bans_s=60, lifetime_s=10)) as street:
            server = await street.serve()
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat([STUN], lifetime=True)
            assert banned(street) == []
            assert report.lifetime_s is None
            assert "not measured" in report.evidence[-1]
            assert "--filter-with" in report.evidence[-1]

    run_virtual(story())


def test_the_lifetime_is_measured_with_a_server_that_is_not() -> None:
    async def story() -> None:
        async with Street(Behaviour(lifetime_s=10)) as street:
            server = await street.serve(full=False)
            await street.serve("203.0.113.101")
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat([OTHER_STUN], lifetime=True)
            assert report.lifetime_s == pytest.approx(10, rel=0.1)

    run_virtual(story())


def test_a_hairpin_is_tested_once_nobody_was_banned() -> None:
    """A node in use would be cut off itself by a NAT that bans also its own side."""

    async def story(behaviour: Behaviour) -> tuple[NatReport, list[str]]:
        async with Street(behaviour) as street:
            server = await street.serve(full=False)
            await street.serve("203.0.113.101")
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat([OTHER_STUN])
            assert await is_alive(client, server)
            return report, banned(street)

    for kind in ("hairpin", "port-restricted-cone"):
        report, _ = run_virtual(story(KINDS[kind]))
        assert report.hairpin is KINDS[kind].hairpin
        assert report.duration_s < 2
    report, hosts = run_virtual(story(BANNING_ALL))
    assert report.hairpin is None
    assert CLIENT[0] not in hosts


# --- nobody depends on anybody


def test_a_diagnosis_alone_tests_all_and_says_who_fell_silent() -> None:
    async def story() -> None:
        async with Street(BANNING) as street:
            await street.serve()
            client = await street.client()
            report = await client.diagnose_nat([STUN])
            assert banned(street) == list(SERVER_HOSTS)
            assert report.findings == (Finding.BANS_UNASKED_SENDERS,)
            assert report.nat_type is NatType.PORT_RESTRICTED_CONE
            assert report.filtering is Dependence.ADDRESS_AND_PORT
            assert 0.9 <= report.confidence < 0.99
            assert report.hairpin is False
            assert report.mtu == 1500
            assert dict(report_rows(report))["also"] == "bans unasked senders"
            assert "bans unasked senders" in report.meaning
            assert report.duration_s < 2

    run_virtual(story())


def test_a_second_one_does_not_call_blocked_what_the_first_had_banned() -> None:
    async def story() -> None:
        async with Street(BANNING) as street:
            await street.serve()
            client = await street.client()
            await client.diagnose_nat([STUN])
            again = await client.diagnose_nat([STUN])
            assert (again.udp, again.nat_type) == (True, NatType.UNKNOWN)
            assert again.findings == (Finding.BANS_UNASKED_SENDERS,)
            assert "wait a minute" in again.advice
            await asyncio.sleep(60)
            third = await client.diagnose_nat([STUN])
            assert third.nat_type is NatType.PORT_RESTRICTED_CONE

    run_virtual(story())


@pytest.mark.parametrize("filtering", list(Dependence)[1:4])
def test_who_is_let_in_is_not_banned(filtering: Dependence) -> None:
    async def story() -> None:
        async with Street(Behaviour(filtering=filtering, bans_s=60)) as street:
            await street.serve()
            client = await street.client()
            report = await client.diagnose_nat([STUN])
            assert report.filtering is filtering
            found = report.findings == (Finding.BANS_UNASKED_SENDERS,)
            assert found is (filtering is not Dependence.ENDPOINT_INDEPENDENT)

    run_virtual(story())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "blocked"])
def test_it_is_checked_that_the_servers_still_answer(kind: str) -> None:
    async def story() -> None:
        async with Street(KINDS[kind]) as street:
            await street.serve()
            client = await street.client()
            report = await client.diagnose_nat([STUN])
            assert any(
                f"{STUN} still answer" in line or f"and {STUN} still answer" in line
                for line in report.evidence
            )
            assert report.findings == ()
            assert "findings" not in report.as_json()

    run_virtual(story())


def test_where_everybody_falls_silent_nobody_was_banned() -> None:
    """The way itself is gone."""

    async def story() -> None:
        async with Street(KINDS["port-restricted-cone"]) as street:
            await street.serve()
            await street.serve("203.0.113.101", full=False)
            client = await street.client()
            running = asyncio.ensure_future(client.diagnose_nat([STUN, OTHER_STUN]))
            await asyncio.sleep(0.2)
            street.network.translate = lambda *_: None
            report = await running
            assert report.findings == ()
            assert report.filtering is Dependence.UNKNOWN

    run_virtual(story())


# --- new flows


@pytest.mark.parametrize("latency_s", [0.001, 0.05, 0.15, 0.18])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "blocked"])
def test_a_report_takes_two_seconds_from_far_away_too(kind: str, latency_s: float) -> None:
    async def story() -> NatReport:
        async with Street(KINDS[kind], latency_s=latency_s) as street:
            await street.serve()
            client = await street.client()
            return await client.diagnose_nat([STUN])

    report = run_virtual(story())
    assert report.filtering is KINDS[kind].filtering
    assert report.duration_s < 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("per_s", [100, 50, 20, 10, 5])
def test_a_limit_of_new_flows_is_named_and_hides_nothing(per_s: float, seed: int) -> None:
    async def story() -> None:
        async with Street(Behaviour(flows_per_s=per_s), seed) as street:
            await street.serve()
            client = await street.client()
            report = await client.diagnose_nat([STUN])
            assert report.findings == (Finding.LIMITS_NEW_FLOWS,)
            assert report.nat_type is NatType.PORT_RESTRICTED_CONE
            assert report.mapping is Dependence.ENDPOINT_INDEPENDENT
            assert report.filtering is Dependence.ADDRESS_AND_PORT
            assert "Plain direct paths work; many tries at once do not." in report.meaning
            assert any(line.startswith("limits new flows: ") for line in report.evidence)
            assert report.mtu in (1500, None)
            if per_s >= 20:
                assert report.duration_s < 2
                assert report.port_allocation.kind == "preserved"

    run_virtual(story())


def test_a_limit_is_seen_with_a_joined_server_too() -> None:
    async def story() -> None:
        async with Street(LIMITING) as street:
            server = await street.serve()
            client = await street.client()
            await client.connect(server.address)
            report = await client.diagnose_nat()
            assert report.findings == (Finding.LIMITS_NEW_FLOWS,)
            assert await is_alive(client, server)

    run_virtual(story())


@pytest.mark.parametrize("behaviour", [LIMITING, BANNING, *KINDS.values()])
def test_loss_is_no_finding(behaviour: Behaviour) -> None:
    """Neither name comes from one in ten lost each way, and neither hides what else is there."""
    right: set[Any] = {()}
    if behaviour is LIMITING:
        right.add((Finding.LIMITS_NEW_FLOWS,))
    if behaviour is BANNING:
        right = {(Finding.BANS_UNASKED_SENDERS,)}

    async def story(seed: int) -> NatReport:
        async with Street(behaviour, seed, loss=0.1) as street:
            await street.serve()
            client = await street.client()
            return await client.diagnose_nat([STUN])

    for seed in range(20):
        report = run_virtual(story(seed))
        assert report.findings in right
        assert report.filtering in (behaviour.filtering, Dependence.UNKNOWN)


# --- the mapping, with one server


@pytest.mark.parametrize(
    "mapping", [Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT]
)
def test_a_connected_node_that_serves_stun_shows_the_mapping(mapping: Dependence) -> None:
    """Where the only server has one address."""

    async def story() -> None:
        async with Street(Behaviour(mapping)) as street:
            await street.serve(full=False)
            stun = {"enable": True, "address": f"{HELPER[0]}:3478"}
            peer = await street.start("peer", HELPER, stun_server=stun)
            client = await street.client()
            await client.connect(peer.address)
            client.peer(peer.id)
            for each in client._runtime.endpoint.peers:
                each.initiated = False  # it came to us
                each.accepted = True
            report = await client.diagnose_nat([STUN])
            assert report.mapping is mapping
            assert format_address(HELPER) in " ".join(report.evidence)
            assert banned(street) == []

    run_virtual(story())
