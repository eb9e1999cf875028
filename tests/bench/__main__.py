"""How fast it is: `python -m tests.bench` prints two tables; it is no part of the test run."""

import argparse
import platform
import sys

from tests.bench import core, loopback


def _print_core(rounds: int) -> None:
    print(f"Core alone: microseconds of CPU a datagram, median of {rounds} rounds of")
    print(f"{core.DATAGRAMS:,} datagrams from peers chosen at random.\n")
    titles = [f"{peers:,} peer{'s' if peers > 1 else ''}" for peers in core.PEERS]
    print(f"| datagram in, datagram out | {' | '.join(titles)} | growth |")
    print(f"| --- |{' ---: |' * (len(titles) + 1)}")
    for kind, figures in core.measure(rounds).items():
        cells = " | ".join(f"{figure:.1f}" for figure in figures)
        print(f"| {kind} | {cells} | x {figures[-1] / figures[0]:.2f} |")
    print()


def _print_loopback(rounds: int, seconds: float) -> None:
    servers = loopback.measure(rounds, seconds)
    generator = "compiled" if any(server.name.endswith("C") for server in servers) else "Python"
    print(f"Whole node on loopback: answers a second, {generator} load generator, one peer,")
    print(f"{loopback.WINDOW} messages under way, median of {rounds} rounds of {seconds:g} s.\n")
    bare = {server.name: server for server in servers if not server.is_node}
    columns = "".join(f" / {name} |" for name in bare)
    print(f"| server | message | answers/s |{columns} lost |")
    print(f"| --- | --- | ---: |{' ---: |' * len(bare)} ---: |")
    for kind in loopback.KINDS:
        for server in servers:
            ratios = " | ".join(f"{server.ratio(kind, other):.2f}" for other in bare.values())
            print(
                f"| {server.name} | {kind} | {server.rate(kind):,.0f} | {ratios} | {server.lost} |"
            )
    print()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one load, at most (1)")
    parser.add_argument("--only", choices=("core", "loopback"), help="one of the two tables")
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {sys.platform}\n")
    if options.only != "loopback":
        _print_core(options.rounds)
    if options.only != "core":
        _print_loopback(options.rounds, options.seconds)


if __name__ == "__main__":
    main()
