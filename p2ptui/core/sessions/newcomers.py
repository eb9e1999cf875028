"""Newcomers at addresses in use, held beside the session there until they show that they are there.

Anybody can forge a HandshakeRequest from an address. So none ends, replaces or changes what exists
with that address: a session, or a request of this node. The newcomer is answered, and takes the
place when it acknowledges the answer, which carries a random number and was sent only to that
address. The previous session is not asked, and loses no message, name or capability.

Programs that acknowledge nothing prove less. Such a newcomer takes the place if it sends more
within `GOES_ON_S` after its answer, and for `SILENT_S` nothing arrives that only the previous peer
can know: an Ack, a Pong that names its Ping, its handshake. It is answered before anything else is
sent to its address: deployed clients believe only the first datagram that comes. If it asks again
and says the same, its time keeps running. If it speaks later, it is told to shake hands again,
since the message may be the previous peer's. It then takes the place after `LATE_S`, with
`LATE_WORDS` messages.

Only this module makes a session give way to a newcomer at its address.
"""

import math
from collections.abc import Callable
from dataclasses import replace as replace_field
from typing import Final, TypeAlias

from msgspec.structs import replace

from p2ptui.bounded import BoundedTable, Share, draw_oldest
from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import dialect_of
from p2ptui.core.ids import Secrets
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.sessions.answers import Answers
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.doubted import Doubted
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.newcomer import (
    ANSWER_AGAIN_S,
    ANSWERS,
    FROM_SERVERS,
    GOES_ON_S,
    LATE_LIFETIME_S,
    MOST_ANSWERED_AGAIN,
    PROBE_PAUSE_S,
    Newcomer,
    has_shown_itself,
    is_repeated,
    is_spec,
    lifetime_s,
)
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.state import NodeState
from p2ptui.core.trust import vouches
from p2ptui.wire.address import Address
from p2ptui.wire.message import Envelope, MessageType

MAX_NEWCOMERS: Final = 1024
"""Newcomers at addresses in use, in total; the oldest makes room. A quarter as many are doubted."""

MAX_NEWCOMERS_OF_ONE: Final = 256
"""Those for the place of one peer. One of the oldest, drawn at random, makes room: if it were
always the oldest, forging this many requests within a round trip would keep everybody out."""

KEPT_AMONG_GUESSES: Final = 16
"""How many of these stay while somebody guesses: each Ack that names none of them moves one to the
doubted. A guess of 32 bits hardly ever hits one of so few."""

MAX_CROSSED: Final = 2
"""How many requests, the latest, may be the one that crossed this node's own."""

Accept: TypeAlias = Callable[[Arrival, Told, float], None]
"""Admits a newcomer, with the answer that it was sent, at a time."""

_Key: TypeAlias = tuple[Address, int | str]
"""The newcomer's address, and the number that it acknowledges; empty if it acknowledges nothing."""

_Step: TypeAlias = Callable[[_Key, Newcomer, float], None]
"""What is done with a newcomer at a time, if it is still held."""


class Newcomers:
    """Holds newcomers beside the sessions whose place they would take.

    Args:
        state: The shared state.
        delivery: Asks previous peers whether they are there.
        lifecycle: Reports which of them have gone.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self.answers = self._answers = Answers(state, delivery)
        """Writes the answers to requests, held or not."""
        self.accept: Accept = lambda *_: None
        """Admits a newcomer."""
        self.ask_server: Callable[[Peer, float], bool] = lambda *_: False
        """Asks a deployed server for what only a server sends, but not often; returns whether it
        did."""
        self._held: BoundedTable[_Key, Newcomer] = state.tables.add(
            "newcomers",
            BoundedTable(
                MAX_NEWCOMERS,
                full="newcomer_forgotten",
                shares=state.tables.shares,
                peer_share=Share(MAX_NEWCOMERS_OF_ONE, makes_room=True),
                on_evicted=lambda _, held: self._release(held),
            ),
        )
        limits = MAX_NEWCOMERS // 4, MAX_NEWCOMERS_OF_ONE
        self._doubted = Doubted(state, self._answers, limits, self._release)
        self._secrets = Secrets(state.rng)
        lifecycle.on_removed.append(lambda peer, _: self._handle_removed(peer))
        lifecycle.on_joined.append(lambda peer, _: self._forget_all(peer))

    # Who is held.

    @staticmethod
    def must_show(peer: Peer, arrival: Arrival) -> bool:
        """Whether a request from the address of a peer waits for a sign that it is genuine.

        Args:
            peer: A peer with a session, or one that is asked for a session.
            arrival: The request.
        """
        return not (peer.is_authenticated and vouches(peer, arrival.continues))

    @staticmethod
    def is_known(peer: Peer, arrival: Arrival) -> bool:
        """Whether a request says nothing new about a peer, except in its metadata, which differ
        between an answer and a request."""
        info = peer.info
        if info is None or dialect_of(arrival.message) is not peer.dialect:
            return False
        return replace(arrival.info, metadata=info.metadata) == info

    @classmethod
    def is_same(cls, peer: Peer, arrival: Arrival) -> bool:
        """Whether a request says nothing new about a peer, and comes from a program that keeps no
        session state: it needs an answer, but no new session."""
        is_plain = peer.dialect is Dialect.REFERENCE and peer.is_authenticated
        return is_plain and cls.is_known(peer, arrival) and arrival.info == peer.info

    def hold(self, before: Peer, arrival: Arrival, now: float) -> None:
        """Hold a newcomer beside the peer whose place it would take.

        Args:
            before: That peer: at the same address, or at another one with the same id.
            arrival: The newcomer's request.
            now: The time, seconds.
        """
        number, response_id = self._secrets.of(arrival.address, arrival.message.id)
        # The first one beside a session that has not begun is numbered by that session.
        keys: list[_Key] = [(arrival.address, number), (arrival.address, "")]
        for key in (*keys, *self._held.of_peer(before)[:1]):
            held = self._held.get(key)
            is_its = held is not None and held.before is before and key[0] == arrival.address
            if held is not None and is_its and is_repeated(held.arrival, arrival):
                self._repeat(held, arrival, now)
                return
        if arrival.acknowledges:
            self._hold_ours(before, arrival, number, response_id, now)
        else:
            self._hold_other(before, arrival, now)

    def _repeat(self, held: Newcomer, arrival: Arrival, now: float) -> None:
        """A held newcomer asks again: it was not answered yet, or the answer was lost."""
        is_new = held.arrival.message.id != arrival.message.id
        held.arrival = arrival.kept()
        if arrival.acknowledges:
            held.began = now
        elif is_new:
            held.told = self._answers.accept(arrival, None, arrival.earned.allowance, now)
        self._answer(held, now)

    def _hold_ours(
        self, before: Peer, arrival: Arrival, sequence: int, response_id: str, now: float
    ) -> None:
        # Normally neither number nor id belongs to the current session. The same request always
        # gets the same answer: a newcomer that was forgotten, but believes that it was admitted,
        # still gets in with it.
        if not (before.is_authenticated or self._held.of_peer(before)):
            sequence = before.channel.numbering.begin()
        told = self._answers.accept(arrival, sequence, arrival.earned.allowance, now, response_id)
        newcomer = Newcomer(before, arrival.kept(), told, now)
        key = (arrival.address, sequence)
        self._put(key, newcomer, now)
        self._answer(newcomer, now)
        self._plan(self._answer_again, key, newcomer, now + ANSWER_AGAIN_S)

    def _answer_again(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        is_alone = len(self._held.of_peer(newcomer.before)) <= MOST_ANSWERED_AGAIN
        # One that was never answered must be, whatever has prevented it.
        if is_alone and (self._answer(newcomer, now) or not newcomer.is_answered):
            self._plan(self._answer_again, key, newcomer, now + ANSWER_AGAIN_S)

    def _hold_other(self, before: Peer, arrival: Arrival, now: float) -> None:
        told = self._answers.accept(arrival, None, arrival.earned.allowance, now)
        newcomer = Newcomer(before, arrival.kept(), told, now)
        key = (arrival.address, "")  # only the latest of these is held at an address
        self._put(key, newcomer, now)
        if self._is_held(key, newcomer):
            self._answer(newcomer, now)  # first: deployed clients believe the first datagram
        self._ask_before(key, newcomer, now)

    def _ask_before(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        """Ask the previous peer something that the newcomer cannot answer."""
        if not self._is_held(key, newcomer):
            return
        before = newcomer.before
        if now >= newcomer.due or not before.is_authenticated:
            self._consider(key, newcomer, now)  # its due time may have changed
            return
        is_due = now - before.liveness.last_ping_sent >= PROBE_PAUSE_S / 2
        if before.dialect is Dialect.SPEC and is_due:
            self._delivery.ping(before, now)
        elif newcomer.must_ask and self.ask_server(before, now):
            newcomer.asked_at = min(newcomer.asked_at, now)
            self._consider(key, newcomer, now)  # it may have spoken before it had a due time
        self._plan(self._ask_before, key, newcomer, now + PROBE_PAUSE_S)

    def _answer(self, newcomer: Newcomer, now: float) -> bool:
        """Answer a newcomer, if its request pays for that; returns whether it did."""
        is_out = self._answers.answer_held(newcomer.arrival, newcomer.told.response, now)
        if is_out:
            newcomer.note_answered(now)
        return is_out

    def _put(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        earlier = self._held.get(key)
        is_full = self._held.held_by(newcomer.before) >= MAX_NEWCOMERS_OF_ONE
        if earlier is None and is_full and (others := self._numbered(newcomer.before)):
            self._state.counters.drop("newcomer_forgotten")
            self._forget(draw_oldest(others, len(others), self._state.rng))
        if self._held.put(
            key, newcomer, now, peers=(newcomer.before,), address=newcomer.arrival.address
        ):
            newcomer.note_held()
            self._plan(self._end, key, newcomer, now + lifetime_s(newcomer))
        if earlier is not None:
            self._release(earlier)

    def _end(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        ends_at = newcomer.began + lifetime_s(newcomer)
        if now < ends_at:
            self._plan(self._end, key, newcomer, ends_at)
        else:
            self._forget(key)

    def _plan(self, step: _Step, key: _Key, newcomer: Newcomer, when: float) -> None:
        """Plan a step for a held newcomer, in place of the same step planned before."""
        if self._held.get(key) is not newcomer:
            return
        name = step.__name__
        if (earlier := newcomer.timers.pop(name, None)) is not None:
            earlier.cancel()
        newcomer.timers[name] = self._state.timers.schedule(
            when, lambda now: step(key, newcomer, now)
        )

    # What shows who is there.

    def take_ack(self, address: Address, message: Envelope, now: float) -> bool:
        """Whether a message is the Ack of an answer to a newcomer that is held at an address.

        Args:
            address: Where it came from.
            message: The message.
            now: The time, seconds.
        """
        number = message.ack_for
        if message.message_type != MessageType.ACK:
            return False
        if (doubted := self._doubted.at(address, message.id)) is not None:
            return self._take_sure(doubted, now)
        if type(number) is not int or not is_spec(message):
            return False  # a deployed server acknowledges by id, whatever it is sent
        key = (address, number)
        newcomer = self._held.get(key)
        return newcomer is not None and self._take_sure(newcomer, now)

    def _take_sure(self, newcomer: Newcomer, now: float) -> bool:
        """A newcomer has acknowledged its answer; returns whether that admits it."""
        before = newcomer.before
        is_elsewhere = before.address != newcomer.arrival.address
        if is_elsewhere and has_shown_itself(before, newcomer.began):
            return False  # the owner of the id has come back
        self._take(newcomer, now, is_proved=True)
        return True

    def receive(self, peer: Peer, address: Address, message: Envelope, now: float) -> bool:
        """A message from where a newcomer may be held; returns whether that has taken it.

        Args:
            peer: The previous peer there.
            address: Where it came from: that peer's own address, or another.
            message: The message.
            now: The time, seconds.
        """
        kind = message.message_type
        if any(self.take_ack(at, message, now) for at in {address, peer.address}):
            return True
        if kind == MessageType.ACK:
            self._doubt(peer, now)
        key = (address, "")
        newcomer = self._held.get(key)
        if newcomer is None or newcomer.before is not peer or not self._is_held(key, newcomer):
            return False
        if peer.initiated and peer.is_authenticated and kind in FROM_SERVERS:
            self._forget(key)
        elif kind in ANSWERS:
            pass  # the previous peer would send it too
        elif is_spec(message) is not is_spec(newcomer.arrival.message):
            if peer.is_authenticated and dialect_of(message) is peer.dialect:
                self._forget(key)  # from the previous program
        elif now <= newcomer.answered_at + GOES_ON_S and newcomer.is_answered:
            newcomer.has_spoken = True
            self._consider(key, newcomer, now)
        elif peer.is_authenticated and newcomer.is_answered and not newcomer.has_spoken:
            self._take_late_word(key, newcomer, now)
        return False

    def _take_late_word(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        """What either may have sent comes so late that it is more likely the previous peer's."""
        if newcomer.goes_on_late(now):
            newcomer.has_spoken = True
            self._consider(key, newcomer, now)
            return
        self._plan(self._end, key, newcomer, now + LATE_LIFETIME_S)
        # A handshake tells which of the two it is; a newcomer is then answered again.
        if newcomer.before.dialect is Dialect.REFERENCE and newcomer.may_ask_who(now):
            self._answers.ask_who(newcomer.arrival, now)

    def _doubt(self, peer: Peer, now: float) -> None:
        """An Ack from an address where newcomers are held names none of them: it may be a guess."""
        if self._held.held_by(peer) <= KEPT_AMONG_GUESSES or not (held := self._numbered(peer)):
            return
        key = draw_oldest(held, 2 * len(held), self._state.rng)
        newcomer = self._held[key]
        self._forget(key)
        self._doubted.put(key[0], newcomer, now)

    def _numbered(self, peer: Peer) -> list[_Key]:
        """Newcomers for the place of a peer that have a number to guess. Of the others there is
        only one at each of its addresses, and no flood displaces it."""
        return [key for key in self._held.of_peer(peer) if key[1] != ""]

    def note_before(self, address: Address) -> None:
        """The previous peer has sent its own handshake again from an address: it is there."""
        self._forget((address, ""))

    def _is_held(self, key: _Key, newcomer: Newcomer) -> bool:
        """Whether a newcomer is still held; not if the previous peer has shown itself since."""
        is_held = self._held.get(key) is newcomer
        if is_held and has_shown_itself(newcomer.before, newcomer.began):
            self._forget(key)
            return False
        return is_held

    def _consider(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        if not newcomer.has_spoken or not self._is_held(key, newcomer):
            return
        if now >= newcomer.due:
            self._take(newcomer, now, is_proved=False)
        elif newcomer.due < math.inf:
            self._plan(self._consider, key, newcomer, newcomer.due)

    def _take(self, newcomer: Newcomer, now: float, *, is_proved: bool) -> None:
        """The newcomer has shown that it is there."""
        self._forget_all(newcomer.before)
        self.let_in(newcomer.arrival, newcomer.told, now, is_proved=is_proved)

    def let_in(self, arrival: Arrival, told: Told, now: float, *, is_proved: bool) -> Peer | None:
        """A node that was answered has shown that it is there.

        Args:
            arrival: Its request.
            told: The answer to it.
            now: The time, seconds.
            is_proved: Whether it has acknowledged the answer.

        Returns:
            The peer at its address, if there is one now.
        """
        self.accept(arrival.read_again(), told, now)
        peer = self._state.peers.at(arrival.address)
        if is_proved and peer is not None and peer.is_authenticated:
            peer.facts.note_ack()
            peer.handshakes.decide()
            self._delivery.prove(peer, now)
        return peer

    def join_crossed(self, peer: Peer, node_id: str) -> None:
        """A node has answered this node's request, and its own may be held: both are for one
        session, and so is the answer that is on its way.

        Args:
            peer: The peer at its address.
            node_id: Its id.
        """
        for key in self._held.of_peer(peer)[-MAX_CROSSED:]:
            newcomer = self._held[key]
            told = newcomer.told
            is_same = newcomer.arrival.info.id == node_id and told.sequence is not None
            if is_same and key[0] == peer.address:
                peer.session.note_accepted()
                peer.handshakes.note_request(newcomer.arrival.message.id)
                peer.handshakes.answer(told.kept, told.response_id, told.keys, crossed=True)

    # Newcomers that are no longer held.

    def _handle_removed(self, before: Peer) -> None:
        """The previous peer has gone: a newcomer there that was told it is in takes the place."""
        newcomer = self._held.get((before.address, ""))
        is_next = newcomer is not None and newcomer.before is before and newcomer.is_answered
        self._forget_all(before)
        if newcomer is None or not is_next:
            return
        address, node_id = before.address, newcomer.arrival.info.id
        # What it has sent is also in the previous peer's purse, if that had to pay: it counts once.
        earned = newcomer.arrival.earned if before.purse.proved else before.purse
        arrival, told = replace_field(newcomer.arrival, earned=earned), newcomer.told

        def enter(now: float) -> None:
            peers = self._state.peers
            is_free = peers.at(address) is None and peers.with_id(node_id) is None
            if is_free and not self._state.closing:
                self.accept(arrival.read_again(), told, now)

        self._state.timers.schedule(newcomer.began, enter)

    def _forget_all(self, before: Peer) -> None:
        if not (len(self._held) or len(self._doubted)):
            return  # as nearly always
        for key in self._held.of_peer(before):
            self._forget(key)
        self._doubted.forget_all(before)

    def _forget(self, key: _Key) -> None:
        if (newcomer := self._held.pop(key)) is not None:
            self._release(newcomer)

    def _release(self, newcomer: Newcomer) -> None:
        """A newcomer is no longer held, for whatever reason: nothing more is done for it."""
        for timer in newcomer.timers.values():
            timer.cancel()
        newcomer.timers.clear()
        before = newcomer.before
        others = self._held.held_by(before) or self._doubted.held_by(before)
        before.session.note_challenge(is_held=bool(others))
        if not others:
            self._delivery.end_contest(before)
