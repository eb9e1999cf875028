"""The NAT binding towards a server, and what tests of its lifetime have shown so far."""

import math
from dataclasses import dataclass, field
from typing import Final

from p2ptui.core.peers import Peer
from p2ptui.core.sessions.inquiry import Inquiry
from p2ptui.core.timers import Timer
from p2ptui.nat.mapping_life import SHORTEST_S, USUAL_S

MISSES: Final = 2
"""How many late answers must fail to arrive: at 10 % loss one does now and then."""

TRIAL_SHARE: Final = 0.75
"""A test disturbed by other traffic is followed by one that is shorter by this."""


@dataclass(slots=True, eq=False)
class NatBinding:
    """The NAT binding towards one server (the term is that of RFC 8489, section 5), which is kept
    open."""

    peer: Peer
    timer: Timer | None = None
    inquiry: Inquiry = field(default_factory=Inquiry)
    """The awaited keepalive, or the last one."""
    answered_at: float = -math.inf
    """When one of the server's own keepalives was last answered."""
    beat_at: float = -math.inf
    """When a heartbeat was sent in place of a keepalive."""
    idle_before_s: float = 0.0
    """How long nothing had been sent before it."""
    traffic: tuple[int, int] | None = None
    """Bytes in and out when its first answer came: later traffic disturbs the test."""
    sent_by_all: int = 0
    """Datagrams sent to anybody by then: many NATs have one mapping for all destinations, and any
    of them keeps it open."""
    trial_s: float = USUAL_S
    """How long the next test leaves the path idle."""
    misses: int = 0
    """Late answers that failed to arrive."""
    missed_s: float = 0.0
    """The longest idle time after which one did."""

    @property
    def is_tried(self) -> bool:
        """Whether a late answer is requested or awaited."""
        return bool(self.inquiry.nonce) and self.inquiry.later_s > 0

    @property
    def is_beat_missed(self) -> bool:
        """Whether nothing has arrived since a heartbeat that was sent in place of a keepalive."""
        return self.peer.liveness.last_received < self.beat_at

    @property
    def last_left(self) -> float:
        """When anything was last sent, seconds."""
        return max(self.peer.traffic.last_sent, self.inquiry.sent_at, self.answered_at)

    def note_answered(self, now: float) -> None:
        """A keepalive of the server's own was answered: that opens the path, too."""
        self.answered_at = now

    def end(self) -> None:
        """No answer is awaited any more, not even the late one."""
        self.inquiry.end()
        self.traffic = None

    def seek_rest(self) -> None:
        """End any test."""
        self.end()
        self.idle_before_s = 0.0

    def break_off(self, now: float) -> None:
        """A trial was disturbed. The next one is shorter, so that a pause is long enough for it,
        unless this one had only just begun: then a later moment is better."""
        self.end()
        if now - self.inquiry.sent_at >= self.inquiry.later_s / 2:
            self.trial_s = max(TRIAL_SHARE * self.trial_s, SHORTEST_S)

    def note_late_answer(self, *, is_clean: bool) -> None:
        """The late answer has come; the test is valid if nothing else was received or sent
        meanwhile."""
        if self.inquiry.later_s >= self.missed_s:  # the missing ones were lost
            self.forget_misses()
        if is_clean:
            self.trial_s /= TRIAL_SHARE
        else:
            self.trial_s = max(TRIAL_SHARE * self.trial_s, SHORTEST_S)

    def note_miss(self) -> float:
        """The late answer failed to arrive; returns the idle time that closes the path by that
        evidence, seconds, or 0 while loss explains it."""
        self.misses += 1
        self.missed_s = max(self.missed_s, self.inquiry.later_s)
        return self.missed_s if self.misses == MISSES else 0.0

    def forget_misses(self) -> None:
        """The counted misses were at longer times, or on another path."""
        self.misses, self.missed_s = 0, 0.0
