"""All messages of one session that have not ended: those that wait, and those that have left."""

from collections import OrderedDict, deque
from collections.abc import Iterable

from p2ptui.core.reliability.outgoing import OutgoingMessage, TransferQueue


class Outbox:
    """Messages by number, id and token, and in the order in which they leave."""

    __slots__ = (
        "_begun",
        "_by_id",
        "_by_sequence",
        "_by_token",
        "_small",
        "_small_in_flight",
        "large",
        "queued_bytes",
    )

    def __init__(self) -> None:
        # To be sent, for the first time or again.
        self._small: deque[OutgoingMessage] = deque()
        self.large = TransferQueue()
        """Those that leave in fragments."""
        # Those that have left, in the order of their numbers.
        self._by_sequence: OrderedDict[int, OutgoingMessage] = OrderedDict()
        self._by_id: dict[str, OutgoingMessage] = {}
        self._by_token: dict[int, OutgoingMessage] = {}
        self._begun: list[OutgoingMessage] = []
        self._small_in_flight = 0
        self.queued_bytes = 0
        """Bytes of all messages that wait or are under way."""

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def messages(self) -> list[OutgoingMessage]:
        """All of them, in the order in which they came."""
        return list(self._by_id.values())

    @property
    def left(self) -> Iterable[OutgoingMessage]:
        """Those that have left and have not ended, oldest first."""
        return self._by_sequence.values()

    @property
    def count_left(self) -> int:
        """How many have left and have not ended."""
        return len(self._by_sequence)

    @property
    def oldest(self) -> OutgoingMessage | None:
        """Of those that have left the one that still matters longest."""
        return next(iter(self._by_sequence.values()), None)

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes that the receiver may have to keep: of all that is under way."""
        return self._small_in_flight + self.large.bytes_under_way

    def find(self, key: int | str) -> OutgoingMessage | None:
        """The message that has left with a number, or the one with an id."""
        return self._by_sequence.get(key) if isinstance(key, int) else self._by_id.get(key)

    def with_token(self, token: int) -> OutgoingMessage | None:
        """The message whose end is told by a token."""
        return self._by_token.get(token)

    def add(self, message: OutgoingMessage) -> None:
        """A message waits."""
        self.queued_bytes += message.size_bytes
        self._by_id[message.message_id] = message
        if message.token is not None:
            self._by_token[message.token] = message
        (self.large if message.is_large else self._small).append(message)

    def begin(self, message: OutgoingMessage, sequence: int) -> None:
        """A message leaves for the first time, with this number."""
        self.queued_bytes -= message.size_bytes
        message.write(sequence)
        self.queued_bytes += message.size_bytes
        self._by_sequence[sequence] = message
        self._begun.append(message)

    def take_begun(self) -> list[OutgoingMessage]:
        """The messages that have left for the first time since this was asked."""
        begun, self._begun = self._begun, []
        return begun

    def first_small(self) -> OutgoingMessage | None:
        """The message in one datagram that leaves next, if there is one."""
        small = self._small
        while small and small[0].done:
            small.popleft()
        return small[0] if small else None

    def take_small(self) -> None:
        """`first_small` leaves now."""
        self._small.popleft()

    def again(self, messages: list[OutgoingMessage]) -> None:
        """Messages in one datagram are to be sent again, before all others."""
        self._small.extendleft(reversed(messages))

    def note_in_flight(self, message: OutgoingMessage, size_bytes: int) -> None:
        """So much of a message in one datagram is under way: all, or nothing."""
        self._small_in_flight += size_bytes - message.in_flight
        message.in_flight = size_bytes

    def remove(self, message: OutgoingMessage) -> None:
        """A message has ended."""
        message.done = True
        del self._by_id[message.message_id]
        if message.token is not None:
            del self._by_token[message.token]
        self.queued_bytes -= message.size_bytes
        if message.attempts:
            del self._by_sequence[message.sequence]
        elif not message.is_large:
            self._small.remove(message)
        if message.is_large:
            self.large.discard(message)

    def clear(self) -> None:
        """All have ended."""
        self._small.clear()
        self.large.clear()
