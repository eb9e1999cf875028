"""One handshake on the asking side: the request, where it was sent, which calls wait for the
answer, and what the answer says."""

import math
from dataclasses import dataclass, field
from typing import Protocol

from p2ptui.core.addresses import address_words, relayed_node, visible_address
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import ConnectResult
from p2ptui.core.identity import RefusedError, accept_node_info, canonical_id, dialect_of
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.sessions.greetings import OUR_EXTENSIONS, request_payload
from p2ptui.core.sessions.hearing import Hearing
from p2ptui.core.sessions.offering import Offer, Shown, make_offer, read_inside
from p2ptui.core.sessions.repetition import RETRY_INTERVAL_S
from p2ptui.core.state import NodeState
from p2ptui.errors import HandshakeError
from p2ptui.wire.address import Address, format_address, parse_ip_address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.frames import Plain
from p2ptui.wire.message import (
    Envelope,
    MessageType,
    NodeInfo,
    ReceivedNodeInfo,
)
from p2ptui.wire.message import ReceivedHandshakeResponse as Response


@dataclass(frozen=True, slots=True)
class Greeting:
    """A request as it is sent; one that goes to several addresses is the same for all."""

    message_id: str
    sequence: int
    data: bytes
    offer: Offer | None = None
    """The key exchange in it."""

    def is_named_by(self, answer: Envelope) -> bool:
        """Whether an answer belongs to it; those of the reference name no request."""
        return answer.ack_for is None or answer.ack_for in (self.sequence, self.message_id)


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded response to a request."""

    response: Response
    info: NodeInfo | None
    """The answering node; None if it cannot be a peer."""
    flaw: str = ""
    """Why it cannot be."""
    dialect: Dialect = Dialect.SPEC
    """Which dialect it speaks."""
    shown: Shown | None = None
    """The keys that prove who answers; None: in the open, unproved."""

    @property
    def public_address(self) -> Address | None:
        """Where this node is, as seen by the answering node."""
        if self.shown is not None:
            return self.shown.public_address
        return seen_address(self.response)


class Contestant(Protocol):
    """Asks several addresses of a node, and takes the first one that answers."""

    def takes(self, address: Address, dialect: Dialect, now: float) -> bool:
        """Whether the answer from an address is accepted now; otherwise it is requested again
        later."""

    def wait_until(self, deadline: float) -> None:
        """A handshake that it has begun or joined ends by this time, seconds."""

    def win(self, address: Address, result: ConnectResult, now: float) -> None:
        """The handshake with an address is complete."""

    def lose(self, address: Address, error: HandshakeError) -> None:
        """The handshake with an address has ended without a session."""


@dataclass(slots=True)
class Asking:
    """A handshake in progress."""

    peer: Peer
    greeting: Greeting
    deadline: float
    node_id: str = ""
    """The id of the node there, if known; empty if the answer will tell."""
    contestants: list[Contestant] = field(default_factory=list)
    is_kept: bool = False
    """Whether it continues without a waiting call: a session is being renewed."""
    why: str = ""
    """What made that necessary."""
    is_paused: bool = False
    """Whether it waits to be made anew, and accepts no answer meanwhile."""
    pause_s: float = RETRY_INTERVAL_S
    """Until the next repetition."""
    tries: int = 0
    hearing: Hearing = field(default_factory=Hearing)
    """Answers that name no request."""
    without_key: bool | None = None
    """Whether the network key is left out of the exchange; None: as before with this peer."""
    refused: str = ""
    """Why the first request was refused, if another one asks with, or without, the key."""
    retries: int = 0
    """How often the other side has asked for a token."""
    is_acked: bool = False
    outcome: str = "failed"
    """The counter for its end without a session."""
    began_at: float = math.inf
    sent_at: float = 0.0


def greet(
    state: NodeState,
    delivery: Delivery,
    peer: Peer,
    now: float,
    greeting: Greeting | None = None,
    *,
    without_key: bool | None = None,
) -> Greeting:
    """The request for a session with a peer, recorded at the peer.

    Args:
        state: The shared state.
        delivery: Builds it.
        peer: The peer that is asked.
        now: The time, seconds.
        greeting: The request sent to the node's other addresses; None for a new one.
        without_key: Whether the network key is left out; None: as before with this peer.
    """
    numbering = peer.channel.numbering
    if greeting is None:
        is_open = state.seals is None or not state.seals.offers_to(peer.sends_to)
        number, continues = numbering.begin(), _continued(peer)
        if without_key is None:
            without_key = came_without_key(peer)
        greeting = write_request(
            state, delivery, number, continues, now, is_open=is_open, without_key=without_key
        )
    else:
        numbering.begin_at(greeting.sequence)
    peer.handshakes.ask(greeting.message_id, greeting.sequence)
    return greeting


def write_request(
    state: NodeState,
    delivery: Delivery,
    sequence: int,
    continues: str,
    now: float,
    *,
    is_open: bool = False,
    without_key: bool = False,
    offer: Offer | None = None,
    retry: str = "",
) -> Greeting:
    """Write a request.

    Args:
        state: The shared state.
        delivery: Builds it.
        sequence: Its number.
        continues: What names the session that continues; empty if none does.
        now: The time, seconds.
        is_open: Whether it offers no key exchange, whatever keys this node has.
        without_key: Whether the network key is left out of the key exchange.
        offer: A key exchange that was begun, and is offered again.
        retry: The token that the other side has asked for.
    """
    if offer is None and state.seals is not None and not is_open:
        offer = make_offer(state.seals, without_key=without_key)
    exchange = "" if offer is None else offer.initiator.placeholder
    message_id, data = delivery.build(
        MessageType.HANDSHAKE_REQUEST,
        request_payload(state.identity, continues, exchange, retry),
        now,
        sequence_number=sequence,
        requires_ack=True,
    )
    if offer is not None:
        data = Plain(offer.initiator.fill(data))
    return Greeting(message_id, sequence, data, offer)


def ask_again(
    state: NodeState, delivery: Delivery, peer: Peer, greeting: Greeting, retry: str, now: float
) -> Greeting:
    """The same request with a token, as the other side has required under load.

    Args:
        state: The shared state.
        delivery: Builds it.
        peer: The peer that is asked.
        greeting: The earlier request.
        retry: The token.
        now: The time, seconds.
    """
    number, continues = peer.channel.numbering.begin(), _continued(peer)
    again = write_request(
        state, delivery, number, continues, now, offer=greeting.offer, retry=retry
    )
    peer.handshakes.ask(again.message_id, again.sequence)
    return again


def read_answer(
    message: Envelope, own: NodeInfo, brought_for: str | None = None, offer: Offer | None = None
) -> Answer | None:
    """Read a response; None if it is malformed.

    Args:
        message: The response.
        own: This node's identity.
        brought_for: The id of the node whose datagrams a server says these are; None: any node.
        offer: The key exchange in the request, if there was one.
    """
    try:
        response = decode_payload(message.payload, Response)
        try:
            if offer is not None and isinstance(response.exchange, str) and response.success:
                shown = read_inside(offer, message, response.exchange, own, brought_for)
                return Answer(response, shown.info, dialect=dialect_of(message), shown=shown)
            received = response.node_info or ReceivedNodeInfo()
            return Answer(
                response,
                accept_node_info(received, own, brought_for),
                dialect=dialect_of(message),
            )
        except RefusedError as error:
            return Answer(response, None, str(error), dialect_of(message))
    except MalformedError:
        return None


def is_false(answer: Answer, message: Envelope) -> bool:
    """Whether an answer that names no request claims to be from a node of ours, which would name
    it."""
    if message.ack_for is not None or answer.dialect is not Dialect.SPEC:
        return False
    received = answer.response.node_info or ReceivedNodeInfo()
    return not OUR_EXTENSIONS.isdisjoint(received.capabilities)


def claimed_id(response: Response) -> str:
    """The id that an answer names, whoever wrote it; empty if it is malformed."""
    info = response.node_info or ReceivedNodeInfo()
    return canonical_id(info.id or info.node_id) or ""


def seen_address(response: Response) -> Address | None:
    """Where this node is, as seen by the answering node."""
    return parse_ip_address(response.public_addr or "")


def _continued(peer: Peer) -> str:
    """What names the session that continues, for a peer that understands it."""
    return peer.handshake_heard if peer.resumes and peer.dialect is Dialect.SPEC else ""


def came_without_key(peer: Peer) -> bool:
    """Whether the keys of a peer's session come from an exchange without the network key."""
    return peer.seal is not None and not peer.seal.by_network_key


def refusal(address: Address, words: str | None) -> str:
    """The result of a call whose handshake was refused."""
    return f"{address_words(address)} refused the handshake: {words or 'no reason given'}"


def taken(owner: Peer) -> str:
    """Why a node that was asked is no peer at that address: it is one elsewhere."""
    how = "by way of the server at" if relayed_node(owner.address) else "at"
    where = format_address(visible_address(owner.address))
    return f"node {owner.node_id} is already connected, {how} {where}"


def result_of(peer: Peer) -> ConnectResult:
    """The result of a call whose session exists."""
    return ConnectResult(peer.node_id, peer.address, peer.public_address)
