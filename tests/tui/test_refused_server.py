"""A joined server that is turned away for who it is stays on the screen, with the reason."""

from pathlib import Path

import pytest

from p2ptui.core.events import PeerStatus
from p2ptui.node import Node
from p2ptui.node.roster import RANKS
from p2ptui.secure.known_nodes import Trust
from tests.tui.stage import Stage, play

SERVER = "10.0.1.2:8080"
OTHER_ID = "0b0b0b0b-0000-4000-8000-000000000001"


async def downgraded(stage: Stage, folder: Path, size=(80, 24)) -> tuple[str, Node]:
    """Alice keeps bob joined, who comes back without keys: the id that he had."""
    identity = {"identity": str(folder / "bob.key")}
    bob = await stage.node("bob", "10.0.1.2", security=identity)
    bob_id = bob.id
    app = await stage.open(size, join=[SERVER])
    await stage.wait(2)
    assert app.roster.connected == 1
    await bob.close()
    stand_in = await stage.node("bob", "10.0.1.2", secured=False)
    await stage.wait(20)
    return bob_id, stand_in


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_it_keeps_its_row_and_the_title_counts_it(size, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        bob_id, _ = await downgraded(stage, tmp_path, size)
        app = stage.app
        assert app.roster.connected == 0
        assert len(app.roster) == len(app.roster.order()) == 1
        (row,) = [line for line in stage.lines() if SERVER in line and "changed" in line]
        assert "✗" in row
        assert "! bob" in row
        assert "! 1 changed" in stage.lines()[0]
        node = app.roster.find("bob")
        assert (node.node_id, node.status) == (bob_id, PeerStatus.FAILED)
        assert node == app.roster.look(app.roster.order()[0])
        for by in RANKS:
            assert len(app.roster.order(by, descending=True)) == 1
        await stage.type("peers trust:changed")
        assert app.peers.list.row_count == 1
        # However often it is asked again, it is one row.
        for _ in range(30):
            await stage.wait(0.7)
            assert app.peers.list.row_count == 1
            assert app.roster.find("bob").status is PeerStatus.FAILED

    play(story)


def test_its_page_has_the_whole_sentence(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        bob_id, _ = await downgraded(stage, tmp_path)
        await stage.pilot.press("f2", "enter")
        await stage.wait(2)
        page = " ".join(stage.text().replace("│", " ").split())
        advice = stage.app.roster.find("bob").advice
        assert page.count("changed:") == 1
        assert " ".join(advice.replace("p2ptui ", "").split()) in page
        assert f"forget {bob_id}" in page
        assert "there is no session with it" in page
        assert "state ✗ refused" in page
        assert "path MTU" not in page

    play(story)


@pytest.mark.parametrize(
    "line", ["ping .", "send . hello", "punch .", "connect bob", "disconnect bob"]
)
def test_what_needs_a_session_says_that_there_is_none(line: str, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        bob_id, _ = await downgraded(stage, tmp_path)
        said = await stage.type(line)
        assert stage.app.bar._failed
        assert said.startswith("bob is refused: ")
        assert said.endswith(f"forget {bob_id}")

    play(story)


def test_forgotten_it_is_let_in(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await downgraded(stage, tmp_path)
        assert "is forgotten" in await stage.type("forget .")
        await stage.wait(1)
        assert "changed" not in stage.lines()[0]
        await stage.wait(70)
        assert stage.app.roster.connected == 1
        assert stage.app.roster.find("bob").trust is Trust.OPEN
        assert stage.app.roster.changed == 0
        assert len(stage.app.roster.order()) == 1

    play(story)


def test_with_its_keys_it_is_itself_again(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        bob_id, stand_in = await downgraded(stage, tmp_path)
        await stand_in.close()
        await stage.node("bob", "10.0.1.2", security={"identity": str(tmp_path / "bob.key")})
        await stage.wait(70)
        assert stage.app.roster.changed == 0
        node = stage.app.roster.find("bob")
        assert (node.node_id, node.trust) == (bob_id, Trust.KNOWN)
        assert len(stage.app.roster.order()) == 1

    play(story)


def test_one_that_is_not_the_one_that_must_be_there_is_shown_as_well() -> None:
    async def story(stage: Stage) -> None:
        bob = await stage.node("bob", "10.0.1.2")
        app = await stage.open((120, 40), join=[f"{SERVER}#{OTHER_ID}"])
        await stage.wait(5)
        assert "! 1 changed" in stage.lines()[0]
        node = app.roster.find(SERVER)
        assert node.node_id == OTHER_ID
        assert bob.id in node.advice

    play(story)


def test_who_is_not_kept_joined_has_no_row(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        bob = await stage.node("bob", "10.0.1.2", security={"identity": str(tmp_path / "b.key")})
        app = await stage.open((120, 40))
        await stage.type(f"connect {SERVER}")
        await bob.close()
        await stage.node("bob", "10.0.1.2", secured=False)
        await stage.wait(2)
        assert "answers without" in await stage.type(f"connect {SERVER}")
        await stage.wait(2)
        assert app.roster.changed == 0
        assert not app.roster.order()

    play(story)
