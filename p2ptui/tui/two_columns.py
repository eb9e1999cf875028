"""Words and what they mean, side by side where there is room, else below each other.

Cells are counted, not characters: a name may be written in letters that are two cells wide.
"""

from typing import Final

from rich.cells import cell_len, chop_cells
from rich.text import Text

INDENT: Final = 2
"""Cells before what stands below."""

MIN_BESIDE: Final = 24
"""Cells that words need beside others; in fewer they would be a column of single words."""


def beside(left: str, right: str, column: int, width: int, style: str = "bold") -> Text:
    """One entry, with the line's end.

    Args:
        left: The words, harmless text; of a list all in one column.
        right: What they mean, likewise.
        column: Cells of that column, with the gap.
        width: Cells of a line.
        style: Of the words.
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
    """Lines that are no wider; a word that is, is broken.

    Args:
        words: One line of harmless text; spaces between words are one.
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
