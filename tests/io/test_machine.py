"""This machine's ways and changes, as its system tells them."""

import asyncio
import socket
import struct
import sys

import pytest

from p2ptui.io import machine
from p2ptui.io.machine import RealMachine, StillMachine, Way
from p2ptui.io.netlink import find_route, open_changes, read_changes

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")
FOREIGN = "203.0.113.77"


def test_loopback_is_reached_from_itself() -> None:
    way = RealMachine().way_to("127.0.0.1", "0.0.0.0")
    assert way is not None
    assert way.source == "127.0.0.1"
    assert way == RealMachine().way_to("127.0.0.1", "0.0.0.0")


def test_a_socket_at_an_address_that_is_not_here_reaches_nobody() -> None:
    assert RealMachine().way_to("127.0.0.1", FOREIGN) is None
    bound = RealMachine().way_to("127.0.0.1", "127.0.0.1")
    assert bound is not None
    assert bound.source == "127.0.0.1"


def test_a_system_without_netlink_tells_the_address_only(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(machine, "find_route", refuse)
    assert RealMachine().way_to("127.0.0.1", "0.0.0.0") == Way("127.0.0.1")


def test_a_machine_that_is_awake_does_not_sleep() -> None:
    one = RealMachine()
    assert abs(one.asleep_s() - one.asleep_s()) < 0.5


def test_one_that_never_moves() -> None:
    still = StillMachine()
    assert still.way_to("192.0.2.1", "10.0.0.2") == still.way_to("192.0.2.1", "10.0.0.2")
    assert still.asleep_s() == 0.0
    stop = still.watch(lambda _: None)
    assert stop is not None
    stop()


@on_linux
def test_watching_ends_as_it_began() -> None:
    async def story() -> None:
        stop = RealMachine().watch(lambda _: None)
        assert stop is not None
        await asyncio.sleep(0)
        stop()

    asyncio.run(story())


@on_linux
def test_the_route_to_loopback_has_an_interface_and_no_router() -> None:
    route = find_route("127.0.0.1")
    assert route is not None
    assert route.interface == socket.if_nametoindex("lo")
    assert route.gateway == ""
    assert find_route("::1") is None or find_route("::1").gateway == ""  # type: ignore[union-attr]


@on_linux
def test_a_name_is_no_destination() -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        find_route("localhost")


class Told:
    """A netlink socket that has something to say."""

    def __init__(self, *datagrams: bytes | OSError) -> None:
        self._datagrams = list(datagrams)

    def recv(self, _size: int) -> bytes:
        if not self._datagrams:
            raise BlockingIOError
        told = self._datagrams.pop(0)
        if isinstance(told, OSError):
            raise told
        return told


def link(kind: int, index: int, flags: int) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_links_that_have_a_carrier_and_those_that_have_none() -> None:
    told = Told(link(16, 3, 0x10000) + link(16, 4, 0x1), link(17, 5, 0x10000))
    assert read_changes(told) == {3: True, 4: False, 5: False}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0" * 16,
        b"\xff" * 40,
        link(16, 3, 1)[:20],
        struct.pack("=IHHII", 3, 16, 0, 0, 0),
    ],
    ids=range(6),
)
def test_what_makes_no_sense_says_nothing(data: bytes) -> None:
    assert read_changes(Told(data)) == {}  # type: ignore[arg-type]


def test_more_than_it_could_hold_is_a_change_like_any_other() -> None:
    assert read_changes(Told(OSError(105, "no buffer space"))) == {}  # type: ignore[arg-type]


@on_linux
def test_there_is_a_socket_for_changes() -> None:
    with open_changes() as changes:
        assert isinstance(read_changes(changes), dict)
