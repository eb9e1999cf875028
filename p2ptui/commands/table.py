"""Tables in the form in which commands print them."""

from collections.abc import Container, Sequence


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left_out: Container[str] = ()
) -> None:
    """Print rows in columns as wide as their content.

    Args:
        header: The title of each column.
        rows: Harmless text.
        left_out: The columns that are left out if they are empty.
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
