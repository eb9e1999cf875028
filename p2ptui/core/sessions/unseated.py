"""Newcomers in a flood: answered, but without a place in the table until they say something.

An attacker that forges addresses never receives the answers, so nothing follows its handshakes. So
if more newcomers come to a full table than can be examined, it answers them all, keeps their
requests for a short time, and gives a place to those that go on: to a node of our kind when it
acknowledges its answer, to others when they send something. The latter may be forged too, so no
peer loses its place to them before it has had time to answer. They wait for a place, ahead of nodes
that have only asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from msgspec import Raw

from p2ptui.bounded import BoundedTable, draw_oldest
from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import shortened
from p2ptui.core.peers.handshakes import ToldBefore
from p2ptui.core.peers.liveness import Shown
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.newcomers import Newcomers
from p2ptui.core.sessions.other_ways import AlternatePaths
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import NULL, Envelope, MessageType

MAX_UNSEATED: Final = 512
"""Requests kept at a time: at a thousand a second for half a second, longer than a round trip."""

UNSEATED_S: Final = 2.0
"""How long they are kept at most: clients give up then."""

MAX_WORD_BYTES: Final = 256
"""Most payload bytes of a message from a node that waits for a place; longer ones are lost."""

LOOKED_AT: Final = 64
"""How many that wait in full shares are examined at a time."""


@dataclass(slots=True, eq=False)
class _Unseated:
    """A node that was answered."""

    arrival: Arrival
    told: ToldBefore
    word: Envelope | None = None
    """Its message since."""
    shown: Shown | None = None
    """When it has acknowledged its answer, if it has."""
    is_asked_again: bool = False
    """Whether it was asked to acknowledge it once more."""

    @property
    def is_proved(self) -> bool:
        """Whether it has acknowledged its answer."""
        return self.shown is not None


class Unseated:
    """The nodes that were answered and have no place yet.

    Args:
        state: The shared state.
        delivery: Writes Pings.
        lifecycle: Finds room.
        ways: Reports messages from strangers, and takes those that begin a session.
        newcomers: Writes answers to requests, and admits nodes that have proved that they are
            there.
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
        """Called with the address of a Pong that no answered node sent; returns whether a request
        from there waits for its answer."""
        self._known: BoundedTable[Address, _Unseated] = state.tables.add(
            "newcomers_unseated",
            BoundedTable(MAX_UNSEATED, shares=state.tables.shares, lifetime_s=UNSEATED_S),
        )
        self._speaking: BoundedTable[Address, None] = state.tables.add(
            "newcomers_unseated", BoundedTable(MAX_UNSEATED, shares=state.tables.shares)
        )
        """The nodes among these that wait for a place."""
        self._in_shares: BoundedTable[Address, None] = state.tables.add(
            "newcomers_unseated", BoundedTable(MAX_UNSEATED, shares=state.tables.shares)
        )
        """Likewise, if the share of their address or prefix is full."""

    def _make_room(self, address: Address) -> None:
        """Forget one of the oldest."""
        count = len(self._known)
        if count >= MAX_UNSEATED and address not in self._known:
            self._known.pop(draw_oldest(self._known, count, self._state.rng))

    def answer(self, arrival: Arrival, now: float) -> None:
        """Answer a request, within what it pays for, and keep it."""
        before = self._known.get(arrival.address)
        is_same = before is not None and before.arrival.message.id == arrival.message.id
        answers, numbered = self._newcomers.answers, arrival.acknowledges
        if before is not None and is_same:
            kept = before.told
            told = answers.again(kept)
        else:
            limit = arrival.earned.allowance
            if limit < answers.shortest_bytes:
                self._state.counters.drop("handshake_too_short")
                return
            sequence = self._state.rng.getrandbits(32) if numbered else None
            told = answers.accept(arrival, sequence, limit, now)
            assert told.again is not None
            kept = told.again
        address, gate = arrival.address, self._state.gate
        gate.send(told.response, address, arrival.earned)
        if not numbered:
            # Deployed programs acknowledge nothing, but answer this.
            _, ping = self._delivery.build(MessageType.PING, NULL, now)
            gate.send(ping, address, arrival.earned)
        word = before.word if before is not None and is_same else None
        if before is not None and is_same and before.arrival.asked_at is not None:
            arrival = replace(arrival, asked_at=before.arrival.asked_at)
        elif arrival.asked_at is None:
            arrival = replace(arrival, asked_at=now)
        self._make_room(address)
        self._known.put(address, _Unseated(arrival.kept(), kept, word), now, address=address)

    def _seat(self, address: Address, message: Envelope, now: float) -> bool:
        """An answered node without a place says something; returns whether it has a place now."""
        known = self._known.get(address)
        kind = message.message_type
        if known is None:
            return kind == MessageType.PONG and self.on_pong(address)
        if kind == MessageType.HANDSHAKE_REQUEST:
            return False
        told = known.told
        is_proved = kind == MessageType.ACK and message.ack_for in told.keys
        if known.is_proved and not is_proved:
            return True  # it needs no reply: it will have its place soon
        if not is_proved and (kind == MessageType.ACK or told.sequence is not None):
            # Anybody can guess what comes next. A p2ptui node acknowledges before it speaks.
            return False
        if self._is_taken(known):
            return False
        has_shown = is_proved or _answers(message)
        if is_proved:
            asked_at = known.arrival.asked_at
            known.shown = Shown(now if asked_at is None else asked_at, now)
        if not self._makes_room(address, known, now, has_shown=has_shown):
            if is_proved:
                is_free = self._lifecycle.seats.is_share_free(address)
                waiting = self._speaking if is_free else self._in_shares
                waiting.put(address, None, address=address)
                return False
            is_long = len(message.payload) > MAX_WORD_BYTES
            known.word = shortened(message, NULL if is_long else Raw(bytes(message.payload)))
            self._speaking.put(address, None, address=address)
            return True
        return self._take(address, known, message, now, is_proved=is_proved)

    def _take(
        self,
        address: Address,
        known: _Unseated,
        word: Envelope | None,
        now: float,
        *,
        is_proved: bool,
    ) -> bool:
        self._known.pop(address)
        self._speaking.pop(address)
        self._in_shares.pop(address)
        arrival = known.arrival.read_again()
        told = self._newcomers.answers.again(known.told)
        peer = self._newcomers.let_in(arrival, told, now, is_proved=is_proved)
        if peer is None:
            return False
        if word is not None and not is_proved:
            self._ways.on_message(peer, word, now)
        return True

    def _makes_room(
        self, address: Address, known: _Unseated, now: float, *, has_shown: bool
    ) -> bool:
        if self._lifecycle.make_room(
            address, now, in_haste=known.is_proved, has_shown=has_shown, shown=known.shown
        ):
            return True
        if known.is_proved:
            self._lifecycle.seats.ghosts.ask(address, now)
        return False

    def _ask_again(self, address: Address, known: _Unseated, now: float) -> None:
        """A node may have proved that it is there before the others were asked: then its answer is
        sent once more, and its Ack proves it again."""
        shown, seats = known.shown, self._lifecycle.seats
        if shown is None or known.is_asked_again or seats.ghosts.is_in_time(shown):
            return
        if seats.ghosts.may_gain(address, shown.asked_at, now):
            known.is_asked_again = True
            told = self._newcomers.answers.again(known.told)
            self._state.gate.send(told.response, address, known.arrival.earned)

    def _is_taken(self, known: _Unseated) -> bool:
        """Whether the id has an owner by now."""
        return self._state.peers.with_id(known.arrival.info.id) is not None

    def seat_next(self, now: float) -> bool:
        """Give places to nodes that have said something, while there are any; returns whether some
        still wait."""
        while (address := next(iter(self._speaking), None)) is not None:
            if not self._seat_waiting(address, self._speaking, now):
                return True
        return False

    def _seat_in_shares(self, now: float) -> None:
        """The same for nodes whose share is full: they delay nobody else."""
        for address in list(islice(self._in_shares, LOOKED_AT)):
            if not self._seat_waiting(address, self._in_shares, now):
                self._in_shares.renew(address)  # the others get their turn

    def _seat_waiting(
        self, address: Address, waiting: BoundedTable[Address, None], now: float
    ) -> bool:
        """Whether a node that has said something no longer waits."""
        known = self._known.get(address)
        is_peer = self._state.peers.at(address) is not None
        if known is None or not (known.word or known.is_proved) or is_peer or self._is_taken(known):
            waiting.pop(address)
            return True
        word = known.word
        has_shown = known.is_proved or (word is not None and _answers(word))
        if not self._makes_room(address, known, now, has_shown=has_shown):
            self._ask_again(address, known, now)
            return False
        self._take(address, known, word, now, is_proved=known.is_proved)
        return True

    def expire(self, now: float) -> bool:
        """Forget nodes that have not gone on in time; returns whether any are left."""
        self._known.expire(now)
        self.seat_next(now)
        self._seat_in_shares(now)
        return bool(self._known)


def _answers(word: Envelope) -> bool:
    """Whether a message answers something: a program that answers no Ping sends other things."""
    return word.message_type == MessageType.PONG
