"""Nodes that have shown their keys, and wait for a seat where all are taken.

Who has completed a key exchange receives at its address: that is as much as anybody can show. So it
is not turned away while one of those who have shown less, or may have gone, is being asked. It
repeats its last message until it is answered, and so shows again and again that it is there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.peers.liveness import Shown
from p2ptui.core.secure.displacing import Displacing
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

PATIENCE_S: Final = 3.0
"""So long it waits since it first asked."""

LOOK_S: Final = 0.1
"""Between two looks whether somebody has made room."""

MAX_WANTED: Final = 256
"""Nodes that wait; the oldest gives up."""


@dataclass(slots=True, eq=False)
class _Wanted:
    address: Address
    asked_at: float
    shown_at: float
    let_in: Callable[[float], None]
    refuse: Callable[[str, float], None]


class Seating:
    """Finds seats for them.

    Args:
        state: The shared ground.
        lifecycle: Knows who makes room.
        displacing: Asks a secured peer that is at the same address.
    """

    def __init__(self, state: NodeState, lifecycle: Lifecycle, displacing: Displacing) -> None:
        self._state = state
        self._displacing = displacing
        self._lifecycle = lifecycle
        self._wanted: BoundedTable[int, _Wanted] = state.tables.add(
            "seats_wanted",
            BoundedTable(MAX_WANTED, full="seat_wanted_forgotten", shares=state.tables.shares),
        )

    def may_find(self, address: Address, now: float) -> bool:
        """Whether who asks may have a seat by the time that it has shown its keys.

        Args:
            address: Where it is.
            now: The time, seconds.
        """
        seats = self._lifecycle.seats
        if seats.is_free(address):
            return True
        is_asked = seats.ask(address, now)
        return is_asked or seats.who_goes(address, now, in_haste=True, has_shown=True) is not None

    def begin(
        self,
        number: int,
        arrival: Arrival,
        asked_at: float,
        let_in: Callable[[float], None],
        refuse: Callable[[str, float], None],
        now: float,
    ) -> None:
        """Somebody has shown its keys: it is let in, at once or when there is room.

        Args:
            number: Of its exchange.
            arrival: Who it is, and the keys that it has shown.
            asked_at: When it first asked, seconds.
            let_in: Lets it in, at a time.
            refuse: Tells it why not, at a time.
            now: The time, seconds.
        """
        address, peers, proof = arrival.address, self._state.peers, arrival.proof
        before = peers.at(address)
        if before is not None and before.is_authenticated and before.seal is not None:
            is_another = proof is not None and before.seal.keys != proof.keys
            if is_another:
                self._displacing.begin(before, let_in, refuse, now)
                return
        if before is not None or peers.with_id(arrival.info.id) is not None:
            let_in(now)
            return
        wanted = _Wanted(address, asked_at, now, let_in, refuse)
        if self._finds(wanted, now):
            let_in(now)
        elif self._wanted.put(number, wanted, address=address):
            self._plan(number, wanted, now)
        else:
            refuse(self._lifecycle.seats.words(address), now)

    def note_shown(self, number: int, now: float) -> None:
        """It has shown its keys again."""
        wanted = self._wanted.get(number)
        if wanted is not None:
            wanted.shown_at = now

    def _finds(self, wanted: _Wanted, now: float) -> bool:
        shown = Shown(wanted.asked_at, wanted.shown_at)
        return self._lifecycle.make_room(
            wanted.address, now, in_haste=True, has_shown=True, shown=shown
        )

    def _plan(self, number: int, wanted: _Wanted, now: float) -> None:
        self._lifecycle.seats.ask(wanted.address, now)
        self._state.timers.schedule(now + LOOK_S, lambda at: self._look(number, wanted, at))

    def _look(self, number: int, wanted: _Wanted, now: float) -> None:
        if self._wanted.get(number) is not wanted or self._state.closing:
            return
        if self._finds(wanted, now):
            self._wanted.pop(number)
            wanted.let_in(now)
        elif now >= wanted.asked_at + PATIENCE_S:
            self._wanted.pop(number)
            wanted.refuse(self._lifecycle.seats.words(wanted.address), now)
        else:
            self._plan(number, wanted, now)
