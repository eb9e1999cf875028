"""The parts of the secured session within the core."""

from p2ptui.core.sealing import Seals
from p2ptui.core.secure.answering import Answering
from p2ptui.core.secure.clear import Clear
from p2ptui.core.secure.opening import Opening
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState


class SecureParts:
    """Makes them.

    Args:
        state: The shared ground.
        seals: The secured sessions.
        sessions: Where peers are let in.
    """

    def __init__(self, state: NodeState, seals: Seals, sessions: SessionParts) -> None:
        sessions.lifecycle.on_removed.append(lambda peer, _: seals.forget(peer))
        self.answering = Answering(state, seals, sessions)
        self.opening = Opening(state, seals, self.answering)
        self.clear = Clear(state, self.answering, sessions.lifecycle)
