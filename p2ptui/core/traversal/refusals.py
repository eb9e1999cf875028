"""What follows when a server does not bring two nodes together: it knows one not, or relays not.

Without the relay a direct path may be found all the same: calls that waited for the relayed
session then wait for that.
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
from p2ptui.errors import (
    LocalError,
    NotKnownThereError,
    P2PError,
    PeerTimeoutError,
    RemoteError,
    UnknownPeerError,
)
from p2ptui.text import seconds_words
from p2ptui.wire.address import Address

_HOPELESS: Final = frozenset({Refusal.UNKNOWN.value, Refusal.INCAPABLE.value})
"""Refusals after which no direct path can be found either: the server brings no offer."""


def begin_call(state: NodeState, attempt: Attempt, now: float, timeout_s: float) -> int:
    """Let a call wait for a direct path, where nothing relays; its token.

    Args:
        state: The shared ground.
        attempt: The search.
        now: The time, seconds.
        timeout_s: How long it waits, seconds.
    """
    token = state.new_token()
    attempt.tokens.append(token)

    def give_up(_: float) -> None:
        why = f": {attempt.account.reason}" if attempt.account.reason else ""
        within = seconds_words(timeout_s)
        words = f"no direct path to node {attempt.node_id} was found within {within}{why}"
        error = PeerTimeoutError(f"{words}; {attempt.waiting.refusal}")
        end_call(state, attempt, token, error)

    state.timers.schedule(now + timeout_s, give_up)
    return token


def end_call(state: NodeState, attempt: Attempt, token: int, error: P2PError) -> None:
    """End a call that waits for a node, unless it has ended."""
    if token in attempt.tokens:
        attempt.tokens.remove(token)
        state.finish(token, error)


def end_calls(state: NodeState, attempt: Attempt, error: P2PError) -> None:
    """End all calls that wait for a node."""
    for token in list(attempt.tokens):
        end_call(state, attempt, token, error)


class Refusals:
    """Ends attempts, or lets them go on without the relay.

    Args:
        state: The shared ground.
        lifecycle: Ends relayed handshakes.
        handshake: Whose calls are taken over.
        offers: The attempts.
        close: Ends an attempt.
        rest: Lets an attempt wait, with a reason.
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
        """A server does not know a node, or not any more."""
        attempt = self._offers.get(node_id)
        if attempt is None or attempt.server is not server or attempt.direct is not None:
            return
        self._offers.handle_answered(attempt)
        error = NotKnownThereError(f"the server does not know node {node_id}")
        if self._state.peers.authenticated(node_id) is not None:
            # It is talked to all the same; perhaps it is about to join the server again, or
            # another one knows it.
            attempt.unknown_at.add(server)
            self._rest(attempt, str(error), now)
        else:
            self._give_up(attempt, error, now)

    def handle_incapable(self, server: Peer, node_id: str, now: float) -> None:
        """A server names a node that is no program of this kind: it can answer no offer."""
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
        self._state.timers.schedule(
            max(attempt.waiting.deadline, now), lambda _: end_calls(self._state, attempt, error)
        )
        self._take_calls(attempt)
        self._end_relayed(attempt, words, now)

    def _go_direct(self, attempt: Attempt, address: Address, reason: str, now: float) -> None:
        """A path was found while the relayed session was still to come: it begins there."""
        tokens = self._handshake.release(attempt.relayed_address)
        self._end_relayed(attempt, reason, now)
        timeout_s = self._state.config.security.auth_timeout
        for token in tokens:
            try:
                self._handshake.connect(address, now, timeout_s, token, attempt.node_id)
            except LocalError as error:
                self._state.finish(token, error)

    def _give_up(self, attempt: Attempt, error: P2PError, now: float) -> None:
        self._take_calls(attempt)
        end_calls(self._state, attempt, error)
        self._close(attempt)
        self._end_relayed(attempt, str(error), now)

    def _take_calls(self, attempt: Attempt) -> None:
        """What waited for the relayed session waits for the direct one from now on."""
        attempt.tokens += self._handshake.release(attempt.relayed_address)

    def _end_relayed(self, attempt: Attempt, reason: str, now: float) -> None:
        peer = self._state.peers.at(attempt.relayed_address)
        if peer is not None and not peer.is_authenticated:
            self._lifecycle.remove(peer, PeerStatus.FAILED, now, reason)
