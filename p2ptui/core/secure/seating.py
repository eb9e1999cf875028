"""A node that has proved its keys while the peer table is full waits for a place, like open ones.

It has proved its address. Peers that never did make room, unless they answer at once. Those that
did are asked whether they are still there; meanwhile the newcomer repeats its last message, which
shows that it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.peers.liveness import Shown
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

MAX_WAITING_SEALED: Final = 256
"""Complete key exchanges that wait for a place; the oldest makes room."""

WAITS_S: Final = 3.0
"""How long one may wait: by then it is known which peers have left."""

HASTE_AFTER_S: Final = 0.5
"""How long peers that have never answered are given to do so; then the latest of them makes
room."""

LOOK_S: Final = 0.1
"""Between two checks of all that wait."""

LOOKED_AT: Final = 32
"""How many are examined in one check."""


@dataclass(slots=True, eq=False)
class _Seeker:
    address: Address
    asked_at: float
    shown_at: float
    until: float
    seat: Callable[[float], None]
    refuse: Callable[[str, float], None]


class Seating:
    """Finds places for nodes that have proved their keys.

    Args:
        state: The shared state.
        lifecycle: Decides which peers make room.
    """

    def __init__(self, state: NodeState, lifecycle: Lifecycle) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._waiting: BoundedTable[int, _Seeker] = state.tables.add(
            "sealed_unseated",
            BoundedTable(
                MAX_WAITING_SEALED, full="sealed_newcomer_forgotten", shares=state.tables.shares
            ),
        )
        self._looking = False

    def lacks_room(self, address: Address, now: float) -> str:
        """Why there can be no place, whatever a node proves; empty if there may be one.

        Args:
            address: The address of the asking node.
            now: The time, seconds.
        """
        seats = self._lifecycle.seats
        if seats.is_free(address):
            return ""
        if seats.who_goes(address, now, in_haste=True, has_shown=True) is not None:
            return ""
        return "" if seats.ask(address, now) else seats.words(address)

    def begin(
        self,
        number: int,
        address: Address,
        asked_at: float,
        seat: Callable[[float], None],
        refuse: Callable[[str, float], None],
        now: float,
    ) -> None:
        """Take a place for a node that has proved its keys, or wait for one.

        Args:
            number: The number of its exchange.
            address: Its address.
            asked_at: When it asked, seconds.
            seat: Gives it a place, at a given time.
            refuse: Tells it why not, at a given time.
            now: The time, seconds.
        """
        waiting = _Seeker(address, asked_at, now, now + WAITS_S, seat, refuse)
        if self._makes_room(waiting, now):
            seat(now)
            return
        if not self._waiting.put(number, waiting, now, address=address):
            refuse(self._lifecycle.seats.words(address), now)
            return
        if not self._looking:
            self._look_after(now)

    def show(self, number: int, now: float) -> None:
        """A waiting node has shown again that it is there."""
        waiting = self._waiting.get(number)
        if waiting is not None:
            waiting.shown_at = now

    def _makes_room(self, waiting: _Seeker, now: float) -> bool:
        shown = Shown(waiting.asked_at, waiting.shown_at)
        address, lifecycle = waiting.address, self._lifecycle
        in_haste = now >= waiting.asked_at + HASTE_AFTER_S
        if lifecycle.make_room(address, now, in_haste=in_haste, has_shown=True, shown=shown):
            return True
        lifecycle.seats.ask(address, now)
        return False

    def _look_after(self, now: float) -> None:
        self._looking = True
        self._state.timers.schedule(now + LOOK_S, self._look)

    def _look(self, now: float) -> None:
        self._looking = False
        for number in list(self._waiting)[:LOOKED_AT]:
            waiting = self._waiting[number]
            if self._makes_room(waiting, now):
                self._waiting.pop(number)
                waiting.seat(now)
            elif now >= waiting.until:
                self._waiting.pop(number)
                waiting.refuse(self._lifecycle.seats.words(waiting.address), now)
            else:
                self._waiting.renew(number)  # the others get their turn
        if self._waiting and not self._state.closing:
            self._look_after(now)
