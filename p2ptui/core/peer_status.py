"""The status of a peer, and the event that reports its changes."""

import enum
from dataclasses import dataclass
from typing import Final

from p2ptui.wire.address import Address


class PeerStatus(enum.Enum):
    """The status of a peer, as seen from here."""

    CONNECTING = "connecting"
    """It was requested; nothing has been sent yet."""
    HANDSHAKING = "handshaking"
    """A HandshakeRequest was sent."""
    AUTHENTICATED = "authenticated"
    """The handshake is complete; messages can be sent."""
    DISCONNECTED = "disconnected"
    """It left, was replaced, or was silent for `connection_timeout`."""
    FAILED = "failed"
    """The handshake was refused or never answered."""

    # Members are compared by identity; the hash of an Enum is that of its name, at a call each.
    __hash__ = object.__hash__


REACHED_AT: Final = "it was reached at "
GOES_ON_AT: Final = "it goes on at "
"""How the reason of such an end begins; the address follows."""


@dataclass(slots=True, init=False, unsafe_hash=True)
class PeerStatusChanged:
    """The status of a peer has changed."""

    node_id: Final[str | None]
    """The peer; None for an address that has not yet answered the handshake."""
    address: Final[Address]
    """Where it is."""
    name: Final[str]
    """Its own name: remote text."""
    status: Final[PeerStatus]
    """The new status."""
    previous: Final[PeerStatus | None]
    """The status before; None for a peer that has just appeared."""
    reason: Final[str | None]
    """Why, in one line; may contain remote text."""
    trust: Final[str | None]
    """When its session begins, how far its identity is known; see `PeerView.trust`."""
    is_claim: Final[bool]
    """Whether this node did not ask for the session, and its address has proved nothing: whoever
    began it may have forged the address."""

    # Written out, like every class instantiated for each newcomer: see docs/compiling.md.
    def __init__(
        self,
        node_id: str | None,
        address: Address,
        name: str,
        status: PeerStatus,
        previous: PeerStatus | None,
        reason: str | None = None,
        trust: str | None = None,
        is_claim: bool = False,
    ) -> None:
        self.node_id = node_id
        self.address = address
        self.name = name
        self.status = status
        self.previous = previous
        self.reason = reason
        self.trust = trust
        self.is_claim = is_claim

    @property
    def is_expected(self) -> bool:
        """Whether this end can be ignored, since the node is reached at another address."""
        return (self.reason or "").startswith((REACHED_AT, GOES_ON_AT))

    def judged(self, trust: str) -> "PeerStatusChanged":
        """A copy that also says how far its identity is known."""
        return PeerStatusChanged(
            self.node_id,
            self.address,
            self.name,
            self.status,
            self.previous,
            self.reason,
            trust,
            self.is_claim,
        )
