"""Datagrams altered field by field, and made anew from the fields of others.

What a datagram says is changed as somebody would who knows the protocol: numbers, ids,
capabilities, addresses, what is acknowledged, fragments, the attributes of STUN.
"""

import json
from contextlib import suppress
from copy import deepcopy
from typing import Any, Final

from p2ptui.core.messages.rows import ROWS
from p2ptui.wire.frames import RELAY, RELAY_OVERHEAD, RELAYED
from p2ptui.wire.message import OWN_CAPABILITIES, Capability, ErrorCode
from p2ptui.wire.stun import StunError, decode, encode
from p2ptui.wire.stun_integrity import short_term_key
from tests.fuzz.choices import Choices

KINDS: Final = tuple(dict.fromkeys(row.kind for row in ROWS))
THIRD_PARTY: Final = "192.0.2.77"
"""A host that has nothing to do with anything, until a datagram names it."""

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 256, 1000, 65535, 65536, 2**31, 2**32 - 1, 2**32),
    *(2**53, 2**63 - 1, 2**63, -(2**63), 1.5, -0.0, 1e300),
    *("", "x", "1", "null", "\0", "\u202e", "é" * 40, "x" * 64, "x" * 65, "x" * 1000),
    *([], {}, [[]], [None], {"": None}, [0] * 200, {"a": {"b": {"c": []}}}),
    *(f"{THIRD_PARTY}:7777", f"{THIRD_PARTY}:1", "[2001:db8::77]:7777", "127.0.0.1:8080"),
    *("0.0.0.0:0", "255.255.255.255:9", "224.0.0.1:9", "::1", "no address", f"a@{THIRD_PARTY}:1"),
    "99999999-0000-4000-8000-000000000000",
    "00000000-0000-0000-0000-000000000000",
    *(list(OWN_CAPABILITIES), [], ["handshake"], [Capability.RELAY, Capability.RELAY_FRAMES]),
    *(ErrorCode.UNAUTHENTICATED, ErrorCode.GONE, ErrorCode.NO_ROOM, ErrorCode.TOO_LARGE),
    *({"cmd": "get_routes"}, {"echo": 1}, {"routes": []}, {"original_message": {}}),
    [{"id": "99999999-0000-4000-8000-000000000000", "addr": f"{THIRD_PARTY}:7777"}] * 3,
    [["host", f"{THIRD_PARTY}:7777"], ["predicted", f"{THIRD_PARTY}:7778"]],
    [["srflx", f"{THIRD_PARTY}:{port}"] for port in range(1, 97)],
)

_NUMBERS: Final = (0, 1, 2, 3, 255, 256, 1000, 65535, 2**31, 2**32 - 1)
_STEPS: Final = (1, -1, 2, 1000, -1000, 2**31, 256)
_FIELDS: Final = ((0, 1), (1, 4), (5, 4), (9, 2), (11, 4), (5, 1), (6, 4), (9, 1), (10, 1), (1, 8))
"""Where fields of frames begin, and how long they are; see `wire.frames`."""

MAX_EACH: Final = 24
"""Values that are known of one field."""

MAX_GROWTH: Final = 40
"""Copies of an entry in an altered list."""


class Vocabulary:
    """What was said in datagrams: the values of each field, and the keys of checks."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}

    def learn(self, data: bytes) -> None:
        """Take in what a datagram says."""
        if data[:1] in (bytes((RELAY,)), bytes((RELAYED,))):
            data = data[RELAY_OVERHEAD:]
        if data[:1] == b"{":
            with suppress(ValueError):
                self._collect(json.loads(data))

    def _collect(self, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                known = self.values.setdefault(key, [])
                if item not in known:
                    known.append(item)
                    del known[:-MAX_EACH]
                self._collect(item)
        elif isinstance(value, list):
            for item in value[:8]:
                self._collect(item)

    def of(self, key: str, choices: Choices) -> Any:
        """A value that a field had somewhere, or any value."""
        # What is acknowledged is an id or a number of something; and ids are taken for others.
        similar = {
            "ack_for": ("sequence_number", "id", "ack_for"),
            "nonce": ("nonce", "id"),
            "handshake": ("id", "handshake"),
            "peer_id": ("node_id",),
            "continues": ("id",),
            "addr": ("public_addr", "listen_addr"),
        }
        known = self.values.get(choices.one(similar.get(key, (key,))), ())
        value = choices.one(known) if known and choices.byte() & 3 else choices.one(VALUES)
        return deepcopy(value) if isinstance(value, dict | list) else value


def alter(data: bytes, choices: Choices, words: Vocabulary) -> bytes:
    """A datagram with something changed that it says."""
    first = data[0] if data else 0
    if first == ord("{"):
        return alter_json(data, choices, words)
    if first in (RELAY, RELAYED) and len(data) > RELAY_OVERHEAD and choices.byte() & 7:
        return data[:RELAY_OVERHEAD] + alter(data[RELAY_OVERHEAD:], choices, words)
    if first >= 0xC0:
        return alter_frame(data, choices)
    if first <= 3:
        return alter_stun(data, choices, words)
    return damage(data, choices)


def alter_json(data: bytes, choices: Choices, words: Vocabulary) -> bytes:
    """A message with up to four fields changed, and mostly an id of its own."""
    try:
        message = json.loads(data)
    except ValueError:
        return damage(data, choices)
    if not isinstance(message, dict):
        return damage(data, choices)
    how = choices.byte()
    if how & 3:
        message["id"] = f"{choices.bits(32):08x}"
    if how & 0xC0 == 0xC0:
        message["message_type"] = choices.one(KINDS)
    for _ in range(1 + (how >> 2 & 3)):
        _change(message, choices, words)
    return json.dumps(message, separators=(",", ":")).encode()


def _change(message: dict[str, Any], choices: Choices, words: Vocabulary) -> None:
    """Go down to a field by chance, and change it."""
    holder: Any = message
    name = ""
    for _ in range(8):
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return
        key = choices.one(keys)
        name = key if isinstance(key, str) else name
        item = holder[key]
        if isinstance(item, dict | list) and item and choices.byte() & 7:
            holder = item
            continue
        how = choices.below(8)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(item, int) and not isinstance(item, bool):
            holder[key] = item + choices.one(_STEPS)
        elif how == 2 and isinstance(holder, list):
            holder.extend([item] * choices.below(MAX_GROWTH))
        elif how == 3 and isinstance(item, str):
            holder[key] = item[:-1] + "x"
        else:
            holder[key] = words.of(name, choices)
        return


def new_message(choices: Choices, words: Vocabulary) -> bytes:
    """A message of any type; what it says, others have said."""
    fields = list(words.values) or ["x"]
    how = choices.byte()
    payload: Any = {}
    for _ in range(1 + (how & 7)):
        key = choices.one(fields)
        payload[key] = words.of(key, choices)
    if how & 0x38 == 0x38:
        payload = words.of("payload", choices)
    message = {
        "id": f"{choices.bits(32):08x}",
        "message_type": choices.one(KINDS),
        "timestamp": 1,
        "payload": payload,
    }
    if how & 0x40:
        message["sequence_number"] = words.of("sequence_number", choices)
        message["requires_ack"] = True
    if how & 0x80:
        message["ack_for"] = words.of("ack_for", choices)
        message["sender_addr"] = None
    return json.dumps(message, separators=(",", ":")).encode()


def alter_frame(data: bytes, choices: Choices) -> bytes:
    """A frame with one or two of its fields changed."""
    changed = bytearray(data)
    for _ in range(1 + (choices.byte() & 1)):
        start, size = choices.one(_FIELDS)
        old = int.from_bytes(changed[start : start + size], "big")
        new = choices.one((choices.one(_NUMBERS), old + choices.one(_STEPS)))
        changed[start : start + size] = (new % 256**size).to_bytes(size, "big")
    if choices.byte() & 7 == 0:
        del changed[choices.below(len(changed) + 1) :]
    return bytes(changed)


def new_frame(choices: Choices) -> bytes:
    """A frame of any kind with any numbers."""
    frame = bytes((0xC0 + choices.below(12),))
    frame += choices.one(_NUMBERS).to_bytes(4, "big") + choices.one(
        (1000, 1, 5000, 99_999, 2**32 - 1)
    ).to_bytes(4, "big")
    frame += choices.one((256, 300, 1185, 65535)).to_bytes(2, "big")
    frame += choices.one((0, 1, 2, 3, 16, 99)).to_bytes(4, "big")
    return frame + bytes(choices.one((0, 1, 256, 300, 232, 1185)))


def alter_stun(data: bytes, choices: Choices, words: Vocabulary) -> bytes:
    """A STUN message with an attribute changed, signed with a key that was seen, or with none."""
    try:
        message = decode(data)
    except StunError:
        return damage(data, choices)
    fields: dict[str, Any] = {name: getattr(message, name) for name in message.__struct_fields__}
    how = choices.byte()
    if how & 1:
        size = len(message.transaction_id)
        fields["transaction_id"] = choices.take(size).ljust(size, b"\1")
    if how & 2:
        ufrags = [str(words.of("ufrag", choices)) for _ in range(2)]
        fields["username"] = choices.one((":".join(ufrags), ufrags[0], None))
    if how & 4:
        fields["others"] = choices.one(((), ((0x0025, b""),), ((0x7777, b"ab"),)))
    if how & 8:
        fields["message_class"] = choices.one(tuple(type(message.message_class)))
    if how & 16:
        fields["xor_mapped"] = choices.one(((THIRD_PARTY, 7777), None, ("2001:db8::77", 1)))
    if how & 32:
        fields["response_port"] = choices.one((0, 1, 9999, None))
    try:
        key = short_term_key(str(words.of("password", choices))) if how & 0xC0 else None
        return encode(type(message)(**fields), integrity_key=key)
    except StunError:
        return damage(data, choices)


def damage(data: bytes, choices: Choices) -> bytes:
    """Bytes changed, taken away or put in, whatever they mean."""
    changed = bytearray(data)
    at = choices.below(max(len(changed), 1))
    how = choices.below(4)
    if how == 0:
        del changed[at:]
    elif how == 1:
        changed[at : at + 1] = bytes((choices.byte(),))
    elif how == 2:
        changed[at:at] = choices.take(8)
    else:
        del changed[at : at + 1 + choices.byte()]
    return bytes(changed)


def splice(one: bytes, other: bytes, choices: Choices) -> bytes:
    """The beginning of one datagram and the end of another."""
    return one[: choices.below(len(one) + 1)] + other[choices.below(len(other) + 1) :]
