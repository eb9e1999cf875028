"""When messages in flight count as lost: a heap with one deadline for each message."""

import heapq
from typing import Final, TypeAlias

from p2ptui.core.reliability.outgoing import OutgoingMessage

_STALE: Final = 256
"""Obsolete deadlines are swept out once there are more than this."""

_Entry: TypeAlias = tuple[float, int, str, OutgoingMessage]


def _is_current(entry: _Entry) -> bool:
    when, _, _, message = entry
    return not message.done and when == message.deadline


class Deadlines:
    """The deadlines of messages that have left."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, message: OutgoingMessage, timeout_s: float, now: float, count: int) -> None:
        """Give a message until `now + timeout_s`.

        Args:
            message: The message; this replaces its earlier deadline.
            timeout_s: Seconds.
            now: The time, seconds.
            count: How many messages have deadlines, approximately.
        """
        message.timeout_s = timeout_s
        message.deadline = now + timeout_s
        # A number may be here twice: see `Outbox.renumber`.
        entry = (message.deadline, message.sequence, message.message_id, message)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > _STALE + 2 * count:
            self._heap = [entry for entry in self._heap if _is_current(entry)]
            heapq.heapify(self._heap)

    def next_due(self, now: float) -> OutgoingMessage | None:
        """A message whose deadline has passed, each once; None if there is none."""
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if _is_current(entry):
                message = entry[3]
                message.deadline = 0.0  # handled, even if it is here twice
                return message
        return None

    def earliest(self) -> float | None:
        """The next deadline, or None."""
        while self._heap and not _is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()


def earliest(one: float | None, other: float | None) -> float | None:
    """The earlier of two times, either of which may be None."""
    if other is None:
        return one
    return other if one is None or other < one else one
