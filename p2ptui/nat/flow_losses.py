"""Whether new flows are lost where old ones pass, judged by one burst of both at the same moments.

Loss on the way affects both alike. If only new flows are missing, something on the way that tells
them apart dropped them: a NAT that limits them.
"""

import math
from dataclasses import dataclass
from typing import Final

CHANCE_BELIEVED: Final = 1e-5
"""A difference counts only if loss alone would cause it less often than this."""

SUSPICIOUS_CHANCE: Final = 0.05
"""From here on a closer look is worthwhile."""


@dataclass(frozen=True, slots=True)
class FlowLosses:
    """Counts of datagrams that began flows, and of datagrams over old flows sent beside them."""

    fresh: int
    """Sent to begin flows."""
    fresh_lost: int
    old: int
    """Sent over old flows."""
    old_lost: int

    @property
    def chance(self) -> float:
        """The probability that this many of the losses hit the new flows if all flows are hit
        alike.

        Fisher's exact test, one-sided; 1.0 if there is nothing to compare.
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
        """Whether something may limit new flows; a larger sample would tell."""
        return self.chance <= SUSPICIOUS_CHANCE

    @property
    def words(self) -> str:
        """The counts, in words."""
        return (
            f"{self.fresh_lost} of {self.fresh} datagrams that began a flow were lost,"
            f" and {self.old_lost} of {self.old} over an established one at the same time"
        )
