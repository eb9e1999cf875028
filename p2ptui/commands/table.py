"""A table as commands print it."""

from collections.abc import Container, Sequence


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left_out: Container[str] = ()
) -> None:
    """Print rows in columns that are as wide as what stands in them.

    Args:
        header: What stands above each column.
        rows: Harmless text.
        left_out: The columns that are left out where nothing stands in them.
    """
    shown = [
        column
        for column, name in enumerate(header)
        if name not in left_out or any(row[column] for row in rows)
    ]
    lines = [[row[column] for column in shown] for row in (header, *rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
