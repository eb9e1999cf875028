"""What must not be overlooked is seen on every tab, and is in nobody's way."""

from pathlib import Path

import pytest

from tests.tui.stage import Stage, play
from tests.tui.test_trust_seen import lasting

LONG = "alice-of-the-long-name-that-takes-the-line"


def style_at(stage: Stage, words: str):
    """How the title draws these words."""
    text = stage.app._title_text
    start = text.plain.index(words)
    return " ".join(str(span.style) for span in text.spans if span.start <= start < span.end)


@pytest.mark.parametrize("name", ["alice", LONG])
@pytest.mark.parametrize("size", [(20, 24), (40, 20), (80, 24), (120, 40), (200, 60)])
def test_the_title_says_that_keys_are_written_to_a_file(name: str, size, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.alice_name = name
        await stage.open(size, key_log=tmp_path / "keys.log")
        await stage.wait()
        assert "! key log" in stage.lines()[0]
        assert "reverse" in style_at(stage, "! key log")
        assert name[:4] in stage.lines()[0]
        for tab in ("f2", "f3", "f4"):
            await stage.pilot.press(tab)
            await stage.wait()
            assert "! key log" in stage.lines()[0]

    play(story)


def test_beside_it_stands_that_somebody_changed(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.alice_name = LONG
        await stage.open((40, 24), key_log=tmp_path / "keys.log")
        bob = await lasting(stage, tmp_path, "bob", 2)
        await bob.close()
        await stage.wait()
        await lasting(stage, tmp_path, "bob", 3, key="impostor")
        await stage.wait(2)
        assert "! key log  ! 1 changed" in stage.lines()[0]
        assert "alice" in stage.lines()[0]

    play(story)


def test_without_a_key_log_nothing_is_said_of_one() -> None:
    async def story(stage: Stage) -> None:
        await stage.open((200, 60))
        await stage.wait()
        assert "key log" not in stage.lines()[0]

    play(story)
