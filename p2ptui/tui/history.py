"""Commands typed before, kept across restarts in one small file."""

from pathlib import Path
from typing import Final

from p2ptui.ordinary import read_ordinary
from p2ptui.tui.settings import write_whole

MAX_ENTRIES: Final = 500

MAX_HISTORY_BYTES: Final = 1 << 23
"""The largest file; a larger one is not read."""


class History:
    """Steps through what was typed.

    Args:
        path: The file; None keeps nothing beyond the session.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._entries: list[str] = []
        self._position = 0
        self._draft = ""
        if path is not None:
            try:
                lines = (
                    read_ordinary(path, MAX_HISTORY_BYTES).decode("utf-8", "replace").splitlines()
                )
            except OSError:
                lines = []
            self._entries = [line for line in lines if line.isprintable() and line][-MAX_ENTRIES:]
        self._position = len(self._entries)

    @property
    def entries(self) -> tuple[str, ...]:
        """All remembered commands, oldest first."""
        return tuple(self._entries)

    def add(self, line: str) -> None:
        """Remember a line, unless it repeats the last one. A file that fails is given up."""
        if line and line.isprintable() and line != next(reversed(self._entries), None):
            self._entries.append(line)
            del self._entries[:-MAX_ENTRIES]
            self._save()
        self._position = len(self._entries)
        self._draft = ""

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            write_whole(self._path, "\n".join(self._entries) + "\n")
        except OSError:
            self._path = None  # the session goes on without it

    def previous(self, draft: str) -> str | None:
        """The previous line, or None at the oldest; `draft` is the current text."""
        if self._position == len(self._entries):
            self._draft = draft
        if self._position == 0:
            return None
        self._position -= 1
        return self._entries[self._position]

    def next(self) -> str | None:
        """The next line, at the end what was being typed; None beyond it."""
        if self._position >= len(self._entries):
            return None
        self._position += 1
        if self._position == len(self._entries):
            return self._draft
        return self._entries[self._position]
