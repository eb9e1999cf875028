"""What is offered of a node, and what is believed of another's offer."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.traversal.candidates import MAX_PREDICTED, believed, offered
from p2ptui.nat.punching import Kind
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.offer import TraversalOffer

OBSERVED: Address = ("198.51.100.7", 4000)


def offer(*candidates: tuple[str, str]) -> TraversalOffer:
    return TraversalOffer("abcdefgh", "p" * 20, list(candidates))


def remotes(*candidates: tuple[str, str], limit: int = 10) -> dict[Kind, tuple[Address, ...]]:
    return {c.kind: c.remotes for c in believed(offer(*candidates), OBSERVED, limit)}


def test_an_offer_names_each_address_once_and_the_best_first() -> None:
    host, outside = ("192.168.1.2", 5000), ("198.51.100.1", 5000)

    assert offered([host, host], [outside], [("198.51.100.1", 5001)]) == [
        ("host", "192.168.1.2:5000"),
        ("srflx", "198.51.100.1:5000"),
        ("predicted", "198.51.100.1:5001"),
    ]


def test_where_the_server_sees_it_is_always_tried() -> None:
    nothing = {Kind.PREDICTED: (), Kind.HOST: (), Kind.CLAIMED: ()}
    assert remotes() == {**nothing, Kind.REFLEXIVE: (OBSERVED,)}


def test_of_global_ipv6_addresses_a_few_are_tried_though_nobody_vouches_for_them() -> None:
    claims = [("host", f"[2a01::{n}]:5000") for n in range(1, 9)]

    found = remotes(*claims)

    assert found[Kind.CLAIMED] == (("2a01::1", 5000), ("2a01::2", 5000))
    assert found[Kind.HOST] == ()


@pytest.mark.parametrize("kind", ["srflx", "predicted"])
def test_as_an_outside_address_a_claimed_one_is_not_believed(kind: str) -> None:
    assert remotes((kind, "[2a01::1]:5000")) == remotes()


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "172.16.0.9", "192.168.0.1", "100.64.3.4", "fd00::5", OBSERVED[0]]
)
def test_hosts_inside_are_believed(host: str) -> None:
    assert remotes(("host", format_address((host, 5000))))[Kind.HOST] == ((host, 5000),)


@pytest.mark.parametrize(
    "text",
    [
        "203.0.113.5:53",
        "127.0.0.1:22",
        "169.254.169.254:80",
        "255.255.255.255:67",
        "240.0.0.1:1",
        "224.0.0.251:5353",
        "0.0.0.0:80",
        "0.1.2.3:80",
        "172.32.0.1:80",
        "[::1]:22",
        "[::ffff:127.0.0.1]:22",
        "[fe80::1]:53",
        "[ff02::1]:53",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]:53",
        "[2002:c000:204::1]:53",
        "[64:ff9b::c000:221]:53",
        "198.51.100.8:4000",
        "",
        "no address",
        "192.168.1.1",
    ],
)
@pytest.mark.parametrize("kind", ["host", "srflx", "predicted"])
def test_what_lies_elsewhere_is_not(kind: str, text: str) -> None:
    assert remotes((kind, text)) == remotes()


@pytest.mark.parametrize("kind", ["srflx", "predicted"])
def test_an_inside_address_is_no_outside_one(kind: str) -> None:
    assert remotes((kind, "192.168.1.2:5000")) == remotes()


def test_unknown_kinds_are_passed_over() -> None:
    assert remotes(("relay", "198.51.100.7:1"), ("", "192.168.1.2:1")) == remotes()


def test_there_are_limits() -> None:
    hosts = [("host", f"192.168.1.{n}:5000") for n in range(1, 100)]
    guesses = [("predicted", f"198.51.100.7:{n}") for n in range(1000, 1200)]

    found = remotes(*hosts, *guesses, limit=3)

    assert len(found[Kind.HOST]) == 3
    assert len(found[Kind.PREDICTED]) == MAX_PREDICTED


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["host", "srflx", "predicted", "x"]),
            st.one_of(
                st.text(max_size=30),
                st.tuples(st.ip_addresses(), st.integers(0, 70_000)).map(
                    lambda a: f"[{a[0]}]:{a[1]}" if a[0].version == 6 else f"{a[0]}:{a[1]}"
                ),
            ),
        ),
        max_size=32,
    )
)
def test_whatever_is_offered_only_the_observed_host_and_inside_ranges_are_sent_to(
    candidates: list[tuple[str, str]],
) -> None:
    for kind, addresses in remotes(*candidates).items():
        for host, port in addresses:
            assert 0 < port < 65536
            if host != OBSERVED[0]:
                ip = ipaddress.ip_address(host)
                assert kind in (Kind.HOST, Kind.CLAIMED)
                assert ip.version == 6 if kind is Kind.CLAIMED else not ip.is_global
                assert not ip.is_loopback
                assert not ip.is_link_local
                assert not ip.is_multicast
