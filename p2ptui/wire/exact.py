"""What JSON carries exactly: values that arrive equal and with the same types, and no others.

The encoder accepts more than that: it writes bytes as text, a set as a list, the key 1 as "1". The
sender would be told "delivered" although something else arrived, so such values are named and
refused.
"""

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any, Final, NoReturn

from p2ptui.text import shown

LEAST_INTEGER: Final = -(2**63)
GREATEST_INTEGER: Final = 2**64 - 1
"""Most JSON readers do not read integers beyond 64 bits as integers (RFC 8259, section 6)."""

_LEAVES: Final = frozenset({str, int, float, bool, type(None)})
_BRANCHES: Final = frozenset({list, dict})
_IS_TEXT: Final = frozenset({str}).__contains__

_MAX_PLACE: Final = 100
_MAX_KEY: Final = 40

_INSTEAD: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    # The first match counts: an IntEnum is also an int, a datetime also a date.
    (enum.Enum, "send its value"),
    ((bytes, bytearray, memoryview), "send its base64 text"),
    ((datetime.datetime, datetime.date, datetime.time), "send its isoformat()"),
    (datetime.timedelta, "send its total_seconds()"),
    ((decimal.Decimal, uuid.UUID, PurePath), "send it as str"),
    ((tuple, set, frozenset), "send it as list"),
    (list, "send it as list"),
    (dict, "send it as dict"),
    (str, "send it as str"),
    (int, "send it as int"),
    (float, "send it as float"),
)


def is_exact(value: Any, *, may_be_nan: bool = True) -> bool:
    """Whether a value arrives equal and with the same types.

    Args:
        value: Anything the encoder accepted: it does not contain itself, and its strings are valid
            UTF-8.
        may_be_nan: False skips the check of each float.
    """
    least, greatest = LEAST_INTEGER, GREATEST_INTEGER
    pending: list[Iterable[Any]] = [(value,)]
    while pending:
        for item in pending.pop():
            kind = type(item)
            if kind is str:
                continue
            if kind is int:
                if not least <= item <= greatest:
                    return False
            elif kind is dict:
                if not all(map(_IS_TEXT, map(type, item))):
                    return False
                pending.append(item.values())
            elif kind is list:
                pending.append(item)
            elif kind not in _LEAVES or (may_be_nan and _is_no_number(item)):
                return False
    return True


def _is_no_number(item: Any) -> bool:
    return type(item) is float and item - item != 0  # NaN and the infinities


def find_fault(value: Any, max_nesting: int, place: str = "payload") -> str | None:
    """Say what keeps a value from arriving as it is.

    Args:
        value: Anything, even a value that contains itself.
        max_nesting: The deepest nesting of lists and dicts that is allowed.
        place: What the value is called.

    Returns:
        The first fault, with its place and what to send instead; None if there is none.
    """
    return next(_faults(value, place, 1, max_nesting), None)


def _faults(value: Any, place: str, level: int, limit: int) -> Iterator[str]:
    kind = type(value)
    if kind is str:
        yield from _faults_of_text(value, place)
    elif kind is int:
        if not LEAST_INTEGER <= value <= GREATEST_INTEGER:
            yield f"{_short(place)} is an integer beyond 64 bits: send it as str"
    elif kind is float:
        if _is_no_number(value):
            yield f"{_short(place)} is a float: {value} has no JSON form; send None or a text"
    elif kind in _BRANCHES:
        if level <= limit:
            yield from _faults_within(value, place, level + 1, limit)
        else:
            yield f"{_short(place)} is nested deeper than {limit} levels"
    elif kind not in _LEAVES:
        yield f"{_short(place)} is {_with_article(kind)}; JSON has no such type: {_instead(value)}"


def _faults_within(value: Any, place: str, level: int, limit: int) -> Iterator[str]:
    if type(value) is list:
        for number, item in enumerate(value):
            yield from _faults(item, f"{place}[{number}]", level, limit)
        return
    for key, item in value.items():
        if type(key) is not str:
            shown = _shown(key)
            yield (
                f"{_short(place)} has the key {shown}, {_with_article(type(key))};"
                " keys of JSON are str: send str(key)"
            )
        else:
            yield from _faults_of_text(key, f"a key of {place}")
            yield from _faults(item, f"{place}[{_shown(key)}]", level, limit)


def _faults_of_text(text: str, place: str) -> Iterator[str]:
    index = _index_of_surrogate(text)
    if index is not None:
        yield (
            f"{_short(place)} is a str that UTF-8 cannot hold, surrogates not allowed:"
            f" take out U+{ord(text[index]):04X} at index {index}"
        )


def _index_of_surrogate(text: str) -> int | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _instead(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "send its dataclasses.asdict()"
    for kinds, advice in _INSTEAD:
        if isinstance(value, kinds):
            return advice
    return "send str, int, float, bool, None, list or dict"


def _with_article(kind: type) -> str:
    name = kind.__name__
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


def _shown(key: Any) -> str:
    text = json.dumps(key) if type(key) is str else shown(key, _MAX_KEY)
    return text if len(text) <= _MAX_KEY else f"{text[: _MAX_KEY - 1]}…"


def _short(place: str) -> str:
    half = _MAX_PLACE // 2
    return place if len(place) <= _MAX_PLACE else f"{place[:half]}…{place[-half:]}"


class AmbiguousJsonError(ValueError):
    """Valid JSON by the grammar, but readers would disagree about its meaning."""


def read_json(text: str | bytes) -> Any:
    """Read JSON written by a person, strictly.

    Raises:
        AmbiguousJsonError: A name occurs twice in one object.
        ValueError: It is not JSON; nor are NaN and Infinity, which Python would accept.
        RecursionError: It is nested beyond reason.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise AmbiguousJsonError(f"the name {_shown(twice)} stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} has no JSON form")
