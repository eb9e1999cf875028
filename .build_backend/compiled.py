"""What is compiled if `P2PTUI_COMPILE=1` asks for it, and how; see docs/compiling.md.

The floors that handle datagrams are compiled by mypyc, all into one shared library, so that calls
between their modules are C calls. The sources stay beside them: tracebacks show their lines.
"""

import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import read_once

VARIABLE: Final = "P2PTUI_COMPILE"
"""Environment: "1" compiles; empty, "0" or unset does not."""

LEVEL_VARIABLE: Final = "MYPYC_OPT_LEVEL"
"""Environment: the compiler's `-O` level, if not this one."""

LEVEL: Final = "1"
"""The level that is tested."""

REQUIREMENTS: Final = ("mypy[mypyc]>=2.4,<3", "cryptography>=43", "msgspec>=0.19")
"""What only a compiled build needs: the compiler, and the types of imported packages."""

FLOORS: Final = ("bounded", "core", "nat", "secure", "wire")
"""Folders of the package that are compiled, with everything below them."""

MODULES: Final = (
    "io/batch_reader.py",
    "io/batch_writer.py",
    "io/driver.py",
    "io/fair_inbox.py",
    "node/acquaintances.py",
    "node/driven.py",
)
"""Modules of other floors that run for each datagram, and for each newcomer."""

_STRUCT: Final = "defines msgspec structs: a compiled class loses the options of its metaclass"

PURE: Final = {
    "core/data/content.py": _STRUCT,
    "core/mesh/evidence.py": _STRUCT,
    "core/mesh/introduction.py": _STRUCT,
    "core/mesh/routes.py": _STRUCT,
    "core/mesh/sources.py": _STRUCT,
    "core/messages/row.py": "an enum with a member that is made of others",
    "core/messages/rows.py": "a table that is read once",
    "core/readers.py": "is referred to weakly, as no compiled object can be",
    "core/traversal/sealed_offers.py": _STRUCT,
    "wire/address.py": "its alias is not the same to who checks and to who compiles, see below",
    "wire/cluster.py": _STRUCT,
    "wire/exchange.py": _STRUCT,
    "wire/message.py": _STRUCT,
    "wire/offer.py": _STRUCT,
    "wire/sealed.py": _STRUCT,
    "wire/stun.py": _STRUCT,
    "wire/stun_partner.py": _STRUCT,
}
"""Modules of those floors that are not compiled, and why; nor is any `__init__`, which only names
what is below it.
"""

_TUPLE: Final = "\nAddress: TypeAlias = tuple[str, int]\n"
_OBJECT: Final = "\nfrom typing import Any\nAddress: TypeAlias = Any\n"
_REVERSED: Final = re.compile(r"!= -113\.0 && PyErr_Occurred\(\)")
_LIBRARY: Final = "p2ptui"
_GENERATED: Final = "generated"

_BEGINNINGS: Final = (
    f'#include "__native_{_LIBRARY}.h"\n#include "__native_internal_{_LIBRARY}.h"\n',
    "#include <Python.h>\n",
)
"""What the generated files begin with: those of the library, and those that lead Python to it."""

_HIDDEN: Final = "-fvisibility=hidden"
"""Modules find each other through a table, not by their symbols: without the symbols of thousands
of functions the library takes less memory, and a call to another file is as fast as one within a
file.
"""

SETUP: Final = """\
import compiled
from setuptools import setup

setup(ext_modules=compiled.extensions(), cmdclass={"build_ext": compiled.build_ext()})
"""
"""The `setup.py` of a compiled build, written into a copy of the checkout."""


def is_wanted() -> bool:
    """Whether the environment asks for a compiled build."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def modules(package: Path) -> list[Path]:
    """The modules to compile, in order.

    Args:
        package: The folder of the package.
    """
    pure = {package / name for name in PURE}
    sources = (path for floor in FLOORS for path in sorted((package / floor).rglob("*.py")))
    wanted = [path for path in sources if path not in pure and path.name != "__init__.py"]
    return wanted + [package / name for name in MODULES]


def extensions() -> list[Any]:
    """Translate the modules below the current folder to C; the generated files stay there.

    Returns:
        Extensions for `setuptools.setup`.

    Raises:
        SystemExit: A module does not compile; what is wrong with it has been printed.
    """
    from mypyc.build import mypycify

    refuse_without_compiler()
    package = Path("p2ptui")
    keep_addresses_whole(package)
    made = list(
        mypycify(
            [
                "--config-file=",
                "--ignore-missing-imports",
                f"--cache-dir={_GENERATED}/types",
                *map(str, modules(package)),
            ],
            opt_level=os.environ.get(LEVEL_VARIABLE, LEVEL),
            debug_level="0",
            multi_file=True,
            target_dir=_GENERATED,
            group_name=_LIBRARY,
        )
    )
    refuse_reversed_checks(Path(_GENERATED))
    if sys.platform != "win32":
        for extension in made:
            extension.extra_compile_args = [*extension.extra_compile_args, _HIDDEN]
    return made


def refuse_without_compiler() -> None:
    """End the build at once if nothing can be compiled, rather than after minutes.

    Raises:
        SystemExit: The compiler or Python's headers are missing, or it does not work.
    """
    from setuptools._distutils import ccompiler, errors, sysconfig

    compiler = ccompiler.new_compiler()
    sysconfig.customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "tried.c")
        source.write_text("#include <Python.h>\n", "utf-8")
        try:
            headers = [sysconfig.get_python_inc(), sysconfig.get_python_inc(plat_specific=True)]
            compiler.compile([str(source)], output_dir=folder, include_dirs=headers)
        except (errors.DistutilsError, errors.CCompilerError, OSError) as error:
            raise SystemExit(
                f"p2ptui: cannot compile ({error}); install a C compiler and Python's headers"
                f" (Debian: gcc and python3-dev), or install without {VARIABLE}: it runs pure, too"
            ) from None


def refuse_reversed_checks(generated: Path) -> None:
    """End the build if a constant would never count as set.

    For a tuple that begins with a float, mypyc 2.4 may generate the check reversed.

    Args:
        generated: The folder with the C code.
    """
    for path in sorted(generated.rglob("*.c")):
        for line in path.read_text("utf-8").splitlines():
            if _REVERSED.search(line):
                raise SystemExit(f"p2ptui: {path} reads a constant the wrong way round: {line}")


def keep_addresses_whole(package: Path) -> None:
    """Make the compiler treat an address as an ordinary object.

    The compiler unpacks anything declared as a tuple of a fixed length, and makes a new tuple where
    one is needed: an address that remembers how it was asked or heard would lose that on the way.
    Ordinary objects are also faster: an address is the key of many tables.

    Args:
        package: Its folder, in the copy that is built.
    """
    alias = package / "wire" / "address.py"
    text = alias.read_text("utf-8")
    if text.count(_TUPLE) != 1:
        raise SystemExit(f"p2ptui: {alias} must say {_TUPLE.strip()!r} once")
    alias.write_text(text.replace(_TUPLE, _OBJECT), "utf-8")


def build_ext() -> type[Any]:
    """The command that compiles the generated code, on all cores."""
    from setuptools.command.build_ext import build_ext as BuildExt  # noqa: N812

    class OnAllCores(BuildExt):  # type: ignore[misc]
        """Builds the libraries in parallel, and the files of each, too."""

        def build_extensions(self) -> None:
            cores = os.cpu_count() or 1
            self.parallel = cores
            if not getattr(self.compiler, "initialized", True):
                self.compiler.initialize()  # Microsoft's searches for itself, and only once
            compile_in_turn = self.compiler.compile
            if sys.platform == "linux" and read_once.is_gcc(self.compiler.compiler_so):
                compile_in_turn = read_once.ReadOnce(compile_in_turn, _BEGINNINGS, Path(_GENERATED))

            def compile_together(sources: list[str], **options: Any) -> list[str]:
                with ThreadPoolExecutor(cores) as pool:
                    made = pool.map(lambda source: compile_in_turn([source], **options), sources)
                    return [name for names in made for name in names]

            self.compiler.compile = compile_together
            super().build_extensions()

    return OnAllCores
