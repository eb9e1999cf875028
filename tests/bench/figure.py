"""What the benchmarks of the screen share: a line of their table, a node, and paths."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2ptui.config import Config
from p2ptui.node import Node

ROOT: Final = Path(__file__).resolve().parent.parent.parent
SIZE: Final = (120, 40)
"""Columns and rows of the terminal."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: str
    bound: str
    kept: bool | None
    """None if there is no bound: the figure explains the others."""


def quiet_node(name: str) -> Node:
    """A node on a free port that searches for no others."""
    return Node(Config().with_options(address="127.0.0.1:0", enable_discovery=False, name=name))
