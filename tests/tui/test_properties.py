"""What the screen promises, one test or more for each property."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.traceback import Trace, Traceback
from textual.widgets import Tabs

from p2ptui.config import Config, UiOptions
from p2ptui.core.events import Direction, MessageTraced
from p2ptui.errors import ConfigError, P2PError
from p2ptui.tui import run
from p2ptui.tui.app import P2PApp
from p2ptui.tui.columns import COLUMNS, GLYPHS
from p2ptui.tui.feed import LOG_INTERVAL_S, MANY_PEERS_INTERVAL_S, PEERS_INTERVAL_S
from p2ptui.tui.history import History
from p2ptui.tui.journal import Journal
from p2ptui.tui.keymap import all_bindings, check_keys
from p2ptui.tui.palette import GrammarProvider
from p2ptui.tui.records import RecordLog
from p2ptui.tui.rows import RowView
from p2ptui.tui.settings import Settings
from p2ptui.verbs import VERBS, parse_command
from tests.tui.stage import Stage, play

HOSTILE = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07[/x][@click=app.exit]go[/]\u202e\x9b31m[red]"
SIZES = [(80, 24), (120, 40), (200, 60)]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


async def flood(stage: Stage, count: int, data: bytes | None = None) -> None:
    """Give the screen so many traced messages as the node would."""
    runtime = stage.alice._runtime
    for number in range(count):
        body = data or b'{"n":%d}' % number
        event = MessageTraced(Direction.IN, ("10.0.1.2", 8080), None, "Data", len(body), body)
        for subscription in runtime._subscriptions:
            subscription.put(event)
        if number % 500 == 499:
            stage.app.take_events()
    stage.app.take_events()
    await stage.pilot.pause()


# 1


@pytest.mark.parametrize("size", SIZES)
def test_property_01_hostile_input_is_inert_in_every_pane(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        mallory = await stage.friend(HOSTILE[:60], 2)
        await mallory.send(stage.alice.id, {"text": HOSTILE, HOSTILE: [HOSTILE]})
        await mallory.send(stage.alice.id, HOSTILE)
        seen = []
        for keys in (
            ["f2"],
            ["f2", "enter"],
            ["escape", "f3", "up"],
            ["enter"],
            ["escape", "f4"],
            ["f5"],
            ["f1"],
            ["escape", "ctrl+p", "p", "i", "n", "g"],
        ):
            await stage.pilot.press(*keys)
            await stage.wait()
            seen += stage.lines()
        await stage.pilot.press("escape")
        for line in (
            f"filter {HOSTILE[:20]}",
            f"theme {HOSTILE[:20]}",
            f"ping {HOSTILE[:20]}",
            f"save /nowhere/{HOSTILE[:20]}",
            HOSTILE[:40],
            "routes",
        ):
            await stage.type(line)
            seen += stage.lines()
        everything = "\n".join(seen)
        assert not CONTROL.search(everything)
        assert "[/x]" in everything
        assert r"\x1b]0;owned" in everything
        assert app.is_running
        assert app.return_code is None

    play(story)


def test_property_01_an_error_of_a_peer_is_inert():
    async def story(stage: Stage) -> None:
        await stage.open()
        mallory = await stage.friend("mallory", 2)
        await mallory.disconnect(stage.alice.id, HOSTILE)
        await stage.wait()
        assert not CONTROL.search(stage.text())
        assert "owned" in stage.text()

    play(story)


# 2


def test_property_02_a_reader_keeps_the_same_record_on_top():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await flood(stage, 10_000)
        log = app.messages
        await stage.pilot.press("f3", "pageup", "pageup")
        await stage.wait(0.1)
        top = log.top_record
        # The bar that shows the place moves: there are more records now.
        shown = [line[:80] for line in stage.lines()[18:24]]
        assert not log.following
        await flood(stage, 5_000)
        assert log.top_record is top
        assert [line[:80] for line in stage.lines()[18:24]] == shown
        assert log.unseen == 5_000
        await stage.wait()
        assert "5000 new" in stage.text()
        await stage.pilot.press("end")
        await stage.wait()
        assert log.following
        assert "new" not in stage.text()
        assert log.selected is log.shown()[-1]

    play(story)


def test_property_02_it_holds_still_for_the_wheel_too():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await flood(stage, 500)
        log = app.messages
        log.scroll_relative(y=-30, animate=False, immediate=True)
        top = log.top_record
        await flood(stage, 500)
        assert not log.following
        assert log.top_record is top
        log.scroll_end(animate=False, immediate=True)
        await stage.wait()
        assert log.following

    play(story)


# 3, 4 and 5; their figures are measured by tests/bench


def test_property_03_panes_are_not_drawn_more_often_than_promised(monkeypatch):
    assert LOG_INTERVAL_S >= 0.1
    assert PEERS_INTERVAL_S >= 0.25
    assert MANY_PEERS_INTERVAL_S >= PEERS_INTERVAL_S

    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        takes = {"log": 0, "peers": 0}
        log_take, peers_take = app.messages.take, app.peers.list.take

        def count_log(records):
            takes["log"] += 1
            log_take(records)

        def count_peers(roster):
            takes["peers"] += 1
            peers_take(roster)

        monkeypatch.setattr(app.messages, "take", count_log)
        monkeypatch.setattr(app.peers.list, "take", count_peers)
        for _ in range(1000):
            await bob.send(stage.alice.id, "x", reliable=False)
            await asyncio.sleep(0.002)
        assert takes["log"] <= 21
        assert takes["peers"] <= 9

    play(story)


def test_property_03_news_in_a_pane_lay_nothing_out_anew(monkeypatch):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        layouts = 0
        refresh_layout = app.screen._refresh_layout

        def count(*args, **options):
            nonlocal layouts
            layouts += 1
            refresh_layout(*args, **options)

        monkeypatch.setattr(app.screen, "_refresh_layout", count)
        for _ in range(20):
            await flood(stage, 100)
            await stage.wait(0.1)
        assert layouts <= 2

    play(story)


def test_property_04_a_flood_of_events_is_taken_in_bounded_parts():
    async def story(stage: Stage) -> None:
        app = await stage.open(event_queue_size=5000)
        runtime = stage.alice._runtime
        event = MessageTraced(Direction.IN, ("10.0.1.2", 8080), None, "Data", 2, b"{}")
        for _ in range(8000):
            runtime._subscriptions[0].put(event)
        before = len(app.messages.shown())
        app.take_events()
        assert len(app.messages.shown()) - before <= 1000
        await stage.wait(2)
        assert "3000 events are missing" in app.messages.shown()[-1].summary

    play(story)


def test_property_05_records_and_trends_are_bounded():
    log = RecordLog(max_records=100, max_bytes=100_000)
    journal = Journal(log, lambda _: "bob", lambda: 0.0)
    for number in range(10_000):
        data = b"x" * (number % 5000)
        journal.write(MessageTraced(Direction.IN, ("10.0.0.1", 1), "id", "Data", len(data), data))
        log.trim()
    assert len(log) <= 100
    assert sum(len(record.data) for record in log) <= 100_000

    async def story(stage: Stage) -> None:
        app = await stage.open()
        for number in range(3000):
            app.note(f"note {number}")
        assert len(app._untold) <= 1000

    play(story)


# 6


def test_property_06_what_has_no_screen_does_not_import_textual():
    program = (
        "import sys\n"
        "import p2ptui.cli, p2ptui.headless, p2ptui.commands, p2ptui.verbs\n"
        "p2ptui.cli.main(['--check-config'])\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('textual', 'rich')]\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True)


def test_property_06_the_version_is_told_at_once():
    root = Path(__file__).parents[2]
    took = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "p2ptui", "--version"], cwd=root, check=True, capture_output=True
        )
        after = os.times()
        # Of the processor: how busy the machine is with other things does not count.
        took.append(sum(after[2:4]) - sum(before[2:4]))
    assert min(took) < 0.15


# 7


@pytest.mark.parametrize("size", SIZES)
def test_property_07_nothing_is_clipped(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await stage.friend("bob", 2)
        await stage.wait()
        width, height = size
        region = app.screen.region
        for widget in app.query("#title, .pane, #bar, Footer"):
            if widget.display:
                assert region.contains_region(widget.region), widget
                assert widget.region.height > 0
        narrow = width < 100
        assert app.query_one(Tabs).display == narrow
        assert sum(pane.display for pane in app.query(".pane")) == (1 if narrow else 4)
        assert "bob" in stage.text()
        assert "Quit" in stage.lines()[-1]
        assert len(stage.lines()) == height

    play(story)


def test_property_07_a_tiny_terminal_does_not_crash():
    async def story(stage: Stage) -> None:
        await stage.open((40, 10))
        await stage.friend("bob", 2)
        for key in ("f2", "f3", "f4", "f5", "f1", "escape", "f2", "enter", "escape", "ctrl+p"):
            await stage.pilot.press(key)
            await stage.wait(0.3)
        for size in ((1, 1), (10, 3), (40, 10), (200, 60), (20, 5)):
            await stage.pilot.resize_terminal(*size)
            await stage.wait(0.3)
        assert stage.app.is_running

    play(story)


def test_property_07_a_resize_keeps_focus_and_place():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await flood(stage, 300)
        await stage.pilot.press("f3", *["pageup"] * 3)
        top, selected = app.messages.top_record, app.messages.selected
        for size in ((80, 24), (200, 60), (60, 15), (120, 40)):
            await stage.pilot.resize_terminal(*size)
            await stage.wait(0.3)
            assert app.focused is app.messages
            assert app.messages.display
            assert app.messages.top_record is top
            assert app.messages.selected is selected
            assert not app.messages.following

    play(story)


def test_property_07_the_pane_with_the_focus_stays_when_it_gets_narrow():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.pilot.press("f5")
        await stage.pilot.resize_terminal(80, 24)
        await stage.wait(0.3)
        assert app.statistics.display
        assert app.focused is app.statistics
        await stage.pilot.click("#tab-nat")
        await stage.wait(0.3)
        assert app.nat.display
        assert "finds out what the NAT does" in stage.text()

    play(story)


# 8


def test_property_08_a_filter_works_while_it_is_typed_and_while_paused():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob, carol = await stage.friend("bob", 2), await stage.friend("carol", 3)
        for number in range(5):
            await bob.send(stage.alice.id, f"apple {number}")
            await carol.send(stage.alice.id, f"pear {number}")
        await stage.wait()
        every = app.messages.row_count
        await stage.pilot.press("f3", "space", "slash")
        assert app.focused is app.bar.input
        await stage.pilot.press(*"apple")
        await stage.wait(0.3)
        assert 5 <= app.messages.row_count < every
        assert all("apple" in record.haystack for record in app.messages.shown())
        await stage.pilot.press("escape")
        await stage.wait(0.3)
        assert app.messages.row_count == every
        for expression, fits in (
            ("!apple", lambda r: "apple" not in r.haystack.lower()),
            ("/app.e [12]/", lambda r: re.search("apple [12]", r.haystack)),
            ("!/app.e [12]/", lambda r: not re.search("apple [12]", r.haystack)),
            ("level:info", lambda r: r.level in ("info", "warn", "error")),
            ("peer:bob dir:in type:data", lambda r: (r.peer, r.direction) == ("bob", "in")),
        ):
            await stage.type(f"filter {expression}")
            shown = app.messages.shown()
            assert 0 < len(shown) < every, expression
            assert all(fits(record) for record in shown), expression
            assert f"filter {expression[:20]}" in stage.text()
        await stage.type("filter")
        assert app.messages.row_count >= every

    play(story)


def test_property_08_a_bad_expression_says_so_inline():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.wait(0.3)
        rows = app.messages.row_count
        app.bar.type("filter /(unclosed/")
        await stage.wait(0.3)
        assert "bad regular expression" in app.bar.said
        assert app.messages.row_count == rows
        app.bar.type("filter level:wran")
        await stage.wait(0.3)
        assert "did you mean warn?" in app.bar.said
        app.bar.type("filter /(a+)+$/")
        await stage.wait(0.3)
        assert "could take too long" in app.bar.said

    play(story)


def test_property_08_the_level_and_the_filter_hold_together():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        await bob.send(stage.alice.id, "hello")
        await bob.ping(stage.alice.id)
        await stage.wait()
        assert any(record.kind == "Ping" for record in app.messages.shown())
        await stage.type("log info")
        await stage.type("filter peer:bob")
        shown = app.messages.shown()
        assert shown
        assert all(record.peer == "bob" and record.level != "debug" for record in shown)

    play(story)


# 9


def test_property_09_y_copies_a_record_or_an_address():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        await bob.send(stage.alice.id, {"word": "hello"})
        await stage.wait()
        await stage.pilot.press("f2", "y")
        await stage.wait(0.3)
        assert app.clipboard == "10.0.1.2:8080"
        await stage.type("filter hello dir:in")
        await stage.pilot.press("f3", "y")
        await stage.wait(0.3)
        assert json.loads(app.clipboard)["payload"]["word"] == "hello"
        await stage.pilot.press("enter", "y")
        await stage.wait(0.3)
        assert json.loads(app.clipboard)["payload"]["word"] == "hello"
        await stage.pilot.press("escape", "f4", "y")
        await stage.wait(0.3)
        assert app.clipboard.startswith("local")

    play(story)


def test_property_09_save_writes_json_lines_or_text_and_says_where(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        await bob.send(stage.alice.id, {"word": HOSTILE})
        await stage.wait()
        count = app.messages.row_count
        said = await stage.type(f"save {tmp_path}/log.jsonl")
        assert said == f"saved {count} records as JSON lines to {tmp_path}/log.jsonl"
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert len(records) == count
        (sent, *_) = [r for r in records if r["type"] == "Data" and r["direction"] == "in"]
        assert json.loads(sent["message"])["payload"]["word"] == HOSTILE
        await stage.type(f'save "{tmp_path}/two words.txt"')
        text = (tmp_path / "two words.txt").read_text()
        assert "bob Data" in text
        assert not CONTROL.search(text)
        said = await stage.type(f"save {tmp_path}/log.jsonl")
        assert "exists already" in said
        assert "cannot save" in await stage.type("save /nowhere/at/all.txt")

    play(story)


# 10


def test_property_10_the_bar_has_the_focus_and_nothing_is_destroyed_by_one_key():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        assert app.focused is app.bar.input
        keys = {key for binding in all_bindings() for key in binding.key.split(",")}
        keys |= {*"qdxcnw", "delete", "backspace"}
        for pane, rows in (("f2", app.peers.list), ("f3", app.messages)):
            for key in sorted(keys - {"ctrl+q", "ctrl+p", "f1", "f2", "f3", "f4", "f5"}):
                if app.focused is not rows:
                    await stage.pilot.press(pane)
                await stage.pilot.press(key)
                app.bar.input.value = ""
                while len(app.screen_stack) > 1:
                    app.pop_screen()
        await stage.wait()
        assert app.is_running
        assert stage.alice.roster.connected == 1
        await stage.pilot.press("escape", "f2", "colon")
        assert app.focused is app.bar.input
        app.bar.input.value = ""
        await stage.pilot.press("ctrl+q")
        assert app.return_code == 0

    play(story)


def test_property_10_no_key_is_one_that_terminal_multiplexers_take():
    keys = {key for binding in all_bindings() for key in binding.key.split(",")}
    assert not keys & {"ctrl+s", "ctrl+b", "ctrl+a", "ctrl+j", "ctrl+z", "ctrl+c"}


def test_property_10_history_survives_a_restart(tmp_path):
    path = tmp_path / "state" / "history"

    async def first(stage: Stage) -> None:
        await stage.open(history=History(path))
        await stage.type("stats")
        await stage.type("routes")

    async def second(stage: Stage) -> None:
        app = await stage.open(history=History(path))
        app.bar.input.value = "half"
        await stage.pilot.press("up")
        assert app.bar.input.value == "routes"
        await stage.pilot.press("up", "up", "up")
        assert app.bar.input.value == "stats"
        await stage.pilot.press("down", "down")
        assert app.bar.input.value == "half"

    play(first)
    play(second)


def test_property_10_tab_completes_verbs_peers_and_more():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bobby", 2)
        await stage.friend("two words", 3)
        await stage.wait()
        for typed, completed in (
            ("disc", "disco"),  # disconnect or discover
            ("discon", "disconnect "),
            ("ping bo", "ping bobby"),
            ('send "tw', 'send "two words"'),
            ("log wa", "log warn"),
            ("theme textual-li", "theme textual-light"),
            ("filter peer:x lev", "filter peer:x level:"),
            ("help discov", "help discover"),
        ):
            app.bar.type(typed)
            await stage.pilot.press("tab")
            assert app.bar.input.value.startswith(completed) or app.bar.input.value in completed
        app.bar.type("disco")
        await stage.pilot.press("tab")
        first = app.bar.input.value
        await stage.pilot.press("tab")
        assert app.bar.input.value not in ("disco", first)
        app.bar.input.value = ""
        await stage.pilot.press("tab")
        assert app.focused is not app.bar.input
        await stage.pilot.press("shift+tab")
        assert app.focused is app.bar.input

    play(story)


def test_property_10_mistakes_say_what_would_be_right():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for line, said in (
            ("pign bob", "did you mean ping?"),
            ("connect", "usage: connect ADDR"),
            ("connect nonsense", "no node is called"),
            ("connect 1.2.3.4:notaport", "usage: connect HOST:PORT"),
            ("connect [fe80::1]:80", "needs its interface"),
            ("ping", "nobody is selected"),
            ("ping nobody", "no node is called"),
            ("ping 1 2 3", "usage: ping"),
            ("send", "usage: send"),
            ("log loud", "one of trace, debug"),
            ("theme textual-drak", "did you mean textual-dark?"),
            ("punch", "nobody is selected"),
            ("broadcast hi", "connect to one first"),
            ("discover", "connect to a node first"),
            ("help pign", "did you mean ping?"),
            ('disconnect "bob', "quotation mark"),
        ):
            assert said in await stage.type(line), line
        assert app.is_running
        assert isinstance(parse_command("nat").verb.name, str)

    play(story)


def test_property_10_the_commands_do_what_they_say():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        server = await stage.node("server", "10.0.0.9")
        zoe = await stage.node("zoe", "10.0.0.8")
        await zoe.connect("10.0.0.9:8080")
        assert "connected to server" in await stage.type("connect 10.0.0.9:8080")
        assert "p2ptui --join 10.0.0.9:8080" in stage.text()
        assert "4 of 4 answered" in await stage.type("ping server")
        assert "2 of 2 answered" in await stage.type(f"ping {server.id[:6]} -n 2")
        assert "p2ptui ping 10.0.0.9:8080 -n 2" in stage.text()
        assert "delivered" in await stage.type('send server {"a": 1}')
        assert "delivered" in await stage.type("send . hello you there")
        assert "delivered to 1 of 1" in await stage.type("broadcast hi")
        assert "asked all peers" in await stage.type("discover")
        await stage.wait(3)
        await stage.type("peers")
        assert "relay" in stage.text() or zoe.id[:8] in stage.text()
        assert "of 1 answered" in await stage.type(f"ping {zoe.id} 1")
        assert "delivered" in await stage.type(f"send {zoe.id} hello over there")
        assert "relaying is disabled" in await stage.type(f"relay {zoe.id} hi")
        assert "no session" in await stage.type(f"disconnect {zoe.id}")
        assert "connected to zoe" in await stage.type(f"connect {zoe.id}")
        await stage.type("routes")
        assert zoe.id in stage.text()
        await stage.pilot.press("escape")
        assert "said goodbye to zoe" in await stage.type("disconnect zoe")
        assert "no server answered" in await stage.type("nat")
        assert app.chosen == "nat"
        assert app.focused is app.bar.input
        await stage.type("stats")
        assert app.focused is app.statistics
        await stage.type("help ping")
        assert "measure the round trip" in stage.text()
        await stage.pilot.press("escape")
        await stage.type("quit")
        assert app.return_code == 0

    play(story)


def test_property_10_what_takes_long_shows_progress_and_can_be_cancelled():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        app.bar.type("ping bob 1000")
        await stage.pilot.press("enter")
        await stage.wait(3)
        assert re.search(r"ping \d+ of 1000 to bob, the last took", app.bar.said)
        assert "Escape cancels" in stage.text()
        await stage.pilot.press("escape")
        await stage.wait(0.5)
        assert app.bar.said == "cancelled"
        out = stage.alice.peer("bob").messages_out
        await stage.wait(5)
        assert stage.alice.peer("bob").messages_out <= out + 1

    play(story)


# 11


def test_property_11_every_action_has_an_id_a_description_and_a_place_in_the_help():
    bindings = all_bindings()
    ids = [binding.id for binding in bindings]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    assert all(binding.description for binding in bindings)

    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60))
        await stage.pilot.press("f1")
        await stage.wait(0.3)
        body = app.screen.query_one("#text Static").content.plain
        for binding in bindings:
            assert binding.id in body
            assert binding.description in body
        for verb in VERBS.values():
            assert verb.usage in body
            assert verb.summary in body

    play(story)


def test_property_11_every_action_and_command_is_in_the_palette():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        provider = GrammarProvider(app.screen)
        for binding in all_bindings():
            hits = [hit async for hit in provider.search(binding.description)]
            assert any((hit.help or "").startswith(f"{binding.id}:") for hit in hits)
        for verb in VERBS.values():
            hits = [hit async for hit in provider.search(verb.name)]
            assert any(hit.text == verb.usage for hit in hits)
        assert len([hit async for hit in provider.discover()]) == len(VERBS)
        hits = [hit async for hit in provider.search("ping bob")]
        hits[0].command()
        await stage.wait(2)
        assert "4 of 4 answered" in app.bar.said
        pause = next(b for b in all_bindings() if b.id == "log.pause")
        (hit, *_) = [hit async for hit in provider.search(pause.description)]
        hit.command()
        await stage.wait(0.5)
        assert not app.messages.following

    play(story)


def test_property_11_keys_can_be_changed_and_mistakes_are_named():
    async def story(stage: Stage) -> None:
        keys = {"app.statistics": "f9", "peers.sort": "o, O", "app.quit": "ctrl+x"}
        app = await stage.open(options=UiOptions(keys=keys))
        await stage.pilot.press("f9")
        assert app.focused is app.statistics
        await stage.pilot.press("f2", "f5")
        assert app.focused is app.peers.list
        before = app.peers.list.sort_column
        await stage.pilot.press("o")
        assert app.peers.list.sort_column is not before
        await stage.pilot.press("f1")
        await stage.wait(0.3)
        assert "f9" in app.screen.query_one("#text Static").content.plain
        await stage.pilot.press("escape", "ctrl+q")
        assert app.return_code is None
        await stage.pilot.press("ctrl+x")
        assert app.return_code == 0

    play(story)
    with pytest.raises(ConfigError, match=r"^ui.keys: nothing has the id 'app.qiut'; did you mean"):
        check_keys({"app.qiut": "f9"})
    with pytest.raises(ConfigError, match="there is no key 'control-q'"):
        check_keys({"app.quit": "control-q"})


def test_property_11_a_chosen_theme_is_remembered(tmp_path):
    path = tmp_path / "screen.json"

    async def first(stage: Stage) -> None:
        app = await stage.open(settings=Settings(path))
        assert not path.exists()
        await stage.type("theme textual-light")
        assert app.theme == "textual-light"

    async def second(stage: Stage) -> None:
        app = await stage.open(settings=Settings(path))
        assert app.theme == "textual-light"

    async def third(stage: Stage) -> None:
        app = await stage.open(settings=Settings(path), options=UiOptions(theme="nord"))
        assert app.theme == "nord"

    for story in (first, second, third):
        play(story)


# 12


def test_property_12_the_cursor_follows_the_peer_not_the_row():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for number, name in enumerate(("dora", "bob", "carol"), 2):
            await stage.friend(name, number)
        await stage.wait()
        peers = app.peers.list
        await stage.pilot.press("f2", "down")
        assert peers.selected.name == "carol"
        await stage.friend("abel", 9)
        await stage.wait()
        assert peers.selected.name == "carol"
        assert peers.cursor_row == 2
        for _ in COLUMNS:
            await stage.pilot.press("s")
            assert peers.selected.name == "carol"
        await stage.pilot.press("r")
        assert peers.selected.name == "carol"
        await stage.type("disconnect carol")
        assert peers.selected.name != "carol"

    play(story)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_property_12_the_table_sorts_by_any_column(column):
    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60))
        for number, name in enumerate(("dora", "bob", "carol"), 2):
            friend = await stage.friend(name, number)
            for _ in range(number):
                await friend.send(stage.alice.id, "x")
        peers = app.peers.list
        for _ in range(2):
            peers.sort_by(column)
            order = app.roster.order(column.rank, descending=peers.descending)
            assert list(peers.keys) == order
        await stage.wait(0.3)
        assert (
            f"{column.name.strip()}▼" in stage.text() or f"{column.name.strip()}▲" in stage.text()
        )

    play(story)


def test_property_12_a_click_on_a_header_sorts_and_one_on_a_row_selects():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for number, name in enumerate(("dora", "bob", "carol"), 2):
            await stage.friend(name, number)
        await stage.wait()
        header = app.peers.header
        at = next(x for x in range(100) if stage.lines()[header.region.y][x:].startswith("Address"))
        await stage.pilot.click(header, offset=(at - header.region.x, 0))
        assert app.peers.list.sort_column.name == "Address"
        await stage.pilot.click(app.peers.list, offset=(5, 2))
        assert app.peers.list.cursor_row == 2
        assert app.focused is app.peers.list
        await stage.pilot.click(app.peers.list, offset=(5, 2), times=2)
        await stage.wait(0.3)
        assert "address" in stage.text()
        assert "p2ptui ping 10.0.1." in stage.text()

    play(story)


def test_property_12_state_has_a_shape_and_the_round_trip_a_trend():
    assert len({glyph for glyph, _ in GLYPHS.values()}) == len(GLYPHS)

    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60))
        bob = await stage.friend("bob", 2)
        for _ in range(5):
            await stage.alice.ping(bob.id)
            await stage.wait(0.5)
        row = app.peers.list.row_at(0)
        assert len(row.rtts_ms) > 1
        assert "●" in stage.text()
        assert re.search("[▁▂▃▄▅▆▇█]{2}", stage.text())

    play(story)


def test_property_12_a_lost_peer_leaves_the_table_and_the_log_says_why():
    async def story(stage: Stage) -> None:
        app = await stage.open(connection_timeout=5.0, heartbeat_interval=2.0)
        await stage.friend("bob", 2)
        await stage.wait()
        assert app.peers.list.row_count == 1
        stage.network.partition("10.0.1.2", "10.0.0.1")
        await stage.wait(8)
        assert app.peers.list.row_count == 0
        assert "Nobody is here yet" in stage.text()
        assert any("disconnected" in record.text for record in app.messages.shown())

    play(story)


def test_property_12_find_shows_only_the_nodes_that_fit():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for number, name in enumerate(("dora", "bob", "carol"), 2):
            await stage.friend(name, number)
        await stage.wait()
        await stage.pilot.press("f2", "slash", *"ro")
        await stage.wait(0.3)
        assert [app.peers.list.row_at(i).name for i in range(app.peers.list.row_count)] == ["carol"]
        await stage.pilot.press("escape", "escape")
        await stage.wait(0.3)
        assert app.peers.list.row_count == 3
        await stage.type("peers ro")
        assert app.peers.list.row_count == 1
        await stage.pilot.press("m")
        assert app.bar.input.value == "send carol "
        app.bar.input.value = ""
        await stage.pilot.press("f2", "f")
        await stage.wait(0.3)
        assert {record.peer for record in app.messages.shown()} == {"carol"}
        await stage.type("peers")
        assert app.peers.list.row_count == 3

    play(story)


def test_leaving_in_the_middle_of_a_flood_is_no_failure():
    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        await flood(stage, 1000)
        await stage.pilot.press("f3", "space")
        app.exit(0)
        for _ in range(20):
            await flood_without_pause(stage)
            app.take_peers()
            app.take_stats()
            await asyncio.sleep(0.01)
        assert app.return_code == 0

    play(story)


async def flood_without_pause(stage: Stage) -> None:
    event = MessageTraced(Direction.IN, ("10.0.1.2", 8080), None, "Data", 2, b"{}")
    for subscription in stage.alice._runtime._subscriptions:
        subscription.put(event)
    stage.app.take_events()


def test_a_screen_that_fails_leaves_with_one_line():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        app._handle_exception(RuntimeError(HOSTILE))
        assert app.return_code == 1
        assert not CONTROL.search(str(app._exit_renderables[-1]))
        app._exception = None

    play(story)


def traceback_of(error: Exception) -> Traceback:
    return Traceback.from_exception(type(error), error, None)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ([traceback_of(OverflowError("too large"))], "OverflowError: too large"),
        ([traceback_of(RuntimeError(HOSTILE))], "RuntimeError: \\x1b]0;owned"),
        (["no screen", "no\nmouse"], "no screen; no\\nmouse"),
        ([Traceback(Trace([]))], "Traceback"),
    ],
)
def test_a_thread_of_the_terminal_that_fails_leaves_with_one_line_too(shown, said):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        app.call_later(app.panic, *shown)
        await stage.wait()
        assert app.return_code == 1
        (line,) = app._exit_renderables
        assert line.plain.startswith("p2ptui: the screen failed: ")
        assert said in line.plain
        assert not CONTROL.search(line.plain)

    play(story)


@pytest.mark.parametrize(("returned", "code"), [(None, 1), (0, 0), (143, 143)])
async def test_a_screen_that_ends_without_being_left_has_failed(
    returned, code, monkeypatch, tmp_path
):
    for purpose in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{purpose}_HOME", str(tmp_path))

    async def end_at_once(app):
        app._return_code = returned

    monkeypatch.setattr(run.P2PApp, "run_async", end_at_once)
    config = Config().with_options(address="127.0.0.1:0", enable_discovery=False, ephemeral=True)
    assert await run._run(config, None, ()) == code


def test_the_rows_of_a_list_must_be_told_by_a_subclass():
    class Bare(RowView):
        pass

    with pytest.raises(NotImplementedError):
        _ = Bare().row_count
    assert issubclass(P2PError, Exception)
    assert issubclass(P2PApp, object)
