"""A machine that says that nothing listens at a port: over loopback, which says it of itself."""

import asyncio
import socket

import pytest

from p2ptui.io import refusal
from p2ptui.io.refusal import find_refusal


def socket_on(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.bind((host, 0))
    except OSError:
        sock.close()
        pytest.skip(f"this machine has no {host}")
    return sock


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_machine_itself_refuses(host: str) -> None:
    with socket_on(host) as sock:
        port = sock.getsockname()[1]
    assert asyncio.run(find_refusal((host, port))) == host


def test_who_listens_in_silence_does_not_refuse() -> None:
    with socket_on("127.0.0.1") as sock:
        assert asyncio.run(find_refusal(("127.0.0.1", sock.getsockname()[1]))) is None


def test_where_nothing_can_be_sent_nobody_refuses() -> None:
    assert asyncio.run(find_refusal(("no address", 3478))) is None


def test_nothing_is_sent_once_nobody_waits_for_it() -> None:
    with socket_on("127.0.0.1") as sock:
        sock.settimeout(0.1)
        address = ("127.0.0.1", sock.getsockname()[1])
        assert asyncio.run(find_refusal(address, lambda: True)) is None
        with pytest.raises(TimeoutError):
            sock.recv(1)


@pytest.mark.parametrize("winerror", [10054, 1234])
def test_windows_has_other_words_for_it(winerror: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """WSAECONNRESET from the socket itself, ERROR_PORT_UNREACHABLE by way of the proactor loop."""

    async def story() -> str | None:
        loop = asyncio.get_running_loop()

        async def told(*_: object) -> bytes:
            error = ConnectionResetError(10054, "reset") if winerror == 10054 else OSError(22, "")
            error.winerror = winerror  # type: ignore[attr-defined, unused-ignore]
            raise error

        monkeypatch.setattr(loop, "sock_recv", told)
        monkeypatch.setattr(refusal, "_reported", lambda *_: ())
        return await find_refusal(("127.0.0.1", 9))

    assert asyncio.run(story()) == "127.0.0.1"
