"""Words and what they mean, side by side if there is room, otherwise below each other.

Cells are counted, not characters: a name may contain letters that are two cells wide.
"""

from typing import Final

from rich.cells import cell_len, chop_cells
from rich.text import Text

INDENT: Final = 2
"""Indentation of text below."""

MIN_BESIDE: Final = 24
"""Cells that text needs beside another; in fewer it would be a column of single words."""


def beside(left: str, right: str, column: int, width: int, style: str = "bold") -> Text:
    """One entry, with its newline.

    Args:
        left: The words, harmless text; those of a list form a column.
        right: What they mean, likewise.
        column: Cells of that column, with the gap.
        width: Cells of a line.
        style: The style of the words.
    """
    has_room = width - column >= min(MIN_BESIDE, cell_len(right))
    if has_room and cell_len(left) < column:
        lead = Text.assemble((left, style), " " * (column - cell_len(left)))
        indent = column
    else:
        lead = Text("\n").join(Text(line, style) for line in wrapped(left, width))
        lead.append("\n" + " " * INDENT if right else "")
        indent = INDENT
    lines = wrapped(right, max(width - indent, 1))
    return lead.append(("\n" + " " * indent).join(lines) + "\n")


def wrapped(words: str, width: int) -> list[str]:
    """Lines no wider than this; a word that is wider is broken.

    Args:
        words: One line of harmless text; runs of spaces count as one.
        width: Cells, 1 or more.
    """
    lines = [""]
    for word in words.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
            continue
        pieces = chop_cells(word, max(width, 2))
        lines += pieces if lines[-1] else []
        if not lines[0]:
            lines = pieces
    return lines
