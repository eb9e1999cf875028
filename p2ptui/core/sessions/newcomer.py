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
"""How long the previous peer must not have shown itself before a newcomer that cannot prove itself
takes its place."""

PROBE_PAUSE_S: Final = 0.5
"""Between two questions to the previous peer in that time."""

ANSWER_AGAIN_S: Final = 0.3
"""After what time an answer that must be acknowledged is sent again, as far as its request pays."""

MOST_ANSWERED_AGAIN: Final = 8
"""With more of them at a time, no answer is sent again: most are forged, and the others repeat
their requests."""

LIFETIME_S: Final = 10.0
"""How long a p2ptui newcomer may take to prove that it is there; it repeats its request."""

GOES_ON_S: Final = 2.0
"""How soon after its answer a newcomer that cannot prove itself should speak. Anything later may
come from the previous peer, if that never left: then the node at the address is asked who it is."""

LATE_S: Final = 5.0
LATE_WORDS: Final = 3
"""One that speaks later takes the place after this long and this many messages, if the previous
peer was asked and has not shown itself."""

LATE_LIFETIME_S: Final = 30.0
"""How long it may be silent before that, and between two messages."""

WHO_PAUSE_S: Final = 2.0
MOST_ASKED_WHO: Final = 4
"""How often it is asked who it is, and the pause between: clients wait that long for their
answer."""

FROM_SERVERS: Final = frozenset(
    {
        MessageType.DISCOVERY_RESPONSE,
        MessageType.LIST_NODES_RESPONSE,
        MessageType.RELAY_RESPONSE,
        MessageType.RELAY_DATA,
        MessageType.P2P_CONNECT,
    }
)
"""What a server sends, but no program that has just asked this node for a session."""

ANSWERS: Final = frozenset({MessageType.PONG, MessageType.ACK, MessageType.ERROR})
"""What is sent in answer to something that this node sent."""


@dataclass(slots=True, eq=False)
class Newcomer:
    """See `newcomers`."""

    before: Peer
    """The previous peer, whose place it would take."""
    arrival: Arrival
    told: Told
    began: float
    """When it last asked, or first asked if it acknowledges nothing."""
    answered_at: float = math.inf
    """When its answer was last sent."""
    has_spoken: bool = False
    """Whether it sent something after its answer, as far as can be told."""
    late_since: float = math.inf
    """When it first spoke after `GOES_ON_S`."""
    late_words: int = 0
    asked_who_at: float = -math.inf
    """When the node at the address was last asked to shake hands again."""
    times_asked_who: int = 0
    asked_at: float = math.inf
    """When the previous peer, a deployed server, was first asked for what only a server sends."""
    timers: dict[str, Timer] = field(default_factory=dict)
    """The steps planned for it, each once; they are cancelled with it."""

    @property
    def is_answered(self) -> bool:
        """Whether its answer was sent."""
        return self.answered_at < math.inf

    @property
    def may_read(self) -> bool:
        """Whether it would read what is meant for the previous peer, another node. A newcomer that
        acknowledges its answer would not: that gives it the place at once."""
        before, told = self.before, self.told
        is_other = before.node_id not in ("", self.arrival.info.id)
        return is_other and not before.is_secured and told.sequence is None

    @property
    def must_ask(self) -> bool:
        """Whether only an answer to a question tells the previous peer from this one."""
        return self.before.dialect is Dialect.REFERENCE and self.before.is_joined_server

    @property
    def due(self) -> float:
        """When the previous peer has been silent long enough for this one to take its place. A
        deployed server must have been asked first: until then, nobody does."""
        began = max(self.began, self.asked_at) if self.must_ask else self.began
        return began + SILENT_S

    def goes_on_late(self, now: float) -> bool:
        """It or the previous peer has said something; returns whether that has gone on for long
        enough."""
        self.late_since = min(self.late_since, now)
        self.late_words += 1
        return now >= self.late_since + LATE_S and self.late_words >= LATE_WORDS

    def may_ask_who(self, now: float) -> bool:
        """Whether the node at the address is now asked to shake hands again."""
        if now < self.asked_who_at + WHO_PAUSE_S or self.times_asked_who >= MOST_ASKED_WHO:
            return False
        self.asked_who_at = now
        self.times_asked_who += 1
        return True

    def note_held(self) -> None:
        """It is held beside the previous peer, which may be gone."""
        self.before.session.note_challenge(is_held=True)
        if self.may_read:
            self.before.facts.note_contested(self.began)

    def note_answered(self, now: float) -> None:
        """Its answer was sent."""
        self.answered_at = now


def lifetime_s(newcomer: Newcomer) -> float:
    """How long a newcomer is held, seconds."""
    return LIFETIME_S if newcomer.told.sequence is not None else LATE_LIFETIME_S


def has_shown_itself(before: Peer, since: float) -> bool:
    """Whether a peer has sent, since a time, something that only it can know."""
    return before.is_authenticated and before.liveness.shown_at > since


def is_repeated(held: Arrival, arrival: Arrival) -> bool:
    """Whether a request is from the same newcomer as one that is held: the same message or, if the
    program acknowledges nothing, another one that says the same."""
    if held.message.id == arrival.message.id:
        return True
    is_same = held.info == arrival.info and is_spec(held.message) is is_spec(arrival.message)
    return is_same and not arrival.acknowledges


def is_spec(message: Envelope) -> bool:
    """Whether a message is in the spec's dialect rather than the reference's."""
    return dialect_of(message) is Dialect.SPEC
