"""All floods in full: at the rates given, and at ten times these.

python -m tests.attacks [--seconds 5] [KIND...]

Ends with 1 if something is not as promised. How soon newcomers are served is judged at the rates
given, and as on a quiet machine.
"""

import argparse
import sys

from tests.attacks.flood import KINDS, can_forge, run_flood


def main() -> None:
    """One line for each, with what is not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks")
    parser.add_argument("kind", nargs="*", choices=[*KINDS, []])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--times", type=int, nargs="*", default=[1, 10])
    options = parser.parse_args()
    print(run_flood("none", seconds=3.0, given_back_s=1.0).line(), flush=True)
    failed = False
    for name in options.kind or KINDS:
        if KINDS[name].source != "peer" and not can_forge():
            print(f"{name}: needs raw sockets")
            continue
        for times in options.times:
            report = run_flood(name, times * KINDS[name].rate, options.seconds)
            faults = report.faults(times)
            failed = failed or bool(faults)
            line = report.line() + (f"  NOT: {', '.join(faults)}" if faults else "")
            print(line, flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
