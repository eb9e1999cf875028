"""Whether a cluster holds: `python -m tests.cluster_trial`; a table, or `--json`."""

import argparse
import asyncio
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.cluster.brokers import PROGRAM
from tests.cluster_trial.memory import fill
from tests.cluster_trial.trial import Options, Row, Trial

PARTS: Final = ("pairs", "cost", "broker", "servers", "cuts", "memory")
MOST_MORE_BYTES: Final = 60_000_000
"""For 100,000 nodes."""


async def run(options: Options, parts: list[str], known: int, say: Any) -> list[Row]:
    """All of it; every process ends with it."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(options, Path(folder), say)
        try:
            if parts != ["memory"]:
                await trial.begin()
            else:
                trial.broker.start()
            stories = {
                "pairs": trial.all_pairs,
                "cost": trial.cost,
                "broker": trial.kill_broker,
                "servers": trial.kill_servers,
                "cuts": trial.cut_off,
            }
            for part, story in stories.items():
                if part in parts:
                    began = time.monotonic()
                    await story()
                    say(f"  ({part}: {time.monotonic() - began:.0f} s)")
            if "memory" in parts:
                told = await fill(trial.broker, Path(folder), known)
                more = told["after"] - told["before"]
                trial.note(
                    f"memory of a server that knows {known:,} nodes elsewhere",
                    f"{more / 1e6:.1f} MB more",
                    f"{MOST_MORE_BYTES * known / 1e5 / 1e6:.0f} MB",
                    holds=more <= MOST_MORE_BYTES * known / 1e5,
                    **told,
                )
        finally:
            await trial.end()
    return trial.rows


def table(rows: list[Row]) -> str:
    """For people."""
    lines = ["| what | measured | wanted | holds |", "| --- | --- | --- | --- |"]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.measured} | {row.wanted} | {'yes' if row.holds else 'NO'} |"
        )
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster_trial", description=__doc__)
    for field in dataclasses.fields(Options):
        kind = type(field.default)
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=kind, default=field.default, metavar=kind.__name__)
    parser.add_argument("--known", type=int, default=100_000, help="nodes, for the memory")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", action="store_true", help="all figures")
    told = vars(parser.parse_args())
    parts, known, is_json = told.pop("only"), told.pop("known"), told.pop("json")
    if PROGRAM is None:
        print("there is no nats-server here: apt install nats-server", file=sys.stderr)
        return 2

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    rows = asyncio.run(run(Options(**told), parts, known, say))
    print(
        json.dumps([dataclasses.asdict(row) for row in rows], indent=1) if is_json else table(rows)
    )
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
