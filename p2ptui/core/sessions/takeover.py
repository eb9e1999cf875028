"""A newcomer claims the id of a peer at another address: the old address is asked first.

If the peer is alive, the newcomer is refused; if it is silent, the newcomer takes over (its NAT
gave it another port, or it restarted). Either way this takes no longer than clients wait.

An attacker that forges the old address must not keep the id's owner out. So a node of our kind
counts as alive only if it returns something unguessable. A deployed program is alive if it answers
the Pings, each once and all equally late: they leave at moments that nobody can guess. Other
traffic in its name keeps its id once, and not against a node that asks again.

Nor must forged claims: a newcomer of our kind gets the id once it has acknowledged its answer, and
until then the owner stays what it was; see `newcomers`. Other newcomers that were refused stay
refused for a while, at their address: the next claim from elsewhere may be the owner's own.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from p2ptui.bounded import BoundedTable, Share
from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import address_words
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.disputes import Claim, Dispute, Sign, sign_of
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.trust import vouches
from p2ptui.wire.address import Address

__all__ = ["Claim", "Takeover"]

PROBES: Final = 4
PROBE_INTERVAL_S: Final = 0.3
"""Four Pings over 1.2 s, at most, for a deployed program: at 20 % loss each way one in 60 goes
unanswered by a peer that is alive. What else counts is said above. Deployed clients give up after
2 s."""

UNEVEN: Final[tuple[float, ...]] = (0.3, 1.3)
"""The pause between two Pings to a deployed program, in intervals: drawn at random between
these."""

SECOND_ANSWER_S: Final = 1.9
"""After what time a claim is answered that came while another was being examined."""

CLOSER_PROBES: Final = 6
CLOSER_INTERVAL_S: Final = 0.2
"""The number and interval of Pings to a node of our kind, for which nothing else counts."""

COOLDOWN_S: Final = 10.0
"""How long a refused newcomer is refused again without asking the owner; nor is a newcomer that has
proved nothing pinged beyond its allowance."""

PAUSE_S: Final = 0.5
"""How much later an owner that has just answered is asked about the next claim."""

LAST_GRANT_S: Final = 0.5
"""How long newcomers that can prove that they are there come before those that cannot."""

MAX_CLAIMS: Final = 1024
"""Waiting claims of nodes of our kind, in total; the oldest makes room, and is repeated."""

MAX_CLAIMS_TO_ONE: Final = 256
"""The same for one id."""


MAX_REFUSED: Final = 256
"""Addresses remembered as refused one id."""


@dataclass(slots=True, eq=False)
class _Settled:
    """What is known about an id that was recently disputed."""

    is_new: bool = False
    """Whether its owner was silent and had not proved its address: its successor is pinged only
    within its allowance until it has proved its own."""
    silent: Peer | None = None
    """A silent owner, while no newcomer has proved that it is there."""
    silent_at: float = 0.0
    shown_at: float = -PAUSE_S
    """When the owner was last found alive."""
    doubted_until: float = 0.0
    """Until when datagrams that anybody can forge in its name do not count."""
    refused: BoundedTable[Address, float] = field(default_factory=lambda: BoundedTable(MAX_REFUSED))
    """The refused addresses, and until when, seconds."""


class Takeover:
    """Decides who owns a node id.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Moves a silent owner.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._disputes: BoundedTable[str, Dispute] = state.tables.add(
            "id_disputes",
            BoundedTable(
                lambda: state.config.security.max_unauthenticated_connections,
                refuses=True,
                full="disputes_full",
                shares=state.tables.shares,
            ),
        )
        # Only ids of peers get here, each for ten seconds.
        self._settled: BoundedTable[str, _Settled] = state.tables.add(
            "id_disputes", BoundedTable(state.most_peers)
        )
        self._claims: BoundedTable[tuple[str, Address], Claim] = state.tables.add(
            "id_disputes",
            BoundedTable(
                MAX_CLAIMS,
                full="claim_forgotten",
                shares=state.tables.shares,
                peer_share=Share(MAX_CLAIMS_TO_ONE, makes_room=True),
            ),
        )

        lifecycle.on_removed.append(self._forget_silent)
        lifecycle.on_vacated = self._handle_vacated

    def _forget_silent(self, owner: Peer, _reason: str) -> None:
        """An owner has gone; one of the newcomers may have its place by now."""
        settled = self._settled.get(owner.node_id)
        if settled is not None and settled.silent is owner:
            settled.silent = None
            if not (settled.is_new or settled.refused or settled.doubted_until):
                del self._settled[owner.node_id]

    def _handle_vacated(self, owner: Peer, now: float) -> None:
        """Others found an owner silent; its seat goes to the node that has claimed its id
        before."""
        dispute = self._disputes.get(owner.node_id)
        if dispute is not None and dispute.claim.owner is owner:
            self._settle(owner.node_id, dispute, now)

    def begin(self, claim: Claim, now: float) -> None:
        """Ask the owner whether it is there, unless it proved so recently. A newcomer that names
        something that only the owner can know about its session is the owner; a goodbye that
        names it is believed, too."""
        owner = claim.owner
        if owner.is_authenticated and vouches(owner, claim.continues):
            self.grant_at_once(claim, now)
            return
        node_id = owner.node_id
        settled = self._settled.get(node_id)
        if claim.hold is None and settled and settled.refused.get(claim.address, now) > now:
            claim.refuse(now)
            return
        if claim.hold is not None and settled is not None and settled.silent is owner:
            if owner.liveness.shown_at < settled.silent_at:
                claim.hold(now)
                return
            settled.silent = None
        claim = replace(claim, came_at=now)
        dispute = self._disputes.get(node_id)
        if dispute is not None:
            self._queue(dispute, claim, now)
            return
        began = now if settled is None else max(now, settled.shown_at + PAUSE_S)
        # Forged handshakes with one id must not make one address after another a target of Pings.
        is_gentle = not owner.proved and (
            not owner.initiated or (settled is not None and settled.is_new)
        )
        if self._dispute(claim, began, now, is_gentle=is_gentle) and claim.hold is not None:
            self._queue(self._disputes[node_id], claim, now)

    def grant_at_once(self, claim: Claim, now: float) -> None:
        """The newcomer is the owner: nobody is asked."""
        reason = f"it goes on at {address_words(claim.address)}"
        self._lifecycle.move(claim.owner, now, reason, claim.grant)

    def _dispute(
        self,
        claim: Claim,
        began: float,
        now: float,
        *,
        is_gentle: bool,
        second_s: float | None = None,
    ) -> bool:
        """Ask an owner, from `began` on; returns whether there is room for that."""
        owner = claim.owner
        interval_s, most = PROBE_INTERVAL_S, PROBES
        if second_s is not None:
            interval_s = second_s / PROBES
        elif owner.acknowledges and not is_gentle:
            interval_s, most = CLOSER_INTERVAL_S, CLOSER_PROBES
        signs = owner.liveness.signs
        dispute = Dispute(
            claim,
            began,
            interval_s,
            most,
            signs.pongs,
            is_second=second_s is not None,
            is_gentle=is_gentle,
        )
        node_id = owner.node_id
        if not self._disputes.put(node_id, dispute, address=claim.address):
            return False
        if began > now:
            self._state.timers.schedule(began, lambda at: self._probe(node_id, dispute, at))
        else:
            self._probe(node_id, dispute, now)
        return True

    def _queue(self, dispute: Dispute, claim: Claim, now: float) -> None:
        if claim.hold is not None:
            owner = dispute.claim.owner
            key = (owner.node_id, claim.address)
            if key not in self._claims:
                self._claims.put(key, claim, peers=(owner,), address=claim.address)
            return
        if claim.address == dispute.claim.address:
            return  # the answer is on its way; repetitions wait for it
        newest = dispute.newest
        if newest is not None and newest.address == claim.address:
            return
        if newest is not None:
            newest.refuse(now)
        dispute.newest, dispute.newest_at = claim, now

    def _probe(self, node_id: str, dispute: Dispute, now: float) -> None:
        owner = dispute.claim.owner
        if self._disputes.get(node_id) is not dispute:
            return
        if self._state.closing:
            self._disputes.pop(node_id)
            return
        dispute.note_asked(owner.liveness.last_ping_sent)
        if dispute.probes == dispute.most or sign_of(owner, dispute) is Sign.ALIVE:
            self._settle(node_id, dispute, now)
            return
        if dispute.is_gentle:
            self._delivery.ping(owner, now)
        else:
            # Bounded by the cooldown. It has proved its address, or is one that this node asked.
            self._delivery.send_ping(owner, Reason.OWNER_CHECK, now)
        dispute.probes += 1
        dispute.note_asked(owner.liveness.last_ping_sent)
        due = now + dispute.interval_s
        if not owner.acknowledges:
            ends = dispute.began + dispute.most * dispute.interval_s
            uneven_s = dispute.interval_s * self._state.rng.uniform(*UNEVEN)
            due = ends if dispute.probes == dispute.most else min(now + uneven_s, ends)
        self._state.timers.schedule(max(due, now), lambda at: self._probe(node_id, dispute, at))

    def _settle(self, node_id: str, dispute: Dispute, now: float) -> None:
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
            # The node that has just been admitted is asked whether it is still there.
            second_s = max(dispute.newest_at + SECOND_ANSWER_S - now, 0.0)
            claim = replace(newest, owner=owner)
            self._dispute(claim, now, now, is_gentle=True, second_s=second_s)

    def _decide(self, node_id: str, dispute: Dispute, now: float) -> None:
        claim, owner = dispute.claim, dispute.claim.owner
        del self._disputes[node_id]
        keys = self._claims.of_peer(owner)
        claims = [self._claims[key] for key in keys]
        for key in keys:
            del self._claims[key]
        others = [claim] if claim.hold is None else []
        if self._state.peers.with_id(node_id) is not owner:
            for each in others + claims:
                each.grant(now, None)
            return
        sign, settled = sign_of(owner, dispute), self._note(node_id, now)
        if sign is Sign.GUESSABLE and now < settled.doubted_until:
            sign = Sign.NONE
        if sign is Sign.NONE:
            self._give_up(settled, dispute, others, claims, now)
            return
        if sign is Sign.ALIVE:
            settled.shown_at = now
        else:
            settled.doubted_until = now + COOLDOWN_S
        self._refuse(settled, owner, others + claims, sign, now)

    def _refuse(
        self, settled: _Settled, owner: Peer, claims: list[Claim], sign: Sign, now: float
    ) -> None:
        """The owner is there; claims that came after its last sign of life are examined anew."""
        shown_at, ours = owner.liveness.shown_at, owner.acknowledges
        for claim in claims:
            if ours and claim.came_at > shown_at:
                self.begin(claim, now)
                continue
            if sign is Sign.ALIVE and claim.hold is None:
                # Its source may be forged, but a node that can prove itself is never remembered
                # here.
                settled.refused.put(claim.address, now + COOLDOWN_S)
            claim.refuse(now)

    def _give_up(
        self,
        settled: _Settled,
        dispute: Dispute,
        others: list[Claim],
        claims: list[Claim],
        now: float,
    ) -> None:
        """The owner is silent: the id goes to a newcomer that proves that it is there, or else to
        the one that cannot."""
        owner = dispute.claim.owner
        settled.silent, settled.silent_at = owner, now
        if not owner.proved:
            # Forged handshakes with one id must not make two nodes the victims of Pings.
            settled.is_new = True
        for claim in claims:
            if claim.hold is not None:
                claim.hold(now)
        if not others:
            return
        if not claims:
            self._grant_silent(others[0], now)
            return
        self._state.timers.schedule(
            now + LAST_GRANT_S, lambda at: self._grant_late(others[0], dispute, at)
        )

    def _grant_late(self, claim: Claim, dispute: Dispute, now: float) -> None:
        owner = claim.owner
        is_owner = self._state.peers.with_id(owner.node_id) is owner
        if is_owner and sign_of(owner, dispute) is Sign.NONE and not self._state.closing:
            self._grant_silent(claim, now)
        else:
            claim.refuse(now)

    def _grant_silent(self, claim: Claim, now: float) -> None:
        reason = f"silent, and its id came from {address_words(claim.address)}"
        self._lifecycle.move(claim.owner, now, reason, claim.grant)

    def _note(self, node_id: str, now: float) -> _Settled:
        """What is known about an id, kept for a while from now on."""
        settled = self._settled.get(node_id)
        if settled is None:
            settled = _Settled()
            self._settled.put(node_id, settled)
            self._plan_end(node_id, settled, now)
        return settled

    def _plan_end(self, node_id: str, settled: _Settled, now: float) -> None:
        def end(at: float) -> None:
            if self._settled.get(node_id) is not settled:
                return
            shown_until = settled.shown_at + COOLDOWN_S
            if max(settled.doubted_until, shown_until, *settled.refused.values()) > at:
                self._plan_end(node_id, settled, at)
            else:
                del self._settled[node_id]

        self._state.timers.schedule(now + COOLDOWN_S, end)
