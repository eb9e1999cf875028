"""A caller's mistake is named where it was made."""

import math
from enum import IntEnum, StrEnum
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.errors import LocalError
from p2ptui.node.arguments import (
    read_address,
    read_hops,
    read_node_id,
    read_seconds,
    require_pair,
    single_host,
)
from p2ptui.wire.joined import parse_joined


@pytest.mark.parametrize("value", [0.001, 1, 1e7])
def test_a_time(value):
    assert read_seconds(value) == value


@pytest.mark.parametrize(
    "value",
    [0, -0.0, -1, math.nan, math.inf, 1e8, 10**400, True, "1", None, Fraction(3, 2)],
)
def test_no_time(value):
    with pytest.raises(LocalError, match=r"timeout_s = .*: must be a number of seconds, int or"):
        read_seconds(value)


class Named(IntEnum):
    PORT = 80


class Host(StrEnum):
    HERE = "192.0.2.1"


@pytest.mark.parametrize("value", [1, 255, Named.PORT])
def test_hops(value):
    assert read_hops(value) == value
    assert type(read_hops(value)) is int


@pytest.mark.parametrize("value", [0, -1, 256, 1.5, True, "3", None, 10**400])
def test_no_hops(value):
    with pytest.raises(LocalError, match=r"must be a whole number, 1 to 255"):
        read_hops(value)


def test_what_cannot_be_shown_is_refused_all_the_same():
    for read in (read_seconds, read_hops, read_node_id, read_address):
        with pytest.raises(LocalError, match="of a kind that cannot be shown"):
            read(10**5000)


def test_a_node_id_in_any_of_its_forms():
    node_id = "0123abcd-0000-4000-8000-000000000001"
    for text in (node_id, node_id.upper(), node_id.replace("-", "")):
        assert read_node_id(text) == node_id


@given(st.text(max_size=100))
def test_an_error_is_one_line_whatever_was_passed(text):
    said = ""
    for read in (read_address, read_node_id):
        try:
            read(text)
        except LocalError as error:
            said += str(error)
    assert said.isprintable()


@pytest.mark.parametrize(
    "target",
    [
        None,
        5,
        b"h:1",
        (),
        ("h",),
        ("h", "80"),
        ("h", 80, 0),
        ["h", 80],
        ("\x1b", None),
        ("h", True),
    ],
)
def test_what_is_no_address_at_all_is_shown(target):
    for read in (read_address, require_pair):
        with pytest.raises(LocalError, match="is no address: give a host and a port") as refused:
            read(target)
        assert str(refused.value).isprintable()
    with pytest.raises(LocalError, match="is not a node id"):
        read_node_id(target)


def test_the_node_that_an_address_names_is_not_lost():
    pinned = parse_joined("192.0.2.1:80#0123abcd-0000-4000-8000-000000000001")
    assert read_address(pinned) is require_pair(pinned) is pinned


def test_a_member_of_an_enumeration_is_an_address_of_plain_values():
    read = require_pair((Host.HERE, Named.PORT))
    assert read == read_address((Host.HERE, Named.PORT)) == ("192.0.2.1", 80)
    assert list(map(type, read)) == [str, int]


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        (("::1", 80, 0, 0), "('::1', 80)"),
        (("fe80::1", 80, 0, 3), "('fe80::1%3', 80)"),
        (("fe80::1%eth0", 80, 0, 3), "('fe80::1%eth0', 80)"),
    ],
)
def test_of_what_a_socket_of_ipv6_calls_an_address_only_host_and_port_are_taken(given, pair):
    for read in (read_address, require_pair):
        with pytest.raises(LocalError) as refused:
            read(given)
        assert str(refused.value) == (
            f"{given} is no address: give its host and its port only, {pair}"
        )


@pytest.mark.parametrize("address", ["192.0.2.1:80", "[2001:db8::1]:80", "127.0.0.1:80"])
def test_an_address_of_one_host(address):
    assert single_host(read_address(address)) == read_address(address)


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("[0:0:0:0:0:0:0:1]:80", ("::1", 80)),
        ("[2001:DB8::0001]:80", ("2001:db8::1", 80)),
        ("[::ffff:192.0.2.1]:80", ("192.0.2.1", 80)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
    ],
)
def test_an_address_is_written_as_answers_from_there_are(spelling, canonical):
    assert single_host(read_address(spelling)) == canonical


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("0.0.0.0:80", "0.0.0.0:80 stands for every address of a machine"),
        ("[::]:80", r"on this machine \[::1\]:80"),
        ("[::ffff:0.0.0.0]:80", "on this machine 127.0.0.1:80"),
        ("239.1.1.1:80", "is a group"),
        ("[fe80::1]:80", r"needs its interface: write \[fe80::1%eth0\]:80"),
        (("fe80::1", 80), r"needs its interface: write \[fe80::1%eth0\]:80"),
        (("FEBF:0::1", 80), r"needs its interface: write \[febf::1%eth0\]:80"),
        ("[ff02::1]:80", "is a group"),
        ("255.255.255.255:80", "is a group"),
    ],
)
def test_an_address_of_many_hosts(address, says):
    with pytest.raises(LocalError, match=says):
        single_host(read_address(address))
