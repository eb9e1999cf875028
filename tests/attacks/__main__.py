"""All floods in full: at the rates given, and at ten times these.

python -m tests.attacks [KIND...]
"""

import sys

from tests.attacks.flood import KINDS, can_forge, run_flood


def main() -> None:
    """One line for each."""
    names = sys.argv[1:] or list(KINDS)
    print(run_flood("none", seconds=3.0, given_back_s=1.0).line(), flush=True)
    for name in names:
        if KINDS[name].source != "peer" and not can_forge():
            print(f"{name}: needs raw sockets")
            continue
        for times in (1, 10):
            print(run_flood(name, times * KINDS[name].rate).line(), flush=True)


if __name__ == "__main__":
    main()
