"""A newcomer brings the id of a peer at another address: the old address is asked first.

Alive, and the newcomer is refused; silent, and it takes over (its NAT gave it
another port, or it restarted). Either way within what clients wait.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.events import PeerStatus
from p2ptui.core.handshake import Arrival, Handshake
from p2ptui.core.lifecycle import Lifecycle
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.wire.address import format_address

PROBES: Final = 4
PROBE_INTERVAL_S: Final = 0.3
"""Four Pings over 1.2 s: at 20 % loss each way one in 60 goes unanswered by a peer that is
alive, and any other traffic counts too. Deployed clients give up after 2 s."""

COOLDOWN_S: Final = 10.0
"""An id whose owner proved alive is not probed again for this long."""


@dataclass(slots=True)
class _Dispute:
    arrival: Arrival
    owner: Peer
    began: float
    probes: int = 0


class Takeover:
    """Settles who owns a node id.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Where the silent owner is removed.
        handshake: Where the newcomer is accepted or refused.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, handshake: Handshake
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._handshake = handshake
        self._disputes: dict[str, _Dispute] = {}
        self._alive_until: dict[str, float] = {}
        handshake.on_id_taken = self.begin

    def __len__(self) -> int:
        return len(self._disputes) + len(self._alive_until)

    def begin(self, arrival: Arrival, owner: Peer, now: float) -> None:
        """A request names the id of `owner`, who is at another address."""
        node_id = arrival.info.id
        if node_id in self._disputes:
            return  # the answer is on its way; repetitions wait for it
        if not owner.is_authenticated:
            # It was only being asked for, under an id that an earlier session told.
            self._handshake.refuse_known(arrival, now)
            return
        if self._alive_until.get(node_id, 0.0) > now:
            self._handshake.refuse_known(arrival, now)
            return
        if len(self._disputes) >= self._state.config.security.max_unauthenticated_connections:
            self._state.counters.drop("disputes_full")
            return
        dispute = self._disputes[node_id] = _Dispute(arrival, owner, now)
        self._probe(dispute, now)

    def _probe(self, dispute: _Dispute, now: float) -> None:
        owner = dispute.owner
        if owner.last_received > dispute.began or dispute.probes == PROBES:
            self._settle(dispute, now)
            return
        # Bounded by the cooldown and paid for by the newcomer's request, so that an
        # owner which has not proved its address can be asked as well.
        self._delivery.ping(owner, now, budgeted=False)
        dispute.probes += 1
        self._state.timers.schedule(now + PROBE_INTERVAL_S, lambda at: self._probe(dispute, at))

    def _settle(self, dispute: _Dispute, now: float) -> None:
        arrival, owner = dispute.arrival, dispute.owner
        node_id = arrival.info.id
        del self._disputes[node_id]
        current = self._state.peers.with_id(node_id)
        if current is owner and owner.last_received > dispute.began:
            self._remember_alive(node_id, now)
            self._handshake.refuse_known(arrival, now)
            return
        if current is owner:
            where = format_address(arrival.address)
            self._lifecycle.remove(
                owner, PeerStatus.DISCONNECTED, now, f"silent, and its id came from {where}"
            )
        self._handshake.accept(arrival, now)

    def _remember_alive(self, node_id: str, now: float) -> None:
        self._alive_until[node_id] = now + COOLDOWN_S
        # Never more entries than peers: only ids of peers get here, each for ten seconds.
        self._state.timers.schedule(now + COOLDOWN_S, lambda _: self._forget_alive(node_id))

    def _forget_alive(self, node_id: str) -> None:
        self._alive_until.pop(node_id, None)
