"""The form in which a file travels: what is read is what was sent, or nothing."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.wire.codec import decode_any, encode_exactly
from p2ptui.wire.files import (
    BadFileError,
    Receipt,
    file_payload,
    is_file,
    read_file,
    read_receipt,
    receipt_payload,
)

texts = st.text(st.characters(codec="utf-8"))


@given(texts, st.binary(max_size=300) | texts.map(str.encode))
def test_name_and_exact_bytes_arrive(name: str, content: bytes) -> None:
    payload = decode_any(encode_exactly(file_payload(name, content)))
    assert is_file(payload)
    file = read_file(payload)
    assert (file.name, file.content) == (name, content)
    assert file.sha256 == hashlib.sha256(content).hexdigest()


@given(st.binary(max_size=300) | texts.map(str.encode))
def test_no_form_is_longer_than_base64(content: bytes) -> None:
    length = len(encode_exactly(file_payload("x", content)))
    around = len(encode_exactly(file_payload("x", b"\xff" * 100))) - 136
    assert length <= around + (len(content) + 2) // 3 * 4


def test_text_stays_readable() -> None:
    assert file_payload("x", "grüße\r\n".encode())["text"] == "grüße\r\n"
    assert "base64" in file_payload("x", b"\xff")
    assert "base64" in file_payload("x", b"\x01" * 100)


def test_a_byte_order_mark_and_line_ends_stay() -> None:
    for content in (b"\xef\xbb\xbfx", b"a\r\nb\rc\n", b"\0", b""):
        assert read_file(file_payload("x", content)).content == content


@pytest.mark.parametrize(
    "payload",
    [
        "text",
        '{"file": "x", "base64": ""}',
        None,
        5,
        ["file"],
        {},
        {"file": "x"},
        {"file": "x", "text": "an application's own"},
        {"file": 5, "base64": ""},
        {"file": "x", "base64": "", "more": 1},
        {"file": "x", "size": 1, "sha256": "0"},
        {"base64": "", "size": 0, "sha256": ""},
        {"echo": {"file": "x", "base64": ""}},
    ],
    ids=repr,
)
def test_what_is_no_file_is_not_taken_for_one(payload: Any) -> None:
    assert not is_file(payload)


def test_what_older_nodes_send_is_a_file() -> None:
    payload = {"file": "x", "base64": base64.b64encode(b"\xff\0").decode()}
    assert is_file(payload)
    assert read_file(payload).content == b"\xff\0"


GOOD = file_payload("x", b"\xff\0\x01")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 2}, "it says 2 bytes, and has 3"),
        ({"size": "3"}, "its size is no number"),
        ({"size": True}, "its size is no number"),
        ({"size": 3.0}, "its size is no number"),
        ({"size": -1}, "its size is no number"),
        ({"size": None}, "its size is no number"),
        ({"size": 10**400}, "its size is no number"),
        ({"sha256": "0" * 64}, "its sha256 is another than it says"),
        ({"sha256": None}, "its sha256 is another"),
        ({"base64": "/wAB="}, "its base64 is invalid"),
        ({"base64": "/x=="}, "its base64 is invalid"),
        ({"base64": "/w AB"}, "its base64 is invalid"),
        ({"base64": "é"}, "its base64 is invalid"),
        ({"base64": 5}, "its base64 is no text"),
        ({"text": "x"}, "it has two contents"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_file_that_contradicts_itself_is_refused(change: dict[str, Any], says: str) -> None:
    payload = GOOD | change
    assert is_file(payload)
    with pytest.raises(BadFileError, match=says) as refused:
        read_file(payload)
    assert len(str(refused.value)) < 100


def test_a_hash_may_be_written_in_capitals() -> None:
    assert read_file(GOOD | {"sha256": GOOD["sha256"].upper()}).content == b"\xff\0\x01"


@pytest.mark.parametrize(
    "receipt", [Receipt("ab", True, kept_as="x (2)"), Receipt("ab", False, reason="full")]
)
def test_a_receipt_arrives(receipt: Receipt) -> None:
    assert read_receipt(decode_any(encode_exactly(receipt_payload(receipt)))) == receipt


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    ["file", "size", "sha256", "text", "base64", "receipt_for", "kept", "kept_as", "reason"]
)


@given(st.dictionaries(keys, json_values) | json_values)
def test_no_payload_makes_the_readers_fail(payload: Any) -> None:
    read_receipt(payload)
    if is_file(payload):
        try:
            read_file(payload)
        except BadFileError as error:
            text = str(error)
        else:
            text = ""
        assert "\n" not in text
