"""A newcomer at an address in use: beside the session there, until it shows that it is there.

Anybody can write a HandshakeRequest in the name of an address. So none ends, replaces or changes
what there is with that address: a session, or a request of this node. The newcomer is answered, and
takes the place when it acknowledges that answer, which only the address was sent, with a random
number in it. The session that there was is not asked, and loses nothing: not a message, a name or a
capability.

Programs that acknowledge nothing show less. Such a newcomer takes the place when it goes on
speaking within `GOES_ON_S` after its answer, and nothing comes for `SILENT_S` that only the one
before it can know: an Ack, a Pong that names its Ping, its handshake. It is answered at once,
before anything else goes to its address: deployed clients believe only the first datagram that
comes. One that asks again, and says of itself what it said before, keeps the time that has run.

This is the one place from which a session gives way to a newcomer at its address.
"""

from collections.abc import Callable
from dataclasses import replace as replace_field
from typing import Final, TypeAlias

from msgspec.structs import replace

from p2ptui.bounded import BoundedTable, Share
from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import dialect_of
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.sessions.answers import Answers
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.newcomer import Newcomer
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.state import NodeState
from p2ptui.core.trust import vouches
from p2ptui.wire.address import Address
from p2ptui.wire.message import Envelope, MessageType

SILENT_S: Final = 3.0
"""So long nothing may show that the session before is still there, where the newcomer can show
nothing that others cannot know."""

PROBE_PAUSE_S: Final = 0.5
"""Between two questions to the one before, in that time."""

ANSWER_AGAIN_S: Final = 0.3
"""Until the answer to one that must acknowledge it is sent again, as far as its request pays."""

MOST_ANSWERED_AGAIN: Final = 8
"""Of more of them at a time most are forged: these repeat their requests, or are nobody."""

LIFETIME_S: Final = 10.0
"""So long a newcomer may take to show that it is there."""

GOES_ON_S: Final = 2.0
"""One that can show nothing must speak so soon after its answer: what comes later is more likely
from the one before, which has been there all the time."""

MAX_NEWCOMERS: Final = 1024
"""Newcomers at addresses in use, in all; the oldest makes room."""

MAX_NEWCOMERS_OF_ONE: Final = 256
"""Of these, those for the place of one peer: whoever forges fifty requests a second leaves one that
is there the time of a round trip."""

KEPT_AMONG_GUESSES: Final = 16
"""Of these, so many stay where somebody guesses: each Ack that names none of them costs the oldest
one its place. Of the numbers of 32 bits there is hardly one that hits so few."""

MAX_CROSSED: Final = 2
"""Requests that are taken for the one that crossed this node's own: the last of them."""

Accept: TypeAlias = Callable[[Arrival, Told, float], None]
"""Lets a newcomer in, with what it was told, at a time."""

_Key: TypeAlias = tuple[Address, int | str]
"""Where the newcomer is, and what it acknowledges; the latter is empty for who does not."""

_Step: TypeAlias = Callable[[_Key, Newcomer, float], None]
"""What is done with a newcomer at a time, if it is held still."""

_FROM_SERVERS: Final = frozenset(
    {
        MessageType.DISCOVERY_RESPONSE,
        MessageType.LIST_NODES_RESPONSE,
        MessageType.RELAY_RESPONSE,
        MessageType.RELAY_DATA,
        MessageType.P2P_CONNECT,
    }
)
"""What a server sends, and no program that has just asked this node for a session."""


_ANSWERS: Final = frozenset({MessageType.PONG, MessageType.ACK, MessageType.ERROR})
"""What is sent because this node sent something."""


class Newcomers:
    """Holds newcomers beside the sessions whose place they would take.

    Args:
        state: The shared ground.
        delivery: Asks the ones before whether they are there.
        lifecycle: Tells which of them have gone.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self.answers = self._answers = Answers(state, delivery)
        """Writes what those are told who ask for a session, held or not."""
        self.accept: Accept = lambda *_: None
        """Lets one in."""
        self.ask_server: Callable[[Peer, float], None] = lambda *_: None
        """Asks a deployed server for what only a server sends."""
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
        lifecycle.on_removed.append(lambda peer, _: self._handle_removed(peer))
        lifecycle.on_joined.append(lambda peer, _: self._forget_all(peer))

    # Who is held.

    @staticmethod
    def must_show(peer: Peer, arrival: Arrival) -> bool:
        """Whether a request from the address of a peer waits for a sign that it is genuine.

        Args:
            peer: With whom there is a session, or who is asked for one.
            arrival: The request.
        """
        return not (peer.is_authenticated and vouches(peer, arrival.continues))

    @staticmethod
    def is_known(peer: Peer, arrival: Arrival) -> bool:
        """Whether a request says of a peer what is known already, but for its metadata: an answer
        has others than a request."""
        info = peer.info
        if info is None or dialect_of(arrival.message) is not peer.dialect:
            return False
        return replace(arrival.info, metadata=info.metadata) == info

    @classmethod
    def is_same(cls, peer: Peer, arrival: Arrival) -> bool:
        """Whether a request says of a peer what is known already, and comes from a program that
        keeps nothing of a session: it needs an answer, and no other session."""
        is_plain = peer.dialect is Dialect.REFERENCE and peer.is_authenticated
        return is_plain and cls.is_known(peer, arrival) and arrival.info == peer.info

    def hold(self, before: Peer, arrival: Arrival, now: float) -> None:
        """Keep a newcomer beside the one whose place it would take.

        Args:
            before: Who that is: at the same address, or at another one with the same id.
            arrival: The newcomer's request.
            now: The time, seconds.
        """
        arrival = arrival.kept()
        for key in self._held.of_peer(before):
            held = self._held[key]
            if key[0] == arrival.address and _is_repeated(held.arrival, arrival):
                self._repeat(held, arrival, now)
                return
        if arrival.acknowledges:
            self._hold_ours(before, arrival, now)
        else:
            self._hold_other(before, arrival, now)

    def _repeat(self, held: Newcomer, arrival: Arrival, now: float) -> None:
        """One that is held asks again: it had no answer yet, or that was lost."""
        is_new = held.arrival.message.id != arrival.message.id
        held.arrival = arrival
        if arrival.acknowledges:
            held.began = now
        elif is_new:
            held.told = self._answers.accept(arrival, None, arrival.earned.allowance, now)
        self._answer(held, now)

    def _hold_ours(self, before: Peer, arrival: Arrival, now: float) -> None:
        if before.is_authenticated or self._held.of_peer(before):
            # Of no number of the session that goes on, and no message of it either.
            sequence = self._state.rng.getrandbits(32)
        else:
            sequence = before.channel.sender.numbering.begin()
        told = self._answers.accept(arrival, sequence, arrival.earned.allowance, now)
        newcomer = Newcomer(before, arrival, told, now)
        key = (arrival.address, sequence)
        self._put(key, newcomer, now)
        self._answer(newcomer, now)
        self._plan(self._answer_again, key, newcomer, now + ANSWER_AGAIN_S)

    def _answer_again(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        is_alone = len(self._held.of_peer(newcomer.before)) <= MOST_ANSWERED_AGAIN
        # One that has had no answer at all must have it, whatever kept it back.
        if is_alone and (self._answer(newcomer, now) or not newcomer.is_answered):
            self._plan(self._answer_again, key, newcomer, now + ANSWER_AGAIN_S)

    def _hold_other(self, before: Peer, arrival: Arrival, now: float) -> None:
        told = self._answers.accept(arrival, None, arrival.earned.allowance, now)
        newcomer = Newcomer(before, arrival, told, now)
        key = (arrival.address, "")  # of such there is one at an address, the latest
        self._put(key, newcomer, now)
        self._answer_other(key, newcomer, now)  # first: deployed clients believe the first datagram
        self._ask_before(key, newcomer, now)

    def _answer_other(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        if self._is_held(key, newcomer):
            self._answer(newcomer, now)
            self._plan(self._consider, key, newcomer, max(newcomer.began + SILENT_S, now))

    def _ask_before(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        """Give the one before something to answer that the newcomer cannot."""
        before = newcomer.before
        is_over = now >= newcomer.began + SILENT_S or not before.is_authenticated
        if is_over or not self._is_held(key, newcomer):
            return
        is_due = now - before.liveness.last_ping_sent >= PROBE_PAUSE_S / 2
        if before.dialect is Dialect.SPEC and is_due:
            self._delivery.ping(before, now)
        elif before.dialect is Dialect.REFERENCE and before.is_joined_server:
            self.ask_server(before, now)
        self._plan(self._ask_before, key, newcomer, now + PROBE_PAUSE_S)

    def _answer(self, newcomer: Newcomer, now: float) -> bool:
        """Answer one, if what came from it pays for that; whether it did."""
        is_out = self._answers.answer_held(newcomer.arrival, newcomer.told.response, now)
        if is_out:
            newcomer.note_answered(now)
        return is_out

    def _put(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        earlier = self._held.get(key)
        if self._held.put(
            key, newcomer, now, peers=(newcomer.before,), address=newcomer.arrival.address
        ):
            newcomer.before.session.note_challenge(is_held=True)
            self._plan(self._end, key, newcomer, now + LIFETIME_S)
        if earlier is not None:
            self._release(earlier)

    def _end(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        if now < newcomer.began + LIFETIME_S:
            self._plan(self._end, key, newcomer, newcomer.began + LIFETIME_S)
        else:
            self._forget(key)

    def _plan(self, step: _Step, key: _Key, newcomer: Newcomer, when: float) -> None:
        """Plan a step for one that is held, in place of the same one that was planned before."""
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
        """Whether a message is the Ack of an answer to somebody who is held at an address.

        Args:
            address: Where it came from.
            message: Which.
            now: The time, seconds.
        """
        number = message.ack_for
        if message.message_type != MessageType.ACK:
            return False
        if type(number) is not int or not _is_spec(message):
            return False  # a deployed server acknowledges by id, whatever it is sent
        key = (address, number)
        newcomer = self._held.get(key)
        if newcomer is None:
            return False
        is_elsewhere = newcomer.before.address != newcomer.arrival.address
        if is_elsewhere and not self._is_held(key, newcomer):
            return False  # the owner of the id has come back
        self._take(newcomer, now, is_proved=True)
        return True

    def receive(self, peer: Peer, address: Address, message: Envelope, now: float) -> bool:
        """A message from an address where somebody may be held; whether that has taken it.

        Args:
            peer: Who was there before.
            address: Where it came from: an own address of that one, or another.
            message: Which.
            now: The time, seconds.
        """
        kind = message.message_type
        if any(self.take_ack(at, message, now) for at in {address, peer.address}):
            return True
        if kind == MessageType.ACK:
            self._doubt(peer)
        key = (address, "")
        newcomer = self._held.get(key)
        if newcomer is None or newcomer.before is not peer or not self._is_held(key, newcomer):
            return False
        if peer.initiated and peer.is_authenticated and kind in _FROM_SERVERS:
            self._forget(key)
        elif kind in _ANSWERS:
            pass  # the one before would send it as well
        elif _is_spec(message) is not _is_spec(newcomer.arrival.message):
            if peer.is_authenticated and dialect_of(message) is peer.dialect:
                self._forget(key)  # of the program before
        elif now <= newcomer.answered_at + GOES_ON_S and newcomer.is_answered:
            newcomer.has_spoken = True
            self._consider(key, newcomer, now)
        elif peer.is_authenticated and newcomer.is_answered and not newcomer.has_spoken:
            self._forget(key)  # a newcomer would have gone on before
        return False

    def _doubt(self, peer: Peer) -> None:
        """An Ack from an address where some are held names none of them: it may be a guess."""
        held = self._held.of_peer(peer)
        if len(held) > KEPT_AMONG_GUESSES:
            self._forget(held[0])

    def note_before(self, address: Address) -> None:
        """The one before has sent its own handshake from an address again: it is there."""
        self._forget((address, ""))

    def _is_held(self, key: _Key, newcomer: Newcomer) -> bool:
        """Whether one is held still; no longer where the one before has shown itself since."""
        if self._held.get(key) is not newcomer:
            return False
        before = newcomer.before
        if before.is_authenticated and before.liveness.signs.shown_at > newcomer.began:
            self._forget(key)
            return False
        return True

    def _consider(self, key: _Key, newcomer: Newcomer, now: float) -> None:
        is_due = newcomer.has_spoken and now >= newcomer.began + SILENT_S
        if is_due and self._is_held(key, newcomer):
            self._take(newcomer, now, is_proved=False)

    def _take(self, newcomer: Newcomer, now: float, *, is_proved: bool) -> None:
        """The newcomer has shown that it is there."""
        self._forget_all(newcomer.before)
        self.let_in(newcomer.arrival, newcomer.told, now, is_proved=is_proved)

    def let_in(self, arrival: Arrival, told: Told, now: float, *, is_proved: bool) -> Peer | None:
        """Somebody who was answered has shown that it is there.

        Args:
            arrival: Its request.
            told: What answered that.
            now: The time, seconds.
            is_proved: Whether it has acknowledged the answer.

        Returns:
            The peer at its address, if there is one now.
        """
        self.accept(arrival, told, now)
        peer = self._state.peers.at(arrival.address)
        if is_proved and peer is not None and peer.is_authenticated:
            peer.facts.note_ack()
            peer.handshakes.decide()
            self._delivery.prove(peer, now)
        return peer

    def join_crossed(self, peer: Peer, node_id: str) -> None:
        """A node has answered this node's request, and its own may be held: they are for one
        session, to which the answer belongs that is under way.

        Args:
            peer: Where it is.
            node_id: Who it is.
        """
        for key in self._held.of_peer(peer)[-MAX_CROSSED:]:
            newcomer = self._held[key]
            told = newcomer.told
            is_same = newcomer.arrival.info.id == node_id and told.sequence is not None
            if is_same and key[0] == peer.address:
                peer.session.note_accepted()
                peer.handshakes.note_request(newcomer.arrival.message.id)
                peer.handshakes.answer(told.response, told.response_id, told.keys, crossed=True)

    # Who is held no longer.

    def _handle_removed(self, before: Peer) -> None:
        """The one before has gone: who was told that it is in, at its address, has the place."""
        newcomer = self._held.get((before.address, ""))
        is_next = newcomer is not None and newcomer.before is before and newcomer.is_answered
        self._forget_all(before)
        if newcomer is None or not is_next:
            return
        address, node_id = before.address, newcomer.arrival.info.id
        # What it has sent is in the purse of the one before too, where that had to pay: once only.
        earned = newcomer.arrival.earned if before.purse.proved else before.purse
        arrival, told = replace_field(newcomer.arrival, earned=earned), newcomer.told

        def enter(now: float) -> None:
            peers = self._state.peers
            is_free = peers.at(address) is None and peers.with_id(node_id) is None
            if is_free and not self._state.closing:
                self.accept(arrival, told, now)

        self._state.timers.schedule(newcomer.began, enter)

    def _forget_all(self, before: Peer) -> None:
        for key in self._held.of_peer(before):
            self._forget(key)

    def _forget(self, key: _Key) -> None:
        newcomer = self._held.pop(key)
        if newcomer is not None:
            self._release(newcomer)

    def _release(self, newcomer: Newcomer) -> None:
        """One is held no longer, however that came: nothing more is done for it."""
        for timer in newcomer.timers.values():
            timer.cancel()
        newcomer.timers.clear()
        before = newcomer.before
        before.session.note_challenge(is_held=bool(self._held.of_peer(before)))


def _is_repeated(held: Arrival, arrival: Arrival) -> bool:
    """Whether a request is from the same newcomer as one that is held: the same message, or
    another one that says the same of a program that acknowledges nothing."""
    if held.message.id == arrival.message.id:
        return True
    is_same = held.info == arrival.info and _is_spec(held.message) is _is_spec(arrival.message)
    return is_same and not arrival.acknowledges


def _is_spec(message: Envelope) -> bool:
    return dialect_of(message) is Dialect.SPEC
