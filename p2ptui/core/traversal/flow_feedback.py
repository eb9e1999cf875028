"""What probes of new flows tell the running rounds: a NAT that limits them changes the plan.

A round of many guesses is then short and repeated with fresh sockets, and the guesses are sent at
the rate at which they pass.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.core.events import FlowProbeWanted
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.round_plans import LIMITED_ROUND_S
from p2ptui.nat.feasibility import Side
from p2ptui.nat.flow_pace import FlowPace

PROBE_ROUND_TRIPS: Final = 3
SHORTEST_PATIENCE_S: Final = 0.1
"""How long the result of a new flow is awaited, at least."""


class FlowFeedback:
    """Requests probes among the guesses, and acts on their results.

    Args:
        state: The shared state.
        offers: Tell the other side.
    """

    def __init__(self, state: NodeState, offers: Offers) -> None:
        self._state = state
        self._offers = offers
        self.on_progress: Callable[[Attempt, float], None] = lambda *_: None
        """Called when an attempt may send or decide something."""
        self.pace = self._new_pace()
        """The pace of new flows of all attempts: they share the NAT."""

    def _new_pace(self) -> FlowPace:
        ice = self._state.config.ice
        return FlowPace(ice.pace_ms / 1000, self._state.rng, probes=ice.adapt_pace)

    def forget(self) -> None:
        """The network has changed."""
        self.pace = self._new_pace()
        self._offers.flow_limit = None

    def limit(self, attempt: Attempt) -> float | None:
        """New flows a second that the guessing side's NAT lets pass; None: no limit is known."""
        if self._offers.facts.side is not Side.UNPREDICTABLE:
            return self.pace.limit_per_s
        # This side has the sockets.
        return attempt.remote.flows or None if attempt.remote is not None else None

    def want_probes(self, attempt: Attempt) -> None:
        """Request the probes that are due among an attempt's guesses."""
        punching = attempt.punching
        if punching is None or punching.guesses is None:
            return
        patience_s = max(PROBE_ROUND_TRIPS * attempt.server_rtt_s, SHORTEST_PATIENCE_S)
        for _ in range(punching.guesses.take_probes()):
            self._state.emit(FlowProbeWanted(attempt.node_id, patience_s))

    def take_probe(self, node_id: str, *, fresh: bool, old: bool, now: float) -> None:
        """The result of a probe.

        Args:
            node_id: The id of the node that the attempt is to reach.
            fresh: Whether the new flow was answered.
            old: Whether the old one was.
            now: The time, seconds.
        """
        if not self.pace.observe(fresh=fresh, old=old):
            return
        is_news, self._offers.flow_limit = self._offers.flow_limit is None, self.pace.limit_per_s
        attempt = self._offers.get(node_id)
        if attempt is None or attempt.punching is None:
            return
        if is_news and not attempt.controlling:
            self._offers.tell_flows(attempt, now)
        self.take_news(attempt, now)

    def take_news(self, attempt: Attempt, now: float) -> None:
        """A limit may have become known during a round: the round then ends as if it had been known
        before."""
        if attempt.punching is None:
            return
        if attempt.controlling and self.limit(attempt) is not None:
            end = attempt.punching.began + LIMITED_ROUND_S
            attempt.punching.shorten(max(now, end))
        self.on_progress(attempt, now)
