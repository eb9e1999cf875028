"""The parts that serve peers and belong to no room."""

from p2ptui.core.data import DataService, ReceiveWindows
from p2ptui.core.delivery import Delivery, PathProbes
from p2ptui.core.filter_probes import FilterProbes
from p2ptui.core.mesh.parts import MeshParts
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.core.stun import StunService


class ServiceParts:
    """Makes them.

    Args:
        state: The state that they share.
        delivery: Sends messages.
        sessions: What begins and ends sessions.
        mesh: What knows other nodes.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, sessions: SessionParts, mesh: MeshParts
    ) -> None:
        self.stun = StunService(state, delivery, sessions.lifecycle, sessions.admission)
        """STUN on this socket and others; closed until it is opened."""
        self.probes = FilterProbes(state, delivery)
        """Probes by peers, for nodes that want to know what their NAT filters."""
        self.path_probes = PathProbes(state, delivery)
        """Finds out how large a datagram to each peer may be."""
        self.windows = ReceiveWindows(state, delivery, sessions.lifecycle)
        """How much more of a peer's data this node's program can take."""
        self.data = DataService(state, delivery, mesh.routing, mesh.pager)
        """Messages with data."""
