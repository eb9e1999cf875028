"""The interface between this room and the broker: orders out, entries and messages in.

A bus is a table of entries that outlives all servers: the newest entry of each key, with a revision
that only grows (a key-value bucket of JetStream). It also carries messages, which each listener
gets at most once.
"""

from typing import NamedTuple, Protocol, TypeAlias


class Put(NamedTuple):
    """Set an entry, unless it has changed since the revision known here."""

    key: str
    value: bytes
    revision: int
    """The revision of the entry that it replaces; 0: there is none, or it was deleted or has
    expired."""


class Delete(NamedTuple):
    """Delete an entry, unless it has changed since the revision known here."""

    key: str
    revision: int


class Publish(NamedTuple):
    """Send a message to everyone who listens to a subject."""

    subject: str
    """`servers`, which all servers listen to, or the node id of one server."""
    data: bytes


Order: TypeAlias = Put | Delete | Publish


class Bus(Protocol):
    """A broker, as seen by the code that drives the room.

    While its link is down it ignores and forgets every order: state that must survive this is kept
    in the room. It reports orders that it has no room for, or that are still queued when its link
    goes down.
    """

    def do(self, order: Order) -> None:
        """Carry out an order, after all earlier ones; does not wait."""


class Heard(Protocol):
    """What a bus reports to the room."""

    def handle_link(self, is_up: bool, now: float) -> None:
        """The link to the broker has come up or gone down. Up is reported before any entry; all
        existing entries follow, and then `handle_complete`."""

    def handle_complete(self, now: float) -> None:
        """All entries that existed when the link came up have been reported; what follows is
        new."""

    def receive_entry(self, key: str, value: bytes | None, revision: int, now: float) -> None:
        """An entry was set or deleted (None), possibly by this server; expiry is not reported.
        Anybody may have written it: the room judges its content."""

    def receive_message(self, subject: str, data: bytes, now: float) -> None:
        """A message has arrived. Anybody may have sent it."""

    def handle_put(self, key: str, revision: int, now: float) -> None:
        """An entry of this server was set, with this revision."""

    def handle_refused(self, key: str, now: float) -> None:
        """A Put or Delete was not carried out: there is another entry, which is or was reported; or
        the entry that it named has expired; or its outcome is unknown."""

    def handle_unsent(self, order: Publish, is_too_large: bool, now: float) -> None:
        """A message was not sent: there was no room for it, or it is larger than the broker
        accepts, or the link is down. This may be reported before or after the link's going down."""
