"""Answers that name no request, like those of the reference: which are believed, and when.

Anybody can forge one in the name of the address that is asked. But the reference also acknowledges
a request, by its id, which nobody else knows, and sends the two together. So an answer that comes
with the Ack is the right one. One that comes alone is believed too, if it comes within `VOUCHED_S`
after the Ack, or once `ALONE_S` have passed without a better one. If answers contradict each other,
or outnumber the requests, none is believed: the request is made anew.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

VOUCHED_S: Final = 1.0
"""How long an Ack of the request vouches for an answer after it; it vouches for none before it."""

ALONE_S: Final = 1.0
"""How long an answer waits for a better one."""

BEFORE_ACK_S: Final = 0.005
AFTER_ACK_S: Final = 0.010
"""An answer comes with the Ack if it comes within this time before or after it: they are sent
together, and at twenty forged answers a second most Acks have no other one this close."""

ANEW_S: Final = 0.5
LONGEST_ANEW_S: Final = 1.0
"""The first and the last pause before a request with contradicting answers is made anew; doubled
each time."""

MAX_HEARD: Final = 16
"""Answers to one request that are remembered; more of them contradict each other in any case."""

_TINY_S: Final = 1e-6


@dataclass(slots=True, eq=False)
class Unnamed:
    """An answer that names no request."""

    content: bytes
    """Its content: equal from the same program."""
    came_at: float
    """When it came, seconds."""
    take: Callable[[float], None]
    """Believes it, at a given time."""


@dataclass(slots=True, eq=False)
class Hearing:
    """The answers to one request that name none."""

    pause_s: float = ANEW_S
    """Until it is made anew, if it must be."""
    _heard: deque[Unnamed] = field(default_factory=lambda: deque(maxlen=MAX_HEARD))
    acked_at: float = -math.inf
    """When the latest Ack came that names the request, seconds."""
    anew_at: float = -math.inf
    """When the request is made anew, if that is planned; seconds."""

    def add(self, answer: Unnamed) -> None:
        """Another answer has come."""
        self._heard.append(answer)

    @property
    def answers(self) -> list[Unnamed]:
        """The answers that came, oldest first."""
        return list(self._heard)

    def next_pause_s(self) -> float:
        """The pause after the next one, seconds."""
        return min(2 * self.pause_s, LONGEST_ANEW_S)

    def is_contradicted(self, requests: int) -> bool:
        """Whether some of the answers must be forged, without it being known which.

        Args:
            requests: How often the request was sent: it has at most that many answers.
        """
        kinds = {answer.content for answer in self.answers}
        return len(kinds) > 1 or len(self.answers) > requests

    def believed(self, requests: int, now: float) -> Unnamed | None:
        """The answer that is believed now, if any.

        Args:
            requests: How often the request was sent.
            now: The time, seconds.
        """
        if now < self.acked_at + AFTER_ACK_S - _TINY_S:
            # An answer this soon after the Ack is genuine; one before it may be, too.
            is_next = len(self.answers) == 1 and self.answers[0].came_at >= self.acked_at
            return self.answers[0] if is_next else None
        first, last = self.acked_at - BEFORE_ACK_S, self.acked_at + AFTER_ACK_S + _TINY_S
        near = {each.content: each for each in self.answers if first <= each.came_at <= last}
        if len(near) == 1:
            (answer,) = near.values()
            return answer
        if not self.answers or self.is_contradicted(requests):
            return None
        answer = self.answers[0]
        return answer if now >= self._due(answer) - _TINY_S else None

    def _due(self, answer: Unnamed) -> float:
        """When an answer that nothing contradicts is believed."""
        is_vouched = 0.0 <= answer.came_at - self.acked_at <= VOUCHED_S
        return answer.came_at if is_vouched else answer.came_at + ALONE_S

    def next_step_at(self) -> float:
        """When it may be known which answer is believed, while nothing contradicts it; seconds."""
        due = self._due(self.answers[0]) if self.answers else math.inf
        return max(due, self.acked_at + AFTER_ACK_S)
