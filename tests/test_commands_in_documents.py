"""Each command that a document shows is one: its name and its options are in the program's help."""

import re
import shlex
from pathlib import Path

import pytest

from p2ptui.cli import main
from tests.test_docs import DOCUMENTS, ROOT

BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(\$ )?(?:on \w+ )?(?:\.venv/bin/)?p2ptui(?= |$)(.*)", re.MULTILINE)
AFTER_IT = re.compile(r"\s[|<>&#].*| 2>.*")


def shown(page: Path) -> list[str]:
    """The commands of a page, without what the shell does with them."""
    return [
        AFTER_IT.sub("", command).strip()
        for language, block in BLOCK.findall(page.read_text("utf-8"))
        for prompt, command in COMMAND.findall(block.replace("\\\n", " "))
        if prompt or language == "sh"
    ]


PAGES = sorted([*DOCUMENTS, *(ROOT / "docs" / "zh-CN").glob("*.md")])
COMMANDS = sorted({command for page in PAGES for command in shown(page)})


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    name = words[:1] if words and not words[0].startswith("-") else []
    if name == ["help"]:
        assert main(words) == 0
        return
    assert main([*name, "-h"]) == 0
    told = capsys.readouterr().out
    assert " ".join(["usage: p2ptui", *name]) in told, "there is no such command"
    options = {word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)}
    missing = {option for option in options if not re.search(rf"(?<![\w-]){option}\b", told)}
    assert missing == set()


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 50
