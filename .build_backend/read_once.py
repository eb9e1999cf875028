"""Headers that hundreds of generated files begin with, read by the C compiler once for all of them.

The files of a library that mypyc makes begin with the declarations of the whole library, and to
read those takes as long as to compile the rest. GCC keeps what it has read in a file beside the
header, and takes that if a source includes the header before anything else, with the same options;
otherwise it reads the header again. What is built is the same to the byte.
"""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

SUFFIX: Final = ".gch"
"""Of the file with what GCC has read."""


def is_gcc(command: Sequence[str]) -> bool:
    """Whether a command is GCC's C compiler: others keep what they have read in ways of their own.

    Args:
        command: Its name, and arguments, which say nothing here.
    """
    predefined = subprocess.run(
        [*command[:1], "-E", "-dM", "-x", "c", "-"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    ).stdout
    return "#define __GNUC__ " in predefined and "#define __clang__ " not in predefined


class ReadOnce:
    """Compiles as a compiler of distutils does, with the beginnings of files read before.

    Args:
        compiles: The method of distutils' compiler, for GCC.
        beginnings: First lines of files: headers that may be included twice.
        folder: Where to keep what has been read.
    """

    def __init__(
        self, compiles: Callable[..., list[str]], beginnings: Sequence[str], folder: Path
    ) -> None:
        self._compiles, self._beginnings, self._folder = compiles, beginnings, folder
        self._headers: dict[str, Path] = {}
        self._reading = Lock()

    def __call__(self, sources: list[str], **options: Any) -> list[str]:
        """Compile one file, named in a list as distutils does it; the names of what was made."""
        (source,) = sources
        text = Path(source).read_text("utf-8")
        beginning = next(filter(text.startswith, self._beginnings), None)
        if beginning is not None:
            with self._reading:
                if beginning not in self._headers:
                    self._headers[beginning] = self._read(beginning, options)
            arguments = options.get("extra_postargs") or []
            header = str(self._headers[beginning])
            options["extra_postargs"] = [*arguments, "-include", header]
        return self._compiles(sources, **options)

    def _read(self, beginning: str, options: dict[str, Any]) -> Path:
        header = self._folder / f"beginning{len(self._headers)}.h"
        header.write_text(beginning, "utf-8")
        source = header.with_suffix(".c")
        source.write_text(beginning, "utf-8")
        (read,) = self._compiles([str(source)], **options, extra_preargs=["-x", "c-header"])
        Path(read).replace(f"{header}{SUFFIX}")
        return header
