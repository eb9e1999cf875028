"""However many addresses two nodes have, and however few a round may have: each has its turn."""

from itertools import product

import pytest

from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.candidates import MAX_CLAIMED, believed, offered, told_at_once
from p2ptui.nat.punching import Kind
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.offer import MAX_OWN, TraversalOffer
from tests.core.lan import Lan
from tests.simulation import Host

OBSERVED: Address = ("198.51.100.7", 4000)
SERVER_SIDE = {"allow_symmetric_nat_relay": True, "enable_rate_limiting": False}


def elsewhere(count: int, net: int) -> list[Address]:
    """Addresses that nobody has."""
    return [(f"10.{net}.{number}.1", 8080) for number in range(count)]


def pair_with(counts: tuple[int, int], limits: tuple[int, int]) -> Lan:
    """Two nodes of one LAN; the address that works is the last of each, and there is no path."""
    lan = Lan(2, server=SERVER_SIDE)
    for net, (node, count, limit) in enumerate(zip(lan.nodes, counts, limits, strict=True)):
        config = node.endpoint._state.config
        node.endpoint.reload(config.with_options(ice={"max_candidates": limit}))
        node.endpoint.traversal.offers.hosts = (*elsewhere(count - 1, net), node.address)
    return lan


def search(node: Host, other: Host) -> Attempt:
    attempt = node.endpoint.traversal.offers.get(other.id)
    assert attempt is not None
    return attempt


@pytest.mark.parametrize(
    ("count", "limit"), [*product([40], [8, 10, 15, 16, 32, 64]), (12, 1), (15, 15), (16, 16)]
)
def test_all_are_told_and_tried_before_the_search_is_over(count: int, limit: int) -> None:
    lan = pair_with((count, count), (limit, limit))
    one, other = lan.nodes
    lan.world.network.partition(one.address[0], other.address[0])

    lan.connect_all()
    lan.world.run_for(25)

    for here, there in ((one, other), (other, one)):
        attempt = search(here, there)
        all_of_it = set(there.endpoint.traversal.offers.hosts)
        assert all_of_it <= attempt.claimed_since.keys()
        assert all_of_it <= attempt.tried.keys()


@pytest.mark.parametrize("limits", [(8, 8), (32, 32), (64, 64), (10, 64), (64, 10)])
def test_the_last_of_forty_addresses_is_the_path(limits: tuple[int, int]) -> None:
    lan = pair_with((40, 40), limits)

    lan.connect_all()
    lan.world.run_until(lambda: lan.direct_pairs() == 1, 10)


def test_who_leads_goes_on_for_what_the_other_side_has_and_did_not_tell() -> None:
    for limits in ((10, 10), (10, 64), (5, 10)):
        for counts in ((1, 40), (40, 1)):
            lan = pair_with(counts, limits)
            one, other = lan.nodes
            lan.world.network.partition(one.address[0], other.address[0])
            lan.connect_all()
            lan.world.run_for(25)

            leader = one if search(one, other).controlling else other
            follower = other if leader is one else one
            theirs = set(follower.endpoint.traversal.offers.hosts)
            assert theirs <= search(leader, follower).tried.keys(), (counts, limits)


def test_few_addresses_cost_no_further_rounds() -> None:
    lan = pair_with((3, 3), (10, 10))
    one, other = lan.nodes
    lan.world.network.partition(one.address[0], other.address[0])
    lan.connect_all()
    lan.world.run_for(25)

    assert search(one, other).offer.round == 1


@pytest.mark.parametrize("limit", [1, 8, 15, 16, 32, 64, 1000])
def test_what_an_offer_tells_is_what_is_counted(limit: int) -> None:
    hosts = elsewhere(40, 0)
    each = told_at_once(limit)
    rounds = -(-len(hosts) // each)
    told = set()
    for number in range(rounds):
        own = [
            text for kind, text in offered(hosts, [OBSERVED], [], limit, number) if kind == "host"
        ]
        assert len(own) == each <= MAX_OWN
        told.update(own)

    assert told == set(map(format_address, hosts))


def test_what_no_round_tried_yet_is_tried_first() -> None:
    told = [("host", format_address(host)) for host in elsewhere(15, 0)]
    told += [("host", f"[2a01::{number}]:1") for number in range(1, 6)]
    tried: set[Address] = set()
    for number in (0, 3, 6):  # whichever rounds these are
        offer = TraversalOffer("abcdefgh", "p" * 20, told, round=number)
        for one in believed(offer, OBSERVED, 10, tried=tried):
            assert len(one.remotes) <= (MAX_CLAIMED if one.kind is Kind.CLAIMED else 10)
            tried.update(one.remotes)

    assert len(tried) == 15 + 5 + 1


def test_of_an_ip_version_that_is_out_of_reach_nothing_is_tried() -> None:
    told = [("host", "[fd00::1]:1"), ("host", "[2a01::1]:1"), ("host", "10.0.0.1:1")]
    offer = TraversalOffer("abcdefgh", "p" * 20, told)
    tried = {one.kind: one.remotes for one in believed(offer, OBSERVED, 1, versions=(4,))}

    assert tried[Kind.HOST] == (("10.0.0.1", 1),)
    assert tried[Kind.CLAIMED] == ()
