"""How much room the receiver says it has: nothing is sent beyond that, and refused messages wait
without counting a try (in the manner of TCP's zero window, RFC 9293 section 3.8.6.1)."""

from typing import Final

from p2ptui.core.reliability.rtt import RttEstimator

FIRST_PROBE_S: Final = 0.2
LONGEST_PROBE_S: Final = 3.0
"""A receiver without room is asked again after the first of these, doubled each time up to the
second: its notice that there is room again may be lost."""


class ReceiverRoom:
    """The sender's view of the readers at the other end.

    Args:
        rtt: The path's round-trip estimator.
    """

    __slots__ = (
        "_last_told",
        "_pause_s",
        "_rtt",
        "limit_bytes",
        "paused",
        "probe_at",
        "unanswered",
    )

    def __init__(self, rtt: RttEstimator) -> None:
        self._rtt = rtt
        self.reset()

    def reset(self) -> None:
        """A new session begins: nothing is known."""
        self._last_told = 0
        self._pause_s = 0.0
        self.limit_bytes: int | None = None
        """Bytes that may be unacknowledged there; None: no limit."""
        self.paused = False
        """Whether the receiver has no room at all."""
        self.probe_at = 0.0
        """When it is asked again."""
        self.unanswered = 0
        """How often it was asked since it last answered."""

    @property
    def is_as_new(self) -> bool:
        """Whether the receiver has said nothing so far."""
        return not (self._last_told or self.paused) and self.limit_bytes is None

    def is_news(self, number: int) -> bool:
        """Whether an update with this number is newer than all others."""
        return number > self._last_told

    def handle_update(self, number: int, room_bytes: int, now: float) -> None:
        """The receiver says how many bytes it accepts; 0 when it is busy."""
        self._last_told = number
        self.unanswered = 0
        if room_bytes > 0:
            self.open(room_bytes)
            return
        if not self.paused:
            self._pause_s = max(FIRST_PROBE_S, self._rtt.rto())
        self.paused = True
        self.limit_bytes = 0
        self.probe_at = now + self._pause_s

    def open(self, room_bytes: int | None) -> None:
        """There is room for this many bytes."""
        self.paused = False
        self.limit_bytes = room_bytes
        self.unanswered = 0

    def note_accepted(self, size_bytes: int) -> None:
        """A message found room: there may be more than was announced."""
        if self.limit_bytes is not None:
            self.limit_bytes += size_bytes

    def note_probe(self, now: float) -> None:
        """The receiver is asked now."""
        self.unanswered += 1
        self._pause_s = min(2 * self._pause_s, LONGEST_PROBE_S)
        self.probe_at = now + self._pause_s

    def admits(self, size_bytes: int, unacknowledged_bytes: int) -> bool:
        """Whether a message of this size may begin; a single one always may."""
        return (
            self.limit_bytes is None
            or not unacknowledged_bytes
            or unacknowledged_bytes + size_bytes <= self.limit_bytes
        )
