"""The terminal may become any size: the screen goes on."""

import pytest

from tests.terminal.terminal import Terminal


@pytest.mark.parametrize("first", [(120, 40), (40, 10)])
async def test_the_screen_survives_every_size(first: tuple[int, int], terminal: Terminal) -> None:
    screen = terminal.open("alice", size=first)
    await screen.shows("a command, or help")
    for width, height in ((120, 40), (80, 24), (40, 10), (10, 3), (200, 60), (80, 24)):
        screen.resize(width, height)
        if height >= 10:
            # It answers at this size, and the bar has kept the focus.
            screen.type(f"size-{width}")
            await screen.shows(rf"size-{width}")
    assert screen.running
    screen.press("C-q")
    assert await screen.exit_code() == 0
