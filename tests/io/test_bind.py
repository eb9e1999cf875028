import errno
import socket
from contextlib import closing

import pytest

from p2ptui.errors import BindError
from p2ptui.io.bind import bind_error, bind_udp

LOOPBACK = ("127.0.0.1", 0)


def test_a_taken_address_says_what_to_do():
    with closing(bind_udp(LOOPBACK)) as first:
        port = first.getsockname()[1]
        with pytest.raises(BindError) as caught:
            bind_udp(("localhost", port))
    assert str(caught.value) == (
        f"cannot bind 127.0.0.1:{port}: address already in use; "
        "choose another address with --address, or port 0 for a free one"
    )


def test_a_foreign_address_says_what_to_do():
    with pytest.raises(BindError, match=r"^cannot bind 203\.0\.113\.9:4000: no interface of"):
        bind_udp(("203.0.113.9", 4000))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "cannot bind [::1]:80: permission denied; ports below 1024 may need an "
            "administrator: choose a higher port with --address",
        ),
        (
            OSError(errno.ENODEV, "No such device"),
            "cannot bind [::1]:80: no such device; choose another address with --address",
        ),
        (
            OSError("odd"),
            "cannot bind [::1]:80: odd; choose another address with --address",
        ),
    ],
)
def test_every_failure_is_one_line_that_says_what_to_do(error, text):
    assert str(bind_error(("::1", 80), error)) == text


def test_a_machine_without_ipv6_says_so(monkeypatch):
    def refuse(family, kind):
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(BindError, match=r"cannot bind \[::1\]:0: this machine has no such"):
        bind_udp(("::1", 0))


@pytest.mark.parametrize("address", [("nosuch.example", 80), ("127.0.0.1", 65536), ("fe80::z", 1)])
def test_what_is_no_local_address_is_refused_without_a_look_up(address):
    with pytest.raises(BindError, match=r"cannot bind .*: the (host|port) must be"):
        bind_udp(address)


@pytest.mark.parametrize("broadcast", [True, False])
def test_broadcast_is_an_option(broadcast):
    with closing(bind_udp(LOOPBACK, broadcast=broadcast)) as sock:
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)) is broadcast


def test_the_kernel_may_give_less_buffer_than_it_is_asked_for():
    with closing(bind_udp(LOOPBACK, receive_buffer_bytes=(1 << 31) - 1)) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 0
    with closing(bind_udp(LOOPBACK, receive_buffer_bytes=100_000)) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 100_000


def test_a_node_never_asks_to_share_its_port():
    with closing(bind_udp(LOOPBACK)) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0


def test_a_system_that_refuses_a_large_buffer_grants_a_smaller_one(monkeypatch):
    """As BSD and macOS do."""
    asked = []

    class Sparing(socket.socket):
        def setsockopt(self, level, option, value):
            if option == socket.SO_RCVBUF:
                asked.append(value)
                if value > 1 << 20:
                    raise OSError(errno.ENOBUFS, "No buffer space available")
            super().setsockopt(level, option, value)

    monkeypatch.setattr(socket, "socket", Sparing)
    with closing(bind_udp(LOOPBACK)):
        assert asked == [4 << 20, 2 << 20, 1 << 20]
