"""No option is decoration: each one that is available is read by some module."""

import ast
from functools import cache
from pathlib import Path

import pytest

import p2ptui
from p2ptui.config import OPTIONS
from p2ptui.config.option import Option

PACKAGE = Path(p2ptui.__file__).parent

# Accepted for the sake of existing files, and only ever warned about.
WARNED_ABOUT = {"security.enable_authentication"}

# Where a section is handed on, the variable that holds it is called so.
HOLDERS = {"options", "server"}


def _holder(node: ast.expr) -> str:
    """The name of what an attribute is read from: `x.server.name` is read from `server`."""
    if isinstance(node, ast.Attribute):
        return node.attr.lstrip("_")
    return node.id if isinstance(node, ast.Name) else ""


@cache
def _read() -> set[tuple[str, str]]:
    """All that is read anywhere outside the configuration."""
    return {
        (_holder(node.value), node.attr)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] != "config"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


@pytest.mark.parametrize(
    "option",
    [o for o in OPTIONS.options if o.path not in WARNED_ABOUT],
    ids=lambda option: option.path,
)
def test_every_available_option_is_read_outside_the_configuration(option: Option) -> None:
    holders = {option.section.rpartition(".")[2], *HOLDERS}
    assert any((holder, option.name) in _read() for holder in holders)
