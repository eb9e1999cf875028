"""One harness under a fuzzer that follows the branches of the code: a process of its own.

    python -m tests.fuzz.guided codec -runs=1000 CORPUS

The arguments after the name are libFuzzer's. It ends the process itself: with 0, or with another
number after a finding.
"""

import importlib
import sys
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any, Final

import atheris

WATCHED: Final = ["p2ptui.bounded", "p2ptui.core", "p2ptui.nat", "p2ptui.secure", "p2ptui.wire"]
"""Packages whose branches are counted: what handles bytes of others."""

TELL_EVERY: Final = 50
"""Cases."""


def main() -> None:
    """Fuzz the harness that is named first."""
    program, name, *arguments = sys.argv
    with atheris.instrument_imports(include=WATCHED):
        harness = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    atheris.Setup([program, f"-max_len={harness.MAX_BYTES}", *arguments], _counted(harness))
    atheris.Fuzz()


def _counted(harness: ModuleType) -> Callable[[bytes], Any]:
    """A harness that says now and then how many datagrams it has fed, if a case has several."""
    if not hasattr(harness, "FED"):
        return harness.test_one
    cases = count(1)

    def test_one(data: bytes) -> None:
        harness.test_one(data)
        if next(cases) % TELL_EVERY == 0:
            print(f"datagrams: {harness.FED['datagrams']}", flush=True)

    return test_one


if __name__ == "__main__":
    main()
