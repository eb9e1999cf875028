"""What the servers of a network tell each other through a broker: entries of its table, and
messages.

The first byte is the version; a MessagePack array follows, laid out as its class says. Anyone who
can write to the broker can write anything: what is read here has valid sizes, and nothing more is
known about it. Later versions add fields at the end of an array, which are ignored here.
"""

from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from p2ptui.wire.codec import MalformedError as MalformedError
from p2ptui.wire.exchange import BOOT_BYTES
from p2ptui.wire.message import Capability, Port

VERSION: Final = 1

MAX_PRESENCE_BYTES: Final = 2_048
"""Of an entry: a node's own account takes 900 bytes at most."""
MAX_MESSAGE_BYTES: Final = 1_048_576
"""Of a message: the default maximum of a broker."""
MAX_HEAD_BYTES: Final = 4_096
"""Of a message, all but what is handed over."""
MAX_BODY_BYTES: Final = MAX_MESSAGE_BYTES - MAX_HEAD_BYTES

ID_BYTES: Final = 16
INSTANCE_BYTES: Final = 8
KEYS_BYTES: Final = 64
SIGNATURE_BYTES: Final = 64
MAX_TEXT: Final = 900
MAX_REF: Final = 128
MAX_ECHOES: Final = 16
"""In one beacon; if there are more servers, they are answered in turn."""

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
"""Each is a bit, in this order, which never changes: a capability added later is written out by
name, so that servers of both versions can read it.
"""

_BIT_OF: Final = {name: 1 << number for number, name in enumerate(KNOWN_CAPABILITIES)}


class Presence(Struct, frozen=True, array_like=True, gc=False):
    """An entry: a server holds the session of a node, whose id is the key."""

    network: Text
    server: Id
    instance: Instance
    """Of the server, which makes a new one each time it starts."""
    counter: Counter
    """Of the node's statement that this server holds its session; 0 if it has made none."""
    signature: Annotated[bytes, Meta(max_length=SIGNATURE_BYTES)]
    """Of the statement; see `secure.presence`."""
    node: Raw
    """An encoded `About`: most of it need not be read to know where a node is."""


class About(Struct, frozen=True, array_like=True, gc=False):
    """What a server tells about a node."""

    host: Annotated[str, Meta(max_length=64)]
    """Where the server sees the node: an IP address as text."""
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
    """The X25519 and the Ed25519 key; empty if its session is not secured."""
    boot: Annotated[bytes, Meta(max_length=BOOT_BYTES)] = b""


def split_capabilities(names: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Capabilities in the form of `About.known` and `About.others`."""
    bits = 0
    for name in names:
        bits |= _BIT_OF.get(name, 0)
    return bits, tuple([name for name in names if name not in _BIT_OF])


def joined_capabilities(known: int, others: tuple[str, ...]) -> tuple[str, ...]:
    """The inverse of `split_capabilities`."""
    return (*[name for name, bit in _BIT_OF.items() if known & bit], *others)


class Echo(Struct, frozen=True, array_like=True, gc=False):
    """The answer to another server's beacon, carried in one's own: this is how they measure the
    round trip.
    """

    server: Id
    sent_ms: Milliseconds
    """The `sent_ms` of that beacon."""
    held_ms: Milliseconds
    """How long ago the beacon arrived."""


class Beacon(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A server says that it is there: once a second, to all."""

    network: Text
    server: Id
    instance: Instance
    name: Annotated[str, Meta(max_length=128)]
    advertised: Annotated[str, Meta(max_length=300)]
    """Where clients reach it."""
    peers: Annotated[int, Meta(ge=0, le=2**31)]
    is_draining: bool
    sent_ms: Milliseconds
    """On the sender's own clock, for the round trip."""
    unix_ms: Milliseconds
    """Only for display."""
    echoes: Annotated[tuple[Echo, ...], Meta(max_length=MAX_ECHOES)] = ()
    keys: Annotated[bytes, Meta(max_length=KEYS_BYTES)] = b""
    """The X25519 and the Ed25519 key, from which the server's id is made."""
    counter: Counter = 0
    """Higher than in any beacon that the server has sent before, former runs included."""
    signature: Annotated[bytes, Meta(max_length=SIGNATURE_BYTES)] = b""
    """Of `signed_part`."""


class Claim(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A node without a statement, which you hold, has come here: is it still with you?"""

    network: Text
    server: Id
    instance: Instance
    node: Id


class Held(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Answer to a `Claim`: it still is."""

    network: Text
    server: Id
    instance: Instance
    node: Id


class Released(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Answer to a `Claim`: the node is not here, or not any more."""

    network: Text
    server: Id
    instance: Instance
    node: Id


class HandOver(Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Something for a node that you hold; the numbers are defined in `core.peers.elsewhere`."""

    network: Text
    server: Id
    instance: Instance
    kind: Number
    source: Id
    target: Id
    ref: Ref
    body: bytes
    about: Annotated[bytes, Meta(max_length=MAX_PRESENCE_BYTES)] = b""
    """An `About` of a source that has just come, for a server that may not have heard of it yet."""


class Undelivered(Struct, frozen=True, array_like=True, tag=6, gc=False):
    """What you handed over did not reach the node."""

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
    """Whether data that claims to be an entry or a message has this version."""
    return data[:1] == _HEAD


def encode_about(about: About) -> Raw:
    """Encode what a server tells about a node, for its `Presence` or its first `HandOver`.

    Raises:
        MalformedError: It cannot be encoded, such as a name with half a surrogate pair.
    """
    return Raw(_written(about))


def decode_about(data: bytes | Raw) -> About:
    """The inverse of `encode_about`; MalformedError if the data is no `About`."""
    try:
        about = _abouts.decode(data)
    except _NOT_READ as error:
        raise MalformedError(f"not what is told of a node: {error}") from None
    if about.keys and len(about.keys) != KEYS_BYTES:
        raise MalformedError("the keys have the wrong size")
    return about


def encode_presence(presence: Presence) -> bytes:
    """Encode an entry for the table.

    Raises:
        MalformedError: It cannot be encoded, or is too large.
    """
    data = _HEAD + _written(presence)
    if len(data) > MAX_PRESENCE_BYTES:
        raise MalformedError(f"the entry is {len(data)} bytes, at most {MAX_PRESENCE_BYTES}")
    return data


def decode_presence(data: bytes) -> Presence:
    """The inverse of `encode_presence`; what is told about the node is not read.

    Raises:
        MalformedError: It is not an entry, of another version, or too large.
    """
    presence = _read(data, MAX_PRESENCE_BYTES, _presences)
    if bool(presence.counter) != bool(presence.signature):
        raise MalformedError("half of a statement")
    if presence.signature and len(presence.signature) != SIGNATURE_BYTES:
        raise MalformedError("the signature has the wrong size")
    return presence


def encode_message(message: Message) -> bytes:
    """Encode a message; MalformedError if it cannot be encoded, or is too large."""
    data = _HEAD + _written(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedError(f"the message is {len(data)} bytes, at most {MAX_MESSAGE_BYTES}")
    return data


def decode_message(data: bytes) -> Message:
    """The inverse of `encode_message`.

    Raises:
        MalformedError: It is not a message, of another version, or too large.
    """
    return _read(data, MAX_MESSAGE_BYTES, _messages)


def signed_part(beacon: Beacon) -> bytes:
    """The part of a beacon that a server signs: all but the signature and what later versions add.

    Raises:
        MalformedError: It cannot be encoded.
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
