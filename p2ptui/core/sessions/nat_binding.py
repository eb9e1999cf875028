"""The NAT binding towards a server, and what tests of its lifetime have shown so far."""

import math
from dataclasses import dataclass, field
from typing import Final

from p2ptui.core.peers import Peer
from p2ptui.core.sessions.inquiry import Inquiry
from p2ptui.core.timers import Timer
from p2ptui.nat.mapping_life import SHORTEST_S, USUAL_S

MISSES: Final = 2
"""So many late answers must stay away: at 10 % loss one does now and then."""

TRIAL_SHARE: Final = 0.75
"""A trial that other traffic disturbed is followed by one that is shorter by this."""


@dataclass(slots=True, eq=False)
class NatBinding:
    """The NAT binding towards one server (the term is that of RFC 8489, section 5), which is kept
    open."""

    peer: Peer
    timer: Timer | None = None
    inquiry: Inquiry = field(default_factory=Inquiry)
    """The keepalive that is awaited, or was last."""
    answered_at: float = -math.inf
    """When a keepalive of the server's own was answered last."""
    beat_at: float = -math.inf
    """When a heartbeat left in place of a keepalive."""
    idle_before_s: float = 0.0
    """How long nothing had left before it."""
    traffic: tuple[int, int] | None = None
    """Bytes in and out when its first answer came: what comes later disturbs the trial."""
    sent_by_all: int = 0
    """What had left for anybody by then: many NATs have one mapping for all, and it stays open."""
    trial_s: float = USUAL_S
    """How long the next trial leaves it idle."""
    misses: int = 0
    """Late answers that stayed away."""
    missed_s: float = 0.0
    """The longest time after which one did."""

    @property
    def is_tried(self) -> bool:
        """Whether a late answer is asked for, or awaited."""
        return bool(self.inquiry.nonce) and self.inquiry.later_s > 0

    @property
    def is_beat_missed(self) -> bool:
        """Whether nothing has come since a heartbeat that left in place of a keepalive."""
        return self.peer.liveness.last_received < self.beat_at

    @property
    def last_left(self) -> float:
        """When anything left last, seconds."""
        return max(self.peer.traffic.last_sent, self.inquiry.sent_at, self.answered_at)

    def note_answered(self, now: float) -> None:
        """A keepalive of the server's own was answered: that opens the way, too."""
        self.answered_at = now

    def end(self) -> None:
        """No answer is awaited any more, be it the late one."""
        self.inquiry.end()
        self.traffic = None

    def seek_rest(self) -> None:
        """Nothing is asked any more."""
        self.end()
        self.idle_before_s = 0.0

    def break_off(self, now: float) -> None:
        """A trial was disturbed. The next one is shorter, so that there is a pause for it; but not
        if this one had only begun: that was a bad moment, and behind it is a better one."""
        self.end()
        if now - self.inquiry.sent_at >= self.inquiry.later_s / 2:
            self.trial_s = max(TRIAL_SHARE * self.trial_s, SHORTEST_S)

    def note_late_answer(self, *, is_clean: bool) -> None:
        """The late answer has come; cleanly, if nothing else came or left meanwhile."""
        if self.inquiry.later_s >= self.missed_s:  # those that stayed away were lost
            self.forget_misses()
        if is_clean:
            self.trial_s /= TRIAL_SHARE
        else:
            self.trial_s = max(TRIAL_SHARE * self.trial_s, SHORTEST_S)

    def note_miss(self) -> float:
        """The late answer stayed away; how long an idle time closes the way by that, seconds, or 0
        as long as loss explains it."""
        self.misses += 1
        self.missed_s = max(self.missed_s, self.inquiry.later_s)
        return self.missed_s if self.misses == MISSES else 0.0

    def forget_misses(self) -> None:
        """What was counted was of longer times, or of another way."""
        self.misses, self.missed_s = 0, 0.0
