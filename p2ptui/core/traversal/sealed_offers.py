"""Offers that a server brings between two nodes with keys: it sees their sizes, and whose they are.

There is no session yet, so an offer is sealed to the keys of its receiver. The server tells these
with the node's address; they must hash to the node's id, so it cannot tell its own. By way of a
server that is spoken to under seal, no offer to or from an id that is made of keys goes in the
open: a server that keeps the keys back gains nothing by it.
"""

from dataclasses import dataclass
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
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.exchange import Key
from p2ptui.wire.message import P2PConnectPayload
from p2ptui.wire.offer import TraversalOffer

MAX_KNOWN: Final = 1024
"""Nodes whose keys are known for their next offer."""

KNOWN_S: Final = 3600.0
"""So long."""

LATE_MS: Final = 10_000
"""An offer that was written so much before another one that came is one that comes again."""

_LABEL: Final = b"p2ptui offer 1\0"


class _Inside(Struct, array_like=True):
    ed_public: Key
    written_at: Annotated[int, Meta(ge=0, le=2**62)]
    """On the clock of the writer, in milliseconds: compared with its own ones only."""
    offer: TraversalOffer


@dataclass(slots=True, eq=False)
class _Known:
    keys: PublicKeys
    newest: int = 0
    """When the latest of its offers was written."""
    takes_psk: bool | None = None
    """Whether it uses the network key; None: it has shown nothing so far."""


class SealedOffers:
    """Seals offers, opens them, and knows the keys for that.

    Args:
        state: The shared ground.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._known: BoundedTable[str, _Known] = state.tables.add(
            "offer_keys",
            BoundedTable(
                MAX_KNOWN,
                full="offer_keys_forgotten",
                shares=state.tables.shares,
                lifetime_s=KNOWN_S,
            ),
        )
        self._uses_psk = True

    def write(
        self,
        server: Peer,
        node_id: str,
        offer: TraversalOffer,
        nat_type: str | None,
        now: float,
    ) -> tuple[Raw, bool]:
        """What a server is sent with an offer; whether that is in it.

        Args:
            server: Which.
            node_id: Whom the offer is for.
            offer: What it says.
            nat_type: Of this node's NAT, if it is known: told to servers that see all the rest.
            now: The time, seconds.
        """
        if not must_show_keys(server, node_id):
            payload = P2PConnectPayload(node_id, nat_type=nat_type, offer=offer)
            return encode_payload(payload), True
        # Without keys it is asked for these: the server names them with the node's address.
        sealed = self._seal(node_id, offer, now)
        return encode_payload(P2PConnectPayload(node_id, sealed_offer=sealed)), sealed is not None

    def keys_of(self, node_id: str) -> PublicKeys | None:
        """The keys of a node, as far as they are known."""
        peer = self._state.peers.with_id(node_id)
        if peer is not None and peer.seal is not None:
            return peer.seal.keys
        known = self._known.get(node_id)
        return None if known is None else known.keys

    def _seal(self, node_id: str, offer: TraversalOffer, now: float) -> str | None:
        """An offer that a node alone can read; None where its keys are not known."""
        keys, seals = self.keys_of(node_id), self._state.seals
        if keys is None or seals is None:
            return None
        own = seals.keys.identity
        inside = _Inside(own.ed_public, self._wall_ms(now), offer)
        try:
            return seal_once(
                seals.static,
                keys.x_public,
                _encoder.encode(inside),
                prologue=_prologue(own.id, node_id),
                psk=self._psk_for(node_id, seals.keys),
            )
        except SecureError as error:
            self._state.counters.drop(f"offer_{error.reason}")
            return None

    def take(
        self, server: Peer, node_id: str, payload: P2PConnectPayload, address: Address, now: float
    ) -> TraversalOffer | None:
        """The offer of a node that a server names; None if it brings none that counts.

        Args:
            server: Which.
            node_id: Who is named.
            payload: What the server says.
            address: Where the node is.
            now: The time, seconds.
        """
        if payload.peer_keys is not None and self._state.seals is not None:
            self._note(node_id, payload.peer_keys, server.address, now)
        if payload.peer_sealed_offer is not None:
            return self._open(node_id, payload.peer_sealed_offer, address, now)
        if payload.peer_offer is not None and must_show_keys(server, node_id):
            self._state.counters.drop("offer_stripped")
            return None
        return payload.peer_offer

    def _note(self, node_id: str, text: str, address: Address, now: float) -> None:
        keys = read_keys(text, node_id)
        if keys is None:
            self._state.counters.drop("keys_of_another_id")
        else:
            self._keep(node_id, keys, address, now)

    def _keep(self, node_id: str, keys: PublicKeys, address: Address, now: float) -> _Known | None:
        self._known.expire(now)
        known = self._known.get(node_id)
        if known is None:
            known = _Known(keys)
            if not self._known.put(node_id, known, now, address=address):
                return None
        return known

    def _open(self, node_id: str, text: str, address: Address, now: float) -> TraversalOffer | None:
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
        known = self._keep(node_id, keys, address, now)
        if known is not None:
            if inside.written_at + LATE_MS < known.newest:
                self._state.counters.drop("offer_replayed")
                return None
            known.newest = max(known.newest, inside.written_at)
            known.takes_psk = text.startswith("Xpsk1")
        return inside.offer

    def _psk_for(self, node_id: str, own: OwnKeys) -> bytes | None:
        """The network key, unless the receiver may come without it, and does."""
        psk, known = own.psk, self._known.get(node_id)
        if psk is None or node_id not in own.allowed_ids:
            return psk
        if known is not None and known.takes_psk is not None:
            return psk if known.takes_psk else None
        # An offer is sent several times: one in two is one that it can read.
        self._uses_psk = not self._uses_psk
        return psk if self._uses_psk else None

    def _wall_ms(self, now: float) -> int:
        return max(int(1000 * (self._state.unix_offset + now)), 0)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Inside)


def _prologue(writer: str, reader: str) -> bytes:
    return _LABEL + bytes.fromhex((writer + reader).replace("-", ""))
