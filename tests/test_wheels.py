"""What builds the wheels of a release agrees with the project, and what tries them can tell."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from p2ptui.version import described, is_compiled
from tests.installed import environment
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
WORKFLOW = (ROOT / ".github" / "workflows" / "wheels.yml").read_text("utf-8")
TRY = ROOT / ".ci" / "try_installed.py"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def wheels() -> dict[str, Any]:
    settings: dict[str, Any] = project()["tool"]["cibuildwheel"]
    return settings


def versions() -> list[int]:
    """The minor versions of CPython for which wheels are built."""
    return [int(minor) for minor in re.findall(r"cp3(\d+)-\*", wheels()["build"])]


def jobs() -> dict[str, str]:
    """Each job of the workflow: its name, and its text."""
    parts = re.split(r"^  (\w+):$", WORKFLOW.partition("\njobs:\n")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_a_wheel_is_compiled_and_tried_as_such() -> None:
    assert wheels()["environment"] == {"P2PTUI_COMPILE": "1"}
    assert wheels()["test-command"] == "python {project}/.ci/try_installed.py compiled"
    assert TRY.is_file()
    compiled, pure = jobs()["compiled"], jobs()["pure"]
    assert "python -m cibuildwheel --output-dir dist" in compiled
    assert "CIBW_" not in WORKFLOW, "what is built is said in pyproject.toml, and only there"
    assert "P2PTUI_COMPILE" not in compiled
    assert 'P2PTUI_COMPILE: "0"' in pure
    assert "python .ci/try_installed.py pure" in pure


def test_wheels_are_for_all_versions_that_the_project_names() -> None:
    oldest = re.fullmatch(r">=3\.(\d+)", project()["project"]["requires-python"])
    assert oldest is not None
    assert versions() == list(range(int(oldest[1]), versions()[-1] + 1))
    assert wheels()["build"].split() == [f"cp3{minor}-*" for minor in versions()]
    assert f'python-version: "3.{oldest[1]}"' in jobs()["pure"]


def test_a_tag_builds_on_each_system() -> None:
    assert 'tags: ["v*"]' in WORKFLOW
    systems = re.search(r"os: \[(.+)\]", jobs()["compiled"])
    assert systems is not None
    assert {name.partition("-")[0] for name in systems[1].split(", ")} == {
        "ubuntu",
        "macos",
        "windows",
    }


def test_all_that_is_built_comes_together() -> None:
    *built, last = jobs()
    assert f"needs: [{', '.join(built)}]" in jobs()[last]
    pattern = re.search(r"pattern: (\S+)\*", jobs()[last])
    assert pattern is not None
    for name in built:
        kept = re.search(r"name: (wheels-\S*)", jobs()[name])
        assert kept is not None
        assert kept[1].startswith(pattern[1])


def test_the_workflow_may_change_nothing() -> None:
    assert "permissions:\n  contents: read\n" in WORKFLOW
    assert "secrets." not in WORKFLOW


def tried(meant: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(TRY), meant],
        capture_output=True,
        env=environment(),
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("meant", ["compiled", "pure"])
def test_what_is_installed_is_known_for_what_it_is(meant: str) -> None:
    done = tried(meant)
    if is_compiled() is (meant == "compiled"):
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"p2ptui {described()}\n")
    else:
        assert done.returncode == 1
        assert f"p2ptui {described()}, but not {meant}" in done.stderr
