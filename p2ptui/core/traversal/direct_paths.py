"""Direct paths in use: adopted, confirmed again and again, and given up when they fall silent.

A session does not notice: its datagrams take another path, and those in flight are sent again.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from p2ptui.bounded import INDEXED, BoundedTable, Share
from p2ptui.core.accounts import Account, Reason
from p2ptui.core.addresses import relayed_node, socket_address, socket_number
from p2ptui.core.connection import Method
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Path, PathChanged, SocketsDone
from p2ptui.core.peers import Peer, Standing
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt, DirectPath
from p2ptui.core.traversal.checks import account_for, build_check, send_from
from p2ptui.core.traversal.offers import MAX_ATTEMPTS
from p2ptui.nat.punching import MAX_OUTSTANDING, Check, Kind, Pair
from p2ptui.wire.address import Address

CONSENT_INTERVAL_S: Final = 5.0
"""RFC 7675, section 5.1, with its jitter; this also keeps mappings alive, for which RFC 8445
requires something every 15 s."""

CONSENT_JITTER: Final = 0.2

BUSY_INTERVAL_S: Final = 1.0
"""How often the path is checked while messages flow, so that not many are lost if it dies."""

BUSY_FOR_S: Final = 2.5
"""How long a path counts as in use after the last datagram."""

RETRY_S: Final = 0.25
SHORTEST_RETRY_S: Final = 0.02
RETRY_ROUND_TRIPS: Final = 1.5
RETRY_GROWTH: Final = 1.5
MAX_GROWTHS: Final = 16
"""An unanswered check is repeated soon after its answer was due, and then after growing pauses, up
to the first of these."""

UNANSWERED_LIMIT: Final = 5
SILENCE_S: Final = 1.25
"""After this many unanswered checks, and this long, a path is dead; by chance alone that happens
once in 40,000 times at 10 % loss each way and a round trip of 50 ms."""

DOUBTFUL_CHECKS: Final = 3
"""After this many unanswered checks the server is checked, too."""

MAX_ASKED: Final = 4 * MAX_OUTSTANDING
"""Checks of all rounds whose answers are still recognised: several birthday rounds at once. Those
on paths in use are kept separately, so that no search displaces them."""

MAX_CONSENTS: Final = 32
"""Checks on one path whose answers are still recognised."""


class DirectPaths:
    """Adopts paths and watches them.

    Args:
        state: The shared state.
        delivery: Retransmits what was in flight.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._asked: BoundedTable[bytes, Attempt] = state.tables.add(
            "checks_sent",
            BoundedTable(
                lambda: MAX_ASKED,
                full="checks_forgotten",
                # Only while its round may still run.
                holds=lambda asker, _: asker.punching is not None and asker.direct is None,
                peer_share=INDEXED,
            ),
        )
        self._consents: BoundedTable[bytes, Attempt] = BoundedTable(
            MAX_CONSENTS * MAX_ATTEMPTS, peer_share=Share(MAX_CONSENTS, makes_room=True)
        )
        self._homes: dict[Address, int] = {}
        """Addresses of further sockets whose path was left, and the numbers of the sockets."""
        self.on_lost: Callable[[Attempt, float], None] | None = None
        """Called when a path has died."""

    def adopt(self, attempt: Attempt, pair: Pair, now: float) -> Address:
        """Use a working path; returns the address by which the peer table knows it."""
        address = socket_address(pair.socket, pair.remote)
        attempt.direct = DirectPath(pair, address, now)
        self._state.counters.paths_won[method_of(attempt).value] += 1
        attempt.backoff.note_won(now)
        attempt.account.reason = None
        if self._state.is_standing(pair.socket):
            attempt.heard.last_good = pair.remote
        if pair.socket:
            self._open_detour(pair, address)
        unused = tuple(number for number in attempt.sockets if number != pair.socket)
        if unused:
            self._state.emit(SocketsDone(unused))
        attempt.sockets = tuple(number for number in attempt.sockets if number == pair.socket)
        self.attach(attempt, now)
        # At once: the controlling side's confirmation tells the other side which pair was chosen.
        self._confirm(attempt, now)
        return address

    def _open_detour(self, pair: Pair, address: Address) -> None:
        self._homes.pop(address, None)
        self._state.detours[address] = self._state.gate.detour_by(pair)

    def attach(self, attempt: Attempt, now: float) -> None:
        """Let the session with the node, if there is one, use the direct path."""
        direct = attempt.direct
        if direct is None:
            return
        self._expect(attempt, direct.address, Standing.CHOSEN)
        peer = self._state.peers.authenticated(attempt.node_id)
        if peer is not None and self._use(direct, peer):
            self._tell(attempt, peer)
            self._delivery.hasten(peer, now)

    def _use(self, direct: DirectPath, peer: Peer, *, still_arrives: bool = False) -> bool:
        """Let a session use a path; returns whether it may."""
        if self._state.peers.take_path(peer, direct.address, still_arrives=still_arrives):
            return True
        # Another session uses that address. Only one node can be there, so that session falls
        # silent; each answer on the path tries again to take the address.
        self._state.counters.drop("path_of_another")
        return False

    def expect_from(
        self, attempt: Attempt, remote: Address, socket: int, *, proved: bool = False
    ) -> None:
        """Datagrams from an address are from the attempt's node: an authentic check came from
        there.

        Args:
            attempt: The attempt.
            remote: Where it came from.
            socket: The number of the socket that it came to.
            proved: Whether a check sent there was also answered.
        """
        standing = Standing.ANSWERED if proved else Standing.CLAIMED
        self._expect(attempt, socket_address(socket, remote), standing)

    def note_asked(self, attempt: Attempt, remote: Address, socket: int) -> None:
        """The other side has chosen a pair: its address, and the one of this machine that it asks.

        Args:
            attempt: The attempt.
            remote: Where the check came from.
            socket: The number of the socket that it came to.
        """
        direct = attempt.direct
        if direct is None or (direct.pair.socket, direct.pair.remote) != (socket, remote):
            return
        direct.pair.remote = remote
        peer = self._state.peers.authenticated(attempt.node_id)
        if peer is not None:
            peer.take_pair(socket_address(socket, remote))

    def _expect(self, attempt: Attempt, address: Address, standing: Standing) -> None:
        peer = self._known(attempt)
        if peer is not None and peer.address != address:
            self._state.peers.add_alias(peer, address, standing)

    def drop_aliases(self, attempt: Attempt) -> None:
        """Datagrams count as the node's only if from its session's own address, and are sent
        there."""
        peer = self._known(attempt)
        if peer is not None:
            self._state.peers.remove_aliases(peer)

    def _known(self, attempt: Attempt) -> Peer | None:
        """The attempt's node, or the node that the server relays to under that id: with loss, the
        answer to the handshake may arrive first over the path."""
        known = self._state.peers.with_id(attempt.node_id)
        return known or self._state.peers.at(attempt.relayed_address)

    def _tell(self, attempt: Attempt, peer: Peer, *, ends_search: bool = False) -> None:
        direct = attempt.direct
        method = method_of(attempt)
        # A node that was asked by its address may be a server, and remains one however it is
        # reached.
        if not (peer.is_joined_server and relayed_node(peer.home)):
            peer.reach.connection = attempt.account.explain(method, attempt.backoff.won_after_s)
        path = Path.DIRECT if direct is not None else Path.RELAY
        address = direct.pair.remote if direct is not None else attempt.server.address
        self._state.emit(
            PathChanged(attempt.node_id, path, address, method.value, attempt.reason, ends_search)
        )

    def _tell_if_relayed(self, attempt: Attempt, peer: Peer) -> None:
        if peer.connection is None or peer.connection.method is Method.RELAY:
            self._tell(attempt, peer)

    def explain(
        self, attempt: Attempt, reason: str | None = None, *, ends_search: bool = False
    ) -> None:
        """Record at the peer, if there is one, why it is relayed; or repeat the earlier reason.

        Args:
            attempt: The attempt.
            reason: Why, in one line.
            ends_search: Whether this is the result of a search.
        """
        attempt.account.reason = reason or attempt.reason
        peer = self._state.peers.authenticated(attempt.node_id)
        if peer is not None and attempt.direct is None:
            self._tell(attempt, peer, ends_search=ends_search)

    def method_of_peer(self, attempt: Attempt) -> Method | None:
        """How the node is reached, if its session uses a direct path that was searched for."""
        direct = attempt.direct
        peer = self._state.peers.authenticated(attempt.node_id)
        is_used = direct is not None and peer is not None and peer.sends_to == direct.address
        return method_of(attempt) if is_used else None

    # Consent.

    def _plan_consent(self, attempt: Attempt, now: float) -> None:
        interval = CONSENT_INTERVAL_S
        peer = self._state.peers.authenticated(attempt.node_id)
        judged_at = inf
        if attempt.direct is not None and attempt.direct.unanswered:
            interval = _retry_s(attempt.direct)
            judged_at = _judged_at(attempt.direct)
            if attempt.direct.unanswered > MAX_GROWTHS:
                # Nothing better is left, and the session's own heartbeats judge it: the other side
                # may simply have forgotten this search.
                interval = CONSENT_INTERVAL_S
        elif peer is not None and peer.traffic.last_sent + BUSY_FOR_S > now:
            interval = BUSY_INTERVAL_S
        else:
            interval *= self._state.rng.uniform(1 - CONSENT_JITTER, 1 + CONSENT_JITTER)
            interval = min(interval, self._state.longest_idle_s)
        when = now + interval
        if now < judged_at < when:
            when = judged_at  # in time, and no later
        attempt.plan(self._state.timers, when, self._confirm)

    def hurry(self, attempt: Attempt, now: float) -> None:
        """Messages begin to flow: an idle path may have died unnoticed."""
        direct, timer = attempt.direct, attempt.timer
        if direct is None or direct.unanswered or timer is None or timer.action is None:
            return
        if timer.when > now + RETRY_S and now > direct.confirmed_at + RETRY_S:
            attempt.plan(self._state.timers, now, self._confirm)

    def doubt(self, attempt: Attempt, now: float) -> None:
        """The other side uses the relay: so does this one, until a check is answered again."""
        direct = attempt.direct
        if direct is None or now <= direct.confirmed_at + RETRY_S:
            return
        peer = self._state.peers.authenticated(attempt.node_id)
        if peer is not None and self._can_fall_back(attempt):
            # The path may be fine, and retransmissions through the relay would make the other side
            # doubt in turn, and so on.
            self._state.peers.leave_path(peer, still_arrives=True)
        self.hurry(attempt, now)

    def _confirm(self, attempt: Attempt, now: float) -> None:
        direct = attempt.direct
        if direct is None or attempt.punching is None:
            return
        is_silent = now >= _judged_at(direct)
        if (is_silent and self._can_fall_back(attempt)) or self._is_unused(attempt, now):
            self._give_up(attempt, direct, now)
            return
        if not direct.unanswered:
            direct.asked_at = now
        direct.unanswered += 1
        server = attempt.server
        if direct.unanswered == DOUBTFUL_CHECKS and now > server.last_received + SILENCE_S:
            # Whatever ended the path may also have changed this node's address at its server, which
            # is needed next: it learns of that in time.
            self._delivery.ping(server, now)
        check = attempt.punching.confirm(direct.pair, now)
        self.send_check(attempt, check, now)
        self._plan_consent(attempt, now)

    def _is_unused(self, attempt: Attempt, now: float) -> bool:
        """Whether a path was found, but no session used it in time."""
        won_at = attempt.backoff.began + (attempt.backoff.won_after_s or 0.0)
        patience_s = self._state.config.security.auth_timeout
        return self._state.peers.with_id(attempt.node_id) is None and now > won_at + patience_s

    def _can_fall_back(self, attempt: Attempt) -> bool:
        peer = self._state.peers.authenticated(attempt.node_id)
        # Without a relay there is nothing better: the session's own timeout decides.
        if peer is None:
            return True
        # The address of a further socket is a detour too, but not another way.
        return relayed_node(peer.home) is not None and peer.home in self._state.detours

    def handle_confirmed(self, attempt: Attempt, pair: Pair, now: float) -> None:
        """A check on a path in use was answered."""
        direct = attempt.direct
        if direct is not None and direct.pair is pair:
            direct.confirmed_at = now
            direct.unanswered = 0
            peer = self._state.peers.authenticated(attempt.node_id)
            if peer is not None and peer.sends_to != direct.address:
                self._return(attempt, direct, peer)
            self._plan_consent(attempt, now)

    def _return(self, attempt: Attempt, direct: DirectPath, peer: Peer) -> None:
        # The relay delivers what it was given.
        if self._use(direct, peer, still_arrives=True):
            self._tell_if_relayed(attempt, peer)

    def _give_up(self, attempt: Attempt, direct: DirectPath, now: float) -> None:
        attempt.direct = None
        self._state.counters.paths_lost += 1
        attempt.account.reason = "the direct path fell silent; it is tried again"
        self._release(attempt, direct)
        peer = self._state.peers.authenticated(attempt.node_id)
        if peer is not None:
            self._tell(attempt, peer)
            self._delivery.hasten(peer, now)
        if self.on_lost is not None:
            self.on_lost(attempt, now)

    def leave(self, attempt: Attempt) -> None:
        """Use only the relay, without telling the other side, which begins a new search."""
        direct, attempt.direct = attempt.direct, None
        if direct is None:
            self.drop_aliases(attempt)
            return
        peer = self._state.peers.authenticated(attempt.node_id)
        is_in_use = peer is not None and peer.path == direct.address
        self._release(attempt, direct)
        if peer is not None and is_in_use:
            self._tell(attempt, peer)

    def _release(self, attempt: Attempt, direct: DirectPath) -> None:
        self.drop_aliases(attempt)
        for transaction_id in self._consents.of_peer(attempt):
            del self._consents[transaction_id]
        if direct.pair.socket:
            attempt.sockets = ()
            self._homes[direct.address] = direct.pair.socket
        self._close_empty_homes()

    def _close_empty_homes(self) -> None:
        """Close further sockets without a session; one with a session at its address stays open."""
        for address, socket in list(self._homes.items()):
            peer = self._state.peers.at(address)
            if peer is None or peer.address != address or peer.info is None:
                del self._homes[address]
                self._state.detours.pop(address, None)
                self._close_unused(socket)

    def _close_unused(self, socket: int) -> None:
        if self._state.is_standing(socket) or socket in map(socket_number, self._state.detours):
            return
        self._state.emit(SocketsDone((socket,)))

    def retire(self, socket: int, attempts: Iterable[Attempt], now: float) -> None:
        """A socket is no longer shared: its paths move if there is another way, and it closes when
        unused.

        Args:
            socket: The number of the socket.
            attempts: All attempts.
            now: The time, seconds.
        """
        for attempt in attempts:
            direct = attempt.direct
            if direct is not None and direct.pair.socket == socket and self._can_fall_back(attempt):
                self._give_up(attempt, direct, now)
        self._close_unused(socket)

    def send_check(self, attempt: Attempt, check: Check, now: float) -> None:
        """Send one check; one that is not sent is not counted anywhere."""
        if attempt.remote is None:
            return
        data = build_check(
            check.transaction_id, attempt.offer, attempt.remote, nominate=check.nominate
        )
        self._note_asked(attempt, check.transaction_id)
        to = check.remote
        gate = self._state.gate
        account: Account | None = None
        if attempt.direct is None:
            account = account_for(attempt, gate, to, now)
        else:
            # Searches that others cause must not use up the grant that keeps a path alive.
            account = gate.grant(Reason.CONSENT, to, now)
        if account and send_from(self._state, check.socket, data, to, check.ttl, account):
            attempt.account.note_check(len(data))
        elif attempt.punching is not None:
            attempt.punching.note_unsent()

    def _note_asked(self, attempt: Attempt, transaction_id: bytes) -> None:
        table = self._asked if attempt.direct is None else self._consents
        table.put(transaction_id, attempt, peers=(attempt,))

    def forget(self, attempt: Attempt) -> None:
        """Stop waiting for answers to the checks of this attempt; its path was left before."""
        for key in self._asked.of_peer(attempt):
            del self._asked[key]
        self._close_empty_homes()

    def asked_by(self, transaction_id: bytes) -> Attempt | None:
        """The attempt that a check belonged to."""
        return self._consents.pop(transaction_id, None) or self._asked.pop(transaction_id, None)


def method_of(attempt: Attempt) -> Method:
    """How a node is reached."""
    if attempt.direct is None:
        return Method.RELAY
    # An address that the other side names needs no guess, whatever the round.
    is_plain = attempt.direct.pair.kind in (Kind.HOST, Kind.CLAIMED)
    return Method.PLAIN if is_plain else attempt.account.method


def _judged_at(direct: DirectPath) -> float:
    """When a path counts as dead unless it answers; never while too few checks were sent."""
    return direct.asked_at + SILENCE_S if direct.unanswered >= UNANSWERED_LIMIT else inf


def _retry_s(direct: DirectPath) -> float:
    """From an unanswered check to the next one, seconds."""
    rtt_s = direct.pair.rtt_s or 0.0
    pause_s = max(RETRY_ROUND_TRIPS * rtt_s, SHORTEST_RETRY_S)
    # A path without a relay beside it may stay silent for long: the power must not overflow.
    pause_s *= RETRY_GROWTH ** min(direct.unanswered - 1, MAX_GROWTHS)
    # A slow path is not a dead one.
    return max(min(pause_s, RETRY_S), rtt_s / 2)
