"""Newcomers whose numbers somebody guesses: their Acks count only by id, which nobody can guess."""

from collections.abc import Callable

from p2ptui.bounded import BoundedTable, Share, draw_oldest
from p2ptui.core.ids import id_of_ack
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.answers import Answers
from p2ptui.core.sessions.newcomer import LIFETIME_S, Newcomer
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

_Sure = tuple[Address, str]
"""An address, and the id of the Ack of its answer."""


class Doubted:
    """Holds newcomers without their answers.

    Args:
        state: The shared state.
        answers: Writes the answers.
        limits: How many, in total and for the place of one peer; one of the oldest makes room.
        release: Called with each that is no longer held.
    """

    def __init__(
        self,
        state: NodeState,
        answers: Answers,
        limits: tuple[int, int],
        release: Callable[[Newcomer], None],
    ) -> None:
        limit, self._limit_of_one = limits
        self._state = state
        self._answers = answers
        self._release = release
        self._held: BoundedTable[_Sure, Newcomer] = state.tables.add(
            "newcomers_doubted",
            BoundedTable(
                limit,
                full="newcomer_forgotten",
                shares=state.tables.shares,
                peer_share=Share(self._limit_of_one, makes_room=True),
                on_evicted=lambda _, held: release(held),
            ),
        )
        self.held_by = self._held.held_by
        """How many there are for the place of each peer."""

    def __len__(self) -> int:
        return len(self._held)

    def put(self, address: Address, newcomer: Newcomer, now: float) -> None:
        """Hold a newcomer from now on by the id of its Ack.

        Args:
            address: Its address.
            newcomer: The newcomer; its timers have been cancelled.
            now: The time, seconds.
        """
        before = newcomer.before
        others = self._held.of_peer(before)
        if len(others) >= self._limit_of_one:
            self._state.counters.drop("newcomer_forgotten")
            self._forget(draw_oldest(others, len(others), self._state.rng))
        # Rebuilt if it is needed: it takes a kilobyte.
        told = newcomer.told
        newcomer.told = Told(told.response_id, told.sequence, b"", told.again)
        sure = address, id_of_ack(told.response_id)
        if self._held.put(sure, newcomer, now, peers=(before,), address=address):
            before.session.note_challenge(is_held=True)
            newcomer.timers["forget"] = self._state.timers.schedule(
                newcomer.began + LIFETIME_S, lambda _: self._forget(sure)
            )

    def at(self, address: Address, ack_id: str) -> Newcomer | None:
        """The newcomer whose answer an Ack with that id acknowledges; the answer is rebuilt."""
        newcomer = self._held.get((address, ack_id))
        if newcomer is not None and newcomer.told.again is not None:
            newcomer.told = self._answers.again(newcomer.told.again)
        return newcomer

    def forget_all(self, before: Peer) -> None:
        """The place of a peer has been taken, or no longer exists."""
        for sure in self._held.of_peer(before):
            self._forget(sure)

    def _forget(self, sure: _Sure) -> None:
        newcomer = self._held.pop(sure)
        if newcomer is not None:
            self._release(newcomer)
