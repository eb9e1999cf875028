"""The build backend: setuptools, with a few habits changed.

Setuptools copies the modules to `build/lib*` and packs what it finds there, so leftovers of an
older version of the checkout would be installed with the new one: here each wheel begins without
them. It looks for `MANIFEST.in`, which says what a source distribution holds; here that file is
beside this module. The package index gets a README whose links work there (`description.py`). And
two builds of the same sources are identical to the byte, whoever makes them and when
(`reproducible.py`).

Setuptools also writes into the checkout: if that is read-only, everything is done in a copy of it.
The same holds if the wheel is to be compiled (`compiled.py`): no compiled module is ever left in
the checkout, where it would be imported instead of a source changed since then. For that reason an
editable installation is never compiled.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import compiled
import description
import reproducible
from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    prepare_metadata_for_build_editable,
)
from setuptools.command.egg_info import manifest_maker

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

# Both resolved: the checkout may be reached through a symbolic link.
_MANIFEST = Path(__file__).resolve().with_name("MANIFEST.in")
manifest_maker.template = os.path.relpath(_MANIFEST, Path.cwd().resolve())

description.mend_links()


_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__")


def build_wheel(wheel_directory: str, *arguments: Any, **options: Any) -> str:
    """Build as setuptools does, but only from what is in the checkout now."""
    wheel_directory = str(Path(wheel_directory).resolve())
    when = reproducible.source_date()
    with in_a_copy() if compiled.is_wanted() else where_one_can_write():
        forget_earlier_builds()
        if compiled.is_wanted():
            Path("setup.py").write_text(compiled.SETUP, "utf-8")
        name: str = build_meta.build_wheel(wheel_directory, *arguments, **options)
        reproducible.repack_wheel(Path(wheel_directory, name), when)
        return name


def build_sdist(sdist_directory: str, *arguments: Any) -> str:
    """Build as setuptools does, but only from what is in the checkout now."""
    sdist_directory = str(Path(sdist_directory).resolve())
    when = reproducible.source_date()
    with where_one_can_write():
        for list_of_files in Path().glob("*.egg-info/SOURCES.txt"):
            list_of_files.unlink()  # the content of an earlier version would be added to it
        name: str = build_meta.build_sdist(sdist_directory, *arguments)
        reproducible.repack_sdist(Path(sdist_directory, name), when)
        return name


def prepare_metadata_for_build_wheel(metadata_directory: str, *arguments: Any) -> str:
    """Prepare the metadata as setuptools does."""
    metadata_directory = str(Path(metadata_directory).resolve())
    with where_one_can_write():
        name: str = build_meta.prepare_metadata_for_build_wheel(metadata_directory, *arguments)
        return name


def get_requires_for_build_wheel(*arguments: Any) -> list[str]:
    """The requirements of setuptools, and the compiler if it is asked for."""
    more = compiled.REQUIREMENTS if compiled.is_wanted() else ()
    with where_one_can_write():
        return [*build_meta.get_requires_for_build_wheel(*arguments), *more]


def get_requires_for_build_sdist(*arguments: Any) -> list[str]:
    """The requirements of setuptools."""
    with where_one_can_write():
        return list(build_meta.get_requires_for_build_sdist(*arguments))


@contextmanager
def where_one_can_write() -> Iterator[None]:
    """Stay in the checkout, or work in a copy of it if it is not writable."""
    if is_writable():
        yield
        return
    with in_a_copy():
        yield


@contextmanager
def in_a_copy() -> Iterator[None]:
    """Work in a copy of the checkout, which is deleted afterwards."""
    checkout = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="p2ptui-build-") as temporary:
        copy = Path(temporary) / "p2ptui"
        shutil.copytree(checkout, copy, ignore=_NOT_COPIED, copy_function=shutil.copyfile)
        for folder, _, _ in os.walk(copy):
            os.chmod(folder, 0o755)
        os.chdir(copy)
        try:
            yield
        finally:
            os.chdir(checkout)


def is_writable() -> bool:
    """Whether files can be created in the checkout, and in what an earlier build left there."""
    left = [*Path().glob("*.egg-info"), Path("build")]
    try:
        for folder in [Path(), *(path for path in left if path.is_dir())]:
            tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def forget_earlier_builds() -> None:
    """Empty the folder that setuptools packs from; the current folder is the checkout's, as in PEP
    517.
    """
    for left_over in [*Path("build").glob("lib*"), *Path("build").glob("bdist.*")]:
        shutil.rmtree(left_over)
