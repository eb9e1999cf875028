"""Reaching a node that a server knows: by relay at once, and directly once a path is found."""

from p2ptui.core.peers import Peer
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.head_start import HeadStart
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.path_calls import begin_call, go_on
from p2ptui.core.traversal.searches import Searches
from p2ptui.errors import LocalError
from p2ptui.nat.punching import Pair
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability


class Reaching:
    """Connects by the relay or by a direct path, or lets the call wait for a path.

    Args:
        state: The shared state.
        handshake: Connects.
        relay: Reaches nodes through servers.
        offers: The attempts.
        paths: Adopt paths that were found.
        head_start: Holds the relay back.
        searches: Begins searches.
    """

    def __init__(
        self,
        state: NodeState,
        handshake: Handshake,
        relay: RelayFrames,
        offers: Offers,
        paths: DirectPaths,
        head_start: HeadStart,
        searches: Searches,
    ) -> None:
        self._state = state
        self._handshake = handshake
        self._relay = relay
        self._offers = offers
        self._paths = paths
        self._head_start = head_start
        self._searches = searches

    def connect(self, server: Peer, node_id: str, now: float, timeout_s: float) -> int:
        """Reach a node that a server knows: by relay at once, and directly as soon as possible.

        Returns:
            The token of a ConnectResult, or of the error.

        Raises:
            LocalError: Too many paths are searched already, and the server does not relay.
        """
        known = self._state.peers.authenticated(node_id)
        if known is not None:
            return self._handshake.connect(known.address, now, timeout_s)
        relays = Capability.RELAY in server.capabilities
        if not relays:
            self._searches.require_enabled()
        try:
            attempt = self._offers.open(server, node_id, now, controlling=True)
        except LocalError:
            if not relays:
                raise
            self._state.counters.drop("searches_full")  # the relay needs none
            return self._handshake.connect(self._relay.open(server, node_id), now, timeout_s)
        if attempt.direct is not None:
            return self._handshake.connect(attempt.direct.address, now, timeout_s, node_id=node_id)
        attempt.waiting.deadline = max(attempt.waiting.deadline, now + timeout_s)
        is_enabled = self._state.config.ice.enable
        if is_enabled:
            self._searches.begin(attempt, now)
        if not relays:
            return begin_call(self._state, attempt, now, timeout_s)
        if is_enabled and self._head_start.is_due(server, node_id, now):
            return self._head_start.begin(attempt, now, timeout_s)
        return self._handshake.connect(self._relay.open(server, node_id), now, timeout_s)

    def has_path(self, address: Address, node_id: str) -> bool:
        """Whether an address is that of a node at the server of its search, or one where it has
        answered checks of this search."""
        attempt = self._offers.get(node_id)
        if attempt is None:
            return False
        return address == attempt.relayed_address or address in attempt.heard.answers_at

    def take(self, attempt: Attempt, pair: Pair, now: float) -> None:
        """A round has found a path: it is used, and waiting calls take it."""
        # What was asked for meanwhile is no longer needed, and must not end this path.
        attempt.gathered.wanted.clear()
        address = self._paths.adopt(attempt, pair, now)
        self._handshake.renew(address, attempt.node_id, now)
        timeout_s = self._state.config.security.auth_timeout
        node_id = attempt.node_id
        go_on(self._state, self._handshake, node_id, address, now, timeout_s, node_id)
