"""Direct paths between nodes that met on a server: rounds of checks, and what comes next.

The controlling side, which asked, sends an offer by way of the server; the other answers with
its own, and both check each other's addresses. A round that finds nothing is followed by one
that knows more: of what kind the NATs are, which ports they will use next, or with many
sockets at once. Meanwhile, and if nothing helps, the server relays.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.config import prediction_options
from p2ptui.core.addresses import relay_address, relayed_node
from p2ptui.core.attempt import MAX_ROUNDS, Attempt, NatFacts
from p2ptui.core.check_exchange import CheckExchange
from p2ptui.core.check_round import plan_round
from p2ptui.core.delivery import Delivery
from p2ptui.core.direct_paths import DirectPaths
from p2ptui.core.events import NatFactsWanted, PeerStatus, SocketsDone, SocketsWanted
from p2ptui.core.handshake import Handshake
from p2ptui.core.lifecycle import Lifecycle
from p2ptui.core.offers import MAX_ATTEMPTS, Offers
from p2ptui.core.peers import Peer
from p2ptui.core.relay_frames import RelayFrames
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, P2PError, PeerTimeoutError, RemoteError, UnknownPeerError
from p2ptui.nat.behavior import NatType
from p2ptui.nat.feasibility import Side, Way, relay_reason
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability, TraversalOffer

FIRST_REST_S: Final = 2.5
LONGEST_REST_S: Final = 60.0
RETURN_REST_S: Final = 5.0
"""Pauses between two searches while the relay is used: doubled up to a minute, as others do it,
but short where there was a direct path before."""


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
        self._lifecycle = lifecycle
        self._handshake = handshake
        self._relay = relay
        self.offers = Offers(state, delivery)
        self._paths = DirectPaths(state, delivery)
        self._paths.on_lost = self._handle_lost
        self.checks = CheckExchange(state, self.offers, self._paths, self._tick, self._begin)
        """Where checks and their answers arrive."""
        lifecycle.on_joined.append(self._attach)
        lifecycle.on_removed.append(self._forget)
        delivery.on_busy = self._hurry

    def __len__(self) -> int:
        return len(self.offers)

    # What the node asks for, and brings.

    def connect(self, server: Peer, node_id: str, now: float, timeout_s: float) -> int:
        """Reach a node that a server knows: by relay at once, and directly as soon as possible.

        Returns:
            The token of a ConnectResult, or of the error.

        Raises:
            LocalError: Too many paths are searched already.
        """
        known = self._state.peers.authenticated(node_id)
        if known is not None:
            return self._handshake.connect(known.address, now, timeout_s)
        attempt = self.offers.open(server, node_id, now, controlling=True)
        if attempt.direct is not None:
            return self._handshake.connect(attempt.direct.address, now, timeout_s)
        self._search(attempt, now)
        if Capability.RELAY in server.capabilities:
            address = self._relay.open(server, node_id)
            token = self._handshake.connect(address, now, timeout_s)
        else:
            token = self._state.new_token()
            error = PeerTimeoutError(
                f"no direct path to node {node_id} was found within {timeout_s:g} s, and the"
                " server does not relay (--relay there)"
            )
            self._state.timers.schedule(now + timeout_s, lambda _: self._end(attempt, token, error))
        attempt.tokens.append(token)
        return token

    def _end(self, attempt: Attempt, token: int, error: P2PError) -> None:
        if token in attempt.tokens:
            attempt.tokens.remove(token)
            self._state.finish(token, error)

    def search(self, node_id: str, now: float) -> None:
        """Search a direct path now, instead of at the end of the pause.

        Raises:
            LocalError: There is no server in common with this node.
        """
        attempt = self.offers.get(node_id)
        if attempt is None or not attempt.server.is_authenticated:
            raise LocalError(f"no server introduces node {node_id}: connect to it by its id first")
        if attempt.direct is None:
            attempt.failures = 0
            self._search(attempt, now)

    def facts_ready(self, facts: NatFacts, now: float) -> None:
        """The diagnosis of this node's NAT is done."""
        self.offers.facts = facts
        for attempt in self.offers.all():
            if "facts" in attempt.wanted:
                attempt.wanted.discard("facts")
                self._prepare(attempt, now)

    def sockets_ready(
        self, node_id: str, sockets: tuple[int, ...], predicted: tuple[Address, ...], now: float
    ) -> None:
        """Further sockets are open; with the outside addresses that they will probably have."""
        attempt = self.offers.get(node_id)
        if attempt is None or "sockets" not in attempt.wanted:
            self._state.emit(SocketsDone(sockets))
            return
        attempt.wanted.discard("sockets")
        attempt.sockets = sockets
        attempt.prepared_at = now
        self._send_prepared(attempt, predicted, now)

    # What a server brings.

    def handle_introduction(
        self,
        server: Peer,
        node_id: str,
        observed: Address,
        offer: TraversalOffer | None,
        now: float,
    ) -> None:
        """A server names a node's address, and brings its offer if it made one."""
        attempt = self.offers.get(node_id)
        if attempt is None:
            if offer is None or len(self.offers) >= MAX_ATTEMPTS:
                return
            attempt = self.offers.open(server, node_id, now, controlling=False)
        attempt.observed = observed
        if offer is None:
            return
        known = attempt.remote
        if known is not None and offer.ufrag == known.ufrag and offer.round <= known.round:
            if not offer.answer and attempt.offer.answer:
                self.offers.send(attempt, now)  # the answer was lost
            return
        if known is not None and offer.ufrag != known.ufrag:
            self._stop(attempt)  # the other node began a new search
        if not offer.answer:
            # Both asked at once: the smaller id controls, and each offer answers the other.
            both = attempt.controlling and offer.round == attempt.offer.round and known is None
            attempt.controlling = both and self._state.identity.id < node_id
        attempt.remote = offer
        if attempt.controlling:
            self._begin(attempt, now)
        elif offer.round == 0:
            self.offers.answer(attempt, (), now)
            self._begin(attempt, now)
        else:
            self._prepare(attempt, now)

    def handle_unknown(self, node_id: str, now: float, reason: str) -> None:
        """The server does not know the node, or does not relay to it for a reason."""
        attempt = self.offers.get(node_id)
        if attempt is None or attempt.direct is not None:
            return
        error = UnknownPeerError(f"the server does not know node {node_id}")
        if reason:
            error = UnknownPeerError(f"the server does not relay to node {node_id}: {reason}")
        for token in list(attempt.tokens):
            self._end(attempt, token, error)
        self._stop(attempt)
        self.offers.close(attempt)
        relayed = self._state.peers.at(relay_address(attempt.server.address, node_id))
        if relayed is not None and not relayed.is_authenticated:
            self._lifecycle.remove(relayed, PeerStatus.FAILED, now, str(error))

    # Rounds.

    def _begin(self, attempt: Attempt, now: float) -> None:
        """Both offers are here: check."""
        remote, observed = attempt.remote, attempt.observed
        if remote is None or observed is None or attempt.direct is not None:
            return
        options = prediction_options(self._state.config)
        if attempt.sockets and now > attempt.prepared_at + options.prediction_timeout_ms / 1000:
            self._end_round(attempt, now)  # what was predicted is stale by now
            return
        ice = self._state.config.ice
        if not ice.enable:
            self._rest(attempt, "direct paths are switched off here (ice.enable)", now)
            return
        way = attempt.way(self.offers.facts) if remote.round else Way.PLAIN
        attempt.punching = plan_round(attempt, remote, observed, way, self._state, now)
        for source, socket, nominated in attempt.early:
            attempt.punching.receive_request(source, socket, now, nominated=nominated)
        attempt.early.clear()
        self._tick(attempt, now)

    def _tick(self, attempt: Attempt, now: float) -> None:
        punching = attempt.punching
        if punching is None or attempt.direct is not None:
            return
        for check in punching.to_send(now):
            self._paths.send_check(attempt, check)
        if punching.selected is not None:
            self._take(attempt, now)
        elif punching.is_over(now):
            attempt.punching = None
            self._end_round(attempt, now)
        else:
            self._plan(attempt, punching.next_timeout() or now, self._tick)

    def _plan(
        self, attempt: Attempt, when: float, action: Callable[[Attempt, float], None]
    ) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
        attempt.timer = self._state.timers.schedule(when, lambda at: action(attempt, at))

    def _take(self, attempt: Attempt, now: float) -> None:
        assert attempt.punching is not None
        assert attempt.punching.selected is not None
        address = self._paths.adopt(attempt, attempt.punching.selected, now)
        tokens, attempt.tokens = attempt.tokens, []
        if self._relay.is_open(attempt.server, attempt.node_id):
            return  # their handshake goes by the relay
        for token in tokens:
            timeout_s = self._state.config.security.auth_timeout
            try:
                self._handshake.connect(address, now, timeout_s, token)
            except LocalError as error:
                self._state.finish(token, error)

    def _end_round(self, attempt: Attempt, now: float) -> None:
        self._close_sockets(attempt)
        if attempt.remote is None:
            self._rest(attempt, "the other node does not answer offers of a direct path", now)
        elif attempt.controlling:
            self._prepare(attempt, now)
        else:
            # The other side leads; unless it was lost too, it offers the next round.
            attempt.reason = self._reason(attempt)
            self._paths.explain(attempt)
            self._plan(attempt, now + LONGEST_REST_S, self._search_again)

    def _prepare(self, attempt: Attempt, now: float) -> None:
        """Get what the next round needs of this side, and then offer it, or answer."""
        facts, ice = self.offers.facts, self._state.config.ice
        limit = now + ice.gathering_timeout / 1000
        if facts.nat_type is NatType.UNKNOWN and attempt.offer.round == 0 and not attempt.wanted:
            attempt.wanted.add("facts")
            self._state.emit(NatFactsWanted())
            self._plan(attempt, limit, self._go_without)
            return
        way, side = attempt.way(facts), facts.side
        if attempt.controlling:
            is_hopeless = way is Way.RELAY
            is_tired = attempt.offer.round >= MAX_ROUNDS - 1
            plain_failed = way is Way.PLAIN and attempt.offer.round >= 1
            if is_hopeless or is_tired or plain_failed:
                self._rest(attempt, self._reason(attempt), now)
                return
        count, predict = 0, 0
        if way is Way.PREDICTED and side is Side.PREDICTABLE:
            count = predict = prediction_options(self._state.config).max_predictions
        elif way is Way.BIRTHDAY and side is Side.UNPREDICTABLE:
            count = ice.birthday_sockets
        if count:
            attempt.wanted.add("sockets")
            self._state.emit(SocketsWanted(attempt.node_id, count, predict))
            self._plan(attempt, limit, self._go_without)
            return
        self._send_prepared(attempt, (), now)

    def _go_without(self, attempt: Attempt, now: float) -> None:
        attempt.wanted.clear()
        self._send_prepared(attempt, (), now)

    def _send_prepared(self, attempt: Attempt, predicted: tuple[Address, ...], now: float) -> None:
        if attempt.controlling:
            self.offers.next_round(attempt, predicted, now)
            # Nothing may come back: the round ends all the same.
            patience_s = self._state.config.ice.gathering_timeout / 1000
            self._plan(attempt, now + patience_s, self._end_round)
        else:
            self.offers.answer(attempt, predicted, now)
            self._begin(attempt, now)

    def _reason(self, attempt: Attempt) -> str:
        return relay_reason(self.offers.facts.side, attempt.remote_facts.side)

    def _rest(self, attempt: Attempt, reason: str, now: float) -> None:
        """No direct path for now: the relay serves, and the search begins again later."""
        self._stop(attempt)
        attempt.reason = reason
        if not self._relay.is_open(attempt.server, attempt.node_id):
            error = RemoteError(
                f"no direct path to node {attempt.node_id}: {reason}; the server does not relay"
            )
            for token in list(attempt.tokens):
                self._end(attempt, token, error)
        attempt.tokens.clear()
        self._paths.explain(attempt)
        had_path = attempt.won_after_s is not None
        longest = RETURN_REST_S if had_path else LONGEST_REST_S
        first = FIRST_REST_S if had_path else LONGEST_REST_S
        pause_s = min(first * 2**attempt.failures, longest)
        attempt.failures = min(attempt.failures + 1, 8)
        self._plan(attempt, now + pause_s, self._search_again)

    def _search(self, attempt: Attempt, now: float) -> None:
        self._stop(attempt)
        self.offers.begin(attempt, now)
        # The other side may never answer.
        patience_s = self._state.config.ice.gathering_timeout / 1000
        self._plan(attempt, now + patience_s, self._end_round)

    def _search_again(self, attempt: Attempt, now: float) -> None:
        if attempt.direct is None and self.offers.get(attempt.node_id) is attempt:
            if attempt.server.is_authenticated:
                self._search(attempt, now)
            else:
                self._plan(attempt, now + LONGEST_REST_S, self._search_again)

    def _handle_lost(self, attempt: Attempt, now: float) -> None:
        attempt.punching = None
        # Both sides notice; the controlling one begins, the other only if that one does not.
        pause_s = FIRST_REST_S if attempt.controlling else 3 * FIRST_REST_S
        self._plan(attempt, now + pause_s, self._search_again)

    def _stop(self, attempt: Attempt) -> None:
        """End what is under way."""
        if attempt.timer is not None:
            attempt.timer.cancel()
        attempt.wanted.clear()
        attempt.punching = None
        if attempt.direct is not None:
            self._paths.leave(attempt)
        self._close_sockets(attempt)

    def _close_sockets(self, attempt: Attempt) -> None:
        if attempt.sockets and attempt.direct is None:
            self._state.emit(SocketsDone(attempt.sockets))
            attempt.sockets = ()

    # Who comes and goes.

    def _attach(self, peer: Peer, now: float) -> None:
        attempt = self.offers.get(peer.node_id)
        if attempt is not None:
            attempt.tokens.clear()  # its handshake has answered them
            if attempt.direct is not None:
                self._paths.attach(attempt, now)
            else:
                self._paths.explain(attempt)

    def _forget(self, peer: Peer, _reason: str) -> None:
        attempt = self.offers.get(peer.node_id or relayed_node(peer.address) or "")
        if attempt is not None and self._state.peers.with_id(attempt.node_id) is None:
            self._stop(attempt)
            self.offers.close(attempt)

    def _hurry(self, peer: Peer, now: float) -> None:
        attempt = self.offers.get(peer.node_id)
        if attempt is not None:
            self._paths.hurry(attempt, now)
