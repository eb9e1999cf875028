"""What GitHub reads is as it wants it: workflows, issue forms, and what they ask for exists."""

import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from p2ptui import Config
from p2ptui.cli import main
from p2ptui.config.render import render_config
from p2ptui.secure.secret import Secret
from p2ptui.version import VERSION
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
ACTION = re.compile(r"uses: (\S+?)@(\S+)(.*)")


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text("utf-8"))


def program(name: str) -> str:
    """A program beside this Python."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    assert found is not None, f"{name} is not installed: pip install -e '.[test]'"
    return found


def run(*command: str) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
        ("dependabot", [GITHUB / "dependabot.yml"]),
    ],
    ids=["workflows", "forms", "config", "dependabot"],
)
def test_files_have_the_form_that_github_asks_for(schema: str, paths: list[Path]) -> None:
    run(program("check-jsonschema"), "--builtin-schema", f"vendor.{schema}", *map(str, paths))


def test_nothing_in_the_workflows_is_unsafe() -> None:
    run(program("zizmor"), "--offline", "--no-progress", "--quiet", str(GITHUB))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_the_hash_of_a_commit(path: Path) -> None:
    used = ACTION.findall(path.read_text("utf-8"))
    assert used
    for action, pin, comment in used:
        assert re.fullmatch(r"[0-9a-f]{40}", pin), f"{action}@{pin}"
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action}: which version is it?"


def test_no_test_is_skipped_there_for_want_of_a_program() -> None:
    """The workflow installs what .ci/run does, but for what is there already or needs root."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    (own,) = re.findall(r"apt-get install -qy\s+(.+)", (GITHUB / "workflows/tests.yml").read_text())
    wanted = set(re.findall(r"^want (\S+)", script, re.M))
    assert "tmux" in wanted
    assert wanted - set(own.split()) == {"nftables", "iproute2", "systemd"}
    assert set(own.split()) <= wanted


def test_the_scripts_that_the_workflows_run_exist() -> None:
    """Nothing but GitHub runs these lines: a script that was renamed would be missed there only."""
    run = "".join(path.read_text("utf-8") for path in WORKFLOWS)
    named = set(re.findall(r"python3? (\.ci/\S+)", run))
    assert ".ci/build_container.py" in named  # the image is built nowhere else
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_an_action_is_of_one_version_everywhere() -> None:
    used = {(a, p) for path in WORKFLOWS for a, p, _ in ACTION.findall(path.read_text("utf-8"))}
    assert len({action for action, _ in used}) == len(used)


def test_all_systems_and_versions_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if ":: 3." in line]
    matrix = yaml(GITHUB / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == named
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]


def test_a_release_is_a_draft_with_sums_of_all_files() -> None:
    jobs = yaml(GITHUB / "workflows" / "wheels.yml")["jobs"]
    commands = [step.get("run", "") for step in jobs["together"]["steps"]]
    assert any("sha256sum -- * > SHA256SUMS.txt" in command for command in commands)
    draft = next(command for command in commands if "gh release create" in command)
    assert "--draft" in draft
    assert "dist/*" in draft
    systems = {name.partition("-")[0] for name in jobs["executable"]["strategy"]["matrix"]["os"]}
    assert systems == {"ubuntu", "macos", "windows"}


def test_an_executable_holds_all_that_users_may_want(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    import build_executable

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(build_executable.extras().split(",")) == {
        name for name in extras["optional-dependencies"] if name not in ("fuzz", "test")
    }


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", "p2ptui-x86_64-linux.tar.gz"),
        ("darwin", "arm64", "p2ptui-aarch64-macos.tar.gz"),
        ("win32", "AMD64", "p2ptui-x86_64-windows.zip"),
    ],
)
def test_a_release_takes_an_executable_by_its_name(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, name: str
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    import build_executable

    monkeypatch.setattr(build_executable.sys, "platform", system)
    monkeypatch.setattr(build_executable.platform, "machine", lambda: machine)
    suffix = ".zip" if system == "win32" else ".tar.gz"
    assert build_executable.name_here() + suffix == name
    steps = yaml(GITHUB / "workflows" / "wheels.yml")["jobs"]["together"]["steps"]
    [named] = [step["run"] for step in steps if "is not of" in step.get("run", "")]
    taken = re.findall(r"p2ptui-\*-([a-z.]+)", named)
    assert name.rpartition("-")[2] in taken


def test_the_notes_of_a_release_are_those_of_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    from release_notes import notes_of

    changelog = "# Changelog\n\n## 1.2.0 - 2026-01-02\n\n- new\n\n## 1.2\n\n- old\n"
    assert notes_of("1.2.0", changelog) == "- new"
    assert notes_of("1.2", changelog) == "- old"
    with pytest.raises(SystemExit, match=r"no section of version 1\.1: add it"):
        notes_of("1.1", changelog)
    with pytest.raises(SystemExit, match=r"says nothing of version 1\.3: fill"):
        notes_of("1.3", "## 1.3\n\n## 1.2\n\n- old\n")


def test_an_executable_is_compiled_where_the_page_says() -> None:
    jobs = yaml(GITHUB / "workflows" / "wheels.yml")["jobs"]
    (step,) = (step for step in jobs["executable"]["steps"] if "run" in step)
    (system,) = re.findall(r"runner.os == '(\w+)' && '1'", step["env"]["P2PTUI_COMPILE"])
    page = (ROOT / "docs" / "releases.md").read_text("utf-8")
    assert f"compiled on {system} " in page  # as a user is told


def test_a_tag_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    from release_notes import check_version

    module = (ROOT / "p2ptui" / "version.py").read_text("utf-8")
    check_version(VERSION, module)
    with pytest.raises(
        SystemExit, match=rf"says {re.escape(VERSION)}, not 9\.9\.9: set the version"
    ):
        check_version("9.9.9", module)


def test_the_names_of_a_release_are_compared_before_anything_is_built() -> None:
    jobs = yaml(GITHUB / "workflows" / "wheels.yml")["jobs"]
    assert [name for name, job in jobs.items() if "needs" not in job] == ["pure"]
    commands = [step["run"] for step in jobs["pure"]["steps"] if "run" in step]
    assert commands[0] == 'python .ci/release_notes.py "$TAG"'


def test_a_bug_report_asks_for_what_the_program_prints(capsys: pytest.CaptureFixture[str]) -> None:
    form = (GITHUB / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8")
    assert "`p2ptui nat --markdown`" in form
    assert "`p2ptui --print-config`" in form
    assert main(["--help"]) == 0
    options = capsys.readouterr().out
    assert main(["nat", "--help"]) == 0
    options += capsys.readouterr().out
    for flag in re.findall(r"(?<![\w-])--[A-Za-z-]+", form):
        assert flag in options, flag


def test_a_printed_configuration_holds_no_key_and_no_password() -> None:
    """As the form for bug reports says."""
    config = Config(network_key=Secret(b"k" * 32)).with_options(
        cluster={"servers": ["nats://alice:s3cret@broker.example:4222"]}
    )
    text = render_config(config)
    for secret in ("s3cret", "alice", "kkkk", (b"k" * 32).hex()):
        assert secret not in text
