"""The room of direct paths: one root that knows all its parts, and parts that know few others."""

import ast
from pathlib import Path

import pytest

import p2ptui.core.traversal.room as room

MODULES = sorted(Path(room.__file__).parent.glob("*.py"))
MAX_IMPORTS = 15


def own_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("p2ptui"):
            is_package = node.module == "p2ptui.core.traversal"
            found |= {alias.name for alias in node.names} if is_package else {str(node.module)}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_part_knows_few_others(path: Path) -> None:
    if path.name != "room.py":
        assert len(own_imports(path)) <= MAX_IMPORTS


def test_the_root_makes_the_parts_and_does_nothing_itself() -> None:
    tree = ast.parse(Path(room.__file__).read_text("utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    (made,) = (
        [node.name for node in one.body if isinstance(node, ast.FunctionDef)] for one in classes
    )
    assert made == ["__init__", "__len__"]


def test_no_part_knows_the_root() -> None:
    for path in MODULES:
        assert "p2ptui.core.traversal.room" not in own_imports(path)
