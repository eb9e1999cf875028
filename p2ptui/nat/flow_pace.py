"""How many new flows a NAT admits, measured by probes among them, and the pace that fits.

Some NATs silently drop datagrams that begin flows beyond some rate. So now and then, among flows
whose answer nobody expects, one is begun whose answer is awaited, and at the same moment the same
is asked over an old flow. Loss on the way affects both alike; if only new flows are missing, the
NAT dropped them.
"""

import math
import random
from typing import Final

PROBE_EVERY: Final = 20
PROBE_EVERY_LIMITED: Final = 16
"""Flows from one probe to the next, on average; random, or the probes could fall into step with
what the NAT lets pass. A slow pace is judged after fewer.
"""

WINDOW: Final = 16
"""Probes that a judgement is based on."""

LEAST_DIFFERENCE: Final = 8
"""How many more answers over old flows than over new ones are needed to believe in a limit: half of
all. With a third of all round trips lost that happens by chance in one window of seven hundred.
"""

SURPLUS: Final = 1.25
"""Flows are begun this much faster than they pass, so that a limit that was estimated too low
leaves nothing unused.
"""

CATCH_UP_S: Final = 0.1
"""After a late timer, at most this much is made up for."""

LONGEST_GAP_S: Final = 0.1
"""Longer times between two flows do not count."""

LEAST_PER_S: Final = 20.0
"""No limit is estimated lower than this: guesses would be useless."""


class FlowPace:
    """Chooses the times of new flows for everything that begins some: they share the NAT.

    Args:
        least_s: The shortest pause between two flows, seconds.
        rng: Chooses which flows are probes.
        probes: Whether there are any.
    """

    def __init__(self, least_s: float, rng: random.Random, *, probes: bool = True) -> None:
        self._least_s = least_s
        self._rng = rng
        self._probing = probes
        self.limit_per_s: float | None = None
        """New flows a second that pass; None if no limit is known."""
        self.free_at = -math.inf
        """When the next flow may begin, seconds."""
        self._until_probe = 0
        self._latest = -math.inf
        self._begin_window()

    def _begin_window(self) -> None:
        self._flows = 0
        self._span_s = 0.0
        self._probes = 0
        self._fresh = 0
        self._old = 0

    @property
    def pace_s(self) -> float:
        """The least time between two new flows, seconds."""
        if self.limit_per_s is None:
            return self._least_s
        return max(self._least_s, 1 / (SURPLUS * self.limit_per_s))

    def begin_flow(self, now: float) -> bool:
        """Record a new flow; return whether the flow itself should be a probe. A separate probe
        beside it would always be the one that comes too late.

        Args:
            now: The time, seconds.
        """
        self.free_at = max(self.free_at, now - CATCH_UP_S) + self.pace_s
        self._flows += 1
        # While nobody guesses, the NAT forgets.
        self._span_s += min(now - self._latest, LONGEST_GAP_S)
        self._latest = now
        # The first one at once: it opens the flow that later serves as the old one.
        is_due = self._probing and self._until_probe <= 0
        if is_due:
            mean = PROBE_EVERY if self.limit_per_s is None else PROBE_EVERY_LIMITED
            self._until_probe = self._rng.randrange(1, 2 * mean)
        self._until_probe -= 1
        return is_due

    def observe(self, *, fresh: bool, old: bool) -> bool:
        """Record the outcome of a probe; return whether the limit changed.

        Args:
            fresh: Whether an answer came over the new flow.
            old: Whether an answer came over an old flow, to the request sent at the same time.
        """
        self._probes += 1
        self._fresh += fresh
        self._old += old
        if self._probes < WINDOW:
            return False
        before = self.limit_per_s
        if self._old and self._span_s > 0:  # if nothing passes at all, that is not a limit
            self._judge(self.limit_per_s)
        self._begin_window()
        return self.limit_per_s != before

    def _judge(self, limit_per_s: float | None) -> None:
        if limit_per_s is None:
            if self._old - self._fresh < LEAST_DIFFERENCE or 2 * self._fresh >= self._old:
                return
        elif self._old - self._fresh <= 1:
            # Everything that was begun passes: there may be no limit any more, or never was one.
            limit_per_s *= 2
            self.limit_per_s = limit_per_s if limit_per_s * self._least_s < 1 else None
            return
        # One more of each: with only a few passing, none of them may have been a probe.
        share = min((self._fresh + 1) / (self._old + 1), 1.0)
        self.limit_per_s = max(share * self._flows / self._span_s, LEAST_PER_S)
