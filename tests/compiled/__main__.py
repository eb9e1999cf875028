"""Runs tests on the compiled package.

    python -m tests.compiled                    build, and run the chosen part
    python -m tests.compiled tests/core -x      build, and run these: arguments are pytest's
    python -m tests.compiled --build FOLDER     only build, into a folder
    python -m tests.compiled --from FOLDER ...  run on what was built there
    python -m tests.compiled --run tests.fuzz --minutes 5
                                                run another program than pytest: its arguments

What was built is thrown away, or kept in the folder that is named: there it is refused once the
sources have changed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.compiled.build import ROOT, BuildError, build, copy_tests, is_of_now, missing
from tests.compiled.chosen import CHOSEN

NOTHING_COMPILED: Final = 77
"""The exit code where nothing can be compiled: none that pytest has."""


def run(folder: Path, module: str, arguments: list[str]) -> int:
    """Run a program of the tests on the package in a folder; its exit code."""
    copy_tests(folder)
    if module == "pytest":
        arguments = arguments or list(CHOSEN)
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        check=False,
    ).returncode


def main() -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.compiled",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--build", type=Path, metavar="FOLDER", help="build there, and run nothing")
    only.add_argument("--from", dest="built", type=Path, metavar="FOLDER", help="was built there")
    parser.add_argument("--run", default="pytest", metavar="MODULE", help="in place of pytest")
    options, arguments = parser.parse_known_args()
    if (lacking := missing()) is not None:
        print(f"nothing was compiled: {lacking}", file=sys.stderr)
        return NOTHING_COMPILED
    if options.built is not None:
        if not is_of_now(options.built):
            print(f"{options.built} is of other sources: build it again", file=sys.stderr)
            return 1
        return run(options.built.resolve(), options.run, arguments)
    with tempfile.TemporaryDirectory(prefix="p2ptui-compiled-") as temporary:
        folder = options.build or Path(temporary) / "p2ptui"
        try:
            build(folder.resolve())
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
        return 0 if options.build else run(folder, options.run, arguments)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
