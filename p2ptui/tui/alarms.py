"""Alarms about peers whose identity has changed: each is shown once, briefly, where the user looks.

The log has all of them with what to do, and the title counts them. A stranger can cause many, so
one alarm at a time is shown, and those that come soon after it are counted in the next.
"""

import math
from collections import OrderedDict
from typing import Final

from p2ptui.core.events import Event, TrustChanged
from p2ptui.secure.known_nodes import Trust
from p2ptui.tui.trust_words import advice_in_bar

MAX_TOLD: Final = 256
"""Peers whose change is remembered as reported."""

PAUSE_S: Final = 15.0
"""From one alarm to the next."""


class Alarms:
    """Decides when there is something to report."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, str] = OrderedDict()
        self._waiting: dict[str, str] = {}
        self._next_at = -math.inf

    def note(self, event: Event) -> bool:
        """Take an event; return whether a peer is now judged differently."""
        if not isinstance(event, TrustChanged):
            return False
        if event.trust is not Trust.CHANGED:
            # The user has resolved it: it may change again.
            self._told.pop(event.node_id, None)
            self._waiting.pop(event.node_id, None)
            return True
        # What happened; the log says in full what to do, where it is in nobody's way.
        what, _, _ = advice_in_bar(event.advice).partition(": ")
        words = f"{'refused: ' if event.is_refused else ''}{what}; the messages say what to do"
        if self._told.get(event.node_id) != words and len(self._waiting) < MAX_TOLD:
            self._waiting[event.node_id] = words
        return True

    def take(self, now: float) -> str:
        """What to show now, in words; empty if there is nothing.

        Args:
            now: The time, seconds.
        """
        if not self._waiting or now < self._next_at:
            return ""
        waiting, self._waiting = self._waiting, {}
        self._next_at = now + PAUSE_S
        self._told.update(waiting)
        while len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
        if len(waiting) > 1:
            return f"{len(waiting)} peers are not who they were before: peers trust:changed"
        (words,) = waiting.values()
        return words
