"""One newcomer at an address in use: what it asked, what it was told, and what is planned."""

import math
from dataclasses import dataclass, field

from p2ptui.core.peers import Peer
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.timers import Timer


@dataclass(slots=True, eq=False)
class Newcomer:
    """See `newcomers`."""

    before: Peer
    """Whose place it would take."""
    arrival: Arrival
    told: Told
    began: float
    """When it asked: last, or first if it acknowledges nothing."""
    answered_at: float = math.inf
    """When its answer left last."""
    has_spoken: bool = False
    """Whether it went on after its answer, as far as that can be told."""
    late_since: float = math.inf
    """When it spoke first after the time for that."""
    late_words: int = 0
    asked_who_at: float = -math.inf
    """When whoever is there was last asked to shake hands again."""
    times_asked_who: int = 0
    timers: dict[str, Timer] = field(default_factory=dict)
    """What is planned for it, each step once: none of that outlives it."""

    @property
    def is_answered(self) -> bool:
        """Whether it can know its answer."""
        return self.answered_at < math.inf

    def note_late_word(self, now: float) -> None:
        """Something came that it or the one before may have said."""
        self.late_since = min(self.late_since, now)
        self.late_words += 1

    def note_asked_who(self, now: float) -> None:
        """Whoever is there was asked to shake hands again."""
        self.asked_who_at = now
        self.times_asked_who += 1

    def note_answered(self, now: float) -> None:
        """Its answer has left."""
        self.answered_at = now
