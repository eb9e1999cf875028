"""The asking side of the handshake: a request, repeated byte for byte until an answer arrives."""

import math
from collections.abc import Callable
from functools import partial
from typing import Final

from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import address_words, relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import REACHED_AT, ConnectResult, PeerStatus
from p2ptui.core.peers import Peer, Standing
from p2ptui.core.sessions.asking import (
    Answer,
    Asking,
    Contestant,
    Greeting,
    claimed_id,
    greet,
    is_false,
    read_answer,
    result_of,
    taken,
)
from p2ptui.core.sessions.crossings import Crossings
from p2ptui.core.sessions.judging import Judging, Unnamed
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.repetition import RETRY_JITTER, first_pause_s, next_pause_s
from p2ptui.core.sessions.takeover import Claim, Takeover
from p2ptui.core.state import LAST_RESORT_S, NodeState
from p2ptui.errors import HandshakeError, LocalError
from p2ptui.wire.address import Address
from p2ptui.wire.message import Envelope, MessageType
from p2ptui.wire.message import ReceivedHandshakeResponse as Response

ANSWER_GRACE_S: Final = 0.02
"""Between an Ack of a request and the answer to it."""


class Handshake(Judging):
    """Turns addresses into peers.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Where peers are added and removed.
        takeover: Decides who owns an id.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, takeover: Takeover
    ) -> None:
        super().__init__(state, delivery)
        self._attempts: dict[Address, Asking] = {}
        self._lifecycle = lifecycle
        self._takeover = takeover
        self.crossings = self._crossings = Crossings(state.identity.id)
        """Knows which addresses lead to one node."""
        self.on_answered: Callable[[Peer, str], None] = lambda *_: None
        """Called when a peer has answered, before its session begins: with the id of the node."""
        self.on_taken: Callable[[Peer, Greeting, float], None] = lambda *_: None
        """Called likewise, with the request that was answered."""
        lifecycle.on_removed.append(self._handle_removed)
        lifecycle.on_joined.append(self._hand_over)

    def connect(
        self,
        address: Address,
        now: float,
        timeout_s: float,
        token: int | None = None,
        node_id: str = "",
    ) -> int:
        """Begin (or join) a handshake with `address`.

        Args:
            address: The address to ask.
            now: The time, seconds.
            timeout_s: How long to try, seconds.
            token: The token of the call that this is a part of; without it, a new call begins.
            node_id: The id of the node there, if authentic checks have shown it.

        Returns:
            The token of the ConnectResult.

        Raises:
            LocalError: The peer table is full, or too many calls wait.
        """
        result = self.result_at(address)
        if result is not None:
            if token is None:
                return self._state.answered(result)
            self._state.finish(token, result)
            return token
        address = self._state.peers.own_address(address)
        # Before `_join`: a request that cannot be sent ends before that returns.
        call = self._state.await_session(address, now, timeout_s, token)
        try:
            self._join(address, now, timeout_s, node_id=node_id)
        except LocalError:
            self._calls.take(call)
            raise
        return call.token

    def compete(
        self,
        address: Address,
        contestant: Contestant,
        now: float,
        timeout_s: float,
        greeting: Greeting | None,
    ) -> Greeting:
        """Begin (or join) a handshake with one of several addresses.

        Args:
            address: The address to ask: the own address of a peer without a session.
            contestant: Informed of the result.
            now: The time, seconds.
            timeout_s: How long to try, seconds.
            greeting: The request sent to the others; None for the first of them.

        Returns:
            What it is sent.

        Raises:
            LocalError: The peer table is full.
        """
        attempt = self._join(address, now, timeout_s, greeting)
        attempt.contestants.append(contestant)
        contestant.wait_until(attempt.deadline)
        return attempt.greeting

    def _join(
        self,
        address: Address,
        now: float,
        timeout_s: float,
        greeting: Greeting | None = None,
        node_id: str = "",
    ) -> Asking:
        attempt = self._attempts.get(address)
        if attempt is None:
            peer = self._state.peers.at(address)
            if peer is None:
                self._lifecycle.require_room(address, now)
            node_id = node_id or relayed_node(address) or ""
            channel = self._crossings.channel(node_id, address)
            peer = peer or self._lifecycle.open(address, now, initiated=True, inherited=channel)
            attempt = self._begin(peer, now + timeout_s, now, greeting, node_id)
        attempt.deadline = max(attempt.deadline, now + timeout_s)
        for call in self._calls.waiting(address):
            self._calls.extend(call, attempt.deadline + LAST_RESORT_S)
        for contestant in attempt.contestants:
            contestant.wait_until(attempt.deadline)
        return attempt

    def result_at(self, address: Address) -> ConnectResult | None:
        """The immediate result of a call if there is a session with an address."""
        peer = self._state.peers.at(address)
        if peer is None or not peer.is_authenticated:
            return None
        self._state.peers.set_initiated(peer)  # a server from now on, if it was a client
        return result_of(peer)

    def reconnect(self, peer: Peer, now: float, reason: str, node_id: str = "") -> None:
        """Begin a new session with a peer that this node had asked for and that forgot it, or with
        the node whose id has replaced it."""
        self._lifecycle.suspend(peer, now, reason)
        peer.purse.forget_proof()
        deadline = now + self._state.config.security.auth_timeout
        attempt = self._begin(peer, deadline, now, node_id=node_id)
        attempt.is_kept, attempt.why = True, reason

    def resume(
        self, peer: Peer, greeting: Greeting, answer: Envelope, now: float, reason: str
    ) -> None:
        """Begin a new session with a peer by its answer to a request that was sent in the old
        one."""
        self._lifecycle.suspend(peer, now, reason)
        peer.handshakes.ask(greeting.message_id, greeting.sequence)
        peer.channel.numbering.handle_acknowledged(greeting.sequence)
        until = now + self._state.config.security.auth_timeout  # the other side may confirm it
        self._enter(Asking(peer, greeting, until, peer.node_id, is_kept=True))
        self.handle_response(peer.address, answer, now)

    def renew(self, address: Address, node_id: str, now: float) -> None:
        """A node has proved that it receives at an address: another node's session there is over.

        Args:
            address: The address.
            node_id: Its id; it is asked for a session.
            now: The time, seconds.
        """
        peer = self._state.peers.at(address)
        if peer is not None and peer.is_authenticated and peer.node_id != node_id:
            self._state.peers.set_initiated(peer)
            self.reconnect(peer, now, f"node {node_id} is at its address now", node_id)

    def _begin(
        self,
        peer: Peer,
        deadline: float,
        now: float,
        greeting: Greeting | None = None,
        node_id: str = "",
    ) -> Asking:
        greeting = greet(self._state, self._delivery, peer, now, greeting)
        peer.forget_pair()
        node_id = node_id or peer.node_id
        pause_s = first_pause_s(peer, self._state.peers)
        attempt = Asking(peer, greeting, deadline, node_id, pause_s=pause_s, began_at=now)
        self._enter(attempt)
        if peer.status is not PeerStatus.HANDSHAKING:
            self._lifecycle.set_status(peer, PeerStatus.HANDSHAKING)
        self._try(attempt, now)
        return attempt

    def _try(self, attempt: Asking, now: float) -> None:
        peer, session = attempt.peer, self._state.peers.authenticated(attempt.node_id)
        if session is not None and session.session.joined_at > attempt.began_at:
            self._hand_over(session, now)  # by now its address may be known to be the node's
            if self._attempts.get(peer.address) is not attempt:
                return
        if now >= attempt.deadline:
            where = address_words(peer.address)
            hint = attempt.why or ("" if relayed_node(peer.address) else "is a node running there?")
            attempt.outcome = "unanswered"
            self._fail(attempt, now, f"no answer from {where}" + (f"; {hint}" if hint else ""))
            return
        self._delivery.transmit(
            peer, attempt.greeting.data, MessageType.HANDSHAKE_REQUEST, now, reason=Reason.HANDSHAKE
        )
        attempt.tries += 1
        attempt.sent_at = now
        pause = attempt.pause_s * self._state.rng.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)
        attempt.pause_s = next_pause_s(attempt.pause_s)
        self._plan(attempt, now + pause)

    def _hand_over(self, winner: Peer, now: float) -> None:
        """A session with a node has begun: requests for it on other paths have their result."""
        for loser in self._crossings.lost_to(winner):
            self._end_well(self._attempts[loser.address], winner, now)
            if self._crossings.leads_to(loser.address, winner.node_id):
                self._state.peers.add_alias(winner, loser.address, Standing.ANSWERED)

    def _end_well(self, attempt: Asking, winner: Peer, now: float) -> None:
        """End a handshake with a node that already has a session on another path."""
        loser, result = attempt.peer, result_of(winner)
        self._state.peers.set_initiated(winner)
        winner.handshakes.take_over(loser.handshakes)
        if loser.channel is winner.channel:
            loser.channel = self._state.new_channel()  # its queued messages go on
        contestants, attempt.contestants = attempt.contestants, []
        for contestant in contestants:
            contestant.win(loser.address, result, now)
        self._calls.end_all(loser.address, result)
        attempt.outcome = "elsewhere"
        self._fail(attempt, now, REACHED_AT + address_words(winner.address))

    def _fail(self, attempt: Asking, now: float, reason: str) -> None:
        self._lifecycle.remove(attempt.peer, PeerStatus.FAILED, now, reason)

    def _handle_removed(self, peer: Peer, reason: str) -> None:
        attempt = self._forget(peer.address)
        error = HandshakeError(reason)
        if attempt is not None:
            for contestant in attempt.contestants:
                contestant.lose(peer.address, error)
        self._calls.end_all(peer.address, error)

    def handle_response(self, address: Address, message: Envelope, now: float) -> None:
        """The answer to a request of this node."""
        attempt = self._attempts.get(address)
        if attempt is None or attempt.is_paused or not attempt.greeting.is_named_by(message):
            self._state.counters.drop("unsolicited_handshake_response")
            return
        offer = attempt.greeting.offer
        answer = read_answer(message, self._state.identity, relayed_node(address), offer)
        retry = None if answer is None else answer.response.retry
        if answer is None:
            self._drop_malformed(attempt)
        elif isinstance(retry, str) and message.ack_for is not None:
            self._take_retry(attempt, retry, now)
        elif message.ack_for is not None:
            self._take_answer(attempt, message, answer, now)
        elif is_false(answer, message):
            self._state.counters.drop("unnamed_answer")
        else:
            take = partial(
                self._take_answer, attempt, message, answer, came_at=now, source=self._state.source
            )
            self._hear(attempt, Unnamed(bytes(message.payload), now, lambda at: take(now=at)), now)

    def _take_answer(
        self,
        attempt: Asking,
        message: Envelope,
        answer: Answer,
        now: float,
        came_at: float | None = None,
        source: Address | None = None,
    ) -> None:
        """Believe an answer, which may have come a while ago."""
        address = attempt.peer.address
        if self._attempts.get(address) is not attempt or attempt.is_paused:
            return
        response, info, sealed = answer.response, answer.info, self._sealed
        if sealed is not None and sealed.is_ignored(attempt, answer):
            return
        if not response.success:
            self._handle_refusal(attempt, response, now)
            return
        if info is None:
            flaw = f"{address_words(address)} cannot be a peer: {answer.flaw}"
            self._end_flawed(attempt, message, answer, flaw, now)
            return
        if sealed is not None and (flaw := sealed.flaw(attempt, answer, now)):
            if not self._is_asked_otherwise(attempt, answer, now):
                self._end_flawed(attempt, message, answer, flaw, now)
            return
        owner = self._state.peers.with_id(info.id)
        if owner is not None and owner is not attempt.peer:
            self._claim(attempt, owner, message, answer, now)
            return
        dialect = answer.dialect
        if not all(each.takes(address, dialect, now) for each in list(attempt.contestants)):
            return
        source = source or self._state.source

        def conclude(at: float) -> None:
            self._conclude(attempt, message, answer, at, came_at, source)

        if sealed is None or sealed.begin(attempt, answer, now, conclude):
            conclude(now)
        elif attempt.is_paused:
            self._schedule(attempt, attempt.deadline, self._try)

    def _conclude(
        self,
        attempt: Asking,
        message: Envelope,
        answer: Answer,
        now: float,
        came_at: float | None,
        source: Address | None,
    ) -> None:
        """The answering node is a peer, and the session begins."""
        peer, info = attempt.peer, answer.info
        if self._attempts.get(peer.address) is not attempt or info is None:
            return
        if source is not None:
            peer.take_pair(source)
        peer.purse.earn_handshake()
        self._lifecycle.describe(peer, info, message, now)
        if message.ack_for is not None:
            self._delivery.prove(peer, now)
        peer.facts.public_address = answer.public_address
        self.on_answered(peer, info.id)
        self.on_taken(peer, attempt.greeting, now)
        if attempt.tries == 1:  # Karn's rule
            peer.channel.rtt.suppose((now if came_at is None else came_at) - attempt.sent_at)
        if message.requires_ack:
            # First: the other side may wait for it before it accepts anything in the session.
            self._delivery.acknowledge(peer, message, now)
        self._lifecycle.authenticate(peer, now)
        self._succeed(attempt, peer, now)

    def _claim(
        self, attempt: Asking, owner: Peer, message: Envelope, answer: Answer, now: float
    ) -> None:
        """The answering node claims to be a node with which there is a session elsewhere."""
        address = attempt.peer.address
        if self._crossings.is_late(owner, address, now):
            self._end_well(attempt, owner, now)
            return
        claim = Claim(
            owner,
            address,
            message.id,
            refuse=lambda at: self._handle_taken(attempt, owner, at),
            grant=lambda at, _left: self._take_answer(attempt, message, answer, at),
        )
        # A silent one has long been pinged, and forged traffic would make it look alive.
        is_better = self._crossings.is_better(address, owner, now) or owner.is_silent(now)
        if self._sealed is not None and answer.shown is not None:
            is_better = self._sealed.is_better(answer.shown, owner, now)
            if not is_better and self._sealed.is_crossed(owner, now):
                self._settle(attempt, owner, now)
                return
        (self._takeover.grant_at_once if is_better else self._takeover.begin)(claim, now)

    def _handle_taken(self, attempt: Asking, owner: Peer, now: float) -> None:
        if self._attempts.get(attempt.peer.address) is not attempt:
            return
        if self._state.peers.authenticated(owner.node_id) is not owner:
            self.ask_anew(attempt.peer.address, now)  # what was in the way has ended
        else:
            self._settle(attempt, owner, now)

    def _handle_refusal(self, attempt: Asking, response: Response, now: float) -> None:
        node_id = attempt.node_id or claimed_id(response)
        owner = self._state.peers.authenticated(node_id)
        if owner is not None:
            self._settle(attempt, owner, now)
        else:
            self._end_refused(attempt, response, now)

    def _settle(self, attempt: Asking, owner: Peer, now: float) -> None:
        """The node that was asked has a session with this one elsewhere."""
        if attempt.node_id == owner.node_id:
            self._end_well(attempt, owner, now)
        else:  # a call for an address wants whichever node is there
            self._fail(attempt, now, taken(owner))

    def handle_crossing(self, peer: Peer, now: float) -> None:
        """The node at this address asked too, and was accepted: the request has its result."""
        attempt = self._attempts.get(peer.address)
        if attempt is not None:
            self._succeed(attempt, peer, now)

    def handle_ack(self, peer: Peer, key: int | str, now: float) -> bool:
        """An Ack of a handshake message, in either role; returns whether it was one."""
        if key not in peer.handshakes.keys:
            return False
        peer.facts.note_ack()
        peer.handshakes.decide()
        self._delivery.prove(peer, now)
        attempt = self._attempts.get(peer.address)
        if attempt is not None and key in (attempt.greeting.sequence, attempt.greeting.message_id):
            self._note_ack(attempt, now)
        if attempt is not None and not attempt.is_acked and relayed_node(peer.address) is not None:
            attempt.is_acked = True
            # The answer was sent together with it: if it is not merely late, it was lost.
            if now + ANSWER_GRACE_S < peer.session.next_step_at < math.inf:
                self._plan(attempt, now + ANSWER_GRACE_S)
        return True

    def _succeed(self, attempt: Asking, peer: Peer, now: float) -> None:
        attempt.outcome = "succeeded"
        self._forget(peer.address)
        result = result_of(peer)
        for contestant in attempt.contestants:
            contestant.win(peer.address, result, now)
        self._calls.end_all(peer.address, result)
