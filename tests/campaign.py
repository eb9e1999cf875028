"""The fault campaign: whole nodes on a bad network, one small story a seed, and what must hold.

    python -m tests.campaign --seeds 1000
    python -m tests.campaign --seed 17 -v

A server and three clients shake hands, send, ping, route, leave, crash, come back, move and are cut
off, and the server is restarted, while a fifth of all datagrams is lost, some come twice and some
come late. They speak under seal; in one story of five all speak in the open, and in one a client
does. Whatever happens, a message reaches its reader once or its sender is told, and afterwards
nothing is left over. Time is virtual, and a seed always tells the same story.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from tests.campaign_checks import Summary
from tests.campaign_story import DUPLICATION, LOSS, REORDER, Story

PROGRESS_EVERY = 100
"""Seeds between two lines of progress."""


Play: TypeAlias = Callable[[int, Callable[[str], None]], Summary]
"""Runs one seed, and tells each line of its account; raises what must not be."""


def play(seed: int, tell: Callable[[str], None] = lambda _line: None) -> Summary:
    """Run one seed.

    Args:
        seed: Which.
        tell: Called with each line of its account.

    Raises:
        BrokenError: Something that must hold does not.
    """
    began = time.perf_counter()
    summary = Story(seed, tell).run()
    summary.slowest_seed = (time.perf_counter() - began, seed)
    return summary


def safely(play: Play, seed: int, tell: Callable[[str], None] = lambda _line: None) -> Summary:
    """Run one seed of a campaign; what it raises is in `failures`."""
    try:
        return play(seed, tell)
    except Exception as error:
        return Summary(seeds=1, failures={seed: f"{type(error).__name__}: {error}"})


play_safely = partial(safely, play)


def run(
    seeds: Iterable[int],
    jobs: int,
    progress: Callable[[Summary], None],
    play_one: Callable[[int], Summary] = play_safely,
) -> Summary:
    """Run many seeds in several processes; `progress` is called after each."""
    total = Summary()
    with multiprocessing.Pool(jobs) as pool:
        for summary in pool.imap_unordered(play_one, seeds, chunksize=4):
            total.add(summary)
            progress(total)
    return total


def report(total: Summary, wall_s: float) -> str:
    """The account of a whole campaign."""
    message_s, message_seed = total.slowest_message
    megabyte_s, megabyte_seed = total.slowest_megabyte
    seed_s, seed = total.slowest_seed
    lines = [
        f"{total.seeds:,} seeds ({LOSS:.0%} lost, {DUPLICATION:.0%} doubled, {REORDER:.0%} late):"
        f" {total.datagrams:,} datagrams in {total.virtual_s / 3600:.1f} h of virtual time,"
        f" {wall_s:.0f} s of real time",
        f"handshakes       {total.handshakes:9,}  all complete",
        f"delivered        {total.delivered:9,}  each exactly once",
        f"reported failed  {total.reported:9,}  {total.arrived_all_the_same:,} of them had arrived",
        f"pings            {total.pings:9,}  {total.pings_answered:,} of them answered",
        f"introductions    {total.introductions:9,}  {total.introductions_failed:,} of them failed",
        f"moves            {total.moves:9,}  and {total.restarts:,} restarts",
        f"retransmissions  {total.retransmissions:9,}",
        f"found no room    {total.no_room:9,}  at first, with slow readers",
        f"slowest message  {message_s:9.1f}  s (seed {message_seed})",
        f"slowest 1 MB     {megabyte_s:9.1f}  s (seed {megabyte_seed})",
        f"slowest seed     {seed_s:9.1f}  s of real time (seed {seed})",
    ]
    if total.failures:
        lines[0] = f"{len(total.failures)} of {lines[0]}"
        lines[1:] = [line.partition("  all ")[0].partition("  each ")[0] for line in lines[1:]]
    lines += [f"FAILED seed {seed}: {text}" for seed, text in sorted(total.failures.items())]
    return "\n".join(lines)


def main() -> int:
    """The command line; 1 if a seed failed."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=1000, help="how many, from 0 (1000)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: its account")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="processes (as many as there are CPUs)",
    )
    options = parser.parse_args()
    began = time.perf_counter()

    def progress(total: Summary) -> None:
        if total.seeds % PROGRESS_EVERY == 0:
            failed = f", {len(total.failures)} failed" if total.failures else ""
            seconds = time.perf_counter() - began
            print(f"{total.seeds} seeds{failed}, {seconds:.0f} s", file=sys.stderr, flush=True)

    if options.seed is not None:
        total = play_safely(options.seed, print if options.verbose else lambda _line: None)
    else:
        total = run(range(options.seeds), options.jobs, progress)
    print(report(total, time.perf_counter() - began))
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
