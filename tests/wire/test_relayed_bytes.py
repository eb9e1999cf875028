"""Relayed bytes of deployed programs go on as they came, and as the encoder would write them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    Envelope,
    RelayDataPayload,
    RelayRequestPayload,
    relay_data_payload,
)
from p2ptui.wire.relayed_bytes import read_relay_request

ID = "0123abcd-0000-4000-8000-000000000001"
NUMBERS = st.integers(0, 255) | st.sampled_from((-1, 256, 1.0, 1.5, True, None, "1", [], 10**30))
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "target_peer_id": st.text(max_size=20) | st.none(),
        "data": st.lists(NUMBERS, max_size=20) | st.binary(max_size=80).map(list) | st.just("YQ=="),
        "request_id": st.text(max_size=10) | st.none() | st.integers(),
        "more": st.lists(st.integers(), max_size=3),
    },
)


def fault_of(read: Callable[[], object]) -> str:
    """What is said of what cannot be read; empty if it can."""
    try:
        read()
    except MalformedError as error:
        return str(error)
    return ""


def check(payload: Raw) -> None:
    """It is read as the whole payload is, and passed on as that would be written."""
    message = Envelope("an id", "RelayRequest", 0, payload)
    fault = fault_of(lambda: decode_payload(payload, RelayRequestPayload))
    assert fault_of(lambda: read_relay_request(message)) == fault
    if fault:
        return
    whole, read = decode_payload(payload, RelayRequestPayload), read_relay_request(message)
    assert read.target_peer_id == whole.target_peer_id
    assert read.request_id == (None if whole.request_id is UNSET else whole.request_id)
    expected = encode_payload(RelayDataPayload(ID, whole.data))
    assert relay_data_payload(ID, read.written) == bytes(expected)


@given(REQUESTS, st.booleans())
def test_it_is_read_and_passed_on_as_the_codec_does(request: dict[str, Any], spaced: bool) -> None:
    separators = None if spaced else (",", ":")
    check(Raw(json.dumps(request, separators=separators).encode()))


@pytest.mark.parametrize(
    "data",
    [
        "[]",
        "[ ]",
        "[0,255]",
        "[0, 255]",
        "[-0]",
        "[1e0]",
        "[1.0]",
        "[256]",
        "[[1]]",
        "12",
        "null",
        '"1"',
        "[true]",
        "[1,\n2]",
    ],
)
def test_each_way_of_writing_it(data: str) -> None:
    check(Raw(f'{{"target_peer_id":"{ID}","data":{data}}}'.encode()))


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    check(Raw(f'{{"data":[1],"target_peer_id":"{ID}","data":[2]}}'.encode()))
