"""What it costs to know which address was asked: `python -m tests.bench.asked`.

Two nodes of one kind are loaded in turn, one at 127.0.0.1 and one at all addresses; the load asks
an address that the system would choose itself, or another one. The figure is the median over the
rounds of the ratio within a round, so what else the machine does touches both.
"""

import argparse
from contextlib import ExitStack
from statistics import quantiles

from tests.bench.loopback import KINDS, Server, compiled, has_uvloop, load, python_server

BOUND, EVERYWHERE = "127.0.0.1", "0.0.0.0"
LIMIT = 0.03
"""Of the rate that a node at one address has."""


def measure(loop: str, rounds: int, seconds: float) -> dict[str, tuple[float, float, float]]:
    """By the kind of message, the share of the rate that is lost: quartiles and median."""
    with ExitStack() as stack:
        program = stack.enter_context(compiled())
        pair = [
            stack.enter_context(python_server(host, loop, host)) for host in (BOUND, EVERYWHERE)
        ]
        for server in pair:  # to warm up; it does not count
            load(server, KINDS[0], seconds, program)
            server.rates[KINDS[0]].clear()
        for number in range(rounds):
            for kind in KINDS:
                for server in pair if number % 2 else reversed(pair):
                    load(server, kind, seconds, program)
        return {kind: _lost(kind, *pair) for kind in KINDS}


def _lost(kind: str, bound: Server, everywhere: Server) -> tuple[float, float, float]:
    pairs = zip(everywhere.rates[kind], bound.rates[kind], strict=True)
    low, middle, high = quantiles([1 - mine / its for mine, its in pairs], n=4)
    return low, middle, high


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.asked", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one load (1)")
    options = parser.parse_args()
    print("| loop | message | slower on all addresses | quartiles |")
    print("| --- | --- | ---: | ---: |")
    worst = 0.0
    for loop in ("node", "uvloop") if has_uvloop() else ("node",):
        for kind, (low, middle, high) in measure(loop, options.rounds, options.seconds).items():
            worst = max(worst, middle)
            print(f"| {loop} | {kind} | {middle:.1%} | {low:.1%} to {high:.1%} |")
    print(f"\nat most {LIMIT:.0%}: {'kept' if worst <= LIMIT else 'NOT kept'}")


if __name__ == "__main__":
    main()
