"""Proof that a beacon is from the server that it names, and not a replay of an earlier one.

Anyone who can write to the broker can write a beacon, but only the owner of the keys behind a
server's id can sign one. So that recorded beacons do not count, a server's counter only grows. It
is taken from the clock, and a server that is restarted after its clock was set back starts below
the counter of its former run. Such a beacon is no replay if it echoes a beacon that this server has
just sent, which no former run can have heard.
"""

import math
from typing import Final

from msgspec.structs import replace

from p2ptui.bounded import BoundedTable
from p2ptui.bounded.rates import TokenBucket
from p2ptui.core.cluster.own import Own
from p2ptui.core.state import NodeState
from p2ptui.secure.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, PublicKeys, verify
from p2ptui.secure.presence import next_counter
from p2ptui.wire.cluster import KEYS_BYTES, Beacon, signed_part
from p2ptui.wire.frames import node_id_text

KNOWN_PER_S: Final = 500
"""Beacons of known live servers that are verified per second; each takes a tenth of a
millisecond."""

STRANGERS_PER_S: Final = 200
"""The same for other servers, which so leave time for the known ones."""

MAX_COUNTERS: Final = 1_024
"""Servers whose last counter is remembered: a live one renews its own each second, and invented
ones come no faster than they are verified."""


FRESH_S: Final = 5.0
"""An echo of a beacon that this server sent within this time shows that a beacon is new."""


class _Latest:
    """The last beacon accepted from a server."""

    __slots__ = ("counter", "highest", "instance", "since")

    def __init__(self) -> None:
        self.instance = b""
        """The run that currently speaks for the server."""
        self.since = -math.inf
        """When that run was first heard, seconds."""
        self.counter = 0
        """The counter of that run."""
        self.highest = 0
        """The highest counter of all runs."""


class Beacons:
    """Signs this server's beacons, and verifies those of the others.

    Args:
        state: The shared state.
        own: Who this server is in the cluster.
        identity: Its keys, which its id is derived from.

    Raises:
        ValueError: It is not.
    """

    def __init__(self, state: NodeState, own: Own, identity: Identity) -> None:
        if identity.id != own.server_id:
            raise ValueError("the id of a server of a cluster is made of its keys")
        self._state = state
        self._own = own
        self._identity = identity
        self._keys = identity.x_public + identity.ed_public
        self._counter = 0
        self._began = 0
        self._latest: BoundedTable[bytes, _Latest] = state.tables.add(
            "cluster_counters", BoundedTable(MAX_COUNTERS, full="cluster_counters_full")
        )
        self.set_back_s = 0.0
        """How far the last genuine beacon was behind one of a former run of its server."""
        self._known = TokenBucket(KNOWN_PER_S, 0.0)
        self._strangers = TokenBucket(STRANGERS_PER_S, 0.0)

    def begin(self, now: float) -> None:
        """Beacons signed earlier with this server's keys are from a former run, not from a copy."""
        self._began = self._state.unix_ms(now)

    def signed(self, beacon: Beacon, now: float) -> Beacon:
        """A beacon of this server, as it is sent."""
        self._counter = next_counter(self._counter, self._state.unix_ms(now))
        beacon = replace(beacon, keys=self._keys, counter=self._counter)
        return replace(beacon, signature=self._identity.sign(signed_part(beacon)))

    def is_true(self, beacon: Beacon, now: float, *, is_there: bool) -> bool:
        """Whether a beacon is signed by its server and newer than all earlier ones; counted if not.

        Args:
            beacon: The beacon.
            now: The time, seconds.
            is_there: Whether its server is known to be live.
        """
        cause = self._fault(beacon, now, is_there)
        if cause:
            self._state.counters.drop(cause)
            return False
        latest = self._latest.get(beacon.server) or _Latest()
        self.set_back_s = max(0, latest.highest - beacon.counter) / 1000
        if beacon.instance != latest.instance:
            latest.instance, latest.since = beacon.instance, now
        else:
            self.set_back_s = 0.0  # it was reported when the run was first heard
        latest.counter = beacon.counter
        latest.highest = max(latest.highest, beacon.counter)
        self._latest.put(beacon.server, latest)
        return True

    def _is_old(self, beacon: Beacon, now: float) -> bool:
        latest = self._latest.get(beacon.server)
        if beacon.server == self._own.server:
            return beacon.counter <= max(self._began, latest.highest if latest is not None else 0)
        if latest is None or beacon.counter > latest.highest:
            return False
        if beacon.instance == latest.instance:
            return beacon.counter <= latest.counter
        return not self._is_fresh(beacon, latest.since, now)

    def _is_fresh(self, beacon: Beacon, since: float, now: float) -> bool:
        """Whether it echoes a recent beacon of this server, after any delay."""
        own = self._own
        ages = [
            own.since_s(echo.sent_ms, now) for echo in beacon.echoes if echo.server == own.server
        ]
        return any(0.0 <= age_s <= FRESH_S and now - age_s > since for age_s in ages)

    def _fault(self, beacon: Beacon, now: float, is_there: bool) -> str:
        server, keys = beacon.server, beacon.keys
        if len(keys) != KEYS_BYTES or len(beacon.signature) != SIGNATURE_BYTES:
            return "cluster_unsigned_beacon"
        if self._is_old(beacon, now):
            return "cluster_old_beacon"
        public = PublicKeys(keys[:KEY_BYTES], keys[KEY_BYTES:])
        if public.id != node_id_text(server):
            return "cluster_false_beacon"
        budget = self._known if is_there else self._strangers
        if not budget.take(now):
            return "cluster_beacons_busy"
        if not verify(public.ed_public, beacon.signature, signed_part(beacon)):
            return "cluster_false_beacon"
        return ""
