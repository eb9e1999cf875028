"""When a server does not connect two nodes: it does not know one of them, or does not relay.

Without the relay a direct path may still be found: calls that waited for the relayed session then
wait for the path.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import Peer
from p2ptui.core.relay.values import Refusal
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.path_calls import go_on
from p2ptui.errors import (
    NotKnownThereError,
    P2PError,
    RemoteError,
    UnknownPeerError,
)
from p2ptui.wire.address import Address

_HOPELESS: Final = frozenset({Refusal.UNKNOWN.value, Refusal.INCAPABLE.value})
"""Refusals after which no direct path can be found either: the server brings no offer."""


class Refusals:
    """Ends attempts, or continues them without the relay.

    Args:
        state: The shared state.
        lifecycle: Ends relayed handshakes.
        handshake: Its waiting calls are taken over.
        offers: The attempts.
        close: Ends an attempt.
        rest: Puts an attempt to rest, with a reason.
    """

    def __init__(
        self,
        state: NodeState,
        lifecycle: Lifecycle,
        handshake: Handshake,
        offers: Offers,
        close: Callable[[Attempt], None],
        rest: Callable[[Attempt, str, float], None],
    ) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._handshake = handshake
        self._offers = offers
        self._close = close
        self._rest = rest

    def handle_unknown(self, server: Peer, node_id: str, now: float) -> None:
        """A server does not know a node, or no longer does."""
        attempt = self._offers.get(node_id)
        if attempt is None or attempt.server is not server or attempt.direct is not None:
            return
        self._offers.handle_answered(attempt)
        error = NotKnownThereError(f"the server does not know node {node_id}")
        if self._state.peers.authenticated(node_id) is not None:
            # The session with it goes on; perhaps it is about to join the server again, or another
            # one knows it.
            attempt.unknown_at.add(server)
            self._rest(attempt, str(error), now)
        else:
            self._give_up(attempt, error, now)

    def handle_incapable(self, server: Peer, node_id: str, now: float) -> None:
        """A server names a node that is no program of our kind: it can answer no offer."""
        attempt = self._offers.get(node_id)
        if attempt is None or attempt.server is not server or attempt.direct is not None:
            return
        words = (
            f"node {node_id} understands no relayed datagrams and finds no direct paths;"
            " use routed messages"
        )
        self._give_up(attempt, UnknownPeerError(words), now)

    def handle_refused(
        self, server: Peer, node_id: str, now: float, reason: str, code: str
    ) -> None:
        """A server does not relay to a node with which there is no session yet."""
        attempt = self._offers.get(node_id)
        if attempt is None or attempt.server is not server:
            return
        words = f"the server does not relay to node {node_id}: {reason}"
        if attempt.direct is not None:
            self._go_direct(attempt, attempt.direct.address, words, now)
            return
        if code in _HOPELESS:
            self._give_up(attempt, UnknownPeerError(words), now)
            return
        if not self._state.config.ice.enable:
            self._give_up(attempt, RemoteError(words), now)
            return
        attempt.waiting.refusal = words
        error = RemoteError(f"{words}; no direct path was found in time either")
        calls = self._state.session_calls
        # Calls that waited for the relayed session wait for the direct one from now on.
        for call in calls.waiting(self._relayed(attempt)):
            calls.move(call, attempt.node_id, max(attempt.waiting.deadline, now), lambda _: error)
        self._end_relayed(attempt, words, now)

    def _go_direct(self, attempt: Attempt, address: Address, reason: str, now: float) -> None:
        """A path was found before the relayed session began: the session begins there."""
        calls, node_id = self._state.session_calls, attempt.node_id
        for call in calls.waiting(self._relayed(attempt)):
            calls.move(call, node_id, call.deadline)
        self._end_relayed(attempt, reason, now)
        timeout_s = self._state.config.security.auth_timeout
        go_on(self._state, self._handshake, node_id, address, now, timeout_s, node_id)

    def _give_up(self, attempt: Attempt, error: P2PError, now: float) -> None:
        for key in (attempt.node_id, self._relayed(attempt)):
            self._state.session_calls.end_all(key, error)
        self._close(attempt)
        self._end_relayed(attempt, str(error), now)

    def _relayed(self, attempt: Attempt) -> Address:
        """The address by which calls wait for the relayed session."""
        return self._state.peers.own_address(attempt.relayed_address)

    def _end_relayed(self, attempt: Attempt, reason: str, now: float) -> None:
        peer = self._state.peers.at(attempt.relayed_address)
        if peer is not None and not peer.is_authenticated:
            self._lifecycle.remove(peer, PeerStatus.FAILED, now, reason)
