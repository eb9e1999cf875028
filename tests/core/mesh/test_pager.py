"""Long lists cut into pages: nothing is lost, every page fits, and an empty list has one too."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.mesh.discovery import frame_list, frame_nodes
from p2ptui.core.mesh.pager import ENVELOPE_BYTES, pages
from p2ptui.wire.codec import encode_envelope, encode_payload
from p2ptui.wire.message import Envelope, MessageType, PeerInfo

entries = st.lists(st.integers() | st.text(max_size=30), max_size=40)


def cut(listed: list[Any], budget: int) -> tuple[list[list[Any]], list[bool]]:
    """The pages, each read back by itself, and what each says of more."""
    made = list(pages(iter(listed), budget))
    return [json.loads(b"[" + joined + b"]") for joined, _ in made], [more for _, more in made]


def size(entry: Any) -> int:
    return len(bytes(encode_payload(entry)))


@given(entries, st.integers(1, 200))
def test_the_pages_together_are_the_list(listed: list[Any], budget: int) -> None:
    read, _ = cut(listed, budget)
    assert [entry for page in read for entry in page] == listed


@given(entries, st.integers(1, 200))
def test_only_the_last_page_says_that_there_is_no_more(listed: list[Any], budget: int) -> None:
    read, more = cut(listed, budget)
    assert more == [True] * (len(read) - 1) + [False]
    assert all(read) or read == [[]]


@given(entries, st.integers(1, 200))
def test_a_page_fits_the_budget_unless_a_single_entry_does_not(
    listed: list[Any], budget: int
) -> None:
    for joined, _ in pages(iter(listed), budget):
        assert len(joined) <= budget or len(json.loads(b"[" + joined + b"]")) == 1


@given(entries, st.integers(1, 200))
def test_no_page_has_room_for_the_first_entry_of_the_next(listed: list[Any], budget: int) -> None:
    made = [joined for joined, _ in pages(iter(listed), budget)]
    for joined, following in itertools.pairwise(made):
        first = json.loads(b"[" + following + b"]")[0]
        assert len(joined) + 1 + size(first) > budget


def test_an_empty_list_is_one_empty_page() -> None:
    assert list(pages(iter([]), 100)) == [(b"", False)]


def test_entries_are_made_when_their_page_is_due() -> None:
    made: list[int] = []

    def listed() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    first = next(pages(listed(), 20))
    assert first == (b"0,1,2,3,4,5,6,7,8,9", True)
    assert len(made) == 11


def test_what_surrounds_a_page_fits_what_is_set_aside_for_it() -> None:
    entry = PeerInfo("i" * 36, "a" * 40, 2**40, ("c" * 20,))
    budget = 1200 - ENVELOPE_BYTES
    joined, _ = next(pages(iter([entry] * 100), budget))
    for kind, framed in (
        (MessageType.DISCOVERY_RESPONSE, frame_list(joined, 0, True)),
        (MessageType.LIST_NODES_RESPONSE, frame_nodes(joined, 10**6, False)),
    ):
        payload = encode_payload(json.loads(framed))
        message = Envelope("i" * 36, kind, 2**40, payload, 2**32 - 1, True)
        assert len(encode_envelope(message)) - len(joined) <= ENVELOPE_BYTES
