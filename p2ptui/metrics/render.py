"""Writes the table of metrics: `python -m p2ptui.metrics.render docs/metrics.md`, at the top of the
repository, updates the page.
"""

import sys
from pathlib import Path

from p2ptui.metrics.families import FAMILIES
from p2ptui.text import between

BEGIN_TABLE = "<!-- begin of what python -m p2ptui.metrics.render writes -->"
END_TABLE = "<!-- end of what python -m p2ptui.metrics.render writes -->"


def render_markdown() -> str:
    """Every metric, a row each."""
    lines = ["| metric | kind | label | meaning |", "| --- | --- | --- | --- |"]
    for family in FAMILIES:
        label = f"`{family.label}`" if family.label else ""
        lines.append(f"| `{family.name}` | {family.kind} | {label} | {family.help} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Put the table between its marks in a page.

    Raises:
        ValueError: The page lacks a mark.
    """
    return between(page, BEGIN_TABLE, END_TABLE, render_markdown())


def main() -> None:
    """Update the pages named on the command line."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(with_table(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
