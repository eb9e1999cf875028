"""The parts of relaying: as a server, and as one of the two ends that it connects."""

from p2ptui.core.delivery import Delivery
from p2ptui.core.handed import HandedOver
from p2ptui.core.mesh.parts import MeshParts
from p2ptui.core.mesh.passages import Passages
from p2ptui.core.peers import Handing
from p2ptui.core.relay.control import RelayControl
from p2ptui.core.relay.failover import Failover
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.relay.requests import Relay
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState


class RelayParts:
    """Makes the parts of relaying.

    Args:
        state: The shared state.
        delivery: Sends messages.
        sessions: Where peers come and go.
        mesh: Takes other messages that servers hand over.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, sessions: SessionParts, mesh: MeshParts
    ) -> None:
        lifecycle = sessions.lifecycle
        self.control = control = RelayControl(state, delivery, lifecycle)
        self.requests = Relay(state, delivery, lifecycle, control)
        self.frames = frames = RelayFrames(state, delivery, lifecycle, control)
        self.failover = Failover(state, delivery, lifecycle, frames, sessions.server_watch)
        state.taker = HandedOver(
            state,
            delivery,
            {
                Handing.FRAME: frames,
                Handing.RELAY_DATA: self.requests,
                Handing.ROUTED: Passages(state, mesh.routing),
                Handing.INTRODUCTION: mesh.rendezvous,
            },
        )
        self.requests.on_refused = frames.handle_refusal
        sessions.liveness.on_beat.append(self.failover.check_beat)
