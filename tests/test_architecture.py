"""The house keeps its plan: floors, small modules, owned tasks, the documented commands."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "p2ptui").rglob("*.py"))
MAX_LINES = 450

ids = [str(path.relative_to(ROOT)) for path in MODULES]


def test_imports_point_down_only() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:]


def test_no_two_modules_need_each_other() -> None:
    """Not by way of others, nor for their types alone: a circle has no beginning to read from."""
    needs: dict[str, set[str]] = {}
    for path in MODULES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        needs[name] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                both = (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
                needs[name] |= {module for module in both if module != name}
    sorter = TopologicalSorter(
        {name: {one for one in others if one in needs} for name, others in needs.items()}
    )
    sorter.prepare()  # raises CycleError, which names them


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_module_has_one_idea_and_says_it(path: Path) -> None:
    source = path.read_text("utf-8")
    assert len(source.splitlines()) <= MAX_LINES
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring
    assert docstring.splitlines()[0].strip()


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_every_public_thing_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    bare: list[str] = []

    def visit(node: ast.AST, inside: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if child.name.startswith("_"):
                    continue
                name = f"{inside}{child.name}"
                if ast.get_docstring(child) is None:
                    bare.append(name)
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{name}.")

    visit(tree, "")
    assert not bare


def test_no_background_task_is_without_an_owner() -> None:
    owners = {
        "p2ptui/commands/ping.py",
        "p2ptui/commands/session.py",  # keeps the server joined, until the command ends
        "p2ptui/headless.py",
        "p2ptui/io/own_sockets.py",  # waits for each of its sockets, until `close`
        "p2ptui/io/stun_client.py",  # its reader, which `close` ends
        "p2ptui/io/stun_sockets.py",  # these three in a group, which ends with what began it
        "p2ptui/node/diagnosis.py",
        "p2ptui/node/joiner.py",  # two waits, until the first of them has ended
        "p2ptui/node/runtime.py",
        "p2ptui/node/stun_contact.py",
    }
    users = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if re.search(r"create_task\(|ensure_future\(", path.read_text("utf-8"))
    }
    assert users <= owners


def test_the_top_level_holds_what_it_should() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    names = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    allowed = {
        "pyproject.toml",
        "README.md",
        "p2ptui",
        "tests",
        "screenshots",
        "config_example.toml",
        "docs",
        "CHANGELOG.md",
        "LICENSE",
    }
    assert {name for name in names if not name.startswith(".")} <= allowed


def test_ci_runs_the_test_command_of_readme_literally() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (command,) = [block.strip() for block in blocks if "-m pytest" in block]
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_the_package_says_which_dependencies_it_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[>=<;\[ ]", line)[0] for line in project["dependencies"]}
    assert names == {
        "asyncio-dgram",
        "ifaddr",
        "msgspec",
        "platformdirs",
        "rich",
        "textual",
        "tomli",
        "uvloop",
    }


def test_an_installed_package_has_all_its_files() -> None:
    """A checkout and an editable install find them anyway: only users would miss one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    package = ROOT / "p2ptui"
    packed = {path for glob in settings["package-data"]["p2ptui"] for path in package.glob(glob)}
    others = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert others == packed
