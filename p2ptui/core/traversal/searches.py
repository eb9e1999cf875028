"""Direct paths between nodes that met on a server: rounds of checks, and what comes next.

The controlling side, which asked, sends an offer by way of the server; the other answers with
its own, and both check each other's addresses. A round that finds nothing is followed by one
that knows more: of what kind the NATs are, which ports they will use next, or with many
sockets at once. Meanwhile, and if nothing helps, the server relays.
"""

from collections.abc import Callable

from p2ptui.core.delivery import Delivery
from p2ptui.core.events import NatFactsWanted, SocketsDone, SocketsWanted
from p2ptui.core.peers import Peer
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.traversal import check_round
from p2ptui.core.traversal.attempt import LONGEST_REST_S, Attempt, NatFacts
from p2ptui.core.traversal.check_exchange import CheckExchange
from p2ptui.core.traversal.checks import affordable_checks
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.flow_feedback import FlowFeedback
from p2ptui.core.traversal.head_start import HeadStart
from p2ptui.core.traversal.offer_intake import OfferIntake
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.path_calls import begin_call, go_on
from p2ptui.core.traversal.reasons import UNANSWERED, Reasons
from p2ptui.core.traversal.refusals import Refusals
from p2ptui.core.traversal.server_choice import NO_SERVER_REST_S, choose_server
from p2ptui.core.traversal.session_follower import SWITCHED_OFF, SessionFollower
from p2ptui.core.traversal.standing_sockets import StandingSockets
from p2ptui.errors import LocalError, RemoteError
from p2ptui.nat.allocation import AllocationKind
from p2ptui.nat.feasibility import Technique
from p2ptui.nat.punching import Pair
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability
from p2ptui.wire.offer import TraversalOffer


class Traversal:
    """Searches direct paths, one attempt for each node.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Tells who comes and goes.
        handshake: Connects where nothing relays.
        relay: Reaches nodes by way of servers.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        handshake: Handshake,
        relay: RelayFrames,
    ) -> None:
        self._state = state
        self._handshake = handshake
        self._relay = relay
        self.offers = Offers(state, delivery)
        self._paths = DirectPaths(state, delivery)
        self._paths.on_lost = self._handle_lost
        self._reasons = Reasons(state, self.offers, self._paths)
        check = self._reasons.check
        self.standing = StandingSockets(state, self.offers, self._paths)
        """The sockets that all searches share."""
        self.flows = FlowFeedback(state, self.offers, self._tick)
        """What is known of the limits to new flows."""
        self.checks = CheckExchange(state, self.offers, self._paths, self._tick, self._begin)
        """Where checks and their answers arrive."""
        self.refusals = Refusals(state, lifecycle, handshake, self.offers, self._close, self._rest)
        """What a server does not do for two nodes."""
        self.head_start = HeadStart(state, handshake, self.offers, relay)
        """Holds the relay back for those that seem to be on one LAN."""
        self.intake = OfferIntake(
            state, self.offers, self._stop, self._take_offer, self.flows.take_news, check
        )
        """Offers that servers bring."""
        self.session_follower = SessionFollower(
            state,
            delivery,
            lifecycle,
            handshake,
            relay,
            self.offers,
            self._paths,
            self._search_again,
            self._close,
            check,
        )
        """What follows when nodes and servers come and go."""

    def __len__(self) -> int:
        return len(self.offers)

    # What the node asks for, and brings.

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
            self._require_enabled()
        try:
            attempt = self.offers.open(server, node_id, now, controlling=True)
        except LocalError:
            if not relays:
                raise
            self._state.counters.drop("searches_full")  # the relay needs none
            return self._handshake.connect(self._relay.open(server, node_id), now, timeout_s)
        if attempt.direct is not None:
            return self._handshake.connect(attempt.direct.address, now, timeout_s, node_id=node_id)
        attempt.deadline = max(attempt.deadline, now + timeout_s)
        if self._is_enabled:
            self._search(attempt, now)
        if not relays:
            return begin_call(self._state, attempt, now, timeout_s)
        if self._is_enabled and self.head_start.is_due(server, node_id, now):
            return self.head_start.begin(attempt, now, timeout_s)
        return self._handshake.connect(self._relay.open(server, node_id), now, timeout_s)

    @property
    def _is_enabled(self) -> bool:
        return self._state.config.ice.enable

    def _require_enabled(self) -> None:
        if not self._is_enabled:
            raise LocalError(SWITCHED_OFF)

    def has_path(self, address: Address, node_id: str) -> bool:
        """Whether an address is that of a node at the server of its search, or one where it has
        answered checks of this search."""
        attempt = self.offers.get(node_id)
        if attempt is None:
            return False
        return address == attempt.relayed_address or address in attempt.answers_at

    def search(self, node_id: str, now: float) -> None:
        """Search a direct path now, instead of at the end of the pause.

        Raises:
            LocalError: There is no server in common with this node.
        """
        self._require_enabled()
        attempt = self.offers.get(node_id)
        if attempt is None or not choose_server(self._state, attempt, now):
            raise LocalError(f"no server introduces node {node_id}: connect to it by its id first")
        if attempt.direct is None:
            attempt.failures = 0
            self._search(attempt, now)

    def regain(self, peer: Peer, server: Peer, now: float) -> None:
        """A node's own address fell silent, and a server relays to it: search a direct path.

        Args:
            peer: The node.
            server: Which relays.
            now: The time, seconds.
        """
        if not self._is_enabled:
            return
        try:
            attempt = self.offers.open(server, peer.node_id, now, controlling=True)
        except LocalError:
            self._state.counters.drop("searches_full")
            return
        attempt.began_direct = True
        if attempt.direct is None:  # else it is watched, and searched again once it is given up
            attempt.failures = 0
            self._search(attempt, now)

    def facts_ready(self, facts: NatFacts, now: float) -> None:
        """The diagnosis of this node's NAT is done."""
        self.offers.facts = facts
        for attempt in self.offers.all():
            if "facts" in attempt.wanted:
                attempt.wanted.discard("facts")
                # What could not be found out now is not asked for again at once.
                (self._prepare if facts.is_known else self._go_without)(attempt, now)

    def sockets_ready(
        self, node_id: str, sockets: tuple[int, ...], predicted: tuple[Address, ...], now: float
    ) -> None:
        """Further sockets are open; with the outside addresses that they will probably have."""
        attempt = self.offers.get(node_id)
        if attempt is None or "sockets" not in attempt.wanted:
            self._state.emit(SocketsDone(sockets))
            return
        attempt.wanted.discard("sockets")
        self._close_sockets(attempt)
        attempt.sockets = sockets
        attempt.prepared_at = now
        self._send_prepared(attempt, predicted, now)

    def _take_offer(self, attempt: Attempt, offer: TraversalOffer, now: float) -> None:
        """The other side's offer of a new round is here."""
        if attempt.direct is not None:
            return  # it was sent before that side knew
        apart = check_round.no_common_version(
            attempt, self.offers.own_addresses, self._state.socket_of_version
        )
        if apart is not None:
            if not offer.answer:
                self.offers.answer(attempt, (), now)
            self._rest(attempt, apart, now)
            return
        if offer.round and not attempt.controlling:
            # The side that leads has ended the round before.
            attempt.punching = None
            self._close_sockets(attempt)
        skips_plain = offer.round == 0 and check_round.is_plain_hopeless(attempt, self.offers.facts)
        if attempt.controlling and not skips_plain:
            self._begin(attempt, now)
        elif attempt.controlling or offer.round:
            self._prepare(attempt, now)
        elif skips_plain:
            self.offers.answer(attempt, (), now)
            self._wait(attempt, now, self._end_round)
        else:
            self._begin(attempt, now)
            self.offers.answer_soon(attempt, (), now)

    # Rounds.

    def _begin(self, attempt: Attempt, now: float) -> None:
        """Both offers are here: check."""
        remote, observed = attempt.remote, attempt.observed
        if remote is None or observed is None or attempt.direct is not None:
            return
        if check_round.is_stale(attempt, self._state.config, now):
            self._end_round(attempt, now)  # what was predicted is stale by now
            return
        way = check_round.way_now(attempt, self.offers.facts) if remote.round else Technique.PLAIN
        way = self.standing.way(way, observed)
        attempt.rounds += 1
        attempt.punching = check_round.plan_round(
            attempt,
            remote,
            observed,
            way,
            self._state,
            now,
            flow_limit=self.flows.limit(attempt),
            pace=self.flows.pace,
            own=self.offers.own,
            own_addresses=self.offers.own_addresses,
        )
        for source, socket, nominated, spare_bytes in attempt.early.take():
            allowed = affordable_checks(attempt.offer, remote, spare_bytes)
            attempt.punching.receive_request(
                source, socket, now, nominated=nominated, allowed=allowed
            )
        self._tick(attempt, now)

    def _tick(self, attempt: Attempt, now: float) -> None:
        punching = attempt.punching
        if punching is None or attempt.direct is not None:
            return
        for check in punching.to_send(now):
            self._paths.send_check(attempt, check)
        self.flows.want_probes(attempt)
        if punching.selected is not None:
            self._take(attempt, punching.selected, now)
        elif punching.is_over(now):
            attempt.punching = None
            self._end_round(attempt, now)
        else:
            self._plan(attempt, punching.next_timeout() or now, self._tick)

    def _plan(
        self, attempt: Attempt, when: float, action: Callable[[Attempt, float], None]
    ) -> None:
        attempt.plan(self._state.timers, when, action)

    def _take(self, attempt: Attempt, pair: Pair, now: float) -> None:
        # What was asked for meanwhile is needed no more, and must not end this path.
        attempt.wanted.clear()
        address = self._paths.adopt(attempt, pair, now)
        self._handshake.renew(address, attempt.node_id, now)
        timeout_s = self._state.config.security.auth_timeout
        node_id = attempt.node_id
        go_on(self._state, self._handshake, node_id, address, now, timeout_s, node_id)

    def _end_round(self, attempt: Attempt, now: float) -> None:
        if attempt.direct is not None:
            return
        self._close_sockets(attempt)
        check_round.note_blind(attempt, self.offers.facts)
        self.head_start.check(attempt, now)
        if attempt.remote is None:
            # It may be about to come back: calls wait for as long as they were given.
            self._rest(attempt, UNANSWERED, now, ends_calls=False)
        elif attempt.controlling:
            self._prepare(attempt, now)
        else:
            # The other side leads; unless it was lost too, it offers the next round.
            self._reasons.tell(attempt, self._reasons.why_relayed(attempt))
            if self._wants_facts(attempt):
                self._state.emit(NatFactsWanted())  # it will ask for them
            self._plan(attempt, now + LONGEST_REST_S, self._search_again)

    def _wants_facts(self, attempt: Attempt) -> bool:
        offers = self.offers
        return not offers.facts.is_known and check_round.depends_on_nats(attempt, offers.own)

    def _prepare(self, attempt: Attempt, now: float) -> None:
        """Get what the next round needs of this side, and then offer it, or answer."""
        if attempt.direct is not None:
            return
        facts = self.offers.facts
        if self._wants_facts(attempt) and attempt.offer.round == 0 and not attempt.wanted:
            attempt.wanted.add("facts")
            self._state.emit(NatFactsWanted())
            self._wait(attempt, now, self._go_without)
            return
        way = self.standing.way(check_round.way_now(attempt, facts), attempt.observed)
        limited = self.flows.limit(attempt) is not None
        if attempt.controlling and check_round.is_exhausted(
            attempt,
            way,
            facts,
            self._state.config,
            limited=limited,
            has_more=self.offers.has_more(attempt),
        ):
            self._rest(attempt, self._reasons.why_relayed(attempt), now)
            return
        preserves = facts.allocation.kind is AllocationKind.PRESERVED
        count, predict = check_round.sockets_needed(
            way, facts.side, self._state.config, preserves=preserves
        )
        if count:
            attempt.wanted.add("sockets")
            self._state.emit(SocketsWanted(attempt.node_id, count, predict))
            self._wait(attempt, now, self._go_without)
            return
        self._send_prepared(attempt, (), now)

    def _go_without(self, attempt: Attempt, now: float) -> None:
        attempt.wanted.clear()
        if attempt.direct is None:
            self._send_prepared(attempt, (), now)

    def _send_prepared(self, attempt: Attempt, predicted: tuple[Address, ...], now: float) -> None:
        if attempt.controlling:
            self.offers.next_round(attempt, predicted, now)
            self._wait(attempt, now, self._end_round)
        else:
            self._begin(attempt, now)
            self.offers.answer_soon(attempt, predicted, now)

    def _wait(self, attempt: Attempt, now: float, then: Callable[[Attempt, float], None]) -> None:
        """Nothing may come of what was asked for: it goes on all the same."""
        patience_s = self._state.config.ice.gathering_timeout / 1000
        self._plan(attempt, now + patience_s, then)

    def _rest(self, attempt: Attempt, reason: str, now: float, *, ends_calls: bool = True) -> None:
        """No direct path for now: the relay serves, and the search begins again later."""
        self._stop(attempt)
        if not self.head_start.end(attempt, now) and ends_calls:
            words = f"no direct path to node {attempt.node_id}: {reason}; {attempt.refusal}"
            self._state.session_calls.end_all(attempt.node_id, RemoteError(words))
        self._reasons.tell(attempt, reason)
        self._plan(attempt, now + attempt.take_rest_s(), self._search_again)

    def _search(self, attempt: Attempt, now: float) -> None:
        self._stop(attempt)
        self.offers.begin(attempt, now)
        self._wait(attempt, now, self._end_round)

    def _search_again(self, attempt: Attempt, now: float) -> None:
        if attempt.direct is not None or self.offers.get(attempt.node_id) is not attempt:
            return
        waits = self._state.session_calls.waiting(attempt.node_id)
        if self._state.peers.with_id(attempt.node_id) is None and not waits:
            self._close(attempt)  # nobody talks to it
        elif choose_server(self._state, attempt, now):
            self._search(attempt, now)
        else:
            self._plan(attempt, now + NO_SERVER_REST_S, self._search_again)

    def _handle_lost(self, attempt: Attempt, now: float) -> None:
        attempt.punching = None
        self._plan(attempt, now + attempt.take_lost_rest_s(now), self._search_again)

    def _stop(self, attempt: Attempt) -> None:
        """End what is under way."""
        attempt.stop_timer()
        attempt.wanted.clear()
        attempt.punching = None
        self._paths.leave(attempt)
        self._close_sockets(attempt)

    def _close(self, attempt: Attempt) -> None:
        self._stop(attempt)
        self._paths.forget(attempt)
        self._reasons.forget(attempt)
        self.offers.close(attempt)

    def _close_sockets(self, attempt: Attempt) -> None:
        if attempt.sockets and attempt.direct is None:
            self._state.emit(SocketsDone(attempt.sockets))
            attempt.sockets = ()

    # What happens to the machine.

    def move(self, is_affected: Callable[[Address], bool], now: float) -> None:
        """This machine reaches some destinations by another way: what was known is of no use.

        Args:
            is_affected: Tells it of a destination.
            now: The time, seconds.
        """
        self.offers.facts = NatFacts()
        self.flows.forget()
        for attempt in self.offers.all():
            direct = attempt.direct
            if not self._is_enabled or (direct and not is_affected(direct.pair.remote)):
                continue
            self._stop(attempt)
            self._reasons.withdraw(attempt)
            attempt.failures = 0
            attempt.begins_again = not attempt.server.is_authenticated
            self._plan(attempt, now, self._search_again)

    def remotes(self) -> list[Address]:
        """The other ends of the paths in use."""
        return [each.direct.pair.remote for each in self.offers.all() if each.direct is not None]

    def wake(self, now: float) -> None:
        """The machine stood still: the paths in use are asked at once."""
        for attempt in self.offers.all():
            self._paths.hurry(attempt, now)
