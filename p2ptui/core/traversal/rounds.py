"""Rounds of checks: what an offer leads to, how a round runs, and what follows it.

The controlling side, which asked, sends an offer through the server; the other answers with its
own, and both check each other's addresses. A round that finds nothing is followed by one that knows
more: the types of the NATs, the ports that they will use next, or one with many sockets at once.
Meanwhile, and if nothing helps, the server relays.
"""

from p2ptui.core.state import NodeState
from p2ptui.core.traversal import check_round
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.checklist import plan_round
from p2ptui.core.traversal.checks import few_checks
from p2ptui.core.traversal.common_ground import no_common_version
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.flow_feedback import FlowFeedback
from p2ptui.core.traversal.gathering import Gathering
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.reaching import Reaching
from p2ptui.core.traversal.searches import Searches
from p2ptui.core.traversal.standing_sockets import StandingSockets
from p2ptui.nat.feasibility import Technique
from p2ptui.wire.offer import TraversalOffer


class Rounds:
    """Runs rounds, at most one for each attempt.

    Args:
        state: The shared state.
        offers: The attempts.
        paths: Put checks on the wire.
        standing: The sockets that all searches share.
        flows: What is known about the limits to new flows.
        searches: Continues searches or puts them to rest.
        gathering: Prepares the next round.
        reaching: Adopts a path that was found.
    """

    def __init__(
        self,
        state: NodeState,
        offers: Offers,
        paths: DirectPaths,
        standing: StandingSockets,
        flows: FlowFeedback,
        searches: Searches,
        gathering: Gathering,
        reaching: Reaching,
    ) -> None:
        self._state = state
        self._offers = offers
        self._paths = paths
        self._standing = standing
        self._flows = flows
        self._searches = searches
        self._gathering = gathering
        self._reaching = reaching
        searches.on_unanswered = self._end
        gathering.on_ready = self.begin
        flows.on_progress = self.tick

    def take_offer(self, attempt: Attempt, offer: TraversalOffer, now: float) -> None:
        """The other side's offer of a new round has arrived."""
        if attempt.direct is not None:
            return  # it was sent before that side knew
        apart = no_common_version(
            attempt, self._offers.own_addresses, self._state.socket_of_version
        )
        if apart is not None:
            if not offer.answer:
                self._offers.answer(attempt, (), now)
            self._searches.rest(attempt, apart, now)
            return
        if not attempt.is_signed:
            self._take_unsigned(attempt, offer, now)
            return
        if offer.round and not attempt.controlling:
            # The leading side has ended the previous round.
            attempt.punching = None
            self._searches.close_sockets(attempt)
        skips_plain = offer.round == 0 and check_round.is_plain_hopeless(
            attempt, self._offers.facts
        )
        if attempt.controlling and not skips_plain:
            self.begin(attempt, now)
        elif attempt.controlling or offer.round:
            self._gathering.begin(attempt, now)
        elif skips_plain:
            self._offers.answer(attempt, (), now)
            self._searches.wait_for_answer(attempt, now)
        else:
            self.begin(attempt, now)
            self._offers.answer_soon(attempt, (), now)

    def _take_unsigned(self, attempt: Attempt, offer: TraversalOffer, now: float) -> None:
        """It may be forged: answer it through the server, and send what it has paid for."""
        if not attempt.controlling:
            attempt.punching = None
            self._searches.close_sockets(attempt)
        if offer.round == 0 and check_round.is_plain_hopeless(attempt, self._offers.facts):
            self._searches.wait_for_answer(attempt, now)
        else:
            self.begin(attempt, now)
        if not offer.answer and not attempt.controlling:
            self._offers.answer_soon(attempt, (), now)

    def go_on(self, attempt: Attempt, now: float) -> None:
        """There is a sign of the other side: its round may do what was planned."""
        remote = attempt.remote
        if remote is None or attempt.direct is not None or attempt.gathered.wanted:
            return
        if attempt.punching is not None:
            attempt.punching.release(now)
            self.tick(attempt, now)
        elif attempt.controlling and attempt.offer.round <= remote.round:
            self.take_offer(attempt, remote, now)

    def begin(self, attempt: Attempt, now: float) -> None:
        """Both offers are here: check."""
        remote, observed = attempt.remote, attempt.observed
        if remote is None or observed is None or attempt.direct is not None:
            return
        if check_round.is_stale(attempt, self._state.config, now):
            self._end(attempt, now)  # what was predicted is stale by now
            return
        way = Technique.PLAIN
        if remote.round and attempt.is_signed:
            way = check_round.way_now(attempt, self._offers.facts)
        way = self._standing.way(way, observed)
        attempt.account.rounds += 1
        attempt.punching = plan_round(
            attempt,
            remote,
            observed,
            way,
            self._state,
            now,
            flow_limit=self._flows.limit(attempt),
            pace=self._flows.pace,
            own=self._offers.own,
            own_addresses=self._offers.own_addresses,
        )
        if not attempt.is_signed:
            attempt.punching.hold(observed, few_checks(attempt))
        self.tick(attempt, now)

    def tick(self, attempt: Attempt, now: float) -> None:
        """Send what is due, adopt what was found, or end."""
        punching = attempt.punching
        if punching is None or attempt.direct is not None:
            return
        for check in punching.to_send(now):
            self._paths.send_check(attempt, check, now)
        self._flows.want_probes(attempt)
        if punching.selected is not None:
            self._reaching.take(attempt, punching.selected, now)
        elif punching.is_over(now):
            attempt.punching = None
            self._end(attempt, now)
        else:
            attempt.plan(self._state.timers, punching.next_timeout() or now, self.tick)

    def _end(self, attempt: Attempt, now: float) -> None:
        if attempt.direct is not None:
            return
        check_round.note_blind(attempt, self._offers.facts)
        self._searches.end_round(attempt, now)
        if attempt.remote is None:
            self._searches.rest_unanswered(attempt, now)
        elif attempt.controlling and self._offers.is_asked_still(attempt):
            self._searches.wait_for_answer(attempt, now)
        elif attempt.controlling:
            self._gathering.begin(attempt, now)
        else:
            self._searches.leave_lead(attempt, now)
            self._gathering.want_facts(attempt)
