"""What was exchanged with nodes that are reached through others, for display."""

from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.wire.address import Address

MAX_CONTACTS: Final = 1024
"""Nodes for which this is remembered."""


@dataclass(slots=True)
class Contact:
    """What was exchanged with one node."""

    messages_in: int = 0
    messages_out: int = 0
    """Each try counts."""
    rtt_s: float | None = None
    """The last measured round trip."""
    last_received: float | None = None


class Contacts:
    """Remembers the nodes with which messages were exchanged last.

    Args:
        shares: The shares of contacts, for each address and prefix of the peers that bring their
            messages.
    """

    def __init__(self, shares: Shares | None = None) -> None:
        self._contacts: BoundedTable[str, Contact] = BoundedTable(
            MAX_CONTACTS, shares=shares or Shares()
        )

    def get(self, node_id: str) -> Contact | None:
        """What was exchanged with a node; None: nothing, or it is forgotten."""
        return self._contacts.get(node_id)

    def _touch(self, node_id: str, address: Address | None = None) -> Contact:
        contact = self._contacts.get(node_id)
        if contact is None:
            contact = Contact()
            self._contacts.put(node_id, contact, address=address)
        else:
            self._contacts.touch(node_id)
        return contact

    def note_sent(self, node_id: str) -> None:
        """A message has left for a node."""
        self._touch(node_id).messages_out += 1

    def note_received(self, node_id: str, now: float, address: Address | None = None) -> None:
        """A message has come from a node, through somebody at an address."""
        contact = self._touch(node_id, address)
        contact.messages_in += 1
        contact.last_received = now

    def note_rtt(self, node_id: str, rtt_s: float) -> None:
        """A round trip to a node was measured."""
        self._touch(node_id).rtt_s = rtt_s
