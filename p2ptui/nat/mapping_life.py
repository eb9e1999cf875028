"""How long a way through a NAT may be idle: what was seen of it, and what follows.

Until something is known, RFC 8445 (section 11) and RFC 5626 (section 4.4.1) have something sent
every 15 s or sooner.
"""

from typing import Final

USUAL_S: Final = 15.0
SHORTEST_S: Final = 2.5
"""A NAT that forgets sooner than this is none that a session could live behind."""

LONGEST_S: Final = 60.0
"""However long a mapping lives: a router may have been restarted."""

SHARE: Final = 0.5
"""Of what was seen to be too long, or was measured as the lifetime: one keepalive may be lost."""

CLOSE_TO: Final = 0.95


class MappingLife:
    """What is known of one network's NAT.

    Args:
        interval_s: What was remembered of it, seconds.
    """

    def __init__(self, interval_s: float | None = None) -> None:
        self.interval_s = USUAL_S if interval_s is None else _bounded(interval_s)
        """A way is left idle for at most this long."""
        self.is_seen = False
        """Whether it was seen that this suffices."""

    def note_open(self, idle_s: float) -> bool:
        """Something came in by a way that had been idle for so long; whether that is news."""
        if self.is_seen or idle_s < CLOSE_TO * self.interval_s:
            return False
        self.is_seen = True
        return True

    def note_closed(self, idle_s: float) -> bool:
        """Nothing came in by a way that had been idle for so long; whether that is news."""
        interval_s = _bounded(SHARE * min(idle_s, self.interval_s))
        if interval_s >= self.interval_s:
            return False
        self.interval_s = interval_s
        self.is_seen = False
        return True

    def note_measured(self, lifetime_s: float) -> None:
        """A mapping's lifetime was measured."""
        self.interval_s = _bounded(SHARE * lifetime_s)
        self.is_seen = True


def _bounded(interval_s: float) -> float:
    return min(max(interval_s, SHORTEST_S), LONGEST_S)
