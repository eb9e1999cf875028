"""Nodes that have not proved their addresses, and how many of them servers tell each other about.

Deployed clients may answer no Ping at all, and prove nothing. A single server still lists them,
introduces them and writes to them, within what their own bytes pay for; so do several. But anybody
can forge a handshake and what follows it, so each server announces only a few of them, with a share
for each address and prefix, and accepts no more from each other server. They cannot take a node
from a server that holds it, nor a name from anybody.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from p2ptui.bounded import LOOKED_AT, BoundedTable, Share
from p2ptui.core.cluster.runs import Run
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.tables import Tables

MAX_UNPROVED: Final = 512
"""Peers announced to the other servers without having proved their addresses."""

MAX_UNPROVED_ELSEWHERE: Final = 8_192
"""The same for nodes of other servers; of one server as many as it may announce."""

FIRST_LOOK_S: Final = 1.0
LOOK_S: Final = 5.0
"""A newcomer is checked after the first of these, to see whether it still sends. If it does not, it
may be a forged handshake, and is checked less and less often, in the end every `LOOK_S`, until its
session ends."""

_FULL: Final = "cluster_unproved_full"


class UnprovedHere:
    """Which of this server's peers are announced to the others without a proof.

    Args:
        state: The shared state.
        tell: Called with a peer to be announced, and the time.
    """

    def __init__(self, state: NodeState, tell: Callable[[Peer, float], None]) -> None:
        self._state = state
        self._tell = tell
        self._told: BoundedTable[str, Peer] = state.tables.add(
            "cluster_unproved",
            BoundedTable(
                MAX_UNPROVED,
                refuses=True,
                full=_FULL,
                shares=state.tables.shares,
            ),
        )
        self._refused: BoundedTable[str, Peer] = state.tables.add(
            "cluster_unproved_waiting",
            BoundedTable(
                lambda: 2 * state.config.server.max_connections, shares=state.tables.shares
            ),
        )
        """Peers for which there was no room, the longest waiting first."""

    def watch(self, peer: Peer, now: float) -> None:
        """A peer has joined, and proved nothing: check whether it keeps sending."""
        self._state.timers.schedule_about(now + FIRST_LOOK_S, self._look, peer)

    def holds(self, peer: Peer) -> bool:
        """Whether a peer that has not proved its address is announced to the others."""
        return self._told.get(peer.node_id) is peer

    def forget(self, node_id: str, now: float) -> None:
        """A peer has proved its address, or is gone: another one may have its place."""
        self._refused.pop(node_id)
        if self._told.pop(node_id) is not None and len(self._refused):
            self._state.timers.schedule(now, self._fill)

    def _is_claim(self, peer: Peer) -> bool:
        is_here = self._state.peers.authenticated(peer.node_id) is peer and peer.is_claim
        return is_here and not peer.is_secured

    def _look(self, peer: Peer, now: float) -> None:
        if not self._is_claim(peer) or self.holds(peer):
            return
        joined_at = peer.session.joined_at
        if peer.liveness.last_received <= joined_at:
            pause_s = min(max(now - joined_at, FIRST_LOOK_S), LOOK_S)
            self._state.timers.schedule_about(now + pause_s, self._look, peer)
        elif not self._enter(peer, now):
            self._refused.put(peer.node_id, peer, now, address=peer.address)

    def _enter(self, peer: Peer, now: float) -> bool:
        """Announce a peer if there is room for it; returns whether there is."""
        has_room = self._told.put(peer.node_id, peer, now, address=peer.address)
        if has_room:
            self._tell(peer, now)
        return has_room

    def _fill(self, now: float) -> None:
        """There is room again: the peers that have waited longest, and whose shares allow it, get
        it."""
        for node_id, peer in list(islice(self._refused.items(), LOOKED_AT)):
            if not self._told.has_room:
                return
            if not self._is_claim(peer):
                self._refused.pop(node_id)
            elif self._told.crowd_at(peer.address[0], MAX_UNPROVED) is None:
                self._refused.pop(node_id)
                self._enter(peer, now)
            else:
                self._refused.touch(node_id)


class UnprovedElsewhere:
    """The nodes of other servers that have not proved their addresses there.

    Args:
        tables: All tables of this node.
    """

    def __init__(self, tables: Tables) -> None:
        self._runs: BoundedTable[str, Run] = tables.add(
            "cluster_unproved",
            BoundedTable(
                MAX_UNPROVED_ELSEWHERE,
                refuses=True,
                full=_FULL,
                peer_share=Share(MAX_UNPROVED),
            ),
        )

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._runs

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def has_room_for(self, node_id: str, run: Run) -> bool:
        """Whether a server may announce a node that has not proved its address; nothing changes
        yet, but a refusal is counted."""
        holder = self._runs.get(node_id)
        if holder is not run and self._runs.held_by(run) >= MAX_UNPROVED:
            self._runs.count(_FULL)
            return False
        return holder is not None or self._runs.admit()

    def note(self, node_id: str, run: Run, *, is_proved: bool) -> None:
        """What a server says about a node is believed from now on; `has_room_for` has admitted
        it."""
        if is_proved:
            self._runs.pop(node_id)
        else:
            self._runs.put(node_id, run, peers=(run,))

    def forget(self, node_id: str) -> None:
        """No server announces it any more."""
        self._runs.pop(node_id)
