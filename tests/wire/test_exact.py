"""What may be sent arrives equal and of the same types; all else is refused, with its place."""

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections import OrderedDict
from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.wire.codec import (
    MAX_PAYLOAD_NESTING,
    MalformedError,
    decode_any,
    encode_exactly,
    encode_payload,
)
from p2ptui.wire.exact import (
    GREATEST_INTEGER,
    LEAST_INTEGER,
    AmbiguousJsonError,
    find_fault,
    is_exact,
    read_json,
)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Fraction(float):
    pass


class Items(list):  # type: ignore[type-arg]
    pass


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Point:
    x: int = 1


class Row(msgspec.Struct):
    x: int = 1


STRANGE = [
    (b"x", "a bytes", "base64"),
    (bytearray(b"x"), "a bytearray", "base64"),
    (memoryview(b"x"), "a memoryview", "base64"),
    ((1, 2), "a tuple", "list"),
    ({1}, "a set", "list"),
    (frozenset(), "a frozenset", "list"),
    (datetime.datetime(2026, 1, 1), "a datetime", "isoformat()"),
    (datetime.date(2026, 1, 1), "a date", "isoformat()"),
    (datetime.time(1), "a time", "isoformat()"),
    (datetime.timedelta(1), "a timedelta", "total_seconds()"),
    (decimal.Decimal("1.5"), "a Decimal", "as str"),
    (uuid.UUID(int=1), "a UUID", "as str"),
    (PurePosixPath("/x"), "a PurePosixPath", "as str"),
    (Point(), "a Point", "dataclasses.asdict()"),
    (Row(), "a Row", "send str, int"),
    (msgspec.Raw(b"1"), "a Raw", "send str, int"),
    (Colour.RED, "a Colour", "its value"),
    (Level.LOW, "a Level", "its value"),
    (Word.YES, "a Word", "its value"),
    (Text("x"), "a Text", "as str"),
    (Number(1), "a Number", "as int"),
    (Fraction(1.5), "a Fraction", "as float"),
    (Items([1]), "an Items", "as list"),
    (OrderedDict(a=1), "an OrderedDict", "as dict"),
    (1j, "a complex", "send str, int"),
    (object(), "an object", "send str, int"),
    (Point, "a type", "send str, int"),
    (float("nan"), "a float: nan has no JSON form", "None"),
    (float("inf"), "a float: inf has no JSON form", "None"),
    (float("-inf"), "a float: -inf has no JSON form", "None"),
    (2**64, "an integer beyond 64 bits", "as str"),
    (-(2**63) - 1, "an integer beyond 64 bits", "as str"),
    (10**5000, "an integer beyond 64 bits", "as str"),
    ("\ud800", "a str that UTF-8 cannot hold", "U+D800 at index 0"),
]


@pytest.mark.parametrize(("value", "what", "instead"), STRANGE, ids=lambda v: str(type(v)))
@pytest.mark.parametrize(
    ("wrap", "place"),
    [
        (lambda v: v, "payload"),
        (lambda v: [v], "payload[0]"),
        (lambda v: {"a": [0, 1, "2", v]}, 'payload["a"][3]'),
        (lambda v: [None, {"b c": {"": v}}, 0.5], 'payload[1]["b c"][""]'),
    ],
    ids=["alone", "list", "deep", "deeper"],
)
def test_what_would_arrive_as_something_else_is_named_with_its_place(
    value: Any, what: str, instead: str, wrap: Any, place: str
) -> None:
    with pytest.raises(MalformedError) as refused:
        encode_exactly(wrap(value))
    assert str(refused.value).startswith(f"{place} is {what}")
    assert instead in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_text_in_full() -> None:
    with pytest.raises(MalformedError) as refused:
        encode_exactly({"a": [0, 0, 0, datetime.datetime(2026, 1, 1)]})
    assert str(refused.value) == (
        'payload["a"][3] is a datetime; JSON has no such type: send its isoformat()'
    )


@pytest.mark.parametrize(
    "key",
    [1, 1.5, None, True, b"k", (1,), Text("k"), Level.LOW, Word.YES, 10**5000],
    ids=lambda key: type(key).__name__,
)
def test_a_key_that_would_become_a_text_is_refused(key: Any) -> None:
    with pytest.raises(MalformedError, match=r'^payload\["a"\]\[0\] has the key .* keys of JSON'):
        encode_exactly({"a": [{"fine": 1, key: 2}]})


def test_a_key_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(MalformedError, match=r'^a key of payload\["a"\] is a str that UTF-8'):
        encode_exactly({"a": {"\udfff": 1}})


def test_of_a_deep_payload_the_place_is_shortened() -> None:
    deep: Any = 1
    for _ in range(MAX_PAYLOAD_NESTING + 1):
        deep = {"k" * 30: deep}
    with pytest.raises(MalformedError, match="nested deeper than 60 levels") as refused:
        encode_exactly(deep)
    assert len(str(refused.value)) < 200


def test_a_payload_that_holds_itself_ends_the_search_for_the_fault() -> None:
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    with pytest.raises(MalformedError, match="nested deeper than 60 levels"):
        encode_exactly(cycle)


exact = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(LEAST_INTEGER, GREATEST_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
anything = st.recursive(
    exact
    | st.sampled_from([value for value, _, _ in STRANGE if value != 10**5000])
    | st.integers()
    | st.floats()
    | st.binary(max_size=4)
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=3)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=10,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types at every place."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return all(map(same, one, other)) and all(map(same, one.values(), other.values()))
    return repr(one) == repr(other)  # -0.0 is not 0.0


@given(exact)
def test_what_json_carries_is_accepted_and_arrives_as_it_is(value: Any) -> None:
    assert same(decode_any(encode_exactly(value)), value)
    assert find_fault(value, MAX_PAYLOAD_NESTING) is None


@given(anything)
def test_whatever_is_accepted_arrives_as_it_is(value: Any) -> None:
    fault = find_fault(value, MAX_PAYLOAD_NESTING)
    if fault is None:
        assert same(decode_any(encode_exactly(value)), value)
    else:
        with pytest.raises(MalformedError) as refused:
            encode_exactly(value)
        assert str(refused.value) == fault


@given(exact)
def test_the_fast_look_and_the_search_for_a_fault_agree(value: Any) -> None:
    assert is_exact(value)


@given(exact)
def test_a_payload_goes_through_the_same_door(value: Any) -> None:
    assert bytes(encode_payload(value)) == bytes(encode_exactly(value))


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', '[{"b":{"a":1,"c":0,"a":1}}]', '{"\\u0061":1,"a":2}']
)
def test_a_name_that_stands_twice_is_no_json_to_send(text: str) -> None:
    with pytest.raises(AmbiguousJsonError, match='the name "a" stands twice in one object'):
        read_json(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "{", "", "1 2"])
def test_what_is_no_json_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting|Extra data"):
        read_json(text)


def test_the_same_name_in_two_objects_is_fine() -> None:
    assert read_json('[{"a":1},{"a":{"a":2}}]') == [{"a": 1}, {"a": {"a": 2}}]
