"""docs/security.md is whole and true: what it names exists, its figures are those of the code."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from p2ptui.config import OPTIONS, Config

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "security.md"
TEXT = PAGE.read_text("utf-8")
PACKAGE = ROOT / "p2ptui"

WORD = r"[A-Za-z_]\w*"
TEST = re.compile(rf"`(tests/[\w/]+(?:\.py)?)(?:::({WORD}))?`")
CONSTANT = re.compile(rf"`({WORD}(?:\.{WORD})*:{WORD})`(?: \(([^)]*)\))?")
OPTION = re.compile(rf"`((?:{'|'.join(OPTIONS.sections)})\.{WORD})`(?: \(([^)]*)\))?")


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading, without its head."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


ASSETS = [row[0] for row in table("What is worth protecting")]
ATTACKERS = [re.sub(r"\[(.*)\].*", r"\1", row[0]) for row in table("Who attacks")]


class Row(NamedTuple):
    """What one attacker can do to one asset."""

    attacker: str
    asset: str
    can: str
    cannot: str
    bound: str
    tests: str


def rows() -> list[Row]:
    headings = [attacker[0].upper() + attacker[1:] for attacker in ATTACKERS]
    return [Row(heading, *cells) for heading in headings for cells in table(heading)]


ROWS = rows()


def by_name(row: Row) -> str:
    return f"{row.attacker}: {row.asset}"


def test_every_attacker_is_asked_about_every_asset() -> None:
    assert len(ATTACKERS) >= 4
    assert len(ASSETS) >= 9
    for attacker in ATTACKERS:
        heading = attacker[0].upper() + attacker[1:]
        assert [row.asset for row in ROWS if row.attacker == heading] == ASSETS


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_each_row_says_what_bounds_it_and_where_that_is_tested(row: Row) -> None:
    assert row.can
    assert row.cannot
    assert row.bound
    named = CONSTANT.search(row.bound) or OPTION.search(row.bound) or "](" in row.bound
    # Where nothing bounds it, that is said; and a few are bounded by what a session is.
    assert named or row.bound.startswith(("none", "an Ack counts", "another server speaks"))
    assert TEST.search(row.tests)


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize(("path", "function"), sorted(set(TEST.findall(TEXT))))
def test_a_test_that_is_named_exists(path: str, function: str) -> None:
    assert (ROOT / path).exists()
    if function:
        assert function.startswith("test_")
        assert function in functions_of(ROOT / path)


def as_written(value: Any) -> str:
    if isinstance(value, str | tuple | list):
        return str(value) if value else "empty"
    return f"{value:,}"


def figure(told: str) -> str:
    """What stands in brackets, without what is said about it there."""
    return told.partition(":")[0]


@pytest.mark.parametrize(("name", "told"), sorted(set(CONSTANT.findall(TEXT))))
def test_a_constant_has_the_value_that_is_told(name: str, told: str) -> None:
    module, _, constant = name.partition(":")
    value = getattr(importlib.import_module(f"p2ptui.{module}"), constant)
    assert figure(told) in ("", as_written(value))


@pytest.mark.parametrize(("name", "told"), sorted(set(OPTION.findall(TEXT))))
def test_an_option_has_the_value_that_is_told(name: str, told: str) -> None:
    assert name in OPTIONS.by_path
    value: Any = Config()
    for part in name.split("."):
        value = getattr(value, part)
    assert figure(told) in ("", as_written(value))


def test_a_counter_that_is_named_is_counted() -> None:
    code = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    counters = {
        name for row in table("If you run a server") for name in re.findall(rf"`({WORD})`", row[0])
    }
    assert counters
    assert {name for name in counters if f'"{name}"' not in code} == set()


def test_every_attack_that_is_tried_is_in_the_page() -> None:
    """Whoever writes one says what it shows."""
    files = {path.name for path in (ROOT / "tests" / "attacks").glob("test_*.py")}
    assert {name for name in files if f"tests/attacks/{name}" not in TEXT} <= {"test_attacker.py"}


@pytest.mark.parametrize(
    "page", ["README.md", "docs/protocol.md", "docs/limits.md", "docs/relay.md", "docs/testing.md"]
)
def test_whoever_looks_for_it_finds_the_page(page: str) -> None:
    assert "security.md" in (ROOT / page).read_text("utf-8")


def test_the_first_screen_says_what_is_encrypted() -> None:
    first = (ROOT / "README.md").read_text("utf-8").splitlines()[:24]
    assert any("encrypted" in line for line in first)
    assert any("docs/security.md" in line for line in first)


def test_nothing_that_is_relayed_is_called_secret() -> None:
    """A server that has no need to read something can read it all the same."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *PACKAGE.rglob("*.py")]
    for path in pages:
        for line in path.read_text("utf-8").splitlines():
            if re.search(r"\brelay|\bcarried", line, re.IGNORECASE):
                assert not re.search(r"\bopaque\b|\bsealed\b|\bunreadable\b", line), (path, line)
