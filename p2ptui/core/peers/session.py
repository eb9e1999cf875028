"""How far the session with a peer is, and what it plans next."""

import math
from collections.abc import Callable
from typing import Final

from p2ptui.core.peers.seal import Seal
from p2ptui.core.timers import NEVER, Action, SubjectT, Timer, Timers

GREETING_PAUSE_S: Final = 5.0
"""A peer that repeats its handshake, and keeps its session, is sent the list at most this often."""

QUESTIONS_PER_S: Final = 16
"""Newcomers are pinged at this many moments of a second: in a rush of them one timer serves each
moment, instead of one for each newcomer."""


class Session:
    """Whether there is a session with a peer, since when, and its timers.

    Args:
        accepted: See the attribute.
    """

    __slots__ = (
        "_timer",
        "accepted",
        "challenged",
        "channel_timer",
        "greeted_at",
        "joined_at",
        "parted",
        "question",
        "resumes",
        "seal",
    )

    def __init__(self, *, accepted: bool = False) -> None:
        self.accepted = accepted
        """Whether the peer asked for it; with `initiated`, their requests crossed."""
        self.resumes = False
        """Whether there was a session, and another has been requested: messages wait for it."""
        self.joined_at = NEVER
        """When its latest handshake was complete; seconds."""
        self.challenged = False
        """Whether somebody else may be at the address by now: see `sessions.newcomers`."""
        self.greeted_at = NEVER
        """When a repeated handshake last drew more than its answer; seconds."""
        self.parted = False
        """Whether this node itself says goodbye to the peer."""
        self.channel_timer: Timer | None = None
        """The channel's next step."""
        self.question: Timer | None = None
        """When a newcomer is first asked whether it is there."""
        self.seal: Seal | None = None
        """The keys of the session; None: in the open. Set by `core.sealing`."""
        self._timer: Timer | None = None
        """Heartbeat and expiry, or the handshake's next step."""

    def begin(self, now: float) -> None:
        """A handshake is complete: there is a session, and no step of the handshake is left."""
        self.joined_at = now
        self.resumes = False
        self.cancel()

    def take_seal(self, seal: Seal) -> None:
        """From now on everything is sealed."""
        self.seal = seal

    def may_greet(self, now: float) -> bool:
        """Whether a repeated handshake draws more than its answer: each may be forged."""
        if now < self.greeted_at + GREETING_PAUSE_S:
            return False
        self.greeted_at = now
        return True

    def note_challenge(self, *, is_held: bool) -> None:
        """Record whether a newcomer that would take the place is held."""
        self.challenged = is_held

    def note_accepted(self) -> None:
        """The peer has asked for the session too."""
        self.accepted = True

    def suspend(self) -> None:
        """The session is over, and another one has been requested."""
        self.resumes = True

    def end(self) -> None:
        """The peer was removed: cancel everything."""
        self.resumes = False
        self.cancel()
        self.forget_question()

    def schedule_about(
        self,
        timers: Timers,
        when: float,
        action: Callable[[SubjectT, float], None],
        subject: SubjectT,
    ) -> None:
        """As `schedule`, for an action that is the same for all peers; see `Timers`."""
        self.cancel()
        self._timer = timers.schedule_about(when, action, subject)

    def schedule(self, timers: Timers, when: float, action: Action) -> None:
        """Plan the next step, replacing the one planned before.

        Args:
            timers: The timers of this node.
            when: The time, seconds.
            action: What is done then.
        """
        self.cancel()
        self._timer = timers.schedule(when, action)

    def plan_question(
        self,
        timers: Timers,
        when: float,
        action: Callable[[SubjectT, float], None],
        subject: SubjectT,
    ) -> None:
        """Plan when a newcomer is first asked whether it is there; cancelled when the peer is
        removed.

        Args:
            timers: The timers of this node.
            when: The time, seconds; it may be a little later.
            action: What is done then, the same for all peers.
            subject: The argument of the action.
        """
        moment = math.ceil(when * QUESTIONS_PER_S) / QUESTIONS_PER_S
        self.question = timers.schedule_about(moment, action, subject)

    def forget_question(self) -> None:
        """It was asked, or need not be any more."""
        if self.question is not None:
            self.question.cancel()
            self.question = None

    def cancel(self) -> None:
        """Plan no next step."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def next_step_at(self) -> float:
        """When the next step is due, seconds; infinity if none is planned."""
        timer = self._timer
        return math.inf if timer is None or timer.action is None else timer.when

    def cancel_channel(self) -> None:
        """Cancel the channel's next step."""
        if self.channel_timer is not None:
            self.channel_timer.cancel()
            self.channel_timer = None
