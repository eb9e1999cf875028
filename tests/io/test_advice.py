"""What the system says becomes one line that a person can act on, wherever it is shown."""

import errno
import os
import re

import pytest

from p2ptui.io import advice
from p2ptui.io.advice import (
    barrier,
    bind_advice,
    program_advice,
    read_advice,
    refusal_words,
    send_advice,
)
from p2ptui.io.bind import bind_error
from p2ptui.io.datagrams import DatagramTooLongError
from p2ptui.io.resolve import sockaddr_of

HERE = ("0.0.0.0", 8080)
THERE = ("192.0.2.1", 9000)

REACHES = [
    *("ENETUNREACH", "EHOSTUNREACH", "EACCES", "EPERM", "EINVAL", "EADDRNOTAVAIL", "EMSGSIZE"),
    *("EMFILE", "ENFILE", "ENOBUFS", "ENETDOWN", "ECONNREFUSED"),
]
"""Errors of sockets that a person meets."""


@pytest.mark.parametrize("name", REACHES)
def test_no_failed_send_is_told_in_the_words_of_the_system(name: str) -> None:
    number = getattr(errno, name)
    told = send_advice(OSError(number, os.strerror(number)), THERE, HERE)
    assert told.said
    assert told.do
    assert os.strerror(number).lower() not in str(told).lower()
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    "name", ["EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EMFILE", "EINVAL", "ENOBUFS"]
)
def test_an_address_that_cannot_be_bound_says_what_to_do(name: str) -> None:
    number = getattr(errno, name)
    told = str(bind_error(HERE, OSError(number, os.strerror(number))))
    assert told.startswith("cannot bind 0.0.0.0:8080: ")
    assert str(bind_advice(OSError(number, ""))) in told
    assert "Invalid argument" not in told


@pytest.mark.parametrize(
    ("local", "destination", "words"),
    [
        (
            ("127.0.0.1", 8080),
            ("192.0.2.1", 80),
            "this node listens on 127.0.0.1:8080, which reaches this machine only;"
            " start the node with --address 0.0.0.0:8080 to reach others",
        ),
        (
            ("::1", 8080),
            ("2001:db8::1", 80),
            "this node listens on [::1]:8080, which reaches this machine only;"
            " start the node with --address '[::]:8080' to reach others",
        ),
        (
            ("0.0.0.0", 8080),
            ("2001:db8::1", 80),
            "an IPv4 socket cannot send to 2001:db8::1;"
            " start the node with --address '[::]:8080' to reach both IPv4 and IPv6",
        ),
        (
            ("2001:db8::9", 8080),
            ("192.0.2.1", 80),
            "an IPv6 socket cannot send to 192.0.2.1;"
            " start the node with --address '[::]:8080' to reach both IPv4 and IPv6",
        ),
    ],
)
def test_what_a_socket_never_reaches_names_the_option(local, destination, words) -> None:
    assert str(barrier(destination, local)) == words
    # And whatever the system calls it.
    for number in (errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        assert str(send_advice(OSError(number, "?"), destination, local)) == words


@pytest.mark.parametrize(
    ("local", "destination"),
    [
        (("127.0.0.1", 1), ("127.0.0.9", 1)),
        (("127.0.0.1", 1), ("::ffff:127.0.0.1", 1)),
        (("::1", 1), ("::1", 1)),
        (("0.0.0.0", 1), ("192.0.2.1", 1)),
        (("::", 1), ("192.0.2.1", 1)),
        (("::", 1), ("fe80::1%eth0", 1)),
        (("fe80::2%eth0", 1), ("fe80::1%eth0", 1)),
        (("127.0.0.1", 1), ("no literal", 1)),
    ],
)
def test_what_it_may_reach_is_tried(local, destination) -> None:
    assert barrier(destination, local) is None


def test_another_address_of_this_machine_is_reached_from_loopback(monkeypatch) -> None:
    monkeypatch.setattr(advice, "local_addresses", lambda: ["192.0.2.77"])
    assert barrier(("192.0.2.77", 1), ("127.0.0.1", 1)) is None


@pytest.mark.parametrize("destination", [("nosuch.example", 1), ("192.0.2.1", 0), ("0.0.0.0", 9)])
def test_what_is_no_address_is_called_so(destination) -> None:
    try:
        sockaddr_of(destination, 2)
        error = OSError(errno.EINVAL, "Invalid argument")
    except OSError as raised:
        error = raised
    assert "that is no address to send to" in str(send_advice(error, destination, HERE))


@pytest.mark.parametrize("host", ["255.255.255.255", "192.0.2.255"])
def test_a_broadcast_address_is_called_so(host) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied")
    told = str(send_advice(denied, (host, 9), HERE))
    assert told == "it is a broadcast address; connect to the address of a single node"


def test_who_refuses_is_named() -> None:
    assert refusal_words(THERE, "192.0.2.1") == (
        "192.0.2.1:9000 refused: nothing listens there; is a node running there?"
    )
    assert refusal_words(THERE, "192.0.2.254") == (
        "192.0.2.1:9000 was refused by 192.0.2.254 on the way;"
        " a firewall there does not let UDP pass"
    )


def test_too_many_open_files_end_the_program_with_advice() -> None:
    assert "ulimit -n" in program_advice(OSError(errno.EMFILE, "Too many open files"))
    full = OSError(errno.ENOSPC, "No space left on device")
    assert program_advice(full) == "the system refused: [Errno 28] No space left on device"


def test_words_of_sockets_come_from_the_one_table() -> None:
    """Of modules that have sockets only the table reads the system's words."""
    root = os.path.join(os.path.dirname(advice.__file__), os.pardir)
    readers = set()
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    text = file.read()
                if "strerror" in text and re.search(r"\bsocket\b|udp|stun", text, re.IGNORECASE):
                    readers.add(name)
    # The resolver has words of its own; the others are about files.
    assert readers <= {"advice.py", "resolve.py", "load.py", "logs.py", "send.py", "file_store.py"}


@pytest.mark.parametrize(
    ("own", "local", "destination", "words"),
    [
        (
            ["127.0.0.1", "::1", "192.0.2.7"],
            ("::", 8080),
            ("2001:db8::1", 80),
            "this machine has no IPv6 address; use an IPv4 address of that host",
        ),
        (
            ["127.0.0.1", "::1", "192.0.2.7", "fe80::7%eth0"],
            ("::", 8080),
            ("2001:db8::1", 80),
            "no IPv6 address of this machine leads there; use an IPv4 address of that host",
        ),
        (
            ["127.0.0.1", "::1"],
            ("0.0.0.0", 8080),
            ("192.0.2.1", 80),
            "this machine has no IPv4 address; check the network connection of this machine",
        ),
        (
            ["127.0.0.1", "::1", "fe80::7%eth0"],
            ("0.0.0.0", 8080),
            ("192.0.2.1", 80),
            "this machine has no IPv4 address; check the network connection of this machine",
        ),
        (
            ["127.0.0.1", "::1", "fe80::7%eth0", "2001:db8::7"],
            ("::", 8080),
            ("192.0.2.1", 80),
            "this machine has no IPv4 address; this network has IPv6 only: write the server's name,"
            " not its IPv4 address",
        ),
        (
            ["127.0.0.1", "::1", "192.0.2.7"],
            ("192.0.2.8", 8080),
            ("192.0.2.1", 80),
            "this machine no longer has the address that the node is bound to;"
            " restart it, with --address 0.0.0.0:PORT for all addresses",
        ),
    ],
)
def test_of_an_address_to_send_from_it_is_said_which_is_missing(
    own, local, destination, words, monkeypatch
) -> None:
    monkeypatch.setattr(advice, "local_addresses", lambda: own)
    error = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    assert str(send_advice(error, destination, local)) == words


def test_a_handshake_that_is_too_long_is_not_blamed_on_an_option() -> None:
    too_long = OSError(errno.EMSGSIZE, "Message too long")

    small = send_advice(DatagramTooLongError(too_long, 605), ("192.0.2.1", 9000), ("0.0.0.0", 1))
    large = send_advice(DatagramTooLongError(too_long, 9000), ("192.0.2.1", 9000), ("0.0.0.0", 1))

    assert str(small) == (
        "the network takes no datagram of 605 bytes; nodes need 720: check the MTU of this"
        " machine's interfaces"
    )
    assert "datagram_budget" in str(large)


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE"])
def test_another_place_is_advised_only_where_another_place_would_help(name: str) -> None:
    lacking = OSError(getattr(errno, name), "Too many open files")
    for told in (bind_advice(lacking, "choose another"), read_advice(lacking, "choose another")):
        assert str(told) == str(bind_advice(lacking))
        assert "ulimit -n" in told.do
    taken = OSError(errno.EADDRINUSE, "taken")
    assert str(bind_advice(taken, "choose another")) == "address already in use; choose another"
    broken = OSError(errno.EIO, "Input/output error")
    assert str(read_advice(broken, "repair it")) == "Input/output error; repair it"
