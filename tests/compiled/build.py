"""Builds the compiled package beside a copy of the tests."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = (
    *("p2ptui", "tests", "docs", "screenshots", ".build_backend", ".ci", ".github"),
    *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "config_example.toml"),
)
_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__", "*.pyc", "findings")
_MADE_OF: Final = "made-of.txt"

KEPT: Final = "COMPILED_PACKAGE"
"""Environment: the folder where `tests/test_compiled.py` leaves what it builds."""

_BUILD: Final = """
import sys
sys.path.insert(0, ".build_backend")
import backend
print(backend.build_wheel(sys.argv[1]))
"""


class BuildError(Exception):
    """The package did not compile; the text is the end of what the compiler said."""


def missing() -> str | None:
    """What is missing here to compile; None if nothing is."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler: {compiler} is not installed"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.is_file() else f"no headers of Python: {header} is missing"


def digest() -> str:
    """Names what a build is made of: all sources, how they are built, and with which Python."""
    made_of = hashlib.sha256(sys.version.encode())
    for folder in ("p2ptui", ".build_backend"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                made_of.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return made_of.hexdigest()


def build_wheel(folder: Path) -> Path:
    """Build the compiled wheel of the checkout into a folder.

    Raises:
        BuildError: It does not compile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        [sys.executable, "-c", _BUILD, str(folder)],
        cwd=ROOT,
        env=os.environ | {"P2PTUI_COMPILE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if ran.returncode:
        raise BuildError(ran.stdout[-4000:])
    return folder / ran.stdout.splitlines()[-1]


def build(folder: Path) -> None:
    """Make a folder that holds what the checkout holds, but with the package compiled.

    Args:
        folder: Where; what is there is replaced.

    Raises:
        BuildError: It does not compile.
    """
    shutil.rmtree(folder, ignore_errors=True)
    made_of = digest()
    wheel = build_wheel(folder / "dist")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / _MADE_OF).write_text(made_of)


def copy_tests(folder: Path) -> None:
    """Put all that the tests need beside a package that was built: theirs as they are now."""
    for name in COPIED:
        if name == "p2ptui":
            continue
        source, copy = ROOT / name, folder / name
        if source.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy, ignore=_NOT_COPIED)
        else:
            shutil.copy(source, copy)


def is_of_now(folder: Path) -> bool:
    """Whether what was built there is made of the sources as they are now."""
    made_of = folder / _MADE_OF
    return made_of.is_file() and made_of.read_text() == digest()
