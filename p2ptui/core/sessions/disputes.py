"""A dispute about an id: who claims it, what its owner was asked, and the outcome."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, UnsetType

from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import LetIn
from p2ptui.wire.address import Address

FEWEST_ANSWERED: Final = 3
FEWEST_OF_FEW: Final = 2
"""How many of the Pings must be answered equally late, and without other Pongs; fewer if no more
were paid for."""

EQUALLY_LATE_S: Final = 0.025
"""Two answers are equally late if their round trips differ by at most this."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A newcomer's claim to the id of a peer at another address."""

    owner: Peer
    address: Address
    """The newcomer's address."""
    request_id: str
    """The id of the handshake message that claims it."""
    refuse: Callable[[float], None]
    """Called with the time if the owner is alive."""
    grant: LetIn
    """Called with the time once the id is free."""
    continues: str | UnsetType = UNSET
    """What the newcomer names of the owner's session, if anything."""
    hold: Callable[[float], None] | None = None
    """Answers the newcomer and waits until it proves that it is there; None for one that cannot."""
    came_at: float = 0.0
    """When it came, seconds."""


class Sign(enum.Enum):
    """What has arrived from an owner's address since it was asked."""

    ALIVE = "alive"
    GUESSABLE = "guessable"
    """Something, but nothing that only the owner could send."""
    NONE = "none"


@dataclass(slots=True)
class Dispute:
    """A dispute in progress."""

    claim: Claim
    began: float
    interval_s: float
    most: int
    """Most Pings to the owner."""
    pongs: int
    """How many had come in its name before."""
    probes: int = 0
    asked_at: tuple[float, ...] = ()
    """When Pings were sent to it, including heartbeats, seconds."""
    newest: Claim | None = None
    """A claim that came from yet another address meanwhile: the owner may have moved twice."""
    newest_at: float = 0.0
    is_second: bool = False
    """Whether it is about such a claim."""
    is_gentle: bool = False
    """Whether the owner has not proved its address, and is pinged within its allowance."""

    def note_asked(self, at: float) -> None:
        """The latest Ping left for the owner at that time."""
        if at >= self.began and at not in self.asked_at:
            self.asked_at += (at,)


def sign_of(owner: Peer, dispute: Dispute) -> Sign:
    """What has arrived from an owner's address since it was asked."""
    liveness = owner.liveness
    if liveness.shown_at > dispute.began:
        return Sign.ALIVE
    if owner.acknowledges or liveness.last_received <= dispute.began:
        return Sign.NONE
    pongs = liveness.signs.pongs - dispute.pongs
    if 0 < pongs <= len(dispute.asked_at) and _answers_all(
        dispute, liveness.signs.ponged_at[-pongs:]
    ):
        return Sign.ALIVE
    return Sign.GUESSABLE


def _answers_all(dispute: Dispute, ponged_at: tuple[float, ...]) -> bool:
    """Whether Pongs that name no Ping answer those of a dispute: a blind sender does not know when
    these are sent."""
    asked_at, fewest = dispute.asked_at, FEWEST_ANSWERED
    if dispute.probes == dispute.most:
        fewest = max(FEWEST_OF_FEW, min(fewest, len(asked_at)))
    fewest = max(fewest, len(ponged_at))
    delays_s = {came - asked for asked in asked_at for came in ponged_at if came >= asked}
    return any(
        sum(
            any(abs(came - asked - delay_s) <= EQUALLY_LATE_S for came in ponged_at)
            for asked in asked_at
        )
        >= fewest
        for delay_s in delays_s
    )
