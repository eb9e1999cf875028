"""What is made of who is on the other side of a session, as a value that is kept and told."""

from dataclasses import dataclass

from p2ptui.secure.known_nodes import Judgement, Met, Trust
from p2ptui.wire.address import Address


@dataclass(frozen=True, slots=True)
class Judged:
    """Who a peer is, and what was made of that when its session began or since."""

    met: Met
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class TrustChanged:
    """It is known who is on the other side of a session, or that is seen otherwise from now on."""

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
