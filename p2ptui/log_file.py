"""The log file: it rotates itself; a disk that fails is reported once, and so is its recovery."""

import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from p2ptui.tagged import tagged
from p2ptui.text import cause, counted

log = logging.getLogger("p2ptui.logs")


@dataclass
class _Lost:
    """Lines that were not written; kept for the process, since SIGHUP reopens the file."""

    total: int = 0
    path: str = ""
    lately: int = 0
    """In the current file, since it last accepted one."""


_lost = _Lost()


def lost_lines() -> int:
    """How many lines could not be written to a log file since the start of the process."""
    return _lost.total


class LogFile(RotatingFileHandler):
    """A rotating log file: a failed write loses a line, but never stops the node.

    Args:
        path: The file; its folder must exist.
        max_bytes: The size at which it rotates.
        kept: Rotated files to keep; 0: the only file is emptied.

    Raises:
        OSError: It cannot be opened.
        ValueError: The path is invalid.
    """

    def __init__(self, path: Path, max_bytes: int, kept: int) -> None:
        self._error: BaseException | None = None
        self._is_telling = False
        super().__init__(path, maxBytes=max_bytes, backupCount=kept, encoding="utf-8")
        if _lost.path != self.baseFilename:
            _lost.path, _lost.lately = self.baseFilename, 0

    def doRollover(self) -> None:  # noqa: N802
        """Rotate the file."""
        if self.backupCount > 0:
            super().doRollover()
        elif self.stream is not None:  # the base class would let the only file grow forever
            self.stream.truncate(0)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and report when writing begins to fail, and when it works again."""
        self._error = None
        super().emit(record)
        if self._is_telling:
            return  # this very line reports it
        self._is_telling = True
        try:
            if self._error is not None:
                self._lose(self._error)
            elif _lost.lately:
                self._find_again()
        finally:
            self._is_telling = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Keep the failure for `emit`."""
        self._error = sys.exc_info()[1]
        # Its buffered data would appear later, cut off: the file is reopened.
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        if _lost.lately and _ends_within_a_line(Path(self.baseFilename)):
            stream.write("\n")
        return stream

    def _lose(self, error: BaseException) -> None:
        _lost.total += 1
        _lost.lately += 1
        if _lost.lately == 1:
            why = cause(error) if isinstance(error, Exception) else str(error)
            log.error(
                "the log file %s cannot be written: %s; its lines are lost until it can",
                self.baseFilename,
                why,
                extra=tagged("log_file_failed", path=self.baseFilename, reason=why),
            )

    def _find_again(self) -> None:
        count, _lost.lately = _lost.lately, 0
        log.warning(
            "the log file %s is written again; %s lost",
            self.baseFilename,
            counted(count, "line was", "lines were"),
            extra=tagged("log_file_restored", path=self.baseFilename, count=count),
        )


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
