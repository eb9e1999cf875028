"""How searches fared, and how long the next one is delayed (exponential backoff)."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

FIRST_REST_S: Final = 2.5
LONGEST_REST_S: Final = 60.0
RETURN_REST_S: Final = 5.0
"""Pauses between searches while the relay is used: a minute, as in other implementations, but short
where there was a direct path before, and short at first and growing where no answer came."""

SHORTEST_REST_S: Final = 0.4
"""The other side may not even know of a path that died as soon as it was found: it is searched for
again soon, and later each time."""
YOUNG_S: Final = 10.0
"""Up to this age, a path is young."""

SEARCHES: Final = 3
SEARCHES_S: Final = 6.0
"""Searches that the other side may begin in this time, since each costs this side checks and
sockets. Searches whose offers prove nothing, and may be anybody's, are counted separately."""


@dataclass(slots=True, eq=False)
class Backoff:
    """The latest search for a node, the results of earlier ones, and the pause that follows."""

    began: float
    """When the latest search began."""
    won_after_s: float | None = None
    """From there to the latest path; None: there has been none."""
    began_direct: bool = False
    """Whether the session began at the node's own address, which fell silent."""
    begins_again: bool = False
    """Whether a search begins as soon as the server is back: this machine has moved."""
    failures: int = 0
    """Searches in a row that found nothing; the pause before the next grows with it."""
    young_losses: int = 0
    """Paths in a row that died soon after they were found."""
    begun_for_other: deque[float] = field(default_factory=lambda: deque(maxlen=SEARCHES))
    """When the other side began its latest searches."""
    begun_for_anybody: deque[float] = field(default_factory=lambda: deque(maxlen=SEARCHES))
    """When searches were begun by somebody who may or may not be the other side."""

    def note_won(self, now: float) -> None:
        """A path was found."""
        self.failures = 0
        self.won_after_s = now - self.began

    def forget_failures(self) -> None:
        """Something has changed: earlier results say little about the next search."""
        self.failures = 0

    def note_moved(self, *, waits: bool) -> None:
        """This machine has moved.

        Args:
            waits: Whether the server must come back first.
        """
        self.forget_failures()
        self.begins_again = waits

    def take_begins_again(self) -> bool:
        """Whether a search has waited for the server, which is back."""
        begins_again, self.begins_again = self.begins_again, False
        return begins_again

    def may_begin_for_other(self, now: float, *, is_shown: bool = True) -> bool:
        """Whether the other side may begin a search; if so, it is counted.

        Args:
            now: The time, seconds.
            is_shown: Whether it is proved to be the other side.
        """
        begun = self.begun_for_other if is_shown else self.begun_for_anybody
        if len(begun) == SEARCHES and now - begun[0] < SEARCHES_S:
            return False
        begun.append(now)
        return True

    def take_rest_s(self, *, is_heard: bool) -> float:
        """How long to rest after a search that found nothing, seconds.

        Args:
            is_heard: Whether the other side answered.
        """
        had_path = self.won_after_s is not None or self.began_direct
        if not had_path and is_heard:
            return LONGEST_REST_S
        # An unanswered offer may have been lost.
        longest = RETURN_REST_S if had_path else LONGEST_REST_S
        pause_s = min(FIRST_REST_S * 2.0**self.failures, longest)
        self.failures = min(self.failures + 1, 8)
        return pause_s

    def take_lost_rest_s(self, now: float, *, controlling: bool) -> float:
        """How long to rest after a path has died, seconds.

        Both sides notice; the controlling one begins, the other only if that one does not.
        """
        is_young = self.won_after_s is not None and now < self.began + self.won_after_s + YOUNG_S
        if not is_young:
            self.young_losses = 0
            return FIRST_REST_S if controlling else 3 * FIRST_REST_S
        pause_s = min(SHORTEST_REST_S * 2.0**self.young_losses, FIRST_REST_S)
        self.young_losses = min(self.young_losses + 1, 8)
        return pause_s if controlling else 2 * pause_s
