"""Which records are shown: words and conditions, all of which must match."""

from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time
from typing import Final, TypeAlias

from p2ptui.errors import LocalError
from p2ptui.nearest import suggestion
from p2ptui.tui.pattern import PatternError, compile_pattern, found_in
from p2ptui.tui.records import IN, NOTE, OUT, Record
from p2ptui.verbs import LEVELS

Test: TypeAlias = Callable[[Record], bool]

MAX_EXPRESSION: Final = 200
"""Characters; nobody types more."""

SLOW_S: Final = 0.02
MAX_SLOW: Final = 3
"""A regular expression that is too slow for this many records is given up."""

DIRECTIONS: Final = (IN, OUT, NOTE)

SEALED: Final = ("yes", "no")

KEYS: Final = ("level", "dir", "peer", "type", "sealed")

EXPLAINED: Final = (
    ("word", "the record contains it"),
    ('"two words"', "the record contains them, side by side"),
    ("/time.?out/", "a regular expression"),
    ("!word  !/re/  !peer:bob", "must not match"),
    ("level:warn", f"this level or above: {', '.join(LEVELS)}"),
    ("peer:alice", "the peer's name, id or address contains it"),
    ("dir:in", ", ".join(DIRECTIONS)),
    ("type:Data", "the message type contains it"),
    ("sealed:no", "messages that anybody on the way could read; yes: those that nobody could"),
)
"""What an expression may contain, for the help."""


class FilterError(LocalError):
    """An invalid expression; the text says where."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled expression."""

    expression: str
    tests: tuple[Test, ...]

    def accepts(self, record: Record) -> bool:
        """Whether a record is shown.

        Raises:
            FilterError: A regular expression takes too long.
        """
        return all(test(record) for test in self.tests)

    def __and__(self, other: "Filter") -> "Filter":
        expression = " ".join(filter(None, (self.expression, other.expression)))
        return Filter(expression, self.tests + other.tests)


ALL: Final = Filter("", ())
"""Shows everything."""


def compile_filter(expression: str) -> Filter:
    """Read a filter expression.

    Raises:
        FilterError: It is invalid.
    """
    if len(expression) > MAX_EXPRESSION:
        raise FilterError(f"a filter has at most {MAX_EXPRESSION} characters")
    rest = expression.strip()
    tests: list[Test] = []
    while rest:
        inverse = rest.startswith("!")
        if inverse:
            rest = rest[1:]
        test, rest = _read_one(rest)
        tests.append(_inverted(test) if inverse else test)
        rest = rest.strip()
    return Filter(expression.strip(), tuple(tests))


def _read_one(text: str) -> tuple[Test, str]:
    """The first condition of a text, and what follows it."""
    if text.startswith("/"):
        pattern, rest = _until_slash(text[1:])
        return _regex(pattern), rest
    if text.startswith('"'):
        words, _, rest = text[1:].partition('"')
        if not words:
            raise FilterError('between the quotation marks is nothing: write "WORDS"')
        return _contains(words), rest
    word, _, rest = text.partition(" ")
    return _condition(word), rest


def _until_slash(text: str) -> tuple[str, str]:
    """A pattern up to the slash that ends it; `\\/` stands for a slash in it."""
    at = 0
    while at < len(text) and text[at] != "/":
        at += 2 if text[at] == "\\" else 1
    return text[:at].replace("\\/", "/"), text[at + 1 :]


def _inverted(test: Test) -> Test:
    return lambda record: not test(record)


def _regex(pattern: str) -> Test:
    try:
        compiled = compile_pattern(pattern)
    except PatternError as error:
        raise FilterError(str(error)) from None
    strikes = 0

    def test(record: Record) -> bool:
        nonlocal strikes
        began = thread_time()
        found = found_in(compiled, record.haystack)
        if thread_time() - began > SLOW_S:
            strikes += 1
            if strikes >= MAX_SLOW:
                raise FilterError(f"/{pattern}/ takes too long on these messages")
        return found

    return test


def _contains(words: str) -> Test:
    lowered = words.lower()
    return lambda record: lowered in record.haystack.lower()


def _condition(word: str) -> Test:
    if not word:
        raise FilterError("! wants a word or a /PATTERN/ behind it")
    key, colon, value = word.partition(":")
    value = value.lower()
    if not colon or key not in KEYS:
        return _contains(word)
    if key == "level":
        gravest = LEVELS[LEVELS.index(_one_of(value, LEVELS, "level")) :]
        return lambda record: record.level in gravest
    if key == "dir":
        direction = _one_of(value, DIRECTIONS, "direction")
        return lambda record: record.direction == direction
    if key == "sealed":
        is_sealed = _one_of(value, SEALED, "condition of a seal") == "yes"
        return lambda record: record.direction != NOTE and record.is_sealed is is_sealed
    if key == "peer":
        return lambda record: value in f"{record.peer} {record.node_id} {record.address}".lower()
    return lambda record: value in record.kind.lower()


def _one_of(value: str, choices: tuple[str, ...], what: str) -> str:
    if value not in choices:
        hint = suggestion(value, choices, is_quoted=False) or f"; one of {', '.join(choices)}"
        raise FilterError(f"{value!r} is not a {what}{hint}")
    return value
