"""The parts that keep a node's sessions while addresses change: its own, its NAT's, its peers'."""

from p2ptui.core.delivery import Delivery
from p2ptui.core.mobility.confirming import Confirming
from p2ptui.core.mobility.guests import Guests
from p2ptui.core.mobility.home import Home
from p2ptui.core.mobility.moving import Moving
from p2ptui.core.mobility.resumption import Resumptions
from p2ptui.core.relay.failover import Failover
from p2ptui.core.secure.clear import Clear
from p2ptui.core.secure.parts import SecureParts
from p2ptui.core.sessions.keepalive import Keepalives
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.room import Traversal


class MobilityParts:
    """Makes the parts of mobility.

    Args:
        state: The shared state.
        delivery: Sends messages.
        sessions: Begin and end sessions.
        failover: Carries sessions on through servers.
        traversal: Knows this node's addresses and its direct paths.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        sessions: SessionParts,
        failover: Failover,
        traversal: Traversal,
    ) -> None:
        lifecycle, liveness = sessions.lifecycle, sessions.liveness
        self.resumptions = resumptions = Resumptions(
            state, delivery, lifecycle, sessions.handshake, failover
        )
        confirming = Confirming(state, delivery, lifecycle, resumptions.begin_anew)
        sessions.handshake.on_taken = confirming.begin
        resumptions.take_second_answer = confirming.take_answer
        self.keepalives = keepalives = Keepalives(
            state,
            delivery,
            lifecycle,
            lambda: traversal.offers.hosts,
            lambda: traversal.offers.facts.nat_type,
        )
        liveness.on_forgotten = resumptions.take_up
        liveness.is_asked_anew = resumptions.is_under_way
        liveness.on_pinged = keepalives.note_heartbeat
        keepalives.beat_early = liveness.beat_early
        self.clear: Clear | None = None
        """Rules for messages in the clear; None if this node speaks only in the open."""
        own_moves = None
        if state.seals is not None:
            secure = SecureParts(state, state.seals, delivery, sessions)
            secure.clear.on_answer.append(resumptions.take_answer)
            self.clear = secure.clear
            own_moves = secure.own_moves
        self.moving = Moving(
            state, delivery, resumptions, liveness, traversal, keepalives, own_moves
        )
        lifecycle.on_joined.append(self.moving.note_joined)
        lifecycle.on_left.append(self.moving.forget)
        self.home = home = Home(state, delivery, lifecycle, sessions.server_watch)
        home.on_moved = failover.note_home
        keepalives.take_other_answer = home.note_kept_alive
        self.guests = guests = Guests(state, delivery)
        liveness.tell_whither = guests.whither
