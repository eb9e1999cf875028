"""Incoming connectivity checks: requests are answered, and answers open a path."""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.addresses import socket_address
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.checks import (
    CheckMessage,
    affordable_checks,
    build_answer,
    read_check,
    send_from,
)
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.offers import Offers
from p2ptui.wire.address import Address
from p2ptui.wire.stun import MessageClass

MAX_COPIES: Final = 2
"""How many copies of one check are accepted: a network may duplicate it, and anyone who saw it may
send it again, from any address."""

MAX_REMEMBERED: Final = 4096
"""Checks that are recognised when they are repeated."""


class CheckExchange:
    """Picks the messages of a traversal out of everything that looks like STUN.

    Args:
        state: The shared state.
        offers: Finds the attempts by the names in their checks.
        paths: Knows to whom each check was sent.
        on_progress: Called when an attempt may send or decide something.
        revive: Called when a check arrives after this side's round has ended: the other side is
            still trying, or has even succeeded.
        note_sign: Called with the other side's fragment as named by an authentic check.
    """

    def __init__(
        self,
        state: NodeState,
        offers: Offers,
        paths: DirectPaths,
        on_progress: Callable[[Attempt, float], None],
        revive: Callable[[Attempt, float], None],
        note_sign: Callable[[Attempt, str, float], None],
    ) -> None:
        self._state = state
        self._offers = offers
        self._paths = paths
        self._on_progress = on_progress
        self._revive = revive
        self._note_sign = note_sign
        self._copies: BoundedTable[bytes, int] = BoundedTable(
            MAX_REMEMBERED, shares=state.tables.shares
        )

    def note_relayed(self, node_id: str, now: float) -> None:
        """A datagram came by relay from a node to which there is a path: has that side left the
        path?"""
        attempt = self._offers.get(node_id)
        if attempt is not None:
            self._paths.doubt(attempt, now)

    def receive(self, data: bytes, source: Address, socket: int, now: float) -> bool:
        """Take a datagram; returns whether it was a check or the answer to one.

        Args:
            data: Its bytes.
            source: Where it came from.
            socket: The number of the socket that it came to; 0 is the node's own.
            now: The time, seconds.
        """
        if not self._offers.nodes:
            return False
        check = read_check(data)
        if check is None:
            return False
        if check.message.message_class is MessageClass.REQUEST:
            return self._receive_request(check, source, socket, now)
        return self._receive_answer(check, source, socket, now)

    def _receive_request(
        self, check: CheckMessage, source: Address, socket: int, now: float
    ) -> bool:
        attempt = self._offers.named(check.ufrag)
        if attempt is None:
            return False
        if not check.is_authentic(attempt.offer.password):
            self._state.counters.drop("check_forged")
            return True
        if self._count(check.message.transaction_id, source) > MAX_COPIES:
            self._state.counters.drop("check_repeated")
            return True
        attempt.heard.is_checked = True
        self._note_sign(attempt, check.sender, now)
        answer = build_answer(check, source, attempt.offer)
        earned = self._state.gate.answer_purse
        if send_from(self._state, socket, answer, source, account=earned):
            attempt.account.note_answer(len(answer))
        spare_bytes = earned.credit
        if check.nominates:
            self._paths.expect_from(attempt, source, socket)
            self._paths.note_asked(attempt, source, socket)
        if attempt.punching is None:
            self._revive(attempt, now)
        if attempt.punching is not None and attempt.direct is None:
            attempt.punching.receive_request(
                source,
                socket,
                now,
                nominated=check.nominates,
                allowed=affordable_checks(attempt.offer, attempt.remote, spare_bytes),
            )
            self._on_progress(attempt, now)
        elif attempt.punching is None and not attempt.heard.early.add(
            source, socket, spare_bytes, nominated=check.nominates
        ):
            self._state.counters.drop("early_checks_full")
        return True

    def _count(self, transaction_id: bytes, source: Address) -> int:
        """How often this check has come, including this time."""
        copies = self._copies.get(transaction_id, 0) + 1
        if copies > 1:
            self._copies.replace(transaction_id, copies)
        else:
            self._copies.put(transaction_id, copies, address=source)
        return copies

    def _receive_answer(
        self, check: CheckMessage, source: Address, socket: int, now: float
    ) -> bool:
        transaction_id = check.message.transaction_id
        attempt = self._paths.asked_by(transaction_id)
        if attempt is None:
            return False
        if attempt.remote is None or attempt.punching is None:
            return True
        if not check.is_authentic(attempt.remote.password):
            self._state.counters.drop("check_forged")
            return True
        pair = attempt.punching.receive_response(transaction_id, source, socket, now)
        if pair is not None:
            # The other side may send from there before this one hears that the pair was chosen.
            self._paths.expect_from(attempt, source, socket, proved=True)
            attempt.heard.note_answer(socket_address(socket, source))
        if pair is not None and attempt.direct is not None:
            self._paths.handle_confirmed(attempt, pair, now)
        elif pair is not None:
            self._on_progress(attempt, now)
        return True
