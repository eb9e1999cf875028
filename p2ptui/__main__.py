"""`python -m p2ptui`: the same as the command `p2ptui`."""

import contextlib
import os
import sys

import p2ptui


def _leave_current_folder() -> None:
    """Import nothing more from the current folder, where a file of somebody else may lie: `-m` puts
    it before all others, `-P` does not. Where p2ptui itself is in it, as in a checkout, it
    stays."""
    with contextlib.suppress(OSError):
        here = os.getcwd()
        if sys.path[:1] == [here] and os.path.dirname(p2ptui.__path__[0]) != here:
            del sys.path[0]


if __name__ == "__main__":
    _leave_current_folder()
    from p2ptui.cli import main

    sys.exit(main())
