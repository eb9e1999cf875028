"""Signed statements of nodes: of this server's peers that it holds them, of others where they
were."""

from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.bounded.rates import TokenBucket
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.secure.presence import verify_presence
from p2ptui.wire.frames import node_id_bytes

OWN_VERIFIED_PER_S: Final = 1_000
"""Statements of peers verified per second; each peer makes one per session."""

MAX_FORMER: Final = 65_536
"""Nodes that have signed where they are, but whose entries are no longer in the table."""

FORMER_S: Final = 600.0
"""How long nothing unsigned is believed about them: somebody may have deleted the entry in order to
put an unsigned one."""

NONE: Final = (0, b"")


class Statements:
    """The latest statement of each peer.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._latest: BoundedTable[str, tuple[int, bytes]] = state.tables.add(
            "cluster_statements",
            BoundedTable(state.most_peers, full="cluster_statements_full"),
        )
        self._former: BoundedTable[str, bytes] = state.tables.add(
            "cluster_former", BoundedTable(MAX_FORMER, lifetime_s=FORMER_S)
        )
        self._budget = TokenBucket(OWN_VERIFIED_PER_S, 0.0)

    def of(self, node_id: str) -> tuple[int, bytes]:
        """Counter and signature of a peer's statement; (0, b"") if there is none."""
        return self._latest.get(node_id) or NONE

    def note(self, peer: Peer, counter: int, signature: bytes, now: float) -> bool:
        """A peer has signed that this server holds it.

        Args:
            peer: The peer, as its session proves.
            counter: The counter of the statement.
            signature: Its signature.
            now: The time, seconds.

        Returns:
            Whether that is true, and newer than what it has said before, or the same.
        """
        seal = peer.seal
        if seal is None or not peer.is_authenticated:
            return False
        node_id = peer.node_id
        known = self.of(node_id)
        if counter <= known[0]:
            return known == (counter, signature)
        if not self._budget.take(now):
            self._state.counters.drop("cluster_statements_busy")
            return False
        own = self._state.identity
        if not verify_presence(seal.keys, node_id, own.id, counter, signature, own.network_id):
            self._state.counters.drop("cluster_false_statement")
            return False
        self._latest.put(node_id, (counter, signature))
        return True

    def forget(self, node_id: str, now: float) -> None:
        """The session of a peer is over."""
        if self._latest.pop(node_id) is not None:
            self.remember(node_id, node_id_bytes(self._state.identity.id), now)

    # Also for nodes at other servers.

    def remember(self, node_id: str, server: bytes, now: float) -> None:
        """A node has signed that a server holds it, and no entry says so any more."""
        self._former.expire(now)
        self._former.put(node_id, server, now)

    def named_another(self, node_id: str, server: bytes, now: float) -> bool:
        """Whether the last server that a node recently signed for was another one."""
        self._former.expire(now)
        former = self._former.get(node_id)
        return former is not None and former != server
