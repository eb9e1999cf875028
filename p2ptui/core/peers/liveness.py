"""What shows that a peer is there, and what is assumed while nothing does."""

import enum
from dataclasses import dataclass
from typing import Final

from p2ptui.core.peers.timing import TimingProof
from p2ptui.core.pings import Pings
from p2ptui.core.timers import NEVER

PATIENCE: Final = 3
"""A peer that has answered late before is given this many times as long."""

LONGEST_ANSWER_S: Final = 3.0
"""But no longer than this."""

PONGS_REMEMBERED: Final = 6
"""How many Pongs have their arrival times remembered."""


class Suspicion(enum.Enum):
    """What is assumed about a peer unless it answers a Ping."""

    LEFT = "left"
    """A Disconnect came, which anybody could have forged."""
    FORGOT = "forgot"
    """It says that it does not know this node: restarted, or forged."""


@dataclass(frozen=True, slots=True)
class Shown:
    """When a newcomer proved that it is there, by something that nobody else can know."""

    asked_at: float
    """When it first asked, seconds."""
    shown_at: float
    """When it last showed it, seconds."""


class Signs(TimingProof):
    """What tells a peer from somebody who writes in its name, including when it answers heartbeats,
    if its answers name no Ping."""

    __slots__ = (
        "alarmed_at",
        "answered_for_seat",
        "ceded_at",
        "cleared_at",
        "has_answered_ping",
        "ponged_at",
        "pongs",
    )

    def __init__(self) -> None:
        super().__init__()
        self.pongs = 0
        """Pongs that came in its name."""
        self.ponged_at: tuple[float, ...] = ()
        """When the last of them came; seconds."""
        self.has_answered_ping = False
        """Whether any of them was an answer."""
        self.answered_for_seat = False
        """Whether it answered a Ping before it had a place, at a moment that nobody else knew."""
        self.alarmed_at = NEVER
        """When a goodbye in its name last turned out to be forged, seconds."""
        self.cleared_at = NEVER
        """When it last turned out that it knows this node after all."""
        self.ceded_at = NEVER
        """When it left Pings unanswered, and another server of the network said that it has the
        node."""

    def note_pong(self, now: float, *, is_answer: bool) -> None:
        """A Pong arrived, which may or may not answer an outstanding Ping."""
        self.pongs += 1
        self.ponged_at = (*self.ponged_at[1 - PONGS_REMEMBERED :], now)
        self.has_answered_ping |= is_answer


class PeerLiveness:
    """When a peer was last heard, which Pings it was sent, and whether it is suspected to be gone.

    Args:
        last_received: See the attribute.
        answered_at: Likewise.
    """

    __slots__ = (
        "_pings",
        "_signs",
        "_suspected_at",
        "answered_at",
        "heartbeat_due",
        "known_at",
        "last_ping_sent",
        "last_received",
        "shown_at",
        "suspicion",
    )

    def __init__(self, last_received: float = 0.0, answered_at: float = 0.0) -> None:
        self.last_received = last_received
        """When something last came from it; seconds."""
        self.answered_at = answered_at
        """When it last answered something from this node: what it sends by itself does not show
        that it hears this node."""
        self.shown_at = NEVER
        """When it last gave an answer that nobody else could know, seconds."""
        self.last_ping_sent = NEVER
        self.heartbeat_due = NEVER
        """When it is pinged next if it answers the last Ping."""
        self.known_at = NEVER
        """When it last showed that it knows this node, as a server does with a Ping of its own."""
        self.suspicion: Suspicion | None = None
        self._suspected_at = 0.0
        # Made for the first Ping and for the first sign: a newcomer has neither.
        self._pings: Pings | None = None
        self._signs: Signs | None = None

    @property
    def pings(self) -> Pings:
        """The Pings sent to it; to query them only, use the properties below."""
        if self._pings is None:
            self._pings = Pings()
        return self._pings

    @property
    def outstanding(self) -> int:
        """How many of them have no Pong."""
        return 0 if self._pings is None else len(self._pings)

    @property
    def unanswered(self) -> int:
        """How many were sent since one was answered."""
        return 0 if self._pings is None else self._pings.unanswered

    def are_pings_ignored(self, heard_at: float, now: float) -> bool:
        """See `Pings.are_ignored`."""
        return self._pings is not None and self._pings.are_ignored(heard_at, now)

    def excuse_pings(self) -> None:
        """The Pings sent so far say nothing, although they are unanswered."""
        if self._pings is not None:
            self._pings.excuse()

    @property
    def signs(self) -> Signs:
        """What tells it from an impostor; to query it only, use the properties below."""
        if self._signs is None:
            self._signs = Signs()
        return self._signs

    @property
    def has_answered_ping(self) -> bool:
        """Whether any Pong of it was an answer."""
        return self._signs is not None and self._signs.has_answered_ping

    @property
    def answered_for_seat(self) -> bool:
        """Whether it answered a Ping before it had a place, at a moment that nobody else knew."""
        return self._signs is not None and self._signs.answered_for_seat

    @property
    def alarmed_at(self) -> float:
        """When a goodbye in its name last turned out to be forged, seconds."""
        return NEVER if self._signs is None else self._signs.alarmed_at

    @property
    def cleared_at(self) -> float:
        """When it last turned out that it knows this node after all."""
        return NEVER if self._signs is None else self._signs.cleared_at

    @property
    def ceded_at(self) -> float:
        """When it left Pings unanswered, and another server of the network said that it has the
        node."""
        return NEVER if self._signs is None else self._signs.ceded_at

    @property
    def is_ceded(self) -> bool:
        """Whether it is left to another server: nothing has come from it since that began."""
        return self.ceded_at > self.last_received

    def cede(self, now: float) -> None:
        """It left Pings unanswered, and another server of the network says that it has the node."""
        self.signs.ceded_at = now

    def hear(self, now: float) -> None:
        """Something came from it."""
        self.last_received = now

    def note_known(self, now: float) -> None:
        """It has shown that it knows this node."""
        self.known_at = now

    def note_answer(self, now: float, *, is_certain: bool = False) -> None:
        """It answered something, so it hears this node.

        Args:
            now: The time, seconds.
            is_certain: Whether with something that only a node at its address can know.
        """
        self.answered_at = now
        if is_certain:
            self.shown_at = now

    def note_seat(self, *, has_answered: bool) -> None:
        """It has a place in the table; and whether it answered a Ping before."""
        if has_answered or self._signs is not None:
            self.signs.answered_for_seat = has_answered

    def begin(self, now: float) -> None:
        """A handshake is complete: all suspicions end."""
        self.last_received = self.answered_at = self.known_at = now
        self.suspicion = None
        if self._signs is not None:
            self._signs.start_over()

    def excuse(self, silent_s: float, now: float) -> None:
        """This node did not listen for this many seconds: they do not count as silence."""
        self.last_received = max(self.last_received, min(self.last_received + silent_s, now))
        self.answered_at = max(self.answered_at, min(self.answered_at + silent_s, now))

    def patience_s(self, least_s: float, now: float, *, is_proved: bool = False) -> float:
        """How long a Ping may stay unanswered, judged by earlier answers.

        Args:
            least_s: The least value, seconds.
            now: The time, seconds.
            is_proved: Whether its address is proved: then all its answers count.
        """
        answer_s = slowest_s = 0.0
        if self._pings is not None:
            answer_s = self._pings.guessed_s if is_proved else self._pings.answer_s
        if self._signs is not None:
            slowest_s = self._signs.slowest_s(now)
        slowest_s = max(answer_s, slowest_s)
        return max(least_s, min(PATIENCE * slowest_s, LONGEST_ANSWER_S))

    @property
    def has_missed_ping(self) -> bool:
        """Whether nothing has arrived since the last Ping."""
        return self.last_received < self.last_ping_sent

    def suspect(self, suspicion: Suspicion, now: float) -> None:
        """From now on it is suspected of something, unless it answers."""
        self.suspicion = suspicion
        self._suspected_at = now

    def is_suspected_since(self, began: float) -> bool:
        """Whether this is still the same suspicion: an answer ends one, and the next begins
        anew."""
        return self.suspicion is not None and self._suspected_at == began

    def clear(self, now: float) -> None:
        """It answered a Ping: it is no longer suspected."""
        if self.suspicion is Suspicion.FORGOT:
            self.signs.cleared_at = now
        elif self.suspicion is Suspicion.LEFT:
            self.signs.alarmed_at = now
        self.suspicion = None

    def judge(self) -> Suspicion | None:
        """It did not answer: the suspicion was right, and is settled."""
        suspicion, self.suspicion = self.suspicion, None
        return suspicion
