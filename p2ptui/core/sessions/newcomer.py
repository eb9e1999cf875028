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
    asked_at: float = math.inf
    """When a deployed server before it was first asked for what only a server sends."""
    timers: dict[str, Timer] = field(default_factory=dict)
    """What is planned for it, each step once: none of that outlives it."""

    @property
    def is_answered(self) -> bool:
        """Whether it can know its answer."""
        return self.answered_at < math.inf

    def note_answered(self, now: float) -> None:
        """Its answer has left."""
        self.answered_at = now
