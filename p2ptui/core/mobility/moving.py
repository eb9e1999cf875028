"""The machine moved, or slept: sessions are checked, or taken up again, without waiting for a sign.

What moved is known outside of the core (addresses, routes, clocks); here it is only said which
destinations this node reaches by another way than before.
"""

import math
from collections.abc import Callable, Hashable, Iterable
from itertools import islice
from typing import Final

from p2ptui.bounded.shares import owners_at
from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.delivery import Delivery
from p2ptui.core.mobility.resumption import Resumptions
from p2ptui.core.peers import Dialect, Peer, Suspicion
from p2ptui.core.pings import SILENT_PINGS
from p2ptui.core.secure.own_moves import OwnMoves
from p2ptui.core.sessions.keepalive import Keepalives
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.room import Traversal
from p2ptui.wire.address import Address

MAX_FOLLOWED: Final = 32
"""Peers that came by themselves and are asked for by a node that moved; servers always are. A
server with thousands of clients waits for them: most are behind a NAT that does not let it in."""

RECENT: Final = 4 * MAX_FOLLOWED
"""They are looked for among so many."""

DOUBTFUL_S: Final = 10.0
"""After a shorter sleep a server that has forgotten this node says so to a Ping, and a busy one is
given its time; a longer one may have cost the NAT's mapping."""

_MOVED: Final = "this machine's way to it has changed"
_SLEPT: Final = "this machine stood still"


class Moving:
    """Takes sessions up again.

    Args:
        state: The shared ground.
        delivery: The way out.
        resumptions: Takes sessions up again.
        liveness: Asks whether a peer is there.
        traversal: Direct paths.
        keepalives: The ways to servers.
        own_moves: Tells secured peers; None where there are none.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        resumptions: Resumptions,
        liveness: Liveness,
        traversal: Traversal,
        keepalives: Keepalives,
        own_moves: OwnMoves | None = None,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._resumptions = resumptions
        self._liveness = liveness
        self._traversal = traversal
        self._keepalives = keepalives
        self._own_moves = own_moves
        if own_moves is not None:
            own_moves.on_confirmed.append(self._handle_confirmed)
            own_moves.on_unanswered = self._handle_unanswered
        self._excused = (-math.inf, -math.inf)
        """From when until when the silence of all was last excused."""
        self._clients: dict[Peer, None] = {}
        """Those that came by themselves and are followed."""
        self.on_begun: Callable[[Address], None] = lambda _: None
        """Called with where a node is with which this one has begun a session: by the way that
        leads there now."""

    def note_joined(self, peer: Peer, _now: float) -> None:
        """A session has begun."""
        if peer.initiated and relayed_node(peer.address) is None:
            self.on_begun(_where(peer))

    def move(self, is_affected: Callable[[Address], bool], now: float) -> int:
        """This machine reaches some destinations by another way than before.

        Args:
            is_affected: Tells it of a destination.
            now: The time, seconds.

        Returns:
            How many sessions are taken up again.
        """
        self._keepalives.forget_idle()
        followed = [peer for peer in self._followed() if is_affected(_where(peer))]
        secured = self._secured(followed, is_affected, now)
        self._tell(secured, now)
        others = [peer for peer in followed if peer not in secured]
        taken_up = self._take_up(
            others, now, _MOVED, lambda: self._traversal.move(is_affected, now, secured)
        )
        return len(secured) + taken_up

    def _secured(
        self, followed: Iterable[Peer], is_affected: Callable[[Address], bool], now: float
    ) -> dict[Peer, None]:
        """Those whose session goes on as it is, as soon as they know: all that are there, and those
        that would be asked for a new one."""
        if self._own_moves is None:
            return {}
        found = dict.fromkeys(peer for peer in followed if _is_sealed(peer))
        for peer in self._state.peers.recent():
            to = peer.sends_to
            if relayed_node(to) is not None or not is_affected(visible_address(to)):
                continue
            if _is_sealed(peer) and not peer.is_silent(now):
                found[peer] = None
        return found

    def _tell(self, secured: Iterable[Peer], now: float) -> None:
        """Tell those of whom it is certain that they know this session where this node is now."""
        if self._own_moves is None:
            return
        held = [peer for peer in secured if self._resumptions.may_keep(peer)]
        self._own_moves.begin(secured, now, _MOVED)
        for peer in held:
            self._resumptions.hold(peer, now, _MOVED)

    def _handle_confirmed(self, peer: Peer, now: float) -> None:
        """The way to a secured peer works from here, and it knows where this node is."""
        self._resumptions.let_go(peer, now)
        self._keepalives.note_new_place(peer, now)
        self._traversal.session_follower.note_back(peer, now)

    def _handle_unanswered(self, peer: Peer, now: float, reason: str) -> None:
        """It may have been restarted, or be in a network that this machine has left."""
        if peer in self._followed():
            self._resumptions.take_up(peer, now, reason)

    def _take_up(
        self, peers: Iterable[Peer], now: float, reason: str, meanwhile: Callable[[], None]
    ) -> int:
        """Take the sessions of many up again, as `Resumptions.take_up` does with one.

        Args:
            peers: Whose.
            now: The time, seconds.
            reason: Why, in one line.
            meanwhile: What happens to direct paths: after new sessions with servers were begun, and
                before others go on beside the request for a new one.

        Returns:
            How many are taken up.
        """
        # Before anything is asked: afterwards no server is there for a while.
        held = {peer: self._resumptions.may_keep(peer) for peer in peers}
        over = [peer for peer, may_keep in held.items() if not may_keep and peer.is_plain]
        kept = [peer for peer, may_keep in held.items() if may_keep]
        for peer in over:
            self._resumptions.begin_anew(peer, now, reason)
        meanwhile()
        for peer in kept:
            self._resumptions.keep(peer, now, reason)
        return len(over) + len(kept)

    def excuse(self, slept_s: float, now: float) -> None:
        """Nobody listened for so long, so that nobody's silence means anything.

        One stall is noticed by several: by each timer that is late, and by who compares clocks.
        Whatever of it was excused already is not excused again.

        Args:
            slept_s: Seconds.
            now: The time, seconds.
        """
        began, (known_from, known_until) = now - slept_s, self._excused
        common_s = min(now, known_until) - max(began, known_from)
        if common_s >= 0:
            slept_s -= common_s
            began = min(began, known_from)
        self._excused = began, now
        for peer in self._state.peers:
            peer.liveness.excuse(slept_s, now)

    def wake(self, slept_s: float, is_reachable: Callable[[Address], bool], now: float) -> None:
        """The machine stood still, and may have kept everybody waiting.

        Args:
            slept_s: For how long, seconds.
            is_reachable: Whether there is a way to a destination again already.
            now: The time, seconds.
        """
        self.excuse(slept_s, now)
        given_up = list[Peer]()
        for peer in self._settled():
            if not is_reachable(_where(peer)):
                continue
            if slept_s >= self._liveness.patience_s and peer.initiated and peer.is_plain:
                given_up.append(peer)  # by the other end
            elif slept_s < DOUBTFUL_S:
                self._delivery.ping(peer, now)
            else:
                self._ask(peer, now, _SLEPT)
        self._take_up(given_up, now, _SLEPT, lambda: self._traversal.wake(now))

    def check(self, is_affected: Callable[[Address], bool], now: float) -> None:
        """The way to some destinations was gone for a while, and is the same again.

        Args:
            is_affected: Tells it of a destination.
            now: The time, seconds.
        """
        for peer in self._settled():
            if is_affected(_where(peer)):
                peer.liveness.excuse_pings()  # they went nowhere
                self._ask(peer, now, _MOVED)

    def _ask(self, peer: Peer, now: float, reason: str) -> None:
        if peer.initiated:
            self._liveness.suspect(peer, Suspicion.FORGOT, now, reason)
        else:
            self._delivery.ping(peer, now)  # the network may not be up yet: no haste to lose it

    def destinations(self, limit: int) -> list[Address]:
        """Whose way from here matters: servers and peers, and the other ends of direct paths.

        Args:
            limit: At most so many; servers first.
        """
        peers = [_where(peer) for peer in self._followed()]
        return [*peers, *self._traversal.remotes()][:limit]

    def _settled(self) -> list[Peer]:
        """Those of whom nothing is awaited: who has just been asked for a new session is left to
        answer."""
        return [peer for peer in self._followed() if not self._resumptions.is_under_way(peer)]

    def _followed(self) -> list[Peer]:
        asked = [peer for peer in self._state.peers.initiated if _goes_on(peer)]
        return asked + self._find_clients()

    def _find_clients(self) -> list[Peer]:
        """Some that came by themselves, the same ones for as long as they are there: whom thousands
        have heard of last changes all the time, and the ways of others would be looked up. One of
        each network goes first: many sessions of one host are no reason to forget all others."""
        kept = [peer for peer in self._clients if _is_client(peer) and not _is_ignoring(peer)]
        first = {_owner(peer): peer for peer in reversed(kept)}
        if len(first) < MAX_FOLLOWED:
            for peer in filter(_is_client, islice(self._state.peers.recent(), RECENT)):
                first.setdefault(_owner(peer), peer)
                kept.append(peer)
        of_each = [peer for peer in kept if first.get(_owner(peer)) is peer]
        self._clients = dict.fromkeys(islice(dict.fromkeys((*of_each, *kept)), MAX_FOLLOWED))
        return [*self._clients]

    def forget(self, peer: Peer, _now: float) -> None:
        """It has left."""
        self._clients.pop(peer, None)


def _owner(peer: Peer) -> Hashable:
    """Of whose seats it takes one: its network's or its host's; on this machine, its own."""
    host, prefix = owners_at(_where(peer)[0])
    return prefix or host or peer


def _where(peer: Peer) -> Address:
    return visible_address(peer.address)


def _is_sealed(peer: Peer) -> bool:
    """Whether it takes what is sealed, wherever that comes from."""
    return peer.seal is not None and peer.is_authenticated and peer.seal.session.has_begun


def _is_client(peer: Peer) -> bool:
    return not peer.initiated and _goes_on(peer)


def _is_ignoring(peer: Peer) -> bool:
    """Whether it has left several Pings unanswered: it makes room for another one."""
    return peer.liveness.unanswered >= SILENT_PINGS


def _goes_on(peer: Peer) -> bool:
    """Whether a session at an address of its own can be taken up again."""
    if not (peer.is_authenticated and relayed_node(peer.address) is None):
        return False
    return peer.initiated or peer.dialect is Dialect.SPEC
