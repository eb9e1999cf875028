"""Binary frames: what is written is read back, everything else is refused without a word."""

import dataclasses
import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from p2ptui.wire.frames import (
    FRAGMENT_OVERHEAD,
    FRAME_START,
    MAX_BITMAP_BYTES,
    MIN_CHUNK_BYTES,
    PROBE,
    PROBE_ANSWER,
    RELAY,
    Fragment,
    FragmentAck,
    PathProbe,
    PathProbeAnswer,
    TransferStatus,
    Unfragmented,
    decode_frame,
    decode_path_probe,
    decode_relay,
    encode_fragment,
    encode_fragment_ack,
    encode_path_probe,
    encode_path_probe_answer,
    encode_relay,
)

u32 = st.integers(0, 2**32 - 1)

FRAGMENT = Fragment(7, total_bytes=1000, chunk_bytes=300, index=1, data=bytes(300))
LAST = Fragment(7, total_bytes=1000, chunk_bytes=300, index=3, data=bytes(100))
ACK = FragmentAck(7, TransferStatus.PROGRESS, below=2, bitmap=b"\x05")


@st.composite
def fragments(draw: st.DrawFn) -> Fragment:
    chunk = draw(st.integers(MIN_CHUNK_BYTES, 2000))
    total = draw(st.integers(1, 20_000))
    count = -(-total // chunk)
    index = draw(st.integers(0, count - 1))
    size = chunk if index < count - 1 else total - chunk * (count - 1)
    data = draw(st.binary(min_size=1, max_size=8)) * size
    return Fragment(draw(u32), total, chunk, index, data[:size])


acks = st.builds(
    FragmentAck, u32, st.sampled_from(TransferStatus), u32, st.binary(max_size=MAX_BITMAP_BYTES)
)


@given(fragments())
def test_a_fragment_is_read_as_it_was_written(fragment: Fragment) -> None:
    data = encode_fragment(fragment)
    assert decode_frame(data) == fragment
    assert len(data) == FRAGMENT_OVERHEAD + len(fragment.data)
    assert data[0] >= FRAME_START


@given(acks)
def test_a_report_is_read_as_it_was_written(ack: FragmentAck) -> None:
    data = encode_fragment_ack(ack)
    assert decode_frame(data) == ack
    assert data[0] >= FRAME_START
    assert len(data) <= 1200


@given(st.integers(1, 2**32 - 1), st.integers(MIN_CHUNK_BYTES, 65535))
def test_the_count_covers_all_bytes_and_no_more(total: int, chunk: int) -> None:
    count = Fragment(0, total, chunk, 0, b"").count
    assert (count - 1) * chunk < total <= count * chunk


@given(st.sampled_from([FRAGMENT, LAST]), st.integers(-400, 400).filter(bool))
def test_a_fragment_cut_short_or_with_more_behind_is_refused(
    fragment: Fragment, change: int
) -> None:
    data = encode_fragment(fragment)
    longer = data + bytes(max(change, 0))
    assert decode_frame(longer[: max(len(data) + change, 0)]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"total_bytes": 0},
        {"chunk_bytes": 0},
        {"chunk_bytes": MIN_CHUNK_BYTES - 1, "data": bytes(MIN_CHUNK_BYTES - 1)},
        {"index": 4},
        {"index": 2**32 - 1},
        {"total_bytes": 301},
        {"index": 3},  # the last one has but 100 bytes
        {"total_bytes": 300},
        {"data": b""},
    ],
    ids=str,
)
def test_a_fragment_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    assert decode_frame(encode_fragment(dataclasses.replace(FRAGMENT, **changes))) is None


def test_a_fragment_may_claim_four_gigabytes_and_costs_nothing() -> None:
    claim = Fragment(0, 2**32 - 1, MIN_CHUNK_BYTES, 2**24 - 2, bytes(MIN_CHUNK_BYTES))
    assert decode_frame(encode_fragment(claim)) == claim


@pytest.mark.parametrize("length", range(10))
def test_a_report_without_its_head_is_refused(length: int) -> None:
    assert decode_frame(encode_fragment_ack(ACK)[:length]) is None


def test_a_report_with_an_unknown_status_or_too_many_bits_is_refused() -> None:
    head = struct.pack("!BIBI", 0xC1, 7, max(TransferStatus) + 1, 2)
    assert decode_frame(head) is None
    full = dataclasses.replace(ACK, bitmap=bytes(MAX_BITMAP_BYTES))
    assert decode_frame(encode_fragment_ack(full)) == full
    assert decode_frame(encode_fragment_ack(full) + b"\0") is None


@given(st.binary(max_size=64), st.integers(0, 255))
@example(b"", 0xC0)
def test_no_bytes_raise_and_what_is_understood_is_written_the_same(rest: bytes, first: int) -> None:
    data = bytes([first]) + rest
    frame = decode_frame(data)
    if isinstance(frame, Fragment):
        assert encode_fragment(frame) == data
    elif frame is not None:
        assert encode_fragment_ack(frame) == data


KEY = bytes(range(8))


@pytest.mark.parametrize("size", [0, 10, 11, 531, 1472, 8972])
@pytest.mark.parametrize("whole", [False, True])
def test_a_probe_is_as_long_as_it_is_to_be_and_keeps_its_key(size: int, whole: bool) -> None:
    probe = encode_path_probe(KEY, size, whole=whole)
    assert len(probe) == max(size, 10)
    assert decode_path_probe(probe) == PathProbe(KEY)
    assert decode_frame(probe) is None
    assert isinstance(probe, Unfragmented) is whole


def test_an_answer_is_never_longer_than_its_probe() -> None:
    answer = encode_path_probe_answer(KEY)
    assert decode_path_probe(answer) == PathProbeAnswer(KEY)
    assert len(answer) < len(encode_path_probe(KEY, 0, whole=False))


@pytest.mark.parametrize("whole", [False, True])
def test_a_relayed_probe_that_must_not_be_cut_says_so_on_both_legs(whole: bool) -> None:
    probe = encode_path_probe(KEY, 1000, whole=whole)
    first = encode_relay(RELAY, bytes(16), probe)
    assert isinstance(first, Unfragmented) is whole
    parted = decode_relay(bytes(first))
    assert parted == (bytes(16), probe)
    assert isinstance(encode_relay(0xC3, *parted), Unfragmented) is whole


@given(st.binary(max_size=64))
def test_any_bytes_are_a_probe_an_answer_or_neither(rest: bytes) -> None:
    assert (decode_path_probe(bytes((PROBE,)) + rest) is not None) == (len(rest) >= 9)
    assert (decode_path_probe(bytes((PROBE_ANSWER,)) + rest) is not None) == (len(rest) == 8)
    assert decode_path_probe(rest[:0]) is None


def test_a_report_is_cut_to_what_passes_everywhere() -> None:
    full = dataclasses.replace(ACK, bitmap=bytes(MAX_BITMAP_BYTES))
    cut = decode_frame(encode_fragment_ack(full, 531))
    assert cut == dataclasses.replace(full, bitmap=bytes(531 - 10))


@given(fragments(), st.data())
def test_a_flipped_bit_of_the_head_never_makes_an_inconsistent_fragment(
    fragment: Fragment, data: st.DataObject
) -> None:
    wire = bytearray(encode_fragment(fragment))
    position = data.draw(st.integers(0, FRAGMENT_OVERHEAD * 8 - 1))
    wire[position // 8] ^= 1 << position % 8
    frame = decode_frame(bytes(wire))
    assume(isinstance(frame, Fragment))
    assert isinstance(frame, Fragment)
    start = frame.index * frame.chunk_bytes
    assert 0 < len(frame.data) <= frame.chunk_bytes
    assert start + len(frame.data) <= frame.total_bytes


@pytest.mark.parametrize("first", [0x00, 0x03, 0x7B, 0xBF, 0xC2, 0xFF])
def test_other_kinds_are_not_known(first: int) -> None:
    assert decode_frame(bytes([first]) + encode_fragment(FRAGMENT)[1:]) is None
    assert decode_frame(b"") is None
