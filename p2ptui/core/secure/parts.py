"""The parts of secured sessions within the core."""

from p2ptui.core.delivery import Delivery
from p2ptui.core.sealing import Seals
from p2ptui.core.secure.answering import Answering
from p2ptui.core.secure.clear import Clear
from p2ptui.core.secure.completing import Completing
from p2ptui.core.secure.displacing import Displacing
from p2ptui.core.secure.early import Early
from p2ptui.core.secure.inside import Inside
from p2ptui.core.secure.opening import Opening
from p2ptui.core.secure.rekeying import Rekeying
from p2ptui.core.secure.restarts import Restarts
from p2ptui.core.secure.securing import Securing
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState


class SecureParts:
    """Makes the parts of secured sessions.

    Args:
        state: The shared state.
        seals: The secured sessions.
        delivery: Sends messages.
        sessions: Where peers are admitted.
    """

    def __init__(
        self, state: NodeState, seals: Seals, delivery: Delivery, sessions: SessionParts
    ) -> None:
        lifecycle, gate = sessions.lifecycle, state.gate
        lifecycle.on_removed.append(lambda peer, _: seals.forget(peer, gate.now))
        self.answering = answering = Answering(state, seals, sessions)
        displacing = Displacing(state, delivery, lifecycle)
        completing = Completing(state, seals, answering, sessions, displacing.begin)
        early = Early(state)
        answering.on_forgotten, completing.on_begun = early.forget, early.release
        self.restarts = restarts = Restarts(state, delivery, sessions)
        securing = Securing(state, seals, restarts.beside, lifecycle)
        self.rekeying = rekeying = Rekeying(state, seals, lifecycle, restarts.beside)
        sessions.liveness.on_beat.append(rekeying.check)
        inside = Inside(state, seals, delivery, lifecycle, rekeying)
        self.roaming, self.own_moves = inside.roaming, inside.own_moves
        self.opening = Opening(state, seals, answering, completing, early, restarts, inside)
        self.clear = Clear(state, answering, sessions, self.opening)
        self.clear.on_answer.append(restarts.beside.take_answer)
        sessions.liveness.on_beat.append(securing.check)
