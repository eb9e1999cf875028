"""Sessions that nobody is behind any more, and which a newcomer from the same address replaces.

A program that is restarted comes from another port as a rule. Its old session goes on until it has
been silent for long, and counts in the share of its address meanwhile: an office whose share is
used up would wait for that. So those of its address that were silent longest are asked, and who
answers none of five Pings gives way. Only they do: who has never answered a Ping tells nothing by
its silence, and a live peer answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import PING_BYTES
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

GONE_S: Final = 1.0
"""So long it is asked, at least: at 20 % loss each way one in 160 that is alive leaves all that
unanswered, at 5 % one in 100,000."""

PINGS: Final = 5
"""Pings in that time."""

ASKED_AT_ONCE: Final = 64
"""Peers that are asked at a time; those that answer make room for the next."""

FOUND_S: Final = 1.6
"""So long it is looked for one at most: clients give up after two seconds."""

PAUSE_S: Final = 0.19
"""Between two of them."""

REST_S: Final = 2.0
"""Who has answered something a shorter time ago is there, and is not asked."""

PATIENCE: Final = 3
"""Who has answered late before has so many times what that took."""

LONGEST_S: Final = 3.0
"""But no longer."""


LOOK_S: Final = 0.04
"""Those of one address are looked through this often, at most, however many newcomers ask."""

MAX_LOOKS: Final = 64
"""Addresses of which it is known what that found."""


@dataclass(slots=True)
class _Look:
    """What was found among those of one address."""

    at: float
    are_any_open: bool
    """Whether any may have gone."""
    gone: tuple[Address, ...]
    """Those that have."""
    is_asked: bool = False
    """Whether the others were asked since."""


class Ghosts:
    """Finds them among those of one address.

    Args:
        state: The shared ground.
        delivery: Asks.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._looks: BoundedTable[str, _Look] = state.tables.add(
            "ghosts_looked_for", BoundedTable(MAX_LOOKS, shares=state.tables.shares)
        )

    def _doubted(self, host: str, now: float) -> Iterator[Peer]:
        for peer in self._state.peers.at_host(host):
            answers = peer.purse.proved or peer.liveness.signs.has_answered_ping
            is_others = peer.is_authenticated and not peer.initiated
            if is_others and answers and now - peer.answered_at >= REST_S:
                yield peer

    def _look(self, address: Address, now: float) -> _Look:
        host = address[0]
        look = self._looks.get(host)
        if look is None or now - look.at >= LOOK_S:
            doubted = list(self._doubted(host, now))
            gone = tuple(peer.address for peer in doubted if _has_gone(peer, now))
            look = _Look(now, bool(doubted), gone)
            self._looks.put(host, look, address=address)
        return look

    def may_find(self, address: Address, now: float) -> bool:
        """Whether any of the address of a newcomer may have gone; see `find`."""
        return self._look(address, now).are_any_open

    def is_settled(self, address: Address, now: float) -> bool:
        """Whether it is known by now that one of the address of a newcomer has gone, or that none
        has; see `find`."""
        return not self.may_find(address, now) or self.find(address, now) is not None

    def find(self, address: Address, now: float) -> Peer | None:
        """One that has gone, from the address of a newcomer; None if none is known to have.

        Args:
            address: Where the newcomer is.
            now: The time, seconds.
        """
        for at in self._look(address, now).gone:
            peer = self._state.peers.at(at)
            if peer is not None and peer.address == at and _has_gone(peer, now):
                return peer
        return None

    def ask(self, address: Address, now: float) -> bool:
        """Ask those that were silent longest; whether any of them may have gone.

        Args:
            address: Where the newcomer is.
            now: The time, seconds.
        """
        look = self._look(address, now)
        if look.are_any_open and not look.is_asked:
            look.is_asked = True
            waiting = (
                peer for peer in self._doubted(address[0], now) if peer.pings.unanswered < PINGS
            )
            for peer in nsmallest(ASKED_AT_ONCE, waiting, key=lambda peer: peer.last_received):
                is_due = now - peer.liveness.last_ping_sent >= PAUSE_S
                if is_due and self._may_ask(peer):
                    self._delivery.ping(peer, now)
        return look.are_any_open

    def _may_ask(self, peer: Peer) -> bool:
        # Anybody may have forged the request that this is for.
        return not peer.purse.proved or self._state.gate.draw(peer.purse, PING_BYTES)


def _has_gone(peer: Peer, now: float) -> bool:
    pings = peer.pings
    if pings.unanswered < PINGS or peer.last_received >= pings.unanswered_since:
        return False
    if peer.initiated or not peer.is_authenticated:
        return False
    asked_s = max(GONE_S, min(PATIENCE * pings.answer_s, LONGEST_S))
    is_heard_out = now - peer.liveness.last_ping_sent >= PAUSE_S
    return now - pings.unanswered_since >= asked_s and is_heard_out
