"""What goes direct between which NATs: `python -m tests.bench.traversal [--runs N]`.

Kernel NATs (tests/natlab; needs root and nftables), a server, and two nodes that are fresh in every
run. Each part prints a table; `--json FILE` keeps every run.
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Final

from tests.natlab.namespaces import missing
from tests.natlab.rules import Kind
from tests.natlab.traversal import Ground, Side, join, meet, part

GRID: Final = (
    Kind.OPEN,
    Kind.FULL_CONE,
    Kind.RESTRICTED,
    Kind.PORT_RESTRICTED,
    Kind.SYMMETRIC_STEP_1,
    Kind.SYMMETRIC_RANDOM,
    Kind.ADDRESS_DEPENDENT,
)

OFTEN: Final = (
    (Kind.PORT_RESTRICTED, Kind.SYMMETRIC_STEP_1),
    (Kind.SYMMETRIC_STEP_1, Kind.SYMMETRIC_STEP_1),
    (Kind.PORT_RESTRICTED, Kind.SYMMETRIC_RANDOM),
)
"""Cells whose share of direct paths is a matter of chance: run `--special` times."""

RATES: Final = (0, 10, 35, 50)
"""New flows per second from others behind the same NAT."""

LOSSES: Final = (0, 2, 5, 10, 20)
"""Percent, on each of two links in each direction: of round trips between the nodes, four times as
much is lost, or a little less."""

REFILL_S: Final = 0.3
"""After this time, a NAT that limits new flows has forgotten those of the previous run."""

RELAYED_S: Final = (2.0, 0.5, 4.0, 8.0, 15.0)
"""How long a path stays cut after the relay took over."""

Row = tuple[str, list[dict[str, Any]]]


def grid(runs: int, special: int, cells: Sequence[str]) -> Iterator[Row]:
    """The upper triangle; the NATs stay from cell to cell."""
    with Ground() as ground:
        sides: dict[tuple[int, Kind], Side] = {}

        def side(number: int, kind: Kind) -> Side:
            if (number, kind) not in sides:
                sides[number, kind] = ground.side(kind)
            return sides[number, kind]

        for one, other in combinations_with_replacement(GRID, 2):
            name = f"{one}/{other}"
            if cells and name not in cells:
                continue
            count = special if (one, other) in OFTEN else runs
            yield name, [meet(side(0, one), side(1, other)) for _ in range(count)]


def places(runs: int) -> Iterator[Row]:
    """Two NATs in a row, the same LAN, and NATs with a trap."""
    with Ground() as ground:
        lab = ground.laboratory
        behind_two = ground.side(Kind.FULL_CONE, Kind.PORT_RESTRICTED)
        strict = ground.side(Kind.PORT_RESTRICTED)
        yield (
            "double NAT (port-restricted in full cone)/port-restricted",
            _runs(runs, behind_two, strict),
        )
        yield (
            "double NAT (symmetric-step-1 in port-restricted)/port-restricted",
            _runs(runs, ground.side(Kind.SYMMETRIC_STEP_1, Kind.PORT_RESTRICTED), strict),
        )
        yield (
            "symmetric-random/symmetric-random, with IPv6 beside",
            _runs(runs, *(ground.side(Kind.SYMMETRIC_RANDOM, ipv6=True) for _ in range(2))),
        )
        for kind in (Kind.PORT_RESTRICTED, Kind.HAIRPIN, Kind.SYMMETRIC_RANDOM):
            nat = lab.nat(kind)
            yield (
                f"same LAN behind {kind}",
                _runs(runs, ground.at(nat.host()), ground.at(nat.host())),
            )
        for kind in (Kind.PORT_RESTRICTED, Kind.HAIRPIN):
            # Two homes behind one carrier: only the carrier's hairpin connects them, if it has one.
            carrier = lab.nat(kind)
            homes = [ground.at(carrier.nat(Kind.PORT_RESTRICTED).host()) for _ in range(2)]
            yield f"two homes behind one {kind} carrier", _runs(runs, *homes)


def traps(runs: int) -> Iterator[Row]:
    """The early packet, and the limit of new flows, with and without the measure."""
    with Ground() as ground:
        fragile = [ground.side(Kind.FRAGILE) for _ in range(2)]
        for name, ttl in (("with opener and lead", 2), ("without", 0)):
            yield (
                f"fragile/fragile, {name}",
                _runs(runs, *fragile, options={"ice": {"opener_ttl": ttl}}),
            )
        for kind in (Kind.SYMMETRIC_STEP_1, Kind.SYMMETRIC_RANDOM):
            yield f"fragile/{kind}", _runs(runs, fragile[0], ground.side(kind))
        limited, random = ground.side(Kind.FLOW_LIMITED), ground.side(Kind.SYMMETRIC_RANDOM)
        few = max(1, runs // 4)
        yield (
            "flow-limited/port-restricted",
            _runs(runs, limited, ground.side(Kind.PORT_RESTRICTED), rest_s=REFILL_S),
        )
        yield (
            "flow-limited/symmetric-step-1",
            _runs(few, limited, ground.side(Kind.SYMMETRIC_STEP_1), rest_s=REFILL_S),
        )
        for name, adapts in (("pace adapts", True), ("pace fixed", False)):
            how: dict[str, Any] = {"options": {"ice": {"adapt_pace": adapts}}, "wait_s": 40.0}
            yield f"flow-limited/symmetric-random, {name}", _runs(runs, limited, random, **how)
            yield f"symmetric-random/flow-limited, {name}", _runs(runs, random, limited, **how)


def loss(runs: int) -> Iterator[Row]:
    """Loss on the outer link of each NAT, in each direction."""
    with Ground() as ground:
        strict = ground.side(Kind.PORT_RESTRICTED)
        for kind in (Kind.PORT_RESTRICTED, Kind.SYMMETRIC_STEP_1, Kind.SYMMETRIC_RANDOM):
            partner = ground.side(kind)
            # Without loss at first, so that the NATs' kinds are known.
            meet(strict, partner)
            for percent in LOSSES:
                for side in (strict, partner):
                    side.nats[-1].set_loss(percent)
                yield f"port-restricted/{kind}, {percent} % lost", _runs(runs, strict, partner)
            strict.nats[-1].set_loss(0)


def unknown(runs: int) -> Iterator[Row]:
    """The same for nodes that do not know yet what they are behind."""
    with Ground() as ground:
        for one, other in (
            (Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED),
            *OFTEN,
            (Kind.SYMMETRIC_RANDOM, Kind.SYMMETRIC_RANDOM),
        ):
            rows = _runs(runs, ground.side(one), ground.side(other), facts=False)
            yield f"{one}/{other}, NATs unknown", rows


def traffic(runs: int) -> Iterator[Row]:
    """Prediction while others behind the same NAT begin flows."""
    ways: dict[str, dict[str, Any]] = {
        "predicted": {},
        "constant step": {"constant_step": True},
        "constant step, one port": {
            "constant_step": True,
            "options": {"port_prediction": {"max_predictions": 1}},
        },
    }
    with Ground() as ground:
        sequential = ground.side(Kind.SYMMETRIC_STEP_1)
        assert sequential.host.nat is not None
        neighbour = ground.at(sequential.host.nat.host())
        for kind in (Kind.PORT_RESTRICTED, Kind.SYMMETRIC_STEP_1):
            partner = ground.side(kind)
            # Quiet at first, so that the NATs' kinds are known.
            meet(partner, sequential)
            for rate in RATES:
                neighbour.tell("flows", per_second=rate)
                for way, how in ways.items():
                    rows = _runs(runs, partner, sequential, **how)
                    yield f"{kind}/symmetric-step-1, {rate} flows/s, {way}", rows
                neighbour.tell("flows", per_second=0)


def _runs(runs: int, a: Side, b: Side, *, rest_s: float = 0.0, **how: Any) -> list[dict[str, Any]]:
    outcomes = []
    for _ in range(runs):
        time.sleep(rest_s)
        outcomes.append(meet(a, b, **how))
    return outcomes


def upgrade(count: int, per_second: float) -> Iterator[dict[str, Any]]:
    """Numbered messages over relay, direct, relay after a cut, and direct again."""
    with Ground() as ground:
        a, b = ground.side(Kind.PORT_RESTRICTED), ground.side(Kind.PORT_RESTRICTED)
        for number, relayed_s in enumerate(RELAYED_S):
            share = count if number == 0 else count // 5
            yield stream(ground, a, b, share, per_second, relayed_s)


def stream(
    ground: Ground, a: Side, b: Side, count: int, per_second: float, relayed_s: float = 2.0
) -> dict[str, Any]:
    """Send over a relay, a direct path, the relay when that one is cut, and a direct one again.

    Args:
        ground: The laboratory.
        a: The sender.
        b: The receiver.
        count: Messages.
        per_second: Messages per second.
        relayed_s: How long the path stays cut after the relay took over.
    """
    lab = ground.laboratory
    nats = a.nats[-1], b.nats[-1]
    join(a, b)
    # Relayed at first: the direct path is not there yet.
    lab.block(*nats)
    a.tell("connect", to=b.node_id, wait_s=0.5)
    a.tell("stream", to=b.node_id, count=count, per_second=per_second)
    time.sleep(1.0)
    lab.unblock(*nats)
    a.tell("search", to=b.node_id)
    until_path(a, b, "direct", 10.0)
    time.sleep(min(2.0, count / per_second / 4))
    cut = time.monotonic()
    lab.block(*nats)
    fell_back = until_path(a, b, "relay", 10.0, since=cut) - cut
    time.sleep(relayed_s)
    restored = time.monotonic()
    lab.unblock(*nats)
    returned = until_path(a, b, "direct", 30.0, since=restored) - restored
    while (report := a.tell("report", to=b.node_id))["streaming"]:
        time.sleep(0.2)
    other = b.tell("report", to=a.node_id)
    part(a, b)
    return {
        "sent": count,
        "delivered": report["delivered"],
        # The two from the connect are among them.
        "received": other["received"] - 2,
        "distinct": other["distinct_streamed"],
        "fell_back_s": fell_back,
        "returned_s": returned,
        "paths": [path["path"] for path in report["paths"]],
    }


def until_path(a: Side, b: Side, path: str, limit_s: float, since: float = 0.0) -> float:
    """When a node noted that its path to the other became this one.

    Raises:
        TimeoutError: It did not.
    """
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        for change in a.tell("report", to=b.node_id)["paths"]:
            if change["path"] == path and change["at"] >= since:
                at: float = change["at"]
                return at
        time.sleep(0.05)
    raise TimeoutError(f"no {path} path within {limit_s:g} s")


def table(rows: Iterator[Row]) -> Iterator[Row]:
    """Print each row as it comes."""
    print(
        "| cell | runs | delivered | direct | how | at first | median ms | worst ms | checks"
        " | why not |"
    )
    print("| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |")
    for name, outcomes in rows:
        print(line(name, outcomes), flush=True)
        yield name, outcomes


def line(name: str, outcomes: Sequence[dict[str, Any]]) -> str:
    """One row: shares, and medians of the direct ones."""
    done = [one for one in outcomes if "error" not in one]
    direct = [one for one in done if one["path"] == "direct"]
    methods = Counter(one["method"] for one in direct)
    how = ", ".join(f"{method} {number}" for method, number in methods.most_common())
    # A round of plain checks has the number 0, and is left out if known to be useless.
    first = sum(one["rounds"] <= 1 for one in direct)
    times = [one["direct_ms"] for one in direct]
    sent = [sum(one["checks"]) for one in direct or done]
    reasons = Counter(one["reason"] or "-" for one in done if one["path"] != "direct")
    errors = Counter(one["error"] for one in outcomes if "error" in one)
    why = "; ".join(f"{reason} ({number})" for reason, number in (reasons + errors).most_common())
    delivered = sum(one.get("delivered", False) and one["received"] == 2 for one in outcomes)
    cells = (
        name,
        len(outcomes),
        delivered,
        f"{len(direct) / len(outcomes):.1%}",
        how or "-",
        f"{first / len(outcomes):.1%}" if direct else "-",
        f"{statistics.median(times):.0f}" if times else "-",
        f"{max(times):.0f}" if times else "-",
        f"{statistics.median(sent):.0f}" if sent else "-",
        why or "",
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Run what the arguments ask for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of a cell")
    parser.add_argument("--special", type=int, default=200, help="of a cell that takes luck")
    parser.add_argument("--cells", nargs="*", default=[], help="of the grid only these: A/B")
    parser.add_argument("--messages", type=int, default=10_000, help="of the upgrade")
    parser.add_argument("--json", type=Path, help="append every run to this file")
    parser.add_argument(
        "--parts",
        nargs="*",
        default=["grid", "places", "traps", "loss", "unknown", "traffic", "upgrade"],
    )
    options = parser.parse_args()
    if (reason := missing()) is not None:
        sys.exit(reason)
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "grid": lambda: grid(options.runs, options.special, options.cells),
        "places": lambda: places(options.runs),
        "traps": lambda: traps(options.runs),
        "loss": lambda: loss(options.runs),
        "unknown": lambda: unknown(options.runs),
        "traffic": lambda: traffic(options.runs),
    }
    for name in options.parts:
        print(f"\n{name}\n", flush=True)
        if name == "upgrade":
            for seen in upgrade(options.messages, 400.0):
                print(json.dumps(seen), flush=True)
            continue
        for cell, outcomes in table(parts[name]()):
            if options.json:
                with options.json.open("a") as file:
                    file.writelines(f"{json.dumps([cell, one])}\n" for one in outcomes)


if __name__ == "__main__":
    main()
