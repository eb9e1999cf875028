"""How long things take here at the moment, beyond what the line takes.

A busy machine gives each of its programs a turn now and then, and an answer takes as many turns as
there are programs on its way. Whoever asks by the clock meanwhile asks again and again for what is
under way, and makes the machine busier. It shows in two ways: this program's own timers are late,
and servers answer late.
"""

from typing import Final

HALF_LIFE_S: Final = 4.0
"""What was seen counts half after so long."""

LONGEST_SLOWNESS_S: Final = 3.0
"""More is believed of nothing: a machine that stood still for an hour is not slow."""

TURNS: Final = 2
"""An answer takes this many times as long: it waits for its turn at others, too."""


class Slowness:
    """The longest delay of late, which fades."""

    def __init__(self) -> None:
        self._seen_s = 0.0
        self._seen_at = float("-inf")

    def note(self, delay_s: float, now: float) -> None:
        """A delay was seen, in seconds."""
        if delay_s > self.delay_s(now):
            self._seen_s, self._seen_at = min(delay_s, LONGEST_SLOWNESS_S), now

    def delay_s(self, now: float) -> float:
        """What to expect, seconds."""
        if not self._seen_s:
            return 0.0
        faded: float = 0.5 ** (max(now - self._seen_at, 0.0) / HALF_LIFE_S)
        return self._seen_s * faded

    def answer_s(self, now: float) -> float:
        """What an answer of another node may take because of it, seconds."""
        return TURNS * self.delay_s(now)
