"""Messages that were acknowledged and may still be asked for: the Ack may be lost, not they."""

from collections import OrderedDict


class ResendBuffer:
    """The latest acknowledged messages, by number.

    Args:
        limit_bytes: What may be kept.
    """

    __slots__ = ("_limit_bytes", "_messages", "_used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._messages: OrderedDict[int, bytes] = OrderedDict()
        self._used_bytes = 0

    def add(self, sequence: int, data: bytes) -> None:
        """Keep a message; the oldest make room."""
        self._messages[sequence] = data
        self._used_bytes += len(data)
        while self._used_bytes > self._limit_bytes:
            _, oldest = self._messages.popitem(last=False)
            self._used_bytes -= len(oldest)

    def get(self, sequence: int) -> bytes | None:
        """The message with a number, if it is still kept."""
        return self._messages.get(sequence)

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()
        self._used_bytes = 0
