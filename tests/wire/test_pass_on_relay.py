"""What a server passes on of a relay frame is the same bytes behind another head."""

import uuid

from hypothesis import example, given
from hypothesis import strategies as st

from p2ptui.wire.frames import (
    RELAY,
    RELAY_OVERHEAD,
    RELAY_WHOLE,
    RELAYED,
    Unfragmented,
    decode_relay,
    encode_path_probe,
    encode_relay,
    pass_on_relay,
    relay_head,
)

SENDER = uuid.UUID(int=0x0123456789ABCDEF0123456789ABCDEF)
INNER = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda head, rest: head + rest, st.sampled_from((b"{", b"\xc0", b"\xe0")), st.binary()
    ),
    st.builds(
        lambda size, whole: bytes(encode_path_probe(bytes(8), size, whole=whole)),
        st.integers(0, 40),
        st.booleans(),
    ),
)


@given(st.sampled_from((RELAY, RELAY_WHOLE)), st.uuids(), INNER)
@example(RELAY, SENDER, b"\xc6")
def test_it_is_what_the_codec_makes_of_it(kind: int, target: uuid.UUID, inner: bytes) -> None:
    data = bytes((kind,)) + target.bytes + inner
    made = pass_on_relay(data, relay_head(RELAYED, str(SENDER)))
    read = decode_relay(data)
    if read is None:
        assert made == b""
        return
    expected = encode_relay(RELAYED, SENDER.bytes, read[1])
    assert made == expected
    assert type(made) is type(expected)
    assert made[RELAY_OVERHEAD:] == inner


@given(st.binary(max_size=RELAY_OVERHEAD))
def test_what_holds_no_datagram_is_not_passed_on(data: bytes) -> None:
    assert pass_on_relay(data, relay_head(RELAYED, str(SENDER))) == b""


def test_what_must_not_be_cut_must_not_be_on_the_second_leg_either() -> None:
    head = relay_head(RELAYED, str(SENDER))
    inner = b"\xe0" + bytes(40)
    assert type(pass_on_relay(bytes((RELAY_WHOLE,)) + bytes(16) + inner, head)) is Unfragmented
    assert type(pass_on_relay(bytes((RELAY,)) + bytes(16) + inner, head)) is bytes
