"""A small JSON file that remembers something; an unusable file only means that nothing is
remembered.
"""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from p2ptui.ordinary import read_ordinary
from p2ptui.places import user_file
from p2ptui.tagged import tagged

log = logging.getLogger("p2ptui.nat")

MAX_FILE_BYTES: Final = 1 << 20


class StateFile:
    """A file in the platform's state directory.

    Args:
        name: Its name there.
        what: What it remembers, in words.
        path: Another place for it; without this and without a home there is no file.
    """

    def __init__(self, name: str, what: str, path: Path | None = None) -> None:
        self._name = name
        self._what = what
        self._path = path

    def read(self) -> Any:
        """Its content; None if there is nothing usable."""
        path = self._file()
        if path is None:
            return None
        try:
            return json.loads(read_ordinary(path, MAX_FILE_BYTES))
        except (OSError, ValueError, RecursionError):
            return None

    def write(self, content: Any) -> None:
        """Replace its content atomically."""
        path = self._file()
        if path is None:
            return
        fresh = path.with_suffix(f".{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(content), "utf-8")
            fresh.replace(path)
        except OSError as error:
            log.debug(
                "%s is not kept: %s",
                self._what,
                error,
                extra=tagged("state_not_kept", what=self._what, reason=str(error)),
            )
            with suppress(OSError):
                fresh.unlink()

    def _file(self) -> Path | None:
        return self._path or user_file("state", self._name)
