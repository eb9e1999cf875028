"""Another node has proved its keys at the address of a secured peer: that peer is asked first.

A program that makes new keys at each start may be killed and started again on the same port. Then
nobody answers for the previous node, and the newcomer gets the address. But an attacker on the path
can also complete an exchange there, with keys of its own. That is no reason to end a session whose
other end still answers under its seal (RFC 9000, section 9.3: an address proves nothing about a
session).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState

PINGS: Final = 6
PAUSE_S: Final = 0.2
"""Six Pings over 1.2 s: at 20 % loss each way one live peer in 450 leaves all of them unanswered,
at 5 % none. The asking node waits for at least 2 s."""

WORDS: Final = "another node, which is still there, has a session from the same address"


@dataclass(slots=True, eq=False)
class _Asked:
    began: float
    let_in: Callable[[float], None]
    refuse: Callable[[str, float], None]
    times: int = 0


class Displacing:
    """Asks secured peers whether they are still there before others get their address.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Tells who has left.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._asked: BoundedTable[Peer, _Asked] = state.tables.add(
            "seals_asked", BoundedTable(state.most_peers)
        )
        lifecycle.on_left.append(self._handle_left)

    def begin(
        self,
        before: Peer,
        let_in: Callable[[float], None],
        refuse: Callable[[str, float], None],
        now: float,
    ) -> None:
        """Another node claims the address of a secured peer.

        Args:
            before: The peer.
            let_in: Admits the other node, at a given time: the peer has left.
            refuse: Tells it why not, at a given time.
            now: The time, seconds.
        """
        if before in self._asked:
            refuse(WORDS, now)  # one at a time; the admitted one is asked in its turn
            return
        asked = _Asked(now, let_in, refuse)
        if self._asked.put(before, asked):
            self._ask(before, asked, now)

    def _ask(self, before: Peer, asked: _Asked, now: float) -> None:
        if self._asked.get(before) is not asked or self._state.closing:
            return
        if before.liveness.shown_at > asked.began:
            self._asked.pop(before)
            asked.refuse(WORDS, now)
        elif asked.times == PINGS:
            self._asked.pop(before)
            asked.let_in(now)
        else:
            asked.times += 1
            # Bounded: one newcomer at a time, which has proved that it receives at this address.
            self._delivery.send_ping(before, Reason.OWNER_CHECK, now)
            self._state.timers.schedule(now + PAUSE_S, lambda at: self._ask(before, asked, at))

    def _handle_left(self, before: Peer, now: float) -> None:
        asked = self._asked.pop(before)
        if asked is not None and not self._state.closing:
            # Not from within the code that ends the previous session.
            self._state.timers.schedule(now, asked.let_in)
