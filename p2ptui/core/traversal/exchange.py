"""The exchange of offers with one node: what was said when, and what of it was tried."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from p2ptui.core.traversal.signs import Signs
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer


class Asked(NamedTuple):
    """An offer was sent, in response to which a server names the other node."""

    at: float
    resent: int
    """Datagrams that had been sent to the server again by then: of those that follow it may be
    one."""


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
    """The latest ask to which the server has not named the node in return; None: it need not."""
    awaits_keys: bool = False
    """Whether this side's offer has not left so far: the keys that it is sealed to are not here."""
    asks_until: float = 0.0
    """Until when it is repeated."""
    claimed_in: tuple[str, int] | None = None
    """The latest offer, by name and round, for which addresses that nobody vouches for were sent
    checks."""
    claimed_since: dict[Address, int] = field(default_factory=dict)
    """What the other side told that may be tried, and in which round of the search first."""
    tried: dict[Address, int] = field(default_factory=dict)
    """What was tried of that, and in which round first."""

    def note_sent(self, now: float) -> None:
        """This side's offer leaves: what was asked by the one before is not answered any more."""
        self.asked = None
        self.sent_at = now

    def take_asked(self) -> Asked | None:
        """What was asked: from now on that is answered, or nobody waits for it."""
        asked, self.asked = self.asked, None
        return asked

    def note_written(self, *, is_told: bool) -> None:
        """This side's offer was written, or could not be for want of keys."""
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
        """Whether the other side, with this latest offer, told what was not tried, or may have
        more to tell."""
        # A round with new ones may be followed by one with others.
        latest = max(self.claimed_since.values(), default=0)
        has_news = remote is not None and latest == remote.round > 0
        return has_news or bool(self.claimed_since.keys() - self.tried.keys())

    def is_first_with(self, offer: TraversalOffer) -> bool:
        """Whether addresses that nobody vouches for get checks for this offer: once for each,
        however often its round begins anew."""
        this_offer = offer.ufrag, offer.round
        is_first, self.claimed_in = self.claimed_in != this_offer, this_offer
        return is_first

    def forget_rounds(self) -> None:
        """A new search begins."""
        self.claimed_since.clear()
        self.tried.clear()
