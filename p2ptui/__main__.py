"""`python -m p2ptui`: the same as the command `p2ptui`."""

import sys

import p2ptui

if __name__ == "__main__":
    p2ptui._leave_current_folder()
    from p2ptui.cli import main

    sys.exit(main())
