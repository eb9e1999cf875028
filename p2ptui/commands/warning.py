"""What a command says on standard error, beside its answer."""

import sys

from p2ptui.text import printable


def warn(text: str) -> None:
    """Say a line, at once."""
    print(f"p2ptui: {printable(text, 1000)}", file=sys.stderr, flush=True)
