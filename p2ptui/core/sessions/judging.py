"""Requests in progress: given up, judged by answers that name no request, or made anew."""

from collections.abc import Callable
from typing import Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.policy import OPEN, RULES, words_there
from p2ptui.core.sessions.asking import Answer, Asking, Contestant, ask_again, greet, refusal
from p2ptui.core.sessions.crossings import Crossings
from p2ptui.core.sessions.hearing import AFTER_ACK_S, Hearing, Unnamed
from p2ptui.core.sessions.parting import part
from p2ptui.core.sessions.sealed_answers import SealedAnswers
from p2ptui.core.state import NodeState
from p2ptui.secure.retry import is_token
from p2ptui.wire.address import Address
from p2ptui.wire.message import Envelope, ErrorPayload
from p2ptui.wire.message import ReceivedHandshakeResponse as Response

__all__ = ["Judging", "Unnamed"]

RETRIES: Final = 3
"""How often a request is made with a token, at most: each may be forged."""

UNOPENED: Final = (
    "answers that do not open came from there: they were altered on the way, or are of another"
    " request"
)


NO_PEER: Final = "its answer does not make it a peer"


class Judging:
    """Keeps the requests in progress, and judges answers that name no request.

    Args:
        state: The shared state.
        delivery: Sends messages.
    """

    _attempts: dict[Address, Asking]
    _crossings: Crossings

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._calls = state.session_calls
        self._sealed = None if state.seals is None else SealedAnswers(state, state.seals)

    def _try(self, attempt: Asking, now: float) -> None:
        raise NotImplementedError

    def _fail(self, attempt: Asking, now: float, reason: str) -> None:
        raise NotImplementedError

    def withdraw(self, address: Address, contestant: Contestant, now: float, reason: str) -> bool:
        """A contestant no longer needs a handshake; returns whether the handshake ends, because
        nobody else needs it.

        Args:
            address: The address that it asked.
            contestant: The contestant; it is told nothing.
            now: The time, seconds.
            reason: Why, in one line.
        """
        attempt = self._attempts.get(address)
        if attempt is None or contestant not in attempt.contestants:
            return False
        attempt.contestants.remove(contestant)
        if self._calls.waiting(address) or attempt.contestants or attempt.is_kept:
            return False
        attempt.outcome = "given_up"
        self._fail(attempt, now, reason)
        return True

    def withdraw_call(self, token: int, now: float, reason: str) -> None:
        """A call of `connect` no longer needs its handshake, which ends if nobody else does."""
        for attempt in list(self._attempts.values()):
            tokens = [call.token for call in self._calls.waiting(attempt.peer.address)]
            if tokens == [token] and not (attempt.contestants or attempt.is_kept):
                attempt.outcome = "given_up"
                self._fail(attempt, now, reason)

    def _take_retry(self, attempt: Asking, retry: str, now: float) -> None:
        """The other side is under load, and first wants proof that this one is there."""
        if not is_token(retry):
            self._state.counters.drop("malformed")
            return
        if attempt.greeting.offer is None or attempt.retries >= RETRIES:
            self._state.counters.drop("retry_refused")
            return
        attempt.retries += 1
        again = ask_again(self._state, self._delivery, attempt.peer, attempt.greeting, retry, now)
        attempt.greeting = again
        self._try(attempt, now)

    def ask_anew(self, address: Address, when: float) -> None:
        """Make the request to an address anew, with another id, at a time; until then it waits."""
        attempt = self._attempts.get(address)
        if attempt is None:
            return
        attempt.is_paused = True
        self._schedule(attempt, when, self._make_anew)

    def _make_anew(self, attempt: Asking, now: float) -> None:
        attempt.is_paused = False
        attempt.hearing = Hearing(attempt.hearing.next_pause_s())
        attempt.greeting = greet(
            self._state, self._delivery, attempt.peer, now, without_key=attempt.without_key
        )
        attempt.tries = 0
        self._try(attempt, now)

    def _drop_malformed(self, attempt: Asking) -> None:
        """An answer cannot be read; the genuine one may follow. In a key exchange this is what is
        reported if none does."""
        is_sealed = attempt.greeting.offer is not None
        self._state.counters.drop("exchange_answer_refused" if is_sealed else "malformed")
        if is_sealed:
            attempt.why = UNOPENED

    def ask_otherwise(self, peer: Peer, reason: object, now: float) -> bool:
        """Ask a refusing node once more: without the network key if it has another one or none,
        otherwise with it. Returns whether it is asked, so that its refusal ends nothing.

        Args:
            peer: The node that is asked.
            reason: The rule by which it refuses, if it names one.
            now: The time, seconds.
        """
        attempt, sealed = self._attempts.get(peer.address), self._sealed
        if attempt is None or attempt.peer is not peer or sealed is None:
            return False
        if not sealed.may_ask_otherwise(attempt, reason):
            return False
        self._make_anew(attempt, now)
        return True

    def _is_asked_otherwise(self, attempt: Asking, answer: Answer, now: float) -> bool:
        """Whether a node that answers in the open, but must not, is asked once more."""
        return answer.shown is None and self.ask_otherwise(attempt.peer, OPEN, now)

    def _end_flawed(
        self, attempt: Asking, message: Envelope, answer: Answer, flaw: str, now: float
    ) -> None:
        """The answering node cannot be a peer of this one, but may already count this one as its
        peer: in the open at once, under seal only after this node's last message."""
        address, is_in = attempt.peer.address, answer.shown is None
        attempt.outcome = "unfit"
        self._fail(attempt, now, flaw)
        if is_in and self._state.peers.at(address) is None:
            part(self._state, self._delivery, address, message, NO_PEER, now)

    def _end_refused(self, attempt: Asking, response: Response, now: float) -> None:
        """The other side refuses: it is asked with or without the network key, or the attempt
        fails.

        Of two refusals the first says more: the second request only tried without the key, or with
        it.
        """
        reason, peer = response.reason, attempt.peer
        if not self.ask_otherwise(peer, reason, now):
            if attempt.refused and isinstance(reason, str) and reason in RULES:
                reason = attempt.refused
            words = words_there(reason, response.error_message)
            attempt.outcome = "refused"
            self._fail(attempt, now, refusal(peer.address, words))

    def _enter(self, attempt: Asking) -> None:
        self._state.counters.connects["begun"] += 1
        self._attempts[attempt.peer.address] = attempt
        self._crossings.begin(attempt.node_id, attempt.peer)

    def _forget(self, address: Address) -> Asking | None:
        attempt = self._attempts.pop(address, None)
        if attempt is not None:
            self._state.counters.connects[attempt.outcome] += 1
            self._crossings.end(attempt.node_id, address)
        return attempt

    def _plan(self, attempt: Asking, when: float) -> None:
        self._schedule(attempt, min(when, attempt.deadline), self._try)

    def _schedule(
        self, attempt: Asking, when: float, action: Callable[[Asking, float], None]
    ) -> None:
        session = attempt.peer.session
        session.schedule(self._state.timers, when, lambda at: action(attempt, at))

    def _hear(self, attempt: Asking, answer: Unnamed, now: float) -> None:
        """An answer came that names no request."""
        attempt.hearing.add(answer)
        self._judge(attempt, now)

    def _judge(self, attempt: Asking, now: float) -> None:
        """Decide whether one of the answers that name no request is believed."""
        if self._attempts.get(attempt.peer.address) is not attempt or attempt.is_paused:
            return
        hearing = attempt.hearing
        believed = hearing.believed(attempt.tries, now)
        if believed is not None:
            believed.take(now)
        elif hearing.is_contradicted(attempt.tries):
            if hearing.anew_at < now:
                self._state.counters.drop("contradicting_answers")
                hearing.anew_at = now + hearing.pause_s
                self._schedule(attempt, min(hearing.anew_at, attempt.deadline), self._ask_again)
        elif hearing.answers:
            when = min(max(hearing.next_step_at(), now), attempt.deadline)
            self._schedule(attempt, when, self._judge if when < attempt.deadline else self._try)

    def _ask_again(self, attempt: Asking, now: float) -> None:
        """Make a request anew if some of its answers were forged; if its time is up, fail."""
        if now < attempt.deadline:
            self._make_anew(attempt, now)
        else:
            self._try(attempt, now)

    def _note_ack(self, attempt: Asking, now: float) -> None:
        """An Ack names the request: the answer has come with it, or is about to."""
        attempt.hearing.acked_at = now
        self._state.timers.schedule(now + AFTER_ACK_S, lambda at: self._judge(attempt, at))

    def handle_error(self, address: Address, payload: ErrorPayload, now: float) -> bool:
        """The reference refuses a handshake with an Error; returns whether this was one."""
        attempt = self._attempts.get(address)
        if attempt is None or payload.code is not None:
            return False

        def refuse(at: float) -> None:
            if self._attempts.get(address) is attempt:
                self._fail(attempt, at, refusal(address, payload.error))

        self._hear(attempt, Unnamed(payload.error.encode(errors="replace"), now, refuse), now)
        return True
