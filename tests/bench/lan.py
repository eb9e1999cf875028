"""All pairs of a LAN at once, and what the server carries: `python -m tests.bench.lan [--nodes N]`.

Kernel networks (tests/natlab; needs root and nftables): one NAT, N machines behind it, each with a
node in a process of its own, and a server outside with the default limits. Each node connects to
those after it, all at the same moment.
"""

import argparse
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final

from tests.natlab.laboratory import Host
from tests.natlab.namespaces import missing
from tests.natlab.rules import Kind
from tests.natlab.tally import Tally
from tests.natlab.traversal import Ground, Side, join

WATCHED_S: Final = 30.0
"""How long it is watched from the first connect on."""

LOOK_S: Final = 0.5


@dataclass(frozen=True)
class Outcome:
    """The result."""

    nodes: int
    pairs: int
    direct: int
    """Pairs that both send directly, at the end."""
    all_direct_s: float | None
    """When all pairs were direct, seconds; None: never."""
    connected: int
    """Calls that succeeded."""
    errors: dict[str, int]
    server_packets: int
    """Packets to and from the server, from the first connect to the end."""
    by_kind: dict[str, int]
    """The same, by kind; the most common first."""


def run(
    count: int,
    *,
    kind: Kind = Kind.PORT_RESTRICTED,
    watched_s: float = WATCHED_S,
    until_direct: bool = False,
) -> Outcome:
    """Let nodes meet.

    Args:
        count: The number of nodes.
        kind: The kind of the NAT that they are behind.
        watched_s: How long it is watched, seconds.
        until_direct: Whether it ends as soon as all pairs are direct.
    """
    with Ground() as ground, ExitStack() as stack:
        nat = ground.laboratory.nat(kind)
        sides = [ground.at(nat.host()) for _ in range(count)]
        for answer in join(*sides, facts=False):
            if "error" in answer:
                raise RuntimeError(answer["error"])
        stack.callback(_stop, sides)
        ids = [side.node_id for side in sides]
        time.sleep(2.0)  # until the server's lists have named all nodes
        tally = stack.enter_context(Tally(ground.host))
        before, began = packets(ground.host), time.monotonic()
        for number, side in enumerate(sides):
            side.begin("connect_all", to=ids[number + 1 :])
        answers = [side.end() for side in sides]
        all_direct_s = None
        direct = 0
        while time.monotonic() < began + watched_s:
            direct = _direct(sides)
            if direct == count * (count - 1) // 2 and all_direct_s is None:
                all_direct_s = time.monotonic() - began
                if until_direct:
                    break
            time.sleep(LOOK_S)
        errors = Counter(error for answer in answers for error in answer["errors"])
        return Outcome(
            nodes=count,
            pairs=count * (count - 1) // 2,
            direct=direct,
            all_direct_s=all_direct_s,
            connected=sum(answer["connected"] for answer in answers),
            errors=dict(errors),
            server_packets=packets(ground.host) - before,
            by_kind=dict(tally.counts().most_common()),
        )


def packets(host: Host) -> int:
    """Packets to and from a host's interface so far."""
    for line in host.run(["cat", "/proc/net/dev"]).stdout.splitlines():
        name, colon, figures = line.partition(":")
        if colon and name.strip() == "eth0":
            fields = figures.split()
            return int(fields[1]) + int(fields[9])
    raise RuntimeError(f"{host} has no eth0")


def _direct(sides: list[Side]) -> int:
    for side in sides:
        side.begin("direct")
    known = {side.node_id: set(side.end()["nodes"]) for side in sides}
    return sum(one < other and one in known[other] for one in known for other in known[one])


def _stop(sides: list[Side]) -> None:
    for side in sides:
        side.begin("stop")
    for side in sides:
        side.end()


def main() -> None:
    """Run it, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--nat", type=Kind, default=Kind.PORT_RESTRICTED, help="what it is behind")
    parser.add_argument("--seconds", type=float, default=WATCHED_S, help="watched for so long")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if (reason := missing()) is not None:
        sys.exit(reason)
    outcome = run(options.nodes, kind=options.nat, watched_s=options.seconds)
    if options.json:
        print(json.dumps(asdict(outcome)))
        return
    when = "never" if outcome.all_direct_s is None else f"after {outcome.all_direct_s:.1f} s"
    print(f"{outcome.direct} of {outcome.pairs} pairs direct; all of them {when}")
    print(f"{outcome.server_packets:,} packets through the server in {options.seconds:g} s")
    for kind, number in outcome.by_kind.items():
        print(f"    {number:,} {kind}")
    print(f"{outcome.connected} of {outcome.pairs} calls ended well")
    for error, number in outcome.errors.items():
        print(f"{number} x {error}")


if __name__ == "__main__":
    main()
