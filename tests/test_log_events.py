"""Every line of the log has a name for programs, and docs/logs.md knows it with its fields."""

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2ptui.config import LoggingOptions
from p2ptui.core.events import Path as PeerPath
from p2ptui.core.events import PathChanged, PeerStatus, PeerStatusChanged
from p2ptui.event_log import log_event
from p2ptui.logs import configure_logging, shutdown_logging
from p2ptui.operating import stats_fields
from p2ptui.tagged import tagged
from tests.town import Town
from tests.virtual_loop import run_virtual

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "p2ptui"
PAGE = ROOT / "docs" / "logs.md"
LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
ALWAYS = {"timestamp", "level", "target", "event", "message", "error", "traceback"}

Fields = dict[str, set[str]]


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "tui" not in path.relative_to(PACKAGE).parts:  # Textual has a `log` of its own
            yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text("utf-8"))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of a module's logger."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=attr)):
                if attr in LEVELS:
                    yield node


def keys(node: ast.Dict) -> Iterator[str]:
    return (key.value for key in node.keys if isinstance(key, ast.Constant))


def events_in(tree: ast.Module) -> Fields:
    """The names and fields of all that is said, by `tagged` or, where that would be one import too
    many, as it returns them."""
    dicts = {
        target.id: set(keys(node.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    events: Fields = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="tagged"), args=[ast.Constant(value=name)]):
                told = events.setdefault(name, set())
                for keyword in node.keywords:
                    match keyword:
                        case ast.keyword(arg=None, value=ast.Name(id=source)):
                            told |= dicts[source]
                        case ast.keyword(arg=str(arg)):
                            told.add(arg)
            case ast.Dict() if "event" in keys(node):
                values = dict(zip(keys(node), node.values, strict=False))
                if isinstance(name := values["event"], ast.Constant):
                    inner = values.get("fields")
                    fields = keys(inner) if isinstance(inner, ast.Dict) else ()
                    events.setdefault(name.value, set()).update(fields)
    return events


def all_events() -> Fields:
    events: Fields = {}
    for _, tree in trees():
        for name, fields in events_in(tree).items():
            events.setdefault(name, set()).update(fields)
    return events


def documented() -> Fields:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}


@pytest.mark.parametrize(("name", "tree"), list(trees()), ids=[name for name, _ in trees()])
def test_every_line_says_what_it_is_about(name: str, tree: ast.Module) -> None:
    bare = [node.lineno for node in calls(tree) if "extra" not in {k.arg for k in node.keywords}]
    assert not bare, f"{name}: give these an event: {bare}"


def test_the_page_knows_every_event_and_its_fields() -> None:
    told = all_events()

    async def story() -> None:
        async with Town() as town:
            told["stats"] = set(stats_fields((await town.start()).stats()))

    run_virtual(story())
    assert documented() == told


def test_names_are_snake_case_and_fields_hide_nothing() -> None:
    for name, fields in all_events().items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert not fields & ALWAYS - {"error"}


NODE = "0123abcd-0000-4000-8000-000000000001"
AT = ("192.0.2.1", 80)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(LoggingOptions(format="json"), stream)
    yield stream
    shutdown_logging()


def test_a_program_reads_fields_and_not_prose(lines: io.StringIO) -> None:
    log_event(PeerStatusChanged(NODE, AT, "bob\x1b", PeerStatus.AUTHENTICATED, None, None))
    log_event(PathChanged(NODE, PeerPath.DIRECT, AT, "predicted"))
    first, second = map(json.loads, lines.getvalue().splitlines())
    del first["timestamp"], second["timestamp"]
    assert first == {
        "level": "info",
        "target": "p2ptui.headless",
        "event": "peer_connected",
        "message": "connected: bob\\x1b (0123abcd) at 192.0.2.1:80",
        "node_id": NODE,
        "name": "bob\\x1b",
        "address": "192.0.2.1:80",
        "status": "authenticated",
    }
    assert (second["event"], second["method"], second["path"]) == (
        "path_direct",
        "predicted",
        "direct",
    )


def test_for_people_they_are_not_said_twice() -> None:
    stream = io.StringIO()
    configure_logging(LoggingOptions(), stream)
    logging.getLogger("p2ptui.x").info("bob is here", extra=tagged("bob", at="here", why=None))
    shutdown_logging()
    assert stream.getvalue().endswith("INFO  bob is here\n")


def test_nothing_that_is_told_takes_the_place_of_the_level(lines: io.StringIO) -> None:
    logging.getLogger("p2ptui.x").warning("w", extra=tagged("x", level="low", message="m"))
    entry = json.loads(lines.getvalue())
    assert (entry["level"], entry["message"]) == ("warn", "w")
