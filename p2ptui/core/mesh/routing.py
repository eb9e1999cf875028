"""Messages for other nodes: forwarded by the distance table, or to a few peers that route.

Nothing is believed before it is checked, nothing is forwarded twice, and nothing is forwarded for
an unauthenticated sender.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from msgspec import Raw

from p2ptui.bounded import BoundedTable, TokenBucket
from p2ptui.core.delivery import Delivery, why_not_kept
from p2ptui.core.identity import bounded_capabilities, canonical_id, told_name
from p2ptui.core.mesh.contacts import Contacts
from p2ptui.core.mesh.evidence import Evidence
from p2ptui.core.mesh.introduction import Introductions, Origin
from p2ptui.core.mesh.routes import RouteTable
from p2ptui.core.mesh.seen import Seen
from p2ptui.core.mesh.sources import Sources, Writer, told_from
from p2ptui.core.peers import Foreign, Handing, OnLost, Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import MessageTooLargeError, QueueFullError
from p2ptui.wire.address import Address, parse_ip_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import (
    Capability,
    ErrorCode,
    ErrorPayload,
    MessageType,
    PeerInfo,
    ReceivedRoutedPayload,
    RoutedPayload,
    RouteEntry,
)

MAX_HOPS: Final = 32
"""A message takes no more hops than this, whatever it asks for."""

FLOOD_CANDIDATES: Final = 64
"""Peers examined, most recent first, to find some that route."""

MAX_MET: Final = 1024
"""Nodes without a session whose names are remembered from an earlier one."""

MAX_ADDRESS_TEXT: Final = 64
"""Characters kept of an address in a list: one with a full IPv6 address and a port has 47."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message could not be handed to anybody."""

    code: str
    """The code of the Error that says so."""
    text: str


def _source(origin: Origin, routed: ReceivedRoutedPayload) -> str | None:
    # Deployed interactive clients write their server's id there, which they take for their own.
    if routed.hop_count == 0 and origin.peer is not None:
        return origin.node_id
    return source_named(routed)


def source_named(routed: ReceivedRoutedPayload) -> str | None:
    """The id that a message names as its writer's."""
    return canonical_id(routed.source_node)


class Routing:
    """Forwards, and finds the next hop of this node's own messages.

    Args:
        state: The shared state.
        delivery: Sends messages.
        introductions: Nodes that a server named.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        introductions: Introductions,
    ) -> None:
        self._state = state
        self._delivery = delivery
        options = state.config.routing
        shares = state.tables.shares
        self.table = RouteTable(
            options.route_lifetime, options.max_routes, state.counters.drop, shares
        )
        state.tables.gauge("routes", self.table.__len__)
        self.seen = Seen(state)
        self._flood: TokenBucket | None = None
        self.contacts = Contacts(shares)
        self.sources = Sources(state, self.table, introductions)
        self.on_arrived: Callable[[Writer, Raw, float], bool] | None = None
        """Called with the writer and the inner message of a message for this node; returns whether
        nodes accept such a message."""
        self.on_refused: Callable[[Peer, ErrorPayload, float], None] = lambda *_: None
        """Called when a peer says that it cannot forward a message."""
        self._met: BoundedTable[str, str] = BoundedTable(MAX_MET, shares=shares)
        """The names that nodes had in their last session here."""

    def handle_joined(self, peer: Peer, _now: float) -> None:
        """A node has a session here."""
        self.table.forget_hearsay(peer.node_id)

    def handle_left(self, peer: Peer, _now: float) -> None:
        """A node no longer has a session here."""
        self.table.forget_next_hop(peer.node_id)
        if peer.purse.proved and peer.info is not None:
            self._met.put(peer.node_id, told_name(peer.info.name), address=peer.address)

    def learn_listed(
        self,
        peer: Peer,
        entries: tuple[PeerInfo, ...],
        now: float,
        evidence: Evidence,
    ) -> None:
        """A peer lists others: they are reached through it, if it forwards.

        Args:
            peer: The peer that lists them.
            entries: The listed nodes.
            now: The time, seconds.
            evidence: How well the list is supported.
        """
        if not peer.forwards or not (peer.purse.proved or peer.is_joined_server):
            return
        for entry in entries:
            if self._state.peers.authenticated(entry.id) is None:
                name = told_name(entry.name)
                if evidence < Evidence.VOUCHED:
                    name = self._met.get(entry.id) or name
                self.table.learn(
                    entry.id,
                    peer.node_id,
                    2,
                    now,
                    bounded_capabilities(entry.capabilities),
                    name,
                    evidence=evidence,
                    listed_at=entry.addr[:MAX_ADDRESS_TEXT],
                    address=told_from(peer, peer.address),
                )

    def note_answer(self, writer: Writer, now: float) -> None:
        """Only nodes that saw what was sent to the writer can know what came back: so this is a
        route to it."""
        hop = writer.origin
        if writer.is_second_hand and self._state.peers.authenticated(writer.node_id) is None:
            distance, evidence = writer.hops + 1, Evidence.ANSWERED
            by = told_from(hop.peer, hop.address)
            self.table.learn(
                writer.node_id, hop.node_id, distance, now, evidence=evidence, address=by
            )

    def forget_unlisted(self, peer: Peer, left: tuple[str, ...], _now: float) -> None:
        """A peer reports nodes that have left: they are no longer reached through it."""
        for node_id in left:
            self.table.forget(node_id, peer.node_id)

    def entries(self, now: float) -> Iterator[RouteEntry]:
        """All routes: to the peers themselves, to nodes elsewhere, and to nodes behind peers."""
        for node_id in [peer.node_id for peer in self._state.peers if peer.is_authenticated]:
            yield RouteEntry(node_id, node_id, 1)
        for foreign in self._state.elsewhere.nodes():
            if self._state.peers.authenticated(foreign.node_id) is None:
                yield RouteEntry(foreign.node_id, foreign.server_id, 2)
        for destination, route in list(self.table.items(now)):
            if self._state.find(destination) is None:
                yield RouteEntry(destination, route.next_hop, route.distance)

    def _session_with(self, node_id: str, now: float) -> Peer | None:
        """The node as a peer; None if that may be a mere claim, and a server knows better."""
        peer = self._state.peers.authenticated(node_id)
        # The usual case: it has proved its address, and is no claim.
        if peer is None or peer.purse.proved or not peer.is_claim:
            return peer
        route = self.table.peek(node_id, now)
        return peer if route is None or route.evidence is Evidence.HEARSAY else None

    def capabilities_of(self, node_id: str, now: float) -> tuple[str, ...] | None:
        """What a node announced; None if unknown."""
        peer = self._session_with(node_id, now)
        if peer is not None:
            return tuple(peer.facts.capabilities)
        route = self.table.lookup(node_id, now)
        return (route.capabilities or None) if route is not None else None

    def listed_address(self, node_id: str, now: float) -> Address | None:
        """Where a peer lists a node; None if none does."""
        route = self.table.peek(node_id, now)
        return parse_ip_address(route.listed_at) if route is not None else None

    def is_deaf(self, node_id: str, now: float) -> bool:
        """Whether a node is known not to answer inside routed messages."""
        capabilities = self.capabilities_of(node_id, now)
        return capabilities is not None and Capability.ROUTING not in capabilities

    def introducer_of(self, node_id: str, now: float) -> Peer | None:
        """The joined server to ask for a node's address: the one on the route to it, or the best; a
        silent one only if all are."""
        servers = self._state.peers.best_servers(now)
        route = self.table.lookup(node_id, now)
        instead_of = self._state.peers.cluster.instead_of
        on_the_way = [s for s in servers if route and s.node_id == route.next_hop]
        candidates = [instead_of(server, now) for server in on_the_way] + servers
        return min(candidates, key=lambda server: server.is_silent(now), default=None)

    def has_unnamed(self, peer: Peer, now: float) -> bool:
        """Whether some nodes known to be behind a peer have no known name."""
        return any(
            not route.name and route.next_hop == peer.node_id and route.distance == 2
            for _, route in self.table.items(now)
        )

    def handle(self, origin: Origin, routed: ReceivedRoutedPayload, now: float) -> bool:
        """A routed message came: deliver it here, forward it, or drop it.

        Returns:
            False if it was neither delivered nor forwarded; its writer was told so, if that is the
            peer that it came from.
        """
        counters = self._state.counters
        destination = canonical_id(routed.destination_node)
        own_id = self._state.identity.id
        if destination is None or routed.hop_count > routed.max_hops:
            counters.drop("routed_invalid")
            self._object(
                origin, routed, "a routed message that names no node, or has no hops left", now
            )
            return False
        writer = self.sources.writer(origin, _source(origin, routed), routed.hop_count, now)
        if writer is None:
            counters.drop("routed_false_source")
            return False
        if destination != own_id and origin.peer is None:
            # An introduced address may be heard; nothing is forwarded for it.
            counters.drop("routed_unauthenticated")
            return False
        source = writer.node_id
        if not self.seen.is_first(source, routed.route_id, origin.address, now):
            counters.drop("routed_seen")
            return True
        is_second_hand = writer.hops > 0 and writer.is_second_hand
        if is_second_hand and self._state.peers.authenticated(source) is None:
            hops, evidence = writer.hops + 1, writer.evidence
            # Hearsay comes from peers other than the servers that this node chose.
            by = origin.address if evidence is Evidence.HEARSAY else None
            self.table.learn(source, origin.node_id, hops, now, evidence=evidence, address=by)
        if destination != own_id:
            if self._forward(origin, source, destination, routed, now):
                return True
            # It is not acknowledged, and may come again.
            self.seen.forget(source, routed.route_id)
            return False
        if self.on_arrived is None or self.on_arrived(writer, routed.original_message, now):
            return True
        self.seen.forget(source, routed.route_id)
        self._object(origin, routed, "the message inside is none that a node takes", now)
        return False

    def _object(
        self, origin: Origin, routed: ReceivedRoutedPayload, words: str, now: float
    ) -> None:
        """A message makes no sense: tell its writer, if that is known."""
        if origin.peer is None or routed.hop_count:
            return
        error = ErrorPayload(
            f"bad payload of Data: {words}", ErrorCode.BAD_PAYLOAD, route_id=routed.route_id
        )
        self._delivery.send(origin.peer, MessageType.ERROR, encode_payload(error), now)

    def _forward(
        self,
        origin: Origin,
        source: str,
        destination: str,
        routed: ReceivedRoutedPayload,
        now: float,
    ) -> bool:
        hops = routed.hop_count + 1
        if hops > min(routed.max_hops, MAX_HOPS):
            self._state.counters.drop("routed_hops_exceeded")
            return False
        onward = RoutedPayload(
            routed.original_message, source, destination, hops, routed.max_hops, routed.route_id
        )
        writer = origin.peer if routed.hop_count == 0 else None
        far = self._far_hop(destination, now)
        if far is not None and origin.peer is not None:
            refusal = self._hand(far, origin.peer, onward, now, is_writer=writer is not None)
        else:
            onto = self.next_hops(destination, now, {origin.node_id, source})
            refusal = self._dispatch(onward, onto, now, writer)
        if refusal is None:
            self._state.counters.forwarded += 1
            return True
        self._state.counters.drop(f"routed_{refusal.code}")
        if writer is None:
            return True
        # It may come again, and find a route then.
        self.seen.forget(source, routed.route_id)
        self.refuse(writer, destination, routed.route_id, refusal, now)
        return False

    def _far_hop(self, destination: str, now: float) -> Foreign | None:
        """The node elsewhere that a message goes to next: its destination, or one that leads
        there."""
        node = self._state.find(destination)
        if node is None and (route := self.table.lookup(destination, now)) is not None:
            node = self._state.find(route.next_hop)
        return node if isinstance(node, Foreign) else None

    def _hand(
        self, target: Foreign, by: Peer, onward: RoutedPayload, now: float, *, is_writer: bool
    ) -> Refusal | None:
        """Hand a message to its node's server; returns why that failed."""
        body, kind = bytes(encode_payload(onward)), Handing.ROUTED
        ref = onward.route_id if is_writer else ""
        if self._state.elsewhere.hand(target, by, kind, body, ref, now):
            return None
        words = f"message for node {target.node_id}: too much waits for its server; try again later"
        return Refusal(ErrorCode.NO_ROOM, words)

    def refuse(
        self, writer: Peer, destination: str, route_id: str, refusal: Refusal, now: float
    ) -> None:
        """Tell the writer of a message for a node that it goes no further."""
        error = ErrorPayload(refusal.text, refusal.code, target=destination, route_id=route_id)
        self._delivery.send(writer, MessageType.ERROR, encode_payload(error), now)

    def _handle_lost(
        self, writer: Peer, destination: str, route_id: str, held_for: Peer, why: str, now: float
    ) -> None:
        """A message was held for a peer that has left before it could be sent."""
        self._state.counters.drop("routed_lost")
        current = self._state.peers.authenticated(writer.node_id)
        if current is None:
            return
        where = f"node {destination}"
        if held_for.node_id != destination:
            where = f"{where} through node {held_for.node_id}"
        text = f"a message for {where} waited, and was not sent: {why}"
        self.refuse(current, destination, route_id, Refusal(ErrorCode.NO_ROUTE, text), now)

    def wrap(self, destination: str, message: bytes, max_hops: int) -> RoutedPayload:
        """Put this node's own message into the routed form, with a `route_id` of its own."""
        own_id, route_id = self._state.identity.id, self._state.ids.uuid()
        return RoutedPayload(Raw(message), own_id, destination, 0, max_hops, route_id)

    def originate(
        self, routed: RoutedPayload, now: float, hops: list[Peer] | None = None
    ) -> Refusal | None:
        """Send this node's own message, wrapped, towards another node; returns why that failed.

        Args:
            routed: The message.
            now: The time, seconds.
            hops: The peers to hand it to, if they are already known.
        """
        hops = self.next_hops(routed.destination_node, now) if hops is None else hops
        return self._dispatch(routed, hops, now)

    def _dispatch(
        self, routed: RoutedPayload, hops: list[Peer], now: float, writer: Peer | None = None
    ) -> Refusal | None:
        payload = encode_payload(routed)
        destination = routed.destination_node
        refusal, sent = None, False
        for peer in hops:
            on_lost = None
            # It waits only for its writer. The callback does not hold the message, which may be
            # long.
            if writer is not None and self._delivery.waits_for(peer):
                on_lost = partial(self._handle_lost, writer, destination, routed.route_id, peer)
            problem = self.hand_on(peer, payload, on_lost, now)
            if problem is None:
                sent = True
            else:
                refusal = Refusal(problem.code, f"message for node {destination}: {problem.text}")
        if sent:
            return None
        return refusal or Refusal(ErrorCode.NO_ROUTE, f"no route to node {destination}")

    def hand_on(
        self, peer: Peer, payload: Raw, on_lost: OnLost | None, now: float
    ) -> Refusal | None:
        """Send a routed message to a peer; returns why that failed."""
        try:
            if self._delivery.send_once(peer, MessageType.DATA, payload, now, on_lost=on_lost):
                return None
        except MessageTooLargeError as error:
            self._state.counters.drop("message_too_large")
            return Refusal(ErrorCode.TOO_LARGE, str(error))
        except QueueFullError as full:
            self._state.counters.drop("queue_full")
            return Refusal(ErrorCode.NO_ROOM, str(full))
        return Refusal(ErrorCode.NO_ROOM, why_not_kept(peer, len(bytes(payload)), now))

    def _has_other(self, silent: Peer, now: float) -> bool:
        """Whether there is a live server besides one that has fallen silent."""
        return any(
            peer is not silent and not peer.is_silent(now)
            for peer in self._state.peers.joined_servers
        )

    def next_hops(
        self, destination: str, now: float, avoid: Collection[str] = frozenset()
    ) -> list[Peer]:
        """The peers to hand a message to: the one on its route, or a few that route.

        Args:
            destination: The id of the node that it is for.
            now: The time, seconds.
            avoid: Ids of nodes that have it already.
        """
        peers = self._state.peers
        direct = self._session_with(destination, now)
        if direct is not None:
            return [direct]
        route = self.table.lookup(destination, now)
        if route is not None and route.next_hop not in avoid:
            peer = peers.authenticated(route.next_hop)
            if peer is not None and not (peer.is_silent(now) and self._has_other(peer, now)):
                return [peer]
        options = self._state.config.routing
        if self._flood is None:
            self._flood = TokenBucket(options.flood_rate, now)
        if not self._flood.take(now):
            self._state.counters.drop("flood_limited")
            return []
        candidates = [
            peer
            for peer in islice(peers.recent(), FLOOD_CANDIDATES)
            if peer.is_routing
            and peer.purse.proved
            and peer.node_id not in avoid
            and not peer.is_silent(now)
        ]
        if len(candidates) > options.flood_fanout:
            return self._state.rng.sample(candidates, options.flood_fanout)
        return candidates
