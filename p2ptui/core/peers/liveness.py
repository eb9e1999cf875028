"""What shows that a peer is there, and what is believed of it while nothing does."""

import enum
import math
from dataclasses import dataclass, field
from typing import Final

from p2ptui.core.peers.timing import TimingProof
from p2ptui.core.pings import Pings

PATIENCE: Final = 3
"""Who has answered late before has so many times what that took."""

LONGEST_ANSWER_S: Final = 3.0
"""But no longer."""

PONGS_REMEMBERED: Final = 6
"""Of so many Pongs it is known when they came."""


class Suspicion(enum.Enum):
    """What is believed of a peer unless it answers a Ping."""

    LEFT = "left"
    """A Disconnect came, which anybody could have forged."""
    FORGOT = "forgot"
    """It says that it does not know this node: restarted, or forged."""


@dataclass(frozen=True, slots=True)
class Shown:
    """When a newcomer has shown that it is there, by what nobody else can know."""

    asked_at: float
    """When it first asked, seconds."""
    shown_at: float
    """When it last showed it, seconds."""


@dataclass(slots=True, eq=False)
class Signs:
    """What tells a peer from somebody who writes in its name."""

    shown_at: float = -math.inf
    """When it last answered by what nobody else could know; seconds."""
    pongs: int = 0
    """Pongs that came in its name."""
    ponged_at: tuple[float, ...] = ()
    """When the last of them came; seconds."""
    has_answered_ping: bool = False
    """Whether any of them was an answer."""
    answered_for_seat: bool = False
    """Whether it answered a Ping before it had a seat, at a moment that nobody else knew."""
    alarmed_at: float = -math.inf
    """When a goodbye in its name last turned out to be nobody's; seconds."""
    _timing: TimingProof | None = None

    @property
    def timing(self) -> TimingProof:
        """What its answers to heartbeats have shown, where they name no Ping."""
        if self._timing is None:
            self._timing = TimingProof()
        return self._timing

    def slowest_s(self, now: float) -> float:
        """As of `timing`, which most peers do not need."""
        return 0.0 if self._timing is None else self._timing.slowest_s(now)

    def start_over(self) -> None:
        """Likewise."""
        if self._timing is not None:
            self._timing.start_over()


@dataclass(slots=True, eq=False)
class PeerLiveness:
    """When a peer was last heard, what it was asked, and whether it is suspected to be gone."""

    last_received: float = 0.0
    """When something last came from it; seconds."""
    answered_at: float = 0.0
    """When it last answered something of this node's: what it sends by itself does not show that it
    hears this node."""
    signs: Signs = field(default_factory=Signs)
    last_ping_sent: float = -math.inf
    heartbeat_due: float = -math.inf
    """When it is pinged next if it answers the last Ping."""
    known_at: float = -math.inf
    """When it last showed that it knows this node, as a server does by a Ping of its own."""
    pings: Pings = field(default_factory=Pings)
    suspicion: Suspicion | None = None
    _suspected_at: float = 0.0
    cleared_at: float = -math.inf
    """When it last turned out that it knows this node after all."""

    def hear(self, now: float) -> None:
        """Something came from it."""
        self.last_received = now

    def note_known(self, now: float) -> None:
        """It has shown that it knows this node."""
        self.known_at = now

    def note_answer(self, now: float, *, is_certain: bool = False) -> None:
        """It answered something, so that it hears this node.

        Args:
            now: The time, seconds.
            is_certain: Whether by what only somebody at its address can know.
        """
        self.answered_at = now
        if is_certain:
            self.signs.shown_at = now

    def note_pong(self, now: float, *, is_answer: bool) -> None:
        """A Pong came; whether it answers a Ping that is outstanding."""
        self.signs.pongs += 1
        self.signs.ponged_at = (*self.signs.ponged_at[1 - PONGS_REMEMBERED :], now)
        self.signs.has_answered_ping |= is_answer

    def begin(self, now: float) -> None:
        """A handshake is complete: all doubts are over."""
        self.last_received = self.answered_at = self.known_at = now
        self.suspicion = None
        self.signs.start_over()

    def excuse(self, silent_s: float, now: float) -> None:
        """Nobody listened for so many seconds: they do not count as silence."""
        self.last_received = max(self.last_received, min(self.last_received + silent_s, now))
        self.answered_at = max(self.answered_at, min(self.answered_at + silent_s, now))

    def patience_s(self, least_s: float, now: float, *, is_proved: bool = False) -> float:
        """How long a Ping may be unanswered: as its answers have shown that is needed.

        Args:
            least_s: But no shorter, seconds.
            now: The time, seconds.
            is_proved: Whether it is at its address: then all its answers count.
        """
        answer_s = self.pings.guessed_s if is_proved else self.pings.answer_s
        slowest_s = max(answer_s, self.signs.slowest_s(now))
        return max(least_s, min(PATIENCE * slowest_s, LONGEST_ANSWER_S))

    @property
    def has_missed_ping(self) -> bool:
        """Whether nothing has come since the last Ping."""
        return self.last_received < self.last_ping_sent

    def suspect(self, suspicion: Suspicion, now: float) -> None:
        """Something is believed of it from now on, unless it answers."""
        self.suspicion = suspicion
        self._suspected_at = now

    def is_suspected_since(self, began: float) -> bool:
        """Whether it is still the same suspicion: an answer ends one, and the next begins anew."""
        return self.suspicion is not None and self._suspected_at == began

    def clear(self, now: float) -> None:
        """It answered a Ping: nothing is believed of it any more."""
        if self.suspicion is Suspicion.FORGOT:
            self.cleared_at = now
        elif self.suspicion is Suspicion.LEFT:
            self.signs.alarmed_at = now
        self.suspicion = None

    def judge(self) -> Suspicion | None:
        """It did not answer: what was believed of it is so, and is settled."""
        suspicion, self.suspicion = self.suspicion, None
        return suspicion
