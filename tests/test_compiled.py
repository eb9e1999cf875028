"""Compiled where it is asked for: what is built, what it says of itself, and who meets whom."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools._distutils import ccompiler, sysconfig

from p2ptui.version import VERSION, described
from tests.compiled.__main__ import NOTHING_COMPILED
from tests.compiled.build import KEPT, ROOT, build, is_of_now, missing
from tests.compiled.chosen import CHOSEN, INTERPRETED_ONLY, WHOLE, why_it_failed
from tests.installed import environment
from tests.patience import PATIENCE_S

sys.path.insert(0, str(ROOT / ".build_backend"))
import compiled
import read_once

PACKAGE = ROOT / "p2ptui"
COMPILED = [path.relative_to(PACKAGE).as_posix() for path in compiled.modules(PACKAGE)]


def trees() -> Iterator[tuple[str, ast.Module]]:
    for name in COMPILED:
        yield name, ast.parse((PACKAGE / name).read_text("utf-8"))


# --- what is compiled, and what is not


@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/cc"])
def test_without_a_compiler_it_ends_at_once_and_says_so(
    compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(SystemExit, match=r"install a C compiler .* or install without"):
        compiled.refuse_without_compiler()


def test_headers_that_files_begin_with_are_read_once_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = ccompiler.new_compiler()
    sysconfig.customize_compiler(compiler)
    if missing() or not read_once.is_gcc(compiler.compiler_so):
        pytest.skip("no GCC")
    monkeypatch.chdir(tmp_path)
    beginning = '#include "given.h"\n'
    given = Path("given.h")
    given.write_text("#ifndef GIVEN\n#define GIVEN 1\n#endif\n")
    sources = ["first.c", "second.c", "another.c"]
    for source in sources[:2]:
        Path(source).write_text(f"{beginning}int which(void) {{ return GIVEN; }}\n")
    Path("another.c").write_text("int another(void) { return 3; }\n")
    options = {"include_dirs": ["."], "extra_postargs": ["-Winvalid-pch", "-Werror"]}
    compiler.compile(sources, output_dir="as-ever", **options)

    compiles = read_once.ReadOnce(compiler.compile, [beginning], tmp_path)
    made = compiles(sources[:1], output_dir="read-once", **options)
    given.write_text("#ifndef GIVEN\n#error read again\n#endif\n")
    made += [*compiles(sources[1:2], output_dir="read-once", **options)]
    made += [*compiles(sources[2:], output_dir="read-once", **options)]
    assert [Path(name).name for name in made] == ["first.o", "second.o", "another.o"]
    for name in made:
        assert Path(name).read_bytes() == Path("as-ever", Path(name).name).read_bytes()


@pytest.mark.parametrize("command", [["/bin/false"], ["/bin/echo"]])
def test_other_compilers_are_not_taken_for_gcc(command: list[str]) -> None:
    assert not read_once.is_gcc(command)


def test_no_compiled_module_stands_beside_its_source() -> None:
    """It would be imported in its place, also when that was changed since."""
    left = [path for pattern in ("*.so", "*.pyd") for path in PACKAGE.rglob(pattern)]
    assert left == [], "take them away: Python would run them in place of the source"


def test_a_module_that_stays_pure_is_there_and_says_why() -> None:
    for name, reason in compiled.PURE.items():
        assert (PACKAGE / name).is_file(), f"{name} is gone: take it from the list"
        assert reason


def test_no_module_with_structs_is_compiled() -> None:
    """A compiled class statement hands no options to the metaclass, and nothing would say so."""
    with_structs = [
        name
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any("Struct" in ast.unparse(b) for b in node.bases)
    ]
    assert with_structs == [], "name them in PURE of .build_backend/compiled.py"


def test_a_class_that_extends_a_built_in_type_is_marked() -> None:
    built_in = re.compile(r"(bytes|str|int|float|tuple|dict|list|set|frozenset)\b")
    bare = [
        f"{name}: {node.name}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(built_in.match(ast.unparse(base)) for base in node.bases)
        and "interpreted" not in map(ast.unparse, node.decorator_list)
    ]
    assert bare == []


def test_no_dataclass_that_is_compiled_is_generic() -> None:
    """It fails where it is imported."""
    generic = [
        f"{name}: {node.name}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        and any(ast.unparse(base).startswith("Generic") for base in node.bases)
    ]
    assert generic == [], "write its __init__"


def test_errors_of_different_types_have_different_names_in_a_function() -> None:
    """A compiled variable has the type of its first error, and takes no other."""
    shared = []
    for name, tree in trees():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                types: dict[str, set[str]] = {}
                for node in ast.walk(function):
                    if isinstance(node, ast.ExceptHandler) and node.name and node.type:
                        types.setdefault(node.name, set()).add(ast.unparse(node.type))
                shared += [f"{name}: {function.name}" for t in types.values() if len(t) > 1]
    assert shared == []


def test_nothing_is_yielded_while_an_error_is_handled() -> None:
    """A compiled generator that is left there leaves its error as the one that is being handled."""
    inside = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        for node in ast.walk(handler)
        if isinstance(node, ast.Yield | ast.YieldFrom)
    ]
    assert inside == []


CONSUMERS = re.compile(
    r"(all|any|array|bytes|deque|dict|dict\.fromkeys|frozenset|list|max|min|next|nsmallest|set|sorted|sum|tuple"
    r"|.+\.(join|extend|update))$"
)
"""What takes all that a generator gives before it returns, or, as `next`, is compiled as a loop."""


def test_no_generator_expression_is_to_be_lazy() -> None:
    """Compiled it is a list, made at once: what was to be read in part costs the whole."""
    lazy = []
    for name, tree in trees():
        at_once = {
            id(argument)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and CONSUMERS.match(ast.unparse(node.func))
            for argument in node.args
        } | {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Starred)
            or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple))
        }
        lazy += [
            f"{name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.GeneratorExp) and id(node) not in at_once
        ]
    assert lazy == [], "use map and filter, or a function that yields"


def test_no_constant_is_a_tuple_that_begins_with_a_float() -> None:
    """mypyc 2.4 may test the wrong way round whether it is set: whoever reads it gets a NameError.
    One of any length is an object like others."""
    begins = [
        f"{name}: {ast.unparse(node.target)}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.value, ast.Tuple)
        and node.value.elts
        and isinstance(first := node.value.elts[0], ast.Constant)
        and isinstance(first.value, float)
        and "..." not in ast.unparse(node.annotation)
    ]
    assert begins == [], "declare it as Final[tuple[float, ...]]"


def test_an_address_is_declared_as_one_where_it_is_compiled() -> None:
    """A tuple is taken apart, and made anew: it would forget what an `AskedAddress` remembers. What
    is declared as an `Address` is not: the build makes an object of it."""
    spelled = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.arg | ast.AnnAssign)
        and node.annotation is not None
        and "tuple[str, int]" in ast.unparse(node.annotation)
        and "address" in (node.arg if isinstance(node, ast.arg) else ast.unparse(node.target))
        and not name.startswith("bounded/")  # it knows none, and reads the host alone
    ]
    assert spelled == []


def test_the_build_has_all_that_is_imported() -> None:
    """pip builds where nothing else is installed, and the types of these are needed there."""
    imported = set()
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
    others = imported - sys.stdlib_module_names - {"p2ptui"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installed = {each for each in project["dependencies"] if re.split(r"\W", each)[0] in others}
    assert {"cryptography", "msgspec"} <= others
    assert installed < set(compiled.REQUIREMENTS)
    assert len(installed) == len(others)


def test_tests_that_are_left_out_are_there() -> None:
    for file, names in INTERPRETED_ONLY.items():
        text = (ROOT / file).read_text("utf-8")
        gone = [
            name for name in names if name != WHOLE and f"def {name.partition('[')[0]}(" not in text
        ]
        assert gone == [], file


def test_nothing_is_chosen_twice() -> None:
    chosen = [Path(each) for each in CHOSEN if not each.startswith("--")]
    assert [
        one
        for one in chosen
        if any(other in (one, *one.parents) for other in chosen if other is not one)
    ] == []
    assert len(set(chosen)) == len(chosen)


def test_that_nothing_compiles_here_is_no_outcome_of_the_tests() -> None:
    """CI goes on then: it must not be what pytest says of an error of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiled"],
        cwd=ROOT,
        env=os.environ | {"PATH": ""},
        capture_output=True,
        check=False,
    )
    assert done.returncode == NOTHING_COMPILED
    assert NOTHING_COMPILED not in list(pytest.ExitCode)
    assert f"|| [ $? = {NOTHING_COMPILED} ]" in (ROOT / ".ci" / "run").read_text("utf-8")


READ_ONLY = "raise AttributeError(\"'Peer' object attribute 'send' is read-only\")"

HANDED_OVER = "raise TypeError('p2ptui.a.Peer object expected; got tests.b.Known')"


@pytest.mark.parametrize(
    ("file", "code", "is_of_the_test"),
    [
        (__file__, READ_ONLY, True),
        ("p2ptui/core/peers/peer.py", READ_ONLY, False),
        (str(PACKAGE / "core" / "peers" / "peer.py"), READ_ONLY, False),
        (__file__, HANDED_OVER, True),
        ("p2ptui/core/peers/peer.py", HANDED_OVER, True),
        ("p2ptui/core/peers/peer.py", f"def handed_on(): {HANDED_OVER}\nhanded_on()", False),
        (__file__, "raise TypeError('p2ptui.a.Peer object expected; got None')", False),
        (__file__, "raise AttributeError('no such attribute')", False),
        (__file__, "raise AssertionError('it is read-only')", False),
    ],
)
def test_what_a_test_does_itself_is_no_fault_of_the_package(
    file: str, code: str, is_of_the_test: bool
) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        exec(compile(code, file, "exec"))
    assert (why_it_failed(raised.value) is not None) is is_of_the_test


# --- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled wheel of this checkout."""
    if (lacking := missing()) is not None:
        pytest.skip(lacking)
    built = Path(os.environ.get(KEPT) or tmp_path_factory.mktemp("built") / "package")
    if not is_of_now(built):
        build(built)
    [wheel] = (built / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own with the compiled wheel, beside what is installed here."""
    folder = tmp_path_factory.mktemp("compiled")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    [site] = (folder / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    [here] = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text(here + "\n")
    return folder / "venv" / "bin" / "python"


def ran(python: Path | str, *arguments: str) -> str:
    done = subprocess.run(
        [python, *arguments],
        cwd=ROOT if python == sys.executable else Path(python).parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_wheel_is_for_this_platform_and_holds_the_source_too(
    python: Path, request: pytest.FixtureRequest
) -> None:
    [site] = python.parents[1].glob("lib/python*/site-packages")
    [info] = site.glob("p2ptui-*.dist-info")
    about = (info / "WHEEL").read_text("utf-8")
    assert "Root-Is-Purelib: false" in about
    assert "none-any" not in about
    for name in COMPILED:
        source = site / "p2ptui" / name
        assert source.is_file()
        assert [*source.parent.glob(f"{source.stem}.*.so"), *source.parent.glob("*.pyd")]
    for name in compiled.PURE:
        stem = Path(name).stem
        assert not [*(site / "p2ptui" / name).parent.glob(f"{stem}.*.so")]


@pytest.mark.parametrize(
    ("machine", "is_for_it"),
    [
        ([], True),
        (["--platform", "win_amd64"], False),
        (["--python-version", "3.99"], False),
        (["--implementation", "pp"], False),
    ],
)
def test_an_installer_takes_the_pure_wheel_where_the_compiled_one_does_not_fit(
    wheel: Path, machine: list[str], is_for_it: bool, tmp_path: Path
) -> None:
    index, taken = tmp_path / "index", tmp_path / "taken"
    index.mkdir()
    shutil.copy(wheel, index)
    pure = index / f"p2ptui-{VERSION}-py3-none-any.whl"
    info = f"p2ptui-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(pure, "w") as written:
        written.writestr(f"{info}/METADATA", archive.read(f"{info}/METADATA"))
        written.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    download = ["-m", "pip", "download", "-q", "--no-deps", "--no-index", "--only-binary", ":all:"]
    ran(sys.executable, *download, *machine, f"--find-links={index}", f"--dest={taken}", "p2ptui")
    assert [path.name for path in taken.iterdir()] == [wheel.name if is_for_it else pure.name]


def test_it_says_that_it_is_compiled(python: Path) -> None:
    assert ran(python, "-m", "p2ptui", "--version") == f"p2ptui {VERSION} (compiled)\n"
    assert ran(sys.executable, "-m", "p2ptui", "--version") == f"p2ptui {described()}\n"


def test_a_traceback_names_the_line_of_the_source(python: Path) -> None:
    code = (
        "import traceback\nfrom p2ptui.wire.frames import encode_relay\n"
        "try: encode_relay(None, b'', b'')\n"
        "except TypeError: traceback.print_exc(file=__import__('sys').stdout)\n"
    )
    assert re.search(
        r'File "p2ptui/wire/frames.py", line \d+, in encode_relay', ran(python, "-c", code)
    )


DIFFERENCES = """
import copy, pickle
from p2ptui.core.counters import Counters
from p2ptui.core.events import SendResult, SendStatus
from p2ptui.core.reliability.rtt import RttEstimator

def told(do):
    try:
        return repr(do())
    except Exception as error:
        return type(error).__name__

def result(attempts):
    return SendResult(SendStatus.SENT, attempts, None, 3)

estimator = RttEstimator(1, 1, 1)
estimator.suppose(2)
print(told(lambda: result("two").attempts))
print(told(lambda: estimator.srtt))
print(told(lambda: result(True).attempts))
print(told(lambda: result(2**70).attempts == 2**70))
print(told(lambda: result(1) == result(1)))
print(told(lambda: setattr(result(1), "attempts", 2)))
print(told(lambda: setattr(Counters(), "drop", None)))
print(told(lambda: type("Other", (Counters,), {})() and None))
print(told(lambda: copy.copy(result(1)) and None))
print(told(lambda: pickle.loads(pickle.dumps(result(1))) and None))
"""


def test_what_differs_is_what_the_docs_say(python: Path) -> None:
    frozen = "FrozenInstanceError"
    pure = ["'two'", "2", "True", "True", "True", frozen, "AttributeError", *["None"] * 3]
    built = ["TypeError", "2.0", "1", "True", "True", frozen, "AttributeError", "TypeError"]
    assert ran(sys.executable, "-c", DIFFERENCES).split() == pure
    assert ran(python, "-c", DIFFERENCES).split() == [*built, frozen, frozen]


@pytest.mark.parametrize("compiled_serves", [True, False])
def test_compiled_and_pure_nodes_meet(python: Path, compiled_serves: bool, tmp_path: Path) -> None:
    serving, asking = python, Path(sys.executable)
    if not compiled_serves:
        serving, asking = asking, serving
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    command = [serving, "-m", "p2ptui", "--no-ui", "-a", "127.0.0.1:0", "--ephemeral"]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [*command, "--enable-discovery", "false"],
            cwd=ROOT if serving == Path(sys.executable) else serving.parent,
            env=environment(home),
            stderr=stderr,
            stdout=subprocess.DEVNULL,
        )
    try:
        end = time.monotonic() + PATIENCE_S
        while (found := re.search(r"is listening on (\S+),", log.read_text("utf-8"))) is None:
            assert server.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < end
            time.sleep(0.02)
        asked = subprocess.run(
            [asking, "-m", "p2ptui", "ping", found[1], "-n", "2", "--interval", "0.1"],
            cwd=ROOT if asking == Path(sys.executable) else asking.parent,
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert asked.returncode == 0, asked.stdout + asked.stderr
    finally:
        server.terminate()
        assert server.wait(PATIENCE_S) == 0
