"""Messages are resized to their path: those that have become too large continue in smaller
pieces."""

from typing import Final

from p2ptui.core.reliability.congestion import CongestionWindow
from p2ptui.core.reliability.outbox import Outbox
from p2ptui.core.reliability.outgoing import OutgoingMessage
from p2ptui.core.reliability.path_mtu import PathMtu
from p2ptui.core.reliability.receiver_room import ReceiverRoom
from p2ptui.core.reliability.transfers import Transfers

MUCH_BYTES: Final = 128 * 1024
"""With this much to send, a hundred datagrams, larger ones are worth a few probes."""


class Fitting:
    """Keeps messages in flight to one peer within what its path carries.

    A message keeps its number and its id, so its receiver still accepts it only once.

    Args:
        outbox: All messages.
        window: How much may be in flight.
        transfers: Cuts messages into fragments.
        room: How much room the receiver has.
        path: The size of datagrams on the path.
    """

    __slots__ = ("_outbox", "_path", "_room", "_size", "_transfers", "_window")

    def __init__(
        self,
        outbox: Outbox,
        window: CongestionWindow,
        transfers: Transfers,
        room: ReceiverRoom,
        path: PathMtu,
    ) -> None:
        self._outbox = outbox
        self._window = window
        self._transfers = transfers
        self._room = room
        self._path = path
        self._size = path.size_bytes

    def fit(self, now: float) -> list[int]:
        """Follow the size of the path.

        Returns:
            Numbers of messages that the peer must forget the pieces of, before any new one: it
            does not understand that they are cut anew.
        """
        if self._outbox.queued_bytes >= MUCH_BYTES:
            self._path.note_demand(now)
        before, size = self._size, self._path.size_bytes
        if size == before:
            return []
        self._size = size
        self._window.resize(size)
        if size > before:
            return []
        self._window.restart(now)  # the losses were not congestion
        return self._cut(size, now)

    def _cut(self, size: int, now: float) -> list[int]:
        messages = self._outbox.above(size)
        begun = [message for message in messages if message.attempts]
        for message in begun:
            self._window.release(message.in_flight)
            self._transfers.fit(message, now)
            if message.for_reader and self._room.paused:
                message.deadline = 0.0
        self._outbox.enlarge([message for message in messages if not message.is_large])
        return [] if self._path.grows else [message.sequence for message in begun]

    def note_passed(self, message: OutgoingMessage) -> None:
        """A message has arrived, and with it all its datagrams."""
        transfer = message.transfer
        if transfer is None:
            self._path.note_passed(message.size_bytes, message.sent_at)
        else:
            self._path.note_passed(transfer.largest, transfer.last_sent_at)
