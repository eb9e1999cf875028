"""A file that somebody sent is never run as code by the next start of p2ptui in its folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import p2ptui
from tests.installed import PATIENCE_S, environment, run

MODULES = ("queue.py", "json.py", "uvloop.py", "asyncio.py", "ssl.py")
ROOT = Path(p2ptui.__file__).parents[1]


def module(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m p2ptui` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "p2ptui", *arguments],
        cwd=folder,
        env=environment({"PYTHONPATH": str(ROOT)}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("into", [[], ["--into", "."]])
def test_python_m_receives_nothing_into_the_folder_that_it_imports_from(tmp_path, into):
    said = module(tmp_path, "receive", "-a", "127.0.0.1:0", *into)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.count("\n") == 1
    assert "Python runs modules from there" in said.stderr
    assert "--into DIR" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_python_m_runs_nothing_that_lies_in_the_current_folder(tmp_path):
    for name in MODULES:
        (tmp_path / name).write_text("open('ran', 'w').write(__file__)\n")
    said = module(tmp_path, "ping", "127.0.0.1:9", "--timeout", "0.2")
    assert said.returncode == 1
    assert said.stderr.startswith("p2ptui: 127.0.0.1:9")
    assert {path.name for path in tmp_path.iterdir()} == {*MODULES}


def test_the_command_runs_nothing_either(tmp_path):
    for name in (*MODULES, "p2ptui.py"):
        (tmp_path / name).write_text("open('ran', 'w').write(__file__)\n")
    said = run("ping", "127.0.0.1:9", "--timeout", "0.2", cwd=tmp_path)
    assert said.returncode == 1
    assert "ran" not in os.listdir(tmp_path)
