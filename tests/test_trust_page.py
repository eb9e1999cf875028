"""docs/trust.md is true: its commands are there, and its lines are those that people see."""

import asyncio
import re
from pathlib import Path

import msgspec
import pytest

from p2ptui import Config, Node
from p2ptui.cli import main
from p2ptui.config.security_section import key_notices
from p2ptui.core.policy import RULES
from p2ptui.secure.known_nodes import Trust
from p2ptui.secure.secret import Secret

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "trust.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"^```(?:console|sh)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("$ p2ptui", "p2ptui"))
]


@pytest.mark.parametrize("rule", RULES)
def test_each_refusal_is_on_the_page_in_its_words(rule: str) -> None:
    assert RULES[rule].there.removesuffix(" (security.mode is require there)") in TEXT
    assert "\n" not in RULES[rule].here + RULES[rule].told + RULES[rule].there


def test_each_word_of_trust_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert set(Trust) <= set(rows)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name and its options are in the help of it."""
    name, *rest = command.removeprefix("p2ptui ").split()
    is_node = name.startswith("-")
    assert main(["-h"] if is_node else [name, "-h"]) == 0
    told = capsys.readouterr().out
    for option in (word for word in ([name, *rest] if is_node else rest) if word.startswith("--")):
        assert option in told, command


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6


def test_whoever_looks_for_it_finds_the_page() -> None:
    for page in ("README.md", "docs/security.md", "docs/library.md"):
        assert "trust.md" in (ROOT / page).read_text("utf-8")


# What a start says of a network that lets in more than somebody may think.


@pytest.mark.parametrize("mode", ["open", "prefer", "require"])
@pytest.mark.parametrize("has", ["nothing", "a key", "ids", "both"])
def test_a_start_says_who_is_let_in_besides(mode: str, has: str) -> None:
    key = Secret(b"k" * 32) if has in ("a key", "both") else None
    ids = ["4ae9d893-bbff-83e5-9b4b-86d8b6a9bb44"] if has in ("ids", "both") else []
    options = Config().with_options(**{"security.mode": mode}, allowed_ids=ids)
    notices = key_notices(options.security, key)
    assert len(notices) == (0 if mode == "require" or has == "nothing" else 1)
    for line in notices:
        assert "security.mode = require" in line
        assert f"security.mode is {mode}" in line


def test_a_node_tells_it_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    config = msgspec.structs.replace(
        Config().with_options(address="127.0.0.1:0", ephemeral=True, enable_discovery=False),
        network_key=Secret(b"k" * 32),
    )

    async def story() -> None:
        async with Node(config):
            pass

    with caplog.at_level("INFO", logger="p2ptui"):
        asyncio.run(story())
    assert any("programs without keys are let in all the same" in line for line in caplog.messages)
