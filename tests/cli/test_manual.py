"""`p2ptui help`, the manual page and the page of commands say what the program takes."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from p2ptui.cli import main
from p2ptui.commands.help import topics
from p2ptui.commands.node_options import ALL_COMMANDS
from p2ptui.commands.render import MANUAL, REFERENCE, parsers, rendered
from p2ptui.config import OPTIONS
from p2ptui.manual.arguments import arguments_of
from p2ptui.manual.topics import TOPICS

ROOT = Path(__file__).parents[2]
WRITTEN = rendered(ROOT)

SCREEN_LINES = 24
SCREEN_COLUMNS = 80


def said(capsys, *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_what_is_stored_is_what_the_parsers_say(path):
    assert path.read_text("utf-8") == WRITTEN[path], "python -m p2ptui.commands.render"


def test_the_program_prints_its_manual_page(capsys):
    assert said(capsys, "help", "--man") == (ROOT / MANUAL).read_text("utf-8")
    assert json.loads(said(capsys, "help", "--man", "--json"))["man"].startswith('.\\" Written')
    assert "takes no topic" in said(capsys, "help", "--man", "ping", code=2)


@pytest.mark.parametrize("path", [REFERENCE, MANUAL])
def test_every_option_is_on_every_page(path):
    page = (ROOT / path).read_text("utf-8").replace("\\-", "-").replace("\\|", "|")
    for name, parser in parsers().items():
        assert f"p2ptui {name}".strip() in page
        for argument in arguments_of(parser):
            assert all(each in page for each in argument.names)
            assert argument.value.removesuffix("...") in page
            assert len(argument.meaning) > 5


@pytest.mark.parametrize(
    "command",
    [
        ["mandoc", "-Tlint", "-Wwarning"],
        ["groff", "-man", "-ww", "-z"],
        ["man", "--warnings", "-l", "-P", "cat"],
    ],
    ids=lambda command: command[0],
)
def test_the_manual_page_is_shown_without_warnings(command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(
        [*command, str(ROOT / MANUAL)], capture_output=True, text=True, check=False
    )
    warnings = done.stdout if command[0] == "mandoc" else done.stderr
    assert (done.returncode, warnings) == (0, "")


def test_the_help_knows_the_signals_of_the_page():
    page = (ROOT / "docs" / "background.md").read_text("utf-8")
    rows = re.findall(r"^\| (SIG[^|]+) \|", page, re.MULTILINE)
    listed = re.findall(r"^  (SIG\w+(?:, SIG\w+)*) ", TOPICS["signals"].text, re.MULTILINE)
    assert listed == rows


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_fits_on_a_screen(capsys, topic):
    lines = said(capsys, "help", topic).splitlines()
    assert len(lines) < SCREEN_LINES
    assert max(map(len, lines)) < SCREEN_COLUMNS


def test_help_lists_all_topics_on_a_screen_and_a_bit(capsys):
    lines = said(capsys, "help").splitlines()
    assert max(map(len, lines)) < SCREEN_COLUMNS
    for topic in topics():
        assert any(line.startswith(f"  {topic} ") for line in lines)


@pytest.mark.parametrize("command", sorted(ALL_COMMANDS.keys() - TOPICS.keys()))
def test_of_a_command_help_is_what_it_says_itself(capsys, command):
    assert said(capsys, "help", command) == said(capsys, command, "-h")


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        ("exit-code", "; did you mean 'exit-codes'?"),
        ("NAT", "; did you mean 'nat'?"),
        ("pnig", "; did you mean 'ping'?"),
        ("cooking\x1b", ""),
    ],
)
def test_an_unknown_topic_is_one_line(capsys, topic, hint):
    shown = topic.replace("\x1b", "\\x1b")
    said_of_it = said(capsys, "help", topic, code=2)
    assert said_of_it == f"p2ptui help: unknown topic '{shown}'{hint}; see p2ptui help -h\n"


def test_the_page_that_an_unknown_topic_is_sent_to_lists_them_all(capsys):
    words = set(re.findall(r"[a-z-]+", said(capsys, "help", "-h")))
    assert words >= TOPICS.keys()


def test_help_for_programs(capsys):
    assert json.loads(said(capsys, "help", "--json")) == {"topics": topics()}
    assert json.loads(said(capsys, "help", "nat", "--json")) == {
        "topic": "nat",
        "text": said(capsys, "help", "nat"),
    }


def test_what_topics_name_is_there():
    text = "\n".join(topic.text for topic in TOPICS.values())
    for page in re.findall(r"docs/[\w-]+\.md", text):
        assert (ROOT / page).exists()
        text = text.replace(page, "")
    for option in re.findall(r"\b(?:traffic_forwarding|cluster|logging|server)\.[a-z_]+", text):
        assert option in OPTIONS.by_path or option.startswith("server.example")
    known = {
        name for parser in parsers().values() for a in arguments_of(parser) for name in a.names
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known
    for command in re.findall(r"^  p2ptui ([a-z]+)", text, re.MULTILINE):
        assert command in ALL_COMMANDS
