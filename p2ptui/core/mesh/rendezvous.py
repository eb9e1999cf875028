"""Two peers of one server learn each other's address: asked for, granted, and acted upon.

An introduced address may do little: its Pings are answered, and routed messages from its node are
accepted. Two p2ptui nodes go on to a handshake on the path that the Pings have opened.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import INDEXED, BoundedTable
from p2ptui.core.accounts import Purse
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import PeerIntroduced
from p2ptui.core.identity import bounded_capabilities, canonical_id
from p2ptui.core.mesh.introduction import (
    INTRODUCTION_LIFETIME_S,
    Introduction,
    Introductions,
    OnIntroduced,
    ReadOffer,
    offer_in_the_open,
)
from p2ptui.core.mesh.introduction_calls import IntroductionCalls
from p2ptui.core.mesh.punching import Punches
from p2ptui.core.mesh.repeats import Repeats
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.peers import Foreign, Handed, Handing, Listed, NotHanded, Peer
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address, format_address, parse_ip_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    Capability,
    Envelope,
    ErrorCode,
    ErrorPayload,
    MessageType,
    P2PConnectPayload,
    ReceivedRoutedPayload,
)

MAX_PAIRS: Final = 1024
"""Pairs of nodes, one of which was named to the other, that are remembered; the oldest makes
room."""

MAX_UNPAID: Final = 256
UNPAID_S: Final = 60.0
"""Introductions that wait for the proof of their asker's address, and for how long, seconds."""

COMMITTED: Final = (576, 3)
"""Bytes and datagrams that a node sends to another's address on hearsay: three Pings with a
nonce."""

MAX_NAME: Final = 128
"""Characters kept of an introduced node's name."""


class Rendezvous:
    """Introduces peers to each other, and acts on introductions.

    Args:
        state: The shared state.
        delivery: Sends messages.
        introductions: The valid introductions.
        punches: Open this node's NAT for introduced nodes.
        calls: Calls that wait for an introduction.
        routing: Takes routed messages from introduced addresses.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        introductions: Introductions,
        punches: Punches,
        calls: IntroductionCalls,
        routing: Routing,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._routing = routing
        self.introductions = introductions
        """The valid introductions."""
        self._punches = punches
        self.calls = calls
        """Calls that wait for an introduction."""
        self._pairs: BoundedTable[tuple[str, str], Repeats] = state.tables.add(
            "introduced_pairs",
            BoundedTable(
                lambda: MAX_PAIRS,
                full="introduction_pairs_full",
                shares=state.tables.shares,
                holds=Repeats.holds,
            ),
        )
        """Pairs of nodes: the first was named to the second, which cannot search."""
        self._unpaid: BoundedTable[tuple[str, str], P2PConnectPayload] = state.tables.add(
            "introductions_unpaid",
            BoundedTable(
                MAX_UNPAID, shares=state.tables.shares, peer_share=INDEXED, lifetime_s=UNPAID_S
            ),
        )
        """Pairs of nodes: the first is named to the second once its address is proved; and what is
        said about it."""
        delivery.on_proved.append(self._handle_proved)
        self.read_offer: ReadOffer = offer_in_the_open
        """Extracts the offer of a node that a server names: it may be sealed."""
        self.on_introduced: OnIntroduced = lambda *_, **__: None
        """Called when a server names a node of our kind: a direct path may be searched for."""
        self.on_named: Callable[[Address, float], None] = lambda *_: None
        """Called when an address has been introduced: something from it may wait for that."""
        self.on_contradicted: Callable[[Peer, float], None] = lambda *_: None
        """Called when a server says that a peer is at another address."""
        self.on_incapable: Callable[[Peer, str, float], None] = lambda *_: None
        """Called when a server names a node that cannot search."""
        self.on_unknown: Callable[[Peer, str, float], None] = lambda *_: None
        """Called when a server does not know a node that was asked for."""

    # The server's part.

    def handle_request(self, peer: Peer, payload: P2PConnectPayload, now: float) -> None:
        """A peer wants to be introduced to another."""
        target_id = canonical_id(payload.peer_id)
        target = self._state.find(target_id) if target_id else None
        if target is None or target.node_id == peer.node_id or not target.is_plain:
            self._refuse(peer, payload.peer_id[:64], now)
            return
        self._introduce(peer, target, P2PConnectPayload(target.node_id), now)
        about = P2PConnectPayload(
            peer.node_id,
            peer_nat_type=payload.nat_type,
            peer_predicted_ports=payload.predicted_ports,
            peer_public_addr=payload.public_addr,
        )
        has_offer = payload.offer is not None or payload.sealed_offer is not None
        if has_offer and target.is_ours:
            # An offer is longer than an unproved address may be sent, and makes its receiver send
            # checks to the asker's apparent address.
            if target.proved and peer.proved:
                about.peer_offer = payload.offer
                about.peer_sealed_offer = payload.sealed_offer
            for doubtful in (target, peer):
                if isinstance(doubtful, Peer):
                    self._delivery.challenge(doubtful, now)
        self._name(target, peer, about, now)

    def _refuse(self, asker: Peer, target_id: str, now: float) -> None:
        words = f"node not found: {target_id}"
        error = ErrorPayload(words, ErrorCode.PEER_NOT_FOUND, target=target_id)
        self._delivery.send(asker, MessageType.ERROR, encode_payload(error), now)

    def _name(self, target: Listed, asker: Peer, about: P2PConnectPayload, now: float) -> None:
        """Tell a node which node asks for it, once the asker has paid for what will be sent to it,
        or has proved its address."""
        if not isinstance(target, Peer):
            # Only this server knows what the asker has paid.
            if asker.proved:
                self._hand(target, asker, about, now)
                return
        elif self._state.gate.commit(asker.purse, *COMMITTED):
            if target.is_ours or self._may_tell(target, asker.node_id, asker.address, now):
                self._introduce(target, asker, about, now)
            return
        pair = (asker.node_id, target.node_id)
        self._unpaid.put(pair, about, now, peers=(asker,), address=asker.address)
        self._delivery.challenge(asker, now)

    def _handle_proved(self, asker: Peer, now: float) -> None:
        self._unpaid.expire(now)
        for pair in self._unpaid.of_peer(asker):
            about = self._unpaid.pop(pair)
            target = self._state.find(pair[1])
            is_asker = asker.is_authenticated and pair[0] == asker.node_id
            if about is not None and target is not None and is_asker:
                self._name(target, asker, about, now)

    def _may_tell(self, target: Peer, asker_id: str, address: Address, now: float) -> bool:
        pair = (asker_id, target.node_id)
        repeats = self._pairs.get(pair) or Repeats()
        self._pairs.put(pair, repeats, now, address=address)
        return repeats.take(now)

    def _introduce(
        self, receiver: Peer, other: Listed, about: P2PConnectPayload, now: float
    ) -> None:
        _describe(about, other)
        self._tell(receiver, about, now, is_proved=other.proved)

    def _tell(
        self, receiver: Peer, about: P2PConnectPayload, now: float, *, is_proved: bool
    ) -> bool:
        """Name a node to another, with what the other may be told about it; returns whether it
        leaves."""
        # Only our own nodes read these, and an unproved address has no bytes to spare.
        if not (receiver.proved or receiver.is_ours):
            about.peer_name = about.peer_capabilities = None
        # With it the receiver believes the introduction, and sends more to the other node.
        if receiver.proved and receiver.is_ours and is_proved:
            about.handshake = receiver.handshake_heard
        if not receiver.proved or receiver.seal is None:
            about.peer_keys = about.peer_boot = None
        payload = encode_payload(about)
        return self._delivery.send(receiver, MessageType.P2P_CONNECT, payload, now)

    # Between servers.

    def _hand(self, target: Foreign, asker: Peer, about: P2PConnectPayload, now: float) -> None:
        """Have a node's server tell it which node asks for it."""
        _describe(about, asker)
        body, kind = bytes(encode_payload(about)), Handing.INTRODUCTION
        if not self._state.elsewhere.hand(target, asker, kind, body, "", now):
            self._state.counters.drop("introduction_not_handed")

    def take_handed(self, target: Peer, handed: Handed, now: float) -> NotHanded | None:
        """Name a node elsewhere, which has proved its address there, to one here."""
        said = decode_payload(handed.body, P2PConnectPayload)
        address = parse_ip_address(said.peer_addr or "")
        if address is None:
            raise MalformedError("`peer_addr` is no address")
        if not (target.is_ours or self._may_tell(target, handed.source_id, address, now)):
            return None
        about = P2PConnectPayload(
            handed.source_id,
            format_address(address),
            peer_nat_type=said.peer_nat_type,
            peer_predicted_ports=said.peer_predicted_ports,
            peer_public_addr=said.peer_public_addr,
            peer_name=said.peer_name,
            peer_capabilities=said.peer_capabilities,
            peer_keys=said.peer_keys,
            peer_boot=said.peer_boot,
        )
        if target.is_ours:
            about.peer_offer, about.peer_sealed_offer = said.peer_offer, said.peer_sealed_offer
        # Anybody who can write to the broker can name any address: the message pays for what is
        # sent there, unless an entry shows that the node is there.
        known = self._state.elsewhere.holder(handed.source_id)
        is_there = known is not None and known.stands and known.proved
        is_proved = known is not None and is_there and known.address == address
        has_left = self._tell(target, about, now, is_proved=is_proved)
        return None if has_left else NotHanded.UNSENDABLE

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        """A node elsewhere was not told which node asks for it: if it is gone, the asker is told.

        Otherwise the asker repeats its request.
        """
        if why in (NotHanded.UNKNOWN, NotHanded.SERVER_GONE):
            self._refuse(source, handed.target_id, now)

    # The client's part.

    def handle_error(self, server: Peer, payload: ErrorPayload, now: float) -> None:
        """A server refuses; it may concern a node that this one asked for.

        The reference sends no code: its text contains the id.
        """
        if payload.route_id is not None:
            return  # it is about a message for a node, not about its address
        if payload.target is not None and payload.code == ErrorCode.PEER_NOT_FOUND:
            self.on_unknown(server, payload.target, now)
        self.calls.refuse(server, payload)

    def is_from_joined(self, peer: Peer, _payload: P2PConnectPayload) -> bool:
        """Whether this node has asked the sender for its session: only such a peer may tell where
        nodes are."""
        return peer.is_joined_server

    def handle_introduction(self, server: Peer, payload: P2PConnectPayload, now: float) -> None:
        """A joined server tells where a node is, and proves that it is that server."""
        self._take_introduction(server, payload, now, is_genuine=True)

    def handle_hearsay(self, server: Peer, payload: P2PConnectPayload, now: float) -> None:
        """The same, but anybody may have written it; deployed servers prove nothing."""
        self._take_introduction(server, payload, now, is_genuine=False)

    def _take_introduction(
        self, server: Peer, payload: P2PConnectPayload, now: float, *, is_genuine: bool
    ) -> None:
        address = parse_ip_address(payload.peer_addr or "")
        node_id = canonical_id(payload.peer_id)
        if address is None or node_id is None or node_id == self._state.identity.id:
            self._state.counters.drop("introduction_invalid")
            return
        offer = self.read_offer(server, node_id, payload, now)
        peer = self._state.peers.authenticated(node_id)
        if peer is not None and address != peer.address and peer.is_settled(now):
            # If it has moved, it does not answer at its old address.
            self._state.counters.drop("introduction_of_a_peer")
            self.on_contradicted(peer, now)
            if offer is not None and server.is_ours:
                self.on_introduced(server, node_id, address, offer, now, is_genuine=is_genuine)
            return
        introduction = self.introductions.take(address)
        if introduction is None or introduction.node_id != node_id:
            introduction = Introduction(
                node_id=node_id,
                address=address,
                server_id=server.node_id,
                expires=0.0,
                capabilities=bounded_capabilities(payload.peer_capabilities or ()),
                name=(payload.peer_name or "")[:MAX_NAME],
                pings=self._punches.new_pings(),
            )
            self._state.emit(PeerIntroduced(node_id, address, server.node_id))
        introduction.expires = now + INTRODUCTION_LIFETIME_S
        self.introductions.put(introduction, now, server.address)
        if not introduction.capabilities:
            introduction.capabilities = self._routing.capabilities_of(node_id, now) or ()
        if Capability.RELAY_FRAMES in introduction.capabilities and server.is_ours:
            introduction.traversed = True
            self.on_introduced(server, node_id, address, offer, now, is_genuine=is_genuine)
        elif self._state.peers.authenticated(node_id) is None and introduction.punches.take(now):
            ports = payload.peer_predicted_ports or []
            self._punches.begin(introduction, ports, now, is_genuine=is_genuine)
        if introduction.capabilities and not introduction.traversed:
            self.on_incapable(server, node_id, now)
        self.on_named(address, now)
        self.calls.serve(introduction, now)

    def leave_server(self, server: Peer, now: float) -> None:
        """A server is gone: from now on only traffic keeps its introductions valid."""
        self.introductions.shorten(server, now + self._state.config.server.connection_timeout)

    # What comes from introduced addresses.

    def take_ping(
        self, introduction: Introduction, message: Envelope, earned: Purse, now: float
    ) -> bool:
        """An introduced node opens the path, or asks whether this one is there."""
        if introduction.traversed:
            return False
        _, data = self._delivery.build(MessageType.PONG, message.payload, now)
        if not earned.has_room(len(data)):
            self._state.counters.drop("ping_too_short")
        else:
            self._state.gate.send(data, introduction.address, earned)
        return True

    def take_pong(
        self, introduction: Introduction, message: Envelope, _earned: Purse, now: float
    ) -> bool:
        """An introduced node answers."""
        address = introduction.address
        if introduction.pings.receive_pong(message.payload, address, now) is None:
            self._state.counters.drop("pong_without_ping")
        return True

    def take_data(
        self, introduction: Introduction, message: Envelope, _earned: Purse, now: float
    ) -> bool:
        """An introduced node sends a routed message."""
        try:
            routed = decode_payload(message.payload, ReceivedRoutedPayload)
        except MalformedError:
            self._state.counters.drop("introduced_data")
            return not introduction.traversed
        self._routing.handle(introduction.origin, routed, now)
        return True


def _describe(about: P2PConnectPayload, other: Listed) -> None:
    """Fill in everything that another node may be told about a node."""
    about.peer_addr = format_address(other.address)
    info = other.info
    if info is not None:
        about.peer_name = info.name
        about.peer_capabilities = list(info.capabilities)
    if not isinstance(other, Peer):
        about.peer_keys, about.peer_boot = other.keys or None, other.boot or None
    elif other.seal is not None:
        about.peer_keys = other.seal.keys.text
        about.peer_boot = other.seal.claims.boot.hex()
