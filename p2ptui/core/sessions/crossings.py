"""Two nodes ask each other at once, each another way: that is one session.

A server has named both to each other, so both know of which node an address is before anything
came from there: one by way of that server, and one at which the node has answered checks. Whichever
request or answer comes first makes the session. What else this node has asked that node for has
then what it wants: it ends, and its address is the session's too. A request that crossed this way
and comes when the session stands begins no other one. It needs no further message for that, and
nobody is refused.

Of any other address nobody vouches for who is there. A session that somebody began from there gives
way to the answer to this node's own request; where both go by way of servers, but not the same one,
to that of the smaller id.

All requests of one node to another, and its answers, have numbers of one sequence, so that the
other side's window covers whatever comes after any of them.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.core.addresses import relayed_node
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.channel import Channel
from p2ptui.wire.address import Address

CROSSING_S: Final = 5.0
"""So long after a session began a request may come that had left before, or whose answer was lost:
as long as a request is repeated."""


class Crossings:
    """Knows by which addresses a node is asked, and which addresses are a node's at all.

    Args:
        own_id: The id of this node.
    """

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self.has_path: Callable[[Address, str], bool] = lambda *_: False
        """Whether an address is that of a node, by its id, at the server that introduces it, or
        one where it has answered checks."""
        self._asked: dict[str, dict[Address, Peer]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._asked.values()))

    def leads_to(self, address: Address, node_id: str) -> bool:
        """Whether a node is behind an address, as far as its server can vouch for that."""
        asked = self._asked.get(node_id)
        return (asked is not None and address in asked) or self.has_path(address, node_id)

    def begin(self, node_id: str, peer: Peer) -> None:
        """A node is asked for a session.

        Args:
            node_id: Which; empty if only the answer will tell.
            peer: Where.
        """
        if not node_id:
            return
        self._asked.setdefault(node_id, {})[peer.address] = peer

    def end(self, node_id: str, address: Address) -> None:
        """A node is no longer asked at an address."""
        asked = self._asked.get(node_id, {})
        asked.pop(address, None)
        if not asked:
            self._asked.pop(node_id, None)

    def others(self, node_id: str, address: Address) -> list[Peer]:
        """Where a node is asked, besides at an address."""
        asked = self._asked.get(node_id)
        if asked is None:
            return []
        return [peer for where, peer in asked.items() if where != address]

    def lost_to(self, winner: Peer) -> list[Peer]:
        """Where a node is asked, besides where a session with it has begun."""
        others = self.others(winner.node_id, winner.address)
        if others and not self.leads_to(winner.address, winner.node_id):
            return []  # anybody can say to be that node
        return others

    def channel(self, node_id: str, address: Address) -> Channel | None:
        """What a new session with a node at an address goes on with: the numbers of the request
        by another way, if there is one and the address is the node's."""
        if node_id not in self._asked:
            return None
        # In that of a session that is to go on messages wait, which must not end with this one.
        others = [peer for peer in self.others(node_id, address) if not peer.resumes]
        return others[0].channel if others and self.leads_to(address, node_id) else None

    def is_late(self, owner: Peer, address: Address, now: float) -> bool:
        """Whether a request belongs to a session that has begun by another way a moment ago.

        Args:
            owner: Whose session it is.
            address: Where the request came from.
            now: The time, seconds.
        """
        node_id = owner.node_id
        are_ways = self.leads_to(address, node_id) and self.leads_to(owner.address, node_id)
        return _is_young(owner, now) and owner.address != address and are_ways

    def is_better(self, address: Address, owner: Peer, now: float) -> bool:
        """Whether the answer to this node's own request, from an address, counts for more than a
        session that somebody began meanwhile: nobody vouches for who that is.

        Args:
            address: Where the answer came from.
            owner: Whose session it is.
            now: The time, seconds.
        """
        node_id = owner.node_id
        if owner.initiated or not _is_young(owner, now) or not self.leads_to(address, node_id):
            return False
        if relayed_node(owner.address) == node_id and relayed_node(address) == node_id:
            return self._own_id < node_id
        return not self.leads_to(owner.address, node_id)


def _is_young(owner: Peer, now: float) -> bool:
    return owner.is_authenticated and now < owner.session.joined_at + CROSSING_S
