"""What this server announces about its peers: an entry for each, as long as it is here.

A Put replaces only the entry known to be in the table: if another server was quicker, the broker
refuses it, and what that server has put decides. Due entries leave at a limited rate.
"""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable
from p2ptui.bounded.rates import TokenBucket
from p2ptui.core.cluster.bus import Delete, Order, Put
from p2ptui.core.cluster.claims import Claims
from p2ptui.core.cluster.entries import written_about, written_entry
from p2ptui.core.cluster.others import Run
from p2ptui.core.cluster.own import Own
from p2ptui.core.cluster.statements import Statements
from p2ptui.core.cluster.unproved import UnprovedHere
from p2ptui.core.cluster.view import View
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer

COALESCED_S: Final = 0.05
"""Changes of one peer within this time are announced as one."""

PUTS_PER_S: Final = 2_000
PUTS_AT_ONCE: Final = 500
"""The rate of all entries, and how many of them leave together: those of 10,000 peers within five
seconds after the link is back."""

AGAIN_S: Final = 0.2
LONGEST_AGAIN_S: Final = 5.0
"""A refused entry is tried again after the first of these, then after twice as long each time, up
to the second."""

CONTESTED_S: Final = 1.0
"""An entry that somebody has deleted or overwritten is put again after at least this time: nobody
can make this server put one after another."""

NEWS_S: Final = 1.0
"""An entry reaches the others within this time after the broker has it."""

MAX_DISOWNED: Final = 1_024
"""Entries in this server's name, for nodes that it does not hold, that are deleted at a time."""

FIRST_BEAT_SHARE: Final = 0.5
"""The first heartbeat of an entry is due at a random time between this share of the interval and
its end: entries that were put together are not put together again."""

Send: TypeAlias = Callable[[Order], bool]


class _Mine:
    """What is known about the entry of one peer."""

    __slots__ = (
        "beat",
        "is_late",
        "is_ours",
        "ordered_at",
        "planned_at",
        "put_at",
        "refusals",
        "revision",
        "told_at",
        "tried",
    )

    def __init__(self, revision: int) -> None:
        self.revision = revision
        """The revision of the entry in the table; 0: none, as far as is known."""
        self.is_ours = False
        """Whether this server put it."""
        self.ordered_at: float | None = None
        """When something was ordered whose outcome is not known yet; seconds."""
        self.tried = 0
        """The revision that it was to replace."""
        self.is_late = False
        """Whether something has changed since."""
        self.put_at = -math.inf
        self.told_at = math.inf
        """Since when this server's entry has been in the table; seconds."""
        self.refusals = 0
        self.planned_at = math.inf
        """When it will be examined; seconds."""
        self.beat: Timer | None = None


class OwnPresence:
    """Keeps the entries of this server's peers.

    Args:
        state: The shared state.
        own: Who this server is in the cluster.
        view: What the other servers hold.
        claims: Asks them for nodes that have come here.
        statements: What the peers have signed.
        send: Takes an order for the broker.
    """

    def __init__(
        self,
        state: NodeState,
        own: Own,
        view: View,
        claims: Claims,
        statements: Statements,
        send: Send,
    ) -> None:
        self._state = state
        self._own = own
        self._view = view
        self._claims = claims
        self._statements = statements
        self._send = send
        self._unproved = UnprovedHere(state, self.note)
        self._mine: BoundedTable[str, _Mine] = state.tables.add(
            "cluster_entries",
            BoundedTable(
                lambda: 2 * state.config.server.max_connections,
                refuses=True,
                full="cluster_entries_full",
            ),
        )
        self._due: BoundedTable[str, None] = state.tables.add(
            "cluster_entries_due", BoundedTable(lambda: 2 * state.config.server.max_connections)
        )
        self._yielded: BoundedTable[str, None] = state.tables.add(
            "cluster_yielded", BoundedTable(lambda: 2 * state.config.server.max_connections)
        )
        """Peers that another server holds."""
        self._pace = TokenBucket(PUTS_PER_S, 0.0, PUTS_AT_ONCE)
        self._ours = 0
        """How many entries of this server are in the table, as far as is known."""
        self._flushes = False
        self.is_ready = False
        """Whether the link is up, and the content of the table is known."""
        self.is_paused = False
        """Whether there is another process with this server's id: then neither announces
        anybody."""
        self.puts = self.refused = 0
        """How many entries were ordered, and how many refused, since the start."""

    def __len__(self) -> int:
        return self._ours

    @property
    def waiting(self) -> int:
        """How many entries are still to be put."""
        return len(self._due)

    def is_known(self, node_id: str) -> bool:
        """Whether a node is, or was until now, a peer of this server."""
        return node_id in self._mine

    # What happens here.

    def note(self, peer: Peer, now: float) -> None:
        """Something about a peer may have changed."""
        if peer.proved:
            self._unproved.forget(peer.node_id, now)
        if self._is_told(peer):
            self._enter(peer.node_id, now)
        elif peer.is_claim and peer.is_plain and now <= peer.session.joined_at:
            self._unproved.watch(peer, now)

    def handle_left(self, peer: Peer, now: float) -> None:
        """A peer is gone."""
        node_id = peer.node_id
        self._claims.forget(node_id)
        self._statements.forget(node_id, now)
        self._unproved.forget(node_id, now)
        if node_id in self._mine:
            self._mark(node_id, now)
        self._view.handle_left_here(node_id, now)

    def _is_told(self, peer: Peer | None) -> bool:
        # Forged handshakes must not fill the table of all servers.
        if peer is None or not (peer.is_authenticated and peer.is_plain):
            return False
        return peer.proved or self._unproved.holds(peer)

    def _enter(self, node_id: str, now: float) -> None:
        if node_id not in self._mine:
            revision = self._view.standing(node_id)
            if not self._mine.put(node_id, _Mine(revision)):
                return
        self._mark(node_id, now)

    def reconsider(self, node_id: str, now: float) -> None:
        """What other servers hold has changed; here only this server's peers matter."""
        mine = self._mine.get(node_id)
        if mine is not None:
            self._plan(node_id, mine, max(now, mine.put_at + CONTESTED_S))

    def handle_run(self, run: Run, now: float) -> None:
        """Another server has come or gone: its nodes may have come here."""
        for node_id in [each for each in run.node_ids if each in self._yielded]:
            self.reconsider(node_id, now)

    # The way out.

    def _mark(self, node_id: str, now: float) -> None:
        mine = self._mine.get(node_id)
        if mine is None:
            return
        self._due.put(node_id, None)
        self._plan_flush(now)

    def _plan_flush(self, now: float) -> None:
        if self.is_ready and not self._flushes:
            self._flushes = True
            self._state.timers.schedule_upkeep(now + COALESCED_S, self._flush)

    def _mark_later(self, node_id: str, now: float) -> None:
        """The action of a timer."""
        mine = self._mine.get(node_id)
        if mine is not None:
            mine.planned_at = math.inf
            self._mark(node_id, now)

    def _plan(self, node_id: str, mine: _Mine, when: float) -> None:
        if when < mine.planned_at:
            mine.planned_at = when
            self._state.timers.schedule_about(when, self._mark_later, node_id)

    def _flush(self, now: float) -> None:
        self._flushes = False
        if not self.is_ready or not self._own.is_open:
            return
        for node_id in list(self._due):
            mine = self._mine.get(node_id)
            if mine is not None and mine.ordered_at is None and not self._pace.take(now):
                break
            self._due.pop(node_id)
            if mine is not None and mine.ordered_at is None:
                self._order(node_id, mine, now)
            elif mine is not None:
                mine.is_late = True
        if len(self._due):
            self._plan_flush(now)

    def _order(self, node_id: str, mine: _Mine, now: float) -> None:
        peer = self._state.peers.authenticated(node_id)
        if peer is None or not self._is_told(peer):
            self._take_back(node_id, mine, now)
        elif (until := self._claims.left_until(peer, now)) is not None:
            self._claims.pursue(peer, now)
            self._yielded.put(node_id, None)
            if until < math.inf:
                self._plan(node_id, mine, until)
        elif not self.is_paused:
            self._yielded.pop(node_id)
            self._put(peer, mine, now)

    def _take_back(self, node_id: str, mine: _Mine, now: float) -> None:
        if mine.is_ours and mine.revision:
            mine.ordered_at, mine.tried, mine.is_late = now, mine.revision, False
            if not self._send(Delete(node_id, mine.revision)):
                mine.ordered_at = None
            self._beat_at(node_id, mine, now + self._view.heartbeat_s)
        else:
            self._forget(node_id, mine)

    def _own_it(self, mine: _Mine, *, is_ours: bool) -> None:
        self._ours += is_ours - mine.is_ours
        mine.is_ours = is_ours

    def _forget(self, node_id: str, mine: _Mine) -> None:
        self._own_it(mine, is_ours=False)
        if mine.beat is not None:
            mine.beat.cancel()
        for table in (self._mine, self._due, self._yielded):
            table.pop(node_id)

    def _put(self, peer: Peer, mine: _Mine, now: float) -> None:
        value = self.value(peer)
        if value is None:
            self._state.counters.drop("cluster_unwritable")
            return
        mine.ordered_at = mine.put_at = now
        mine.tried, mine.is_late = mine.revision, False
        is_ordered = self._send(Put(peer.node_id, value, mine.revision))
        self.puts += is_ordered
        if not is_ordered:
            mine.ordered_at = None  # the next heartbeat tells it
        is_beat = mine.beat is None and mine.is_ours
        share = 1.0 if is_beat else self._state.rng.uniform(FIRST_BEAT_SHARE, 1.0)
        self._beat_at(peer.node_id, mine, now + self._view.heartbeat_s * share)

    def _beat_at(self, node_id: str, mine: _Mine, when: float) -> None:
        if mine.beat is not None:
            mine.beat.cancel()
        mine.beat = self._state.timers.schedule_about(when, self._beat, node_id)

    def _beat(self, node_id: str, now: float) -> None:
        mine = self._mine.get(node_id)
        if mine is not None:
            mine.beat = None
            mine.ordered_at = None  # its outcome was never reported
            self._mark(node_id, now)

    def value(self, peer: Peer) -> bytes | None:
        """The entry of a peer as it is now; None if it cannot be written."""
        return written_entry(self._own, peer, self._statements.of(peer.node_id))

    def news(self, peer: Peer, now: float) -> bytes:
        """What the entry of a peer says, if the others may not have heard yet that it is here."""
        mine = self._mine.get(peer.node_id)
        if mine is None or now >= mine.told_at + NEWS_S or peer.node_id in self._yielded:
            return b""
        return bytes(written_about(peer) or b"")

    # What the broker reports.

    def handle_link(self, is_up: bool) -> None:
        """Orders are forgotten, and the content of the table is reported anew."""
        self.is_ready = False
        self._due.clear()
        for mine in self._mine.values():
            mine.ordered_at = None
            if is_up:
                mine.revision, mine.refusals = 0, 0
                self._own_it(mine, is_ours=False)
                mine.told_at = math.inf

    def handle_complete(self, now: float) -> None:
        """The whole table was reported: now all peers of this server are announced."""
        self.is_ready = True
        self.mark_all(now)

    def mark_all(self, now: float) -> None:
        """All peers are to be examined."""
        for peer in self._state.peers:
            self.note(peer, now)
        for node_id in list(self._mine):
            self._mark(node_id, now)

    def note_standing(
        self, node_id: str, revision: int, value: bytes | None, now: float, *, is_own: bool
    ) -> None:
        """Take the current entry of a node.

        Args:
            node_id: The id of the node.
            revision: Its revision.
            value: The entry, whoever put it, believed or not; None: there is none.
            now: The time, seconds.
            is_own: Whether it says that this run of this server put it.
        """
        mine = self._mine.get(node_id)
        if mine is None:
            if is_own and value is not None and not self.is_paused:
                self._disown(node_id, revision, now)
            return
        if revision < mine.revision:
            return
        had = mine.is_ours
        mine.revision = 0 if value is None else revision
        self._own_it(mine, is_ours=is_own and value is not None)
        mine.told_at = min(mine.told_at, now) if mine.is_ours else math.inf
        if had and value is None:
            mine.ordered_at = None  # a Delete is done, and any other order for it is refused
        if is_own:
            self._settle(node_id, mine, now)
        peer = self._state.peers.authenticated(node_id)
        if peer is None or not self._is_told(peer):
            mine.ordered_at = None
            self._mark(node_id, now)
        elif is_own:
            is_true = mine.ordered_at is not None or value == self.value(peer)
            if not is_true:
                self._plan(node_id, mine, max(now, mine.put_at + CONTESTED_S))
        elif had or mine.ordered_at is None:
            self._plan(node_id, mine, max(now, mine.put_at + CONTESTED_S))

    def _disown(self, node_id: str, revision: int, now: float) -> None:
        """An entry says that this server holds a node that it does not hold."""
        if len(self._mine) >= len(self._state.peers) + MAX_DISOWNED:
            self._state.counters.drop("cluster_disowned_full")
            return
        mine = _Mine(revision)
        if self._mine.put(node_id, mine):
            self._own_it(mine, is_ours=True)
            self._mark(node_id, now)

    def _settle(self, node_id: str, mine: _Mine, now: float) -> None:
        mine.ordered_at = None
        mine.refusals = 0
        if mine.is_late:
            mine.is_late = False
            self._mark(node_id, now)

    def handle_put(self, node_id: str, revision: int, now: float) -> None:
        """An entry of this server is in the table."""
        mine = self._mine.get(node_id)
        if mine is None:
            self._disown(node_id, revision, now)
            return
        if revision < mine.revision:
            mine.ordered_at = None  # it has been replaced already
            return
        mine.revision = revision
        self._own_it(mine, is_ours=True)
        mine.told_at = min(mine.told_at, now)
        self._settle(node_id, mine, now)
        self._claims.forget(node_id)
        self._view.take_out(node_id, revision, now)
        if not self._is_told(self._state.peers.authenticated(node_id)):
            self._mark(node_id, now)

    def handle_refused(self, node_id: str, now: float) -> None:
        """An order was not carried out."""
        mine = self._mine.get(node_id)
        self.refused += 1
        if mine is None:
            return
        mine.ordered_at = None
        mine.refusals += 1
        if not self._is_told(self._state.peers.authenticated(node_id)) and mine.refusals > 2:
            self._forget(node_id, mine)  # it will expire by itself
            return
        # The previous entry has expired, or one came that was not reported yet: these are tried in
        # turn.
        if mine.revision and mine.revision == mine.tried:
            mine.revision = 0
            self._own_it(mine, is_ours=False)
        elif not mine.revision:
            mine.revision = self._view.standing(node_id)
        again_s = min(AGAIN_S * 2 ** min(mine.refusals - 1, 8), LONGEST_AGAIN_S)
        self._plan(node_id, mine, now + again_s)

    def all_deleted(self) -> list[Delete]:
        """Deletes for everything that this server has put and not deleted yet."""
        authenticated = self._state.peers.authenticated
        return [
            Delete(node_id, mine.revision)
            for node_id, mine in self._mine.items()
            if mine.is_ours
            and mine.revision
            and (
                mine.ordered_at is None
                or mine.tried != mine.revision
                or self._is_told(authenticated(node_id))
            )
        ]
