"""Why a node is relayed: said as long as it is true, and withdrawn as soon as it is not."""

from typing import Any

import pytest

from p2ptui.config import Config
from p2ptui.core.traversal import check_round
from p2ptui.core.traversal.attempt import NOT_RELAYING
from p2ptui.core.traversal.own_networks import Attached, Link, OwnNetworks
from p2ptui.core.traversal.reasons import ELSEWHERE, UNANSWERED_NOW
from tests.core.lan import OUTSIDE, Lan
from tests.core.traversal.test_findings import CONE, Known
from tests.core.traversal.test_own_networks import attached, machine
from tests.simulated_nat import KINDS, Nat, Nats
from tests.simulation import Host

SHARED = "both are in the network 192.168.1.0/24"


def kept_apart() -> Lan:
    """Two nodes on a LAN that passes nothing between its clients."""
    lan = Lan(2)
    for node in lan.nodes:
        node.endpoint.traversal.offers.own = machine(node.address[0])
    one, other = lan.nodes
    lan.world.network.partition(one.address[0], other.address[0])
    lan.connect_all()
    lan.world.run_for(20)
    assert SHARED in reason(one, other)
    assert SHARED in reason(other, one)
    return lan


def reason(node: Host, there: Host) -> str:
    peer = node.endpoint.peers.authenticated(there.id)
    assert peer is not None
    assert peer.connection is not None
    return peer.connection.reason or ""


def elsewhere() -> OwnNetworks:
    return OwnNetworks((attached("192.168.77.5", 24, Link.FACING),))


def leave(lan: Lan, node: Host) -> None:
    """The node's machine is taken to another network; it reaches everybody by another way."""
    nats = getattr(lan.world.network.translate, "__self__", None)
    assert isinstance(nats, Nats)
    nats.add(Nat("198.51.100.66", {node.address[0]}, KINDS["port-restricted-cone"]))
    offers = node.endpoint.traversal.offers
    offers.own = elsewhere()
    node.endpoint.moving.move(lambda _: True, lan.world.now)
    node.settle()


def test_who_left_the_network_says_at_once_that_the_reason_is_no_more() -> None:
    lan = kept_apart()
    one, other = lan.nodes

    other.endpoint.traversal.offers.own = elsewhere()

    assert reason(other, one) == ELSEWHERE


def test_who_stays_withdraws_the_reason_when_the_server_sees_the_other_elsewhere() -> None:
    lan = kept_apart()
    one, other = lan.nodes

    leave(lan, other)
    lan.world.run_for(2)

    said = [reason(node, there) for node, there in ((one, other), (other, one))]
    assert not any(SHARED in words for words in said), said
    lan.world.run_for(20)
    said = [reason(node, there) for node, there in ((one, other), (other, one))]
    assert not any(SHARED in words for words in said), said


def test_a_node_that_left_behind_the_same_outside_address_is_believed_by_its_new_offer() -> None:
    lan = kept_apart()
    one, other = lan.nodes
    offers = other.endpoint.traversal.offers
    offers.hosts = (("192.168.77.5", 8080),)
    offers.own = elsewhere()

    other.endpoint.traversal.search(one.id, lan.world.now)
    other.settle()
    lan.world.run_for(1)

    assert SHARED not in reason(one, other)
    lan.world.run_for(20)
    assert SHARED not in reason(one, other)


def test_containers_that_come_and_go_do_not_make_a_reason_untrue() -> None:
    lan = kept_apart()
    one, other = lan.nodes
    offers = one.endpoint.traversal.offers
    bridge = Attached("172.30.0.1", attached("172.30.0.1", 16, Link.BRIDGE).network, Link.BRIDGE)

    offers.own = OwnNetworks((*offers.own.attached, bridge))

    assert SHARED in reason(one, other)


def test_who_falls_silent_in_the_midst_of_a_search_is_not_judged_by_what_it_said_before() -> None:
    lan = kept_apart()
    one, other = lan.nodes
    attempt = one.endpoint.traversal.offers.get(other.id)
    assert attempt is not None

    one.endpoint.traversal.search(other.id, lan.world.now)
    one.settle()
    lan.world.run_until(lambda: attempt.remote is not None)
    lan.world.network.partition(other.address[0], lan.server.address[0])
    lan.world.network.partition(OUTSIDE, lan.server.address[0])
    lan.world.run_until(lambda: attempt.reason != ELSEWHERE and SHARED not in attempt.reason, 30)

    assert attempt.reason == UNANSWERED_NOW


def test_what_another_server_said_of_a_node_is_not_taken_for_what_this_one_says() -> None:
    lan = kept_apart()
    one, other = lan.nodes
    attempt = one.endpoint.traversal.offers.get(other.id)
    assert attempt is not None
    attempt.refusal = "the server does not relay to it: it is full"
    second = lan.world.host(("198.51.100.10", 8080))
    one.outcome(one.connect(second))
    server = one.peer(second)
    assert server is not None

    attempt.use(server)

    assert attempt.observed is None
    assert attempt.refusal == NOT_RELAYING


@pytest.mark.parametrize(
    ("here", "is_shared"), [("203.0.113.5", False), ("192.168.1.2", True), ("192.168.50.2", True)]
)
def test_a_network_with_the_same_addresses_elsewhere_is_not_the_same_one(
    here: str, is_shared: bool
) -> None:
    """The server stands in the other one's home, and sees this node from outside."""
    attempt: Any = Known(CONE)
    attempt.server.public_address = (here, 5000)
    attempt.observed = ("192.168.1.7", 8080)

    reason = check_round.why_relayed(attempt, CONE, Config(), machine("192.168.1.2"))

    assert (SHARED in reason) is is_shared
