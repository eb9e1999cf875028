"""After the machine moved or slept, sessions are checked or resumed without waiting for a sign.

Code outside the core watches addresses, routes and clocks; it only tells this module which
destinations this node now reaches by another path.
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
"""How many clients are asked for a new session when this node has moved; servers always are. A
server with thousands of clients waits for them: most are behind a NAT that does not let it in."""

RECENT: Final = 4 * MAX_FOLLOWED
"""They are chosen from this many of the most recent peers."""

DOUBTFUL_S: Final = 10.0
"""After a shorter sleep a Ping is enough: a server that has forgotten this node says so, and a busy
one is given time. A longer sleep may have cost the NAT its mapping."""

_MOVED: Final = "this machine's way to it has changed"
_SLEPT: Final = "this machine stood still"


class Moving:
    """Resumes and checks the sessions of a machine that moved or slept.

    Args:
        state: The shared state.
        delivery: Sends messages.
        resumptions: Resumes single sessions.
        liveness: Checks whether a peer is alive.
        traversal: Finds direct paths.
        keepalives: Keep the paths to servers open.
        own_moves: Tells secured peers where this node is; None without secured sessions.
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
        """The interval for which everybody's silence was last excused."""
        self._clients: dict[Peer, None] = {}
        """The clients that are followed."""
        self.on_begun: Callable[[Address], None] = lambda _: None
        """Called with the address of each node with which this one has begun a session, over the
        current path."""

    def note_joined(self, peer: Peer, _now: float) -> None:
        """A session has begun."""
        if peer.initiated and relayed_node(peer.address) is None:
            self.on_begun(_where(peer))

    def move(self, is_affected: Callable[[Address], bool], now: float) -> int:
        """This machine now reaches some destinations by another path.

        Args:
            is_affected: Whether a destination is one of these.
            now: The time, seconds.

        Returns:
            How many sessions are resumed.
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
        """Peers whose session goes on unchanged once they are told: all that are not silent, and
        those that would otherwise be asked for a new one."""
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
        """Tell peers that certainly know their session where this node is now."""
        if self._own_moves is None:
            return
        held = [peer for peer in secured if self._resumptions.may_keep(peer)]
        self._own_moves.begin(secured, now, _MOVED)
        for peer in held:
            self._resumptions.hold(peer, now, _MOVED)

    def _handle_confirmed(self, peer: Peer, now: float) -> None:
        """The path to a secured peer works, and the peer knows where this node is."""
        self._resumptions.let_go(peer, now)
        self._keepalives.note_new_place(peer, now)
        self._traversal.session_follower.note_back(peer, now)

    def _handle_unanswered(self, peer: Peer, now: float, reason: str) -> None:
        """A secured peer may have been restarted, or be in a network that this machine has left."""
        if peer in self._followed():
            self._resumptions.take_up(peer, now, reason)

    def _take_up(
        self, peers: Iterable[Peer], now: float, reason: str, meanwhile: Callable[[], None]
    ) -> int:
        """Resume many sessions, as `Resumptions.take_up` resumes one.

        Args:
            peers: Their peers.
            now: The time, seconds.
            reason: Why, in one line.
            meanwhile: Handles the direct paths: after some sessions were begun anew, and before
                others are requested anew while they go on.

        Returns:
            How many are resumed.
        """
        # Decided before anything is sent: afterwards no server is available for a while.
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
        """This node did not listen for a while, so nobody's silence in that time means anything.

        One stall is noticed several times: by each late timer, and by the code that compares
        clocks. The part that was excused before is not excused again.

        Args:
            slept_s: For how long, seconds.
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
        """The machine slept, and may have kept everybody waiting.

        Args:
            slept_s: For how long, seconds.
            is_reachable: Whether a destination is already reachable again.
            now: The time, seconds.
        """
        self.excuse(slept_s, now)
        given_up = list[Peer]()
        for peer in self._settled():
            if not is_reachable(_where(peer)):
                continue
            if slept_s >= self._liveness.patience_s and peer.initiated and peer.is_plain:
                given_up.append(peer)  # by the other side
            elif slept_s < DOUBTFUL_S:
                self._delivery.ping(peer, now)
            else:
                self._ask(peer, now, _SLEPT)
        self._take_up(given_up, now, _SLEPT, lambda: self._traversal.wake(now))

    def check(self, is_affected: Callable[[Address], bool], now: float) -> None:
        """The path to some destinations was gone for a while, and is the same again.

        Args:
            is_affected: Whether a destination is one of these.
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
            self._delivery.ping(peer, now)  # the network may not be up yet: no hurry to lose it

    def destinations(self, limit: int) -> list[Address]:
        """Destinations whose path from here matters: servers, peers, and the other ends of direct
        paths.

        Args:
            limit: Most destinations; servers come first.
        """
        peers = [_where(peer) for peer in self._followed()]
        return [*peers, *self._traversal.remotes()][:limit]

    def _settled(self) -> list[Peer]:
        """Followed peers from which nothing is awaited: one just asked for a new session is given
        time to answer."""
        return [peer for peer in self._followed() if not self._resumptions.is_under_way(peer)]

    def _followed(self) -> list[Peer]:
        asked = [peer for peer in self._state.peers.initiated if _goes_on(peer)]
        return asked + self._find_clients()

    def _find_clients(self) -> list[Peer]:
        """Some clients, the same ones for as long as they are there: among thousands, the most
        recent ones change all the time, and each change would look up other paths. One of each
        network comes first, so that many sessions of one host do not displace all others."""
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
        """A peer has left."""
        self._clients.pop(peer, None)


def _owner(peer: Peer) -> Hashable:
    """Whose share of the followed clients it uses: its network's or host's; on this machine, its
    own."""
    host, prefix = owners_at(_where(peer)[0])
    return prefix or host or peer


def _where(peer: Peer) -> Address:
    return visible_address(peer.address)


def _is_sealed(peer: Peer) -> bool:
    """Whether it accepts sealed frames, from whatever address."""
    return peer.seal is not None and peer.is_authenticated and peer.seal.session.has_begun


def _is_client(peer: Peer) -> bool:
    return not peer.initiated and _goes_on(peer)


def _is_ignoring(peer: Peer) -> bool:
    """Whether it has left several Pings unanswered: then it makes room for another."""
    return peer.liveness.unanswered >= SILENT_PINGS


def _goes_on(peer: Peer) -> bool:
    """Whether a session at the peer's own address can be resumed."""
    if not (peer.is_authenticated and relayed_node(peer.address) is None):
        return False
    return peer.initiated or peer.dialect is Dialect.SPEC
