"""All unfinished messages of one session: those that wait, and those that have left.

It also keeps the last finished ones: their receiver may still ask for them.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from p2ptui.core.reliability.numbering import Numbering
from p2ptui.core.reliability.outgoing import OutgoingMessage, TransferQueue
from p2ptui.errors import QueueFullError

RESEND_KEPT_S: Final = 2.0
"""How long an acknowledged message can be requested: longer than its Ack is in flight."""

PARTS_KEPT: Final = 16
"""If there is no room for one more, one in this many is forgotten."""


_NONE_LARGE: Final = TransferQueue()
"""Shared by all lanes that have no large message, and never changed."""


class Lane:
    """Messages that wait for the same thing, in the order in which they leave."""

    __slots__ = ("_small", "_small_in_flight", "count", "large")

    def __init__(self) -> None:
        # Messages to send, for the first time or again. None while there are none: it takes
        # three quarters of a kilobyte, and most peers are sent one message now and then.
        self._small: deque[OutgoingMessage] | None = None
        self._small_in_flight = 0
        self.large = _NONE_LARGE
        """Messages that leave in fragments."""
        self.count = 0
        """Unfinished messages."""

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes that the receiver may have to keep: everything in flight."""
        return self._small_in_flight + self.large.bytes_under_way

    def first_small(self) -> OutgoingMessage | None:
        """The message in one datagram that leaves next, if there is one."""
        small = self._small
        while small and small[0].done:
            small.popleft()
        return small[0] if small else None

    def take_small(self) -> None:
        """`first_small` leaves now."""
        assert self._small is not None
        self._small.popleft()
        if not self._small:
            self._small = None

    def _own_large(self) -> TransferQueue:
        if self.large is _NONE_LARGE:
            self.large = TransferQueue()
        return self.large

    def add(self, message: OutgoingMessage) -> None:
        """Queue a message."""
        self.count += 1
        if message.is_large:
            self._own_large().append(message)
            return
        if self._small is None:
            self._small = deque()
        self._small.append(message)

    def again(self, messages: list[OutgoingMessage]) -> None:
        """Queue messages in one datagram again, ahead of all others."""
        if not messages:
            return
        if self._small is None:
            self._small = deque()
        self._small.extendleft(reversed(messages))

    def note_in_flight(self, message: OutgoingMessage, size_bytes: int) -> None:
        """Record how much of a message in one datagram is in flight: all or nothing."""
        self._small_in_flight += size_bytes - message.in_flight
        message.in_flight = size_bytes

    def enlarge(self, messages: list[OutgoingMessage]) -> None:
        """Messages that were to leave in one datagram are to leave in fragments."""
        if not messages:
            return
        gone = set(map(id, messages))
        if self._small is not None:
            self._small = deque([each for each in self._small if id(each) not in gone])
        for message in messages:
            self.note_in_flight(message, 0)
            message.is_large = True
            if message.attempts:
                self._own_large().adopt(message)
            else:
                self._own_large().append(message)

    def remove(self, message: OutgoingMessage) -> None:
        """A message is finished."""
        self.count -= 1
        if message.is_large:
            self.large.discard(message)
        elif not message.attempts and self._small is not None:
            self._small.remove(message)

    def clear(self) -> None:
        """All are finished."""
        self._small = None
        self.large = _NONE_LARGE


class Outbox:
    """Messages by number, id and token, in two lanes: for the readers at the other end, who may
    have no room, and for the node itself, which always has.

    Args:
        max_queued_bytes: How much may wait or be in flight.
    """

    __slots__ = (
        "_begun",
        "_by_id",
        "_by_sequence",
        "_by_token",
        "_max_queued_bytes",
        "for_node",
        "for_readers",
        "queued_bytes",
    )

    def __init__(self, max_queued_bytes: int) -> None:
        self._max_queued_bytes = max_queued_bytes
        self.for_node = Lane()
        self.for_readers = Lane()
        # Those that have left, in the order of their numbers.
        self._by_sequence: OrderedDict[int, OutgoingMessage] = OrderedDict()
        self._by_id: dict[str, OutgoingMessage] = {}
        self._by_token: dict[int, OutgoingMessage] = {}
        self._begun: list[OutgoingMessage] = []
        self.queued_bytes = 0
        """Bytes of all messages queued or in flight."""

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def may_have_more(self) -> bool:
        """Whether there may be anything to send; if not, there is nothing, and no closer look is
        needed."""
        readers, node = self.for_readers, self.for_node
        if readers._small or node._small:
            return True
        return readers.large.count + node.large.count > 0

    @property
    def only_waits(self) -> bool:
        """Whether there are messages, and none has left."""
        return len(self._by_id) > 0 and not len(self._by_sequence)

    @property
    def messages(self) -> list[OutgoingMessage]:
        """All messages, in the order in which they were queued."""
        return list(self._by_id.values())

    @property
    def left(self) -> Iterable[OutgoingMessage]:
        """Unfinished messages that have left, oldest first."""
        return self._by_sequence.values()

    @property
    def count_left(self) -> int:
        """How many messages have left and are unfinished."""
        return len(self._by_sequence)

    @property
    def oldest(self) -> OutgoingMessage | None:
        """The oldest message that has left and still matters."""
        return next(iter(self._by_sequence.values()), None)

    @property
    def oldest_for_readers(self) -> OutgoingMessage | None:
        """The oldest of those that have left for the readers at the other end."""
        return next((each for each in self._by_sequence.values() if each.for_reader), None)

    def lane(self, message: OutgoingMessage) -> Lane:
        """The lane of a message."""
        return self.for_readers if message.for_reader else self.for_node

    def find(self, key: int | str) -> OutgoingMessage | None:
        """The message that has left with a number, or the one with an id."""
        return self._by_sequence.get(key) if isinstance(key, int) else self._by_id.get(key)

    def with_token(self, token: int) -> OutgoingMessage | None:
        """The message whose result is reported with a token."""
        return self._by_token.get(token)

    def check_room(self, size: int) -> None:
        """Raise QueueFullError if `size` more bytes may not be queued."""
        if self.queued_bytes + size > self._max_queued_bytes:
            raise QueueFullError(
                f"{self.queued_bytes} bytes already wait for this peer"
                f" (max_queued_bytes = {self._max_queued_bytes}); try again later"
            )

    def add(self, message: OutgoingMessage) -> None:
        """Queue a message."""
        self.queued_bytes += message.size_bytes
        self._by_id[message.message_id] = message
        if message.token is not None:
            self._by_token[message.token] = message
        self.lane(message).add(message)

    def begin(self, message: OutgoingMessage, sequence: int) -> None:
        """A message leaves for the first time, with this number."""
        self.queued_bytes -= message.size_bytes
        message.write(sequence)
        self.queued_bytes += message.size_bytes
        self._by_sequence[sequence] = message
        self._begun.append(message)

    def renumber(self, numbering: Numbering) -> None:
        """Unfinished messages that have left belong to another session from now on."""
        left = list(self._by_sequence.values())
        self._by_sequence.clear()
        for message in left:
            self.queued_bytes -= message.size_bytes
            message.renumber(numbering.take())
            self.queued_bytes += message.size_bytes
            self._by_sequence[message.sequence] = message
        for lane in (self.for_node, self.for_readers):
            lane.large.recount()

    def take_begun(self) -> list[OutgoingMessage]:
        """The messages that have left for the first time since the last call."""
        if not self._begun:
            return []
        begun, self._begun = self._begun, []
        return begun

    def again(self, messages: list[OutgoingMessage]) -> None:
        """Queue messages in one datagram again, ahead of all others."""
        self.for_node.again([each for each in messages if not each.for_reader])
        self.for_readers.again([each for each in messages if each.for_reader])

    def above(self, size_bytes: int) -> list[OutgoingMessage]:
        """Messages that need larger datagrams than this and could do without."""
        return [
            each
            for each in self._by_id.values()
            if not each.whole and each.datagram_bytes > size_bytes
        ]

    def enlarge(self, messages: list[OutgoingMessage]) -> None:
        """Messages that were to leave in one datagram are to leave in fragments."""
        self.for_node.enlarge([each for each in messages if not each.for_reader])
        self.for_readers.enlarge([each for each in messages if each.for_reader])

    def remove(self, message: OutgoingMessage) -> None:
        """A message is finished."""
        message.done = True
        del self._by_id[message.message_id]
        if message.token is not None:
            del self._by_token[message.token]
        self.queued_bytes -= message.size_bytes
        if message.attempts:
            del self._by_sequence[message.sequence]
        self.lane(message).remove(message)
        if not self._by_id:
            # Nothing is left, but a dictionary does not shrink.
            for each in (self._by_id, self._by_token, self._by_sequence):
                each.clear()

    def clear(self) -> None:
        """All are finished."""
        self.for_node.clear()
        self.for_readers.clear()


class ResendBuffer:
    """The latest acknowledged messages, by number, in case their receiver asks for them again.

    Such a request has crossed the Ack on the way, so messages are kept only for a short time.

    Args:
        limit_bytes: How much may be kept.
    """

    __slots__ = ("_limit_bytes", "_messages", "_used_bytes", "due")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        # Each with the time when it is forgotten.
        self._messages: dict[int, tuple[bytes, float]] = {}
        self._used_bytes = 0
        self.due: float | None = None
        """When `expire` has something to do, seconds; None while nothing is kept."""

    def add(self, sequence: int, data: bytes, now: float) -> None:
        """Keep a message; the oldest make room."""
        if self.due is None:
            self.due = now + RESEND_KEPT_S
        self._messages[sequence] = data, now + RESEND_KEPT_S
        self._used_bytes += len(data)
        while self._used_bytes > self._limit_bytes:
            # Several of many: finding the first key of a dict skips over all removed ones.
            count = max(1, len(self._messages) // PARTS_KEPT)
            for oldest in list(islice(self._messages, count)):
                self._forget(oldest)

    def get(self, sequence: int) -> bytes | None:
        """The message with a number, if it is still kept."""
        kept = self._messages.get(sequence)
        return None if kept is None else kept[0]

    def expire(self, now: float) -> None:
        """Forget what was kept long enough."""
        old: list[int] = []
        for sequence, (_, until) in self._messages.items():
            if now < until:
                self.due = until
                break
            old.append(sequence)
        for sequence in old:
            self._forget(sequence)
        if not self._messages:
            self.clear()

    def _forget(self, sequence: int) -> None:
        self._used_bytes -= len(self._messages.pop(sequence)[0])

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()
        self._used_bytes = 0
        self.due = None
