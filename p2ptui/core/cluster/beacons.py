"""What shows that a beacon is that of the server which it names, and not one that it said before.

Whoever can write to the broker can write a beacon; only who has the keys of which its server's id
is made can sign one.
"""

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
"""Beacons of servers that are there; each takes a tenth of a millisecond."""

STRANGERS_PER_S: Final = 200
"""And of others, so that these leave time for those."""

MAX_COUNTERS: Final = 1_024
"""Servers of which the last counter is known: one that is there renews its own each second, and
invented ones come no faster than they are verified."""


class Beacons:
    """Signs those of this server, and looks at those of others.

    Args:
        state: The shared ground.
        own: Who this server is in the cluster.
        identity: Its keys, of which its id is made.

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
        self._latest: BoundedTable[bytes, int] = state.tables.add(
            "cluster_counters", BoundedTable(MAX_COUNTERS, full="cluster_counters_full")
        )
        self._known = TokenBucket(KNOWN_PER_S, 0.0)
        self._strangers = TokenBucket(STRANGERS_PER_S, 0.0)

    def begin(self, now: float) -> None:
        """What was signed with this server's keys before is of a former run, and no copy."""
        self._began = self._state.unix_ms(now)

    def signed(self, beacon: Beacon, now: float) -> Beacon:
        """One of this server, as it travels."""
        self._counter = next_counter(self._counter, self._state.unix_ms(now))
        beacon = replace(beacon, keys=self._keys, counter=self._counter)
        return replace(beacon, signature=self._identity.sign(signed_part(beacon)))

    def is_true(self, beacon: Beacon, now: float, *, is_there: bool) -> bool:
        """Whether its server has signed it, after all that came of it before; counted if not.

        Args:
            beacon: What came.
            now: The time, seconds.
            is_there: Whether its server is one of those that are there.
        """
        cause = self._fault(beacon, now, is_there)
        if cause:
            self._state.counters.drop(cause)
            return False
        self._latest.put(beacon.server, beacon.counter)
        return True

    def _fault(self, beacon: Beacon, now: float, is_there: bool) -> str:
        server, keys = beacon.server, beacon.keys
        if len(keys) != KEYS_BYTES or len(beacon.signature) != SIGNATURE_BYTES:
            return "cluster_unsigned_beacon"
        latest = self._latest.get(server)
        least = self._began if server == self._own.server else 0
        if beacon.counter <= max(least, latest or 0):
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
