"""Offers that a server brings between two nodes with keys: it sees only their size and ends.

There is no session yet, so an offer is sealed to the keys of its receiver. The server states these
along with the node's address; they must hash to the node's id, so it cannot substitute its own. An
offer is valid only for the run of the receiver that it names. Which run that is, each server says
of the offers that it brings itself: whoever names a false one keeps only those back. As long as its
writer is remembered, an offer counts once. Through a server with which this node has a secured
session, no offer to or from an id derived from keys is sent in the open: a server gains nothing by
withholding the keys.

Offers of different writers are never compared: one with a false clock would shut out the others.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from p2ptui.bounded import BoundedTable
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import OwnKeys, must_show_keys
from p2ptui.core.state import NodeState
from p2ptui.secure import SecureError
from p2ptui.secure.identity import PublicKeys, read_keys
from p2ptui.secure.one_way import open_once, seal_once
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.exchange import BOOT_BYTES, Key
from p2ptui.wire.message import P2PConnectPayload
from p2ptui.wire.offer import TraversalOffer

MAX_READERS: Final = 1024
"""Pairs of a server and a node whose keys and runs it has stated, for the next offer to it."""

MAX_WRITERS: Final = 1024
"""Nodes of which the latest offers are remembered."""

KNOWN_S: Final = 3600.0
"""How long a node is believed to use, or not to use, the network key."""

LATE_MS: Final = 10_000
"""An offer written this much before another one that has arrived counts as a repetition."""

LATE_S: Final = 60.0
"""So does any offer that was not written after it and arrives this long after it."""

MAX_RUNS: Final = 4
"""Runs of one writer whose latest offer is remembered. This is how often it may be restarted with
its clock set back: none is forgotten for another that has proved nothing, as its offers would count
again."""

_LABEL: Final = b"p2ptui offer 1\0"


class _Inside(Struct, array_like=True):
    ed_public: Key
    written_at: Annotated[int, Meta(ge=0, le=2**62)]
    """On the writer's clock, in milliseconds: compared only with its other offers, and always
    increasing during one run."""
    offer: TraversalOffer
    reader_boot: bytes = b""
    """The run of its receiver that it is for."""
    boot: Annotated[bytes, Meta(max_length=BOOT_BYTES)] = b""
    """The run of the writer."""


@dataclass(slots=True, eq=False)
class _Run:
    newest: int = 0
    """When the latest offer of a run was written."""
    taken_at: float = 0.0
    """When that one arrived, seconds."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Whom an offer is for."""

    keys: PublicKeys
    boot: bytes
    """Its run; empty: unknown."""


@dataclass(slots=True, eq=False)
class _Writer:
    reader: _Reader
    """Whom the answer to its newest offer is for."""
    newest: int = 0
    """When that was written, in any run."""
    runs: dict[bytes, _Run] = field(default_factory=dict)
    """The latest offer of each run."""
    takes_psk: bool = False
    """Whether it uses the network key."""
    shown_at: float = 0.0


class SealedOffers:
    """Seals and opens offers, and knows the keys for that.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        shares = state.tables.shares
        self._readers: BoundedTable[tuple[str, str], _Reader] = state.tables.add(
            "offer_keys",
            BoundedTable(MAX_READERS, full="offer_keys_forgotten", shares=shares),
        )
        """By the ids of the server that states them, and of the node."""
        self._writers: BoundedTable[str, _Writer] = state.tables.add(
            "offer_writers",
            BoundedTable(MAX_WRITERS, full="offer_writer_forgotten", shares=shares),
        )
        self._written_at = 0
        self._uses_psk = True

    def write(
        self,
        server: Peer,
        node_id: str,
        offer: TraversalOffer,
        nat_type: str | None,
        now: float,
    ) -> tuple[Raw, bool]:
        """The message to a server with an offer, and whether the offer is in it.

        Args:
            server: The server.
            node_id: The id of the node that the offer is for.
            offer: The offer.
            nat_type: The type of this node's NAT, if known: told to servers that see everything
                else anyway.
            now: The time, seconds.
        """
        if not must_show_keys(server, node_id):
            payload = P2PConnectPayload(node_id, nat_type=nat_type, offer=offer)
            return encode_payload(payload), True
        # Without the keys, the server is asked for them: it names them with the node's address.
        sealed = self._seal(server, node_id, offer, now)
        return encode_payload(P2PConnectPayload(node_id, sealed_offer=sealed)), sealed is not None

    def has_keys(self, server: Peer, node_id: str) -> bool:
        """Whether enough is known to seal an offer for a node that goes through a server."""
        return self._reader(server, node_id) is not None

    def _reader(self, server: Peer, node_id: str) -> _Reader | None:
        """Whom an offer is for: as its server says, else as a session or its own offer shows."""
        stated, writer = self._readers.get((server.node_id, node_id)), self._writers.get(node_id)
        peer = self._state.peers.with_id(node_id)
        if stated is not None and stated.boot:
            return stated
        if peer is not None and peer.seal is not None and peer.seal.claims.boot:
            return _Reader(peer.seal.keys, peer.seal.claims.boot)
        return writer.reader if writer is not None and writer.reader.boot else None

    def _seal(self, server: Peer, node_id: str, offer: TraversalOffer, now: float) -> str | None:
        """An offer that only a given node can read; None if its keys are not known."""
        reader, seals = self._reader(server, node_id), self._state.seals
        if reader is None or seals is None:
            return None
        own = seals.keys.identity
        # A clock that was set back must not make it look repeated.
        self._written_at = max(self._wall_ms(now), self._written_at + 1)
        inside = _Inside(own.ed_public, self._written_at, offer, reader.boot, seals.boot)
        try:
            return seal_once(
                seals.static,
                reader.keys.x_public,
                _encoder.encode(inside),
                prologue=_prologue(own.id, node_id),
                psk=self._psk_for(node_id, seals.keys, now),
            )
        except SecureError as error:
            self._state.counters.drop(f"offer_{error.reason}")
            return None

    def take(
        self, server: Peer, node_id: str, payload: P2PConnectPayload, now: float
    ) -> TraversalOffer | None:
        """The offer of a node that a server names; None if there is no valid one.

        Args:
            server: The server.
            node_id: The id of the named node.
            payload: The server's message.
            now: The time, seconds.
        """
        if payload.peer_keys is not None and self._state.seals is not None:
            self._note(server, node_id, payload.peer_keys, payload.peer_boot, now)
        if payload.peer_sealed_offer is not None:
            return self._open(server, node_id, payload.peer_sealed_offer, now)
        if payload.peer_offer is not None and must_show_keys(server, node_id):
            self._state.counters.drop("offer_stripped")
            return None
        return payload.peer_offer

    def _note(self, server: Peer, node_id: str, text: str, boot: str | None, now: float) -> None:
        keys = read_keys(text, node_id)
        if keys is None:
            self._state.counters.drop("keys_of_another_id")
            return
        stated = _Reader(keys, _boot_in(boot or ""))
        self._readers.put((server.node_id, node_id), stated, now, address=server.address)

    def _open(self, server: Peer, node_id: str, text: str, now: float) -> TraversalOffer | None:
        seals = self._state.seals
        if seals is None:
            return None
        own = seals.keys
        is_allowed = own.psk is None or node_id in own.allowed_ids
        try:
            payload, x_public = open_once(
                seals.static,
                text,
                prologue=_prologue(node_id, own.identity.id),
                psk=own.psk,
                accepts=("X", "Xpsk1") if is_allowed else ("Xpsk1",),
            )
            inside = _decoder.decode(payload)
        except (SecureError, msgspec.MsgspecError) as error:
            reason = error.reason if isinstance(error, SecureError) else "malformed"
            self._state.counters.drop(f"offer_{reason}")
            return None
        keys = PublicKeys(x_public, inside.ed_public)
        if keys.id != node_id:
            self._state.counters.drop("offer_of_another_id")
            return None
        if inside.reader_boot != seals.boot:
            self._state.counters.drop("offer_of_another_run")
            return None
        writer = self._writers.get(node_id) or _Writer(_Reader(keys, b""))
        is_new = self._is_new(node_id, inside, writer, now)
        if not (is_new and self._writers.put(node_id, writer, now, address=server.address)):
            self._state.counters.drop("offer_replayed")
            return None
        writer.takes_psk, writer.shown_at = text.startswith("Xpsk1"), now
        return inside.offer

    def _is_new(self, node_id: str, inside: _Inside, writer: _Writer, now: float) -> bool:
        """Whether an offer is new; if so, it is noted."""
        run, written_at = writer.runs.get(inside.boot), inside.written_at
        if run is None:
            if not self._may_begin(node_id, inside, writer):
                return False
            if len(writer.runs) >= MAX_RUNS:
                # Its offers stay repetitions: they are older than the newest, and there is no room.
                del writer.runs[min(writer.runs, key=lambda boot: writer.runs[boot].newest)]
            run = writer.runs[inside.boot] = _Run()
        elif _is_again(written_at, run, now):
            return False
        if written_at > run.newest:
            run.newest, run.taken_at = written_at, now
        if written_at > writer.newest:
            writer.newest, writer.reader = written_at, _Reader(writer.reader.keys, inside.boot)
        return True

    def _may_begin(self, node_id: str, inside: _Inside, writer: _Writer) -> bool:
        """Whether an offer may be the first of a run of its writer.

        Usually it is newer than all before it. But the clock may have been set back in between:
        then a session with that run proves it, or there must be room for one more run.
        """
        if inside.written_at > writer.newest or len(writer.runs) < MAX_RUNS:
            return True
        peer = self._state.peers.with_id(node_id)
        if peer is None or not peer.is_authenticated or peer.seal is None or not inside.boot:
            return False
        return peer.seal.claims.boot == inside.boot

    def _psk_for(self, node_id: str, own: OwnKeys, now: float) -> bytes | None:
        """The network key, unless the receiver may and does come without it."""
        psk, writer = own.psk, self._writers.get(node_id)
        if psk is None or node_id not in own.allowed_ids:
            return psk
        if writer is not None and now < writer.shown_at + KNOWN_S:
            return psk if writer.takes_psk else None
        # An offer is sent several times: the receiver can read every other one.
        self._uses_psk = not self._uses_psk
        return psk if self._uses_psk else None

    def _wall_ms(self, now: float) -> int:
        return max(int(1000 * (self._state.unix_offset + now)), 0)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Inside)


def _is_again(written_at: int, run: _Run, now: float) -> bool:
    """Whether an offer of a run counts as a repetition: written more than `LATE_MS` before the
    newest, or not newer than it and arriving more than `LATE_S` after it."""
    is_late = written_at + LATE_MS < run.newest
    return is_late or (written_at <= run.newest and now > run.taken_at + LATE_S)


def _boot_in(text: str) -> bytes:
    """What a server says about a node's run; empty if that is invalid."""
    try:
        boot = bytes.fromhex(text)
    except ValueError:
        return b""
    return boot if len(boot) <= BOOT_BYTES else b""


def _prologue(writer: str, reader: str) -> bytes:
    return _LABEL + bytes.fromhex((writer + reader).replace("-", ""))
