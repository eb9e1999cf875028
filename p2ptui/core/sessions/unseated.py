"""Newcomers in a flood: answered, and without a seat until they say something.

Whoever forges addresses never hears the answers, so that nothing follows its handshakes. So a full
house into which more newcomers press than can be looked at answers them all, keeps their requests
for a short time, and gives a seat to who goes on.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import dialect_of
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.greetings import believed_capabilities
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.newcomers import Newcomers
from p2ptui.core.sessions.other_ways import AlternatePaths, Told
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import NULL, Capability, Envelope, MessageType

MAX_UNSEATED: Final = 512
"""Requests kept at a time: at a thousand a second for half a second, longer than a round trip."""

UNSEATED_S: Final = 2.0
"""So long at most: clients give up then."""


class Unseated:
    """Those who were answered and have no seat.

    Args:
        state: The shared ground.
        delivery: Writes Pings.
        lifecycle: Finds room.
        ways: Tells of messages from strangers, and takes what begins a session.
        newcomers: Writes what answers a request, and lets in who has shown that it is there.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        ways: AlternatePaths,
        newcomers: Newcomers,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._newcomers = newcomers
        self._ways = ways
        ways.on_newcomer = self._seat
        self.on_pong: Callable[[Address], bool] = lambda _: False
        """Called with where a Pong came from, of nobody that was answered; whether it is one who
        waits for an answer."""
        self._known: BoundedTable[Address, tuple[Arrival, Told]] = state.tables.add(
            "newcomers_unseated",
            BoundedTable(MAX_UNSEATED, shares=state.tables.shares, lifetime_s=UNSEATED_S),
        )

    def answer(self, arrival: Arrival, now: float) -> None:
        """Answer a request, within what it pays for, and keep it."""
        before, told = self._known.get(arrival.address) or (None, None)
        if before is None or before.message.id != arrival.message.id:
            told = None
        numbered = Capability.RETRANSMIT in believed_capabilities(
            arrival.info, dialect_of(arrival.message)
        )
        if told is None:
            if arrival.earned.allowance < self._newcomers.answers.shortest_bytes:
                self._state.counters.drop("handshake_too_short")
                return
            sequence = self._state.rng.getrandbits(32) if numbered else None
            told = self._newcomers.answers.accept(arrival, sequence, arrival.earned.allowance, now)
        address, gate = arrival.address, self._state.gate
        gate.send(told.response, address, arrival.earned)
        if not numbered:
            # Deployed programs acknowledge nothing, but answer this.
            _, ping = self._delivery.build(MessageType.PING, NULL, now)
            gate.send(ping, address, arrival.earned)
        self._known.put(address, (arrival, told), now, address=address)

    def _seat(self, address: Address, message: Envelope, now: float) -> bool:
        """Somebody speaks who was answered and has no seat; whether it has one now."""
        known = self._known.get(address)
        kind = message.message_type
        if known is None:
            return kind == MessageType.PONG and self.on_pong(address)
        if kind == MessageType.HANDSHAKE_REQUEST:
            return False
        arrival, told = known
        is_proved = kind == MessageType.ACK and message.ack_for in told.keys
        if kind == MessageType.ACK and not is_proved:
            return False
        if self._state.peers.with_id(arrival.info.id) is not None:
            return False
        has_shown = is_proved or kind == MessageType.PONG
        if not self._lifecycle.make_room(address, now, in_haste=True, has_shown=has_shown):
            return False
        self._known.pop(address)
        self._newcomers.accept(arrival, told, now)
        peer = self._state.peers.at(address)
        if peer is None:
            return False
        if is_proved:
            peer.facts.note_ack()
            self._delivery.prove(peer, now)
        else:
            self._ways.on_message(peer, message, now)
        return True

    def expire(self, now: float) -> bool:
        """Forget who has not gone on in time; whether anybody is left."""
        self._known.expire(now)
        return bool(self._known)
