"""An open session with a node that has keys: it is asked for a secured one, again and again.

Its id is derived from keys, so the session is open only because somebody on the path removed the
key exchange, or because the server through which the two met does not forward sealed frames.
Neither lasts: the attacker goes, or a direct path is found. Of the two nodes, the one with the
smaller id asks.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Seals
from p2ptui.core.secure.beside import ASKED_S, Beside
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.secure.identity import is_made_of_keys

FIRST_PAUSE_S: Final = 5.0
"""Until a peer is asked, and from the end of the first failed attempt to the next one."""

PAUSE_GROWTH: Final = 2.0

LONGEST_PAUSE_S: Final = 300.0

SECURED: Final = "it is secured from now on"


@dataclass(slots=True, eq=False)
class _Open:
    pause_s: float
    due: float


class Securing:
    """Asks for secured sessions in place of open ones.

    Args:
        state: The shared state.
        seals: Knows which nodes can be offered a key exchange.
        beside: Sends the requests.
        lifecycle: Reports peers that come and go.
    """

    def __init__(
        self, state: NodeState, seals: Seals, beside: Beside, lifecycle: Lifecycle
    ) -> None:
        self._state = state
        self._seals = seals
        self._beside = beside
        self._open: BoundedTable[Peer, _Open] = state.tables.add(
            "open_with_keys", BoundedTable(state.most_peers)
        )
        lifecycle.on_joined.append(self._begin)
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def _begin(self, peer: Peer, now: float) -> None:
        is_its_part = self._state.identity.id < peer.node_id
        if peer.seal is not None or not is_its_part or not is_made_of_keys(peer.node_id):
            return
        entry = _Open(FIRST_PAUSE_S, now + FIRST_PAUSE_S)
        if self._open.put(peer, entry):
            self._check_at(peer, entry)

    def _check_at(self, peer: Peer, entry: _Open) -> None:
        def look(now: float) -> None:
            if self._open.get(peer) is entry:
                self.check(peer, now)

        self._state.timers.schedule(entry.due, look)

    def check(self, peer: Peer, now: float) -> None:
        """A timer or a heartbeat of a peer: is it due to be asked, and can it be? While a server
        forwards nothing sealed, nothing is reported, and no pause grows."""
        entry = self._open.get(peer)
        if entry is None or now < entry.due or not peer.is_authenticated or self._state.closing:
            return
        if peer in self._beside or not self._seals.offers_to(peer.sends_to):
            return
        if not self._beside.ask(peer, SECURED, now):
            return
        entry.due = now + ASKED_S + entry.pause_s
        entry.pause_s = min(PAUSE_GROWTH * entry.pause_s, LONGEST_PAUSE_S)
        self._check_at(peer, entry)

    def _forget(self, peer: Peer) -> None:
        self._open.pop(peer)
