"""What a diagnosis says of the kernel's NATs, with our servers and with such that can less."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2ptui.nat.report import NatReport
from p2ptui.wire.stun import Change
from tests.natlab.diagnosing import (
    NODE_PORT,
    OTHER_PORT,
    STUN_PORT,
    BareServer,
    Findings,
    ask,
    diagnose,
    expected,
    judged,
    start_node,
)
from tests.natlab.laboratory import Host, Laboratory
from tests.natlab.rules import Kind, ruleset
from tests.patience import PATIENCE_S, SLOWER

REPORT_S = 2.0 * SLOWER
BLOCKED_S = 3.0 * SLOWER
LIFETIME_S = 5

KEYS = [
    *("udp", "local", "mapped", "mapped_v6", "mapping", "filtering", "nat_type"),
    *("port_allocation", "hairpin", "lifetime_s", "mtu", "alg", "firewall", "servers"),
    *("confidence", "evidence", "meaning", "advice", "duration_s"),
]
SINGLE = list(Kind)
CONES = [Kind.FULL_CONE, Kind.RESTRICTED, Kind.PORT_RESTRICTED]


class World:
    """A laboratory for all tests here, and in it a node with two addresses."""

    def __init__(self, laboratory: Laboratory, directory: Path) -> None:
        self.laboratory = laboratory
        self.directory = directory
        host = laboratory.server()
        start_node(host, directory, other_host=host.addresses[1])
        self.host = host
        self.server = address_of(host)

    def behind(self, *kinds: Kind, loss_percent: float = 0.0, timeout_s: int | None = None) -> Host:
        """A host behind a NAT, or behind several, the outermost first."""
        nat = self.laboratory.nat(kinds[0], loss_percent=loss_percent, mapping_timeout_s=timeout_s)
        for kind in kinds[1:]:
            nat = nat.nat(kind)
        return nat.host()


@pytest.fixture(scope="module")
def world(requires_laboratory: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Laboratory() as laboratory:
        yield World(laboratory, tmp_path_factory.mktemp("nodes"))


@pytest.fixture(scope="module")
def lonely(world: World) -> Host:
    """A node with one address and no partner."""
    host = world.laboratory.public_host()
    start_node(host, world.directory)
    return host


@pytest.fixture(scope="module")
def partner(world: World) -> Host:
    """One of two nodes with one address each."""
    hosts = [world.laboratory.public_host() for _ in range(2)]
    for host, other in (hosts, reversed(hosts)):
        start_node(host, world.directory, partner=f"{other.address}:{NODE_PORT}")
    until = time.monotonic() + PATIENCE_S
    while (answer := ask(hosts[0], hosts[0].address)) is None or answer.other_address is None:
        assert time.monotonic() < until, "the two never met"
        time.sleep(0.05)
    assert answer.other_address == (hosts[1].address, OTHER_PORT)
    return hosts[0]


def address_of(host: Host) -> str:
    return f"{host.address}:{STUN_PORT}"


def found(report: NatReport) -> Findings:
    return Findings.of(report.as_json())


def wrong(report: NatReport, kind: Kind) -> list[str]:
    """The findings that are neither right nor "unknown"."""
    results = judged(report.as_json(), expected(kind))
    return [name for name, result in results.items() if result == "wrong"]


@pytest.mark.parametrize("kind", SINGLE)
def test_each_kind_is_recognized(world: World, kind: Kind) -> None:
    host = world.behind(kind)
    report = diagnose(host, world.server)
    assert found(report) == expected(kind), report.evidence
    if report.udp:
        assert report.local is not None
        assert report.mapped is not None
        assert report.local[0] == host.address
        assert report.mapped[0] in host.public_addresses
        assert report.confidence > 0.9
        assert (report.mtu, report.alg) == (1500, False)
        assert report.duration_s <= REPORT_S
    else:
        assert report.duration_s <= BLOCKED_S


@pytest.mark.parametrize(
    "kinds",
    [
        (Kind.FULL_CONE, Kind.PORT_RESTRICTED),
        (Kind.RESTRICTED, Kind.FULL_CONE),
        (Kind.PORT_RESTRICTED, Kind.SYMMETRIC_STEP_1),
        (Kind.SYMMETRIC_RANDOM, Kind.FULL_CONE),
    ],
)
def test_of_two_in_a_row_the_stricter_one_shows(world: World, kinds: Sequence[Kind]) -> None:
    report = diagnose(world.behind(*kinds), world.server)
    assert found(report) == expected(*kinds), report.evidence
    assert report.duration_s <= REPORT_S


@pytest.mark.parametrize(
    "kind",
    [
        Kind.FULL_CONE,
        Kind.RESTRICTED,
        Kind.SYMMETRIC_STEP_1,
        Kind.ADDRESS_DEPENDENT,
        Kind.FLOW_LIMITED,
        Kind.BANNING,
    ],
)
def test_no_label_is_wrong_where_packets_are_lost(world: World, kind: Kind) -> None:
    report = diagnose(world.behind(kind, loss_percent=10), world.server)
    assert report.udp
    assert wrong(report, kind) == [], report.evidence


def joined(host: Host, server: Host, *arguments: str) -> dict[str, Any]:
    """What a node in a host saw that has joined a server (tests/natlab/joined.py)."""
    ran = host.run(
        ["python", "-m", "tests.natlab.joined", f"{server.address}:{NODE_PORT}", *arguments],
        cwd=Path(__file__).parents[2],
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def test_a_joined_server_is_not_banned_by_the_diagnosis(world: World) -> None:
    host = world.behind(Kind.BANNING)
    told = joined(host, world.host)
    assert (told["before"], told["after"]) == (True, True)
    report = told["report"]
    assert (report["filtering"], report["nat_type"]) == ("unknown", "unknown")
    assert report["mapping"] == "endpoint-independent"
    assert "findings" not in report
    ask = f"--filter-with {world.host.address}:{NODE_PORT}"
    assert any("not tested" in line and ask in line for line in report["evidence"])
    # Also where it is named as one of the servers, by another port.
    assert joined(host, world.host, world.server)["after"]


def test_neither_is_the_node_itself(world: World) -> None:
    """By a NAT that counts what comes from inside to its outside address as unasked."""
    host = world.behind(Kind.BANNING)
    assert host.nat is not None
    rules = ruleset(Kind.BANNING, host.nat.outer).replace('iif "wan" ', 'iif != "lo" ')
    host.nat.nft(f"flush ruleset\n{rules}")
    told = joined(host, world.host)
    assert (told["before"], told["after"]) == (True, True)
    assert told["report"]["hairpin"] is None


def test_a_server_that_was_named_for_it_is_banned_and_that_is_seen(world: World) -> None:
    host = world.behind(Kind.BANNING)
    told = joined(host, world.host, "--with", f"{world.host.address}:{NODE_PORT}")
    assert (told["before"], told["after"]) == (True, False)
    assert told["report"]["findings"] == ["bans unasked senders"]
    assert told["report"]["nat_type"] == "port-restricted-cone"


def test_a_server_in_use_lives_while_another_one_is_tested(world: World, lonely: Host) -> None:
    host = world.behind(Kind.BANNING)
    told = joined(host, lonely, world.server)
    assert (told["before"], told["after"]) == (True, True)
    assert told["report"]["findings"] == ["bans unasked senders"]
    assert told["report"]["filtering"] == "address-and-port-dependent"


@pytest.mark.parametrize("per_second", [5, 20])
def test_a_slower_limit_of_new_flows_is_named_too(world: World, per_second: int) -> None:
    host = world.behind(Kind.FLOW_LIMITED)
    assert host.nat is not None
    rules = ruleset(Kind.FLOW_LIMITED, host.nat.outer, flows_per_second=per_second)
    host.nat.nft(f"flush ruleset\n{rules}")
    report = diagnose(host, world.server)
    assert report.findings == ("limits new flows",)
    assert wrong(report, Kind.FLOW_LIMITED) == [], report.evidence
    assert report.nat_type == "port-restricted-cone", report.evidence


def test_new_flows_limited_by_their_state_are_seen(world: World) -> None:
    """As most rules have it: until its first answer all of a flow is new."""
    host = world.behind(Kind.PORT_RESTRICTED)
    assert host.nat is not None
    host.nat.nft(
        "table inet pace {\n  chain forward {\n    type filter hook forward priority 0;\n"
        "    ct state new limit rate over 50/second drop\n  }\n}\n"
    )
    report = diagnose(host, world.server)
    assert found(report) == expected(Kind.FLOW_LIMITED), report.evidence


@pytest.mark.parametrize("kind", [Kind.FIREWALL, Kind.SYMMETRIC_STEP_256])
def test_the_command_prints_the_report_as_json(world: World, kind: Kind) -> None:
    ran = world.behind(kind).run(["p2ptui", "nat", "--server", world.server, "--json"])
    assert (ran.returncode, ran.stderr) == (0, "")
    report = json.loads(ran.stdout)
    assert list(report) == KEYS
    assert list(report["port_allocation"]) == ["kind", "step", "parity_preserved"]
    assert [list(server) for server in report["servers"]] == [["address", "rtt_ms", "ok", "error"]]
    assert Findings.of(report) == expected(kind)


def test_the_command_says_blocked_in_words(world: World) -> None:
    ran = world.behind(Kind.BLOCKED).run(["p2ptui", "nat", "--server", world.server])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "blocked" in ran.stdout
    assert "endpoint-independent" not in ran.stdout


def test_a_node_with_one_address_refuses_what_it_cannot_do(lonely: Host) -> None:
    answer = ask(lonely, lonely.address)
    assert answer is not None
    assert answer.other_address is None
    refusal = ask(lonely, lonely.address, change_request=Change.BOTH)
    assert refusal is not None
    assert refusal.error is not None
    assert refusal.error[0] == 420


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.FULL_CONE, Kind.PORT_RESTRICTED])
def test_with_one_address_nothing_is_guessed(world: World, lonely: Host, kind: Kind) -> None:
    report = diagnose(world.behind(kind), address_of(lonely))
    assert wrong(report, kind) == [], report.evidence
    assert (report.udp, report.filtering) == (True, "unknown")
    assert report.port_allocation.kind == expected(kind).allocation[0]


@pytest.mark.parametrize("kind", [*CONES, Kind.FIREWALL])
def test_partners_are_as_good_as_two_addresses(world: World, partner: Host, kind: Kind) -> None:
    report = diagnose(world.behind(kind), address_of(partner))
    assert found(report) == expected(kind), report.evidence
    assert report.duration_s <= REPORT_S


@pytest.mark.parametrize("kind", [*CONES, Kind.SYMMETRIC_RANDOM])
def test_a_server_that_ignores_the_question_makes_no_full_cone(world: World, kind: Kind) -> None:
    host = world.laboratory.server()
    places = [(address, port) for address in host.addresses for port in (STUN_PORT, OTHER_PORT)]
    with BareServer(host, places, other=places[-1]):
        report = diagnose(world.behind(kind), address_of(host))
    assert wrong(report, kind) == [], report.evidence
    assert report.filtering == "unknown"
    assert report.mapping == expected(kind).mapping


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.HAIRPIN, Kind.SYMMETRIC_STEP_1])
def test_servers_of_plain_binding_give_all_but_filtering(world: World, kind: Kind) -> None:
    hosts = [world.laboratory.public_host() for _ in range(2)]
    with BareServer(hosts[0]), BareServer(hosts[1]):
        report = diagnose(world.behind(kind), *map(address_of, hosts))
    right = replace(expected(kind), filtering="unknown")
    if right.nat_type == "symmetric":
        # Whether another port of the same server would see the same, none of these can say.
        right = replace(right, mapping="unknown")
    else:
        right = replace(right, nat_type="unknown", firewall=None)
    assert found(report) == right, report.evidence
    assert all(server.rtt_ms is not None for server in report.servers)


def test_a_dead_server_does_no_harm(world: World) -> None:
    dead = address_of(world.laboratory.public_host())
    report = diagnose(world.behind(Kind.PORT_RESTRICTED), dead, world.server)
    assert found(report) == expected(Kind.PORT_RESTRICTED), report.evidence
    assert [server.ok for server in report.servers] == [False, True]
    assert report.servers[0].error
    assert report.duration_s <= REPORT_S


def test_ipv6_is_reported_beside_and_alone(world: World) -> None:
    server = world.laboratory.public_host(ipv6=True)
    host = world.laboratory.nat(Kind.SYMMETRIC_RANDOM, ipv6=True).host()
    assert server.address6
    by_ipv4, by_ipv6 = address_of(server), f"[{server.address6}]:{STUN_PORT}"
    with BareServer(server, [(server.address, STUN_PORT), (server.address6, STUN_PORT)]):
        both = diagnose(host, by_ipv4, by_ipv6)
        alone = diagnose(host, f"{server.address}:{OTHER_PORT}", by_ipv6)
    for report in (both, alone):
        assert report.mapped_v6 is not None
        assert report.mapped_v6[0] == host.address6
        assert report.duration_s <= REPORT_S
    assert both.mapped is not None
    assert both.mapped[0] == host.public_addresses[0]
    assert (alone.mapped, alone.mapping) == (alone.mapped_v6, "none")


def test_the_lifetime_is_measured(world: World) -> None:
    host = world.behind(Kind.PORT_RESTRICTED, timeout_s=LIFETIME_S)

    said: list[str] = []

    def is_between() -> bool:
        report = diagnose(host, world.server, lifetime=True)
        (line,) = (line for line in report.evidence if line.startswith("lifetime: "))
        said.append(line)
        found = re.fullmatch(r"lifetime: alive after (\S+) s, gone after (\S+) s", line)
        if found is None or report.lifetime_s is None:
            return False
        alive_s, gone_s = map(float, found.groups())
        # The kernel's timeouts are right to a fraction of a second.
        return (
            alive_s - 0.3 <= LIFETIME_S <= gone_s + 0.3 and alive_s <= report.lifetime_s <= gone_s
        )

    # How narrow it is, is asserted in virtual time: a busy machine asks late, or hears too late.
    assert any(is_between() for _ in range(3)), said
