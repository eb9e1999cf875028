"""Messages that overtook the introduction of their sender, and wait for it briefly.

A server names two nodes to each other at the same time. What one of them sends at once may reach
the other before the server's message does, and an Error would be shown to a person at the sender.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import UNSET

from p2ptui.bounded import BoundedQueue, BoundedTable
from p2ptui.core.accounts import Purse
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import Envelope, MessageType

PATIENCE_S: Final = 0.75
"""How much later than its sender's message an introduction may arrive."""

MAX_ADDRESSES: Final = 64
MAX_MESSAGES: Final = 4
MAX_BYTES: Final = 1500
"""The limits of waiting messages: addresses, messages of each, and bytes of each message."""


_Waiting: TypeAlias = BoundedQueue[tuple[Envelope, Purse]]


class EarlyMessages:
    """Keeps messages that may be from a node about to be introduced.

    Args:
        state: The shared state.
        on_overdue: Called with the address, type, time and purse of each message whose sender was
            not introduced in time.
    """

    def __init__(
        self, state: NodeState, on_overdue: Callable[[Address, str, Purse, float], None]
    ) -> None:
        self._state = state
        self._initiated = state.peers.initiated
        self._on_overdue = on_overdue
        self._senders: BoundedTable[Address, _Waiting] = state.tables.add(
            "early_senders",
            BoundedTable(
                MAX_ADDRESSES, refuses=True, full="early_full", shares=state.tables.shares
            ),
        )
        state.tables.gauge("early_messages", self._count)

    def _count(self) -> int:
        return sum(map(len, self._senders.values()))

    def keep(self, address: Address, message: Envelope, earned: Purse, now: float) -> bool:
        """Let a stranger's message wait if its sender may be introduced; returns whether it
        waits."""
        for peer in self._initiated:
            if peer.is_joined_server:
                break
        else:
            return False  # nobody introduces anybody to this node
        if earned.bytes_in > MAX_BYTES or not _may_be_introduced(message):
            return False
        waiting = self._senders.get(address)
        if waiting is None:
            waiting = BoundedQueue(MAX_MESSAGES, full="early_full", count=self._state.counters.drop)
            if not self._senders.put(address, waiting, address=address):
                return False
            self._state.timers.schedule(
                now + PATIENCE_S, lambda at: self._end(address, waiting, at)
            )
        waiting.append((message, earned))  # without room its sender will be told like the others
        return True

    def _end(self, address: Address, waiting: _Waiting, now: float) -> None:
        if self._senders.get(address) is not waiting:
            return  # it was introduced
        for message, earned in self.release(address):
            self._on_overdue(address, message.message_type, earned, now)

    def release(self, address: Address) -> list[tuple[Envelope, Purse]]:
        """Remove and return the waiting messages of an address, and what they have earned."""
        return list(self._senders.pop(address) or ())


def _may_be_introduced(message: Envelope) -> bool:
    # Data of our own kind is from a session lost here, and an Error repairs that at once.
    is_deployed = message.sender_addr is not UNSET
    kind = message.message_type
    return kind == MessageType.PING or (kind == MessageType.DATA and is_deployed)
