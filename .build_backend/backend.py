"""The build backend: setuptools, from an empty `build` folder each time.

setuptools copies the modules to `build/lib*` and packs what it finds there. What an older version
of the checkout left behind would be installed with the new one.
"""

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


def build_wheel(wheel_directory: str, *arguments: Any, **options: Any) -> str:
    """As setuptools builds it, and of nothing but what is in the checkout now."""
    forget_earlier_builds()
    name: str = build_meta.build_wheel(wheel_directory, *arguments, **options)
    return name


def forget_earlier_builds() -> None:
    """Empty what setuptools packs from; the current folder is the checkout's, as PEP 517 has it."""
    for left_over in [*Path("build").glob("lib*"), *Path("build").glob("bdist.*")]:
        shutil.rmtree(left_over)
