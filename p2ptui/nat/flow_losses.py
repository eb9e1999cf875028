"""Whether new flows are lost where old ones pass, from one burst of both at the same moments.

Loss on the way takes from both alike. What only the new ones lack, something on the way took that
knows the one from the other: a NAT that limits them.
"""

import math
from dataclasses import dataclass
from typing import Final

CHANCE_BELIEVED: Final = 1e-5
"""A difference counts only if loss alone would bring it about less often than this."""

SUSPICIOUS_CHANCE: Final = 0.05
"""From here on it is worth a closer look."""


@dataclass(frozen=True, slots=True)
class FlowLosses:
    """Datagrams that began flows, and datagrams over old flows beside them."""

    fresh: int
    """Sent to begin flows."""
    fresh_lost: int
    old: int
    """Sent over old flows."""
    old_lost: int

    @property
    def chance(self) -> float:
        """How likely so many of the losses fall on the new flows, if they fall on all alike.

        Fisher's exact test, one-sided; 1.0 where there is nothing to compare.
        """
        lost, total = self.fresh_lost + self.old_lost, self.fresh + self.old
        if not (self.fresh and self.old and lost):
            return 1.0
        ways = sum(
            math.comb(self.fresh, number) * math.comb(self.old, lost - number)
            for number in range(self.fresh_lost, min(lost, self.fresh) + 1)
        )
        return ways / math.comb(total, lost)

    @property
    def are_limited(self) -> bool:
        """Whether something limits new flows."""
        return self.chance <= CHANCE_BELIEVED

    @property
    def may_be_limited(self) -> bool:
        """Whether something may; more flows would tell."""
        return self.chance <= SUSPICIOUS_CHANCE

    @property
    def words(self) -> str:
        """What was counted."""
        return (
            f"{self.fresh_lost} of {self.fresh} datagrams that began a flow were lost,"
            f" and {self.old_lost} of {self.old} over an established one at the same time"
        )
