"""The other servers: each sends a beacon once a second, and is gone when it falls silent.

A server is known by its id and its run, which changes each time it starts: entries that it put
before a restart do not count as its own.
"""

import math
from collections.abc import Callable
from enum import Enum
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.bounded.rates import TokenBucket
from p2ptui.core.cluster.beacons import Beacons
from p2ptui.core.cluster.own import Own
from p2ptui.core.cluster.runs import (
    MESSAGES_PER_S,
    TOLD_CHARACTERS,
    Run,
    ServerStatus,
    apart_words,
    as_told,
    is_needed,
)
from p2ptui.core.state import NodeState
from p2ptui.secure.identity import Identity
from p2ptui.wire.cluster import MAX_ECHOES, Beacon, Echo
from p2ptui.wire.message import ListedServer

__all__ = ["MAX_RUNS", "MESSAGES_PER_S", "Others", "Run", "ServerStatus", "Trouble"]

BEACON_S: Final = 1.0
"""How often a server sends a beacon, seconds."""

SILENT_S: Final = 3.5
"""The nodes of a server that was not heard for this long cannot be reached: three beacons may be
late."""

KNOWN_S: Final = 1.5
"""By then every live server has answered the first beacon."""

ANSWER_PAUSE_S: Final = 0.25
"""A server heard for the first time is sent a beacon at once, but not more often than this."""

LINK_GRACE_S: Final = 5.0
"""How long the others are believed to be live while the link to the broker is down."""

LOOK_S: Final = 0.25
"""How often servers are checked for silence."""

LOST_AT_ONCE: Final = 16
"""If many have fallen silent, this many are given up at each check; the next check follows at
once."""

LOST_PAUSE_S: Final = 0.02

CHANGES_PER_S: Final = 5.0
CHANGES_AT_ONCE: Final = 8
"""Changes are reported at this interval, and faster ones together: each report makes the receiver
examine all servers."""

MAX_RUNS: Final = 256
"""Servers, and former runs of them whose entries remain; and as many again that were never heard
and are known only from entries."""

NEWCOMERS_PER_S: Final = 1.0
NEWCOMERS_AT_ONCE: Final = 8
"""If there is no room for another server, this many may replace one that holds no nodes."""

SAME_NAME_AGAIN_S: Final = 60.0
TOLD_AGAIN_S: Final = 3_600.0
"""How often a persistent problem is reported."""

CLOCKS_APART_S: Final = 60.0
"""Clocks that differ by this much are reported, and clocks set back by as much."""

CLOCKS_SETTLE_S: Final = 60.0
"""If they differ for this long: a machine that has just started may still set its clock."""

TWIN_S: Final = 0.9 * BEACON_S
"""Datagrams of a former run arrive at once: a run that is heard again after this time is live."""


class Trouble(Enum):
    """A problem in the cluster, for this node's user."""

    SAME_NAME = "same_name"
    """Another server has this one's name."""
    COPIED_IDENTITY = "copied_identity"
    """Another process has this server's keys, or its id."""
    OTHER_NETWORK = "other_network"
    """The broker delivers entries or messages of another network."""
    OTHER_VERSION = "other_version"
    """The broker delivers data that this version cannot read."""
    CLOCKS_APART = "clocks_apart"
    """Another server's clock differs from this one's."""
    CLOCK_SET_BACK = "clock_set_back"
    """Another server was restarted with its clock behind that of its former run."""


class Others:
    """Listens to the other servers, and announces this one once a second.

    Args:
        state: The shared state.
        own: Who this server is in the cluster.
        identity: Its keys, which sign the beacons.
        say: Sends a beacon.
    """

    def __init__(
        self, state: NodeState, own: Own, identity: Identity, say: Callable[[Beacon], None]
    ) -> None:
        self._state = state
        self._own = own
        self._beacons = Beacons(state, own, identity)
        self._say = say
        self._runs: BoundedTable[tuple[bytes, bytes], Run] = state.tables.add(
            "cluster_servers",
            BoundedTable(MAX_RUNS, full="cluster_servers_full", in_use=is_needed),
        )
        # Kept apart: entries, which anybody may write, take no place from a live server.
        self._unheard: BoundedTable[tuple[bytes, bytes], Run] = state.tables.add(
            "cluster_unheard",
            BoundedTable(MAX_RUNS, full="cluster_servers_full", in_use=is_needed),
        )
        self._newcomers = TokenBucket(NEWCOMERS_PER_S, 0.0, NEWCOMERS_AT_ONCE)
        self._is_up = False
        self._changed_at = -math.inf
        self._changes = TokenBucket(CHANGES_PER_S, 0.0, CHANGES_AT_ONCE)
        self._is_change_planned = False
        self._is_frozen = False
        """Whether the others were believed to be live when the link went down, and still are."""
        self._echoed = 0
        self._said_at = -math.inf
        self._answers = False
        self._twin_since = math.inf
        self._twin_at = -math.inf
        self._told_at: dict[Trouble, float] = {}
        self.is_draining = False
        self.on_silent: list[Callable[[Run, float], None]] = []
        """Called with a server that has fallen silent."""
        self.on_heard: list[Callable[[Run, float], None]] = []
        """Called with a live server that was not known to be."""
        self.on_changed: list[Callable[[float], None]] = []
        """Called when the set of servers or their addresses have changed, once for all changes of a
        moment."""
        self.on_twin: Callable[[float], None] = lambda _: None
        """Called when another process with this server's id appears or disappears."""
        self.on_trouble: Callable[[Trouble, str], None] = lambda *_: None
        """Called with a problem and its description, which contains remote text: once, and again at
        intervals if it persists."""

    def __len__(self) -> int:
        return sum(run.is_live for run in self._runs.values())

    # Time.

    def begin(self, now: float) -> None:
        """The room is open."""
        self._changed_at = now
        self._beacons.begin(now)
        self._look(now)

    def handle_link(self, is_up: bool, now: float) -> None:
        """The link to the broker has come up or gone down."""
        self._is_up, self._changed_at = is_up, now
        self._is_frozen = not is_up
        if is_up:
            for run in self._runs.values():
                if run.is_live:
                    run.heard_at = now  # nobody could hear it meanwhile
            self._own.beat_at = -math.inf
            self._beat(now)

    def _beat(self, now: float) -> None:
        if not self._own.is_open or not self._is_up or now < self._own.beat_at:
            return
        self._own.beat_at = now + BEACON_S * 0.999
        self.say(now)
        self._state.timers.schedule_upkeep(now + BEACON_S, self._beat)

    def say(self, now: float) -> None:
        """Announce that this server is live."""
        self._said_at = now
        own = self._own
        beacon = Beacon(
            *own.head,
            own.name,
            own.advertised,
            len(self._state.peers),
            self.is_draining,
            own.clock_ms(now),
            self._state.unix_ms(now),
            self._echoes(now),
        )
        self._say(self._beacons.signed(beacon, now))

    def _answer(self, now: float) -> None:
        if not self._answers:
            self._answers = True
            when = max(now, self._said_at + ANSWER_PAUSE_S)
            self._state.timers.schedule_upkeep(when, self._say_answer)

    def _say_answer(self, now: float) -> None:
        self._answers = False
        if self._is_up and self._own.is_open:
            self.say(now)

    def _echoes(self, now: float) -> tuple[Echo, ...]:
        heard = [run for run in self._runs.values() if run.is_live and run.beacon is not None]
        first = self._echoed % max(1, len(heard))
        turn = [*heard[first:], *heard[:first]][:MAX_ECHOES]
        self._echoed = first + len(turn)
        return tuple(
            [
                Echo(run.server, run.beacon.sent_ms, max(0, int((now - run.heard_at) * 1000)))
                for run in turn
                if run.beacon is not None
            ]
        )

    def _look(self, now: float) -> None:
        if not self._own.is_open:
            return
        waits = self._is_frozen and now < self._changed_at + LINK_GRACE_S
        silent = [] if waits else [run for run in self._runs.values() if self._is_silent(run, now)]
        for run in silent[:LOST_AT_ONCE]:
            self._lose(run, now)
        if self._twin_since < math.inf and now > self._twin_at + SILENT_S:
            was_twin, self._twin_since = self.has_twin, math.inf
            if was_twin:
                self.on_twin(now)
        pause_s = LOST_PAUSE_S if len(silent) > LOST_AT_ONCE else LOOK_S
        self._state.timers.schedule_upkeep(now + pause_s, self._look)

    def _is_silent(self, run: Run, now: float) -> bool:
        return run.is_live and (not self._is_up or now > run.heard_at + SILENT_S)

    def _lose(self, run: Run, now: float) -> None:
        run.is_live = False
        for listener in self.on_silent:
            listener(run, now)
        self._note_changed(now)

    def _note_changed(self, now: float) -> None:
        if self._is_change_planned:
            return
        if self._changes.take(now):
            self._tell_changed(now)
        else:
            self._is_change_planned = True
            self._state.timers.schedule_upkeep(now + 1 / CHANGES_PER_S, self._tell_changed)

    def _tell_changed(self, now: float) -> None:
        self._is_change_planned = False
        for listener in self.on_changed:
            listener(now)

    # Their beacons.

    def receive(self, beacon: Beacon, now: float) -> None:
        """A server announces that it is live."""
        own = self._own
        if beacon.server == own.server and beacon.instance == own.instance:
            return  # this server hears itself
        is_there = (beacon.server, beacon.instance) in self._runs
        if not self._beacons.is_true(beacon, now, is_there=is_there):
            return
        if beacon.server == own.server:
            self._receive_own(beacon, now)
            return
        run = self._heard_run(beacon.server, beacon.instance, now)
        if run is None or not run.rate.take(now):
            return
        before, run.beacon, run.heard_at = run.beacon, beacon, now
        self._compare_clocks(run, beacon, now)
        self._measure(run, beacon, now)
        was_live, run.is_live = run.is_live, True
        if not was_live:
            self._answer(now)
            for listener in self.on_heard:
                listener(run, now)
        if (
            not was_live
            or before is None
            or before.advertised != beacon.advertised
            or before.is_draining != beacon.is_draining
        ):
            self._note_changed(now)
        if beacon.name == self._own.name:
            words = (
                f"another server is called {self._own.name!r} too: {run.server_id}; set"
                " cluster.name on one of them"
            )
            self.tell(Trouble.SAME_NAME, words, now, SAME_NAME_AGAIN_S)

    def _compare_clocks(self, run: Run, beacon: Beacon, now: float) -> None:
        run.unix_apart_s = beacon.unix_ms / 1000 - (now + self._state.unix_offset)
        called, back_s = f"{beacon.name!r} ({run.server_id})", self._beacons.set_back_s
        if back_s >= CLOCKS_APART_S:
            words = (
                f"the clock of server {called} is {apart_words(back_s)} behind that of its former"
                " run: one of the two was wrong; see that its clock is right"
            )
            self.tell(Trouble.CLOCK_SET_BACK, words, now)
        if abs(run.unix_apart_s) < CLOCKS_APART_S:
            run.apart_since = math.inf
            return
        run.apart_since = min(run.apart_since, now)
        if now >= run.apart_since + CLOCKS_SETTLE_S:
            side = "ahead of" if run.unix_apart_s > 0 else "behind"
            words = (
                f"the clock of server {called} is {apart_words(abs(run.unix_apart_s))} {side} this"
                " server's: set the one that is wrong"
            )
            self.tell(Trouble.CLOCKS_APART, words, now)

    def _measure(self, run: Run, beacon: Beacon, now: float) -> None:
        for echo in beacon.echoes:
            if echo.server == self._own.server:
                rtt_s = self._own.since_s(echo.sent_ms, now) - echo.held_ms / 1000
                if 0 <= rtt_s < SILENT_S:
                    run.rtt_s = rtt_s

    def _receive_own(self, beacon: Beacon, now: float) -> None:
        had_twin = self.has_twin
        self._twin_since, self._twin_at = min(self._twin_since, now), now
        if not had_twin and self.has_twin:
            self.on_twin(now)
        if self.has_twin:
            words = (
                f"another process, called {beacon.name!r}, runs with the identity of this server,"
                f" {self._own.server_id}: its key file was copied; while both run, the other"
                " servers are not told of this one's peers; stop one of them and delete its key"
                " file, so that it makes a new one"
            )
            self.tell(Trouble.COPIED_IDENTITY, words, now)

    @property
    def has_twin(self) -> bool:
        """Whether another process has this server's id."""
        return self._twin_at >= self._twin_since + TWIN_S

    def tell(self, trouble: Trouble, words: str, now: float, again_s: float = TOLD_AGAIN_S) -> None:
        """Report a problem, unless it was reported recently.

        Args:
            trouble: The trouble.
            words: A one-line description, which contains remote text.
            now: The time, seconds.
            again_s: After what time it is reported again.
        """
        if now >= self._told_at.get(trouble, -math.inf) + again_s:
            self._told_at[trouble] = now
            self.on_trouble(trouble, words)

    # Live servers.

    def run_of(self, server: bytes, instance: bytes, now: float) -> Run | None:
        """The run of the server that an entry names; None if there is no room for more that were
        never heard."""
        key = (server, instance)
        run = self._runs.get(key) or self._unheard.get(key)
        if run is None:
            run = Run(server, instance, now)
            if not self._unheard.put(key, run):
                return None
        return run

    def _heard_run(self, server: bytes, instance: bytes, now: float) -> Run | None:
        key = (server, instance)
        run = self._runs.get(key)
        if run is None:
            run = self._unheard.get(key) or Run(server, instance, now)
            self._make_room(now)
            if not self._runs.put(key, run):
                return None
            self._unheard.pop(key)
        return run

    def _make_room(self, now: float) -> None:
        """If all places are taken, evict a random server that holds no nodes: an attacker that
        invents servers gets no more places than by chance, and servers that hold nodes keep
        theirs."""
        if len(self._runs) < MAX_RUNS or not all(run.is_needed for run in self._runs.values()):
            return  # there is room, or a dead one makes it
        idle = [key for key, run in self._runs.items() if not run.node_ids]
        if idle and self._newcomers.take(now):
            key = self._state.rng.choice(idle)
            run = self._runs.pop(key)
            assert run is not None
            self._state.counters.drop("cluster_servers_full")
            self._lose(run, now)

    def known(self, server: bytes, instance: bytes) -> Run | None:
        """A run of a live server; None if none is known."""
        run = self._runs.get((server, instance))
        return run if run is not None and run.is_live else None

    def nodes(self) -> int:
        """How many nodes the live servers are known to hold."""
        return sum(len(run.node_ids) for run in self._runs.values() if run.is_live)

    def known_at(self) -> float:
        """When all live servers are, or were, known after the link came up, seconds."""
        return self._changed_at + KNOWN_S if self._is_up else math.inf

    def live_run(self, server_id: str) -> Run | None:
        """The last heard run of a server, if it is live."""
        runs = [run for run in self._runs.values() if run.is_live and run.server_id == server_id]
        return max(runs, key=lambda run: run.heard_at, default=None)

    def servers(self, now: float) -> list[ServerStatus]:
        """All live servers, in the order in which they were first heard."""
        return [
            ServerStatus(
                run.server_id,
                run.beacon.name,
                run.beacon.advertised,
                run.beacon.peers,
                run.beacon.is_draining,
                now - run.heard_at,
                run.rtt_s,
                run.unix_apart_s,
                len(run.node_ids),
            )
            for run in self._runs.values()
            if run.is_live and run.beacon is not None
        ]

    def told(self, now: float) -> list[ListedServer]:
        """The servers of the network, as peers are told about them: this one first."""
        own = ListedServer(
            id=self._own.server_id,
            name=self._own.name[:TOLD_CHARACTERS],
            address=self._own.advertised[:TOLD_CHARACTERS],
            peers=len(self._state.peers),
            draining=self.is_draining,
            linked=self._is_up,
            linked_s=round(now - self._changed_at, 3),
        )
        return [own, *map(as_told, self.servers(now))]
