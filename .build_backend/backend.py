"""The build backend: setuptools, with two habits changed.

It copies the modules to `build/lib*` and packs what it finds there, so what an older version of
the checkout left behind would be installed with the new one: here each wheel begins without it.
And it looks for `MANIFEST.in`, which says what a source distribution holds, beside this module.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
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

# Both resolved: the checkout may be reached through a link.
_MANIFEST = Path(__file__).resolve().with_name("MANIFEST.in")
manifest_maker.template = os.path.relpath(_MANIFEST, Path.cwd().resolve())


def build_wheel(wheel_directory: str, *arguments: Any, **options: Any) -> str:
    """As setuptools builds it, and of nothing but what is in the checkout now."""
    forget_earlier_builds()
    name: str = build_meta.build_wheel(wheel_directory, *arguments, **options)
    return name


def forget_earlier_builds() -> None:
    """Empty what setuptools packs from; the current folder is the checkout's, as PEP 517 has it."""
    for left_over in [*Path("build").glob("lib*"), *Path("build").glob("bdist.*")]:
        shutil.rmtree(left_over)
