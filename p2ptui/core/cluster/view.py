"""The nodes that other servers hold: a copy of the broker's table, not all of it believed.

Anybody who can write to the broker may have written an entry. The newest one counts, by revision
and never by time; but an entry moves a node from one server to another only if the node itself has
signed that, or has no keys to sign with. Entries age by this node's own clock, since the broker
does not report when it lets one expire.
"""

from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.bounded.rates import TokenBucket
from p2ptui.core.cluster.entries import is_keyless, is_signed, read_about
from p2ptui.core.cluster.entry import Entry, Passing, reachable
from p2ptui.core.cluster.others import Others, Run
from p2ptui.core.cluster.statements import Statements
from p2ptui.core.cluster.tellings import Tellings
from p2ptui.core.cluster.unproved import UnprovedElsewhere
from p2ptui.core.identity import canonical_id, told_name
from p2ptui.core.peers import Foreign
from p2ptui.core.state import NodeState
from p2ptui.wire.cluster import About, Presence
from p2ptui.wire.codec import MalformedError

HEARTBEAT_S: Final = 30.0
"""How often an entry is put again without any change, unless the options say otherwise."""

LIVES: Final = 3
"""An entry that was not put again for this many heartbeats no longer counts."""

MAX_NODES: Final = 200_000
"""Nodes that other servers hold."""

SHARE_OF_ONE: Final = 1 / 3
"""The share of these that one server may hold: six times as many as it is made for."""

MAX_ODD: Final = 16_384
"""Entries that are not in the view, but whose revision is known: the server that holds the node
replaces them."""

MAX_IN_USE: Final = 1_024
"""Nodes elsewhere that are kept decoded: one in use is looked up for each datagram."""

MOVED_S: Final = 5.0
"""How long the nodes of a server that has fallen silent have to join another one before they are
reported to have left."""

VERIFIED_PER_S: Final = 2_000
"""Statements verified per second; each takes a tenth of a millisecond, and anybody may write a
false one."""

MAX_UNVERIFIED: Final = 16_384
MAX_UNVERIFIED_BYTES: Final = 8_388_608
"""Entries that wait until there is time to verify them, and their bytes."""

KEPT_BYTES: Final = 400
"""The memory that such an entry takes besides what it says about its node."""

VERIFY_TICK_S: Final = 0.05
AGE_TICK_S: Final = 1.0

FEW: Final = 1_024
"""A list of more nodes than this may leave out those that came within the last `AGE_TICK_S`."""

AGED_AT_ONCE: Final = 256
AGE_MORE_S: Final = 0.02
"""How many expired entries are dropped at once; more of them follow after this time."""


class View:
    """What is known about the nodes elsewhere.

    Args:
        state: The shared state.
        others: The servers that hold them.
        statements: What nodes last signed.
        max_nodes: Most nodes.
        heartbeat_s: How often an entry is put again.
    """

    def __init__(
        self,
        state: NodeState,
        others: Others,
        statements: Statements,
        max_nodes: int = MAX_NODES,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.heartbeat_s = heartbeat_s
        """How often an entry is put again; it no longer counts after three times as long."""
        self._state = state
        self._others = others
        self._statements = statements
        tables = state.tables
        # The oldest first: an entry that is put again moves to the end.
        self._entries: BoundedTable[str, Entry] = tables.add(
            "cluster_nodes", BoundedTable(max_nodes, refuses=True, full="cluster_nodes_full")
        )
        self._odd: BoundedTable[str, int] = tables.add("cluster_odd", BoundedTable(MAX_ODD))
        self._unverified: BoundedTable[str, tuple[Presence, About, int]] = tables.add(
            "cluster_unverified",
            BoundedTable(
                MAX_UNVERIFIED, full="cluster_unverified", limit_bytes=MAX_UNVERIFIED_BYTES
            ),
        )
        self.unproved = UnprovedElsewhere(tables)
        self._passing = Passing(tables)
        self._tellings = Tellings(state, others, MOVED_S, self._tell_of)
        self._in_use: BoundedTable[str, Foreign] = tables.add(
            "cluster_in_use", BoundedTable(MAX_IN_USE)
        )
        self._most_of_one = max(1, int(max_nodes * SHARE_OF_ONE))
        self._budget = TokenBucket(VERIFIED_PER_S, 0.0)
        self._untold: dict[str, None] | None = None
        """While entries are reported anew: those known before and not reported yet."""
        self._listed: tuple[str, ...] | None = None
        self._is_first = True
        self._ages = self._verifies = False
        others.on_silent.append(self._handle_silent)
        self.on_joined: list[Callable[[Foreign, float], None]] = []
        """Called with a node that has come, or that has changed or moved."""
        self.on_left: list[Callable[[str, float], None]] = []
        """Called with the id of a node that is gone."""
        self.on_change: Callable[[str, float], None] = lambda *_: None
        """Called with each id whose entry here has changed."""

    def __len__(self) -> int:
        return len(self._entries)

    # Queries.

    def entry(self, node_id: str) -> Entry | None:
        """What is known about a node, whether its server can be reached or not."""
        return self._entries.get(node_id)

    def standing(self, node_id: str) -> int:
        """The revision of the entry in the table, as far as is known; 0: none."""
        odd = self._odd.get(node_id)
        entry = self._entries.get(node_id)
        return max(odd or 0, entry.revision if entry is not None else 0)

    def foreign(self, node_id: str) -> Foreign | None:
        """A node whose server can be reached."""
        known = self._in_use.get(node_id)
        if known is None and (known := self._reachable(node_id)) is not None:
            self._in_use.put(node_id, known)
        return known or self._passing.foreign(node_id, self._state.identity.network_id)

    def nodes(self, text: str = "") -> Iterator[Foreign]:
        """The nodes that a text may mean, or all, without claims: `Elsewhere.nodes`."""
        for node_id in self._ids_for(text) if text else self._ids():
            found = self._in_use.get(node_id) or self._reachable(node_id)
            if found is not None and found.proved:
                yield found

    def _ids_for(self, text: str) -> Iterator[str]:
        # Searching for the bytes of a name takes half a microsecond, decoding an entry twenty.
        prefix, name = text.lower(), told_name(text).encode()
        for node_id in self._ids():
            entry = self._entries.get(node_id)
            if entry is not None and (node_id.startswith(prefix) or name in entry.about):
                yield node_id

    def _ids(self) -> tuple[str, ...]:
        # Each list that is sent in parts holds the ids until its end: if there are many, all lists
        # begun before the next ageing pass share one copy.
        ids = self._listed
        if ids is None:
            ids = tuple(reversed(self._entries))
            self._listed = ids if len(ids) > FEW else None
        return ids

    def _reachable(self, node_id: str) -> Foreign | None:
        return reachable(self._entries.get(node_id), node_id, self._state.identity.network_id)

    def is_here(self, node_id: str) -> bool:
        """Whether a node has a session with this server, which is no mere claim, and which this
        server has not left to another one."""
        peer = self._state.peers.authenticated(node_id)
        if peer is None or peer.liveness.is_ceded:
            return False
        return not peer.is_claim and peer.is_plain

    def reachable(self) -> int:
        """How many nodes there are whose server can be reached."""
        return self._others.nodes()

    # What is reported.

    def handle_link(self, is_up: bool) -> None:
        """All entries are reported anew, and known revisions may be those of another table."""
        if is_up:
            self._untold = dict.fromkeys(self._entries)
            for entry in self._entries.values():
                entry.revision = 0
            self._odd.clear()
            self._unverified.clear()

    def handle_complete(self, now: float) -> None:
        """All entries were reported: those that were not are gone."""
        untold, self._untold = self._untold or {}, None
        for node_id in untold:
            self._drop(node_id, now)
        self._is_first = False

    def _is_old(self, node_id: str, revision: int) -> bool:
        return revision <= self.standing(node_id)

    def take_out(self, node_id: str, revision: int, now: float) -> None:
        """There is no entry of another server any more."""
        if not self._is_old(node_id, revision):
            self._passing.forget(node_id)
            self._odd.pop(node_id)
            self._unverified.pop(node_id)
            self._drop(node_id, now)

    @staticmethod
    def can_hold(key: str) -> bool:
        """Whether a key may have an entry: an id in canonical text."""
        return canonical_id(key) == key

    def note_odd(self, node_id: str, revision: int) -> None:
        """The entry in the table is not believed."""
        if revision > self.standing(node_id):
            self._odd.put(node_id, revision)

    def receive(self, node_id: str, presence: Presence, revision: int, now: float) -> None:
        """An entry has arrived that claims to be from another server.

        Args:
            node_id: The id of the node, in canonical text.
            presence: The entry, of this network.
            revision: Its revision.
            now: The time, seconds.
        """
        if self._is_old(node_id, revision):
            self._state.counters.drop("cluster_old")
            return
        known = self._entries.get(node_id)
        if known is not None and known.says(presence):
            self._renew(node_id, known, revision, now)
            return
        try:
            about = read_about(presence.node, node_id)
        except MalformedError:
            self._refuse(node_id, revision, "cluster_malformed", now)
            return
        if presence.counter and not about.keys:
            self._refuse(node_id, revision, "cluster_malformed", now)  # nobody can have signed it
            return
        if is_keyless(self._state, node_id, about):
            self._refuse(node_id, revision, "cluster_keyless", now)
            return
        self._judge(node_id, presence, about, revision, now)

    def note_passing(self, node_id: str, about: bytes, run: Run, now: float) -> None:
        """A server hands over something that a node has sent, with what it knows about the node:
        until its entry arrives the node can be answered, unless something better is known.

        No other server can take a node that has signed where it is, even if its server has fallen
        silent.
        """
        known = self._entries.get(node_id)
        if (known is not None and known.run.is_live) or self.is_here(node_id):
            return
        if known is not None and known.counter and known.run.server != run.server:
            self._state.counters.drop("cluster_unsigned")
            return
        try:
            read = read_about(about, node_id)
        except MalformedError:
            self._state.counters.drop("cluster_malformed")
            return
        if is_keyless(self._state, node_id, read):
            self._state.counters.drop("cluster_keyless")
            return
        self._passing.enter(node_id, Entry(about, 0, now, 0, run), now)
        self._plan_ageing(now)

    def _judge(
        self, node_id: str, presence: Presence, about: About, revision: int, now: float
    ) -> None:
        run = self._others.run_of(presence.server, presence.instance, now)
        if run is None:
            self._refuse(node_id, revision, "", now)
            return
        known = self._entries.get(node_id)
        is_full = len(run.node_ids) >= self._most_of_one and known is None
        if is_full:
            self._refuse(node_id, revision, "cluster_nodes_full", now)
            return
        if not about.proved and not self.unproved.has_room_for(node_id, run):
            self._refuse(node_id, revision, "", now)  # counted there
            return
        signed_here, _ = self._statements.of(node_id)
        latest = max(signed_here, 0 if known is None else known.counter)
        is_same = known is not None and known.run.server == run.server and known.counter == latest
        is_foreign = not is_same and self._statements.named_another(node_id, run.server, now)
        counter = presence.counter
        if counter and (counter < latest or (counter == latest and not is_same)):
            self._refuse(node_id, revision, "cluster_superseded", now)
            return
        if not counter and not is_same and (latest or is_foreign):
            self._refuse(node_id, revision, "cluster_unsigned", now)
            return
        is_postponed = counter > latest and not self._budget.take(now)
        if is_postponed and (latest or is_foreign or known is not None):
            self.note_odd(node_id, revision)
        elif counter > latest and not is_postponed and not is_signed(node_id, presence, about):
            self._refuse(node_id, revision, "cluster_false_statement", now)
        else:
            # A node that nobody else holds, or held, needs no statement: it may be there.
            verified = latest if is_postponed else max(counter, latest)
            entry = Entry(bytes(presence.node), verified, now, revision, run)
            self._enter(node_id, known, entry, now, is_proved=about.proved)
        if is_postponed:
            size_bytes = len(bytes(presence.node)) + KEPT_BYTES
            self._unverified.put(node_id, (presence, about, revision), size_bytes=size_bytes)
            self._plan_verifying(now)

    def _renew(self, node_id: str, known: Entry, revision: int, now: float) -> None:
        """An entry was put again, like most that arrive."""
        known.revision, known.heard_at = revision, now
        self._in_use.pop(node_id)
        self._entries.renew(node_id)
        self._note_told(node_id)

    def _note_told(self, node_id: str) -> None:
        if self._untold is not None:
            self._untold.pop(node_id, None)
        self._odd.pop(node_id)
        self._unverified.pop(node_id)

    def _plan_verifying(self, now: float) -> None:
        if not self._verifies:
            self._verifies = True
            self._state.timers.schedule_upkeep(now + VERIFY_TICK_S, self._verify_more)

    def _verify_more(self, now: float) -> None:
        self._verifies = False
        for _ in range(int(VERIFIED_PER_S * VERIFY_TICK_S)):
            node_id = next(iter(self._unverified), None)
            if node_id is None:
                return
            waiting = self._unverified.pop(node_id)
            if waiting is not None and waiting[2] >= self.standing(node_id):
                self._judge(node_id, *waiting, now)
        if len(self._unverified):
            self._plan_verifying(now)

    def _refuse(self, node_id: str, revision: int, cause: str, now: float) -> None:
        self.note_odd(node_id, revision)
        if self._untold is not None:
            self._untold.pop(node_id, None)
        if cause:
            self._state.counters.drop(cause)
        known = self._entries.get(node_id)
        if known is not None and known.revision == revision:
            self._drop(node_id, now)  # it was believed for lack of time to verify it

    def _enter(
        self, node_id: str, known: Entry | None, entry: Entry, now: float, *, is_proved: bool
    ) -> None:
        run = entry.run
        is_changed = known is None or known.run is not run or known.about != entry.about
        if known is not None:
            known.run.node_ids.pop(node_id, None)
            entry.about = known.about if known.about == entry.about else entry.about
        self._note_told(node_id)
        if not self._entries.put(node_id, entry):
            self._odd.put(node_id, entry.revision)  # the next server to hold the node replaces it
            return
        self.unproved.note(node_id, run, is_proved=is_proved)
        run.node_ids[node_id] = None
        self._passing.forget(node_id)
        self._in_use.pop(node_id)
        self._plan_ageing(now)
        self.on_change(node_id, now)
        if is_changed and not (self._is_first and self._untold is not None):
            self._tell_joined(node_id, now)

    def _tell_joined(self, node_id: str, now: float) -> None:
        if self.on_joined and not self.is_here(node_id):
            entry = self._entries.get(node_id)
            if entry is not None:
                foreign = entry.foreign(node_id, self._state.identity.network_id)
                for listener in self.on_joined:
                    listener(foreign, now)

    def handle_left_here(self, node_id: str, now: float) -> None:
        """A peer of this server is gone: it may be elsewhere."""
        self._tell_joined(node_id, now)

    def _drop(self, node_id: str, now: float) -> None:
        self.unproved.forget(node_id)
        entry = self._entries.pop(node_id)
        if entry is None:
            return
        if entry.counter:
            self._statements.remember(node_id, entry.run.server, now)
        entry.run.node_ids.pop(node_id, None)
        self._in_use.pop(node_id)
        self.on_change(node_id, now)
        if not entry.run.is_told_gone or entry.run in self._tellings:
            self._tell_left(node_id, now)

    def _tell_left(self, node_id: str, now: float) -> None:
        if not self.is_here(node_id):
            for listener in self.on_left:
                listener(node_id, now)

    def _plan_ageing(self, now: float, after_s: float = AGE_TICK_S) -> None:
        if not self._ages:
            self._ages = True
            self._state.timers.schedule_upkeep(now + after_s, self._age)

    # Servers that come and go, and their nodes with them.

    def _handle_silent(self, run: Run, _now: float) -> None:
        for node_id, foreign in list(self._in_use.items()):
            if foreign.server_id == run.server_id:
                self._in_use.pop(node_id)

    def _tell_of(self, run: Run, node_id: str, now: float) -> None:
        """A server has fallen silent, or is back."""
        if node_id not in run.node_ids:
            return  # that was reported
        if run.is_told_gone:
            self._tell_left(node_id, now)
        else:
            self._tell_joined(node_id, now)

    def _age(self, now: float) -> None:
        self._ages = False
        self._listed = None
        self._passing.expire(now)
        # Found in one pass: finding the first key of a dict skips over all removed ones.
        oldest = islice(self._entries.items(), AGED_AT_ONCE)
        since = now - LIVES * self.heartbeat_s
        old = [key for key, _ in takewhile(lambda item: item[1].heard_at <= since, oldest)]
        for node_id in old:
            self._drop(node_id, now)
        if len(old) == AGED_AT_ONCE:
            self._plan_ageing(now, AGE_MORE_S)
        elif len(self._entries) or len(self._passing):
            self._plan_ageing(now)
