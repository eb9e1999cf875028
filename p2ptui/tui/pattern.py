"""Regular expressions that cannot hang the program: those that might take long are refused
beforehand.

Python's engine backtracks. It matches against text written by peers, so an expression with many
ways to match would let a peer stop the screen, and the node in the same event loop. The ways are
counted before the expression is used.
"""

import importlib
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from p2ptui.errors import LocalError

SUBJECT_CHARACTERS: Final = 256
"""A record's text is searched in parts of this length."""

MAX_WAYS: Final = 1 << 17
"""Ways to match at one position: two `.*` and a bit. About 0.1 s at worst."""

# The parser that `re` itself uses; it was public as sre_parse until Python 3.11.
_parser: Any = importlib.import_module("re._parser")


class PatternError(LocalError):
    """An unusable expression; the text says why."""


def compile_pattern(pattern: str) -> "re.Pattern[str]":
    """Compile an expression, ignoring case.

    Raises:
        PatternError: It is not valid, or could take too long.
    """
    if not pattern:
        raise PatternError("the regular expression is empty: write /PATTERN/")
    try:
        ways = _ways(_parser.parse(pattern, re.IGNORECASE))
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError) as error:
        raise PatternError(f"bad regular expression: {error}") from None
    except RecursionError:
        raise PatternError("bad regular expression: too deeply nested") from None
    if ways > MAX_WAYS:
        raise PatternError(
            "the regular expression could take too long: at most two of * + {n,},"
            " none inside another; write /a.*b/ /c.*d/ instead"
        )
    return compiled


def found_in(pattern: "re.Pattern[str]", text: str) -> bool:
    """Whether the pattern is in a text, searched in overlapping parts of bounded length."""
    half = SUBJECT_CHARACTERS // 2
    last = max(len(text) - half, 1)
    return any(pattern.search(text, at, at + SUBJECT_CHARACTERS) for at in range(0, last, half))


def _ways(items: Iterable[tuple[Any, Any]]) -> float:
    """How many ways there are, at most, to match a sequence from one place."""
    ways = 1.0
    for operation, argument in items:
        ways *= _ways_of(str(operation), argument)
    return ways


def _ways_of(operation: str, argument: Any) -> float:
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, body = argument
        most = min(int(most), SUBJECT_CHARACTERS)
        inner = _ways(body)
        if inner > 1 and most > 1:
            return math.inf if most * _log2(inner) > 17 else inner**most * (most - least + 1)
        return max(most - int(least), 0) * inner + 1
    if operation == "BRANCH":
        return sum(_ways(branch) for branch in argument[1])
    if operation == "SUBPATTERN":
        return _ways(argument[-1])
    if operation in ("ASSERT", "ASSERT_NOT"):
        return _ways(argument[1])
    if operation == "ATOMIC_GROUP":
        return _ways(argument)
    if operation == "GROUPREF_EXISTS":
        return sum(_ways(branch) for branch in argument[1:] if branch is not None)
    return 1.0


def _log2(value: float) -> float:
    return math.inf if value == math.inf else value.__ceil__().bit_length()
