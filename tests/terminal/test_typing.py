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
