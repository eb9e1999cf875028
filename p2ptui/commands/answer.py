"""The one JSON object of a command: every end of it prints one, whatever the end is."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from p2ptui.errors import P2PError
from p2ptui.text import printable

ERROR: Final = "error"
"""The key of the sentence that standard error has; an object without it is that of a success."""

LONGEST_ERROR: Final = 1000


def json_wanted(arguments: Sequence[str]) -> bool:
    """Whether `--json` is among a command's arguments, which may be wrong otherwise."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    # Markdown is another form: who asks for both is told to choose, and not in either.
    return "--json" in options and "--markdown" not in options


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object, pure ASCII: nothing remote in it can act on a terminal."""
    print(json.dumps(value, ensure_ascii=True), flush=True)


class Answer:
    """Holds what a command has found out, and prints it when the command ends.

    Args:
        wanted: Whether there is anything to print (`--json`).
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self._fields: dict[str, Any] = {}
        self._error: str | None = None
        self._is_stream = False

    def tell(self, fields: Mapping[str, Any]) -> None:
        """Answer this, in place of what was told before."""
        self._fields = dict(fields)

    def tell_each(self) -> None:
        """The command prints objects of its own as it goes on; of its end only a failure is one."""
        self._is_stream = True

    def fail(self, words: str) -> None:
        """The command has failed; the first reason counts."""
        if self._error is None:
            self._error = printable(words, LONGEST_ERROR)

    def interrupt(self) -> None:
        """It was asked to end, which is how a stream of objects ends well."""
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
            self.fail(str(error))
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
            # An output that takes nothing must not hide what happened first.
            with contextlib.suppress(OSError):
                self._print()

    def _print(self) -> None:
        failure = {} if self._error is None else {ERROR: self._error}
        if failure or (self._fields and not self._is_stream):
            print_json({**self._fields, **failure})
