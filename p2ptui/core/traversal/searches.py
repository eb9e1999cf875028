"""Searches for direct paths: begun, ended, and begun again after a rest.

A search is a series of rounds. One that finds nothing leaves the node to the relay for a while; so
does a path that has died, until another one is found.
"""

from collections.abc import Callable, Container
from typing import Final

from p2ptui.core.connection import Method
from p2ptui.core.events import SocketsDone
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt, NatFacts
from p2ptui.core.traversal.backoff import FIRST_REST_S, LONGEST_REST_S
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.flow_feedback import FlowFeedback
from p2ptui.core.traversal.head_start import HeadStart
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.reasons import UNANSWERED, Reasons
from p2ptui.core.traversal.server_choice import NO_SERVER_REST_S, choose_server
from p2ptui.core.traversal.session_follower import SWITCHED_OFF
from p2ptui.errors import LocalError, RemoteError
from p2ptui.wire.address import Address

TOLD_S: Final = 2.0
"""A server that was told about this node's move soon says where it now sees it; a search that does
not wait for that offers old addresses."""


class Searches:
    """Begins and ends searches, one attempt for each node.

    Args:
        state: The shared state.
        offers: The attempts.
        paths: The paths in use.
        reasons: Why there are none.
        head_start: Holds the relay back meanwhile.
        flows: What is known about the limits to new flows.
    """

    def __init__(
        self,
        state: NodeState,
        offers: Offers,
        paths: DirectPaths,
        reasons: Reasons,
        head_start: HeadStart,
        flows: FlowFeedback,
    ) -> None:
        self._state = state
        self._offers = offers
        self._paths = paths
        self._reasons = reasons
        self._head_start = head_start
        self._flows = flows
        self.on_unanswered: Callable[[Attempt, float], None] = lambda *_: None
        """Called when nothing came of an offer in time."""
        paths.on_lost = self._handle_lost

    @property
    def _is_enabled(self) -> bool:
        return self._state.config.ice.enable

    def require_enabled(self) -> None:
        """Refuse to search where that is switched off.

        Raises:
            LocalError: It is switched off.
        """
        if not self._is_enabled:
            raise LocalError(SWITCHED_OFF)

    # How one begins.

    def search(self, node_id: str, now: float) -> None:
        """Search for a direct path now, instead of at the end of the pause.

        Raises:
            LocalError: There is no server in common with this node.
        """
        self.require_enabled()
        attempt = self._offers.get(node_id)
        if attempt is None or not choose_server(self._state, attempt, now):
            raise LocalError(f"no server introduces node {node_id}: connect to it by its id first")
        if attempt.direct is None:
            attempt.backoff.forget_failures()
            self.begin(attempt, now)

    def regain(self, peer: Peer, server: Peer, now: float) -> None:
        """A node's own address fell silent, and a server relays to it: search for a direct path.

        Args:
            peer: The node.
            server: The server that relays.
            now: The time, seconds.
        """
        if not self._is_enabled:
            return
        try:
            attempt = self._offers.open(server, peer.node_id, now, controlling=True)
        except LocalError:
            self._state.counters.drop("searches_full")
            return
        attempt.backoff.began_direct = True
        if attempt.direct is None:  # else it is watched, and searched for again once it is given up
            attempt.backoff.forget_failures()
            self.begin(attempt, now)

    def begin(self, attempt: Attempt, now: float) -> None:
        """Send an offer, and end what was in progress."""
        self.stop(attempt)
        self._offers.begin(attempt, now)
        self.wait_for_answer(attempt, now)

    def begin_again(self, attempt: Attempt, now: float) -> None:
        """A rest is over."""
        if attempt.direct is not None or self._offers.get(attempt.node_id) is not attempt:
            return
        if not self._is_talked_to(attempt):
            self.close(attempt)  # there is no session with it
        elif choose_server(self._state, attempt, now):
            self.begin(attempt, now)
        else:
            attempt.plan(self._state.timers, now + NO_SERVER_REST_S, self.begin_again)

    def wait(self, attempt: Attempt, now: float, then: Callable[[Attempt, float], None]) -> None:
        """Limit the wait for what was requested: afterwards the search goes on without it."""
        patience_s = self._state.config.ice.gathering_timeout / 1000
        attempt.plan(self._state.timers, now + patience_s, then)

    def wait_for_answer(self, attempt: Attempt, now: float) -> None:
        """Limit the wait for an answer to the offer: afterwards the round is over."""
        self.wait(attempt, now, self.on_unanswered)

    # How one ends.

    def end_round(self, attempt: Attempt, now: float) -> None:
        """A round found nothing: what was opened for it closes, and the relay may begin."""
        self.close_sockets(attempt)
        self._head_start.check(attempt, now)

    def rest(self, attempt: Attempt, reason: str, now: float, *, ends_calls: bool = True) -> None:
        """No direct path for now: the relay serves, and the search begins again later.

        Args:
            attempt: The attempt.
            reason: Why, in one line.
            now: The time, seconds.
            ends_calls: Whether calls that nothing relays end too.
        """
        self.stop(attempt)
        if not self._head_start.end(attempt, now) and ends_calls:
            words = f"no direct path to node {attempt.node_id}: {reason}; {attempt.why_not_relayed}"
            self._state.session_calls.end_all(attempt.node_id, RemoteError(words))
        self._reasons.tell(attempt, reason)
        pause_s = attempt.backoff.take_rest_s(is_heard=attempt.remote is not None)
        attempt.plan(self._state.timers, now + pause_s, self.begin_again)

    def rest_unanswered(self, attempt: Attempt, now: float) -> None:
        """The other side is silent."""
        # It may be about to return: calls wait until their timeout.
        self.rest(attempt, UNANSWERED, now, ends_calls=False)

    def leave_lead(self, attempt: Attempt, now: float) -> None:
        """The other side leads, and offers the next round unless it is gone too."""
        self._reasons.tell(attempt, self._reasons.why_relayed(attempt))
        # A forged offer may have begun it, and there is no session with the node: it soon makes
        # room.
        is_known = attempt.is_signed or self._is_talked_to(attempt)
        rest_s = LONGEST_REST_S if is_known else 4 * FIRST_REST_S
        attempt.plan(self._state.timers, now + rest_s, self.begin_again)

    def _is_talked_to(self, attempt: Attempt) -> bool:
        node_id = attempt.node_id
        is_peer = self._state.peers.with_id(node_id) is not None
        return is_peer or bool(self._state.session_calls.waiting(node_id))

    def stop(self, attempt: Attempt) -> None:
        """End what is in progress."""
        attempt.stop_timer()
        attempt.gathered.wanted.clear()
        attempt.punching = None
        self._paths.leave(attempt)
        self.close_sockets(attempt)

    def close(self, attempt: Attempt) -> None:
        """End a search for good."""
        self.stop(attempt)
        self._paths.forget(attempt)
        self._reasons.forget(attempt)
        self._offers.close(attempt)

    def close_sockets(self, attempt: Attempt) -> None:
        """Close what was opened for an attempt, unless a path goes through it."""
        if attempt.sockets and attempt.direct is None:
            self._state.emit(SocketsDone(attempt.sockets))
            attempt.sockets = ()

    def _handle_lost(self, attempt: Attempt, now: float) -> None:
        attempt.punching = None
        pause_s = attempt.backoff.take_lost_rest_s(now, controlling=attempt.controlling)
        attempt.plan(self._state.timers, now + pause_s, self.begin_again)

    # What happens to the machine.

    def move(
        self, is_affected: Callable[[Address], bool], now: float, told: Container[Peer] = ()
    ) -> None:
        """This machine reaches some destinations by another route: what was known is useless.

        Args:
            is_affected: Whether a destination is among them.
            now: The time, seconds.
            told: Peers whose sessions continue, and which have yet to say where they now see this
                node.
        """
        self._offers.facts = NatFacts()
        self._flows.forget()
        for attempt in self._offers.all():
            direct = attempt.direct
            if not self._is_enabled or (direct and not is_affected(direct.pair.remote)):
                continue
            self.stop(attempt)
            self._reasons.withdraw(attempt)
            is_told = attempt.server in told
            attempt.backoff.note_moved(waits=is_told or not attempt.server.is_authenticated)
            later_s = TOLD_S if is_told else 0.0
            attempt.plan(self._state.timers, now + later_s, self.begin_again)

    def remotes(self) -> list[Address]:
        """The other ends of the paths in use."""
        return [each.direct.pair.remote for each in self._offers.all() if each.direct is not None]

    def methods(self) -> list[Method]:
        """How each peer is reached whose path was found by a search and is in use."""
        found = map(self._paths.method_of_peer, self._offers.all())
        return [method for method in found if method is not None]

    def wake(self, now: float) -> None:
        """The machine was suspended: the paths in use are checked at once."""
        for attempt in self._offers.all():
            self._paths.hurry(attempt, now)
