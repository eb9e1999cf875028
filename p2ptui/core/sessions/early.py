"""Messages that overtook the introduction of their sender wait for it a moment.

A server names two nodes to each other at the same time. What the one sends at once may reach the
other before the server's word does, and an Error would be shown to a person over there.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET

from p2ptui.core.accounts import Purse
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import Envelope, MessageType

PATIENCE_S: Final = 0.75
"""So much later than its sender's message an introduction may come."""

MAX_ADDRESSES: Final = 64
MAX_MESSAGES: Final = 4
MAX_BYTES: Final = 1500
"""What waits: messages of so many addresses, so many of each, each so long at most."""


@dataclass(slots=True)
class _Sender:
    messages: list[tuple[Envelope, Purse]] = field(default_factory=list)


class EarlyMessages:
    """Keeps what might come from a node that is about to be introduced.

    Args:
        state: The shared ground.
        on_overdue: Called with address, type, time and what pays for an answer, of what nobody
            introduced.
    """

    def __init__(
        self, state: NodeState, on_overdue: Callable[[Address, str, Purse, float], None]
    ) -> None:
        self._state = state
        self._on_overdue = on_overdue
        self._senders: OrderedDict[Address, _Sender] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(sender.messages) for sender in self._senders.values())

    def keep(self, address: Address, message: Envelope, earned: Purse, now: float) -> bool:
        """Let a stranger's message wait, if it may be an introduced one; whether it waits."""
        if earned.bytes_in > MAX_BYTES or not _may_be_introduced(message):
            return False
        if not any(peer.is_joined_server for peer in self._state.peers.initiated):
            return False  # nobody introduces anybody to this node
        sender = self._senders.get(address)
        if sender is None:
            if len(self._senders) >= MAX_ADDRESSES:
                self._state.counters.drop("early_full")
                return False
            sender = self._senders[address] = _Sender()
            self._state.timers.schedule(now + PATIENCE_S, lambda at: self._end(address, sender, at))
        elif len(sender.messages) >= MAX_MESSAGES:
            self._state.counters.drop("early_full")
            return True  # it will be told with the others
        sender.messages.append((message, earned))
        return True

    def _end(self, address: Address, sender: _Sender, now: float) -> None:
        if self._senders.get(address) is not sender:
            return  # it was introduced
        for message, earned in self.release(address):
            self._on_overdue(address, message.message_type, earned, now)

    def release(self, address: Address) -> list[tuple[Envelope, Purse]]:
        """What waits of this address, and what it has earned; it waits no longer."""
        sender = self._senders.pop(address, None)
        return [] if sender is None else sender.messages


def _may_be_introduced(message: Envelope) -> bool:
    # Data of our own kind is from a session that is gone here, and an Error mends that at once.
    is_deployed = message.sender_addr is not UNSET
    kind = message.message_type
    return kind == MessageType.PING or (kind == MessageType.DATA and is_deployed)
