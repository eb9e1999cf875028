"""The parts of the mesh: lists, introductions, routes, and the search for neighbours."""

from p2ptui.core.delivery import Delivery
from p2ptui.core.mesh.discovery import Discovery
from p2ptui.core.mesh.endtoend import EndToEnd
from p2ptui.core.mesh.introduction import Introductions
from p2ptui.core.mesh.introduction_calls import IntroductionCalls
from p2ptui.core.mesh.naming import Naming
from p2ptui.core.mesh.neighbours import Neighbours
from p2ptui.core.mesh.pager import Pager
from p2ptui.core.mesh.punching import Punches
from p2ptui.core.mesh.queries import Queries
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.mesh.watching import Watching
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState


class MeshParts:
    """Makes the parts of the mesh.

    Args:
        state: The shared state.
        delivery: Sends messages.
        sessions: Where peers come and go.
    """

    def __init__(self, state: NodeState, delivery: Delivery, sessions: SessionParts) -> None:
        lifecycle, handshake = sessions.lifecycle, sessions.handshake
        self.pager = Pager(state, delivery)
        self.discovery = discovery = Discovery(state, delivery, lifecycle, self.pager)
        discovery.admits_claim = sessions.admission.may_be_news
        self.queries = queries = Queries(state, delivery)
        introductions = Introductions(state)
        self.routing = routing = Routing(state, delivery, introductions)
        lifecycle.on_joined.append(routing.handle_joined)
        lifecycle.on_left.append(routing.handle_left)
        self.naming = naming = Naming(state, queries, routing, lifecycle)
        self.watching = Watching(state, delivery, naming, lifecycle)
        self.end_to_end = EndToEnd(state, delivery, routing, sessions.server_watch.doubt)
        lifecycle.on_joined.append(self.end_to_end.handle_joined)
        self.punches = punches = Punches(state, delivery)
        calls = IntroductionCalls(state, delivery, handshake, punches.ask)
        self.rendezvous = rendezvous = Rendezvous(
            state, delivery, introductions, punches, calls, routing
        )
        rendezvous.on_contradicted = sessions.server_watch.doubt
        lifecycle.on_left.append(rendezvous.leave_server)
        self.neighbours = Neighbours(state, delivery, handshake)
        queries.on_list = sessions.membership.handle_list
        discovery.on_listed += [routing.learn_listed, introductions.refresh, naming.handle_listed]
        discovery.on_unlisted += [routing.forget_unlisted, introductions.forget]
