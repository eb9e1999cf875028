"""Machines with many addresses, with one IP version only, and a server with one address."""

from collections.abc import Iterator

import pytest

from tests.natlab.laboratory import Host
from tests.natlab.rules import Kind
from tests.natlab.traversal import Ground, meet
from tests.patience import SLOWER

BRIDGES = ["docker0", *(f"br-{number:012x}" for number in range(9))]


@pytest.fixture(scope="module")
def ground(requires_laboratory: None) -> Iterator[Ground]:
    with Ground(addresses=1, ipv6=True) as opened:
        yield opened


def add_bridges(host: Host) -> None:
    """Ten container networks: docker gives every machine the same."""
    commands = []
    for number, name in enumerate(BRIDGES):
        commands += [
            f"link add {name} type bridge",
            f"address add 172.{17 + number}.0.1/16 dev {name}",
            f"link set {name} up",
        ]
    host.ip(commands)


def test_ten_bridges_on_both_machines_of_a_lan_are_in_nobodys_way(ground: Ground) -> None:
    nat = ground.laboratory.nat(Kind.PORT_RESTRICTED)
    hosts = nat.host(), nat.host()
    for host in hosts:
        add_bridges(host)

    outcome = meet(*map(ground.at, hosts), options={"address": "0.0.0.0:8080"})

    assert (outcome["path"], outcome["there"], outcome["method"]) == ("direct", "direct", "plain")
    assert outcome["rounds"] == 0


def test_the_address_that_faces_the_route_goes_before_bridges_that_are_listed_first(
    ground: Ground,
) -> None:
    """As where virtual machines are on the LAN: its address is at a bridge, made after others."""
    nat = ground.laboratory.nat(Kind.PORT_RESTRICTED)
    hosts = nat.host(), nat.host()
    for host in hosts:
        add_bridges(host)
        host.ip(
            [
                "link add br-lan type bridge mcast_snooping 0",
                "link set br-lan up",
                f"address del {host.address}/24 dev eth0",
                "link set eth0 master br-lan",
                f"address add {host.address}/24 dev br-lan",
                f"route add default via {nat.lan_address}",
            ]
        )

    outcome = meet(*map(ground.at, hosts), options={"address": "0.0.0.0:8080"})

    assert (outcome["path"], outcome["there"], outcome["method"]) == ("direct", "direct", "plain")
    assert outcome["rounds"] == 0
    assert max(outcome["checks"]) <= 10


def test_an_address_dependent_nat_is_met_though_the_server_has_one_address(ground: Ground) -> None:
    # 1,300 guesses among 64,512 ports of which 256 are open: one round in 175 finds none of them.
    for _ in range(2):
        one, other = ground.side(Kind.ADDRESS_DEPENDENT), ground.side(Kind.PORT_RESTRICTED)
        outcome = meet(one, other, wait_s=30.0)
        if outcome["path"] == "direct":
            break

    assert (outcome["path"], outcome["there"], outcome["method"]) == (
        "direct",
        "direct",
        "birthday",
    ), outcome
    assert outcome["delivered"]


@pytest.mark.parametrize("has_containers", [False, True])
def test_without_an_ip_version_in_common_the_reason_is_that(
    ground: Ground, has_containers: bool
) -> None:
    """Containers have IPv4 among themselves, also where their machine has none to the outside."""
    lab = ground.laboratory
    six = lab.public_host(ipv6=True)
    six.ip([f"address del {six.address}/24 dev eth0"])
    if has_containers:
        add_bridges(six)
    one = ground.at(lab.nat(Kind.PORT_RESTRICTED).host() if has_containers else lab.public_host())
    other = ground.at(six, ground.server6)

    one.start(facts=False)
    other.start(facts=False, options={"address": "[::]:0"})
    for side in (one, other):
        answer = side.end()
        assert "error" not in answer, answer
    outcome = one.tell("connect", to=other.node_id, wait_s=20.0)
    there = other.tell("report", to=one.node_id)
    for side in (one, other):
        side.tell("stop")

    assert outcome["path"] == "relay", outcome
    assert outcome["delivered"]
    assert "no IP version in common: here IPv4 only, there IPv6 only" in outcome["reason"]
    assert "no IP version in common: here IPv6 only, there IPv4 only" in there["reason"]
    assert outcome["checks"] == there["checks"] == 0
    assert outcome["settled_ms"] <= 500 * SLOWER


def test_a_lan_whose_machines_let_nothing_in_is_named_as_the_reason(ground: Ground) -> None:
    nat = ground.laboratory.nat(Kind.PORT_RESTRICTED)
    hosts = nat.host(), nat.host()
    for host in hosts:
        host.nft(
            "table ip wall {\n chain input {\n type filter hook input priority 0;\n"
            f" ip saddr {nat.lan_address}/24 udp dport 1024-65535 drop\n }}\n}}\n"
        )

    outcome = meet(*map(ground.at, hosts), wait_s=30.0)

    assert outcome["path"] == "relay"
    assert "both are in the network 10." in outcome["reason"]
