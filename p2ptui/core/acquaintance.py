"""What is made of who is on the other side of a session, as a value that is kept and told."""

from dataclasses import dataclass
from typing import Final

from p2ptui.secure.known_nodes import Judgement, Met, Trust
from p2ptui.wire.address import Address


@dataclass(slots=True, init=False, unsafe_hash=True)
class Judged:
    """Who a peer is, and what was made of that when its session began or since."""

    met: Final[Met]
    judgement: Final[Judgement]

    def __init__(self, met: Met, judgement: Judgement) -> None:
        self.met = met
        self.judgement = judgement


@dataclass(frozen=True, slots=True)
class TrustChanged:
    """Who is on the other side of a session is not who was there before, or is seen otherwise from
    now on. Of all others the PeerStatusChanged that begins their session says what is known."""

    node_id: str
    address: Address
    name: str
    """Remote text: neutralise it before showing it."""
    trust: Trust
    previous: Trust | None
    """None where its session has just begun."""
    advice: str = ""
    """What happened and what to do, in a sentence; empty if there is nothing to do."""
    is_refused: bool = False
    """Whether it is told of somebody with whom there is no session for that."""
    signer_id: str = ""
    """Of an ephemeral node: the id of its user's identity, by a statement that was checked."""
