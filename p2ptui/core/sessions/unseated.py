"""Newcomers in a flood: answered, and without a seat until they say something.

Whoever forges addresses never hears the answers, so that nothing follows its handshakes. So a full
house into which more newcomers press than can be looked at answers them all, keeps their requests
for a short time, and gives a seat to who goes on.
"""

from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import dialect_of
from p2ptui.core.sessions.answers import Answers
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.greetings import believed_capabilities
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import NULL, Capability, MessageType

MAX_UNSEATED: Final = 512
"""Requests kept at a time: at a thousand a second for half a second, longer than a round trip."""

UNSEATED_S: Final = 2.0
"""So long at most: clients give up then."""


class Unseated:
    """Those who were answered and have no seat.

    Args:
        state: The shared ground.
        delivery: Writes Pings.
        answers: Writes answers.
    """

    def __init__(self, state: NodeState, delivery: Delivery, answers: Answers) -> None:
        self._state = state
        self._delivery = delivery
        self._answers = answers
        self._known: BoundedTable[Address, tuple[Arrival, Told]] = state.tables.add(
            "newcomers_unseated",
            BoundedTable(MAX_UNSEATED, shares=state.tables.shares, lifetime_s=UNSEATED_S),
        )
        self.get = self._known.get
        """The request from an address, and what answered it."""
        self.take = self._known.pop
        """Likewise; it is forgotten."""
        self._expires = False

    def answer(self, arrival: Arrival, now: float) -> None:
        """Answer a request, within what it pays for, and keep it."""
        before, told = self._known.get(arrival.address) or (None, None)
        if before is None or before.message.id != arrival.message.id:
            told = None
        numbered = Capability.RETRANSMIT in believed_capabilities(
            arrival.info, dialect_of(arrival.message)
        )
        if told is None:
            if arrival.earned.allowance < self._answers.shortest_bytes:
                self._state.counters.drop("handshake_too_short")
                return
            sequence = self._state.rng.getrandbits(32) if numbered else None
            told = self._answers.accept(arrival, sequence, arrival.earned.allowance, now)
        address, gate = arrival.address, self._state.gate
        gate.send(told.response, address, arrival.earned)
        if not numbered:
            # Deployed programs acknowledge nothing, but answer this.
            _, ping = self._delivery.build(MessageType.PING, NULL, now)
            gate.send(ping, address, arrival.earned)
        self._known.put(address, (arrival, told), now, address=address)
        self._plan()

    def _plan(self) -> None:
        due = self._known.next_expiry()
        if due is not None and not self._expires:
            self._expires = True
            self._state.timers.schedule(due, self._expire)

    def _expire(self, now: float) -> None:
        self._expires = False
        self._known.expire(now)
        self._plan()
