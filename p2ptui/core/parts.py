"""The parts of one endpoint, and how they are connected."""

from typing import TYPE_CHECKING

from p2ptui.core.delivery import Delivery
from p2ptui.core.dispatch import Dispatch, Receivers
from p2ptui.core.mesh.parts import MeshParts
from p2ptui.core.messages import EXTENSIONS, FOLLOWING, SessionMessages
from p2ptui.core.messages.parts import MessageParts
from p2ptui.core.mobility.parts import MobilityParts
from p2ptui.core.relay.parts import RelayParts
from p2ptui.core.service_parts import ServiceParts
from p2ptui.core.services import Services
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.room import Traversal

if TYPE_CHECKING:
    from p2ptui.core.cluster.room import Cluster


class Parts:
    """Makes the parts and connects them.

    Args:
        state: The state that they share.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._delivery = delivery = Delivery(state, EXTENSIONS, FOLLOWING)
        self._sessions = sessions = SessionParts(state, delivery)
        self._lifecycle, self._handshake = sessions.lifecycle, sessions.handshake
        self._races, self._liveness = sessions.races, sessions.liveness
        self._responder = sessions.responder
        self.server_watch = sessions.server_watch
        """The closer watch on servers that may be dead."""
        self._mesh = mesh = MeshParts(state, delivery, sessions)
        self._discovery, self._queries, self._routing = mesh.discovery, mesh.queries, mesh.routing
        self._end_to_end, self._rendezvous = mesh.end_to_end, mesh.rendezvous
        self.far_seals = mesh.end_to_end.far.seals
        """Secured sessions with nodes that are no peers, through others."""
        self.naming = mesh.naming
        """The names of nodes that are no peers."""
        self.watching = mesh.watching
        """Keeps the lists of the joined servers fresh while somebody looks."""
        self.neighbours = mesh.neighbours
        """Local discovery; `start` it once the networks are known."""
        relays = RelayParts(state, delivery, sessions, mesh)
        self._relay_control, self._relay = relays.control, relays.requests
        self._relay_frames, self._failover = relays.frames, relays.failover
        self.traversal = Traversal(
            state, delivery, sessions.lifecycle, sessions.handshake, relays.frames
        )
        """Direct paths to nodes that a server also knows."""
        self._mobility = mobility = MobilityParts(
            state, delivery, sessions, relays.failover, self.traversal
        )
        self.keepalives = mobility.keepalives
        """Keeps the paths to servers open."""
        self.home, self.guests = mobility.home, mobility.guests
        """The server of a cluster that this node is at, and the nodes that are at this one."""
        self.moving = mobility.moving
        """Handles a machine that has moved or slept."""
        self._serving = serving = ServiceParts(state, delivery, sessions, mesh)
        self.stun, self.probes = serving.stun, serving.probes
        """STUN, and probes for nodes that want to know what their NAT filters."""
        self.path_probes = serving.path_probes
        """Finds out how large a datagram to each peer may be."""
        self._messages = messages = MessageParts(
            state, delivery, sessions, mesh, relays.failover, self._services()
        )
        messages.arrivals.clear = mobility.clear
        self._connect_rooms()
        self._dispatch = Dispatch(
            state,
            Receivers(
                messages.arrivals,
                messages.inbox,
                relays.frames,
                mobility.keepalives,
                relays.failover,
                self.traversal.checks,
                self.probes,
                self.stun,
            ),
        )

    def _services(self) -> Services:
        """The handlers of messages from peers."""
        sessions, mesh, serving = self._sessions, self._mesh, self._serving
        goodbye = self.home.note_goodbye
        return Services(
            sessions.handshake,
            sessions.liveness,
            mesh.discovery,
            mesh.queries,
            mesh.rendezvous,
            self._relay,
            serving.stun,
            serving.probes,
            serving.data,
            serving.windows,
            serving.path_probes,
            self._mobility.resumptions,
            SessionMessages(
                self._state,
                self._delivery,
                sessions.liveness,
                serving.data,
                mesh.rendezvous,
                goodbye,
            ),
            self.home,
            self.guests,
        )

    def _connect_rooms(self) -> None:
        """Report events of rooms to others that do not know them."""
        traversal, rendezvous = self.traversal, self._rendezvous
        self._sessions.crossings.has_path = traversal.has_path
        self._responder.on_restart = self._failover.note_restart
        self._responder.on_answered_again = self._discovery.push
        self._failover.on_moved = traversal.session_follower.follow
        self._failover.on_rescued = traversal.regain
        traversal.head_start.listed_address = self._routing.listed_address
        rendezvous.read_offer = traversal.offers.sealed.take
        rendezvous.on_introduced = traversal.intake.handle_introduction
        rendezvous.on_incapable = traversal.refusals.handle_incapable
        rendezvous.on_unknown = traversal.refusals.handle_unknown
        self._relay_frames.on_refused = traversal.refusals.handle_refused
        self.path_probes.sharing = self._relay_frames.sharing

    def open_cluster(self, name: str, advertised: str, now: float) -> "Cluster":
        """Serve the network together with others; the caller connects the result to their broker.

        Args:
            name: The display name of this server.
            advertised: Where clients reach it, `HOST:PORT`.
            now: The time, seconds.

        Raises:
            ValueError: This node has no keys, so that the others could not know it.
        """
        from p2ptui.core.cluster.room import Cluster

        state = self._state
        if state.seals is None:
            raise ValueError("a server of a cluster needs keys")
        options = state.config.cluster
        cluster = Cluster(
            state,
            self._delivery,
            self._lifecycle,
            state.taker,
            name,
            advertised,
            state.seals.keys.identity,
            max_nodes=options.max_nodes,
            heartbeat_s=options.heartbeat,
        )
        guests = self.guests
        guests.open(cluster.note_statement, cluster.statement_of)

        def tell_others(now: float) -> None:
            guests.note_others(
                [(s.server_id, s.advertised) for s in cluster.servers(now) if not s.is_draining],
                now,
            )

        cluster.on_servers.append(tell_others)
        cluster.on_joined_elsewhere.append(self._discovery.note_joined_elsewhere)
        cluster.on_left_elsewhere += [
            self._relay_control.note_left_elsewhere,
            self._discovery.note_left_elsewhere,
        ]
        cluster.open(now)
        return cluster

    def sizes(self) -> dict[str, int]:
        """How full everything is that grows with what others do; all of it is limited."""
        return self._state.tables.sizes()
