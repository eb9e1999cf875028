"""docs/troubleshooting.md quotes what the program says: each of its lines is in the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / "troubleshooting.md", ROOT / "docs" / "zh-CN" / "troubleshooting.md"]


def quoted(page: Path) -> list[str]:
    """The lines in its boxes."""
    boxes = re.findall(r"^```text\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [line for box in boxes for line in box.splitlines()]


def parts(line: str) -> list[str]:
    """What of a line must be in the code: it is put together of texts, names and figures."""
    found = re.split(r"\.\.\.|; |: |, (?=\.\.\.)", line)
    return [part for part in (part.strip(" '()") for part in found) if re.search(r"\w{2}", part)]


@cache
def said() -> str:
    """All texts of the program; what is put in is left out."""
    texts = []
    for path in (ROOT / "p2ptui").rglob("*.py"):
        tree = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        documentation = {id(node.value) for node in tree if isinstance(node, ast.Expr)}
        for node in tree:
            if isinstance(node, ast.JoinedStr):
                inside = (
                    str(value.value) if isinstance(value, ast.Constant) else "\0"
                    for value in node.values
                )
                texts.append("".join(inside))
            elif isinstance(node, ast.Constant) and id(node) not in documentation:
                texts.append(str(node.value))
    return "\n".join(texts)


@pytest.mark.parametrize("line", quoted(PAGES[0]))
def test_a_quoted_line_is_one_of_the_program(line: str) -> None:
    assert parts(line), line
    assert [part for part in parts(line) if part not in said()] == []


def test_there_are_lines() -> None:
    assert len(quoted(PAGES[0])) > 40


def test_both_languages_quote_the_same() -> None:
    english, chinese = map(quoted, PAGES)
    assert english == chinese
