"""A line of parts: parts that do not fit are left out whole, the least important first."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, chop_cells

GAP: Final = 2
"""Cells between two parts."""


def fitting(parts: Sequence[tuple[int, str]], width: int, gap: int = GAP) -> list[str]:
    """The parts that are shown.

    Args:
        parts: Each with its rank, in the order of the line; rank 0 is left out last. Empty parts
            are ignored.
        width: Cells of the line.
        gap: Cells between two of them.

    Returns:
        As many as fit, in their order. The most important one is always there, cut to the line if
        nothing else helps.
    """
    left = [(rank, text) for rank, text in parts if text]
    while len(left) > 1 and sum(cell_len(text) + gap for _, text in left) - gap > width:
        left.remove(max(left, key=lambda part: part[0]))
    return [text if len(left) > 1 else shortened(text, width) for _, text in left]


def shortened(text: str, width: int, end: int = 0) -> str:
    """Shorten a text to fit a line; an ellipsis stands for what is missing.

    Args:
        text: One line.
        width: Cells.
        end: The number of characters kept at its end, such as the port of an address.
    """
    if cell_len(text) <= width:
        return text
    tail = text[len(text) - end :] if end else ""
    room = width - cell_len(tail) - 1
    if room < 1:
        return shortened(text, width) if end else "…"[: max(width, 0)]
    return f"{chop_cells(text, room)[0]}…{tail}"
