"""STUN on the node's sockets: which requests are answered, by which socket or partner node.

To show what a NAT filters, a server needs a second address (RFC 5780, section 3). A node with one
address may have a partner instead: another node that sends the replies which must come from
elsewhere. Each names the other in its configuration.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.config import StunServerOptions
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import StunServed
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.admission import Admission
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.nat.stun_server import (
    Abilities,
    Delegation,
    Place,
    StunServer,
    partner_reply,
    told_address,
)
from p2ptui.wire.address import (
    Address,
    format_address,
    ip_version,
    like,
    own_host,
    parse_ip_address,
)
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, MessageType
from p2ptui.wire.stun_partner import (
    StunDelegatedPayload,
    StunDelegationPayload,
    StunPartnerPayload,
)

PARTNER_REPLIES_PER_SECOND: Final = 1000
"""Most replies sent for a partner: what it forwards could be a flood that it failed to stop."""

PARTNER_REPEAT_S: Final = 30.0
"""How often a partner is told about the STUN sockets: it may have been restarted unnoticed."""

FIRST_REPEAT_S: Final = 2.0
"""Until it is told for the second time, since nothing confirms the first; then each pause is twice
the one before."""

PROOF_LOOK_S: Final = 0.2
"""How often to check whether a partner has proved that it receives at its address."""

_OWN_PLACES: Final = {
    "primary": Place.PRIMARY,
    "alternate_port": Place.ALTERNATE_PORT,
}
"""The sockets of a node with one address, by their name on the wire."""

_ANSWERED: Final = {place: f"answered from {place.name.lower()}" for place in Place}

_NAMES: Final = {place: name for name, place in _OWN_PLACES.items()}


class StunService:
    """Answers STUN requests on every socket.

    Args:
        state: The shared state.
        delivery: Sends messages to the partner.
        lifecycle: Reports when the partner comes and goes.
        admission: The limits for strangers.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, admission: Admission
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._admission = admission
        self._server: StunServer | None = None
        self._ports: dict[Place, int] = {}
        self._partner_addresses: tuple[Address, ...] = ()
        # Which of the partner's sockets stands for which of this server's places.
        self._partner_places: dict[Place, Place] = {}
        self._told_by: Peer | None = None
        """The session that named those sockets: they are dropped with it, not with an older one."""
        self._early: tuple[Peer, StunPartnerPayload] | None = None
        """Messages that came before the proof of the address."""
        self._greeting: Timer | None = None
        self._in_work: BoundedTable[bytes, float] = state.tables.add(
            "stun_in_work",
            BoundedTable(
                lambda: self._options.max_concurrent_requests,
                refuses=True,
                full="stun_busy",
                shares=state.tables.shares,
                lifetime_s=lambda: self._options.timeout_ms / 1000,
                expired="stun_partner_silent",
            ),
        )
        lifecycle.on_joined.append(self._greet)
        lifecycle.on_left.append(self._part)

    def __len__(self) -> int:
        return len(self._in_work)

    @property
    def _options(self) -> StunServerOptions:
        return self._state.config.stun_server

    @property
    def is_open(self) -> bool:
        """Whether STUN is served at all."""
        return self._server is not None

    def open(
        self, places: Mapping[Place, Address], partner: Address | None, *others: Address
    ) -> None:
        """Begin to serve.

        Args:
            places: The sockets that exist, each with its address; if the host is a wildcard,
                clients are told the address that they asked.
            partner: The address of the partner node, if one is configured.
            others: Its further addresses, if its name has several: any of them identifies it.
        """
        self._ports = {place: address[1] for place, address in places.items()}
        self._server = StunServer(Abilities(places, software=self._options.software))
        self._partner_addresses = () if partner is None else (partner, *others)
        # It may have come while its name was looked up.
        for peer in map(self._state.peers.at, self._partner_addresses):
            if peer is not None and self.is_named(peer):
                self._state.timers.schedule(0.0, partial(self._greet, peer))

    def receive(self, data: bytes, source: Address, place: Place, now: float) -> None:
        """Take a datagram that begins like STUN; never raises, whatever it holds.

        Args:
            data: Its bytes.
            source: Where it came from.
            place: The socket that it came to.
            now: The time, seconds.
        """
        state = self._state
        if place is not Place.OWN:
            state.counters.datagrams_in += 1
            state.counters.bytes_in += len(data)
        if state.closing:
            state.counters.drop("closing")
            return
        self.answer(data, source, place, state.peers.at(source), now)

    def answer(
        self, data: bytes, source: Address, place: Place, peer: Peer | None, now: float
    ) -> None:
        """The same for a datagram that has been counted and whose sender is known.

        Args:
            data: Its bytes.
            source: Where it came from.
            place: The socket that it came to.
            peer: The peer at that address, if any.
            now: The time, seconds.
        """
        counters = self._state.counters
        if self._server is None:
            counters.drops["stun_disabled"] += 1
            return
        if peer is None and not self._admission.admits(source, now):
            counters.drop("rate_limited")
            return
        reply, to, leaves_by = self._server.answer_plainly(data, source, place), source, place
        if reply is None:
            answer = self._server.answer_in_full(data, source, place)
            if answer is None:
                counters.drop("stun_unanswered")
                return
            if isinstance(answer, Delegation):
                if self._delegate(answer, now):
                    self._note(source, place, "handed to the partner")
                return
            reply, to, leaves_by = answer
        if self._state.gate.answer_stun(leaves_by, reply, to, len(data)):
            counters.stun_replies += 1
            self._note(source, place, _ANSWERED[leaves_by])

    def _note(self, source: Address, place: Place, outcome: str) -> None:
        if self._state.config.stun_server.verbose_logging:
            self._state.emit(StunServed(source, place.name.lower(), outcome))

    # The side that asks its partner.

    def _delegate(self, delegation: Delegation, now: float) -> bool:
        """Have the partner send a reply; returns whether it was asked to."""
        peer = self._partner()
        if peer is None:
            self._state.counters.drop("stun_partner_gone")
            return False
        self._in_work.expire(now)
        if not self._in_work.put(delegation.transaction_id, now, now, address=delegation.client):
            return False
        other = delegation.other_address
        payload = StunDelegationPayload(
            transaction_id=delegation.transaction_id.hex(),
            client=format_address(delegation.client),
            to_port=delegation.to[1],
            place=_NAMES[self._partner_places[delegation.place]],
            other_address=None if other is None else format_address(other),
            fingerprint=delegation.fingerprint,
        )
        return self._delivery.send(peer, MessageType.STUN_DELEGATION, encode_payload(payload), now)

    def handle_delegated(self, _peer: Peer, payload: StunDelegatedPayload, _now: float) -> None:
        """The partner has sent a reply."""
        try:
            transaction_id = bytes.fromhex(payload.transaction_id)
        except ValueError:
            transaction_id = b""
        if self._in_work.pop(transaction_id, None) is None:
            self._state.counters.drop("stun_delegated_unasked")

    def handle_partner(self, peer: Peer, payload: StunPartnerPayload, _now: float) -> None:
        """The partner names its STUN sockets. Its two ports stand for this server's two; others
        cannot."""
        if self._server is not None:
            self._take_places(self._server, peer, payload)

    def keep_partner(self, peer: Peer, payload: StunPartnerPayload, _now: float) -> None:
        """The same, before it has proved its address: it is believed once it has."""
        self._early = peer, payload

    def _take_places(self, server: StunServer, peer: Peer, payload: StunPartnerPayload) -> None:
        host = peer.address[0]
        places: dict[Place, Address | None] = {}
        self._partner_places = {}
        for place, theirs, port in (
            (Place.ALTERNATE_ADDRESS, Place.PRIMARY, payload.primary),
            (Place.ALTERNATE_BOTH, Place.ALTERNATE_PORT, payload.alternate_port),
        ):
            # A change of the address alone must keep the port, and a change of both must not
            # (RFC 5780, section 7.2).
            kept = port == self._ports.get(Place.PRIMARY)
            if port is not None and kept is (place is Place.ALTERNATE_ADDRESS):
                places[place] = (host, port)
                self._partner_places[place] = theirs
        server.abilities = replace(server.abilities, partner=places)
        self._told_by = peer

    def is_named(self, peer: Peer, _content: object = None) -> bool:
        """Whether a session is with the configured partner, as far as its address says so."""
        is_named = peer.address in self._partner_addresses
        return is_named and self._server is not None and peer.is_authenticated

    def _is_partner(self, peer: Peer) -> bool:
        return peer.proved and self.is_named(peer)

    def _partner(self) -> Peer | None:
        peers = map(self._state.peers.at, self._partner_addresses)
        return next((peer for peer in peers if peer is not None and self._is_partner(peer)), None)

    def _greet(self, peer: Peer, now: float, pause_s: float = FIRST_REPEAT_S) -> None:
        if self._server is None or not self.is_named(peer):
            return
        if self._greeting is not None:
            self._greeting.cancel()
        wait_s = pause_s if peer.proved else PROOF_LOOK_S
        next_s = min(2 * pause_s, PARTNER_REPEAT_S) if peer.proved else pause_s
        self._greeting = self._state.timers.schedule(
            now + wait_s, lambda at: self._greet_again(peer, at, next_s)
        )
        if not peer.proved:
            self._delivery.challenge(peer, now)
            return
        if self._early is not None and self._early[0] is peer:
            self._take_places(self._server, *self._early)
        self._early = None
        if Capability.STUN not in peer.capabilities:
            self._state.counters.drop("stun_partner_unable")
            return
        ports = self._ports
        payload = StunPartnerPayload(ports.get(Place.PRIMARY), ports.get(Place.ALTERNATE_PORT))
        self._delivery.send(peer, MessageType.STUN_PARTNER, encode_payload(payload), now)

    def _greet_again(self, peer: Peer, now: float, pause_s: float) -> None:
        self._greeting = None
        if self._state.peers.at(peer.address) is peer:
            self._greet(peer, now, pause_s)

    def _part(self, peer: Peer, _now: float) -> None:
        if self._early is not None and self._early[0] is peer:
            self._early = None
        if self._server is not None and self._told_by is peer:
            self._told_by = None
            self._server.abilities = replace(self._server.abilities, partner={})

    # The side that sends for its partner.

    def handle_delegation(self, peer: Peer, payload: StunDelegationPayload, now: float) -> None:
        """The partner asks for a reply to one of its clients."""
        drop = self._state.counters.drop
        place = _OWN_PLACES.get(payload.place)
        places = {} if self._server is None else self._server.abilities.places
        client = parse_ip_address(payload.client)
        if client is None or place is None or place not in places:
            drop("stun_delegation_refused")
            return
        # The partner tells its clients the address by which it knows this node.
        to = like(peer.address, client[0], payload.to_port)
        if ip_version(client[0]) != ip_version(own_host(to) or client[0]):
            to = client[0], payload.to_port
        try:
            data = partner_reply(
                bytes.fromhex(payload.transaction_id),
                client,
                origin=told_address(places[place], to),
                other_address=parse_ip_address(payload.other_address or ""),
                fingerprint=payload.fingerprint,
            )
        except ValueError:  # and StunError, which is one
            drop("stun_delegation_refused")
            return
        account = self._state.gate.grant(Reason.PROBE_FOR_PEER, to, now)
        if self._state.gate.reply(place, data, to, account):
            self._state.counters.stun_replies += 1
        answer = StunDelegatedPayload(payload.transaction_id)
        self._delivery.send(peer, MessageType.STUN_DELEGATED, encode_payload(answer), now)
