"""What a literal address says of where it is."""

import ipaddress

import pytest

from p2ptui.wire.address import SOMEWHERE, ip_version, is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::1%lo", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_loopback_is_known_with_any_scope(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_addresses_of_nobody_are_for_documentation() -> None:
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    for (version, host), network in zip(SOMEWHERE.items(), networks, strict=True):
        assert ip_version(host) == version
        assert ipaddress.ip_address(host) in network
