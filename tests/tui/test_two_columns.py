"""What stands in two columns never wraps below the gap between them, however narrow it is."""

import pytest
from rich.cells import cell_len

from p2ptui.tui.help import help_text, verb_text
from p2ptui.tui.keymap import all_bindings
from p2ptui.tui.panes import title_text
from p2ptui.tui.two_columns import beside, wrapped
from p2ptui.verbs import VERBS
from tests.tui.stage import Stage, play

WIDTHS = (24, 36, 60, 78, 116)


def test_with_room_they_stand_side_by_side():
    assert beside("ping", "measure it", 10, 40).plain == "ping      measure it\n"
    assert beside("二三", "measure it", 10, 40).plain == "二三      measure it\n"
    words = "measure the round trip to a node"
    assert beside("ping", words, 10, 36).plain == (
        "ping      measure the round trip to\n          a node\n"
    )


def test_without_it_the_meaning_stands_below():
    assert beside("disconnect [PEER]", "say goodbye to a peer", 31, 36).plain == (
        "disconnect [PEER]\n  say goodbye to a peer\n"
    )
    assert beside("nat [SERVER...]", "find out", 10, 80).plain == "nat [SERVER...]\n  find out\n"


def test_a_word_that_is_too_wide_is_broken():
    assert wrapped("ab abcdefgh c", 4) == ["ab", "abcd", "efgh", "c"]
    assert wrapped("二三四五", 4) == ["二三", "四五"]
    assert wrapped("", 4) == [""]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_of_the_help_is_wider_than_the_page(width: int):
    pages = [help_text(all_bindings(), {}, width)]
    pages += [verb_text(verb, width) for verb in VERBS.values()]
    for page in pages:
        lines = page.plain.split("\n")
        # Headings are no columns.
        wide = [line for line in lines if cell_len(line) > width and "  " in line]
        assert not wide


def test_the_help_on_one_verb_names_its_options():
    shown = verb_text(VERBS["nat"], 78).plain
    assert shown.startswith("nat [SERVER...] [--filter-with HOST:PORT]\n")
    assert "--filter-with HOST:PORT        a server to ask, and to test with" in shown


@pytest.mark.parametrize("size", [(40, 10), (80, 24)])
def test_the_help_fits_the_terminal(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await stage.type("help")
        lines = [line.strip("│┃ ▁▂▃▄▅▆▇█") for line in stage.lines()]
        at = next(i for i, line in enumerate(lines) if line.startswith("disconnect [PEER]"))
        if size[0] == 40:
            assert lines[at : at + 2] == ["disconnect [PEER]", "say goodbye to a peer"]
            await stage.pilot.resize_terminal(80, 24)
            await stage.wait()
        assert "disconnect [PEER]              say goodbye to a peer" in stage.text()
        await stage.pilot.press("y")
        assert "disconnect [PEER]" in app.clipboard

    play(story)


@pytest.mark.parametrize("size", [(40, 24), (80, 24)])
@pytest.mark.parametrize("name", ["二三四五六七八九十百千", "bob"])
def test_a_route_fits_the_terminal_whatever_the_name(size, name):
    async def story(stage: Stage) -> None:
        hub = await stage.node("a hub with a long name", "10.0.2.1")
        other = await stage.node(name, "10.0.3.1")
        await other.connect(hub.address)
        app = await stage.open(size, join=("10.0.2.1:8080",))
        await stage.wait(5)
        await stage.type("routes")
        width = app.screen.query_one("#text").scrollable_content_region.width
        text = app.screen_verbs._routes_text(width).plain
        assert max(map(cell_len, text.split("\n"))) <= width
        lines = text.split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith(other.id))
        rest = " ".join(line.strip() for line in lines[at:] if line)
        assert " ".join(rest.split()).startswith(f"{other.id} {name} by way of a hub with")
        assert all(line.startswith((" ", other.id, hub.id)) for line in lines[2:] if line)
        assert other.id in stage.text()
        assert lines[at].strip() in stage.text()

    play(story)


@pytest.mark.parametrize(
    ("host", "public", "said"),
    [
        ("10.0.0.1", None, "public unknown"),
        ("10.0.0.1", ("198.51.100.1", 5), "public 198.51.100.1:5"),
        ("10.0.0.1", ("10.0.0.1", 8080), "no NAT seen"),
        ("127.0.0.1", ("127.0.0.1", 8080), ""),
        ("127.0.0.1", None, "public unknown"),
    ],
)
def test_the_title_says_of_the_public_address_what_is_true(host, public, said):
    async def story(stage: Stage) -> None:
        node = await stage.node("carol", host)
        title = title_text(node, 1, public, 200).plain
        expected = f"  {host}:8080  {said}  1 connected" if said else f"  {host}:8080  1 connected"
        assert expected in title

    play(story)


def test_keys_are_shown_by_their_signs_and_no_two_columns_touch():
    lines = help_text(all_bindings(), {}, 100).plain.splitlines()
    (back,) = [line for line in lines if "bar.complete-back" in line]
    assert "pane before  bar.complete-back" in back
    assert any(line.split() == [":", "Command", "app.command"] for line in lines)
    assert any(line.split() == ["/", "Find", "peers.find"] for line in lines)
