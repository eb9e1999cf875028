"""Who a peer is, as far as that is known, is seen: table, title, page, log, and one alarm."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text

from p2ptui.core.events import PeerStatus, TrustChanged
from p2ptui.node import Node, OtherNode, PeerView
from p2ptui.secure.known_nodes import Trust
from p2ptui.secure.known_nodes_json import LATEST_S
from p2ptui.tui.alarms import MAX_TOLD, PAUSE_S, Alarms
from p2ptui.tui.columns import COLUMNS, PeerRow, columns_for, render_cells
from p2ptui.tui.peer_detail import _time_words, node_text
from p2ptui.tui.run import _NoteHandler
from p2ptui.tui.trust_words import event_words, level_of
from tests.tui.stage import Stage, play

BOB = ("10.0.0.2", 8080)


async def lasting(stage: Stage, folder: Path, name: str, number: int, key: str = "") -> Node:
    """A node that connects to Alice, with keys that last."""
    identity = {"identity": str(folder / f"{key or name}.key")}
    return await stage.friend(name, number, security=identity)


async def all_kinds(stage: Stage, folder: Path) -> None:
    """Peers of every trust, each named by it."""
    for name, number in (("known", 2), ("changed", 3)):
        node = await lasting(stage, folder, name, number)
        await node.close()
    await stage.wait()
    await lasting(stage, folder, "known", 2)
    await lasting(stage, folder, "changed", 4, key="other")
    await lasting(stage, folder, "new", 5)
    await lasting(stage, folder, "verified", 6)
    await stage.friend("open", 7, secured=False)
    await stage.wait()
    await stage.type("trust verified")


def row_of(stage: Stage, name: str) -> str:
    (line,) = [line for line in stage.lines() if f" {name} " in line and "10.0.1." in line]
    return line


def as_seen(app, key: str, width: int) -> str:
    columns = columns_for(width)
    row = PeerRow(key, app.roster.look(key))
    return render_cells(columns, [column.cell(row) for column in columns], width).plain


def test_the_table_says_of_each_peer_what_is_known_of_who_it_is(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 40))
        await all_kinds(stage, tmp_path)
        for trust in Trust:
            node = app.roster.find(trust.value)
            assert node.trust is trust, trust
            assert f" {trust.value} " in as_seen(app, node.node_id, 76)[17:], trust
        await stage.pilot.press("f2", "z")
        await stage.wait()
        assert "! changed" in stage.text()

    play(story)


@pytest.mark.parametrize("width", [20, 30, 34, 40, 50, 66, 76, 120, 200])
def test_who_is_not_who_it_was_stands_out_in_every_width(width, tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await all_kinds(stage, tmp_path)
        for trust in Trust:
            key = app.roster.find(trust.value).node_id
            line = as_seen(app, key, width)
            assert ("! " in line) is (trust is Trust.CHANGED)
            shown = any(column.name == "Trust" for column in columns_for(width))
            assert shown is (width >= 34)
            assert (f" {trust.value} " in line[12:]) is shown

    play(story)


def test_a_node_without_a_session_or_a_name_has_its_word_too():
    other = OtherNode("b0b0b0b0-0000-4000-8000-000000000001", "zoe", BOB, "server", 1, ())
    (trust,) = [column for column in COLUMNS if column.name == "Trust"]
    assert trust.cell(PeerRow(other.node_id, other)).plain == "told"


def test_sorted_by_trust_those_to_look_at_come_first(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 40))
        await all_kinds(stage, tmp_path)
        (column,) = [column for column in COLUMNS if column.name == "Trust"]
        app.peers.list.sort_by(column)
        await stage.wait()
        order = [app.roster.look(key).name for key in app.peers.list.keys]
        assert order == ["changed", "open", "new", "known", "verified"]
        assert "by trust ▲" in stage.text()

    play(story)


@pytest.mark.parametrize("trust", list(Trust))
def test_peers_are_found_by_trust(trust, tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await all_kinds(stage, tmp_path)
        await stage.type(f"peers trust:{trust.value}")
        names = [app.roster.look(key).name for key in app.peers.list.keys]
        assert names == [trust.value]
        # As it is typed.
        app.bar.type(f"peers trust:{trust.value[:2]}")
        await stage.wait()
        assert [app.roster.look(key).name for key in app.peers.list.keys] == [trust.value]
        await stage.type("peers trust:nonsense")
        assert "No node fits" in stage.text()

    play(story)


def test_the_title_says_how_this_node_is_protected_and_counts_the_changed(tmp_path):
    async def story(stage: Stage) -> None:
        await stage.open((120, 40))
        assert "  secured" in stage.lines()[0]
        assert "changed" not in stage.lines()[0]
        await all_kinds(stage, tmp_path)
        await stage.wait()
        assert "! 1 changed" in stage.lines()[0]
        await stage.pilot.resize_terminal(40, 24)
        await stage.wait()
        assert "! 1 changed" in stage.lines()[0]
        await stage.type("trust " + stage.app.roster.find("changed").node_id)
        await stage.wait()
        assert "changed" not in stage.lines()[0]

    play(story)


def test_the_title_of_a_node_without_keys_says_that_it_is_open():
    async def story(stage: Stage) -> None:
        await stage.open((120, 40), node_id="a0a0a0a0-0000-4000-8000-000000000001")
        assert "  open, no keys" in stage.lines()[0]
        said = await stage.type("key show")
        assert said == ""
        text = stage.text()
        assert "a0a0a0a0-0000-4000-8000-000000000001" in text
        assert "can read and alter" in " ".join(text.split())

    play(story)


def test_the_title_names_the_network_key_and_the_mode_but_never_the_key(tmp_path, monkeypatch):
    key = tmp_path / "network.key"

    async def story(stage: Stage) -> None:
        from p2ptui.io.key_files import create_key_file
        from p2ptui.secure.secret import KeyKind, Secret, write_key

        secret = Secret(bytes(range(32)))
        create_key_file(key, KeyKind.NETWORK, secret)
        security = {"network_key_file": str(key), "mode": "require"}
        await stage.open((160, 40), security=security)
        assert "  secured only, network key" in stage.lines()[0]
        await stage.type("key show")
        await stage.wait()
        text = stage.text()
        assert "network key" in text
        assert "require: only secured nodes" in text
        written = write_key(KeyKind.NETWORK, secret)
        for hidden in (written, written.split(":")[-1][:12], bytes(range(32)).hex()[:16]):
            assert hidden not in text

    play(story)


@pytest.mark.parametrize("mode", ["open", "prefer", "require"])
def test_the_page_of_the_node_says_who_comes_in_without_the_network_key(mode, tmp_path):
    async def story(stage: Stage) -> None:
        from p2ptui.io.key_files import create_key_file
        from p2ptui.secure.secret import KeyKind, Secret

        create_key_file(tmp_path / "network.key", KeyKind.NETWORK, Secret(b"k" * 32))
        security = {"network_key_file": str(tmp_path / "network.key"), "mode": mode}
        await stage.open((160, 40), security=security)
        await stage.type("key show")
        await stage.wait()
        text = " ".join(stage.text().split())
        assert "without it only ids on security.allowed_ids come in" in text
        assert ("programs without keys, too, in the open" in text) is (mode != "require")

    play(story)


@pytest.mark.parametrize("error", [OSError, OverflowError, ValueError])
def test_a_time_that_the_systems_calendar_lacks_ends_nothing(error, monkeypatch):
    def none(_: float) -> time.struct_time:
        raise error

    monkeypatch.setattr(time, "localtime", none)
    assert _time_words(-LATEST_S) == "unknown"


def test_the_page_of_a_peer_says_what_is_known_and_what_to_type(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 40))
        await all_kinds(stage, tmp_path)

        def page(name: str) -> str:
            node = app.roster.find(name)
            known = stage.alice.known_node(node.node_id)
            return " ".join(node_text(node, width=200, known=known).plain.split())

        assert f"trust {app.roster.find('new').node_id}" in page("new")
        assert "trust new: not met before" in page("new")
        assert "trust known: the same as before" in page("known")
        assert "met first 20" in page("known")
        assert "trust verified: you have said that it is the right one" in page("verified")
        assert "trust open: it has no keys" in page("open")
        assert "keys none" in page("open")
        assert "met first" not in page("open")
        changed = app.roster.find("changed")
        assert "changed is not the changed of before" in page("changed")
        assert f": trust {changed.node_id}" in page("changed")
        assert "p2ptui trust" not in page("changed")
        app.peers.list.find("trust:changed")
        await stage.pilot.press("f2", "enter")
        await stage.wait()
        assert "changed is not the changed of before" in " ".join(stage.text().split())

    play(story)


def test_a_change_is_a_line_of_the_log_and_an_alarm_once(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 40))
        told: list[str] = []
        app.notify = lambda text, **_: told.append(text)
        bob = await lasting(stage, tmp_path, "bob", 2)
        await bob.close()
        await stage.wait()
        assert told == []
        impostor = await lasting(stage, tmp_path, "bob", 3, key="impostor")
        await stage.wait()
        (record,) = [r for r in app.messages.shown() if "not the bob of before" in r.text]
        assert (record.direction, record.level, record.peer) == ("note", "warn", "bob")
        assert f"trust {impostor.id}" in record.text
        assert "p2ptui" not in record.text
        (alarm,) = told
        assert "bob is not the bob of before" in alarm
        await stage.wait(PAUSE_S + 2)
        await impostor.close()
        await stage.wait()
        await lasting(stage, tmp_path, "bob", 3, key="impostor")
        await stage.wait(PAUSE_S + 2)
        assert len(told) == 1

    play(story)


def test_who_is_refused_for_that_is_told_as_such():
    refused = replace(event(1), is_refused=True)
    assert event_words(refused) == "refused: not the one"
    assert level_of(refused) == "warn"
    assert event_words(event(1, Trust.KNOWN, "")).startswith("known: the same")
    assert level_of(event(1, Trust.KNOWN, "")) == "debug"
    assert level_of(replace(event(1, Trust.VERIFIED, ""), previous=Trust.NEW)) == "info"
    alarms = Alarms()
    alarms.note(refused)
    assert alarms.take(0.0) == "refused: not the one; the messages say what to do"


def test_what_an_event_tells_is_no_second_line_of_the_log(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        handler, logger = _NoteHandler(app), logging.getLogger("p2ptui")
        logger.addHandler(handler)
        stage.at_end(lambda: logger.removeHandler(handler))
        bob = await lasting(stage, tmp_path, "bob", 2)
        await bob.close()
        await lasting(stage, tmp_path, "bob", 3, key="impostor")
        await stage.wait()
        assert len([r for r in app.messages.shown() if "not the bob of before" in r.text]) == 1

    play(story)


def event(number: int, trust: Trust = Trust.CHANGED, advice: str = "not the one") -> TrustChanged:
    node_id = f"b0b0b0b0-0000-8000-8000-{number:012}"
    return TrustChanged(node_id, BOB, "bob", trust, None, advice)


def test_many_changes_are_few_alarms_and_little_memory():
    alarms = Alarms()
    assert alarms.take(0.0) == ""
    alarms.note(event(0, advice="it is another: ask, then: p2ptui trust x"))
    assert alarms.take(0.1) == "it is another; the messages say what to do"
    for number in range(1, 5 * MAX_TOLD):
        alarms.note(event(number))
    assert alarms.take(0.2) == ""
    words = alarms.take(0.1 + PAUSE_S)
    assert words == f"{MAX_TOLD} peers are not who they were before: peers trust:changed"
    assert alarms.take(10 * PAUSE_S) == ""
    assert len(alarms._told) <= MAX_TOLD
    # Settled, and changed again: told again.
    last = MAX_TOLD - 1
    alarms.note(event(last))
    assert alarms.take(20 * PAUSE_S) == ""
    alarms.note(event(last, Trust.VERIFIED, ""))
    alarms.note(event(last))
    assert alarms.take(30 * PAUSE_S) == "not the one; the messages say what to do"


def test_what_a_peer_calls_itself_cannot_reach_the_terminal_by_an_alarm():
    alarms = Alarms()
    alarms.note(event(0, advice="\x1b]0;owned\x07 is not the [/x] of before"))
    words = alarms.take(0.0)
    assert "\x1b" not in words
    assert "\x07" not in words


def test_a_snapshot_without_trust_is_shown_by_what_is_known_of_where_it_is():
    (trust,) = [column for column in COLUMNS if column.name == "Trust"]

    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        node = app.roster.find("bob")
        assert isinstance(node, PeerView)
        assert node.status is PeerStatus.AUTHENTICATED
        cell = trust.cell(PeerRow(node.node_id, replace(node, trust=None)))
        assert cell == Text("proved", "dim")

    play(story)
