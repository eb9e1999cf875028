"""A payload stays as it came until somebody reads it, and is judged all the same before that."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2ptui.core import dispatch
from p2ptui.core.data.service import read_data
from p2ptui.core.encoded import Encoded
from p2ptui.core.events import DataReceived
from p2ptui.wire import codec
from p2ptui.wire.codec import MAX_NESTING, MalformedError, decode_any, decode_envelope
from p2ptui.wire.message import DataKeys
from tests.simulation import Host, Puppet, World

HEAD = b'{"id":"an id","message_type":"Data","timestamp":0,"payload":'
TAIL = b',"sequence_number":null,"requires_ack":%s,"ack_for":null}'
MEANINGS = DataKeys.__struct_fields__

texts = st.text().filter(lambda text: text not in MEANINGS)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
well_formed = values.map(
    lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
)
odd = st.sampled_from(
    [
        *(b"1e999", b"-1E+400", b"1" * 5000, b"NaN", b"Infinity", b"01", b"1.", b"1 2"),
        *(b"\xff", b'"\xff"', b'"\\ud800"', b'"\\x"', b'"\n"', b"tru", b"/**/1", b"", b" 1 "),
        *(b'{"a":1,"a":2}', b'{"a":1,}', b"[1,]", b"[", b'["]"]'),
        *(b"[" * 70 + b"]" * 70, b'{"a":' * 70 + b"1" + b"}" * 70),
    ]
)
inside = st.builds(
    lambda form, part: form.replace(b"?", part),
    st.sampled_from([b"?", b"[?]", b'{"key":?}', b'{"key":[0,{"inner":?}]}', b"{?:1}"]),
    odd | well_formed,
)


def judged_at_once(payload: bytes) -> Any:
    """What the payload means if all of it is decoded when it comes; MalformedError if nothing."""
    datagram = HEAD + payload + TAIL % b"false"
    try:
        datagram.decode("utf-8")
        message = msgspec.json.decode(datagram)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from None
    if depth(message) > MAX_NESTING:
        raise MalformedError("too deep")
    return message["payload"]


def depth(value: Any) -> int:
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(inside)
@example(b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1))
@example(b"[" * MAX_NESTING + b"]" * MAX_NESTING)
@example(b'{"":' * (MAX_NESTING - 2) + b"{}" + b"}" * (MAX_NESTING - 2))
@example(b'{"":' * (MAX_NESTING - 1) + b"{}" + b"}" * (MAX_NESTING - 1))
@example(b'{"a":[[1e400]]}')
def test_what_is_let_in_undecoded_is_what_can_be_decoded(payload: bytes) -> None:
    try:
        meant = judged_at_once(payload)
    except MalformedError:
        with pytest.raises(MalformedError):
            read_data(decode_envelope(HEAD + payload + TAIL % b"false"))
        return
    content = read_data(decode_envelope(HEAD + payload + TAIL % b"false"))
    # What stands around a value belongs to the datagram, and not to the payload.
    assert content.value == payload.strip(b" \n\r\t")
    assert decode_any(content.value) == meant
    assert Encoded(content.value) == meant


@pytest.fixture
def world() -> World:
    return World(secured=False)


def joined(world: World) -> tuple[Host, Puppet]:
    server, client = world.host(), world.puppet()
    client.names_pings = True
    client.join(server)
    world.run_for(30)
    client.take()
    server.events.clear()
    return server, client


def sent_by(client: Puppet, server: Host, payload: bytes, *, asks: bool = True) -> list[Any]:
    """A message with just these bytes as its payload; what came back within a second."""
    head = HEAD.replace(b"an id", client.world.message_id().encode())
    client.send(head + payload + TAIL % (b"true" if asks else b"false"), server)
    client.world.run_for(1)
    return client.take()


@pytest.mark.parametrize(
    "payload",
    [b'{"a":}', b'{"a":"\xff"}', b"[" * 64 + b"]" * 64, b'{"a":' * 64 + b"1" + b"}" * 64, b"{"],
)
def test_what_is_no_message_is_neither_answered_nor_acknowledged(
    world: World, payload: bytes
) -> None:
    server, client = joined(world)
    assert sent_by(client, server, payload) == []
    assert server.endpoint.counters.drops["malformed"] == 1
    assert not server.told(DataReceived)


@pytest.mark.parametrize("payload", [b"1e999", b'{"a":[1e400]}', b"1" * 5000])
def test_what_nobody_could_read_is_refused_when_it_comes(world: World, payload: bytes) -> None:
    server, client = joined(world)
    (answer,) = sent_by(client, server, payload)
    assert answer["message_type"] == "Error"
    assert answer["payload"]["code"] == "bad_payload"
    assert not server.told(DataReceived)


@pytest.mark.parametrize(
    "payload", [b'{ "a" : 1e2,\t"a":"\\u0041\xc3\xa4" }', b'"text"', b"[1,2.50]", b"null", b"1E5"]
)
def test_an_echo_holds_the_very_bytes_that_came(world: World, payload: bytes) -> None:
    server, client = joined(world)
    head = HEAD.replace(b"an id", world.message_id().encode())
    client.send(head + payload + TAIL % b"false", server)
    world.run_for(1)
    (echo,) = [data for data in client.inbox if b'"Data"' in data]
    assert b'"payload":{"echo":%b,"timestamp":' % payload in echo
    (received,) = server.told(DataReceived)
    assert received.payload == json.loads(payload)
    assert received.size_bytes == len(payload)


def test_an_echo_is_whole_by_a_clock_that_begins_in_1970(world: World) -> None:
    server, client = joined(world)
    server.endpoint.set_unix_offset(-world.now)
    echo = sent_by(client, server, b"1")[-1]
    assert echo["payload"] == {"echo": 1, "timestamp": 0}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often JSON is decoded and encoded meanwhile."""
    calls: Counter[str] = Counter()

    def notice(_frame: object, event: str, called: Any) -> None:
        owner = getattr(called, "__self__", None)
        if event == "c_call" and isinstance(owner, msgspec.json.Decoder | msgspec.json.Encoder):
            calls[called.__name__] += 1

    sys.setprofile(notice)
    try:
        yield calls
    finally:
        sys.setprofile(None)


IS_COMPILED = not (dispatch.__file__.endswith(".py") and codec.__file__.endswith(".py"))


@pytest.mark.skipif(IS_COMPILED, reason="what compiled code calls is not seen")
@pytest.mark.parametrize(
    ("kind", "payload", "asks", "decoded"),
    [
        ("Ping", {"nonce": "0123456789abcdef"}, False, 1),
        ("Data", {"text": "x" * 200}, False, 2),
        ("Data", "text", False, 1),
        ("Data", {"echo": "x"}, True, 2),
        ("Ack", None, False, 1),
    ],
)
def test_a_datagram_is_decoded_once_and_what_answers_it_is_not_encoded(
    world: World, kind: str, payload: Any, asks: bool, decoded: int
) -> None:
    """Of an object the keys are looked at besides, which may say what it is for the node."""
    server, client = joined(world)
    for _ in range(2):  # the first of its kind makes what stays the same
        message = client.spec_message(
            kind, payload, sequence_number=None, requires_ack=asks, ack_for=3
        )
        data = json.dumps(message).encode()
        with counted() as calls:
            server.endpoint.receive_datagram(data, client.address, world.now)
    assert calls["decode"] == decoded
    assert calls["encode"] == asks  # an id that an Ack names may need escapes
    if kind == "Data":
        received = server.endpoint.next_event()
        assert isinstance(received, DataReceived)
        with counted() as calls:
            assert received.payload == payload
        assert calls["decode"] == 1
