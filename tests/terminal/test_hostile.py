"""Whatever a peer sends, in whatever place: nothing of it is obeyed by the terminal or the app."""

import json
import re
import uuid
from typing import Any

from p2ptui.config import Config
from p2ptui.io.udp import UdpSocket, open_udp
from p2ptui.node import Node
from p2ptui.wire.address import Address, parse_address
from tests.terminal.terminal import Terminal

NAME = "\x1b]0;owned\x07[/x][@click=app.exit]\u202eevil\x9b7m"
TEXT = (
    "\x1b]0;owned\x07 \x1b]52;c;b3duZWQ=\x07 \x1b[38;5;199m \x1b[6n \x1bP+q\x1b\\ \x9b38;5;198m "
    "[/x] [@click=app.exit]leave[/] [link=http://owned]x[/link] "
    "\u202egnp.exe \u2066 \u200b \x00 \x07 \x08 \r\n\t \x7f owned"
)

FORBIDDEN = (
    *(b"\x1b]0;", b"\x1b]52;", b"\x1b[38;5;199m", b"\x1b[6n", b"\x1bP", b"\x1b]8;", b"\x9b"),
    *("\x9b\u202e\u2066\u200b"[index].encode() for index in range(4)),
)

_OWN = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes
    rb"|\x1b\]22;[a-z-]*\x07"  # the shape of the mouse pointer
)


def not_the_screens_own(raw: bytes) -> bytes:
    """Control characters that are no part of the sequences that a Textual program writes."""
    return re.sub(rb"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", b"", _OWN.sub(b"", raw))


class HostilePeer:
    """A node that also sends datagrams made by hand, from the same address."""

    def __init__(self) -> None:
        options = Config().with_options(address="127.0.0.1:0", enable_discovery=False, name=NAME)
        self.node = Node(options, open_socket=self._open)
        self._socket: UdpSocket | None = None

    async def _open(self, address: Address) -> UdpSocket:
        self._socket = await open_udp(address)
        return self._socket

    def send(self, message: dict[str, Any], to: Address, *, escaped: bool = True) -> None:
        """Send a message; unescaped, the control characters stand in the JSON as they are."""
        message = {"id": str(uuid.uuid4()), "timestamp": 1, **message}
        text = json.dumps(message, ensure_ascii=escaped)
        if not escaped:
            text = text.replace("\\u001b", "\x1b").replace("\\u0007", "\x07")
        assert self._socket is not None
        self._socket.send(text.encode(), to)


async def test_nothing_that_a_peer_sends_is_obeyed(terminal: Terminal) -> None:
    screen = terminal.open("victim")
    victim = parse_address(await screen.address())
    hostile = HostilePeer()
    async with hostile.node as node:
        peer = await node.connect(victim)
        await screen.shows(r"● \\x1b\]0;owned")
        await node.send(peer, TEXT)
        await node.send(peer, {TEXT: [TEXT]})
        for kind, payload in (
            ("Error", {"error": TEXT, "code": TEXT, "target": TEXT}),
            (TEXT[:60], {"x": TEXT}),
            ("Data", TEXT),
        ):
            for escaped in (True, False):
                hostile.send({"message_type": kind, "payload": payload}, victim, escaped=escaped)
        # In every pane: the row, and all there is of it.
        await screen.shows(r"\\x1b\]0;owned")
        for key in ("F2", "F3"):
            screen.press(key)
            await screen.shows("⏎ Open")
            for _ in range(8):
                screen.press("Enter")
                await screen.shows("Escape back")
                screen.press("Escape")
                await screen.hides("Escape back")
                screen.press("Up")
        for key in ("F4", "F5"):
            screen.press(key)
        # Keys act one after the other, but a key that moves the focus takes its time.
        screen.press("F2")
        await screen.shows("⏎ Open")
        screen.press(":")
        await screen.hides("⏎ Open")
        screen.type("filter owned")
        screen.resize(80, 24)
        screen.type("ping")
        await screen.shows("answered")
        screen.resize(200, 60)
        await node.disconnect(peer, TEXT)
        await screen.hides("● ")
        screen.press("F3")
        await screen.shows("⏎ Open")
        screen.press("End")
        await screen.shows(r"disconnected.*\\x1b\]0;owned")
    assert screen.running
    screen.press("C-q")
    assert await screen.exit_code() == 0
    await screen.is_restored()
    raw = screen.raw
    assert b"\\x1b]0;owned" in raw
    assert b"[@click=app.exit]" in raw
    assert [sequence for sequence in FORBIDDEN if _holds(raw, sequence)] == []
    assert not_the_screens_own(raw) == b""


def _holds(raw: bytes, sequence: bytes) -> bool:
    if sequence == b"\x9b":
        # As a byte of its own; it is also the second or third of many characters in UTF-8.
        return "\ufffd" in raw.decode("utf-8", "replace")
    return sequence in raw
