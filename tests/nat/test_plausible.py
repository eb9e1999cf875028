"""Which addresses in an answer are believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.nat.plausible import (
    is_plausible_mapped,
    is_sendable,
    why_not_sendable,
)

SERVER, SERVER_V6 = ("8.8.8.8", 3478), ("2001:4860::1", 3478)
PRIVATE = ("192.168.1.1", 3478)


@pytest.mark.parametrize(
    "address",
    [
        ("9.9.9.9", 0),
        ("0.0.0.0", 5000),
        ("255.255.255.255", 5000),
        ("224.0.0.251", 5353),
        ("127.0.0.1", 5000),
        ("2001:4860::2", 5000),
        ("no address", 5000),
    ],
)
def test_what_nobody_can_have_is_not_believed(address):
    assert not is_plausible_mapped(address, SERVER)
    assert not is_sendable(address, SERVER)


@pytest.mark.parametrize("address", [("::", 5000), ("ff02::1", 5000), ("9.9.9.9", 5000)])
def test_nor_in_ipv6(address):
    assert not is_plausible_mapped(address, SERVER_V6)


def test_a_server_may_see_a_private_address_and_have_none():
    assert is_plausible_mapped(PRIVATE, SERVER)
    assert not is_sendable(PRIVATE, SERVER)
    assert is_sendable(PRIVATE, ("10.0.0.1", 3478))


@pytest.mark.parametrize(
    ("address", "server", "is_allowed"),
    [
        ("9.9.9.9", "8.8.8.8", True),
        ("10.9.8.7", "8.8.8.8", False),
        ("100.64.3.4", "8.8.8.8", False),
        ("169.254.1.1", "8.8.8.8", False),
        ("fd00::7", "2001:4860::1", False),
        ("10.9.8.7", "100.64.0.1", False),
        ("100.64.3.4", "100.64.0.1", True),
        ("100.64.3.4", "10.0.0.1", True),
        ("9.9.9.9", "10.0.0.1", True),
        ("192.168.1.2", "10.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        *(
            (address, "2620:fe::fe", False)
            for address in (
                *("64:ff9b::10.9.8.7", "64:ff9b:1::a00:1", "::10.9.8.7", "::ffff:0:10.0.0.1"),
                *("2002:a09:807::1", "fec0::1", "::ffff:10.9.8.7", "fe80::1"),
            )
        ),
        ("2001:4860::7", "2620:fe::fe", True),
    ],
)
def test_a_server_names_nobody_nearer_than_itself_to_send_to(address, server, is_allowed):
    assert is_sendable((address, 5000), (server, 3478)) is is_allowed


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("10.9.8.7", "in a private network"),
        ("fd00::7", "in a private network"),
        ("100.64.3.4", "in a provider's own network"),
        ("169.254.1.1", "a link-local address"),
        ("127.0.0.1", "on this machine"),
        ("198.18.0.1", "for special use"),
        ("64:ff9b::10.9.8.7", "for special use"),
        ("224.0.0.1", "no address at which"),
        ("nowhere", "no address at which"),
    ],
)
def test_why_an_address_is_not_sent_to(address, says):
    server = ("2620:fe::fe" if ":" in address else "8.8.8.8", 3478)
    assert not is_sendable((address, 5000), server)
    assert says in why_not_sendable((address, 5000), server)


def test_on_loopback_all_is_loopback():
    assert is_plausible_mapped(("127.0.0.1", 5000), ("127.0.0.1", 3478))
    assert is_sendable(("127.0.0.2", 5000), ("127.0.0.1", 3478))


def test_the_scope_of_a_link_local_address_does_not_matter():
    assert is_plausible_mapped(("fe80::1", 5000), ("fe80::2%eth0", 3478))


@given(st.ip_addresses(), st.integers(0, 65_535), st.ip_addresses())
def test_another_address_is_one_that_could_be_seen(ip, port, server):
    address, at = (str(ip), port), (str(server), 3478)
    if is_sendable(address, at):
        assert is_plausible_mapped(address, at)
    if is_plausible_mapped(address, at):
        assert port > 0
        assert ip.version == server.version
