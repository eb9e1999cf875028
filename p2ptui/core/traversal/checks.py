"""Connectivity checks on the wire: STUN Binding requests that both sides authenticate.

RFC 8445, section 7, and RFC 8489, section 9.1 (short-term credentials): the username of a request
joins the two sides' fragments, and its key is the password of the receiving side.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.core.accounts import Account, Reason
from p2ptui.core.gate import Gate
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer
from p2ptui.wire.stun import (
    TRANSACTION_ID_BYTES,
    MessageClass,
    StunError,
    StunMessage,
    decode,
    encode,
)
from p2ptui.wire.stun_integrity import short_term_key, verify_integrity

USE_CANDIDATE: Final = 0x0025
"""RFC 8445, section 16.1: the controlling side has chosen this pair."""


@dataclass(frozen=True, slots=True)
class CheckMessage:
    """A datagram that may belong to a traversal."""

    message: StunMessage
    data: bytes

    @property
    def ufrag(self) -> str | None:
        """The receiver of a request: the first half of its username."""
        name = self.message.username
        return None if name is None else name.partition(":")[0]

    @property
    def sender(self) -> str:
        """The sender of a request: the second half of its username."""
        return (self.message.username or "").partition(":")[2]

    @property
    def nominates(self) -> bool:
        """Whether the check says that this pair was chosen."""
        return any(kind == USE_CANDIDATE for kind, _ in self.message.others)

    def is_authentic(self, password: str) -> bool:
        """Whether its maker knows this password."""
        return verify_integrity(self.data, short_term_key(password))


def read_check(data: bytes) -> CheckMessage | None:
    """Read a datagram that begins like STUN; None if it is malformed, or no part of a traversal."""
    try:
        message = decode(data)
    except StunError:
        return None
    is_request = message.message_class is MessageClass.REQUEST
    if message.classic or (is_request and message.username is None):
        return None
    return CheckMessage(message, data)


def build_check(
    transaction_id: bytes, own: TraversalOffer, other: TraversalOffer, *, nominate: bool
) -> bytes:
    """A request to the other side."""
    request = StunMessage(
        message_class=MessageClass.REQUEST,
        transaction_id=transaction_id,
        username=f"{other.ufrag}:{own.ufrag}",
        others=((USE_CANDIDATE, b""),) if nominate else (),
        fingerprint=True,
    )
    return encode(request, integrity_key=short_term_key(other.password))


def affordable_checks(own: TraversalOffer, other: TraversalOffer | None, size_bytes: int) -> int:
    """How many requests fit in this many bytes, in case all of them go to somebody who asked for
    none.

    Args:
        own: This side's offer.
        other: The other side's.
        size_bytes: Bytes that may be sent.
    """
    if other is None:
        return 0
    longest = build_check(bytes(TRANSACTION_ID_BYTES), own, other, nominate=True)
    return max(size_bytes, 0) // len(longest)


def build_answer(request: CheckMessage, source: Address, own: TraversalOffer) -> bytes:
    """The answer to an authentic request: where it was seen to come from."""
    answer = StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=request.message.transaction_id,
        xor_mapped=source,
        fingerprint=True,
    )
    return encode(answer, integrity_key=short_term_key(own.password))


def send_from(
    state: NodeState,
    socket: int,
    data: bytes,
    to: Address,
    ttl: int | None = None,
    account: Account | None = None,
) -> bool:
    """Send from one of the node's sockets; 0 is its own.

    Args:
        state: The shared state.
        socket: The number of the socket.
        data: The datagram.
        to: The destination.
        ttl: Hops that it may travel; None: all.
        account: What pays for it; None: the grant of this node's own search.

    Returns:
        Whether it leaves.
    """
    gate = state.gate
    account = account or gate.grant(Reason.OWN_SEARCH, to, gate.now)
    return gate.send(data, to, account, socket=socket, ttl=ttl)


def account_for(attempt: Attempt, gate: Gate, to: Address, now: float) -> Account | None:
    """What pays for a check of a search: this node's own plan, once there is a sign of the other
    side; until then the other side's offer; None if nothing does."""
    if attempt.is_signed:
        return gate.grant(Reason.OWN_SEARCH, to, now)
    return attempt.exchange.signs.order


def few_checks(attempt: Attempt) -> int:
    """How many checks the other side's offer still pays for, without a sign of that side."""
    order = attempt.exchange.signs.order
    if order is None:
        return 0
    return min(affordable_checks(attempt.offer, attempt.remote, order.size), order.datagrams)
