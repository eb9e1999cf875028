"""The house keeps its plan: floors, modules of one idea, owned tasks, the documented commands."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "p2ptui" / "core"
MODULES = sorted((ROOT / "p2ptui").rglob("*.py"))
MAX_IMPORTS = 15
"""Modules of ours that one may know: what needs more is an assembly without parts of its own."""

ROOTS = {
    "p2ptui.core.messages.rows": "the table of messages names who handles each",
    "p2ptui.core.traversal.room": "makes the parts of its room, and does nothing else",
}
"""They bring others together, and know more."""


def module_name(path: Path, root: Path = ROOT) -> str:
    """The name that a file is imported by."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports_in(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """Whatever is imported somewhere."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@functools.cache
def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """What a module imports: it is read once, as several tests here look at all modules."""
    return imports_in(ast.parse(path.read_text("utf-8")))


@functools.cache
def imported(path: Path) -> set[tuple[str, str]]:
    """Our own modules that a module imports from, each with the name that it takes; of one that is
    imported as a whole, with none."""
    taken = set()
    for node in imports_of(path):
        if isinstance(node, ast.Import):
            taken |= {(alias.name, "") for alias in node.names if alias.name.startswith("p2ptui")}
        elif (node.module or "").startswith("p2ptui"):
            taken |= {(node.module or "", alias.name) for alias in node.names}
    return taken


NAMES = {module_name(path) for path in MODULES}
ids = [str(path.relative_to(ROOT)) for path in MODULES]


def test_imports_point_down_only() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:]


def test_no_two_modules_need_each_other() -> None:
    """Not by way of others, nor for their types alone: a circle has no beginning to read from."""
    require_no_circle({module_name(path): imports_of(path) for path in MODULES})


def require_no_circle(imports: dict[str, list[ast.Import | ast.ImportFrom]]) -> None:
    """Raises CycleError, which names the modules, where some need each other."""
    needs = {
        name: {module for node in nodes for module in needed(node)}
        for name, nodes in imports.items()
    }
    sorter = TopologicalSorter(
        {
            name: {one for one in others if one in needs and one != name}
            for name, others in needs.items()
        }
    )
    sorter.prepare()


def needed(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The modules that an import may mean; relative ones are forbidden, and found below."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if node.module:
        return {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return set()


@pytest.mark.parametrize(
    "back",
    [
        "from p2ptui.one import ONE",
        "from p2ptui import one",
        "import p2ptui.one",
        "import p2ptui.one as first",
        "def late():\n    import p2ptui.one",
        "if TYPE_CHECKING:\n    from p2ptui.one import One",
    ],
)
def test_a_circle_is_found_however_it_is_imported(back: str) -> None:
    sources = {"p2ptui.one": "import p2ptui.two", "p2ptui.two": back}
    with pytest.raises(CycleError):
        require_no_circle({name: imports_in(ast.parse(text)) for name, text in sources.items()})


def relative_imports(imports: list[ast.Import | ast.ImportFrom]) -> list[int]:
    """Lines that import from a module by where it is from here."""
    return [node.lineno for node in imports if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_module_is_imported_by_its_whole_name(path: Path) -> None:
    """So that each test here sees it."""
    assert relative_imports(imports_of(path)) == []


def test_a_relative_import_is_found() -> None:
    source = "from .one import ONE\nfrom . import two\nfrom ..core import x"
    assert relative_imports(imports_in(ast.parse(source))) == [1, 2, 3]


def test_the_core_says_what_is_where() -> None:
    """Whatever stands in its folder has a place in the plan, and the plan names nothing else."""
    plan = ast.get_docstring(ast.parse((CORE / "__init__.py").read_text("utf-8"))) or ""
    rooms = {f"{path.parent.name}/" for path in CORE.glob("*/__init__.py")}
    loose = {path.stem for path in CORE.glob("*.py")} - {"__init__"}
    rows = {line.split()[0] for line in plan.splitlines() if line.startswith("    ")}
    named = rows | set(re.findall(r"`(\w+)`", plan))
    hint = "the plan in p2ptui/core/__init__.py"
    assert rooms | loose <= named, f"{hint} does not say where {rooms | loose - named} is"
    assert named <= rooms | loose, f"{hint} names {named - rooms - loose}, which is not there"


def test_a_room_says_what_is_in_it() -> None:
    """Each module is named where its room begins, so that nobody has to search for an idea."""
    for door in (*CORE.glob("*/__init__.py"), ROOT / "p2ptui" / "nat" / "__init__.py"):
        text = ast.get_docstring(ast.parse(door.read_text("utf-8"))) or ""
        modules = {path.stem for path in door.parent.glob("*.py")} - {"__init__", "parts"}
        missing = modules - set(re.findall(r"`(\w+)`", text))
        assert not missing, f"the docstring of {door.relative_to(ROOT)} does not name {missing}"


def test_the_plan_of_the_core_is_the_one_that_is_kept() -> None:
    plan = ast.get_docstring(ast.parse((CORE / "__init__.py").read_text("utf-8"))) or ""
    rows = [line.split()[0].rstrip("/") for line in plan.splitlines() if line.startswith("    ")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (rooms,) = [one for one in contracts["contracts"] if one["name"].startswith("Rooms")]
    kept = [
        {name.strip().removeprefix("p2ptui.core.") for name in layer.split("|")}
        for layer in rooms["layers"]
    ]
    floor_of = {name: floor for floor, names in enumerate(kept) for name in names}
    assert [floor_of[row] for row in rows] == sorted(floor_of[row] for row in rows)


def test_a_room_is_entered_by_its_door() -> None:
    """What a room passes on by its `__init__` is taken from there by all who are outside of it."""
    doors = {path.parent for path in CORE.glob("*/__init__.py") if "__all__" in path.read_text()}
    assert {door.name for door in doors} >= {"data", "delivery", "messages", "peers"}
    for door in doors:
        room = module_name(door / "__init__.py")
        passed_on = imported(door / "__init__.py")
        for path in MODULES:
            if door not in path.parents:
                taken = {one for one in imported(path) if one[0].startswith(f"{room}.")}
                # Of a module that is imported as a whole, whatever it has is taken.
                behind = {module for module, _ in passed_on}
                past = (taken & passed_on) | {one for one in taken if not one[1]} & {
                    (module, "") for module in behind
                }
                assert not past, f"{path}: {past}"


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_module_has_one_idea_and_says_it(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring
    assert docstring.splitlines()[0].strip()


def _imports(root: Path) -> dict[str, set[str]]:
    """The modules of ours that each one imports, if only for their types."""
    imports = {
        module_name(path, root): imports_of(path) for path in (root / "p2ptui").rglob("*.py")
    }

    def named_by(node: ast.Import | ast.ImportFrom) -> set[str]:
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names} & imports.keys()
        if node.module not in imports:
            return set()
        members = {f"{node.module}.{alias.name}" for alias in node.names}
        modules = members & imports.keys()
        return modules if modules == members else modules | {node.module}

    return {
        name: {module for node in nodes for module in named_by(node)}
        for name, nodes in imports.items()
    }


def _those_that_know_too_many(root: Path) -> dict[str, int]:
    counts = {name: len(modules) for name, modules in _imports(root).items()}
    return {name: count for name, count in counts.items() if count > MAX_IMPORTS}


def test_no_module_knows_many_others() -> None:
    too_many = _those_that_know_too_many(ROOT)
    for name, count in too_many.items():
        assert name in ROOTS, (
            f"{name} imports {count} modules of ours, and may know {MAX_IMPORTS}: move what belongs"
            " together into a module of its own"
        )
    assert too_many.keys() == ROOTS.keys(), "what knows fewer now needs no exception in ROOTS"


def test_a_module_that_knows_many_others_is_found(tmp_path: Path) -> None:
    package = tmp_path / "p2ptui"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "parts" / "__init__.py").write_text("NAME = 1", "utf-8")
    names = [f"part{number}" for number in range(MAX_IMPORTS)]
    for name in names:
        (package / "parts" / f"{name}.py").write_text("THING = 1", "utf-8")
    lines = [f"from p2ptui.parts.{name} import THING" for name in names[2:]]
    lines += [f"from p2ptui.parts import {names[0]}", f"import p2ptui.parts.{names[1]}"]
    fits = package / "fits.py"
    fits.write_text("\n".join([*lines, "import asyncio", lines[0]]), "utf-8")
    assert not _those_that_know_too_many(tmp_path)
    for_types = "if TYPE_CHECKING:\n    from p2ptui.parts import NAME"
    (package / "assembly.py").write_text("\n".join([*lines, for_types]), "utf-8")
    assert _those_that_know_too_many(tmp_path) == {"p2ptui.assembly": MAX_IMPORTS + 1}


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


SHARED = {
    "p2ptui/logs.py": {"_handlers"},  # of the loggers, which a process has once
    "p2ptui/wire/codec.py": {"_decoders"},  # of types, each made when it is first needed
}
"""What the nodes of a process share that changes while they run."""

MAKE_CHANGEABLE = {"list", "dict", "set", "deque", "defaultdict", "Counter", "BoundedTable"}


def changeable(source: str) -> set[str]:
    """The names of a module that hold what code can change, and that are not constants."""
    found = set()
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        holds = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp)
        makes = isinstance(value, ast.Call) and ast.unparse(value.func) in MAKE_CHANGEABLE
        if (holds or makes) and not name.strip("_").isupper() and name != "__all__":
            found.add(name)
    return found | {
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Global)
        for name in node.names
    }


def test_nodes_of_one_process_share_nothing_that_changes() -> None:
    """What one leaves behind, the next one would find: it has been what a signal runs."""
    shared = {
        path.relative_to(ROOT).as_posix(): names
        for path in MODULES
        if (names := changeable(path.read_text("utf-8")))
    }
    assert shared == SHARED


def test_what_is_shared_is_found() -> None:
    source = "_a: list[int] = []\nb = deque()\nC = {1: 2}\n_d = (1, 2)\ndef f():\n    global e"
    assert changeable(source) == {"_a", "b", "e"}


def test_no_background_task_is_without_an_owner() -> None:
    owners = {
        "p2ptui/commands/ping.py",
        "p2ptui/commands/session.py",  # keeps the server joined, until the command ends
        "p2ptui/headless.py",
        "p2ptui/event_lines.py",
        "p2ptui/metrics/server.py",  # tries to listen, until it is closed
        "p2ptui/io/nats_bus.py",  # keeps the link, until `run` is cancelled
        "p2ptui/io/nats_link.py",  # writes, and looks for the broker, until the link ends
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
        "cryptography",
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
