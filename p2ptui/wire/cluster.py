"""What the servers of one network tell each other by a broker: entries of its table, and messages.

The first byte is the version; an array of MessagePack follows, as the class says it. Whoever can
write to the broker can write anything: what is read here has its sizes, and no more than that is
known of it. What a later version adds comes at the end of an array, and is passed over here.
"""

from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from p2ptui.wire.codec import MalformedError as MalformedError
from p2ptui.wire.exchange import BOOT_BYTES
from p2ptui.wire.message import Capability, Port

VERSION: Final = 1

MAX_PRESENCE_BYTES: Final = 2_048
"""Of an entry: what a node says of itself takes 900 bytes at most."""
MAX_MESSAGE_BYTES: Final = 1_048_576
"""Of a message: as much as a broker takes that nobody has told otherwise."""
MAX_HEAD_BYTES: Final = 4_096
"""Of this, all but what is handed over."""
MAX_BODY_BYTES: Final = MAX_MESSAGE_BYTES - MAX_HEAD_BYTES

ID_BYTES: Final = 16
INSTANCE_BYTES: Final = 8
KEYS_BYTES: Final = 64
SIGNATURE_BYTES: Final = 64
MAX_TEXT: Final = 900
MAX_REF: Final = 128
MAX_ECHOES: Final = 16
"""In one beacon; with more servers than that they are answered in turn."""

Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Instance = Annotated[bytes, Meta(min_length=INSTANCE_BYTES, max_length=INSTANCE_BYTES)]
Counter = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Ref = Annotated[str, Meta(max_length=MAX_REF)]
Number = Annotated[int, Meta(ge=0, le=255)]

KNOWN_CAPABILITIES: Final = (
    Capability.HANDSHAKE,
    Capability.DISCOVERY,
    Capability.DATA_TRANSFER,
    Capability.ROUTING,
    Capability.FRAGMENTS,
    Capability.RETRANSMIT,
    Capability.PEER_UPDATES,
    Capability.RELAY_FRAMES,
    Capability.RELAY,
    Capability.RELAY_SEALED,
    Capability.NAT_PROBE,
    Capability.RECEIVE_WINDOW,
    Capability.SEQUENCE_SKIP,
    Capability.RELAY_CHECK,
    Capability.PATH_PROBE,
    Capability.NO_ECHO,
    Capability.STUN,
    Capability.KEEPALIVE,
    Capability.FILES,
)
"""Each is a bit, in this order, which stays as it is: a capability that comes later is written out,
so that servers of both versions read it."""

_BIT_OF: Final = {name: 1 << number for number, name in enumerate(KNOWN_CAPABILITIES)}


class Presence(Struct, frozen=True, array_like=True, gc=False):
    """An entry: a server holds the session of a node, whose id is the key."""

    network: Text
    server: Id
    instance: Instance
    """Of the server: it makes another each time that it starts."""
    counter: Counter
    """Of the node's statement that this server holds it; 0: it has made none."""
    signature: Annotated[bytes, Meta(max_length=SIGNATURE_BYTES)]
    """Of the statement; see `secure.presence`."""
    node: Raw
    """An `About`, as it is written: most of it need not be read to know where a node is."""


class About(Struct, frozen=True, array_like=True, gc=False):
    """What a server tells of a node."""

    host: Annotated[str, Meta(max_length=64)]
    """Where it sees it: an IP address in text."""
    port: Port
    proved: bool
    name: Text
    version: Text
    known: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """Bits of `KNOWN_CAPABILITIES`."""
    others: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=64)] = ()
    """Other capabilities."""
    metadata: Annotated[dict[Text, Text], Meta(max_length=64)] = {}
    keys: Annotated[bytes, Meta(max_length=KEYS_BYTES)] = b""
    """The X25519 and the Ed25519 key; empty where its session is in the open."""
    boot: Annotated[bytes, Meta(max_length=BOOT_BYTES)] = b""


def split_capabilities(names: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Capabilities as `About.known` and `About.others` have them."""
    bits = 0
    for name in names:
        bits |= _BIT_OF.get(name, 0)
    return bits, tuple([name for name in names if name not in _BIT_OF])


def joined_capabilities(known: int, others: tuple[str, ...]) -> tuple[str, ...]:
    """The inverse."""
    return (*[name for name, bit in _BIT_OF.items() if known & bit], *others)


class Echo(Struct, frozen=True, array_like=True, gc=False):
    """The answer to another server's beacon, in one's own: so each learns how far the other is."""

    server: Id
    sent_ms: Milliseconds
    """What stood in it."""
    held_ms: Milliseconds
    """How long ago it came."""


class Beacon(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A server is there: once a second, for all."""

    network: Text
    server: Id
    instance: Instance
    name: Annotated[str, Meta(max_length=128)]
    advertised: Annotated[str, Meta(max_length=300)]
    """Where clients reach it."""
    peers: Annotated[int, Meta(ge=0, le=2**31)]
    is_draining: bool
    sent_ms: Milliseconds
    """On a clock of its own, for the round trip."""
    unix_ms: Milliseconds
    """To be told, and for nothing else."""
    echoes: Annotated[tuple[Echo, ...], Meta(max_length=MAX_ECHOES)] = ()
    keys: Annotated[bytes, Meta(max_length=KEYS_BYTES)] = b""
    """The X25519 and the Ed25519 key, of which the server's id is made."""
    counter: Counter = 0
    """Higher than in any that it has said before, in former runs as well."""
    signature: Annotated[bytes, Meta(max_length=SIGNATURE_BYTES)] = b""
    """Of `signed_part`."""


class Claim(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A node without a statement has come here that you hold: is it still with you?"""

    network: Text
    server: Id
    instance: Instance
    node: Id


class Held(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """It is."""

    network: Text
    server: Id
    instance: Instance
    node: Id


class Released(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """It is not, or not any more."""

    network: Text
    server: Id
    instance: Instance
    node: Id


class HandOver(Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Something for a node that you hold; the numbers are those of `core.peers.elsewhere`."""

    network: Text
    server: Id
    instance: Instance
    kind: Number
    source: Id
    target: Id
    ref: Ref
    body: bytes
    about: Annotated[bytes, Meta(max_length=MAX_PRESENCE_BYTES)] = b""
    """Of a source that has come just now: an `About`, for a server that has not heard of it yet."""


class Undelivered(Struct, frozen=True, array_like=True, tag=6, gc=False):
    """What you handed over has not reached the node."""

    network: Text
    server: Id
    instance: Instance
    kind: Number
    why: Number
    source: Id
    target: Id
    ref: Ref


Message: TypeAlias = Beacon | Claim | Held | Released | HandOver | Undelivered

_BEACON_LABEL: Final = b"p2ptui beacon 1\0"
_HEAD: Final = bytes((VERSION,))
_encoder: Final = msgspec.msgpack.Encoder()
_presences: Final = msgspec.msgpack.Decoder(Presence)
_abouts: Final = msgspec.msgpack.Decoder(About)
_messages: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)

_NOT_READ: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NOT_WRITTEN: Final = (TypeError, ValueError, OverflowError, RecursionError)

T = TypeVar("T")


def is_this_version(data: bytes) -> bool:
    """Whether an entry or a message is of this version, if it is any."""
    return data[:1] == _HEAD


def encode_about(about: About) -> Raw:
    """What a server tells of a node, for its `Presence`, or its first `HandOver`.

    Raises:
        MalformedError: It cannot be written, as a name that is half a surrogate pair.
    """
    return Raw(_written(about))


def decode_about(data: bytes | Raw) -> About:
    """The inverse; MalformedError if it is none."""
    try:
        about = _abouts.decode(data)
    except _NOT_READ as error:
        raise MalformedError(f"not what is told of a node: {error}") from None
    if about.keys and len(about.keys) != KEYS_BYTES:
        raise MalformedError("the keys have the wrong size")
    return about


def encode_presence(presence: Presence) -> bytes:
    """An entry as it stands in the table.

    Raises:
        MalformedError: It cannot be written, or is too large.
    """
    data = _HEAD + _written(presence)
    if len(data) > MAX_PRESENCE_BYTES:
        raise MalformedError(f"the entry is {len(data)} bytes, at most {MAX_PRESENCE_BYTES}")
    return data


def decode_presence(data: bytes) -> Presence:
    """The inverse; what is told of the node is not read.

    Raises:
        MalformedError: It is none, of another version, or too large.
    """
    presence = _read(data, MAX_PRESENCE_BYTES, _presences)
    if bool(presence.counter) != bool(presence.signature):
        raise MalformedError("half of a statement")
    if presence.signature and len(presence.signature) != SIGNATURE_BYTES:
        raise MalformedError("the signature has the wrong size")
    return presence


def encode_message(message: Message) -> bytes:
    """A message as it travels; MalformedError if it cannot be written, or is too large."""
    data = _HEAD + _written(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedError(f"the message is {len(data)} bytes, at most {MAX_MESSAGE_BYTES}")
    return data


def decode_message(data: bytes) -> Message:
    """The inverse.

    Raises:
        MalformedError: It is none, of another version, or too large.
    """
    return _read(data, MAX_MESSAGE_BYTES, _messages)


def signed_part(beacon: Beacon) -> bytes:
    """What a server signs of a beacon: all but the signature, and what a later version adds.

    Raises:
        MalformedError: It cannot be written.
    """
    signed = (
        beacon.network,
        beacon.server,
        beacon.instance,
        beacon.name,
        beacon.advertised,
        beacon.peers,
        beacon.is_draining,
        beacon.sent_ms,
        beacon.unix_ms,
        beacon.echoes,
        beacon.counter,
    )
    return _BEACON_LABEL + _written(signed)


def _written(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except _NOT_WRITTEN as error:
        raise MalformedError(f"it cannot be written: {error}") from None


def _read(data: bytes, most_bytes: int, decoder: "msgspec.msgpack.Decoder[T]") -> T:
    if len(data) > most_bytes:
        raise MalformedError(f"{len(data)} bytes, at most {most_bytes}")
    if not is_this_version(data):
        raise MalformedError("it is of another version")
    try:
        return decoder.decode(memoryview(data)[1:])
    except _NOT_READ as error:
        raise MalformedError(f"it cannot be read: {error}") from None
