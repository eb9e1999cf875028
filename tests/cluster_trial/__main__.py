"""Whether a cluster holds: `python -m tests.cluster_trial`; a line for each thing, or `--json`."""

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tests.cluster.brokers import PROGRAM
from tests.cluster_trial.memory import fill
from tests.cluster_trial.trial import Options, Row, Trial

PARTS: Final = ("pairs", "cost", "broker", "servers", "cuts", "memory")
MOST_MORE_BYTES: Final = 60_000_000
"""For 100,000 nodes."""

LONGEST_PART_S: Final = 1_500.0


async def run(options: Options, parts: list[str], known: int, say: Any) -> list[Row]:
    """All of it; every process ends with it. A part that fails is a row, and the next begins."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(options, Path(folder), say)

        async def memory() -> None:
            told = await fill(trial.broker, Path(folder), known)
            more = told["after"] - told["before"]
            trial.note(
                f"memory of a server that knows {known:,} nodes elsewhere",
                f"{more / 1e6:.1f} MB more",
                f"{MOST_MORE_BYTES * known / 1e5 / 1e6:.0f} MB",
                holds=more <= MOST_MORE_BYTES * known / 1e5,
                **told,
            )

        stories = {
            "pairs": trial.all_pairs,
            "cost": trial.cost,
            "broker": trial.kill_broker,
            "servers": trial.kill_servers,
            "cuts": trial.cut_off,
            "memory": memory,
        }
        try:
            if parts != ["memory"]:
                await trial.begin()
            else:
                trial.broker.start()
            for part, story in stories.items():
                if part in parts:
                    await _tell(trial, part, story, say)
        finally:
            await trial.end()
    return trial.rows


async def _tell(trial: Trial, part: str, story: Callable[[], Awaitable[None]], say: Any) -> None:
    began = time.monotonic()
    try:
        await asyncio.wait_for(story(), LONGEST_PART_S)
    except Exception as error:
        trial.note(
            f"{part}: done", f"{type(error).__name__}: {error}", "without a fault", holds=False
        )
        try:
            await trial.restore()
        except Exception as again:
            say(f"  not all is as before: {type(again).__name__}: {again}")
    say(f"  ({part}: {time.monotonic() - began:.0f} s)")


def lasts_s(options: Options, parts: list[str]) -> float:
    """How long it takes, about."""
    each = {
        "pairs": 10.0,
        "cost": 2 * options.quiet + 10,
        "broker": options.kills * (1.6 + options.watched + options.calm) + 10,
        "servers": options.server_kills * 22.0,
        "cuts": options.cuts * (options.cut + 7.0) + 10,
        "memory": 60.0,
    }
    begins = 0 if parts == ["memory"] else 15 + options.nodes / 30
    return begins + sum(each[part] for part in parts)


def table(rows: list[Row]) -> str:
    """For people."""
    return "\n".join(row.words for row in rows)


def _end(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt  # what was started ends with it


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

    signal.signal(signal.SIGTERM, _end)
    options = Options(**told)
    say(f"{', '.join(parts)}: about {lasts_s(options, parts) / 60:.0f} minutes")
    began = time.monotonic()
    try:
        rows = asyncio.run(run(options, parts, known, say))
    except KeyboardInterrupt:
        return 130
    say(f"took {(time.monotonic() - began) / 60:.1f} minutes")
    print(
        json.dumps([dataclasses.asdict(row) for row in rows], indent=1) if is_json else table(rows)
    )
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
