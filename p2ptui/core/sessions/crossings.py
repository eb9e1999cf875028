"""Two nodes ask each other at the same time, on different paths: that makes one session.

A server has named each to the other, so both know which node an address belongs to before anything
has come from there: one address through that server, and one at which the node has answered checks.
The first request or answer to arrive makes the session. This node's other requests to that node
then have their result: they end, and their addresses become further addresses of the session. A
request that crossed like this and arrives once the session stands begins no other one. No further
message is needed, and nobody is refused.

Nobody vouches for any other address. A session that was begun from there gives way to the answer to
this node's own request. If both go through servers, but not the same one, the request of the node
with the smaller id wins.

All requests of one node to another, and its answers, are numbered in one sequence, so that the
other side's window covers whatever follows any of them.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.core.addresses import relayed_node
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.channel import Channel
from p2ptui.wire.address import Address

CROSSING_S: Final = 5.0
"""How long after a session began a request may arrive that was sent before, or whose answer was
lost: as long as requests are repeated."""


class Crossings:
    """Knows the addresses at which a node is asked, and which addresses belong to a node at all.

    Args:
        own_id: The id of this node.
    """

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self.has_path: Callable[[Address, str], bool] = lambda *_: False
        """Whether an address belongs to a node, given its id: at the server that introduces it, or
        where it has answered checks."""
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
            node_id: The id of the node; empty if only the answer will tell.
            peer: The peer with that address.
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
        """The other addresses at which a node is asked."""
        asked = self._asked.get(node_id)
        if asked is None:
            return []
        return [peer for where, peer in asked.items() if where != address]

    def lost_to(self, winner: Peer) -> list[Peer]:
        """The addresses at which a node is asked, except the one where its session has begun."""
        others = self.others(winner.node_id, winner.address)
        if others and not self.leads_to(winner.address, winner.node_id):
            return []  # anybody can claim to be that node
        return others

    def channel(self, node_id: str, address: Address) -> Channel | None:
        """What a new session with a node at an address continues: the numbers of the request on
        another path, if there is one and the address is the node's."""
        if node_id not in self._asked:
            return None
        # The channel of a session that is to go on holds messages that must not end with this one.
        others = [peer for peer in self.others(node_id, address) if not peer.resumes]
        return others[0].channel if others and self.leads_to(address, node_id) else None

    def is_late(self, owner: Peer, address: Address, now: float) -> bool:
        """Whether a request belongs to a session that has just begun on another path.

        Args:
            owner: The peer with the session.
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
            owner: The peer with the session.
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
