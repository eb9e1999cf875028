"""A newcomer brings the id of a peer at another address: the old address is asked first.

Alive, and the newcomer is refused; silent, and it takes over (its NAT gave it
another port, or it restarted). Either way within what clients wait.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from msgspec import UNSET, UnsetType

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import address_words
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import LetIn, Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.trust import vouches
from p2ptui.wire.address import Address

PROBES: Final = 4
PROBE_INTERVAL_S: Final = 0.3
"""Four Pings over 1.2 s: at 20 % loss each way one in 60 goes unanswered by a peer that is
alive, and any other traffic counts too. Deployed clients give up after 2 s."""

SECOND_ANSWER_S: Final = 1.9
"""A claim that came while another was looked at is answered after so long."""

COOLDOWN_S: Final = 10.0
"""An id whose owner proved alive, or never proved its address, is not probed again so soon."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A newcomer's claim to the id of a peer at another address."""

    owner: Peer
    address: Address
    """Where the newcomer is."""
    request_id: str
    """Of the handshake message that claims it."""
    refuse: Callable[[float], None]
    """Called with the time if the owner is alive."""
    grant: LetIn
    """Called with the time once the id is free."""
    continues: str | UnsetType = UNSET
    """What the newcomer names of the owner's session, if anything."""
    hold: Callable[[float], None] | None = None
    """Answers the newcomer and waits until it shows that it is there; None for one that cannot."""


@dataclass(slots=True)
class _Dispute:
    claim: Claim
    began: float
    interval_s: float = PROBE_INTERVAL_S
    probes: int = 0
    newest: Claim | None = None
    """What came from yet another address meanwhile: the owner may have moved twice."""
    newest_at: float = 0.0
    is_second: bool = False
    """Whether it is about such a claim."""
    is_gentle: bool = False
    """Whether the owner is a newcomer itself, and asked within what it may be sent."""


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    """A dispute that ended a short time ago."""

    owner_answered: bool
    """Otherwise it was silent, and had not proved its address: who came in its place is asked
    within what it may be sent, until it has."""


class Takeover:
    """Settles who owns a node id.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Where the silent owner is moved.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._disputes: BoundedTable[str, _Dispute] = state.tables.add(
            "id_disputes",
            BoundedTable(
                lambda: state.config.security.max_unauthenticated_connections,
                refuses=True,
                full="disputes_full",
            ),
        )
        # Only ids of peers get here, each for ten seconds.
        self._settled: BoundedTable[str, _Settled] = state.tables.add(
            "id_disputes", BoundedTable(state.most_peers)
        )

    def begin(self, claim: Claim, now: float) -> None:
        """Ask the owner whether it is there, unless it proved so a short time ago.

        A newcomer that names what only the owner can know of its session is the owner; a goodbye
        that names it is believed as well.
        """
        if claim.owner.is_authenticated and vouches(claim.owner, claim.continues):
            self.grant_at_once(claim, now)
            return
        node_id = claim.owner.node_id
        if node_id in self._disputes:
            self._queue(self._disputes[node_id], claim, now)
            return
        settled = self._settled.get(node_id)
        if settled is not None and settled.owner_answered:
            claim.refuse(now)
            return
        # Handshakes that somebody forges under one id must not make one address after the other a
        # target of Pings.
        is_gentle = settled is not None and not claim.owner.proved
        dispute = _Dispute(claim, now, is_gentle=is_gentle)
        if self._disputes.put(node_id, dispute, address=claim.address):
            self._probe(node_id, dispute, now)

    def grant_at_once(self, claim: Claim, now: float) -> None:
        """The newcomer is the owner: nobody is asked."""
        reason = f"it goes on at {address_words(claim.address)}"
        self._lifecycle.move(claim.owner, now, reason, claim.grant)

    def _queue(self, dispute: _Dispute, claim: Claim, now: float) -> None:
        if claim.address == dispute.claim.address:
            return  # the answer is on its way; repetitions wait for it
        newest = dispute.newest
        if newest is not None and newest.address == claim.address:
            return
        if newest is not None:
            newest.refuse(now)
        dispute.newest, dispute.newest_at = claim, now

    def _probe(self, node_id: str, dispute: _Dispute, now: float) -> None:
        owner = dispute.claim.owner
        if self._state.closing:
            return
        if owner.last_received > dispute.began or dispute.probes == PROBES:
            self._settle(node_id, dispute, now)
            return
        if dispute.is_gentle:
            self._delivery.ping(owner, now)
        else:
            # Bounded by the cooldown and paid for by the newcomer's request, so that an
            # owner which has not proved its address can be asked as well.
            self._delivery.send_ping(owner, Reason.OWNER_CHECK, now)
        dispute.probes += 1
        self._state.timers.schedule(
            now + dispute.interval_s, lambda at: self._probe(node_id, dispute, at)
        )

    def _settle(self, node_id: str, dispute: _Dispute, now: float) -> None:
        self._decide(node_id, dispute, now)
        newest = dispute.newest
        if newest is None:
            return
        owner = self._state.peers.with_id(node_id)
        is_same_attempt = owner is not None and newest.request_id in owner.handshakes.requests[-1:]
        if owner is None or owner.address == newest.address or is_same_attempt:
            newest.grant(now, None)
        elif dispute.is_second or owner.address != dispute.claim.address:
            newest.refuse(now)
        else:
            self._begin_second(node_id, dispute, replace(newest, owner=owner), now)

    def _begin_second(self, node_id: str, first: _Dispute, claim: Claim, now: float) -> None:
        """Ask the one that has just been let in whether it is there still."""
        end = first.newest_at + SECOND_ANSWER_S
        second = _Dispute(claim, now, max(end - now, 0.0) / PROBES, is_second=True, is_gentle=True)
        if self._disputes.put(node_id, second, address=claim.address):
            self._probe(node_id, second, now)

    def _decide(self, node_id: str, dispute: _Dispute, now: float) -> None:
        claim, owner = dispute.claim, dispute.claim.owner
        del self._disputes[node_id]
        if self._state.peers.with_id(node_id) is owner:
            if owner.last_received > dispute.began:
                self._remember_settled(node_id, now, owner_answered=True)
                claim.refuse(now)
                return
            where = address_words(claim.address)
            reason = f"silent, and its id came from {where}"
            if not owner.proved:
                # Forged handshakes under one id must not make two victims of Pings.
                self._remember_settled(node_id, now, owner_answered=False)
            self._lifecycle.move(owner, now, reason, claim.grant)
            return
        claim.grant(now, None)

    def _remember_settled(self, node_id: str, now: float, *, owner_answered: bool) -> None:
        settled = _Settled(owner_answered)
        self._settled.put(node_id, settled)
        self._state.timers.schedule(
            now + COOLDOWN_S, lambda _: self._forget_settled(node_id, settled)
        )

    def _forget_settled(self, node_id: str, settled: _Settled) -> None:
        if self._settled.get(node_id) is settled:
            del self._settled[node_id]
