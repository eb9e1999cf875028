"""One newcomer at an address in use: what it asked, what it was told, and what is planned."""

import math
from dataclasses import dataclass, field
from typing import Final

from p2ptui.core.identity import dialect_of
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.timers import Timer
from p2ptui.wire.message import Envelope, MessageType

SILENT_S: Final = 3.0
"""So long nothing may show that the session before is still there, where the newcomer can show
nothing that others cannot know."""

PROBE_PAUSE_S: Final = 0.5
"""Between two questions to the one before, in that time."""

ANSWER_AGAIN_S: Final = 0.3
"""Until the answer to one that must acknowledge it is sent again, as far as its request pays."""

MOST_ANSWERED_AGAIN: Final = 8
"""Of more of them at a time most are forged: these repeat their requests, or are nobody."""

LIFETIME_S: Final = 10.0
"""So long a newcomer of our kind may take to show that it is there; it repeats its request."""

GOES_ON_S: Final = 2.0
"""One that can show nothing should speak so soon after its answer. What comes later may be from the
one before, which has been there all the time: then whoever is there is asked who it is."""

LATE_S: Final = 5.0
LATE_WORDS: Final = 3
"""One that speaks later has the place when it has gone on for so long, with so many words, and the
one before has not shown itself though it was asked."""

LATE_LIFETIME_S: Final = 30.0
"""So long it may be quiet before that, and between two words."""

WHO_PAUSE_S: Final = 2.0
MOST_ASKED_WHO: Final = 4
"""How often it is asked who it is, and the pause between: clients wait so long for their answer."""

FROM_SERVERS: Final = frozenset(
    {
        MessageType.DISCOVERY_RESPONSE,
        MessageType.LIST_NODES_RESPONSE,
        MessageType.RELAY_RESPONSE,
        MessageType.RELAY_DATA,
        MessageType.P2P_CONNECT,
    }
)
"""What a server sends, and no program that has just asked this node for a session."""

ANSWERS: Final = frozenset({MessageType.PONG, MessageType.ACK, MessageType.ERROR})
"""What is sent because this node sent something."""


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
    asked_at: float = math.inf
    """When a deployed server before it was first asked for what only a server sends."""
    timers: dict[str, Timer] = field(default_factory=dict)
    """What is planned for it, each step once: none of that outlives it."""

    @property
    def is_answered(self) -> bool:
        """Whether it can know its answer."""
        return self.answered_at < math.inf

    @property
    def may_read(self) -> bool:
        """Whether it would read what is meant for the one before, which is another node. Who
        acknowledges its answer has the place by that, at once."""
        before, told = self.before, self.told
        is_other = before.node_id not in ("", self.arrival.info.id)
        return is_other and not before.is_secured and told.sequence is None

    @property
    def must_ask(self) -> bool:
        """Whether only its answer to a question tells the one before from this one."""
        return self.before.dialect is Dialect.REFERENCE and self.before.is_joined_server

    @property
    def due(self) -> float:
        """When the one before has been silent for so long that this one may take its place. A
        deployed server must have been asked; until it may be, nobody does."""
        began = max(self.began, self.asked_at) if self.must_ask else self.began
        return began + SILENT_S

    def goes_on_late(self, now: float) -> bool:
        """It or the one before has said something; whether that goes on for long enough."""
        self.late_since = min(self.late_since, now)
        self.late_words += 1
        return now >= self.late_since + LATE_S and self.late_words >= LATE_WORDS

    def may_ask_who(self, now: float) -> bool:
        """Whether whoever is there is asked now to shake hands again."""
        if now < self.asked_who_at + WHO_PAUSE_S or self.times_asked_who >= MOST_ASKED_WHO:
            return False
        self.asked_who_at = now
        self.times_asked_who += 1
        return True

    def note_held(self) -> None:
        """It is held beside the one before, which may be gone."""
        self.before.session.note_challenge(is_held=True)
        if self.may_read:
            self.before.facts.note_contested(self.began)

    def note_answered(self, now: float) -> None:
        """Its answer has left."""
        self.answered_at = now


def lifetime_s(newcomer: Newcomer) -> float:
    """How long one is held, seconds."""
    return LIFETIME_S if newcomer.told.sequence is not None else LATE_LIFETIME_S


def has_shown_itself(before: Peer, since: float) -> bool:
    """Whether one has shown since a time what only it can know."""
    return before.is_authenticated and before.liveness.shown_at > since


def is_repeated(held: Arrival, arrival: Arrival) -> bool:
    """Whether a request is from the same newcomer as one that is held: the same message, or
    another one that says the same of a program that acknowledges nothing."""
    if held.message.id == arrival.message.id:
        return True
    is_same = held.info == arrival.info and is_spec(held.message) is is_spec(arrival.message)
    return is_same and not arrival.acknowledges


def is_spec(message: Envelope) -> bool:
    """Whether a message is not written as the reference writes."""
    return dialect_of(message) is Dialect.SPEC
