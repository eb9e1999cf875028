"""Records of relaying: parcels, refusals, and the report of a server."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

from p2ptui.core.peers import Foreign, NotHanded, Peer


class Refusal(enum.Enum):
    """Why something was not relayed; the value is its code on the wire and its counter."""

    DISABLED = "disabled"
    DENIED = "denied"
    UNKNOWN = "unknown"
    """The target is no peer of the server."""
    INCAPABLE = "incapable"
    """The target, or the client, does not support this form."""
    CHAINED = "chained"
    """One side is itself reached through a relay or a found path."""
    UNPROVED = "unproved"
    """One side has not proved yet that it receives at its address."""
    RELAYS = "relays"
    """`max_concurrent_relays` are open."""
    RATE = "rate"
    """Over `max_relay_rate_per_client`, and `buffer_size` is full."""
    UNSENDABLE = "unsendable"
    """Too much is queued for the target, or it accepts nothing this large."""
    GONE = "gone"
    """The client left while its datagrams waited."""


TRANSIENT: Final = frozenset({Refusal.UNPROVED, Refusal.RATE, Refusal.UNSENDABLE})
"""Refusals after which the same datagram may pass in a moment: retrying is worthwhile."""


class Refused(NamedTuple):
    """A refusal, and the text for the client."""

    kind: Refusal
    text: str


def refusal_of(why: NotHanded, target_id: str) -> Refused:
    """What the client is told when another server could not deliver something to its node.

    Args:
        why: The outcome that the other server reported.
        target_id: The id of the target.
    """
    if why in (NotHanded.UNKNOWN, NotHanded.SERVER_GONE):
        return Refused(Refusal.UNKNOWN, f"node not found: {target_id[:64]}")
    text = f"node {target_id[:64]} cannot be sent to at present, by way of its server"
    return Refused(Refusal.UNSENDABLE, f"{text}; try again in a moment")


@dataclass(slots=True, eq=False)
class Parcel:
    """One thing to relay."""

    form: "Form"
    target_id: str
    size_bytes: int
    """Its size as it leaves the server."""
    data: bytes
    capability: str | None = None
    """What the target must have announced to understand it."""
    request_id: str | None = None


class Form(Protocol):
    """A form of relayed bytes: how parcels are sent and handed over."""

    def carry(self, target: Peer, parcel: Parcel, now: float, /) -> bool:
        """Send a parcel to its target; returns whether it has left."""

    def hand(self, target: Foreign, client: Peer, parcel: Parcel, now: float, /) -> bool:
        """Hand a parcel to the server of its target; returns whether it has left."""

    def conclude(self, client: Peer, parcel: Parcel, refused: Refused | None, now: float) -> None:
        """A parcel was sent, or refused."""


Pair: TypeAlias = tuple[str, str]
"""Two node ids, the smaller first."""


@dataclass(frozen=True, slots=True)
class RelayClient:
    """What a server has relayed for one client since it opened its account."""

    node_id: str
    """The client."""
    connected: bool
    """Whether it has a session now."""
    relays: int
    """Relays that are open now."""
    datagrams: int
    """Datagrams relayed for it."""
    bytes: int
    """Bytes relayed for it."""
    waiting_bytes: int
    """Bytes of its buffer that are in use now."""
    refused: Mapping[str, int]
    """Datagrams refused, by reason; docs/relay.md explains the reasons."""


@dataclass(frozen=True, slots=True)
class RelayReport:
    """What a server relays."""

    enabled: bool
    """Whether it relays at all."""
    open: int
    """Relays that are open now."""
    limit: int
    """`max_concurrent_relays`."""
    pairs: tuple[Pair, ...]
    """The two nodes of each open relay, the most recently used first."""
    clients: tuple[RelayClient, ...]
    """The clients, those that were relayed or refused most recently first."""
