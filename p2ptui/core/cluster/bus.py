"""What stands between this room and the broker: orders out, entries and messages in.

A bus is a table of entries that outlives everybody, the newest of each key with a revision that
only grows (a key-value bucket of JetStream), and messages that whoever listens gets at most once.
"""

from typing import NamedTuple, Protocol, TypeAlias


class Put(NamedTuple):
    """Set an entry, if what stands there is still what is known here."""

    key: str
    value: bytes
    revision: int
    """Of the entry that it replaces; 0: there is none, or it has been deleted or has expired."""


class Delete(NamedTuple):
    """Take an entry away, if it is still this one."""

    key: str
    revision: int


class Publish(NamedTuple):
    """Send a message to all who listen to a subject."""

    subject: str
    """`servers`, which all servers hear, or the node id of one."""
    data: bytes


Order: TypeAlias = Put | Delete | Publish


class Bus(Protocol):
    """A broker, as whoever drives the room sees it.

    While its link is down it does nothing that it is told and forgets it: whatever has to survive
    that is kept in the room. What it has no room for, or still has when its link goes down, it
    says.
    """

    def do(self, order: Order) -> None:
        """Do it, in the order in which it is told; does not wait."""


class Heard(Protocol):
    """What a bus tells the room."""

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
