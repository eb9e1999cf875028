"""Why a node is relayed: said as long as it is true, and withdrawn as soon as it is not."""

from types import SimpleNamespace
from typing import Any

import pytest

from p2ptui.config import Config
from p2ptui.core.traversal import check_round
from p2ptui.core.traversal.attempt import NOT_RELAYING, Attempt
from p2ptui.core.traversal.own_networks import Attached, Link, OwnNetworks
from p2ptui.core.traversal.reasons import ELSEWHERE, UNANSWERED, UNANSWERED_NOW, Reasons
from tests.core.lan import OUTSIDE, Lan
from tests.core.traversal.test_findings import CONE, Known
from tests.core.traversal.test_own_networks import attached, kept_apart, machine, reason
from tests.simulated_nat import KINDS, Nat, Nats
from tests.simulation import Host, World

SHARED = "both are in the network 192.168.1.0/24"


def both_told() -> Lan:
    """They are, and have said so."""
    lan = kept_apart()
    one, other = lan.nodes
    assert SHARED in reason(one, other)
    assert SHARED in reason(other, one)
    return lan


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
    lan = both_told()
    one, other = lan.nodes

    other.endpoint.traversal.offers.own = elsewhere()

    assert reason(other, one) == ELSEWHERE


def test_who_stays_withdraws_the_reason_when_the_server_sees_the_other_elsewhere() -> None:
    lan = both_told()
    one, other = lan.nodes

    leave(lan, other)
    lan.world.run_for(2)

    said = [reason(node, there) for node, there in ((one, other), (other, one))]
    assert not any(SHARED in words for words in said), said
    lan.world.run_for(20)
    said = [reason(node, there) for node, there in ((one, other), (other, one))]
    assert not any(SHARED in words for words in said), said


def test_a_node_that_left_behind_the_same_outside_address_is_believed_by_its_new_offer() -> None:
    lan = both_told()
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
    lan = both_told()
    one, other = lan.nodes
    offers = one.endpoint.traversal.offers
    bridge = Attached("172.30.0.1", attached("172.30.0.1", 16, Link.BRIDGE).network, Link.BRIDGE)

    offers.own = OwnNetworks((*offers.own.attached, bridge))

    assert SHARED in reason(one, other)


def test_who_falls_silent_in_the_midst_of_a_search_is_not_judged_by_what_it_said_before() -> None:
    lan = both_told()
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
    lan = both_told()
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


def said(attempt: Attempt, world: World, seconds: float) -> list[str]:
    """The reasons of an attempt, one after the other."""
    found = [attempt.reason or ""]
    for _ in range(int(seconds / 0.05)):
        world.run_for(0.05)
        if attempt.reason != found[-1]:
            found.append(attempt.reason or "")
    return found


@pytest.mark.parametrize("apart", [True, False])
def test_where_a_node_is_seen_for_the_first_time_it_has_not_moved(apart: bool) -> None:
    """The server was gone when the search began: nobody knew where the other node is."""
    lan = Lan(2)
    one, other = lan.nodes
    for node in lan.nodes:
        node.endpoint.traversal.offers.own = machine(node.address[0])
    network, server = lan.world.network, lan.server.address[0]
    if apart:
        network.partition(one.address[0], other.address[0])
    for host in (OUTSIDE, one.address[0], other.address[0]):
        network.partition(host, server)
    lan.connect_all()
    attempt = attempt_of(one, other)
    lan.world.run_for(6)
    assert attempt.reason == UNANSWERED
    assert attempt.observed is None
    for host in (OUTSIDE, one.address[0], other.address[0]):
        network.heal(host, server)

    assert ELSEWHERE not in said(attempt, lan.world, 60)
    assert attempt.observed is not None


@pytest.mark.parametrize("is_inside", [True, False])
def test_a_server_that_sees_this_node_elsewhere_has_not_moved_it(is_inside: bool) -> None:
    """The one in use ends, and the next one brings the session."""
    lan = both_told()
    one, other = lan.nodes
    second = lan.world.host(("198.51.100.10", 8080), allow_symmetric_nat_relay=True)
    for node in lan.nodes:
        node.outcome(node.connect(second))
    server = one.peer(second)
    assert server is not None
    server.public_address = (one.address[0] if is_inside else "203.0.113.200", 8080)
    attempt = attempt_of(one, other)
    lan.world.run_for(5)
    lan.world.remove(lan.server)

    assert ELSEWHERE not in said(attempt, lan.world, 60)
    assert attempt.server is server
    assert attempt.observed is not None


def attempt_of(one: Host, other: Host) -> Attempt:
    attempt = one.endpoint.traversal.offers.get(other.id)
    assert attempt is not None
    return attempt


HERE, SEEN = ("203.0.113.5", 5000), ("203.0.113.6", 5000)
IPV6, IPV6_TOO, IPV6_ELSEWHERE = ("2001:db8::1", 1), ("2001:db8::7:1", 1), ("2001:db8:1::1", 1)


class Told:
    """One attempt, whose reasons are told and checked without a network."""

    def __init__(self) -> None:
        self.attempt: Any = Known(CONE)
        self.attempt.server.address = ("198.51.100.9", 8080)
        self.attempt.direct = None
        self.offers: Any = SimpleNamespace(own=machine("192.168.1.2"))
        self.explained: list[str] = []
        paths: Any = SimpleNamespace(explain=lambda _, why, **__: self.explained.append(why))
        state: Any = None
        self.reasons = Reasons(state, self.offers, paths)

    def see(self, here: Any, there: Any, server: str = "198.51.100.9") -> None:
        """What a server says of both."""
        self.attempt.server.address = (server, 8080)
        self.attempt.server.public_address = here
        self.attempt.observed = there

    def tell(self) -> None:
        self.reasons.tell(self.attempt, "found")

    def is_withdrawn(self) -> bool:
        self.reasons.check(self.attempt)
        return self.explained[-1] == ELSEWHERE


@pytest.mark.parametrize(
    ("before", "after", "is_moved"),
    [
        ((HERE, SEEN), (HERE, SEEN), False),
        ((HERE, SEEN), (SEEN, SEEN), True),
        ((HERE, SEEN), (HERE, HERE), True),
        ((HERE, SEEN), (None, None), False),
        ((None, None), (HERE, SEEN), False),
        ((HERE, None), (HERE, SEEN), False),
        ((HERE, IPV6), (HERE, SEEN), False),
        ((HERE, IPV6), (HERE, IPV6_TOO), False),
        ((HERE, IPV6), (HERE, IPV6_ELSEWHERE), True),
    ],
)
def test_only_what_is_known_of_both_times_is_compared(
    before: tuple[Any, Any], after: tuple[Any, Any], is_moved: bool
) -> None:
    told = Told()
    told.see(*before)
    told.tell()
    told.see(*after)

    assert told.is_withdrawn() is is_moved


def test_what_was_learnt_later_counts_from_then_on() -> None:
    told = Told()
    told.see(None, None)
    told.tell()
    told.see(HERE, SEEN)
    assert not told.is_withdrawn()
    told.see(HERE, HERE)
    assert told.is_withdrawn()


def test_after_a_change_of_the_server_its_own_view_counts() -> None:
    told = Told()
    told.see(HERE, SEEN)
    told.tell()
    told.see(("192.168.1.2", 1), ("192.168.1.7", 1), server="192.168.1.1")
    assert not told.is_withdrawn()
    told.see(("192.168.1.2", 1), ("192.168.5.7", 1), server="192.168.1.1")
    assert told.is_withdrawn()


def test_a_network_that_is_found_late_is_no_move() -> None:
    told = Told()
    told.offers.own = OwnNetworks()
    told.see(HERE, SEEN)
    told.tell()
    told.offers.own = machine("192.168.1.2")
    assert not told.is_withdrawn()
    more = attached("2001:db8::5", 64, Link.FACING)
    told.offers.own = OwnNetworks((*told.offers.own.attached, more))
    assert not told.is_withdrawn()
    told.offers.own = OwnNetworks()  # the cable is out, and in again
    assert not told.is_withdrawn()
    told.offers.own = elsewhere()
    assert told.is_withdrawn()


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
