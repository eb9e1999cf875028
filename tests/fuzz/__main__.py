"""Fuzzing of all that reads bytes of others, guided by the branches that they take.

    python -m tests.fuzz --minutes 60
    python -m tests.fuzz --harness endpoint --cases 1000000

Each harness begins with its corpus in tests/fuzz/corpus. A finding is a file in
tests/fuzz/findings, which tests/fuzz/test_corpus.py replays from then on.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parent.parent
HARNESSES: Final = ("codec", "stun", "frames", "secure", "endpoint")
LONGEST_CASE_S: Final = 60
MOST_MB: Final = 1024


def fuzz(name: str, limits: list[str], kept: Path | None, *, verbose: bool) -> int:
    """Run one harness to its end; libFuzzer's exit code."""
    findings = FOLDER / "findings" / name
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="p2ptui-fuzz-") as temporary:
        grown = Path(temporary) if kept is None else kept / name
        grown.mkdir(parents=True, exist_ok=True)
        log = Path(temporary) / "log"
        command = [
            *(sys.executable, "-m", "tests.fuzz.guided", name),
            *limits,
            f"-timeout={LONGEST_CASE_S}",
            f"-report_slow_units={LONGEST_CASE_S}",
            f"-rss_limit_mb={MOST_MB}",
            f"-artifact_prefix={findings}/",
            "-print_final_stats=1",
            "-len_control=0",
            *(str(grown), str(FOLDER / "corpus" / name), str(findings)),
        ]
        # Whatever depends on the order of a set is to come out the same when it is replayed.
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        began = time.perf_counter()
        with log.open("w") as output:
            ran = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=None if verbose else output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        seconds = time.perf_counter() - began
        text = log.read_text("utf-8", "replace")
    if not verbose:
        print(_told(name, text, seconds, ran.returncode), flush=True)
    return ran.returncode


def _told(name: str, log: str, seconds: float, code: int) -> str:
    """A line for a run without a finding; else also the end of what the fuzzer printed."""
    marked = [line for line in log.splitlines() if " cov: " in line]
    reached = marked[-1].split("exec/s")[0].split("\t")[-1].strip() if marked else "nothing read"
    cases = [line for line in log.splitlines() if line.startswith("stat::number_of_executed_units")]
    count = int(cases[-1].split()[-1]) if cases else 0
    fed = [line for line in log.splitlines() if line.startswith("datagrams: ")]
    what = f" of {int(fed[-1].split()[-1]):,} datagrams" if fed else ""
    rate = count / max(seconds, 0.001)
    line = f"{name:9} {count:11,} cases{what} in {seconds:.0f} s ({rate:,.0f} a second), {reached}"
    return line if code == 0 else f"{line}\nFINDING in {name}:\n{log[-6000:]}"


def main() -> int:
    """The command line; 1 if there is a finding."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--harness", choices=HARNESSES, help="only this one")
    parser.add_argument("--minutes", type=float, help="for all together (1)")
    parser.add_argument("--cases", type=int, help="of each, instead of a time")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the mutations; 0: another each time"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the cases that reached something")
    parser.add_argument("-v", "--verbose", action="store_true", help="what libFuzzer prints")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris, which guides the fuzzing, is not there for this Python or system")
        return 0
    names = [options.harness] if options.harness else HARNESSES
    limits = [f"-seed={options.seed}"]
    if options.cases is not None:
        limits.append(f"-runs={options.cases}")
    if options.minutes is not None or options.cases is None:
        seconds = max(round((options.minutes or 1.0) * 60 / len(names)), 1)
        limits.append(f"-max_total_time={seconds}")
    codes = [fuzz(name, limits, options.keep, verbose=options.verbose) for name in names]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
