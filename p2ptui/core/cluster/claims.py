"""A node without keys is at two servers: its former holder pings it, and lets it go if it is gone.

It cannot sign where it is, so the word of its new server is not enough. Until the matter is
settled, its session there goes on, but nobody is told about it.

A claim, which may be mistaken or forged, ends no session either: a peer that is merely quiet is
left to the other server, which gets the messages for it, and is served here as before. When it is
heard again, its node is claimed back. Its session ends by its heartbeats like any other; only if it
was not heard within them does it end once the other server has put it.
"""

import math
from collections.abc import Callable
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.cluster.others import Others, Run
from p2ptui.core.cluster.own import Own
from p2ptui.core.cluster.statements import Statements
from p2ptui.core.cluster.view import View
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.wire.cluster import Claim, Held, Message, Released
from p2ptui.wire.frames import node_id_bytes, node_id_text

ANSWERED_S: Final = 1.5
"""A server that has not answered by then does not hold the node, or is not there."""

UNSENT_S: Final = 1.0
"""How long after a Claim for which the link had no room the server is asked again."""

FIRST_HELD_S: Final = 6.0
HELD_S: Final = 60.0
"""A server that holds the node is asked again after the first of these, since it may have answered
from an earlier probe, then after twice as long each time, up to the second."""

PROBES: Final = 10
PROBE_S: Final = 0.1
"""The holder sends its peer this many Pings in a second: if every fifth datagram is lost, fewer
than one peer in ten thousand answers none of them."""

LONG_PROBE_S: Final = 0.52
"""A peer heard within its heartbeats gets 5.2 s for them, as in a dispute with a newcomer at this
server; meanwhile the claimant is told that it is held."""

PAUSE_S: Final = 5.0
"""A peer that answered is not asked again within this time, whoever claims it."""

LEFT_S: Final = 5.0
"""A peer that was left to another server is announced again if no server has put it by then."""

LOOK_S: Final = 1.0
"""How often peers are checked for having been heard again."""

MAX_ASKED: Final = 1_024
"""Peers that are asked whether they are still here."""


class _Asked:
    """Another server was asked to let a node go."""

    __slots__ = ("again_s", "is_ceded", "is_waiting", "run", "timer")

    def __init__(self, run: Run, again_s: float) -> None:
        self.run = run
        self.again_s = again_s
        """How long after it said that it holds the node it is asked again."""
        self.is_waiting = True
        """Whether it has been asked, and may yet answer."""
        self.is_ceded = False
        self.timer: Timer | None = None


class _Doubt:
    """A peer is asked whether it is still here."""

    __slots__ = ("began", "is_over", "is_settled", "probe_s", "probes", "runs", "told")

    def __init__(self, began: float, probe_s: float) -> None:
        self.began = began
        self.probe_s = probe_s
        self.probes = 0
        self.is_over = False
        """Whether it turned out just now that the peer is there."""
        self.is_settled = False
        """Whether that was longer ago: the next claim begins anew."""
        self.runs: dict[str, Run] = {}
        """The servers that want to know; no more than there are."""
        self.told: tuple[Run, ...] = ()
        """The servers that were told that it is held, and want to know once it no longer is."""


class Claims:
    """Settles who holds a node without keys.

    Args:
        state: The shared state.
        own: Who this server is in the cluster.
        others: The other servers.
        view: What they hold.
        delivery: Sends Pings.
        lifecycle: Removes peers that are gone.
        statements: What the peers have signed.
        send: Sends a message to a server, by its id.
    """

    def __init__(
        self,
        state: NodeState,
        own: Own,
        others: Others,
        view: View,
        delivery: Delivery,
        lifecycle: Lifecycle,
        statements: Statements,
        send: Callable[[str, Message], bool],
    ) -> None:
        self._state = state
        self._own = own
        self._others = others
        self._view = view
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._statements = statements
        self._send = send
        self._asked: BoundedTable[str, _Asked] = state.tables.add(
            "cluster_claims", BoundedTable(state.most_peers, full="cluster_claims_full")
        )
        self._doubts: BoundedTable[str, _Doubt] = state.tables.add(
            "cluster_claimed",
            BoundedTable(MAX_ASKED, full="cluster_claimed_full", in_use=_is_under_way),
        )
        self.on_settled: Callable[[str, float], None] = lambda *_: None
        """Called with the id of a node when it is known whether it may be announced."""

    def left_until(self, peer: Peer, now: float) -> float | None:
        """Until when a peer is left to another server, as far as can be decided here. This only
        judges: `pursue` does something about it.

        Returns:
            None: the others are told that it is here. Otherwise a time, or inf: until something
                changes.
        """
        node_id = peer.node_id
        entry = self._view.entry(node_id)
        is_held = entry is not None and entry.run.is_live
        if peer.liveness.is_ceded and (is_held or now < peer.liveness.ceded_at + LEFT_S):
            return now + LOOK_S
        if entry is None:
            return None
        counter, _ = self._statements.of(node_id)
        if counter or entry.counter:
            return math.inf if counter <= entry.counter else None
        if is_held:
            asked = self._asked.get(node_id)
            is_ceded = asked is not None and asked.run is entry.run and asked.is_ceded
            return None if is_ceded else math.inf
        known_at = self._others.known_at()
        return known_at if now < known_at else None  # it may not have been heard yet

    def pursue(self, peer: Peer, now: float) -> None:
        """Do what can be done about a peer that is left to another server: end its session, if it
        went there and is silent here; or ask that server to let it go.

        A peer that has proved nothing, and may be a forged handshake, is left to a server where
        another such one came first.
        """
        node_id = peer.node_id
        entry = self._view.entry(node_id)
        if entry is None or not entry.run.is_live:
            return
        if peer.liveness.is_ceded:
            if not self._is_heard(peer, now):
                self._remove(peer, now)
        elif (
            not entry.counter
            and not self._statements.of(node_id)[0]
            and (peer.proved or node_id not in self._view.unproved)
        ):
            self._ask(node_id, entry.run, now)

    # Nodes that this server claims.

    def _ask(self, node_id: str, run: Run, now: float) -> None:
        """Ask another server to let a node go, unless it has been asked."""
        asked = self._asked.get(node_id)
        again_s = FIRST_HELD_S
        if asked is not None and asked.run is run:
            if asked.is_waiting or asked.is_ceded or asked.timer is not None:
                return
            again_s = asked.again_s
        self.forget(node_id)
        asked = _Asked(run, again_s)
        if self._asked.put(node_id, asked):
            asked.timer = self._state.timers.schedule_about(now + ANSWERED_S, self._end, node_id)
            if not self._send(run.server_id, Claim(*self._own.head, node_id_bytes(node_id))):
                self._put_off(asked, node_id, now)

    def handle_unsent(self, claim: Claim, server_id: str, now: float) -> None:
        """A Claim was not sent: silence from a server that was not asked is no answer."""
        node_id = node_id_text(claim.node)
        asked = self._asked.get(node_id)
        if asked is not None and asked.is_waiting and asked.run.server_id == server_id:
            self._put_off(asked, node_id, now)

    def _put_off(self, asked: _Asked, node_id: str, now: float) -> None:
        asked.is_waiting = False
        if asked.timer is not None:
            asked.timer.cancel()
        asked.timer = self._state.timers.schedule_about(now + UNSENT_S, self._end, node_id)

    def _end(self, node_id: str, now: float) -> None:
        asked = self._asked.get(node_id)
        if asked is None:
            return
        asked.timer = None
        if asked.is_waiting:
            asked.is_waiting, asked.is_ceded = False, True
        self.on_settled(node_id, now)

    def receive_answer(self, answer: Held | Released, run: Run, now: float) -> None:
        """A server that was asked says whether it holds the node."""
        node_id = node_id_text(answer.node)
        asked = self._asked.get(node_id)
        is_late = isinstance(answer, Released)  # it was held, and probed meanwhile
        if asked is None or asked.run is not run or not (asked.is_waiting or is_late):
            self._state.counters.drop("cluster_unasked")
            return
        asked.is_waiting = False
        if asked.timer is not None:
            asked.timer.cancel()
        if isinstance(answer, Held):
            timers = self._state.timers
            asked.timer = timers.schedule_about(now + asked.again_s, self._end, node_id)
            asked.again_s = min(2 * asked.again_s, HELD_S)
        else:
            asked.timer = None
            asked.is_ceded = True
            self.on_settled(node_id, now)

    def forget(self, node_id: str) -> None:
        """The node is no longer claimed."""
        asked = self._asked.pop(node_id)
        if asked is not None and asked.timer is not None:
            asked.timer.cancel()

    def forget_all(self) -> None:
        """The link is gone: all questions are asked again."""
        for node_id in list(self._asked):
            self.forget(node_id)

    # Nodes that others claim.

    def receive(self, claim: Claim, run: Run, now: float) -> None:
        """A server claims a node that this one holds: the node is probed."""
        node_id = node_id_text(claim.node)
        peer = self._state.peers.authenticated(node_id)
        if peer is None or not peer.is_plain or not peer.proved or peer.liveness.is_ceded:
            self._answer(run, node_id, is_held=False)
        elif self._statements.of(node_id)[0]:
            self._answer(run, node_id, is_held=True)
        else:
            self._doubt(peer, node_id, run, now)

    def _doubt(self, peer: Peer, node_id: str, run: Run, now: float) -> None:
        doubt = self._doubts.get(node_id)
        if doubt is None or doubt.is_settled:
            told = () if doubt is None else doubt.told
            doubt = _Doubt(now, LONG_PROBE_S if self._is_heard(peer, now) else PROBE_S)
            doubt.told = told
            if not self._doubts.put(node_id, doubt):
                self._answer(run, node_id, is_held=True)
                return
            self._state.timers.schedule_about(now, self._probe, node_id)
        doubt.runs[run.server_id] = run
        if doubt.is_over or doubt.probe_s > PROBE_S:
            self._tell(doubt, node_id, is_held=True)

    def _is_heard(self, peer: Peer, now: float) -> bool:
        """Whether it was heard within its heartbeats."""
        heard_s = now - peer.liveness.last_received
        return heard_s <= self._state.config.server.heartbeat_interval

    def _probe(self, node_id: str, now: float) -> None:
        doubt = self._doubts.get(node_id)
        if doubt is None:
            return
        peer = self._state.peers.authenticated(node_id)
        if peer is None:
            self._doubts.pop(node_id)
            self._tell(doubt, node_id, is_held=False)
        elif doubt.is_over:
            doubt.is_over, doubt.is_settled = False, True
        elif peer.hears_at > doubt.began:
            self._tell(doubt, node_id, is_held=True)
            doubt.is_over = True
            self._state.timers.schedule_about(now + PAUSE_S, self._probe, node_id)
        elif doubt.probes >= PROBES:
            self._doubts.pop(node_id)
            peer.liveness.cede(now)
            self._tell(doubt, node_id, is_held=False)
            self.on_settled(node_id, now)
        else:
            doubt.probes += 1
            self._delivery.ping(peer, now)
            self._state.timers.schedule_about(now + doubt.probe_s, self._probe, node_id)

    def _remove(self, peer: Peer, now: float) -> None:
        reason = "it has come to another server, and is silent here"
        self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, reason)

    def _tell(self, doubt: _Doubt, node_id: str, *, is_held: bool) -> None:
        known = tuple(dict.fromkeys((*doubt.told, *doubt.runs.values())))
        for run in doubt.runs.values() if is_held else known:
            self._answer(run, node_id, is_held=is_held)
        doubt.runs, doubt.told = {}, known

    def _answer(self, run: Run, node_id: str, *, is_held: bool) -> None:
        kind = Held if is_held else Released
        self._send(run.server_id, kind(*self._own.head, node_id_bytes(node_id)))


def _is_under_way(doubt: _Doubt) -> bool:
    return not doubt.is_settled
