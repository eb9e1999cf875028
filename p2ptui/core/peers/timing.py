"""Proof by timing: the moment of an answer shows that a program hears, though it only says `null`.

Deployed programs answer every Ping with `null`, which anybody could send in their name. But nobody
else knows when they are asked: each heartbeat leaves at a random moment within several seconds, and
its answer counts if it comes soon, and only once. A blind sender hits such a moment once in twenty
times and has to hit five in a row: one attempt in 160,000. A wrong guess starts over.
"""

from typing import Final

from p2ptui.core.timers import NEVER

WINDOW_S: Final = 5.0
"""Each heartbeat that counts is sent at a random moment, uniform over at least this time."""

PAUSE_S: Final = 2.0
"""From a heartbeat that counts to the beginning of the next one's window."""

FIRST_AFTER_S: Final = 3.0
"""From the handshake to the beginning of the first heartbeat's window: by then it has its
answers."""

ANSWERS: Final = 5
"""Heartbeats that must be answered, in a row."""

AGREEING: Final = 2
"""This many in a row show how long answers take. A blind sender rarely gets there: it has to send
about as rarely as it is asked, and each datagram too many starts over."""

AGREED_S: Final = 60.0
"""How long that is remembered: answers may come less evenly than the proof requires."""

TOLERANCE_S: Final = 0.25
"""Answers may take this much longer than the quickest of them."""

SLOWEST_S: Final = 2.0
"""Answers that take longer do not count."""

BLUR_S: Final = 2.0
"""For this long after a Ping that others may have caused, Pongs mean nothing, neither for nor
against."""

CHALLENGES: Final = 3
CHALLENGES_S: Final = 10.0
"""Most Pings in this time because something waits; their answers pay for it."""

HOPELESS_PINGS: Final = 3
"""A peer that has left this many Pings in a row unanswered is pinged no more often than any
other."""


class TimingProof:
    """What the answers to the heartbeats of one peer have proved so far."""

    __slots__ = (
        "_agreed_s",
        "_agreed_until",
        "_answers",
        "_asked_at",
        "_blurred_until",
        "_challenged",
        "is_under_way",
    )

    def __init__(self) -> None:
        self._answers: tuple[float, ...] = ()
        """How long the answers that count took, seconds."""
        self._agreed_s = 0.0
        self._agreed_until = NEVER
        self._asked_at: float | None = None
        """When the unanswered heartbeat was sent."""
        self._blurred_until = 0.0
        self._challenged: tuple[float, ...] = ()
        """When it was recently pinged because something waited."""
        self.is_under_way = False
        """Whether heartbeats are being sent that may be answered: then no other Ping disturbs them
        because something waits."""

    @property
    def has_begun(self) -> bool:
        """Whether any answer counts so far."""
        return bool(self._answers)

    def slowest_s(self, now: float) -> float:
        """How long the slowest of several recent agreeing answers took; zero before any did."""
        return self._agreed_s if now < self._agreed_until else 0.0

    def start_over(self) -> None:
        """Nothing shown so far counts."""
        self._answers = ()
        self._agreed_until = NEVER
        self._asked_at = None
        self.is_under_way = False

    def note_heartbeat(self, now: float) -> None:
        """A Ping is sent at a moment that nobody can guess. An earlier one that was not answered
        proves nothing."""
        self._asked_at = now

    def note_other_ping(self, now: float) -> None:
        """A Ping is sent at a moment that somebody else may know."""
        self._blurred_until = now + BLUR_S

    def may_challenge(self, now: float) -> bool:
        """Whether another Ping may be sent because something waits: not during the proof, and not
        so often that no heartbeat would ever count. If so, it counts as sent."""
        if self.is_under_way:
            return False
        lately = tuple(at for at in self._challenged if now - at < CHALLENGES_S)
        if len(lately) >= CHALLENGES:
            return False
        self._challenged = (*lately, now)
        return True

    def receive_pong(self, now: float) -> bool:
        """A Pong came from the peer's address.

        Returns:
            Whether it completes the proof.
        """
        asked_at, self._asked_at = self._asked_at, None
        if now < self._blurred_until:
            return False
        took_s = SLOWEST_S if asked_at is None else now - asked_at
        best_s = min((*self._answers, took_s))
        if took_s >= SLOWEST_S or took_s > best_s + TOLERANCE_S:
            self._answers = ()
            return False
        close = [each for each in self._answers if each <= best_s + TOLERANCE_S]
        self._answers = (*close, took_s)[-ANSWERS:]
        if len(self._answers) >= AGREEING:
            self._agreed_s, self._agreed_until = max(self._answers), now + AGREED_S
        return len(self._answers) >= ANSWERS
