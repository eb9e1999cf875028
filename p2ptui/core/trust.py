"""What the sender of a message must have proved before the message is obeyed, and how."""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final

from p2ptui.core.peers import Peer
from p2ptui.wire.message import Capability


class Trust(enum.Enum):
    """What a sender has proved. Only the table of messages asks for it."""

    STRANGER = "stranger"
    """Nothing: an address is all that is known of it, and may be forged."""
    CLAIMED = "claimed"
    """It has a session, which a forged handshake may have begun."""
    PROVED = "proved"
    """Its address is proved: it has returned what was sent there."""
    VOUCHED = "vouched"
    """It names a handshake message that this node sent: only its receiver can know that."""
    JOINED_SERVER = "joined server"
    """It is a server whose session this node itself asked for."""


def voucher(peer: Peer) -> str | None:
    """What a list for a peer names, so that it can tell it from a forged one: as `ack_for`, since
    some lists are bare arrays. None for programs that would not understand it."""
    is_ours = Capability.PEER_UPDATES in peer.facts.capabilities
    return peer.handshake_heard or None if is_ours else None


def vouches(peer: Peer, handshake: object) -> bool:
    """Whether an id is that of a handshake message sent to a peer in its session."""
    return handshake in peer.handshake_said


def whoever(_peer: Peer, _content: Any) -> bool:
    """Nothing is required but a sender, or its session."""
    return True


TRUSTS: Final[Mapping[Trust, Callable[[Peer, Any], bool]]] = {
    Trust.STRANGER: whoever,
    Trust.CLAIMED: whoever,
    Trust.PROVED: lambda peer, _content: peer.purse.proved,
    Trust.VOUCHED: lambda peer, content: vouches(peer, content.handshake),
    Trust.JOINED_SERVER: lambda peer, _content: peer.is_joined_server,
}
"""Whether a sender has proved it, given the session that the message came in and its decoded
payload, with `handshake` if it is to vouch."""

_NUMBERED: Final = frozenset({Capability.RETRANSMIT, Capability.FRAGMENTS})


def proves_at_once(peer: Peer) -> bool:
    """Whether a peer answers a Ping with something that only its receiver can know."""
    return not _NUMBERED.isdisjoint(peer.facts.capabilities)
