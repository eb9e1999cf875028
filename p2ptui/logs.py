"""What is logged, how and where to: levels, two formats, standard error and a file.

Modules log to `logging.getLogger(__name__)`. Here, at the edge, every message is neutralised, since
much of it was written by peers, and no output failure reaches the node.
"""

import contextlib
import json
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from p2ptui.config import LoggingOptions
from p2ptui.errors import ConfigError
from p2ptui.io.own_file import try_place
from p2ptui.places import user_file
from p2ptui.text import printable

TRACE = 5
"""Below DEBUG: every datagram."""

MESSAGE_LIMIT = 2000
"""Characters of one message or field in the log; a message on the wire may have a megabyte."""

_LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES = {level: name.upper() for name, level in _LEVELS.items()} | {logging.CRITICAL: "ERROR"}
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""The syslog priorities, each with the lowest level that gets it."""
_BYTES_PER_MB = 1_000_000
_COLOURS = {"TRACE": "2", "DEBUG": "36", "INFO": "32", "WARN": "33", "ERROR": "31"}

# asyncio reports unhandled exceptions, including remote text, with tracebacks of its own.
_LOGGERS = (logging.getLogger("p2ptui"), logging.getLogger("asyncio"))

logging.addLevelName(TRACE, "TRACE")

_handlers: list[logging.Handler] = []
"""What `configure_logging` set up."""


def configure_logging(
    options: LoggingOptions, stream: TextIO | None = None, *, verbose: bool = False
) -> None:
    """Send what the package logs to a stream, and to a file if the options say so.

    A repeated call replaces what the previous one set up.

    Args:
        options: The section [logging].
        stream: The output; standard error if None.
        verbose: `verbose_logging` of another section: log at level debug at least.

    Raises:
        ConfigError: The log file cannot be opened; then nothing has changed.
    """
    level = _LEVELS[options.level]
    if verbose or options.verbose_logging:
        level = min(level, logging.DEBUG)
    stream = sys.stderr if stream is None else stream
    handlers: list[logging.Handler] = [_StreamHandler(stream)]
    handlers[0].setFormatter(_formatter_for(stream, options, level))
    if options.log_to_file:
        file_handler = _open_file(options)
        file_handler.setFormatter(_formatter(options, level, colours=False))
        handlers.append(file_handler)
    shutdown_logging()
    _handlers.extend(handlers)
    for logger in _LOGGERS:
        for handler in handlers:
            logger.addHandler(handler)
        logger.propagate = False
    package, asyncio_logger = _LOGGERS
    package.setLevel(level)
    asyncio_logger.setLevel(max(level, logging.WARNING))


def shutdown_logging() -> None:
    """Flush the outputs, close the file and undo `configure_logging`."""
    for logger in _LOGGERS:
        for handler in _handlers:
            logger.removeHandler(handler)
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    while _handlers:
        with contextlib.suppress(OSError, ValueError):
            _handlers.pop().close()


def default_log_file() -> Path:
    """The default log file: in the user's log directory.

    Raises:
        ConfigError: The user has no home directory.
    """
    path = user_file("log", "p2ptui.log")
    if path is None:
        raise ConfigError(
            "logging.log_to_file: there is no home directory to keep the log in;"
            " name a file with logging.log_file_path"
        )
    return path


class _StreamHandler(logging.StreamHandler[TextIO]):
    """A reader that has gone away loses a line, but never stops the node."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


def _open_file(options: LoggingOptions) -> logging.Handler:
    # Imported late: a program that logs to standard error does not need it.
    from p2ptui.log_file import LogFile

    path = _file_of(options)
    try:
        path = path.expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        most = options.max_log_file_size * _BYTES_PER_MB
        return LogFile(_no_pipe(path), most, options.max_log_files - 1)
    except (OSError, RuntimeError, ValueError) as error:
        raise _cannot_open(path, error) from None


def require_log_file(options: LoggingOptions) -> None:
    """Refuse a log file that `configure_logging` could not open; none is made.

    Raises:
        ConfigError: As `configure_logging` would.
    """
    if not options.log_to_file:
        return
    path = _file_of(options)
    try:
        path = _no_pipe(path.expanduser())
        if path.exists():
            path.open("ab").close()
        else:
            try_place(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise _cannot_open(path, error) from None


def _file_of(options: LoggingOptions) -> Path:
    return Path(options.log_file_path) if options.log_file_path else default_log_file()


def _cannot_open(path: Path, error: Exception) -> ConfigError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return ConfigError(f"logging.log_file_path: cannot open {str(path)!r}: {reason}")


def _no_pipe(path: Path) -> Path:
    if path.is_fifo():
        raise ValueError("it is a pipe, and whoever writes to one may wait for ever")
    return path


def is_journal(stream: TextIO | None) -> bool:
    """Whether this stream goes to systemd's journal: JOURNAL_STREAM names its device and inode."""
    named = os.environ.get("JOURNAL_STREAM", "")
    if not named or stream is None:
        return False
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{about.st_dev}:{about.st_ino}"


def for_journal(text: str, level: int) -> str:
    """The text with its priority before each line, which the journal reads and removes
    (sd-daemon(3)).
    """
    priority = next(number for least, number in _PRIORITIES if level >= least)
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


def _wants_colours(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if sys.platform == "win32" and "WT_SESSION" not in os.environ:
        return False  # the old console displays escape sequences literally
    return stream is not None and stream.isatty()


def _formatter_for(stream: TextIO, options: LoggingOptions, level: int) -> logging.Formatter:
    if is_journal(stream):
        return _JournalFormatter(_formatter(options, level, colours=False, clock=False))
    return _formatter(options, level, colours=_wants_colours(stream))


def _formatter(
    options: LoggingOptions, level: int, *, colours: bool, clock: bool = True
) -> logging.Formatter:
    tracebacks = level <= logging.DEBUG
    if options.format == "json":
        return _JsonFormatter(tracebacks=tracebacks)
    return _PrettyFormatter(tracebacks=tracebacks, colours=colours, clock=clock)


class _JournalFormatter(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return for_journal(self._inner.format(record), record.levelno)


class _PrettyFormatter(logging.Formatter):
    """Time (not for the journal, which has its own), level, message; a traceback, if any,
    indented.
    """

    def __init__(self, *, tracebacks: bool, colours: bool, clock: bool) -> None:
        super().__init__()
        self._clock = clock
        self._tracebacks = tracebacks
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        clock = ""
        if self._clock:
            clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
            clock += f".{math.floor(record.created * 1000) % 1000:03} "  # also before 1970
        level = _level_name(record)
        padded = f"{level:<5}"
        if self._colours:
            padded = f"\x1b[{_COLOURS.get(level, '0')}m{padded}\x1b[0m"
        line = f"{clock}{padded} {_message(record)}"
        if not hasattr(record, "event"):  # otherwise the message contains them
            line += "".join(f" {name}={value}" for name, value in _fields(record).items())
        error = _exception(record)
        if error is None:
            return line
        if self._tracebacks:
            return "\n".join([line, *(f"    | {part}" for part in _traceback(error))])
        return f"{line}: {_summary(error)}"


class _JsonFormatter(logging.Formatter):
    """One JSON object per line: the event's name and its fields, beside the message."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {
            "timestamp": moment.replace("+00:00", "Z"),
            "level": _level_name(record).lower(),
            "target": printable(record.name),
            "message": _message(record),
        }
        if (error := _exception(record)) is not None:
            entry["error"] = _summary(error)
            if self._tracebacks:
                entry["traceback"] = _traceback(error)
        return json.dumps(_fields(record) | entry, ensure_ascii=False)


def _level_name(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno) or printable(record.levelname)


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # a mistaken call to the logger, or a broken __str__, must still be seen
        text = f"{record.msg} (could not be formatted)"
    return printable(text, MESSAGE_LIMIT)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What came with `extra=`: the event's name and its fields; see `tagged`."""
    event, fields = getattr(record, "event", None), getattr(record, "fields", None)
    named = {} if event is None else {"event": printable(str(event))}
    return named | (dict(_inert(fields)) if isinstance(fields, Mapping) else {})


def _inert(value: object) -> Any:
    if isinstance(value, Mapping):
        return {printable(str(name)): _inert(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_inert(inner) for inner in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):  # JSON has no NaN
        return value
    return printable(str(value), MESSAGE_LIMIT)


def _exception(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _summary(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {error}", MESSAGE_LIMIT)


def _traceback(error: BaseException) -> list[str]:
    text = "".join(traceback.format_exception(error))
    return [printable(line, MESSAGE_LIMIT) for line in text.splitlines()]
