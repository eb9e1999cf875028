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


# What goes in the open is not answered as if it were sealed.


def test_the_bar_says_what_went_in_the_open(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.open((80, 24))
        await stage.friend("opal", 2, secured=False)
        await lasting(stage, tmp_path, "bob", 3)
        await stage.wait()
        said = await stage.type("send opal my secret")
        assert said.startswith("delivered 9 characters to opal in ")
        assert said.endswith(" ms, in the open")
        assert said in stage.text()
        assert (await stage.type("ping opal 1")).endswith(" ms, in the open")
        assert (await stage.type("broadcast hi")) == "delivered to 2 of 2 peers, to 1 in the open"
        for line in ("send bob my secret", "ping bob 1"):
            assert "open" not in await stage.type(line)

    play(story)


# The alarm is in nobody's way.


async def alarmed(stage: Stage, folder: Path, size: tuple[int, int]) -> None:
    stage.with_toasts = True
    await stage.open(size)
    bob = await lasting(stage, folder, "bob", 2)
    await bob.close()
    await stage.wait()
    await lasting(stage, folder, "bob", 3, key="impostor")


def has_toast(stage: Stage) -> bool:
    return bool(stage.app.screen.query("Toast"))


@pytest.mark.parametrize("size", [(40, 14), (80, 20), (80, 24), (100, 30), (120, 40), (200, 60)])
def test_it_does_not_cover_what_the_bar_answers(size, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await alarmed(stage, tmp_path, size)
        await stage.wait()
        (toast,) = stage.app.screen.query("Toast")
        bar = stage.app.bar
        assert toast.region.height
        assert toast.region.bottom <= bar.region.y
        long = "an answer that goes on and on to the very end of the line " * 4
        bar.answer(long)
        await stage.wait()
        assert has_toast(stage)
        row = stage.lines()[bar.region.y]
        assert row.strip().startswith("an answer that goes on")
        assert len(row.rstrip()) >= size[0] - 2

    play(story)


@pytest.mark.parametrize("key", ["x", "down", "f3", "tab"])
def test_the_next_key_takes_it_away(key: str, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await alarmed(stage, tmp_path, (80, 24))
        await stage.wait()
        assert has_toast(stage)
        await stage.pilot.press(key)
        await stage.wait()
        assert not has_toast(stage)

    play(story)


def test_a_page_that_is_read_is_not_covered(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.with_toasts = True
        app = await stage.open((80, 24))
        bob = await lasting(stage, tmp_path, "bob", 2)
        await bob.close()
        await stage.friend("carol", 4)
        await stage.wait()
        await stage.pilot.press("f2", "enter")
        await stage.wait()
        assert len(app.screen_stack) == 2
        await lasting(stage, tmp_path, "bob", 3, key="impostor")
        await stage.wait(2)
        assert not has_toast(stage)
        await stage.pilot.press("escape")
        await stage.wait(1)
        assert has_toast(stage)
        await stage.pilot.press("enter")
        await stage.wait(1)
        assert len(app.screen_stack) == 2
        assert not has_toast(stage)

    play(story)
