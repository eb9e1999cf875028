"""What is typed faster than the screen can follow goes where it was meant."""

import pytest

from tests.terminal.terminal import Terminal


@pytest.mark.parametrize("key", ["F2", "F3", "F1"])
async def test_a_command_that_comes_in_one_read_is_all_a_command(
    key: str, terminal: Terminal
) -> None:
    bob = terminal.open("bob")
    screen = terminal.open("alice", ["--join", await bob.address()])
    await screen.shows("1 connected")
    screen.press(key)
    if key == "F1":
        await screen.shows("Keys, and their ids|Commands")
    screen.type(":spymf")
    await screen.shows("unknown command 'spymf'")
    await screen.shows("by name")  # and the table is in the order that it had
    screen.press("C-q")
    assert await screen.exit_code() == 0


HOSTILE = b"see \x1b[31mred\rping 1\rquit\r"


@pytest.mark.parametrize(
    "data",
    [
        HOSTILE,
        HOSTILE.replace(b"\r", b"\n"),
        b"see \x1b[31mred\x1b[201~\rping 1\rquit\r",
        b"see \x1b[31mred\x1b[20\x1b[201~1~\rping 1\rquit\r",
        b"see \x1b[31mred\x1b[201~\x9b\xff\rping 1\x1b[200~\rquit\r",
    ],
)
async def test_a_paste_waits_for_enter(data: bytes, terminal: Terminal) -> None:
    screen = terminal.open("alice")
    await screen.address()
    for keys in ((), ("F2",), ("F3",), ("F1",)):
        screen.press(*keys)
        screen.paste(data)
        await screen.shows(r"see \[31mred.* ping 1.* quit *\n")
        assert screen.running
        screen.press("C-e", "C-u")
        await screen.shows("type a command, or help")
    screen.paste(b"help ping")
    await screen.shows("help ping")
    screen.press("Enter")
    await screen.shows("measure the round trip")
    screen.press("C-q")
    assert await screen.exit_code() == 0


async def test_a_huge_paste_is_refused_and_the_screen_goes_on(terminal: Terminal) -> None:
    screen = terminal.open("alice")
    await screen.address()
    screen.paste(b"quit\r\x1b[201~\r" * 40_000)
    await screen.shows("not pasted: more than 10,000 characters")
    screen.type("xyzzy")
    await screen.shows("unknown command 'xyzzy'")
    screen.press("C-q")
    assert await screen.exit_code() == 0


async def test_editing_keys_that_come_in_one_read_act_in_their_order(terminal: Terminal) -> None:
    screen = terminal.open("alice")
    await screen.address()
    screen.press("F3")
    screen.press(
        *":abc", "BSpace", *"dd", "Left", "BSpace", "C-u", *"xyz", "BSpace", "zzy", "Enter"
    )
    await screen.shows("unknown command 'xyzzyd'")
    screen.press("C-q")
    assert await screen.exit_code() == 0


async def test_enter_in_the_palette_takes_what_fits_what_was_typed(terminal: Terminal) -> None:
    bob = terminal.open("bob")
    screen = terminal.open("alice", ["--join", await bob.address()])
    await screen.shows("1 connected")
    screen.press("C-p", *"routes", "Enter")
    await screen.shows("─ Routes ─")
    screen.press("q")
    await screen.hides("─ Routes ─")
    screen.press("C-p", *"stats")
    await screen.shows("show the statistics|statistics")
    screen.press("C-u", *"ping bob", "Enter", *"xyzzy", "Enter")
    await screen.shows("unknown command 'xyzzy'")
    screen.press("C-q")
    assert await screen.exit_code() == 0
