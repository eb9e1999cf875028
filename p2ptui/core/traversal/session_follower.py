"""Searches and paths follow changes of the other node and of the server that both use."""

from collections.abc import Callable
from typing import Final

from p2ptui.core.addresses import relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.path_calls import go_on
from p2ptui.wire.message import Capability

SWITCHED_OFF: Final = "direct paths are switched off here (ice.enable)"
"""Why a node is relayed, or its search refused."""


class SessionFollower:
    """Tells searches and paths about sessions that begin and end.

    Args:
        state: The shared state.
        delivery: Reports to which peers messages begin to flow.
        lifecycle: Reports peers that come and go.
        handshake: Answers the calls that waited.
        relay: Reaches nodes through servers.
        offers: The attempts.
        paths: The paths in use.
        search_again: Begins a new search.
        close: Ends an attempt for good.
        check_reason: Called when this node may be seen at another address than before.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        handshake: Handshake,
        relay: RelayFrames,
        offers: Offers,
        paths: DirectPaths,
        search_again: Callable[[Attempt, float], None],
        close: Callable[[Attempt], None],
        check_reason: Callable[[Attempt], None],
    ) -> None:
        self._state = state
        self._handshake = handshake
        self._relay = relay
        self._offers = offers
        self._paths = paths
        self._search_again = search_again
        self._close = close
        self._check_reason = check_reason
        lifecycle.on_joined.append(self._attach)
        lifecycle.on_left.append(self._detach)
        lifecycle.on_removed.append(self._forget)
        delivery.on_busy = self._hurry

    @property
    def _is_enabled(self) -> bool:
        return self._state.config.ice.enable

    def note_back(self, peer: Peer, now: float) -> None:
        """A secured session goes on from where this node is now: if it is a server's, searches that
        waited for it begin."""
        if peer.is_joined_server:
            self._reopen(peer, now)

    def _attach(self, peer: Peer, now: float) -> None:
        if peer.initiated:
            self.note_back(peer, now)
        attempt = self._offers.get(peer.node_id)
        if attempt is not None:
            # The session may have come from the other side: then no handshake answers the calls.
            go_on(self._state, self._handshake, peer.node_id, peer.address, now, 1.0)
            if attempt.direct is not None:
                self._paths.attach(attempt, now)
            else:
                self._paths.explain(attempt, None if self._is_enabled else SWITCHED_OFF)

    def _detach(self, peer: Peer, _now: float) -> None:
        self._offers.slowness.forget(peer.address)
        # A new session begins where the last one did, so that both sides can fall back.
        self._state.peers.leave_path(peer)

    def follow(self, peer: Peer, server: Peer, _now: float) -> None:
        """A node is relayed by another server from now on, which then brings the offers, too."""
        attempt = self._offers.get(peer.node_id)
        if attempt is not None:
            attempt.use(server)

    def _reopen(self, server: Peer, now: float) -> None:
        """A server is back, or new: it relays again what it relayed before."""
        for attempt in self._offers.all():
            if attempt.server.address == server.address:
                attempt.use(server)
                self._check_reason(attempt)
                if Capability.RELAY in server.capabilities:
                    self._relay.open(server, attempt.node_id)
                if self._is_enabled and attempt.backoff.take_begins_again():
                    attempt.plan(self._state.timers, now, self._search_again)

    def _forget(self, peer: Peer, _reason: str) -> None:
        attempt = self._offers.get(peer.node_id or relayed_node(peer.address) or "")
        if attempt is None or self._state.peers.with_id(attempt.node_id) is not None:
            return
        if not self._state.session_calls.waiting(attempt.node_id):  # else for a direct path
            self._close(attempt)

    def _hurry(self, peer: Peer, now: float) -> None:
        attempt = self._offers.get(peer.node_id)
        if attempt is not None:
            self._paths.hurry(attempt, now)
