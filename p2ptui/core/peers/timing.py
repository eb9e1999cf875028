"""Proof by timing: the moment of an answer shows that a program hears, though it only says `null`.

Deployed programs answer every Ping with `null`, which anybody could send in their name. But nobody
else knows when they are asked: each heartbeat leaves at a random moment within several seconds, and
its answer counts if it comes soon, and only once. A blind sender hits such a moment once in twenty
times and has to hit five in a row: one attempt in 160,000. A wrong guess starts over.
"""

from typing import Final

from p2ptui.core.timers import NEVER

WINDOW_S: Final = 5.0
"""Each heartbeat that counts leaves at a moment uniform over this, at least."""

PAUSE_S: Final = 2.0
"""Between one heartbeat that counts and where the window of the next one begins."""

FIRST_AFTER_S: Final = 3.0
"""From the handshake to where the window of the first heartbeat begins: it has its answers then."""

ANSWERS: Final = 5
"""Heartbeats that must be answered, one after the other."""

AGREEING: Final = 2
"""So many in a row show how long answers take. Whoever sends blindly gets there rarely: it has to
send about as rarely as it is asked, and each that it sends too much starts over."""

AGREED_S: Final = 60.0
"""So long that is remembered: answers may come less evenly than the proof wants them."""

TOLERANCE_S: Final = 0.25
"""Answers take no longer than the quickest of them and this."""

SLOWEST_S: Final = 2.0
"""No answer that takes longer counts."""

BLUR_S: Final = 2.0
"""So long after a Ping that others may have caused Pongs mean nothing, neither for nor against."""

CHALLENGES: Final = 3
CHALLENGES_S: Final = 10.0
"""So many Pings in this time because something waits, at most; their answers pay for that."""

HOPELESS_PINGS: Final = 3
"""Who has left so many Pings in a row unanswered is asked no more often than everybody."""


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
        """How long those that count took, seconds."""
        self._agreed_s = 0.0
        self._agreed_until = NEVER
        self._asked_at: float | None = None
        """When the heartbeat left that is not answered."""
        self._blurred_until = 0.0
        self._challenged: tuple[float, ...] = ()
        """When it was asked because something waited, lately."""
        self.is_under_way = False
        """Whether heartbeats leave for it, and may be answered: then no other Ping disturbs them
        because something waits."""

    @property
    def has_begun(self) -> bool:
        """Whether an answer counts so far."""
        return bool(self._answers)

    def slowest_s(self, now: float) -> float:
        """How long the slowest answer took of several that agreed lately; zero before any did."""
        return self._agreed_s if now < self._agreed_until else 0.0

    def start_over(self) -> None:
        """Nothing that was shown so far counts."""
        self._answers = ()
        self._agreed_until = NEVER
        self._asked_at = None
        self.is_under_way = False

    def note_heartbeat(self, now: float) -> None:
        """A Ping leaves at a moment that nobody can guess. Of one before that was not answered
        nothing follows."""
        self._asked_at = now

    def note_other_ping(self, now: float) -> None:
        """A Ping leaves at a moment that somebody else may know."""
        self._blurred_until = now + BLUR_S

    def may_challenge(self, now: float) -> bool:
        """Whether another Ping may go out because something waits: not while the proof is under
        way, and not so often that no heartbeat would ever count. If so, it does."""
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
