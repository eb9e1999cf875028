"""How well a claim about a node is supported, and what it may change.

| evidence | speaks in its name | moves its route | gives a first name | changes a name |
| --- | --- | --- | --- | --- |
| `HEARSAY` | while nothing better knows the node | from hearsay | yes | its own |
| `LISTED` | while the node has no session here | up to its rank | yes | up to its rank: both fit |
| `VOUCHED` | (a list is no message) | up to its rank | yes | yes |
| `ANSWERED` | (as who brings it) | yes, until it fails | no | no |
| `SESSION` | alone | there is none: it is the peer | alone | yes |
"""

from enum import IntEnum
from typing import Any, NamedTuple

from msgspec import Struct

from p2ptui.core.peers import Peer
from p2ptui.core.trust import vouches


class Evidence(IntEnum):
    """What supports a claim about a node; more is better."""

    HEARSAY = 0
    """A peer that this node has not chosen says so, or somebody in the name of a server whose
    genuine lists are vouched for."""
    LISTED = 1
    """A datagram from the address of a server that this node joined says so."""
    VOUCHED = 2
    """A list says so that names a handshake message sent to that server."""
    ANSWERED = 3
    """The answer to something unguessable that was sent to the node came this way."""
    SESSION = 4
    """It is the other end of a session."""


class Told(Struct, frozen=True):
    """A list as it arrived."""

    content: Any
    handshake: object = None
    """The id that it gives as the handshake message of its receiver, if any."""

    def is_vouched_for(self, peer: Peer) -> bool:
        """Whether it is from the peer, and not forged in its name."""
        return vouches(peer, self.handshake)


class ListWorth(NamedTuple):
    """How far a list is believed."""

    evidence: Evidence
    is_doubted: bool = False
    """Whether it may be forged: the peer's own lists are vouched for, and this one is not."""


def of_peer(peer: Peer) -> Evidence:
    """How far a peer is believed if nothing vouches for the datagram."""
    return Evidence.LISTED if peer.is_joined_server else Evidence.HEARSAY


def of_list(peer: Peer, told: Told) -> ListWorth:
    """How far a list is believed that came in the name of a peer."""
    if told.is_vouched_for(peer):
        return ListWorth(Evidence.VOUCHED if peer.is_joined_server else Evidence.HEARSAY)
    if peer.facts.vouches_lists:
        return ListWorth(Evidence.HEARSAY, is_doubted=True)
    return ListWorth(of_peer(peer))


def note_list(peer: Peer, told: Told) -> None:
    """A list came in the name of a peer: if it is vouched for, lists that are not are doubted from
    now on."""
    if told.is_vouched_for(peer):
        peer.facts.note_vouched_list()
