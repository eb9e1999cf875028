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

HEADROOM_S: Final = 1.5
HEADROOM_SHARE: Final = 0.2
"""So much sooner a keepalive leaves, the smaller of both, where a NAT is known to forget before the
usual time: the process may stand still for a second, and the next keepalive may be lost."""

CLOSE_TO: Final = 0.95


class MappingLife:
    """What is known of one network's NAT.

    Args:
        interval_s: What was remembered of it, seconds.
    """

    def __init__(self, interval_s: float | None = None) -> None:
        self.bound_s = USUAL_S if interval_s is None else _bounded(interval_s)
        """A way may be left idle for this long, as far as is known."""
        self.is_seen = False
        """Whether it was seen that this suffices."""
        self._is_doubted = False

    @property
    def interval_s(self) -> float:
        """A way is left idle for at most this long."""
        return _bounded(SHARE * self.bound_s) if self._is_doubted else self.bound_s

    @property
    def pause_s(self) -> float:
        """So long after the last datagram a keepalive leaves."""
        interval_s = self.interval_s
        if interval_s >= USUAL_S:
            return interval_s
        return interval_s - min(HEADROOM_S, HEADROOM_SHARE * interval_s)

    def note_open(self, idle_s: float) -> bool:
        """Something came in by a way that had been idle for so long; whether that is news."""
        if self.is_seen or idle_s < CLOSE_TO * self.bound_s:
            return False
        self.is_seen = True
        self._is_doubted = False
        return True

    def note_closed(self, idle_s: float) -> bool:
        """Nothing came in by a way that had been idle for so long; whether that is news."""
        bound_s = _bounded(SHARE * min(idle_s, self.bound_s))
        if bound_s >= self.bound_s or self._is_known(idle_s):
            return False
        self.bound_s = bound_s
        self.is_seen = self._is_doubted = False
        return True

    def note_new_port(self, idle_s: float) -> bool:
        """A way that had been idle for so long has another outside port; whether that is news.

        Its NAT has forgotten it, or was restarted: the second time it is believed, and until then
        ways are left idle for less, or until it was seen that they may be.
        """
        if self._is_known(idle_s):
            return False
        if self._is_doubted:
            return self.note_closed(idle_s)
        self._is_doubted = True
        self.is_seen = False
        return False

    def _is_known(self, idle_s: float) -> bool:
        """Whether it is known that a way must not be idle for so long."""
        return CLOSE_TO * idle_s > self.bound_s

    def note_measured(self, lifetime_s: float) -> None:
        """A mapping's lifetime was measured."""
        self.bound_s = _bounded(SHARE * lifetime_s)
        self.is_seen = True
        self._is_doubted = False


def _bounded(interval_s: float) -> float:
    return min(max(interval_s, SHORTEST_S), LONGEST_S)
