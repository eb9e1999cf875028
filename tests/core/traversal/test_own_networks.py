"""Which of many addresses are told and tried first: those that face the other side."""

import ipaddress
from itertools import product

import pytest

from p2ptui.core.traversal.candidates import MAX_CLAIMED, MAX_OTHERS, believed, offered, turn
from p2ptui.core.traversal.own_networks import Attached, Link, OwnNetworks
from p2ptui.nat.punching import Kind
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.offer import TraversalOffer
from tests.core.lan import Lan
from tests.core.meeting import Meeting
from tests.simulation import Host

OUTSIDE: Address = ("198.51.100.7", 4000)
BRIDGES = [f"172.{number}.0.1" for number in range(17, 27)]


def attached(host: str, prefix: int, link: Link) -> Attached:
    return Attached(host, ipaddress.ip_network(f"{host}/{prefix}", strict=False), link)


def machine(host: str) -> OwnNetworks:
    """One with ten bridges and a VPN."""
    return OwnNetworks(
        (
            attached(host, 24, Link.FACING),
            attached("192.168.50.2", 24, Link.PHYSICAL),
            *(attached(bridge, 16, Link.BRIDGE) for bridge in BRIDGES),
            attached("10.8.0.2", 24, Link.TUNNEL),
        )
    )


def tried(
    hosts: list[str], own: OwnNetworks, *, limit: int = 10, number: int = 0, port: int = 8080
) -> list[str]:
    """Which of another node's addresses are tried, in order."""
    told = [("host", format_address((host, port))) for host in hosts]
    offer = TraversalOffer("abcdefgh", "p" * 20, told, round=number)
    mine = [(one.host, 8080) for one in own.attached]
    kinds = {one.kind: one.remotes for one in believed(offer, OUTSIDE, limit, own, mine)}
    return [host for host, _ in kinds[Kind.HOST]]


def test_own_addresses_are_told_in_the_order_of_the_networks() -> None:
    own = machine("192.168.1.2")
    hosts = [(one.host, 8080) for one in reversed(own.attached)]

    ordered = own.in_order([*hosts, ("192.168.9.9", 8080)])

    assert ordered == (*reversed(hosts), ("192.168.9.9", 8080))


def test_of_the_others_addresses_those_in_a_network_in_common_are_tried_first() -> None:
    hosts = ["10.8.0.9", "10.20.0.1", "172.18.0.7", "192.168.50.9", "192.168.1.9"]

    assert tried(hosts, machine("192.168.1.2")) == [
        "192.168.1.9",
        "192.168.50.9",
        "10.20.0.1",
        "172.18.0.7",
        "10.8.0.9",
    ]


def test_what_would_reach_this_machine_itself_is_not_tried() -> None:
    own = machine("192.168.1.2")

    assert tried([*BRIDGES, "192.168.1.9"], own, limit=1) == ["192.168.1.9"]
    # Whatever its port: only its own containers are behind such an address.
    assert tried([*BRIDGES, "192.168.1.9"], own, limit=1, port=9000) == ["192.168.1.9"]


def test_a_node_on_the_same_machine_is_reached_there() -> None:
    own = machine("192.168.1.2")
    hosts = [*BRIDGES, "192.168.1.2"]

    assert tried(hosts, own, port=9000)[0] == "192.168.1.2"
    assert tried(hosts, own, port=8080) == [], "this node itself"


@pytest.mark.parametrize("count", [1, 10, 11, 25, 39])
def test_where_there_are_too_many_each_has_its_turn(count: int) -> None:
    told = [(f"10.0.0.{number}", 1) for number in range(1, count + 1)]
    rounds = [offered(told, [OUTSIDE], [], 10, number) for number in range(4)]

    seen = {text for one in rounds for kind, text in one if kind == "host"}
    assert seen == set(map(format_address, told))
    assert all(len(one) <= 11 for one in rounds)
    assert rounds[0][0] == ("host", "10.0.0.1:1")


def test_an_offer_never_grows_beyond_its_room() -> None:
    told = [(f"10.0.0.{number}", 1) for number in range(1, 200)]

    assert len(offered(told, [OUTSIDE], [], 1000)) == MAX_OTHERS


def test_a_turn_is_a_window_that_goes_round() -> None:
    assert turn("abc", 3, 5) == list("abc")
    assert [turn("abcde", 2, number) for number in range(3)] == [
        list("ab"),
        list("cd"),
        list("ea"),
    ]


def test_global_ipv6_addresses_take_turns_too() -> None:
    told = [("host", f"[2a01::{number}]:1") for number in range(1, 6)]
    seen = set()
    for number in range(3):
        offer = TraversalOffer("abcdefgh", "p" * 20, told, round=number)
        (claimed,) = [one for one in believed(offer, OUTSIDE, 10) if one.kind is Kind.CLAIMED]
        assert len(claimed.remotes) == MAX_CLAIMED
        seen.update(claimed.remotes)

    assert len(seen) == 5


def give_bridges(lan: Lan, *, first: bool) -> None:
    """Ten bridges to each machine, the same as on all others; nothing is known of their order."""
    for node in lan.nodes:
        host, port = node.address
        bridges = [(bridge, port) for bridge in BRIDGES]
        own = (host, port)
        node.endpoint.traversal.offers.hosts = (*bridges, own) if first else (own, *bridges)


@pytest.mark.parametrize(("known", "first"), list(product([True, False], [True, False])))
def test_ten_bridges_on_both_machines_of_a_lan_are_in_nobodys_way(known: bool, first: bool) -> None:
    lan = Lan(2)
    give_bridges(lan, first=first)
    for node in lan.nodes:
        if known:
            offers = node.endpoint.traversal.offers
            offers.own = machine(node.address[0])
            offers.hosts = offers.own.in_order(offers.hosts)

    lan.connect_all()
    lan.world.run_until(lambda: lan.direct_pairs() == 1, 0.3 if known else 8)

    checks = [peer_of(*pair) for pair in (lan.nodes, reversed(lan.nodes))]
    if known:
        assert max(checks) <= 6, "what is tried first, works"


def peer_of(one: Host, other: Host) -> int:
    peer = one.endpoint.peers.authenticated(other.id)
    assert peer is not None
    assert peer.connection is not None
    return peer.connection.checks


def kept_apart() -> Lan:
    """Two nodes on a LAN that passes nothing between its clients, and have found that out."""
    lan = Lan(2)
    for node in lan.nodes:
        node.endpoint.traversal.offers.own = machine(node.address[0])
    one, other = lan.nodes
    lan.world.network.partition(one.address[0], other.address[0])
    lan.connect_all()
    lan.world.run_for(20)
    return lan


def reason(node: Host, there: Host) -> str:
    """Why one relays to the other."""
    peer = node.endpoint.peers.authenticated(there.id)
    assert peer is not None
    assert peer.connection is not None
    return peer.connection.reason or ""


def test_on_a_lan_that_passes_nothing_the_reason_is_the_lan_or_a_firewall() -> None:
    one, other = kept_apart().nodes
    for node, there in ((one, other), (other, one)):
        assert "both are in the network 192.168.1.0/24" in reason(node, there)
        assert "hairpin" not in reason(node, there)


def test_equal_networks_behind_other_outside_addresses_are_not_in_common() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    for host in (meeting.a, meeting.b):
        host.endpoint.traversal.offers.own = OwnNetworks(
            (attached(host.address[0], 16, Link.FACING),)
        )
    meeting.connect()
    meeting.world.run_for(5)

    assert "neither port can be guessed" in (meeting.peer(meeting.a).connection.reason or "")


def test_an_ip_version_that_only_containers_speak_is_not_told() -> None:
    bridge, tunnel = attached("172.17.0.1", 16, Link.BRIDGE), attached("10.9.0.2", 24, Link.TUNNEL)
    six = attached("2001:db8::2", 64, Link.FACING)

    def told(*networks: Attached) -> list[str]:
        hosts = [(one.host, 8080) for one in networks]
        return [host for host, _ in OwnNetworks(networks).worth_telling(hosts)]

    assert told(six, bridge) == [six.host]
    assert told(six, bridge, tunnel) == [six.host, bridge.host, tunnel.host]
    lan = attached("192.168.1.5", 24, Link.PHYSICAL)
    assert told(lan, bridge) == [lan.host, bridge.host]
    assert told(bridge) == [bridge.host], "a machine that has nothing else"
    assert OwnNetworks().worth_telling([OUTSIDE]) == (OUTSIDE,)
