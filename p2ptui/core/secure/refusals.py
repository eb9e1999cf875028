"""Refused nodes are told why, and this node's user learns which rule of [security] applied.

An asking node has not proved who it is before the last message of a key exchange. So a refusal of
that message names something that only a node that has read the second message knows; any other
refusal can be forged by anyone who sees the request.
"""

from typing import Final

from msgspec import UNSET

from p2ptui.bounded import TokenBucket
from p2ptui.core.policy import OPEN, RULES, STRIPPED, PeerRefused
from p2ptui.core.secure.pending import (
    Pending,
    Request,
    note_answer,
    write_no,
)
from p2ptui.core.sessions.answers import Answers
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import Envelope, RefusedExchangePayload, RefusedOfferPayload

TOLD_PER_S: Final = 1.0
TOLD_AT_ONCE: Final = 5.0
"""Anyone may ask, in any name: a flood of requests must not become a flood of log lines."""


class Refusals:
    """Writes refusals, and reports no more of them than a user can read.

    Args:
        state: The shared state.
        answers: Writes refusals for all other programs.
    """

    def __init__(self, state: NodeState, answers: Answers) -> None:
        self._state = state
        self._answers = answers
        self._bucket = TokenBucket(TOLD_PER_S, 0.0, TOLD_AT_ONCE)

    def refuse(self, request: Request, words: str, now: float, rule: str = "other") -> None:
        """Refuse a request for a reason in words, counted by its rule."""
        self._answers.refuse(
            request.address, request.message, request.earned, words, now, rule=rule
        )

    def refuse_open(self, request: Request, now: float) -> None:
        """Refuse a request because there is no key exchange in it."""
        self._tell(request.address, OPEN, now)
        self.refuse(request, RULES[OPEN].told, now, OPEN)

    def refuse_stripped(self, request: Request, now: float) -> None:
        """Refuse a request because a server must have removed the key exchange from it."""
        self._state.counters.drop("stripped_exchange")
        self.refuse_offer(request, STRIPPED, now)

    def refuse_offer(self, request: Request, rule: str, now: float) -> None:
        """Refuse a key exchange by a rule; a name that is no rule is merely counted."""
        state, address = self._state, request.address
        if rule not in RULES:
            state.counters.drop(rule)
            return
        state.counters.refuse(rule)
        self._tell(address, rule, now)
        data = _write_refused_offer(state, request.message, rule, now)
        is_out = state.gate.refuse(data, address, request.earned, now, is_known=True)
        note_answer(state, data, address, is_out=is_out)

    def refuse_end(self, pending: Pending, why: str, now: float, node_id: str = "") -> None:
        """Refuse the last message of a key exchange.

        Args:
            pending: The exchange.
            why: The name of a rule, or words.
            now: The time, seconds.
            node_id: The id of its sender, if it has proved that.
        """
        state, to = self._state, pending.address
        state.counters.refuse(why if why in RULES else "other")
        if not pending.refused:  # it is repeated again and again
            pending.refused = why
            self._tell(to, why, now, node_id)
        data = _write_refusal(state, pending, why, now)
        # A node that this one has asked as well has spent its grant: like an answer to a request,
        # this one is paid for by what has just arrived.
        peer = state.peers.at(to)
        crosses = peer is not None and peer.initiated
        # An exchange that was held or doubted is refused when nothing has just arrived: its last
        # message pays.
        is_late = pending.is_held or pending.is_doubted
        earned = pending.last if crosses or is_late else state.gate.answer_purse
        is_out = state.gate.refuse(data, to, earned, now, is_known=crosses)
        note_answer(state, data, to, is_out=is_out)

    def _tell(self, address: Address, why: str, now: float, node_id: str = "") -> None:
        """Tell the user if a rule applies: the user could change it."""
        rule = RULES.get(why)
        if rule is None:
            return
        if self._bucket.take(now):
            self._state.emit(PeerRefused(node_id or None, address, rule.here))
        else:
            self._state.counters.drop("refusal_untold")


def _write_refusal(state: NodeState, pending: Pending, why: str, now: float) -> bytes:
    """Tell a node that has come this far why it is no peer, in a way that nobody else can.

    Args:
        state: The shared state.
        pending: Its exchange.
        why: The name of a rule, or words.
        now: The time, seconds.
    """
    refuses = pending.refusal.hex()
    rule = RULES.get(why)
    payload = RefusedExchangePayload(
        success=False,
        error_message=why if rule is None else rule.told,
        refuses=refuses,
        reason=UNSET if rule is None else why,
    )
    return write_no(state, pending.message, payload, now)


def _write_refused_offer(state: NodeState, request: Envelope, rule: str, now: float) -> bytes:
    """Tell a node that offers a key exchange which rule refuses it.

    Args:
        state: The shared state.
        request: Its request.
        rule: Its name.
        now: The time, seconds.
    """
    payload = RefusedOfferPayload(success=False, error_message=RULES[rule].told, reason=rule)
    return write_no(state, request, payload, now)
