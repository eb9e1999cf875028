"""The exchange of offers with one node: what was said and when, and how much of it was tried."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from p2ptui.core.traversal.signs import Signs
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer


class Asked(NamedTuple):
    """An offer was sent, and the server names the other node in response."""

    at: float
    resent: int
    """Datagrams that had been retransmitted to the server by then: this offer may be among later
    ones."""


@dataclass(slots=True, eq=False)
class Exchange:
    """When offers were sent and received, and what the other side's have said so far."""

    observed: Address | None = None
    """Where the server sees the other node."""
    signs: Signs = field(default_factory=Signs)
    """What the other side has proved."""
    offered_at: float = -math.inf
    """When the other side's latest round was accepted."""
    sent_at: float = -math.inf
    """When this side's offer was last sent."""
    asked: Asked | None = None
    """The latest offer for which the server has yet to name the node; None: there is none."""
    awaits_keys: bool = False
    """Whether this side's offer has not been sent so far for lack of the keys to seal it to."""
    asks_until: float = 0.0
    """Until when it is repeated."""
    claimed_in: tuple[str, int] | None = None
    """The latest offer, by name and round, for which addresses that nobody vouches for were sent
    checks."""
    claimed_since: dict[Address, int] = field(default_factory=dict)
    """The addresses from the other side that may be tried, and the first round of the search for
    each."""
    tried: dict[Address, int] = field(default_factory=dict)
    """Those of them that were tried, and the first round for each."""

    def note_sent(self, now: float) -> None:
        """This side's offer is sent: the previous one will no longer be answered."""
        self.asked = None
        self.sent_at = now

    def take_asked(self) -> Asked | None:
        """Return what was asked; from now on it counts as answered or given up."""
        asked, self.asked = self.asked, None
        return asked

    def note_written(self, *, is_told: bool) -> None:
        """This side's offer was written, or could not be for lack of keys."""
        self.awaits_keys = not is_told

    def note_asked(self, now: float, resent: int) -> None:
        """This side's offer was sent; see `Asked`."""
        self.asked = Asked(now, resent)

    def note_round(self, number: int, claimed: Iterable[Address], tried: Iterable[Address]) -> None:
        """A round was prepared from what the other side has offered."""
        for known, addresses in ((self.claimed_since, claimed), (self.tried, tried)):
            for address in addresses:
                known.setdefault(address, number)

    def tried_before(self, number: int) -> set[Address]:
        """What earlier rounds tried."""
        return {address for address, first in self.tried.items() if first < number}

    def leaves_untried(self, remote: TraversalOffer | None) -> bool:
        """Whether the other side has offered something untried, or may have more to offer."""
        # A round with new ones may be followed by one with others.
        latest = max(self.claimed_since.values(), default=0)
        has_news = remote is not None and latest == remote.round > 0
        return has_news or bool(self.claimed_since.keys() - self.tried.keys())

    def is_first_with(self, offer: TraversalOffer) -> bool:
        """Whether addresses that nobody vouches for get checks for this offer: once per offer,
        however often its round restarts."""
        this_offer = offer.ufrag, offer.round
        is_first, self.claimed_in = self.claimed_in != this_offer, this_offer
        return is_first

    def forget_rounds(self) -> None:
        """A new search begins."""
        self.claimed_since.clear()
        self.tried.clear()
