"""Messages received in ended sessions: they may be repeated, wherever their sender is by then.

Unacknowledged messages continue in the sender's next session, which may begin elsewhere: the sender
has moved meanwhile, or is reached on another path. So received messages are remembered by their
sender. They are also remembered by address, whoever is there next: a message still in flight shows
only where it was sent from.
"""

from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.channel import Came, Channel
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

MAX_DEPARTED: Final = 256
"""Departed peers of which the messages received in their last session are remembered; or as many as
there may be peers, since all may lose this node at once and come back."""

_Sender: TypeAlias = tuple[str, bool]
"""The id of a node, and whether it has proved its keys: a node that merely claims an id replaces
nothing that its owner has sent."""


class FormerSessions:
    """Remembers the messages received in ended sessions.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        shares = state.tables.shares

        def limit() -> int:
            return max(MAX_DEPARTED, state.config.server.max_connections)

        self._at: BoundedTable[Address, Channel] = BoundedTable(limit, shares=shares)
        self._of: BoundedTable[_Sender, Came] = BoundedTable(limit, shares=shares)

    def keep(self, peer: Peer) -> None:
        """A peer has left: its messages may still arrive, or be repeated."""
        address = peer.address
        self._at.put(address, peer.channel, address=address, proved=peer.proved)
        self.keep_sent(peer, peer.channel)

    def keep_sent(self, peer: Peer, channel: Channel) -> None:
        """A node continues elsewhere, or another has its place: its messages may be repeated.

        Args:
            peer: The peer as it was.
            channel: Its channel.
        """
        if not peer.node_id or channel.numbers is None:
            return  # other programs use an id twice, see `Channel.follow`
        sender = _sender(peer)
        if peer.proved or sender not in self._of:
            self._of.put(sender, channel.came, address=peer.address, proved=peer.proved)

    def recall_at(self, address: Address, channel: Channel) -> None:
        """An address may be in use again, by an unknown node."""
        departed = self._at.get(address)
        if departed is not None:
            channel.follow(departed)
            channel.part()

    def recall(self, peer: Peer) -> None:
        """A session begins, or its peer has proved its address: the messages that it sent in other
        sessions are recognised in this one. Not before a proof: anybody may claim an id from
        anywhere."""
        self._at.pop(peer.address, None)  # the session already knows them
        if not peer.proved:
            return
        node_id, is_shown = _sender(peer)
        for with_keys in (True, False) if is_shown else (False,):
            earlier = self._of.get((node_id, with_keys))
            if earlier is None:
                continue
            peer.channel.recall(earlier)
            if is_shown:
                del self._of[node_id, with_keys]


def _sender(peer: Peer) -> _Sender:
    seal = peer.seal
    return peer.node_id, seal is not None and seal.keys.id == peer.node_id
