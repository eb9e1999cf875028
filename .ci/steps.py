"""The steps of a build: programs whose output matters only if they fail."""

import os
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run a step; its output is shown only if it fails.

    Args:
        command: The program and its arguments.
        cwd: Where it runs.

    Returns:
        Its output, with what it wrote to standard error.

    Raises:
        SystemExit: It failed; the text has the command and its output.
    """
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\nended with {done.returncode}")
    return done.stdout
