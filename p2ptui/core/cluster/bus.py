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
    """Of the entry that it replaces; 0: there is none, or it has been deleted or has expired."""


class Delete(NamedTuple):
    """Delete an entry, unless it has changed since the revision known here."""

    key: str
    revision: int


class Publish(NamedTuple):
    """Send a message to everyone who listens to a subject."""

    subject: str
    """`servers`, which all servers hear, or the node id of one."""
    data: bytes


Order: TypeAlias = Put | Delete | Publish


class Bus(Protocol):
    """A broker, as seen by the code that drives the room.

    While its link is down it ignores and forgets every order: state that must survive this is kept
    in the room. It reports orders that it has no room for, or that are still queued when its link
    goes down.
    """

    def do(self, order: Order) -> None:
        """Do it, in the order in which it is told; does not wait."""


class Heard(Protocol):
    """What a bus reports to the room."""

    def handle_link(self, is_up: bool, now: float) -> None:
        """The link to the broker is there, or is gone. Up is said before any entry comes; all that
        stand there follow, then `handle_complete`."""

    def handle_complete(self, now: float) -> None:
        """All entries that stood there when the link came have been told; what follows is new."""

    def receive_entry(self, key: str, value: bytes | None, revision: int, now: float) -> None:
        """An entry was set, or taken away (None), also by this server; not that one expired.

        Anybody may have written it: what it holds is judged by the room.
        """

    def receive_message(self, subject: str, data: bytes, now: float) -> None:
        """A message came. Anybody may have sent it."""

    def handle_put(self, key: str, revision: int, now: float) -> None:
        """An entry of this server was set, with this revision."""

    def handle_refused(self, key: str, now: float) -> None:
        """A Put or Delete was not done: another entry stands there, which comes or has come; or the
        one that it named has expired; or nobody knows what became of it."""

    def handle_unsent(self, order: Publish, is_too_large: bool, now: float) -> None:
        """A message has not left: there was no room for it, or it is larger than the broker takes,
        or the link is gone. It may be said before or after the link is told to be gone."""
