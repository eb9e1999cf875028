"""What two nodes have in common, as far as it was told."""

from typing import Any

import pytest

from p2ptui.core.traversal.common_ground import (
    depends_on_nats,
    no_common_version,
    shared_network,
    shared_outside,
)
from p2ptui.core.traversal.own_networks import OwnNetworks
from p2ptui.wire.address import Address
from tests.core.traversal.test_findings import CONE, Known
from tests.core.traversal.test_own_networks import machine

IPV6: Address = ("2001:db8::7", 5000)


def attempt(here: Address | None, there: Address | None, **offer: Any) -> Any:
    """A search in which a server sees this side here, and the other there."""
    known: Any = Known(CONE, **offer)
    known.server.public_address, known.observed = here, there
    return known


@pytest.mark.parametrize(
    ("here", "there", "shared"),
    [
        (("198.51.100.1", 1), ("198.51.100.1", 2), "198.51.100.1"),
        (("198.51.100.1", 1), ("198.51.100.2", 1), None),
        (None, ("198.51.100.1", 2), None),
        (("198.51.100.1", 1), None, None),
    ],
)
def test_an_outside_address_is_shared_whatever_the_port(
    here: Address | None, there: Address | None, shared: str | None
) -> None:
    known = attempt(here, there)
    assert shared_outside(known) == shared
    assert depends_on_nats(known, OwnNetworks()) is (shared is None)


def test_inside_one_network_no_nat_matters() -> None:
    known = attempt(None, ("192.168.1.7", 5000))
    own = machine("192.168.1.2")
    assert not depends_on_nats(known, own)
    assert str(shared_network(known, own)) == "192.168.1.0/24"


def test_behind_one_address_an_inside_address_that_was_told_shows_the_network() -> None:
    outside = ("198.51.100.1", 1)
    known = attempt(outside, outside, candidates=[("host", "192.168.1.7:5000")])
    assert str(shared_network(known, machine("192.168.1.2"))) == "192.168.1.0/24"
    assert shared_network(known, machine("192.168.9.2")) is None


def test_two_without_an_ip_version_in_common_are_told_which_would_help() -> None:
    known = attempt(None, IPV6)
    words = no_common_version(known, [("192.168.1.2", 5000)], {4})
    assert words is not None
    assert words.startswith("no IP version in common: here IPv4 only, there IPv6 only")
    assert no_common_version(known, [IPV6], {6}) is None
    told = attempt(None, IPV6, candidates=[("host", "192.168.1.7:5000")])
    assert no_common_version(told, [("192.168.1.2", 5000)], {4}) is None
