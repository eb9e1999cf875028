"""How a sender goes on after giving up more numbers than the receiver's window holds: it announces
the skip, with something that only the owner of the session knows, and waits until that is
acknowledged."""

import math
from typing import Final

from p2ptui.core.reliability.numbering import Numbering
from p2ptui.core.reliability.rtt import RttEstimator

PAUSE_S: Final = 1.0
"""The least time between two announcements that forged datagrams made necessary."""


class Skips:
    """The announcement in flight, if any.

    Args:
        numbering: The numbers that are skipped.
        rtt: The path's round-trip estimator.
        max_tries: How often an announcement is sent.
    """

    __slots__ = (
        "_count",
        "_data",
        "_due_at",
        "_last_began",
        "_max_tries",
        "_message_id",
        "_number",
        "_numbering",
        "_rtt",
        "_tries",
        "_wanted",
    )

    def __init__(self, numbering: Numbering, rtt: RttEstimator, max_tries: int) -> None:
        self._numbering = numbering
        self._rtt = rtt
        self._max_tries = max_tries
        self._last_began = -math.inf
        self._count = 0
        self.reset()

    def reset(self) -> None:
        """A new session begins: its first number is known to both sides."""
        self._wanted = False
        self._message_id = ""
        self._data = b""
        self._number = 0
        self._tries = 0
        self._due_at = 0.0

    @property
    def is_as_new(self) -> bool:
        """Whether there was never anything to announce."""
        return not (self._count or self._wanted)

    def handle_foreign_number(self, now: float) -> None:
        """The receiver acknowledges a number that was never used: somebody forges this side's
        messages, and the receiver's window has moved with them."""
        if self._numbering.bounded and now - self._last_began >= PAUSE_S:
            self._wanted = True

    def is_needed(self, *, waiting: bool) -> bool:
        """Whether a skip is due; `waiting` says whether a message waits for its number."""
        return not self._message_id and (self._wanted or (waiting and self._numbering.is_exhausted))

    @property
    def next_count(self) -> int:
        """The number of the next announcement."""
        return self._count + 1

    def begin(self, message_id: str, data: bytes, now: float) -> None:
        """An announcement with the next number was written; it is due at once."""
        self._wanted = False
        self._count += 1
        self._message_id, self._data = message_id, data
        self._number = self._numbering.next
        self._tries = 0
        self._due_at = self._last_began = now

    def to_send(self, now: float) -> bytes | None:
        """The announcement, if it is to be sent now."""
        if not self._message_id or self._due_at > now or self._tries >= self._max_tries:
            return None
        self._tries += 1
        self._due_at = now + self._rtt.rto(self._tries)
        return self._data

    def handle_ack(self, key: int | str) -> bool:
        """Whether this was the acknowledgement of the announcement."""
        if not self._message_id or key != self._message_id:
            return False
        self._numbering.skip_to(self._number)
        self._message_id = ""
        return True

    def has_failed(self, now: float) -> bool:
        """Whether no try of it was acknowledged; reported once."""
        failed = bool(self._message_id) and self._tries >= self._max_tries and self._due_at <= now
        if failed:
            self._message_id = ""
        return failed

    def next_timeout(self) -> float | None:
        """When something is to be done next, or None."""
        return self._due_at if self._message_id else None
