"""Small things that one stumbles over: completion, low terminals, who may read the history."""

import stat
from dataclasses import replace

from p2ptui.core.identity import canonical_id
from p2ptui.tui.completion import completions
from p2ptui.tui.history import History
from tests.tui.stage import Stage, play


def test_names_are_offered_before_ids_and_within_a_filter_too():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for number, name in enumerate(("zoe", "bob", "two words"), 2):
            await stage.friend(name, number)
        await stage.wait()

        def offers(line: str) -> list[str]:
            return [offer.removeprefix(line) for offer in completions(line, app._words_of)]

        for verb in ("ping ", "connect ", "disconnect "):
            words = offers(verb)
            ids = [canonical_id(word) is not None for word in words]
            assert ids == sorted(ids), verb
            assert [word for word, is_id in zip(words, ids, strict=True) if not is_id] == [
                '"two words"',
                "bob",
                "zoe",
            ]
        assert offers("filter peer:b")[0] == "ob"
        assert offers("filter x !peer:z")[0] == "oe"
        assert not [word for word in offers("filter peer:") if " " in word]
        assert offers("filter type:Da") == ["ta"]
        assert offers("filter !type:Da") == ["ta"]
        assert offers("filter !le")[0].startswith("vel:")

    play(story)


def test_in_a_low_terminal_the_chosen_pane_has_rows():
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 12))
        await stage.friend("bob", 2)
        for height in (12, 15, 16, 21, 22, 40):
            await stage.pilot.resize_terminal(120, height)
            await stage.wait(1)
            assert app.peers.list.scrollable_content_region.height > 0, height
            assert any("● bob" in line for line in stage.lines()), height
            await stage.pilot.press("f3")
            await stage.wait(1)
            assert app.messages.scrollable_content_region.height > 2, height
            await stage.pilot.press("f2")

    play(story)


def test_totals_are_not_wrapped():
    async def story(stage: Stage) -> None:
        app = await stage.open((100, 31))
        stats = replace(stage.alice.stats(), messages_in=3_252_111, messages_out=3_445_111)
        await stage.wait()
        room = app.statistics.scrollable_content_region.width
        lines = app.statistics.picture(stats).plain.split("\n")
        assert max(map(len, lines)) <= room
        assert any(line.split() == ["messages", "out", "3445111"] for line in lines)

    play(story)


def test_the_history_is_its_users_alone(tmp_path):
    path = tmp_path / "state" / "history"
    path.parent.mkdir()
    path.write_text("old\n")
    path.chmod(0o644)
    (tmp_path / "state" / "history.new").write_text("left behind")
    History(path).add("send bob a secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "old\nsend bob a secret\n"
