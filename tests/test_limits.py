"""docs/limits.md says what the code does, and names every limit; what is dropped is counted."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from p2ptui.config import Config

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "p2ptui"
PAGE = ROOT / "docs" / "limits.md"
FLOORS = ("core", "nat", "io", "node")

OF_DELIVERY = (
    "core/reliability/",
    "core/state.py",
    "core/messages/inbox.py",
    "node/subscription.py",
)
"""What waits to be sent, put together or read: bounded by options, described with these."""

NO_BOUNDS = {"nat.behavior:MAX_FALSE_SILENCE"}
"""A chance."""


def rows(section: str) -> list[list[str]]:
    text = PAGE.read_text("utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


FULL = rows("Tables and queues")
MEMORIES = rows("Memories")
ALL = [*FULL, *MEMORIES, *rows("Sizes of one thing")]
NAMES = [row[0].strip("`") for row in ALL]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for floor in FLOORS:
        for path in sorted((PACKAGE / floor).rglob("*.py")):
            name = str(path.relative_to(PACKAGE))
            if not name.startswith(OF_DELIVERY):
                yield name, parsed(path)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def value_of(name: str) -> Any:
    module, colon, constant = name.partition(":")
    if colon:
        return getattr(importlib.import_module(f"p2ptui.{module}"), constant)
    value: Any = Config()
    for part in name.split("."):
        value = getattr(value, part)
    return value


def constants(tree: ast.Module) -> Iterator[str]:
    """Names that a module binds itself, at its top."""
    for statement in tree.body:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        if isinstance(target, ast.Name):
            yield target.id


@pytest.mark.parametrize("row", ALL, ids=NAMES)
def test_a_value_is_the_one_in_the_code(row: list[str]) -> None:
    assert row[1] == f"{value_of(row[0].strip('`')):,}"


def test_every_limit_is_named_once() -> None:
    bound = {
        f"{path.removesuffix('.py').replace('/', '.')}:{name}"
        for path, tree in modules()
        for name in constants(tree)
        if name.startswith("MAX_")
    }
    missing = bound - NO_BOUNDS - set(NAMES)
    assert not missing, f"docs/limits.md has no row for {missing}"
    assert len(NAMES) == len(set(NAMES))


def test_every_counter_that_is_named_is_counted() -> None:
    code = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    counters = {name for row in FULL for name in re.findall(r"`([a-z_]+)`", row[4])}
    assert counters
    for name in counters - {"dropped_in", "dropped_out"}:
        assert f'"{name}"' in code, name
    assert "self.dropped" in code


def test_who_is_told_is_said_of_every_table() -> None:
    assert all(len(row) == 5 and row[4] for row in FULL)
    assert all(len(row) == 4 and row[3] for row in MEMORIES)


# No table is full in silence.


def is_size(node: ast.expr) -> bool:
    """Whether it is `len(...)`, or `.qsize()`, or a sum with one."""
    return any(
        isinstance(part, ast.Call)
        and (getattr(part.func, "id", "") == "len" or getattr(part.func, "attr", "") == "qsize")
        for part in ast.walk(node)
    )


def limits_in(function: ast.AST) -> Iterator[str]:
    """The constants and options that a size is compared with."""
    for node in ast.walk(function):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_size, sides)):
                for side in sides:
                    parts = list(ast.walk(side))
                    names = [getattr(part, "id", "") or getattr(part, "attr", "") for part in parts]
                    yield from (n for n in names if n.lower().startswith("max_") or "_max" in n)


def tells(function: ast.AST) -> bool:
    """Whether it counts something, raises something, or tells its caller."""
    for node in ast.walk(function):
        name = getattr(node, "id", "") or getattr(node, "attr", "")
        if "drop" in name or name in ("count", "_count") or isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Return) and getattr(node.value, "value", True) is False:
            return True
    return False


def test_what_is_full_is_counted_or_told_or_only_a_memory() -> None:
    """Looks at functions that compare the size of something with a constant or an option."""
    memories = {row[0].strip("`").rpartition(":")[2] for row in MEMORIES}
    allowed = memories | {
        "MAX_RECIPIENTS",  # a sample, not a table
        "MAX_LEARNT",  # who is forgotten loses nothing but a few checks
        "MAX_KEY_LENGTH",
        "MAX_TOLD_NAME_BYTES",  # a name that is cut is still shown
        "MAX_SUFFIX_BYTES",  # a name that is cut keeps no longer ending
    }
    silent = {
        f"{path}: {function.name}: {limit}"
        for path, tree in modules()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and not tells(function)
        for limit in limits_in(function)
        if limit not in allowed
    }
    assert not silent
