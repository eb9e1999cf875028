"""How long a path through a NAT may be idle, as far as was observed.

Until something is known, RFC 8445 (section 11) and RFC 5626 (section 4.4.1) have something sent
every 15 s or sooner.
"""

from typing import Final

USUAL_S: Final = 15.0
SHORTEST_S: Final = 2.5
"""No session could live behind a NAT that forgets sooner than this."""

LONGEST_S: Final = 60.0
"""However long a mapping lives, since a router may have been restarted."""

SHARE: Final = 0.5
"""The share used of an idle time that was too long, or of a measured lifetime: one keepalive may be
lost.
"""

HEADROOM_S: Final = 1.5
HEADROOM_SHARE: Final = 0.2
"""A keepalive leaves this much sooner, whichever is smaller, if a NAT is known to forget before the
usual time: the process may stall for a second, and the next keepalive may be lost.
"""

CLOSE_TO: Final = 0.95


class MappingLife:
    """What is known about the NAT of one network.

    Args:
        interval_s: The remembered interval, seconds; None if there is none.
    """

    def __init__(self, interval_s: float | None = None) -> None:
        self.bound_s = USUAL_S if interval_s is None else _bounded(interval_s)
        """A path may be idle for this long, as far as is known."""
        self.is_seen = False
        """Whether it was observed that this suffices."""
        self._is_doubted = False

    @property
    def interval_s(self) -> float:
        """The longest time for which a path is left idle."""
        return _bounded(SHARE * self.bound_s) if self._is_doubted else self.bound_s

    @property
    def pause_s(self) -> float:
        """Time from the last datagram to a keepalive."""
        interval_s = self.interval_s
        if interval_s >= USUAL_S:
            return interval_s
        return interval_s - min(HEADROOM_S, HEADROOM_SHARE * interval_s)

    def note_open(self, idle_s: float) -> bool:
        """Something came in over a path that had been idle for this long; return whether that is
        news.
        """
        if self.is_seen or idle_s < CLOSE_TO * self.bound_s:
            return False
        self.is_seen = True
        self._is_doubted = False
        return True

    def note_closed(self, idle_s: float) -> bool:
        """Nothing came in over a path that had been idle for this long; return whether that is
        news.
        """
        bound_s = _bounded(SHARE * min(idle_s, self.bound_s))
        if bound_s >= self.bound_s or self._is_known(idle_s):
            return False
        self.bound_s = bound_s
        self.is_seen = self._is_doubted = False
        return True

    def note_new_port(self, idle_s: float) -> bool:
        """A path that had been idle for this long has another outside port; return whether that is
        news.

        Its NAT has forgotten the mapping, or was restarted. It is believed the second time; until
        then, or until a longer time is seen to suffice, paths are left idle for less.
        """
        if self._is_known(idle_s):
            return False
        if self._is_doubted:
            return self.note_closed(idle_s)
        self._is_doubted = True
        self.is_seen = False
        return False

    def _is_known(self, idle_s: float) -> bool:
        """Whether it is known that a path must not be idle for this long."""
        return CLOSE_TO * idle_s > self.bound_s

    def note_measured(self, lifetime_s: float) -> None:
        """A mapping's lifetime was measured."""
        self.bound_s = _bounded(SHARE * lifetime_s)
        self.is_seen = True
        self._is_doubted = False


def _bounded(interval_s: float) -> float:
    return min(max(interval_s, SHORTEST_S), LONGEST_S)
