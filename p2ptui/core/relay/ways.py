"""The ways of one relayed session: one for each server, its round trip, and which is preferred."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.peers import Peer
from p2ptui.core.timers import Timer
from p2ptui.wire.address import Address

MAX_ASKED: Final = 8
"""Checks on one way whose answers are still recognised."""

SURVEY_CHECKS: Final = 3
MIN_ANSWERS: Final = 2
"""Checks of one survey on each way, and how many must be answered: a lossy way is no better,
however quick it is. The least round trip counts, so that a momentary queue does not."""

BETTER_SHARE: Final = 0.75
BETTER_S: Final = 0.005
"""How much quicker another way must be: one that is nearly as good is not worth a change."""

HOLD_S: Final = 30.0
LONGEST_HOLD_S: Final = 600.0
"""After a change, no other one is made merely for speed for this long at most, twice as long each
time, so that the session does not alternate between two ways that take turns being slow."""


@dataclass(slots=True, eq=False)
class Way:
    """The way to a node through one server."""

    server: Peer
    address: Address
    """The node's address through that server."""
    asked: BoundedTable[str, float] = field(default_factory=lambda: BoundedTable(MAX_ASKED))
    """The nonces of the latest checks, and when they were sent."""
    rtts_s: deque[float] = field(default_factory=lambda: deque(maxlen=SURVEY_CHECKS))
    """The round trips of answers since the survey began, seconds."""
    asked_at: float = -math.inf
    answered_at: float = -math.inf
    refused_at: float = -math.inf
    """When the server last said that it does not relay there."""

    def note_asked(self, nonce: str, now: float) -> None:
        """A check is sent."""
        self.asked_at = now
        self.asked.put(nonce, now)

    def take_answer(self, nonce: str, now: float) -> float | None:
        """The answer to a check: the round trip, seconds; None if it was not asked for."""
        sent_at = self.asked.pop(nonce, None)
        if sent_at is None:
            return None
        self.answered_at = now
        self.rtts_s.append(now - sent_at)
        return now - sent_at

    @property
    def rtt_s(self) -> float:
        """The least round trip of the survey, seconds; infinite without enough answers."""
        return min(self.rtts_s) if len(self.rtts_s) >= MIN_ANSWERS else math.inf


@dataclass(slots=True)
class Trouble:
    """Nothing comes back through the server in use."""

    began: float
    rounds: int = 0


@dataclass(slots=True, eq=False)
class RelayedSession:
    """A session that goes through servers."""

    peer: Peer
    ways: dict[Address, Way] = field(default_factory=dict)
    trouble: Trouble | None = None
    timer: Timer | None = None
    """The next round of checks while there is trouble."""
    tick: Timer | None = None
    """While the session is in use, the next check for a quicker way."""
    quiet: Timer | None = None
    """The end of the other side's flow, if it sends nothing for a moment."""
    heard_at: float = -math.inf
    heard: int = 0
    """Datagrams since the last such end."""
    surveyed_at: float = -math.inf
    recovered_at: float = -math.inf
    """When an answer last came on the way in use."""
    switched_at: float = -math.inf
    hold_s: float = HOLD_S
    announced: str = ""
    """The nonce of this side's announcement of a change that the other side has not answered."""
    held: str | None = None
    """Why the node's own address, which the session uses, may no longer work: messages wait until a
    working way is known."""
    lost: str | None = None
    """Why the server in use is gone; the session ends with this reason if none carries it in
    time."""
    lost_id: str = ""
    """The id of that server: it may be joined again at another address."""
    patience: Timer | None = None
    """The end of that time, for this loss and no earlier one."""

    def lose(self, reason: str, patience: Timer) -> None:
        """The server in use is gone.

        Args:
            reason: Why, in one line.
            patience: Judges the session unless a way is found first.
        """
        self.find()
        self.lost, self.patience = reason, patience

    def find(self) -> None:
        """A server carries the session, or it needs none."""
        self.lost = None
        self.stop(("patience",))

    def best(self, since: float) -> Way | None:
        """The quickest of the ways that have answered since a given time."""
        answered = [way for way in self.ways.values() if way.answered_at >= since and way.rtts_s]
        return min(answered, key=lambda way: way.rtts_s[-1], default=None)

    def quicker(self, now: float) -> Way | None:
        """A way worth a change merely for speed, as shown by the survey that has just ended, or
        because the one in use answered nothing."""
        home = self.ways.get(self.peer.home)
        best = min(self.ways.values(), key=lambda way: way.rtt_s, default=None)
        if home is None or best is None or best is home:
            return None
        if home.rtts_s and now < self.switched_at + self.hold_s:
            return None
        is_better = best.rtt_s < math.inf and _is_better(best.rtt_s, home.rtt_s)
        return best if is_better else None

    @staticmethod
    def is_quicker(way: Way, other: Way) -> bool:
        """Whether the latest answer on one way was quicker than on another by enough for a
        change."""
        return _is_better(way.rtts_s[-1], other.rtts_s[-1])

    def note_switch(self, now: float) -> None:
        """Another way is used from now on."""
        if now > self.switched_at + LONGEST_HOLD_S:
            self.hold_s = HOLD_S
        else:
            self.hold_s = min(2 * self.hold_s, LONGEST_HOLD_S)
        self.switched_at = now

    def stop(self, timers: Iterable[str] = ("timer", "tick", "quiet", "patience")) -> None:
        """Cancel the named timers, by default all."""
        for name in timers:
            timer: Timer | None = getattr(self, name)
            if timer is not None:
                timer.cancel()
                setattr(self, name, None)


def _is_better(rtt_s: float, than_s: float) -> bool:
    return rtt_s <= min(than_s * BETTER_SHARE, than_s - BETTER_S)
