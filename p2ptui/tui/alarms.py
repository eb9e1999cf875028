"""Peers that are not who they were before: each is told once, in few words, where a person looks.

The log has every one of them with what to do, and the title counts them. A stranger can make many:
so one alarm at a time is shown, and those that come soon after it are counted in the next.
"""

import math
from collections import OrderedDict
from typing import Final

from p2ptui.core.events import Event, TrustChanged
from p2ptui.secure.known_nodes import Trust
from p2ptui.tui.trust_words import advice_in_bar

MAX_TOLD: Final = 256
"""Peers of which it is known that their change was told."""

PAUSE_S: Final = 15.0
"""From one alarm to the next."""


class Alarms:
    """Says when there is something to tell."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, str] = OrderedDict()
        self._waiting: dict[str, str] = {}
        self._next_at = -math.inf

    def note(self, event: Event) -> bool:
        """Something has happened; whether a peer is seen otherwise."""
        if not isinstance(event, TrustChanged):
            return False
        if event.trust is not Trust.CHANGED:
            # The user has settled it: it may change again.
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
        """What is to be told now, in words; empty if nothing is.

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
