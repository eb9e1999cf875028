"""The asking side of the key exchange: offered in the request, read from the answer."""

from dataclasses import dataclass
from typing import Final

from p2ptui.core.identity import accept_node_info
from p2ptui.core.peers.seal import Claims, Proof, claims_of
from p2ptui.core.sealing import Seals
from p2ptui.secure import Finished, Initiator, SecureError, Transport
from p2ptui.secure.frames import Message3, encode_message_3
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.address import Address, parse_ip_address
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.exchange import (
    Account,
    InFinish,
    account_of,
    as_received,
    decode_answer,
    encode_inside,
)
from p2ptui.wire.message import Envelope, NodeInfo

MAX_READ: Final = 64
"""Answers to one request that are read: each costs a key exchange, and all but one are forged."""


@dataclass(slots=True, eq=False)
class Offer:
    """A key exchange that this node has begun, in one request."""

    initiator: Initiator
    number: int
    """The number of the session, for frames to this node."""
    read: int = 0

    @property
    def by_network_key(self) -> bool:
        """Whether the exchange requires the network key."""
        return self.initiator.by_network_key


@dataclass(frozen=True, slots=True)
class Shown:
    """The content of an answer, and whose it is."""

    keys: PublicKeys
    info: NodeInfo
    public_address: Address | None
    """Where this node is, as seen by the answering node."""
    claims: Claims
    refusal: bytes
    """What a refusal of message 3 would name."""
    is_choosy: bool = False
    """Whether admission depends on which node this is."""


def make_offer(seals: Seals, *, without_key: bool = False) -> Offer:
    """Begin a key exchange; with the network key if there is one, unless told otherwise."""
    keys, number = seals.keys, seals.new_number()
    psk = None if without_key else keys.psk
    return Offer(Initiator(seals.static, number=number, psk=psk), number)


def read_inside(
    offer: Offer, message: Envelope, text: str, own: NodeInfo, brought_for: str | None
) -> Shown:
    """Read the content of an answer.

    Args:
        offer: The offer that it answers.
        message: The response.
        text: Message 2 in it.
        own: This node's identity.
        brought_for: The id of the node whose datagrams a server says these are; None for any.

    Raises:
        MalformedError: It is cut short, altered, or answers another request.
        RefusedError: The answering node cannot be a peer.
    """
    if offer.read >= MAX_READ:
        raise MalformedError("too many answers to one key exchange")
    offer.read += 1
    try:
        answer = offer.initiator.read_answer(text)
    except SecureError as error:
        raise MalformedError(str(error)) from None
    inside = decode_answer(answer.payload)
    if (inside.response_id, inside.sequence) != (message.id, message.sequence_number):
        raise MalformedError("the outside of an answer was altered")
    keys = PublicKeys(answer.remote_static, inside.account.ed_public)
    info = accept_node_info(as_received(inside.account, keys.id, own.network_id), own, brought_for)
    public_address = parse_ip_address(inside.public_addr or "")
    return Shown(
        keys, info, public_address, claims_of(inside.account), inside.refusal, inside.is_choosy
    )


def proof_of(
    transport: Transport, keys: PublicKeys, account: Account, *, by_network_key: bool
) -> Proof:
    """What a node has proved by completing a key exchange.

    Args:
        transport: The result of the exchange.
        keys: Its keys.
        account: What it says about itself.
        by_network_key: Whether the exchange required the network key.
    """
    return Proof(transport, keys, claims_of(account), by_network_key)


def own_account(own: NodeInfo, seals: Seals, now_wall: float) -> Account:
    """What this node says about itself inside the exchange.

    Args:
        own: This node's identity.
        seals: Its keys, and what it made when it started.
        now_wall: Unix time, seconds.
    """
    keys = seals.keys
    ephemeral = keys.ephemeral
    statement = keys.statement(now_wall) if ephemeral else b""
    ed_public = keys.identity.ed_public
    return account_of(own, ed_public, ephemeral=ephemeral, statement=statement, boot=seals.boot)


def finish(offer: Offer, shown: Shown, account: Account, now: float) -> tuple[Proof, bytes] | None:
    """Tell the answering node who this node is; None if another answer was read since.

    Args:
        offer: The offer that was answered.
        shown: The answer.
        account: This node's account.
        now: The time, seconds.

    Returns:
        The keys of the session, and the frame with message 3.
    """
    last = last_message(offer.initiator, account, now)
    if last is None or last[0].remote_static != shown.keys.x_public:
        return None
    transport, frame = last[0].transport, last[1]
    return Proof(transport, shown.keys, shown.claims, offer.by_network_key), frame


def last_message(
    initiator: Initiator, account: Account, now: float
) -> tuple[Finished, bytes] | None:
    """Tell the node whose answer was read last who this node is; None if none was read.

    Args:
        initiator: The exchange, which ends with this.
        account: Who this node is.
        now: The time, seconds.

    Returns:
        The result of the exchange, and the frame with message 3.
    """
    try:
        finished = initiator.finish(encode_inside(InFinish(account)), now)
    except SecureError:
        return None
    number = finished.transport.remote_number
    return finished, encode_message_3(Message3(number, finished.message_3))
