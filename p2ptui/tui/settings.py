"""What the screen remembers of the user's choices, in one small file."""

import json
import os
from pathlib import Path
from typing import Any, Final

from p2ptui.ordinary import read_ordinary
from p2ptui.places import user_file

MAX_SETTINGS_BYTES: Final = 1 << 16
"""The largest file; a larger one counts as empty."""


class Settings:
    """Choices by name.

    Args:
        path: The file; None keeps nothing beyond the session.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values: dict[str, Any] = {}
        if path is not None:
            try:
                values = json.loads(read_ordinary(path, MAX_SETTINGS_BYTES))
            except (OSError, ValueError, RecursionError):
                return
            self._values = values if isinstance(values, dict) else {}

    def text(self, name: str) -> str:
        """A choice; empty while none was made."""
        value = self._values.get(name, "")
        return value if isinstance(value, str) and value.isprintable() else ""

    def remember(self, name: str, value: str) -> None:
        """Keep a choice. A file that cannot be written is given up: the session goes on."""
        if self._values.get(name) == value:
            return
        self._values[name] = value
        if self._path is None:
            return
        try:
            write_whole(self._path, json.dumps(self._values, indent=2) + "\n")
        except OSError:
            self._path = None


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically, readable only by the user.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)  # a leftover file would keep its mode
    # The history contains what was sent to others.
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode())
    temporary.replace(path)


def settings_path() -> Path | None:
    """Where the choices are kept; None for a user without a home."""
    return user_file("config", "screen.json")


def history_path() -> Path | None:
    """Where the typed commands are kept; None for a user without a home."""
    return user_file("state", "history")
