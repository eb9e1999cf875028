"""Build the stand-alone executable for this machine, try it, and pack it for a release.

    python .ci/build_executable.py dist

The executable needs no Python where it runs. PyInstaller makes it from the checkout and its
dependencies, in a temporary environment; this takes one to two minutes. `P2PTUI_COMPILE=1` compiles
the package first. The archive is `p2ptui-<target>-<os>`: a zip on Windows, a tar.gz elsewhere. The
result runs on machines with this C library or a later one.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path
from typing import Final

from steps import ROOT, run

PYINSTALLER: Final = "pyinstaller==6.22.3"

NOT_FOR_USERS: Final = {"fuzz", "test"}
"""Extras of pyproject.toml that are left out; the executable has the others, as none can be added
later.
"""

OPTIONS: Final = (
    *("--onefile", "--clean", "--log-level", "WARN"),
    # What is imported by name, or compiled, and so cannot be found in the source.
    *("--collect-submodules", "p2ptui", "--collect-data", "p2ptui"),
    *("--collect-all", "textual"),
)
BESIDE: Final = ("LICENSE", "README.md", "CHANGELOG.md", "docs/p2ptui.1")
"""What else an archive holds; the completion scripts are printed by the program."""

COMPILE: Final = "P2PTUI_COMPILE"
LIBRARY: Final = "p2ptui__mypyc"
"""The library that holds a compiled build's modules."""

SYSTEMS: Final = {"linux": "linux", "darwin": "macos", "win32": "windows"}
MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


def name_here() -> str:
    """The archive's name for this machine, such as `p2ptui-x86_64-linux`."""
    machine = platform.machine().lower()
    return f"p2ptui-{MACHINES.get(machine, machine)}-{SYSTEMS.get(sys.platform, sys.platform)}"


def extras() -> str:
    """The extras that users need, in pip's form."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return ",".join(sorted(project["optional-dependencies"].keys() - NOT_FOR_USERS))


def build(work: Path) -> Path:
    """Build the executable.

    Args:
        work: An empty folder.

    Returns:
        The executable.
    """
    environment = work / "environment"
    venv.create(environment, with_pip=True)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python = str(scripts / "python")
    run(python, "-m", "pip", "install", "-q", f"{ROOT}[{extras()}]", PYINSTALLER, cwd=work)
    start = work / "start.py"
    shutil.copy(ROOT / "p2ptui" / "__main__.py", start)
    hidden = ("--hidden-import", LIBRARY) if any(environment.rglob(f"{LIBRARY}.*")) else ()
    run(python, "-m", "PyInstaller", *OPTIONS, *hidden, "--name", "p2ptui", str(start), cwd=work)
    suffix = ".exe" if sys.platform == "win32" else ""
    return work / "dist" / f"p2ptui{suffix}"


def pack(executable: Path, into: Path, work: Path) -> Path:
    """Pack the executable with the files that must accompany it.

    Returns:
        The archive.
    """
    folder = work / name_here()
    folder.mkdir()
    for file in (executable, *(ROOT / name for name in BESIDE)):
        shutil.copy(file, folder)
    into.mkdir(parents=True, exist_ok=True)
    kind = "zip" if sys.platform == "win32" else "gztar"
    return Path(shutil.make_archive(str(into / folder.name), kind, work, folder.name))


def main() -> None:
    """The command line."""
    [into] = map(Path, sys.argv[1:])
    into = into.resolve()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="p2ptui-executable-") as temporary:
        work = Path(temporary)
        executable = build(work)
        meant = "compiled" if os.environ.get(COMPILE, "") not in ("", "0") else "pure"
        tried = [sys.executable, str(ROOT / ".ci" / "try_installed.py"), meant, str(executable)]
        subprocess.run(tried, check=True)
        archive = pack(executable, into, work)
    took = time.monotonic() - began
    print(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB, built and tried in {took:.0f} s")


if __name__ == "__main__":
    main()
