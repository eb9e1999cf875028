"""A line on a terminal that shows progress, and leaves nothing behind."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

UPDATE_S: Final = 0.25

_ERASE: Final = "\r\x1b[K"


class ProgressLine:
    """Shows a text on standard error while the block runs, if that is a terminal.

    Args:
        text: Makes the text; called several times a second.
    """

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        self._timer: asyncio.TimerHandle | None = None
        self._shown = False

    def __enter__(self) -> Self:
        is_dumb = os.environ.get("TERM") == "dumb"  # it displays escape sequences literally
        if sys.stderr is not None and sys.stderr.isatty() and not is_dumb:
            self._plan()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.clear()

    def clear(self) -> None:
        """Make room for another line; the next update shows the text again."""
        if self._shown:
            self._write(_ERASE)
            self._shown = False

    def _plan(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(UPDATE_S, self._update)

    def _update(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._write(_ERASE + self._text()[:width])
        self._shown = True
        self._plan()

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
