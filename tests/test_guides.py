"""The guides are true: their commands are accepted, their files load, their figures hold."""

import json
import re
import shlex
from pathlib import Path

import pytest

from p2ptui import Config
from p2ptui.commands import read_command
from p2ptui.config import OPTIONS
from p2ptui.config.load import load_config
from p2ptui.core.mesh import discovery, neighbours, pager, routing
from p2ptui.secure import known_nodes
from p2ptui.verbs import VERBS
from tests.cli.test_commands import SERVER, World
from tests.test_docs import Block, blocks, by_name

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = ("discovery", "routing", "server", "client", "deployment")
PAGES = [DOCS / f"{name}.md" for name in GUIDES]
SHELL = [b for page in PAGES for kind in ("sh", "console") for b in blocks(page, kind)]
FILES = [b for page in PAGES for b in blocks(page, "toml")]
PROGRAMS = [b for page in PAGES for b in blocks(page, "python")]

COMMANDS = sorted(
    {
        line.removeprefix("$ ").removeprefix("sudo ")
        for block in SHELL
        for line in block.text.splitlines()
        if line.removeprefix("$ ").removeprefix("sudo ").startswith("p2ptui ")
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_accepted(
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It is read to its end, and not carried out."""
    from p2ptui.cli import main

    (written,) = blocks(DOCS / "server.md", "toml")
    (tmp_path / "server.toml").write_text(written.text)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command, comments=True)[1:]
    words = words[: words.index("|")] if "|" in words else words
    words = ["server.toml" if word == "/etc/p2ptui/config.toml" else word for word in words]
    if words[0].startswith("-"):
        assert main([*words, "--check-config"]) == 0, capsys.readouterr().err
    else:
        read_command(words[0], words[1:], {})


@pytest.mark.parametrize("block", FILES, ids=by_name)
def test_each_file_loads(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(block.text)
    assert load_config(path, {}, {}) != Config()


@pytest.mark.parametrize("block", PROGRAMS, ids=by_name)
def test_each_program_runs(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, str(block.path), "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines() == ["delivered", "hello"]


def test_there_is_something_to_try() -> None:
    assert len(COMMANDS) >= 15
    assert FILES
    assert PROGRAMS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_defaults_in_the_tables_are_those_of_the_code(page: Path) -> None:
    rows = re.findall(r"^\| `([a-z_]+\.\w+)` \| ([^|]+) \|", page.read_text("utf-8"), re.MULTILINE)
    defaults = {option.path: option.default for option in OPTIONS.options}
    for path, told in rows:
        if path not in defaults:
            continue
        default = defaults[path]
        if isinstance(default, bool):
            assert f"`{str(default).lower()}`" in told or told == "off", path
        elif isinstance(default, int | float):
            assert re.match(rf"{default:,g}\b|{default:g}\b", told), (path, told)
        elif isinstance(default, str) and default:
            assert f"`{default}`" in told, path


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("discovery", f"with at most {neighbours.CONNECTS_PER_SEARCH} nodes per search"),
        ("discovery", f"at most {neighbours.ANSWERS_PER_SECOND} leave per second"),
        ("discovery", f"{neighbours.PROBE_SPACING_S * 1000:.0f} ms apart"),
        ("discovery", f"varied by {neighbours.SEARCH_JITTER:.0%}".replace("%", " %")),
        ("discovery", f"no more than {discovery.MAX_RECIPIENTS} of them"),
        ("discovery", f"{round(pager.PAGES_PER_TICK / pager.TICK_S):,} pages a second"),
        ("discovery", f"at most {known_nodes.MAX_KNOWN_NODES:,} nodes"),
        ("discovery", f"{known_nodes.MAX_KNOWN_ADDRESSES:,} joined addresses"),
        ("routing", f"asks for more than {routing.MAX_HOPS}"),
    ],
)
def test_figures_are_those_of_the_code(page: str, words: str) -> None:
    text = " ".join((DOCS / f"{page}.md").read_text("utf-8").split())
    assert words in text


@pytest.mark.parametrize("verb", ["discover", "routes", "punch", "disconnect", "connect"])
def test_commands_of_the_screen_are_there(verb: str) -> None:
    assert verb in VERBS


TRANSCRIPTS = [
    (block, command, said.splitlines())
    for page in ("client", "routing", "discovery")
    for block in blocks(DOCS / f"{page}.md", "console")
    for command, said in re.findall(
        r"^\$ p2ptui ((?:ping|send|peers) .*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE
    )
]


def shape(line: str) -> str:
    """A line without what is another each time: numbers, addresses, ids and names."""
    line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", line)
    line = re.sub(r"\d+(\.\d+)*(:\d+)?", "0", line)
    return " ".join(line.split())


@pytest.mark.parametrize(
    ("block", "command", "said"), TRANSCRIPTS, ids=[shown[1] for shown in TRANSCRIPTS]
)
def test_commands_say_what_the_guides_show(
    block: Block,
    command: str,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [SERVER if word.endswith(":8080") else word for word in shlex.split(command)]
    world = World(monkeypatch, capsys)
    if "ice.enable" in said[-1]:
        monkeypatch.setenv("P2PTUI_ICE_ENABLE", "false")
        world.server_options = {"allow_symmetric_nat_relay": True}
    # The nodes of this world have no keys.
    really = world.run(*words).output.replace("in the open: ", "").splitlines()

    if "--json" in words:
        (shown,), (told,) = map(json.loads, said), map(json.loads, really)
        assert shown.keys() == told.keys()
        assert all(type(shown[key]) is type(told[key]) for key in shown if told[key] is not None)
        assert shown.get("error") == told.get("error")
    elif words[0] == "peers":
        assert shape(said[1]).split() == really[1].split()
    else:
        assert [shape(line) for line in said] == [shape(line) for line in really]


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) == 6
