"""A file that somebody sent is never run as code by the next start of p2ptui in its folder."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import p2ptui
from tests.installed import PATIENCE_S, environment, run

MODULES = ("queue.py", "json.py", "uvloop.py", "asyncio.py", "ssl.py")
ROOT = Path(p2ptui.__file__).parents[1]


def module(
    folder: Path, *arguments: str, flags: Sequence[str] = ("-m", "p2ptui")
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m p2ptui` in a folder."""
    return subprocess.run(
        [sys.executable, *flags, *arguments],
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
    assert said.stderr.startswith("p2ptui: ")
    assert "127.0.0.1:9" in said.stderr
    assert {path.name for path in tmp_path.iterdir()} == {*MODULES}


@pytest.mark.parametrize("flags", [["-m", "p2ptui"], ["-mp2ptui"], ["-um", "p2ptui"]])
def test_python_m_runs_nothing_of_it_to_begin_with(tmp_path, flags):
    """Not one module of the standard library, but for those that Python itself imports for `-m`."""
    said = module(tmp_path, flags=["-c", "import runpy, sys; print(*sys.modules)"])
    names = {f"{name}.py" for name in sys.stdlib_module_names - set(said.stdout.split())}
    assert "typing.py" in names
    for name in names:
        (tmp_path / name).write_text("open('ran', 'w').write(__file__)\n")
    said = module(tmp_path, "--version", flags=flags)
    assert (said.returncode, said.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("program", ["import p2ptui, mine", "import mine, p2ptui"])
def test_a_program_that_imports_p2ptui_keeps_its_folder(tmp_path, program):
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "program.py").write_text(f"{program}\nprint('done')\n")
    for flags in (["-m", "program"], ["-c", f"{program}; print('done')"], ["program.py"]):
        said = module(tmp_path, "p2ptui", flags=flags)
        assert (said.returncode, said.stdout) == (0, "done\n"), said.stderr


def test_the_command_runs_nothing_either(tmp_path):
    for name in (*MODULES, "p2ptui.py"):
        (tmp_path / name).write_text("open('ran', 'w').write(__file__)\n")
    said = run("ping", "127.0.0.1:9", "--timeout", "0.2", cwd=tmp_path)
    assert said.returncode == 1
    assert "ran" not in os.listdir(tmp_path)
