"""Addresses as text: written and read back, and what a peer may not make of them."""

import copy
import ipaddress
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.wire.address import (
    AskedAddress,
    NoInterfaceError,
    format_address,
    like,
    own_host,
    parse_address,
    parse_ip_address,
    parse_target,
    with_port,
)

ips = st.ip_addresses().map(str)
ports = st.integers(0, 65535)


@given(ips, ports)
def test_an_address_is_read_as_it_was_written(host: str, port: int) -> None:
    assert parse_address(format_address((host, port))) == (host, port)


def test_ipv6_is_written_in_brackets() -> None:
    assert format_address(("192.0.2.1", 80)) == "192.0.2.1:80"
    assert format_address(("2001:db8::1", 80)) == "[2001:db8::1]:80"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:0", ("localhost", 0)),
        ("node.example.org:8080", ("node.example.org", 8080)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("[fe80::1%eth0]:8080", ("fe80::1%eth0", 8080)),
        ("host:00080", ("host", 80)),
    ],
)
def test_people_may_write_names_zones_and_port_0(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":80",
        "host",
        "host:",
        "host:http",
        "host:-1",
        "host:+1",
        "host: 1",
        "host:1 ",
        "host:1_0",
        "host:65536",
        "host:٨٠",
        "host:" + "9" * 5000,
        "::1:80",
        "2001:db8::1",
        "[::1]",
        "[::1]80",
        "[::1",
        "[::1]:",
        "[::1]:65536",
        "[192.0.2.1]:80",
        "[host]:80",
        "[]:80",
        "[::1]]:80",
    ],
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        parse_address(text)
    assert parse_ip_address(text) is None


def test_ipv6_without_brackets_is_refused_with_what_would_be_right() -> None:
    with pytest.raises(ValueError, match=r"write IPv6 as \[2001:db8::1\]:80"):
        parse_address("2001:db8::1:80")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://127.0.0.1:8080", "leave out http://, and write 127.0.0.1:8080"),
        ("udp://[::1]:8080/path?query", "leave out udp://, and write [::1]:8080"),
        ("https:///", "leave out https://, and write HOST:PORT"),
    ],
)
def test_of_a_url_it_is_said_which_part_is_the_address(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="is not an address") as refused:
        parse_address(text)
    assert str(refused.value).endswith(says)
    assert parse_ip_address(text) is None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("127.0.0.1", "127.0.0.1:PORT"),
        ("::1", "[::1]:PORT"),
        ("[2001:db8::1]", "[2001:db8::1]:PORT"),
        ("[192.0.2.1]", "192.0.2.1:PORT"),
        ("2001:db8::1:80", "[2001:db8::1:80]:PORT"),
    ],
)
def test_a_literal_without_a_port_is_told_that_the_port_is_missing(text: str, right: str) -> None:
    assert with_port(text) == right
    with pytest.raises(ValueError, match=re.escape(right)):
        parse_address(text)


@pytest.mark.parametrize("text", ["host", "", "127.0.0.1:80", "[::1]:80", "1.2.3", "[host]", "[]"])
def test_anything_else_is_not_taken_for_one(text: str) -> None:
    assert with_port(text) is None


@given(ips, ports.filter(bool))
def test_a_peer_may_write_any_ip_address(host: str, port: int) -> None:
    address = parse_ip_address(format_address((host, port)))
    assert address is not None
    ip = ipaddress.ip_address(host)
    assert ipaddress.ip_address(address[0]) in (ip, getattr(ip, "ipv4_mapped", None))
    assert parse_ip_address(format_address(address)) == address


@pytest.mark.parametrize("text", ["localhost:80", "example.org:80", "192.0.2.1:0", "1:80", "%:80"])
def test_a_peer_may_not_write_a_name_nor_port_0(text: str) -> None:
    assert parse_ip_address(text) is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[2001:DB8:0:0::1]:80", "2001:db8::1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("[::ffff:c000:201]:80", "192.0.2.1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("[fe80::1%\x1b[2J]:80", "fe80::1"),
    ],
)
def test_what_a_peer_wrote_comes_out_as_a_source_would(text: str, host: str) -> None:
    assert parse_ip_address(text) == (host, 80)


@given(st.text())
def test_no_text_of_a_peer_raises(text: str) -> None:
    for attempt in (text, text + ":80", f"[{text}]:80", f"[::1%{text}]:80"):
        address = parse_ip_address(attempt)
        assert address is None or str(ipaddress.ip_address(address[0])) == address[0]


@given(ips, ports, ips)
def test_what_was_asked_makes_no_difference_to_tables(host: str, port: int, own: str) -> None:
    plain, asked = (host, port), AskedAddress((host, port), own)
    assert asked == plain
    assert plain == asked
    assert hash(asked) == hash(plain)
    assert {plain: 1}[asked] == 1
    assert format_address(asked) == format_address(plain)
    assert (own_host(asked), own_host(plain)) == (own, None)
    assert own_host(like(asked, host, 1)) == own
    assert type(like(plain, host, 1)) is tuple
    assert copy.copy(asked) == pickle.loads(pickle.dumps(asked)) == plain
    assert own_host(copy.copy(asked)) == own


@pytest.mark.parametrize("host", ["fe80::1", "febf:ffff::1", "FE80:0:0::1"])
def test_a_link_local_target_needs_its_interface(host: str) -> None:
    """RFC 4007, section 6: on each interface somebody else may have it."""
    with pytest.raises(NoInterfaceError, match=r"needs its interface: write \[fe[^]]*%eth0\]:80 "):
        parse_target(f"[{host}]:80")
    assert parse_target(f"[{host}%eth0]:80") == (f"{host}%eth0", 80)
    assert parse_address(f"[{host}]:80") == (host, 80), "what a peer wrote is read as before"


@pytest.mark.parametrize("text", ["169.254.1.1:80", "[fd00::1]:80", "node.example:80", "[::1]:80"])
def test_other_targets_need_none(text: str) -> None:
    assert parse_target(text) == parse_address(text)
