"""Which records are shown: words and conditions, all of which must hold.

ping                 the text is somewhere in the record
/time.?out/          a regular expression; also without the closing slash, to the end
!word  !/re/         must not fit
level:warn           this level or a graver one
peer:alice           the peer's name, id or address contains it
dir:in               in, out or note
type:Data            the message type contains it
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from p2ptui.errors import LocalError
from p2ptui.tui.records import IN, NOTE, OUT, Record
from p2ptui.verbs import LEVELS

Test: TypeAlias = Callable[[Record], bool]

MAX_EXPRESSION: Final = 200
"""Characters; nobody types more, and a longer regular expression is a way to hang the screen."""

_DIRECTIONS: Final = (IN, OUT, NOTE)


class FilterError(LocalError):
    """An expression that makes no sense; the text says where."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled expression."""

    expression: str
    tests: tuple[Test, ...]

    def accepts(self, record: Record) -> bool:
        """Whether a record is shown."""
        return all(test(record) for test in self.tests)


ALL: Final = Filter("", ())
"""Shows everything."""


def compile_filter(expression: str) -> Filter:
    """Read a filter expression.

    Raises:
        FilterError: It makes no sense.
    """
    if len(expression) > MAX_EXPRESSION:
        raise FilterError(f"a filter has at most {MAX_EXPRESSION} characters")
    rest = expression.strip()
    tests: list[Test] = []
    while rest:
        inverse = rest.startswith("!")
        if inverse:
            rest = rest[1:]
        if rest.startswith("/"):
            pattern, _, rest = rest[1:].partition("/")
            test = _regex(pattern)
        else:
            word, _, rest = rest.partition(" ")
            test = _condition(word)
        tests.append(_inverted(test) if inverse else test)
        rest = rest.strip()
    return Filter(expression.strip(), tuple(tests))


def _inverted(test: Test) -> Test:
    return lambda record: not test(record)


def _regex(pattern: str) -> Test:
    if not pattern:
        raise FilterError("the regular expression is empty: write /PATTERN/")
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise FilterError(f"bad regular expression: {error}") from None
    return lambda record: compiled.search(record.haystack) is not None


def _condition(word: str) -> Test:
    if not word:
        raise FilterError("! wants a word or a /PATTERN/ behind it")
    key, colon, value = word.partition(":")
    value = value.lower()
    if colon and key == "level":
        if value not in LEVELS:
            raise FilterError(f"{value!r} is no level; one of {', '.join(LEVELS)}")
        gravest = LEVELS[LEVELS.index(value) :]
        return lambda record: record.level in gravest
    if colon and key == "dir":
        if value not in _DIRECTIONS:
            raise FilterError(f"{value!r} is no direction; one of {', '.join(_DIRECTIONS)}")
        return lambda record: record.direction == value
    if colon and key == "peer":
        return lambda record: value in f"{record.peer} {record.node_id} {record.address}".lower()
    if colon and key == "type":
        return lambda record: value in record.kind.lower()
    lowered = word.lower()
    return lambda record: lowered in record.haystack.lower()
