"""Datagrams carried for two nodes that cannot reach each other: framed, and 17 bytes longer.

A server needs only the id of the other node; it could read the rest, which is not secret. The two
nodes run a session of their own through it: everything a session has (acknowledgements, fragments)
works over a relay as it does directly. Each of them sees the other at an address of a special kind,
which names the node and the server.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from msgspec import UNSET

from p2ptui.bounded import INDEXED, BoundedTable, draw_oldest
from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import relay_address, relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import ErrorReceived, PeerStatus
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Foreign, Handed, Handing, NotHanded, Peer
from p2ptui.core.relay.control import RelayControl
from p2ptui.core.relay.values import TRANSIENT, Parcel, Refusal, Refused
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.codec import MalformedError, encode_payload
from p2ptui.wire.frames import (
    RELAY,
    RELAY_OVERHEAD,
    RELAY_WHOLE,
    RELAYED,
    Unfragmented,
    decode_relay,
    encode_relay,
    node_id_bytes,
    node_id_text,
    pass_on_relay,
    relay_head,
)
from p2ptui.wire.message import Capability, MessageType, RelayResponsePayload

MAX_RELAYED_NODES: Final = 10_000
"""Nodes that servers may bring here unasked, or half of the peer table if that is less; while all
of them are peers that proved themselves, or that this node asked, further ones are ignored."""

MAX_UNSETTLED: Final = 256
"""Relayed nodes that servers named and that are no peers; the least recently named one is
evicted."""

MOST_DRAWN: Final = 256
"""One of the oldest quarter of at most this many unproved relayed nodes makes room."""

IDS_REMEMBERED: Final = 1024
"""Node ids cached in both forms, the most recently used ones."""

BURST_S: Final = 5.0
"""Refusals that follow each other more closely are one burst, which the user is told about once."""

REFUSED_CODE: Final = "relay_refused"
"""The code of the ErrorReceived that reports a burst."""

_WHOLE: Final = bytes((RELAY_WHOLE,))

_TRANSIENT_CODES: Final = frozenset(refusal.value for refusal in TRANSIENT)


@dataclass(slots=True, eq=False)
class _Way:
    """How a node is reached."""

    server: Peer
    refused_at: float = -math.inf


class RelayFrames:
    """Wraps and unwraps datagrams as a client, and passes them on as a server.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports servers and nodes that have left, and ends sessions without a server.
        control: What is relayed for others, and when.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, control: RelayControl
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._control = control
        self._ways: BoundedTable[Address, _Way] = state.tables.add(
            "relayed_nodes",
            BoundedTable(
                MAX_RELAYED_NODES, refuses=True, full="relayed_nodes_full", peer_share=INDEXED
            ),
        )
        self._unsettled: BoundedTable[Address, None] = state.tables.add(
            "relayed_unsettled",
            BoundedTable(MAX_UNSETTLED, on_evicted=self._handle_unsettled),
        )
        self.on_refused: Callable[[Peer, str, float, str, str], None] = lambda *_: None
        """Called when a server does not relay to a node, and will not do so soon."""
        self.on_refused_in_use: Callable[[Peer, Peer, float], None] = lambda *_: None
        """Called when a server does not relay to a node with which there is a session."""
        self.keeps: Callable[[Peer, Peer, str, float], bool] = lambda *_: False
        """Called when the server through which a node is reached is gone, with the reason with
        which its session would end; returns whether the session goes on."""
        lifecycle.on_removed.append(self._handle_removed)

    @property
    def _limit(self) -> int:
        return min(MAX_RELAYED_NODES, -(-self._state.config.server.max_connections // 2))

    # The client's part.

    def open(self, server: Peer, node_id: str) -> Address:
        """Make a node reachable through a server; its address."""
        address = relay_address(server.address, node_id)
        way = self._ways.get(address)
        if way is not None and way.server is server:
            if address in self._unsettled:
                self._unsettled.touch(address)
            return address
        self.close(address)
        head = node_id_bytes(node_id)

        def wrap(data: bytes) -> bool:
            if server.is_authenticated:
                return self._hand_over(server, encode_relay(RELAY, head, data))
            self._state.counters.drop("no_relay")
            return False

        if self._ways.put(address, _Way(server), peers=(server,), proved=False):
            self._state.detours[address] = wrap
            self._unsettled.put(address, None)
        return address

    def send(self, server: Peer, node_id: str, data: bytes) -> bool:
        """Send a datagram to a node through a server, whatever is known about the way; returns
        whether it leaves."""
        return self._hand_over(server, encode_relay(RELAY, node_id_bytes(node_id), data))

    def _hand_over(self, server: Peer, frame: bytes) -> bool:
        grant = self._delivery.grant(server, Reason.OWN_SESSION, self._state.gate.now)
        return self._delivery.transmit_frame(server, frame, grant)

    def sharing(self, server: Peer, size_bytes: int) -> Iterator[tuple[Peer, int]]:
        """The peers whose datagrams share the first part of the path to a peer, each with the part
        of a datagram of `size_bytes` there that is its own: the peer itself, and those that it
        relays to."""
        yield server, size_bytes
        for address in self._ways.of_peer(server):
            peer = self._state.peers.authenticated(relayed_node(address) or "")
            if peer is not None and peer.sends_to == address:
                yield peer, size_bytes - RELAY_OVERHEAD

    def _settle(self, address: Address) -> bool:
        """Close a way unless there is a peer behind it; returns whether it was closed."""
        self._unsettled.pop(address)
        if self._state.peers.at(address) is not None:
            return False
        self.close(address)
        self._state.counters.drop("relayed_unsettled_full")
        return True

    def _handle_unsettled(self, address: Address, _: None) -> None:
        self._settle(address)

    def _make_room(self, now: float) -> bool:
        """Close a way that may lead nowhere; returns whether there was one.

        Anyone who forges the server's address can bring any number of nodes, each of which becomes
        a peer. So the peer behind a way that never proved itself makes room too, one of the oldest.
        """
        while self._unsettled:
            if self._settle(next(iter(self._unsettled))):
                return True
        unproved = self._ways.unproved
        while next(iter(unproved()), None) is not None:
            address = draw_oldest(unproved(), min(self._limit, MOST_DRAWN), self._state.rng)
            peer = self._state.peers.at(address)
            if peer is None:
                self.close(address)
                self._state.counters.drop("relayed_unsettled_full")
                return True
            if not (peer.proved or peer.initiated) and peer.address == address:
                self._state.counters.drop("relayed_unproved_full")
                self._lifecycle.evict(peer, now)
                self.close(address)
                return True
            self._ways.prove(address)  # each is visited once
        return False

    def is_open(self, server: Peer, node_id: str) -> bool:
        """Whether a node is reachable through a server, as far as this node knows."""
        return relay_address(server.address, node_id) in self._ways

    def unwrap(self, server: Peer, data: bytes, now: float) -> tuple[bytes, Address] | None:
        """A frame from a joined server: the datagram in it, and the address that it comes from."""
        frame = decode_relay(data)
        if frame is None or not self._may_relay(server):
            self._state.counters.drop("relay_frame_refused")
            return None
        server.liveness.hear(now)
        node_id, datagram = _to_text(frame[0]), frame[1]
        is_full = len(self._ways) >= self._limit and not self.is_open(server, node_id)
        if is_full and not self._make_room(now):
            self._state.counters.drop("relayed_nodes_full")
            return None
        address = self.open(server, node_id)
        peers = self._state.peers
        if peers.cluster.home is not None and peers.at(address) is None:
            self._take_answer(server, node_id, address)
        return datagram, address

    def _take_answer(self, server: Peer, node_id: str, address: Address) -> None:
        """A node that was asked through one server of the cluster may answer through another: each
        node is answered through its home. For a secured peer, its seals decide later on."""
        peers = self._state.peers
        if not peers.cluster.has(server):
            return
        for other in peers.joined_servers:
            peer = peers.at(relay_address(other.address, node_id))
            if peer is None or peer.seal is not None or not peers.cluster.has(other):
                continue
            if peer.initiated or peer.is_authenticated:
                peers.add_relay(peer, address)
                return

    @staticmethod
    def _may_relay(server: Peer) -> bool:
        # Before it proved itself its frames may be forged; answers sent by a timer cost nothing.
        is_server = server.purse.proved and server.is_joined_server
        return is_server and Capability.RELAY_FRAMES in server.facts.capabilities

    def handle_refusal(self, server: Peer, response: RelayResponsePayload, now: float) -> None:
        """A server did not relay a datagram: the user is told once per burst."""
        target = response.target_id
        node_id = None if target is UNSET else canonical_id(target)
        address = relay_address(server.address, node_id or "")
        way = self._ways.get(address)
        if node_id is None or way is None or way.server is not server:
            self._state.counters.drop("relay_response_unasked")
            return
        reason = response.error_message or "refused"
        peer = self._state.peers.at(address)
        in_use = peer is not None and (peer.is_authenticated or peer.resumes)
        if not in_use and response.code not in _TRANSIENT_CODES:
            self.on_refused(server, node_id, now, reason, response.code or "")
            return
        is_known = peer is not None and peer.is_authenticated and peer.home == address
        if peer is not None and is_known and response.code != Refusal.RATE.value:
            self.on_refused_in_use(server, peer, now)
        is_new = now - way.refused_at > BURST_S
        way.refused_at = now
        if is_new:
            text = f"not relayed to node {node_id}: {reason}"
            self._state.emit(ErrorReceived(server.node_id, server.address, text, REFUSED_CODE))

    def close(self, address: Address) -> None:
        """Forget the way to a node through a server."""
        way = self._ways.pop(address, None)
        if way is None:
            return
        self._state.detours.pop(address, None)
        self._unsettled.pop(address, None)

    def _handle_removed(self, peer: Peer, reason: str) -> None:
        self.close(peer.address)
        addresses = self._ways.of_peer(peer)
        if addresses:
            # At once, but not in the midst of a removal.
            self._state.timers.schedule(
                peer.last_received, lambda now: self._end(peer, addresses, reason, now)
            )

    def _end(self, server: Peer, addresses: tuple[Address, ...], reason: str, now: float) -> None:
        """The server is gone, and with it the nodes that it relayed, unless there is a direct
        path."""
        where = format_address(server.address)
        reason = f"the server at {where}, which relayed, is gone: {reason}"
        for address in addresses:
            way, peer = self._ways.get(address), self._state.peers.at(address)
            if way is None or way.server is not server:
                continue  # it is back already
            self.close(address)
            if peer is None or peer.home != address:
                continue  # it is reached through another one
            if not self.keeps(peer, server, reason, now) and peer.path is None:
                ended = PeerStatus.DISCONNECTED if peer.is_authenticated else PeerStatus.FAILED
                self._lifecycle.remove(peer, ended, now, reason)

    # The server's part.

    def forward(self, peer: Peer, data: bytes, now: float) -> None:
        """Pass a client's datagram on to another client, or say why not."""
        passed_on = pass_on_relay(data, _relayed_head(peer.node_id))
        if not passed_on or Capability.RELAY_FRAMES not in peer.facts.capabilities:
            self._state.counters.drop("relay_frame_refused")
            return
        peer.liveness.hear(now)
        target_id = _to_text(data[1:RELAY_OVERHEAD])
        parcel = Parcel(self, target_id, len(passed_on), passed_on, Capability.RELAY_FRAMES)
        self._control.submit(peer, parcel, now)

    def carry(self, target: Peer, parcel: Parcel, _now: float) -> bool:
        """Send a datagram to its target; returns whether it leaves."""
        return self._delivery.transmit_frame(target, parcel.data)

    def hand(self, target: Foreign, client: Peer, parcel: Parcel, now: float) -> bool:
        """Hand a datagram to the server of its target; returns whether it leaves."""
        body, kind = parcel.data, Handing.FRAME
        if type(body) is Unfragmented:
            body = _WHOLE + body[1:]
        return self._state.elsewhere.hand(target, client, kind, body, "", now)

    def conclude(self, client: Peer, parcel: Parcel, refused: Refused | None, now: float) -> None:
        """The client is told about a refusal, now and then."""
        if refused is None:
            return
        if self._control.may_tell(client, now, lasting=refused.kind not in TRANSIENT):
            self._tell(client, parcel.target_id, refused, now)

    def take_handed(self, target: Peer, handed: Handed, _now: float) -> NotHanded | None:
        """Pass a datagram from a node elsewhere to a node here."""
        passed_on = pass_on_relay(handed.body, _relayed_head(handed.source_id))
        if not passed_on:
            raise MalformedError("a datagram that may not be relayed")
        if Capability.RELAY_FRAMES not in target.facts.capabilities:
            return NotHanded.UNKNOWN
        return None if self._delivery.transmit_frame(target, passed_on) else NotHanded.UNSENDABLE

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        """A datagram for a node elsewhere has not arrived: its sender is told, now and then."""
        refused = self._control.note_not_handed(source, handed.target_id, why, now)
        if refused is not None:
            self._tell(source, handed.target_id, refused, now)

    def _tell(self, client: Peer, target_id: str, refused: Refused, now: float) -> None:
        response = RelayResponsePayload(
            False, refused.text, target_id=target_id, code=refused.kind.value
        )
        payload = encode_payload(response)
        self._delivery.send(client, MessageType.RELAY_RESPONSE, payload, now)


# Called for each datagram, and the same few nodes follow each other.


@lru_cache(IDS_REMEMBERED)
def _relayed_head(node_id: str) -> bytes:
    return relay_head(RELAYED, node_id)


@lru_cache(IDS_REMEMBERED)
def _to_text(node_id: bytes) -> str:
    return node_id_text(node_id)
