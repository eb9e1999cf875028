"""The one JSON object of a command: it is printed however the command ends."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from p2ptui.errors import NetworkMismatchError, P2PError
from p2ptui.text import printable

ERROR: Final = "error"
"""The key of the error message, as on standard error; an object without it means success."""

LONGEST_ERROR: Final = 1000


def error_words(error: P2PError) -> str:
    """An error in one line, for a user who can respond with an option."""
    if isinstance(error, NetworkMismatchError):
        return f"{error.said}; both nodes need the same --network-id"
    return str(error)


def json_wanted(arguments: Sequence[str]) -> bool:
    """Whether `--json` is among a command's arguments, which may otherwise be invalid."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    # Markdown is another form: a user who asks for both is told to choose, in neither of them.
    return "--json" in options and "--markdown" not in options


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object in pure ASCII: nothing remote in it can affect a terminal."""
    print(json.dumps(value, ensure_ascii=True), flush=True)


class Answer:
    """Holds a command's result, and prints it when the command ends.

    Args:
        wanted: Whether there is anything to print (`--json`).
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self._fields: dict[str, Any] = {}
        self._error: str | None = None
        self._is_stream = False

    def tell(self, fields: Mapping[str, Any]) -> None:
        """Set the answer, replacing an earlier one."""
        self._fields = dict(fields)

    def tell_each(self) -> None:
        """The command prints objects of its own as it goes on; at its end only a failure is
        printed.
        """
        self._is_stream = True

    def fail(self, words: str) -> None:
        """Record that the command has failed; the first reason counts."""
        if self._error is None:
            self._error = printable(words, LONGEST_ERROR)

    def interrupt(self) -> None:
        """The command was asked to end, which is the normal end of a stream of objects."""
        if not self._is_stream:
            self.fail("interrupted")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.wanted:
            return
        if isinstance(error, P2PError):
            self.fail(error_words(error))
        elif isinstance(error, KeyboardInterrupt):
            self.interrupt()
        elif isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            from p2ptui.io.advice import program_advice

            self.fail(program_advice(error))
        elif isinstance(error, Exception):
            self.fail(f"{type(error).__name__}: {error}")
        if error is None:
            self._print()
        else:
            # An unwritable output must not hide what happened first.
            with contextlib.suppress(OSError):
                self._print()

    def _print(self) -> None:
        failure = {} if self._error is None else {ERROR: self._error}
        if failure or (self._fields and not self._is_stream):
            print_json({**self._fields, **failure})
