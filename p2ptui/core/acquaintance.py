"""The verdict on the node at the other end of a session, as a value to keep and to report."""

from dataclasses import dataclass
from typing import Final

from p2ptui.secure.known_nodes import Judgement, Met, Trust
from p2ptui.wire.address import Address


@dataclass(slots=True, init=False, unsafe_hash=True)
class Judged:
    """Who a peer is, and the verdict on it when its session began or since."""

    met: Final[Met]
    judgement: Final[Judgement]

    def __init__(self, met: Met, judgement: Judgement) -> None:
        self.met = met
        self.judgement = judgement


@dataclass(frozen=True, slots=True)
class TrustChanged:
    """A peer is not the node that was there before, or its trust has changed. For all other peers,
    the PeerStatusChanged at the start of their session carries their trust."""

    node_id: str
    """The peer."""
    address: Address
    """Where it is."""
    name: str
    """Its own name. Remote text: neutralise it to show it."""
    trust: Trust
    """Its trust from now on."""
    previous: Trust | None
    """Its trust before; None if its session has just begun."""
    advice: str = ""
    """What happened and what to do, in a sentence; empty if there is nothing to do."""
    is_refused: bool = False
    """Whether it was refused a session because of this."""
    signer_id: str = ""
    """For an ephemeral node that has proved its owner: the id of that user's lasting identity."""
    is_claim: bool = False
    """Whether the peer has proved nothing; see `PeerStatusChanged`."""
