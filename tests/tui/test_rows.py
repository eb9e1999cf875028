"""The rows of both lists, and the page of one peer: what is cut says so, the order stays told."""

from dataclasses import replace

import pytest

from p2ptui.node import roster
from p2ptui.tui import peer_table
from p2ptui.tui.columns import COLUMNS
from p2ptui.tui.peer_detail import node_text
from tests.tui.stage import Stage, play

SIZES = [(80, 24), (120, 40), (200, 60)]


async def friends(stage: Stage, *names: str) -> None:
    for number, name in enumerate(names, 2):
        await stage.friend(name, number)
    await stage.wait()


# The message log


@pytest.mark.parametrize("size", SIZES)
def test_a_row_that_is_cut_ends_in_an_ellipsis(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        app.note("word " * 70 + "end")
        await stage.pilot.press("f3")
        await stage.wait(0.3)
        log = app.messages
        width = log.scrollable_content_region.width
        rows = [log.render_line(y).text for y in range(log.row_count)]
        assert all(len(row) == width for row in rows)
        (cut,) = [row for row in rows if "word word" in row]
        assert cut.endswith("…")
        assert not any("…" in row for row in rows if "listens on" in row and width > 110)

    play(story)


def test_a_note_without_a_peer_begins_where_the_peer_would_stand():
    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        bob = await stage.friend("bob", 2)
        await bob.send(stage.alice.id, "hello")
        app.note("of this node itself")
        await stage.wait(0.3)
        log = app.messages
        rows = [log.render_row(y, 80).plain for y in range(log.row_count)]
        (note,) = [row for row in rows if row.endswith("itself")]
        assert "• of this node itself" in note
        assert any("• bob" in row and "authenticated" in row for row in rows)

    play(story)


# The peer table


@pytest.mark.parametrize("size", SIZES)
def test_sort_goes_through_all_columns_and_the_title_says_by_which(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await friends(stage, "dora", "bob", "carol")
        await stage.pilot.press("f2")
        seen = []
        for _ in COLUMNS:
            await stage.pilot.press("s")
            column = app.peers.list.sort_column
            seen.append(column)
            way = "▼" if column.descending else "▲"
            name = column.name.strip().lower() or "state"
            await stage.pilot.pause()
            assert f"by {name} {way}" in stage.text()
        assert set(seen) == set(COLUMNS)
        await stage.pilot.press("S")
        assert app.peers.list.sort_column is seen[-2]

    play(story)


@pytest.mark.parametrize("column", COLUMNS[:2], ids=["state", "name"])
def test_many_are_put_in_order_little_by_little_and_the_cursor_stays(monkeypatch, column):
    monkeypatch.setattr(peer_table, "MANY", 2)
    monkeypatch.setattr(peer_table, "SLICE_S", -1.0)  # every part takes longer
    monkeypatch.setattr(roster, "PART", 1)

    async def story(stage: Stage) -> None:
        app = await stage.open()
        await friends(stage, "dora", "bob", "carol")
        peers = app.peers.list
        await stage.pilot.press("f2", "down")
        chosen = peers.selected.name
        peers.sort_by(column)
        peers.sort_by(column)  # while the first order is still being made
        assert peers.row_count == 3
        await stage.wait(0.2)
        order = app.roster.order(column.rank, descending=peers.descending)
        assert list(peers.keys) == order
        assert peers.selected.name == chosen
        await stage.friend("abel", 9)
        await stage.wait(1.5)
        assert peers.row_count == 4
        assert peers.selected.name == chosen
        peers.find("abel")
        await stage.wait(0.2)
        assert peers.row_count == 1

    play(story)


def test_of_many_only_the_rows_in_view_are_looked_at(monkeypatch):
    monkeypatch.setattr(peer_table, "MANY", 2)
    monkeypatch.setattr(peer_table, "MAX_TRENDS", 4)

    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        await friends(stage, *(f"peer {number:02}" for number in range(30)))
        await stage.wait(1.3)  # not just when the round trips of all are remembered
        looked: list[str] = []
        look, rtt_ms = app.roster.look, app.roster.rtt_ms
        monkeypatch.setattr(app.roster, "look", lambda key: looked.append(key) or look(key))
        monkeypatch.setattr(app.roster, "rtt_ms", lambda key: looked.append(key) or rtt_ms(key))
        monkeypatch.setattr(app.peers.list, "_order_later", lambda *_, **__: None)
        app.take_peers()
        await stage.pilot.pause()
        height = app.peers.list.size.height
        assert 0 < len(set(looked)) <= height < 30

    play(story)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_an_empty_table_says_which_ports_are_searched(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size, discovery_port_range=(9000, 9010))
        assert "enable_discovery is off" in stage.text()
        assert "connect HOST:PORT" in stage.text()
        app.peers.list._ports = (9000, 9010)
        await stage.pilot.press("f2")
        assert "one of the ports 9000-9010" in stage.text()
        assert "…" not in "".join(line for line in stage.lines() if "ports" in line)

    play(story)


def test_the_ports_come_from_the_configuration():
    async def story(stage: Stage) -> None:
        stage.alice = await stage.node("alice", "10.0.0.1")
        assert stage.alice.roster.searched_ports is None
        config = stage.alice.roster._endpoint.config
        searching = config.with_options(enable_discovery=True)
        stage.alice.roster._endpoint._state.config = searching
        assert stage.alice.roster.searched_ports == (8081, 8090)

    play(story)


# The page of one peer


def test_the_page_of_a_peer_tells_how_its_round_trips_went():
    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        bob = await stage.friend("bob", 2)
        for _ in range(4):
            await stage.alice.ping(bob.id)
            await stage.wait(0.5)
        row = app.peers.list.row_at(0)
        assert len(row.rtts_ms) > 1
        await stage.pilot.press("f2", "enter")
        await stage.wait(0.2)
        (line,) = [line for line in stage.lines() if "trend" in line]
        low, high = min(row.rtts_ms), max(row.rtts_ms)
        assert f"min {low:.2f}, median " in line
        assert f"max {high:.2f} ms" in line

    play(story)


def test_the_page_of_a_peer_without_round_trips_has_no_trend():
    async def story(stage: Stage) -> None:
        stage.alice = await stage.node("alice", "10.0.0.1")
        await stage.friend("bob", 2)
        bob = stage.alice.roster.find("bob")
        assert "trend" not in node_text(bob).plain
        assert "path MTU       1200 bytes a datagram\n" in node_text(bob).plain
        bob = replace(bob, datagram_bytes=972, datagram_limit=972)
        words = "path MTU       972 bytes a datagram; above 972 they vanish\n"
        assert words in node_text(bob).plain
        assert "median 2.00, max 6.00 ms of the last 3" in node_text(bob, (1, 2, 6)).plain

    play(story)


# What is being typed


def test_finding_peers_means_the_same_while_it_is_typed_and_when_it_is_carried_out():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await friends(stage, "dora", "bob builder", "carol")
        for line, rows in (
            ('peers "bob b"', 1),
            ("peers 'ro'", 1),
            (r"peers bob\ b", 1),
            ("peers ro", 1),
            ("PEERS dora", 1),
        ):
            app.bar.type(line)
            await stage.wait(0.3)
            assert app.peers.list.row_count == rows, line
            previewed = list(app.peers.list.keys)
            await stage.type(line)
            assert list(app.peers.list.keys) == previewed
        app.bar.type('peers "ro')
        await stage.wait(0.3)
        assert "quotation mark is not closed" in app.bar.said
        assert app.peers.list.containing == "dora"

    play(story)


@pytest.mark.parametrize("unfinished", ["level:", "/(a+", "hello /(a+", "hello level:", "hello !"])
def test_an_unfinished_filter_shows_nothing_of_itself(unfinished):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.type("filter listens")
        app.bar.type("filter ")
        await stage.pilot.press(*unfinished)
        await stage.wait(0.3)
        assert app.bar.said
        assert app.messages.filter.expression == "listens"
        assert app.messages.row_count == 1

    play(story)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((80, 24), ("Handshake?", "Handshake=")),
        ((200, 60), ("HandshakeRequest", "HandshakeResponse")),
    ],
)
def test_a_question_and_its_answer_are_told_apart_in_every_width(size, shown):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await friends(stage, "bob")
        await stage.type("filter type:handshake")
        await stage.pilot.press("f3", "z")
        await stage.wait()
        assert {r.kind for r in app.messages.shown()} == {"HandshakeRequest", "HandshakeResponse"}
        lines = stage.lines()
        for kind in shown:
            assert any(f" {kind} " in line for line in lines)

    play(story)
