"""Several addresses of one node, asked one after the other until one answers (RFC 8305).

All are sent the same bytes, so a node that is reached at two of its addresses recognises the second
request as the same attempt. The first handshake wins. Later answers are told goodbye, unless they
are the same session's answer on another path.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.addresses import address_words
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import REACHED_AT, ConnectResult
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.sessions.asking import Greeting
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.parting import part
from p2ptui.core.state import LAST_RESORT_S, NodeState
from p2ptui.core.timers import Timer
from p2ptui.errors import HandshakeError, LocalError, P2PError
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import (
    Envelope,
    MessageType,
    ReceivedHandshakeResponse,
)

STAGGER_S: Final = 0.25
"""Between the beginnings of two attempts (RFC 8305, section 5); none waits once the last one has
failed."""

MAX_RACE_ADDRESSES: Final = 8
"""Addresses of one node that are asked at most: the last of them within two seconds."""

LATE_S: Final = 10.0
"""How long after a race an address that lost it may still answer."""

MAX_LOSERS: Final = 256
"""Addresses for which that is remembered; the one that lost first makes room."""

LONGEST_GRACE_S: Final = 1.0
"""A node of the reference's kind is asked anew when the answers of the other addresses must have
come: twice its own round trip after they were asked, and at most this."""

GOODBYE: Final = "reached at another address"


@dataclass(slots=True)
class _Loser:
    greeting: Greeting
    """What it was sent."""
    winner: Address
    is_parted: bool = False
    """Whether it was told goodbye."""


class Races:
    """Connects to nodes that have several addresses.

    Args:
        state: The shared state.
        delivery: Sends messages.
        handshake: Asks one address.
    """

    def __init__(self, state: NodeState, delivery: Delivery, handshake: Handshake) -> None:
        self._state = state
        self._delivery = delivery
        self._handshake = handshake
        self._losers: BoundedTable[Address, _Loser] = state.tables.add(
            "addresses_that_lost", BoundedTable(MAX_LOSERS)
        )
        self._running: dict[int, Race] = {}

    def connect(self, addresses: Sequence[Address], now: float, timeout_s: float) -> int:
        """Shake hands with a node at the first of its addresses that answers.

        Args:
            addresses: In the order in which they are asked, at most `MAX_RACE_ADDRESSES` of them.
            now: The time, seconds.
            timeout_s: How long to try, seconds.

        Returns:
            The token of the ConnectResult.

        Raises:
            LocalError: The peer table is full, or there is no address.
        """
        addresses = list(dict.fromkeys(addresses))[:MAX_RACE_ADDRESSES]
        if not addresses:
            raise LocalError("there is no address to connect to")
        for address in addresses:
            self._losers.pop(address, None)
        for address in addresses:
            result = self._handshake.result_at(address)
            if result is not None:
                return self._state.answered(result)
        if len(addresses) == 1:
            return self._handshake.connect(addresses[0], now, timeout_s)
        race = Race(self._state, self._handshake, self, addresses, now + timeout_s)
        call = self._state.await_session(race, now, timeout_s)
        self._running[call.token] = race
        try:
            race.begin(now)
        except LocalError:
            del self._running[call.token]
            self._state.session_calls.take(call)
            raise
        return call.token

    def end(self, race: "Race", outcome: ConnectResult | HandshakeError) -> None:
        """A race is over."""
        for call in self._state.session_calls.waiting(race):
            self._running.pop(call.token, None)
            self._state.session_calls.end(call, outcome)

    def give_up(self, token: int, reason: str, now: float) -> None:
        """A call of `connect` no longer waits."""
        race = self._running.get(token)
        if race is None:
            self._handshake.withdraw_call(token, now, reason)
        else:
            race.give_up(now, reason)

    def note_loser(self, address: Address, greeting: Greeting, winner: Address, now: float) -> None:
        """An address was asked, and another one answered first."""
        loser = _Loser(greeting, winner)
        self._losers.put(address, loser)

        def forget(_: float) -> None:
            if self._losers.get(address) is loser:
                del self._losers[address]

        self._state.timers.schedule(now + LATE_S, forget)

    def handle_message(self, address: Address, message: Envelope, now: float) -> bool:
        """A message from a stranger; returns whether it recently lost a race. It is told nothing
        but goodbye: the node there may have begun a session with this one."""
        loser = self._losers.get(address)
        if loser is None:
            return False
        if message.message_type != MessageType.HANDSHAKE_RESPONSE:
            self._state.counters.drop("lost_race")
        elif not loser.greeting.is_named_by(message):
            self._state.counters.drop("unsolicited_handshake_response")
        else:
            self._part(address, loser, message, now)
        return True

    def _part(self, address: Address, loser: _Loser, message: Envelope, now: float) -> None:
        winner = self._state.peers.at(loser.winner)
        if winner is not None and winner.handshake_heard == message.id:
            return  # the same answer, from another address of the same node
        try:
            response = decode_payload(message.payload, ReceivedHandshakeResponse)
        except MalformedError:
            self._state.counters.drop("malformed")
            return
        if not response.success:
            return
        part(self._state, self._delivery, address, message, GOODBYE, now)
        if not loser.is_parted and winner is not None:
            loser.is_parted = True
            self._recover(winner, response, now)

    def _recover(self, winner: Peer, response: ReceivedHandshakeResponse, now: float) -> None:
        """The session may have been lost to the address that has just been told goodbye."""
        info = response.node_info
        node_id = None if info is None else canonical_id(info.id or info.node_id)
        if not winner.is_authenticated or winner.dialect is not Dialect.REFERENCE:
            return
        if winner.node_id == node_id:
            reason = "it answered at another address as well"
            self._handshake.reconnect(winner, now, reason)


@dataclass(slots=True, eq=False)
class Race:
    """One node that is asked at several addresses."""

    state: NodeState
    handshake: Handshake
    races: Races
    waiting: list[Address]
    """The addresses that were not asked yet."""
    deadline: float
    greeting: Greeting | None = None
    asked: dict[Address, float] = field(default_factory=dict)
    """When each was first asked."""
    running: set[Address] = field(default_factory=set)
    errors: dict[Address, P2PError] = field(default_factory=dict)
    winner: Address | None = None
    timer: Timer | None = None

    def begin(self, now: float) -> None:
        """Ask the first address.

        Raises:
            LocalError: The peer table is full.
        """
        self._ask_next(now)
        if not self.asked:
            (error,) = self.errors.values()
            raise error

    def _ask_next(self, now: float) -> None:
        self.timer = None
        if self.winner is not None or not self.waiting:
            return
        if self.asked and now >= self.deadline:
            self.waiting.clear()
            self._give_up_if_over()
            return
        address = self.state.peers.own_address(self.waiting.pop(0))
        if (result := self.handshake.result_at(address)) is not None:
            self.win(address, result, now)  # it has connected by itself meanwhile
            return
        if address in self.asked:
            self._ask_next(now)  # two addresses of one peer
            self._give_up_if_over()
            return
        # Before `compete`: a request that cannot be sent ends before that returns.
        self.running.add(address)
        if self.waiting:
            self._plan(now + STAGGER_S)
        try:
            patience_s = self.deadline - now
            self.greeting = self.handshake.compete(address, self, now, patience_s, self.greeting)
        except LocalError as error:
            self.running.discard(address)
            self.errors[address] = error
            if self.asked:
                self.waiting.clear()
                self._give_up_if_over()
            self._cancel()
            return
        self.asked[address] = now

    def _plan(self, when: float) -> None:
        self._cancel()
        self.timer = self.state.timers.schedule(when, self._ask_next)

    def _cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _give_up_if_over(self) -> None:
        if not self.running and not self.waiting:
            self.races.end(self, HandshakeError(self._summary()))

    def give_up(self, now: float, reason: str) -> None:
        """Nobody waits for the result any more: no further address is asked."""
        self._cancel()
        self.waiting.clear()
        for address in list(self.running):
            self.running.discard(address)
            self.handshake.withdraw(address, self, now, reason)
        self.races.end(self, HandshakeError(reason))

    def wait_until(self, deadline: float) -> None:
        """One of its handshakes is older than the race, or lasts longer for another caller."""
        for call in self.state.session_calls.waiting(self):
            self.state.session_calls.extend(call, max(call.deadline, deadline + LAST_RESORT_S))

    def lose(self, address: Address, error: HandshakeError) -> None:
        """An address is out of the race; the next one need not wait any longer."""
        if address not in self.running:
            return
        self.running.discard(address)
        self.errors[address] = error
        if self.waiting:
            self._plan(self.asked.get(address, 0.0))  # that is, as soon as possible
        self._give_up_if_over()

    def takes(self, address: Address, dialect: Dialect, now: float) -> bool:
        """Whether an answer ends the race.

        A node of the reference's kind takes a request on two paths for two clients with one id, and
        gives the id to the later one. If it may have got two, it is asked once more when the other
        path is closed.
        """
        if self.winner is not None or dialect is Dialect.SPEC or len(self.asked) < 2:
            return True
        others = [at for at in self.asked if at != address]
        round_trip_s = now - self.asked[address]
        expected = max(self.asked[at] for at in others) + 2 * round_trip_s
        self._close(address, now)
        # At once, if the others are no longer expected to answer.
        when = min(max(expected, now), now + LONGEST_GRACE_S)
        self.handshake.ask_anew(address, when)
        return False

    def win(self, address: Address, result: ConnectResult, now: float) -> None:
        """An address has answered."""
        if self.winner is None:
            self._close(address, now)
        self.running.discard(address)
        self.races.end(self, result)

    def _close(self, winner: Address, now: float) -> None:
        self.winner = winner
        self._cancel()
        self.waiting.clear()
        reason = REACHED_AT + address_words(winner)
        for address in [at for at in self.running if at != winner]:
            self.running.discard(address)
            is_over = self.handshake.withdraw(address, self, now, reason)
            if is_over and self.greeting is not None:
                self.races.note_loser(address, self.greeting, winner, now)

    def _summary(self) -> str:
        """Why no address led to a session, in one line."""
        ordered = dict.fromkeys(at for at in (*self.asked, *self.errors) if at in self.errors)
        return _in_one_line([_reason_at(at, self.errors[at]) for at in ordered])


def _reason_at(address: Address, error: P2PError) -> str:
    """Why an address led to no session; always includes the address."""
    reason, where = str(error), address_words(address)
    return reason if where in reason else f"{where}: {reason}"


def _in_one_line(reasons: Sequence[str]) -> str:
    """What happened at each address, and what to do: once if that is the same for all."""
    parts = [reason.partition("; ") for reason in reasons]
    hints = {hint for _, _, hint in parts}
    if len(hints) == 1:
        same = hints.pop()
        return "; ".join(filter(None, (", ".join(reason for reason, _, _ in parts), same)))
    return "; ".join(f"{reason} ({hint})" if hint else reason for reason, _, hint in parts)
