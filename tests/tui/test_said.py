"""What the screen says of itself is so."""

import asyncio

import pytest

from p2ptui.cli import COMMANDS
from p2ptui.manual.topics import TOPICS
from p2ptui.nat.behavior import NatType
from p2ptui.tui.app import P2PApp
from p2ptui.tui.help import topic_text
from p2ptui.tui.panes import StatisticsPane
from p2ptui.tui.pasting import MAX_PASTE_CHARACTERS
from p2ptui.tui.peer_detail import node_text
from tests.tui.stage import ALICE, Stage, play
from tests.tui.test_keys import read
from tests.tui.test_properties import flood


def test_what_was_delivered_is_counted_as_it_was_typed():
    async def story(stage: Stage) -> None:
        await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        assert "delivered 14 characters to bob in" in await stage.type("send bob hello over bob")
        assert "delivered 1 character to bob in" in await stage.type("send bob x")
        assert "delivered JSON to bob in" in await stage.type('send bob {"a": 1}')

    play(story)


def test_topics_are_explained_as_in_a_shell():
    async def story(stage: Stage) -> None:
        await stage.open()
        await stage.type("help exit-codes")
        assert "wrong usage" in stage.text()

    play(story)


@pytest.mark.parametrize("name", TOPICS)
@pytest.mark.parametrize("width", [20, 40, 100])
def test_a_topic_fits_the_screen(name, width):
    text = topic_text(name, width).plain
    assert max(map(len, text.splitlines())) <= width
    assert text.split() == TOPICS[name].text.split() or width < 60


def test_the_statistics_do_not_call_delivered_what_came_in():
    async def story(stage: Stage) -> None:
        await stage.open()
        bob = await stage.friend("bob", 2)
        await bob.send(stage.alice.id, "hello")
        await stage.wait()
        picture = StatisticsPane().picture(stage.alice.stats()).plain
        assert "delivered" not in picture
        assert "data in      1\n" in picture

    play(story)


def test_a_diagnosis_that_found_nothing_leaves_what_was_known():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        server = await stage.node("server", "10.0.1.9")
        await stage.alice.connect(server.address)
        app.action_pane("nat")
        await stage.wait()
        assert "local    10.0.0.1:8080" in app.nat.facts.plain
        await stage.type("nat 203.0.113.7:3478")
        await stage.wait(10)
        assert app.nat.report is not None
        assert app.nat.report.nat_type is NatType.UNKNOWN
        assert "local    10.0.0.1:8080" in app.nat.facts.plain
        assert "as told by" in app.nat.facts.plain

    play(story)


def test_who_sees_the_newest_is_not_told_to_go_there():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.pilot.press("f3", "space")
        await flood(stage, 500)
        app.messages.scroll_to(y=3, animate=False, immediate=True)
        await stage.type('filter "n":499')
        await stage.type("filter")
        assert app.messages.is_at_end
        assert "to follow" not in stage.text()
        assert "new, End" not in stage.text()

    play(story)


def test_the_footer_offers_the_keys_of_the_page_that_is_open():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await read(stage, "<f3>")
        assert "Pause" in stage.lines()[-1]
        await read(stage, "<enter>")
        await stage.wait()
        assert len(app.screen_stack) == 2
        for word in ("Open", "Pause", "Filter"):
            assert word not in stage.lines()[-1]
        assert "Back" in stage.lines()[-1]
        await read(stage, "<esc>")
        await stage.wait()
        assert "Pause" in stage.lines()[-1]

    play(story)


def test_a_refused_paste_is_forgotten_once_one_is_taken():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.wait()
        app.bar.input.paste("x" * (MAX_PASTE_CHARACTERS + 1))
        assert "not pasted" in app.bar.said
        app.bar.input.paste("hello")
        assert app.bar.said == ""
        await stage.type("nonsense")
        app.bar.input.paste("hello")
        assert "unknown command" in app.bar.said

    play(story)


def test_who_cancels_a_message_is_told_that_it_may_arrive():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        stage.network.partition("10.0.1.2", "10.0.0.1")
        app.bar.type("send bob hello")
        await read(stage, "<enter>")
        await read(stage, "<esc>")
        await stage.wait()
        text = "cancelled; what was sent before may arrive all the same"
        assert app.bar.said == text
        assert f"send bob hello: {text}" in [record.text for record in app.messages.shown()]

    play(story)


def test_who_tells_of_a_node_is_named():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        hub = await stage.node("hub2", "10.0.1.9")
        behind = await stage.node("behind", "10.0.1.10")
        await behind.connect(hub.address)
        await stage.alice.connect(hub.address)
        await stage.alice.discover()
        await stage.wait(2)
        node = app.roster.find("behind")
        assert f"hub2  {hub.id}" in node_text(node).plain

    play(story)


def test_the_log_begins_with_where_the_node_listens():
    async def story(stage: Stage) -> None:
        app = P2PApp(await stage.node("alice", ALICE[0]), None, stage.wall)
        app.note("joined hub")  # before there was a screen to show it
        async with app.run_test():
            await asyncio.sleep(1)
            shown = [record.text for record in app.messages.shown()]
        assert "listens on" in shown[0]
        assert "joined hub" in shown

    play(story)


def test_the_shell_does_not_promise_what_only_the_screen_does():
    assert "fit" not in COMMANDS["peers"]


def test_what_a_filter_shows_is_said_in_plain_words():
    async def story(stage: Stage) -> None:
        await stage.open()
        said = await stage.type("filter abc")
        assert said == "showing messages that match abc; type filter by itself to show all"
        said = await stage.type("log warn")
        assert said.startswith("showing messages of level warn and above that match abc; ")
        said = await stage.type("filter")
        assert said == "all messages are shown"
        await stage.pilot.press("f3", "space")
        await stage.wait()
        assert "paused, End to follow" in stage.text()

    play(story)
