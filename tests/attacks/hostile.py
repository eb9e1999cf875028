"""Datagrams of every kind that the wire has, made from its types: plausible, hostile, at a limit.

Whoever adds a message type, a payload field, a frame or a field of STUN need not come here: what is
sent of it is made from its class.
"""

import inspect
import json
import random
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, permutations
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec import inspect as types

from p2ptui.core.messages import MEANINGS, ROWS, Row
from p2ptui.wire import frames, message, stun
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.message import DataKeys, Envelope, MessageType, ReceivedRoutedPayload

MOST: Final = 12
"""Payloads of one row; which ones, a seed decides. The plausible ones come first."""

HOSTILE_TEXTS: Final = ("", "x" * 300, "\x1b[2J\u202e\n", "../../etc/passwd", "0")

NO_OBJECTS: Final = (None, 5, "text", [], {}, [[[[]]]], True)


@dataclass
class Words:
    """What an attacker knows: who there is and where, but nothing that was sent to anybody."""

    ids: list[str]
    """Node ids, the most plausible one first."""
    addresses: list[Address]
    """Likewise."""
    rng: random.Random

    def guess(self) -> str:
        """A message id that nobody has used."""
        return f"{self.rng.getrandbits(32):08x}-bad0-4000-8000-{self.rng.getrandbits(48):012x}"

    def turned(self) -> "list[Words]":
        """The same, with each of the ids first in turn."""
        ids = self.ids
        return [Words(ids[n:] + ids[:n], self.addresses, self.rng) for n in range(len(ids))]


@dataclass(frozen=True)
class Case:
    """One datagram."""

    label: str
    data: bytes = field(repr=False)


# Payloads, by their class.


def usual(kind: types.Type, name: str, words: Words) -> Any:
    """A value that somebody would really send."""
    made = _USUAL.get(type(kind))
    return "anything" if made is None else made(kind, name, words)


def _usual_struct(kind: types.StructType, _name: str, words: Words) -> dict[str, Any]:
    return {one.encode_name: _usual_field(one, words) for one in kind.fields}


def _usual_list(kind: Any, name: str, words: Words) -> list[Any]:
    if name.endswith("capabilities"):
        return list(message.OWN_CAPABILITIES)
    return [usual(kind.item_type, name, words)] * 3


def _usual_tuple(kind: types.TupleType, _name: str, words: Words) -> list[Any]:
    *first, last = kind.item_types
    return [*("host" for _ in first), usual(last, "addr", words)]


def _usual_raw(_kind: Any, name: str, words: Words) -> Any:
    if name == "original_message":
        return plain_envelope(MessageType.DATA, "routed", words)
    return words.ids[0] if name == "source_node" else "anything"


def _usual_field(one: types.Field, words: Words) -> Any:
    if isinstance(one.type, types.BoolType) and isinstance(one.default, bool):
        return one.default
    return usual(one.type, one.name, words)


def _usual_number(kind: types.IntType, name: str) -> int:
    plausible = {"room": 65_536, "sockets": 256, "round": 1, "max_hops": 8}.get(name, 1)
    return min(max(plausible, kind.ge or 0), kind.le if kind.le is not None else plausible)


def _usual_text(kind: types.StrType, name: str, words: Words) -> str:
    if name == "network_id":
        return message.DEFAULT_NETWORK_ID
    if re.search(r"tag|transaction_id", name):
        return "0a" * 12
    if re.search(r"handshake|continues|nonce|route_id|request_id|ufrag|password", name):
        return words.guess()[: kind.max_length]
    if re.search(r"addr|helper|client|next_hop", name):
        return format_address(words.addresses[0])
    if re.search(r"id$|ids$|left|target|node|destination", name):
        return words.ids[0]
    if name.endswith("nat_type"):
        return "symmetric"
    return {"place": "primary", "code": message.ErrorCode.UNAUTHENTICATED}.get(name, "word")


_USUAL: Final[dict[type, Callable[[Any, str, Words], Any]]] = {
    types.StructType: _usual_struct,
    types.UnionType: lambda kind, name, words: usual(kind.types[0], name, words),
    types.IntType: lambda kind, name, _words: _usual_number(kind, name),
    types.StrType: _usual_text,
    types.BoolType: lambda _kind, _name, _words: True,
    types.ListType: _usual_list,
    types.VarTupleType: _usual_list,
    types.TupleType: _usual_tuple,
    types.DictType: lambda _kind, _name, _words: {"key": "value"},
    types.RawType: _usual_raw,
    types.AnyType: _usual_raw,
    types.NoneType: lambda _kind, _name, _words: None,
}


def odd(kind: types.Type, name: str, words: Words) -> Iterator[Any]:
    """Values that nobody would send, and those at the limits of what may be sent."""
    made = _ODD.get(type(kind))
    yield from NO_OBJECTS if made is None else made(kind, name, words)


def _odd_structs(kind: types.StructType, name: str, words: Words) -> Iterator[Any]:
    whole = usual(kind, name, words)
    yield from _shorter(kind, words)
    for one in kind.fields:
        for value in odd(one.type, one.name, words):
            yield whole | {one.encode_name: value}


def _odd_numbers(kind: types.IntType, _name: str, _words: Words) -> Iterator[int]:
    low, high = kind.ge, kind.le
    numbers = {low, high, 0, 1, 2, 255, 2**31, 2**32 - 1} - {None}
    yield from (n for n in sorted(numbers) if (low or 0) <= n <= (high or 2**63))
    yield from (-1 if low is None else low - 1, 2**64 if high is None else high + 1)


def _odd_lists(kind: Any, name: str, words: Words) -> Iterator[list[Any]]:
    yield from ([], [usual(kind.item_type, name, words)] * 1000)
    yield from ([value] for value in odd(kind.item_type, name, words))


def _odd_messages(_kind: Any, name: str, words: Words) -> Iterator[Any]:
    if name == "original_message":
        for row in ROWS:
            yield plain_envelope(row.kind, payloads(row, words, 1)[0], words)
    yield from words.ids if name == "source_node" else ()
    yield from NO_OBJECTS


_ODD: Final[dict[type, Callable[[Any, str, Words], Iterable[Any]]]] = {
    types.StructType: _odd_structs,
    types.UnionType: lambda kind, name, words: chain.from_iterable(
        odd(one, name, words) for one in kind.types
    ),
    types.IntType: _odd_numbers,
    types.StrType: lambda _kind, _name, words: (
        *words.ids,
        *map(format_address, words.addresses),
        *HOSTILE_TEXTS,
    ),
    types.BoolType: lambda _kind, _name, _words: (True, False),
    types.ListType: _odd_lists,
    types.VarTupleType: _odd_lists,
    types.TupleType: lambda kind, _name, words: (
        [value] * len(kind.item_types) for value in odd(kind.item_types[-1], "addr", words)
    ),
    types.DictType: lambda _kind, _name, _words: [{f"key{n}": "x" * 40 for n in range(100)}],
    types.RawType: _odd_messages,
    types.AnyType: _odd_messages,
    types.NoneType: lambda _kind, _name, _words: [None],
}


def classes_of(row: Row) -> list[Any]:
    """The classes of which its payload may be; none for one of which nothing is known."""
    if row.kind == MessageType.DATA:
        return [ReceivedRoutedPayload, message.RoutesPayload, DataKeys]
    if row.kind in (MessageType.DISCONNECT, MessageType.RELAY_DATA, MessageType.RELAY_CHECK):
        return [getattr(message, f"{row.kind}Payload")]  # read in a way of its own
    if row.kind in (MessageType.PING, MessageType.PONG):
        return [message.PingPayload]
    if row.kind == MessageType.HANDSHAKE_REQUEST:
        return [message.HandshakeRequestPayload]
    if not inspect.isfunction(row.reads):
        return []  # it is taken as it is
    read_as = inspect.getclosurevars(row.reads).nonlocals.get("kind")
    return [] if read_as is None else [read_as]


def payloads(row: Row, words: Words, most: int = MOST) -> list[Any]:
    """Payloads of a row: the plausible ones, and odd ones up to so many in all.

    Of a type that means several things only those that mean what this row is for.
    """
    plausible: list[Any] = []
    strange: list[Any] = list(NO_OBJECTS)
    for kind in classes_of(row):
        info = types.type_info(kind)
        plausible += [usual(info, "", each) for each in words.turned()[:most]]
        if most > 1:
            plausible += _shorter(info, words)
            plausible += _paired(info, words)
            strange += odd(info, "", words)
    if row.kind == MessageType.DATA:
        plausible += [{"cmd": "get_routes"}, {"echo": "x"}, "plain"]
    if row.meaning is not None:
        plausible = [p for p in plausible if _means(row, p)]
        strange = [p for p in strange if _means(row, p)]
    words.rng.shuffle(strange)
    most = max(most, len(plausible) + most // 2) if most > 1 else 1
    return [*plausible, *strange][:most] or [None]


def _shorter(info: types.Type, words: Words) -> list[Any]:
    """Plausible ones without what need not be there: all of it, and each."""
    if not isinstance(info, types.StructType):
        return []
    may_lack = [one.encode_name for one in info.fields if not one.required]
    groups = [set(may_lack), *({name} for name in may_lack)]
    return [
        {key: value for key, value in usual(info, "", words).items() if key not in group}
        for group in groups
    ]


def _paired(info: types.Type, words: Words) -> list[Any]:
    """Plausible ones for every two different ids, where a payload names two."""
    first = usual(info, "", words)
    if not isinstance(first, dict):
        return []
    named = [key for key, value in first.items() if value in words.ids]
    pairs = permutations(words.ids, 2) if len(named) == 2 else ()
    return [usual(info, "", words) | dict(zip(named, pair, strict=True)) for pair in pairs]


def _means(row: Row, payload: Any) -> bool:
    envelope = Envelope("1", row.kind, 0, Raw(json.dumps(payload).encode()))
    try:
        return bool(MEANINGS[row.kind](row.reads(envelope)) == row.meaning)
    except MalformedError:
        return False


# Envelopes.


def plain_envelope(kind: str, payload: Any, words: Words) -> dict[str, Any]:
    """A message with what it must have."""
    return {"id": words.guess(), "message_type": kind, "timestamp": 1, "payload": payload}


def messages(row: Row, words: Words) -> Iterator[Case]:
    """Messages of a row: all as they are usually sent, and some in odd envelopes."""
    choice = words.rng.choice
    for payload in payloads(row, words):
        yield _as_case(plain_envelope(row.kind, payload, words))
        if choice((True, False)):
            continue
        envelope = plain_envelope(row.kind, payload, words)
        if choice((True, False)):
            envelope["sender_addr"] = choice((None, format_address(words.addresses[0])))
        envelope["requires_ack"] = choice((True, False))
        envelope["sequence_number"] = choice((None, 0, 1, words.rng.getrandbits(32), 2**32 - 1))
        envelope["ack_for"] = choice((None, 0, words.rng.getrandbits(32), words.guess()))
        yield _as_case(envelope)


def _as_case(envelope: dict[str, Any]) -> Case:
    data = json.dumps(envelope, separators=(",", ":")).encode()
    return Case(str(envelope)[:700], data)


# Frames.

FRAME_KINDS: Final = {
    value: name
    for name, value in vars(frames).items()
    if isinstance(value, int) and 0xC0 <= value <= 0xFF and name != "FRAME_START"
}
"""Every frame there is, by its first byte."""

HEADS: Final = tuple(value for value in vars(frames).values() if isinstance(value, struct.Struct))
"""How a frame may begin."""


def frame_cases(kind: int, words: Words) -> Iterator[Case]:
    """Frames that begin with this byte, of every form that a frame has."""
    name, rng = FRAME_KINDS.get(kind, "unknown"), words.rng
    bodies: list[bytes] = []
    for head in HEADS:
        for choose in (0, 1, 2):
            filled = head.pack(kind, *(_filling(part, choose, rng) for part in _parts(head)[1:]))
            bodies += [filled, filled + rng.randbytes(257)]
    inner = json.dumps(plain_envelope(MessageType.PING, None, words)).encode()
    for node_id in words.ids:
        raw = bytes.fromhex(node_id.replace("-", ""))
        bodies += [bytes([kind]) + raw + inner, bytes([kind]) + raw + b"\xc0" * 40]
    last = struct.Struct("!BIIHI").pack(kind, 1, 256 * 4095 + 1, 256, 4095) + b"x"
    rng.shuffle(bodies)
    for data in [last, *bodies[:MOST], bytes([kind]), bytes([kind]) + rng.randbytes(1200)]:
        yield Case(f"{name} {data[:40].hex()}", data)


def _parts(head: struct.Struct) -> list[str]:
    return re.findall(r"\d*[a-zA-Z]", head.format)


def _filling(part: str, choose: int, rng: random.Random) -> Any:
    size = struct.calcsize(f"!{part}")
    if part.endswith("s"):
        return rng.randbytes(size)
    highest = 256**size - 1
    return (1, rng.randint(0, highest), highest)[choose]


# STUN.

STUN_VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "method": (stun.BINDING, 0, 0xFFF),
    "mapped": (("203.0.113.99", 53),),
    "xor_mapped": (("203.0.113.99", 53),),
    "response_origin": (("203.0.113.99", 53),),
    "other_address": (("203.0.113.99", 53),),
    "change_request": tuple(stun.Change),
    "response_port": (1, 53, 65535),
    "padding": (0, 4, 1200),
    "software": ("", "x" * 127, "\x1b"),
    "error": ((400, "no"), (699, "")),
    "unknown": ((1,), tuple(range(100))),
    "username": ("a:b", "x" * 500),
    "realm": ("x",),
    "nonce": ("x",),
    "others": (((0x24, b"\0\0\0\1"), (0x25, b"")), ((0x7FFF, b"1234"),), ((0xFFFF, b"1234"),)),
    "fingerprint": (True,),
}
"""What each field of a STUN message is tried with."""


def stun_cases(kind: stun.MessageClass, words: Words) -> Iterator[Case]:
    """STUN messages of one class, with and without each attribute, of both RFCs."""
    for name, values in STUN_VALUES.items():
        for value in values:
            size = words.rng.choice((stun.TRANSACTION_ID_BYTES, stun.CLASSIC_ID_BYTES))
            fields: dict[str, Any] = {name: value}
            made = stun.StunMessage(
                message_class=kind, transaction_id=words.rng.randbytes(size), **fields
            )
            try:
                data = stun.encode(made, integrity_key=words.rng.choice((None, b"guess")))
            except stun.StunError:
                continue
            yield Case(f"STUN {kind.name} {name}={value!r:.40}", data)
    yield Case(f"STUN {kind.name}, cut", data[:19])


def struct_fields(of: type[msgspec.Struct]) -> set[str]:
    """The names of a class's fields."""
    return set(of.__struct_fields__)
