"""Sessions that nobody is behind any more, replaced by a newcomer from the same address.

A restarted program normally comes back from another port. Its old session goes on until it has been
silent for long, and meanwhile counts towards the share of its address: an office that has used up
its share would have to wait for that. So the peers of the address that have been silent longest are
pinged, and a peer that answers none of five Pings gives way. This applies only to peers that have
answered Pings before: the silence of one that never did means nothing, and a live one answers.

A peer that proved its address does not give way to a newcomer that may be forged: otherwise, while
its link is down, anyone who forges its neighbours' addresses could end its session. So the newcomer
has to prove that it is there, by something that only a node at its address can know, after the
Pings have been sent: that also shows that the path was up meanwhile.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from p2ptui.bounded import BoundedTable, owners_at
from p2ptui.core.accounts import PING_BYTES
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.peers.liveness import Shown
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

GONE_S: Final = 1.0
"""How long a peer is pinged, at least: at 20 % loss each way one live peer in 160 leaves all of it
unanswered, at 5 % one in 100,000."""

PINGS: Final = 5
"""Pings in that time."""

ASKED_AT_ONCE: Final = 64
"""Peers that are pinged at a time; those that answer make room for the next."""

FOUND_S: Final = 1.6
"""How long a dead session is searched for, at most: clients give up after two seconds."""

PAUSE_S: Final = 0.19
"""Between two of them."""

REST_S: Final = 2.0
"""A peer that has answered more recently than this is live, and is not pinged."""

PROVED_GONE_S: Final = 1.8
"""How long a peer that proved its address is pinged after the newcomer came: it makes room before
the newcomer gives up."""

PROVED_PINGS: Final = 7
"""Pings in that time: at 20 % loss each way one live peer in 1,300 leaves all unanswered."""

SHOWS_AFTER_S: Final = 1.3
"""How long after it came a newcomer is asked to prove that it is there: by then the Pings have been
sent, and there is time for its Ack."""

LOOK_S: Final = 0.04
"""How often the peers of one address are examined, at most, however many newcomers ask."""

MAX_LOOKS: Final = 64
"""Addresses for which the result is remembered."""


@dataclass(slots=True)
class _Look:
    """The result of a look at the peers of one address."""

    at: float
    are_any_open: bool
    """Whether any may be gone."""
    silent: tuple[Address, ...]
    """Those that may be, the longest silent first."""
    is_asked: bool = False
    """Whether the others were pinged since."""


class Ghosts:
    """Finds dead sessions among the peers of one address.

    Args:
        state: The shared state.
        delivery: Sends the Pings.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._looks: BoundedTable[Hashable, _Look] = state.tables.add(
            "ghosts_looked_for", BoundedTable(MAX_LOOKS, shares=state.tables.shares)
        )

    def _doubted(self, host: str, now: float) -> Iterator[Peer]:
        for peer in self._state.peers.at_host(host):
            answers = peer.purse.proved or peer.liveness.has_answered_ping
            is_others = peer.is_authenticated and not peer.initiated
            if is_others and answers and now - peer.answered_at >= REST_S:
                yield peer

    def _look(self, address: Address, now: float) -> _Look:
        host = owners_at(address[0])[0] or address[0]
        look = self._looks.get(host)
        if look is None or now - look.at >= LOOK_S:
            doubted = sorted(self._doubted(address[0], now), key=lambda peer: peer.last_received)
            silent = [peer for peer in doubted if peer.liveness.unanswered >= PINGS]
            look = _Look(now, bool(doubted), tuple(peer.address for peer in silent))
            self._looks.put(host, look, address=address)
        return look

    def may_find(self, address: Address, now: float) -> bool:
        """Whether any peer of a newcomer's address may be gone; see `find`."""
        return self._look(address, now).are_any_open

    def is_settled(self, address: Address, now: float, asked_at: float | None) -> bool:
        """Whether it is known by now that a peer of a newcomer's address is gone, or makes room
        once the newcomer proves that it is there, or that none is gone; see `find` and
        `may_gain`."""
        if not self.may_find(address, now) or self.find(address, now) is not None:
            return True
        return asked_at is not None and self.may_gain(address, asked_at, now)

    def find(self, address: Address, now: float, shown: Shown | None = None) -> Peer | None:
        """A dead peer of a newcomer's address; None if none is known.

        Args:
            address: The newcomer's address.
            now: The time, seconds.
            shown: When the newcomer proved that it is there; None if it has not.
        """
        for peer in self._silent(address, now):
            if not peer.purse.proved:
                if _has_gone(peer, now):
                    return peer
            elif shown is not None and _has_gone_for(peer, shown, now):
                return peer
        return None

    def may_gain(self, address: Address, asked_at: float, now: float) -> bool:
        """Whether a peer that proved its address has left so many Pings unanswered since a newcomer
        asked that it is time for the newcomer to prove that it is there.

        Args:
            address: The newcomer's address.
            asked_at: When it first asked, seconds.
            now: The time, seconds.
        """
        return now - asked_at >= SHOWS_AFTER_S and any(
            peer.purse.proved and _is_silent_since(peer, asked_at, now)
            for peer in self._silent(address, now)
        )

    @staticmethod
    def is_in_time(shown: Shown) -> bool:
        """Whether a newcomer proved that it is there after others could be pinged; otherwise it has
        to prove it again."""
        return shown.shown_at - shown.asked_at >= SHOWS_AFTER_S

    def _silent(self, address: Address, now: float) -> Iterator[Peer]:
        for at in self._look(address, now).silent:
            peer = self._state.peers.at(at)
            if peer is not None and peer.address == at and _is_silent(peer):
                yield peer

    def ask(self, address: Address, now: float) -> bool:
        """Ping the peers that were silent longest; returns whether any of them may be gone.

        Args:
            address: The newcomer's address.
            now: The time, seconds.
        """
        look = self._look(address, now)
        if look.are_any_open and not look.is_asked:
            look.is_asked = True
            waiting = filter(_is_to_ask, self._doubted(address[0], now))
            for peer in nsmallest(ASKED_AT_ONCE, waiting, key=lambda peer: peer.last_received):
                is_due = now - peer.liveness.last_ping_sent >= PAUSE_S
                if is_due and self._may_ask(peer):
                    self._delivery.ping(peer, now)
        return look.are_any_open

    def _may_ask(self, peer: Peer) -> bool:
        # The request that causes this may be forged.
        return not peer.purse.proved or self._state.gate.draw(peer.purse, PING_BYTES)


def _is_to_ask(peer: Peer) -> bool:
    # For a peer that proved its address, each newcomer counts the Pings since it came.
    return peer.purse.proved or peer.liveness.unanswered < PINGS


def _is_silent(peer: Peer) -> bool:
    if peer.initiated or not peer.is_authenticated:
        return False
    liveness = peer.liveness
    return liveness.unanswered >= PINGS and liveness.last_received < liveness.pings.unanswered_since


def _has_gone(peer: Peer, now: float) -> bool:
    """Whether a peer that never proved its address is gone."""
    asked_s = now - peer.pings.unanswered_since
    is_heard_out = now - peer.liveness.last_ping_sent >= PAUSE_S
    return is_heard_out and asked_s >= peer.liveness.patience_s(GONE_S, now)


def _is_silent_since(peer: Peer, began: float, until: float) -> bool:
    return peer.last_received < began and peer.pings.since(began, until) >= PINGS


def _has_gone_for(peer: Peer, shown: Shown, now: float) -> bool:
    """Whether a peer that proved its address is gone: the path was up while it was pinged."""
    began, last_at = shown.asked_at, now - PAUSE_S
    return (
        _is_silent_since(peer, began, shown.shown_at)
        and peer.pings.since(began, last_at) >= PROVED_PINGS
        and now - began >= peer.liveness.patience_s(PROVED_GONE_S, now, is_proved=True)
    )
