"""Binary frames between our own nodes: fragments and their reports, relayed datagrams, probes.

A frame's first byte is 0xC0-0xFF, which no JSON and no STUN message has
(in the manner of RFC 7983). Integers are unsigned and big-endian.

    FRAGMENT      C0 | sequence u32 | total bytes u32 | chunk bytes u16 | index u32 | bytes
    FRAGMENT_ACK  C1 | sequence u32 | status u8 | below u32 | bitmap
    RELAY         C2 | node id, 16 bytes | datagram
    RELAYED       C3 | node id, 16 bytes | datagram
    KEEPALIVE     C4 | nonce, 8 bytes | later u16
    KEPT_ALIVE    C5 | nonce, 8 bytes | is late u8
    PROBE         C6 | key, 8 bytes | whole u8 | padding
    PROBE_ANSWER  C7 | key, 8 bytes
    RECUT         C8 | as FRAGMENT
    RECUT_ACK     C9 | sequence u32 | status u8 | chunk bytes u16 | below u32 | bitmap
    RELAY_WHOLE   CA | as RELAY

All fragments of a message but the last carry `chunk` bytes, so a receiver knows their count from
any one of them. In an acknowledgement every fragment with an index under `below` has arrived; bit k
of the bitmap (least significant first) stands for fragment `below + k`. A RELAY frame goes to a
server and names the target of its datagram; a RELAYED frame comes from the server and names the
sender. RELAY_WHOLE holds a secured datagram that must not be fragmented on its way, which the
server could not tell by itself. A KEEPALIVE is answered at once and, unless `later` is 0, once more
after that many tenths of a second. A PROBE is as long as the datagrams that the path is tested for,
and if `whole` is 1 it must not be fragmented on its way; its answer is short whatever its padding
holds.
"""

import enum
import math
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2ptui.interpreted import interpreted

FRAME_START: Final = 0xC0
"""First bytes from here on are binary frames."""

FRAGMENT: Final = 0xC0
FRAGMENT_ACK: Final = 0xC1
RELAY: Final = 0xC2
RELAYED: Final = 0xC3
KEEPALIVE: Final = 0xC4
KEPT_ALIVE: Final = 0xC5
PROBE: Final = 0xC6
PROBE_ANSWER: Final = 0xC7
RECUT: Final = 0xC8
RECUT_ACK: Final = 0xC9
RELAY_WHOLE: Final = 0xCA

MAX_BITMAP_BYTES: Final = 1000
"""Keeps an acknowledgement below any datagram budget of 1,200 bytes."""

MIN_CHUNK_BYTES: Final = 256
"""Smaller pieces, which no sender cuts, would make a receiver's bookkeeping outweigh the message.
"""

RELAY_OVERHEAD: Final = 17
"""A relayed datagram is this much longer than the datagram itself."""

_FRAGMENT: Final = struct.Struct("!BIIHI")
_FRAGMENT_ACK: Final = struct.Struct("!BIBI")
_KEEPALIVE: Final = struct.Struct("!B8sH")
_KEPT_ALIVE: Final = struct.Struct("!B8sB")
_RECUT_ACK: Final = struct.Struct("!BIBHI")
_PROBE: Final = struct.Struct("!B8sB")
_PROBE_ANSWER: Final = struct.Struct("!B8s")

_PROBE_START: Final = bytes((PROBE,))
_WHOLE: Final = b"\1"
_WHOLE_AT: Final = RELAY_OVERHEAD + _PROBE.size - 1
"""Offset of the `whole` byte of a relayed probe."""

FRAGMENT_OVERHEAD: Final = _FRAGMENT.size


KEEPALIVE_NONCE_BYTES: Final = 8
TENTHS: Final = 10
"""A KEEPALIVE's `later` is in tenths of a second."""


class TransferStatus(enum.IntEnum):
    """A receiver's report on a fragmented message."""

    PROGRESS = 0
    COMPLETE = 1
    TOO_LARGE = 2
    BUSY = 3


@dataclass(frozen=True, slots=True)
class Fragment:
    """One piece of a message."""

    sequence: int
    total_bytes: int
    chunk_bytes: int
    index: int
    data: bytes
    recut: bool = False
    """Whether the message was cut before, into larger pieces: reports must then name the cut."""

    @property
    def count(self) -> int:
        """How many fragments the message has."""
        return -(-self.total_bytes // self.chunk_bytes)


@dataclass(frozen=True, slots=True)
class FragmentAck:
    """Which pieces of a message have arrived."""

    sequence: int
    status: TransferStatus
    below: int
    bitmap: bytes = b""
    chunk_bytes: int = 0
    """Size of each piece of a message that was cut anew; else 0."""


def encode_fragment(fragment: Fragment) -> bytes:
    """Write a fragment."""
    kind = RECUT if fragment.recut else FRAGMENT
    head = _FRAGMENT.pack(
        kind, fragment.sequence, fragment.total_bytes, fragment.chunk_bytes, fragment.index
    )
    return head + fragment.data


def encode_fragment_ack(ack: FragmentAck, limit_bytes: int | None = None) -> bytes:
    """Write an acknowledgement of fragments, with as much of the bitmap as the limit allows."""
    if ack.chunk_bytes:
        named = (ack.sequence, ack.status, ack.chunk_bytes, ack.below)
        head = _RECUT_ACK.pack(RECUT_ACK, *named)
    else:
        head = _FRAGMENT_ACK.pack(FRAGMENT_ACK, ack.sequence, ack.status, ack.below)
    return (head + ack.bitmap)[:limit_bytes]


@dataclass(frozen=True, slots=True)
class PathProbe:
    """Asks whether a datagram of its length gets through."""

    key: bytes


@dataclass(frozen=True, slots=True)
class PathProbeAnswer:
    """The probe with this key has arrived."""

    key: bytes


@interpreted
class Plain(bytes):
    """A handshake message, sent in the clear even to the address of a secured peer."""

    __slots__ = ()


@interpreted
class Unfragmented(bytes):
    """A datagram that is to be dropped rather than fragmented where it does not fit the path."""

    __slots__ = ()


def encode_path_probe(key: bytes, size_bytes: int, *, whole: bool) -> bytes:
    """Write a probe with a key of 8 bytes, padded to this size where possible; for `whole` see
    `Unfragmented`.
    """
    data = _PROBE.pack(PROBE, key, whole).ljust(size_bytes, b"\0")
    return Unfragmented(data) if whole else data


def encode_path_probe_answer(key: bytes) -> bytes:
    """Write the answer to a probe."""
    return _PROBE_ANSWER.pack(PROBE_ANSWER, key)


def encode_relay(kind: int, node_id: bytes, datagram: bytes) -> bytes:
    """Wrap a datagram: RELAY for, or RELAYED from, the node with this id (16 bytes).

    A datagram that must not be fragmented must not be on either leg of the way. The server can see
    that of a plain probe; of a secured one RELAY_WHOLE tells it.
    """
    whole = datagram[:1] == _PROBE_START and datagram[_PROBE.size - 1 : _PROBE.size] == _WHOLE
    if not whole and type(datagram) is Unfragmented:
        whole = True
        kind = RELAY_WHOLE if kind == RELAY else kind
    wrapped = bytes((kind,)) + node_id + datagram
    return Unfragmented(wrapped) if whole else wrapped


def node_id_bytes(node_id: str) -> bytes:
    """A node id in canonical form as bytes, as in a frame; `uuid.UUID` takes three times as
    long.
    """
    return bytes.fromhex(node_id.replace("-", ""))


def node_id_text(raw: bytes) -> str:
    """The inverse of `node_id_bytes`."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def relay_head(kind: int, node_id: str) -> bytes:
    """The head of a RELAY or RELAYED frame: everything before its datagram.

    Args:
        kind: RELAY or RELAYED.
        node_id: Id of the target or the sender, in canonical form.
    """
    return bytes((kind,)) + node_id_bytes(node_id)


def pass_on_relay(data: bytes, head: bytes) -> bytes:
    """The RELAYED frame that a server makes of a RELAY or RELAY_WHOLE frame; empty if its datagram
    may not be relayed, see `decode_relay`.

    The datagram is the same bytes behind another head: only whether it must not be fragmented is
    read.

    Args:
        data: The frame as it came.
        head: Head of the new frame, from `relay_head`: names the sender.
    """
    if len(data) <= RELAY_OVERHEAD:
        return b""
    first = data[RELAY_OVERHEAD]
    if first not in _RELAYED:
        return b""
    passed_on = head + data[RELAY_OVERHEAD:]
    if data[0] == RELAY_WHOLE or (first == PROBE and data[_WHOLE_AT : _WHOLE_AT + 1] == _WHOLE):
        return Unfragmented(passed_on)
    return passed_on


def decode_relay(data: bytes) -> tuple[bytes, bytes] | None:
    """Node id and datagram of a RELAY, RELAY_WHOLE or RELAYED frame; None if the datagram may not
    be relayed.

    Only what two peers say to each other may be relayed: no STUN, and no relayed datagram inside
    another.
    """
    if len(data) <= RELAY_OVERHEAD or data[RELAY_OVERHEAD] not in _RELAYED:
        return None
    datagram = data[RELAY_OVERHEAD:]
    return data[1:RELAY_OVERHEAD], Unfragmented(datagram) if data[0] == RELAY_WHOLE else datagram


SEALS: Final = frozenset(range(0xE0, 0xE3))
"""First bytes of the frames of secured sessions; see `secure.frames`."""

_RELAYED: Final = SEALS | {0x7B, FRAGMENT, FRAGMENT_ACK, PROBE, PROBE_ANSWER, RECUT, RECUT_ACK}


class Keepalive(NamedTuple):
    """Keeps a path through NATs open, and asks the other end to answer."""

    nonce: bytes
    later_s: float = 0.0
    """Seconds until the second answer; 0: no second answer."""


class KeptAlive(NamedTuple):
    """The answer to a Keepalive."""

    nonce: bytes
    is_late: bool
    """Whether it is the second, delayed answer."""


def encode_keepalive(keepalive: Keepalive) -> bytes:
    """Write a keepalive; `later_s` is rounded up to a tenth of a second."""
    later = min(math.ceil(keepalive.later_s * TENTHS), 0xFFFF)
    return _KEEPALIVE.pack(KEEPALIVE, keepalive.nonce, later)


def encode_kept_alive(answer: KeptAlive) -> bytes:
    """Write the answer to a keepalive."""
    return _KEPT_ALIVE.pack(KEPT_ALIVE, answer.nonce, answer.is_late)


def decode_keepalive(data: bytes) -> Keepalive | KeptAlive | None:
    """Read a keepalive or the answer to one; None if it is neither."""
    kind = data[0] if data else 0
    if kind == KEEPALIVE and len(data) == _KEEPALIVE.size:
        _, nonce, later = _KEEPALIVE.unpack(data)
        return Keepalive(nonce, later / TENTHS)
    if kind == KEPT_ALIVE and len(data) == _KEPT_ALIVE.size:
        _, nonce, is_late = _KEPT_ALIVE.unpack(data)
        return KeptAlive(nonce, bool(is_late))
    return None


def decode_path_probe(data: bytes) -> PathProbe | PathProbeAnswer | None:
    """Read a probe or the answer to one; None if it is neither."""
    kind = data[0] if data else 0
    if kind == PROBE and len(data) >= _PROBE.size:
        return PathProbe(data[1 : _PROBE_ANSWER.size])
    if kind == PROBE_ANSWER and len(data) == _PROBE_ANSWER.size:
        return PathProbeAnswer(data[1:])
    return None


def decode_frame(data: bytes) -> Fragment | FragmentAck | None:
    """Read a fragment or a report; None if it is neither, or inconsistent."""
    kind = data[0] if data else 0
    if kind in (FRAGMENT, RECUT) and len(data) > _FRAGMENT.size:
        return _decode_fragment(data)
    if kind == FRAGMENT_ACK and len(data) >= _FRAGMENT_ACK.size:
        _, sequence, status, below = _FRAGMENT_ACK.unpack_from(data)
        return _made_ack(sequence, status, below, data[_FRAGMENT_ACK.size :])
    if kind == RECUT_ACK and len(data) >= _RECUT_ACK.size:
        _, sequence, status, chunk, below = _RECUT_ACK.unpack_from(data)
        if chunk >= MIN_CHUNK_BYTES:
            return _made_ack(sequence, status, below, data[_RECUT_ACK.size :], chunk)
    return None


def _made_ack(
    sequence: int, status: int, below: int, bitmap: bytes, chunk: int = 0
) -> FragmentAck | None:
    if status > max(TransferStatus) or len(bitmap) > MAX_BITMAP_BYTES:
        return None
    return FragmentAck(sequence, TransferStatus(status), below, bitmap, chunk)


def _decode_fragment(data: bytes) -> Fragment | None:
    kind, sequence, total, chunk, index = _FRAGMENT.unpack_from(data)
    if chunk < MIN_CHUNK_BYTES or total == 0:
        return None
    fragment = Fragment(sequence, total, chunk, index, data[_FRAGMENT.size :], kind == RECUT)
    if index >= fragment.count:
        return None
    expected = chunk if index < fragment.count - 1 else total - chunk * (fragment.count - 1)
    return fragment if len(fragment.data) == expected else None
