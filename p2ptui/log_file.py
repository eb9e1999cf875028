"""The log as files: the newest, and some before it; loaded where a log is written to one."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from p2ptui.config import LoggingOptions
from p2ptui.errors import ConfigError
from p2ptui.logs import Unfailing

_BYTES_PER_MB: Final = 1_000_000


class _FileHandler(Unfailing, RotatingFileHandler):
    def doRollover(self) -> None:  # noqa: N802
        if self.backupCount > 0:
            super().doRollover()
        elif self.stream is not None:  # the base class would let the only file grow for ever
            self.stream.truncate(0)


def open_log_file(path: Path, options: LoggingOptions) -> logging.Handler:
    """Open the file of a log.

    Args:
        path: Where it is.
        options: The section [logging].

    Raises:
        ConfigError: It cannot be opened.
    """
    try:
        path = path.expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        return _FileHandler(
            _no_pipe(path),
            maxBytes=options.max_log_file_size * _BYTES_PER_MB,
            backupCount=options.max_log_files - 1,
            encoding="utf-8",
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ConfigError(f"logging.log_file_path: cannot open {str(path)!r}: {reason}") from None


def _no_pipe(path: Path) -> Path:
    if path.is_fifo():
        raise ValueError("it is a pipe, and whoever writes to one may wait for ever")
    return path
