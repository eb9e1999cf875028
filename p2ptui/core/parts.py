"""The parts of one endpoint: which there are, and whom each knows."""

import random

from p2ptui.config import Config
from p2ptui.core.data import DataService, ReceiveWindows
from p2ptui.core.delivery import Delivery, PathProbes
from p2ptui.core.dispatch import Dispatch, Receivers
from p2ptui.core.filter_probes import FilterProbes
from p2ptui.core.mesh.discovery import Discovery
from p2ptui.core.mesh.endtoend import EndToEnd
from p2ptui.core.mesh.naming import Naming
from p2ptui.core.mesh.neighbours import Neighbours
from p2ptui.core.mesh.pager import Pager
from p2ptui.core.mesh.queries import Queries
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.mesh.watching import Watching
from p2ptui.core.messages import EXTENSIONS
from p2ptui.core.messages.budgets import Accounts
from p2ptui.core.messages.inbox import Inbox
from p2ptui.core.messages.session_messages import SessionMessages
from p2ptui.core.messages.strangers import Strangers
from p2ptui.core.messages.table import MessageTable
from p2ptui.core.mobility.moving import Moving
from p2ptui.core.mobility.resumption import Resumptions
from p2ptui.core.relay.control import RelayControl
from p2ptui.core.relay.failover import Failover
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.relay.requests import Relay
from p2ptui.core.services import Services
from p2ptui.core.sessions.admission import Admission
from p2ptui.core.sessions.crossings import Crossings
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.handshake_messages import HandshakeMessages
from p2ptui.core.sessions.keepalive import Keepalives
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.sessions.membership import Membership
from p2ptui.core.sessions.other_ways import AlternatePaths
from p2ptui.core.sessions.race import Races
from p2ptui.core.sessions.responder import Responder
from p2ptui.core.sessions.server_watch import ServerWatch
from p2ptui.core.sessions.takeover import Takeover
from p2ptui.core.state import NodeState
from p2ptui.core.stun import StunService
from p2ptui.core.traversal.room import Traversal
from p2ptui.wire.message import NodeInfo


class Parts:
    """Makes the parts, and brings them together.

    Args:
        config: Every option.
        identity: Who this node is; see `core.identity.own_node_info`.
        rng: The only source of randomness.
        unix_offset: Unix time minus the clock that all `now` come from, seconds.
    """

    def __init__(
        self,
        config: Config,
        identity: NodeInfo,
        rng: random.Random,
        unix_offset: float = 0.0,
    ) -> None:
        self._state = state = NodeState(config, identity, rng, unix_offset)
        self._delivery = delivery = Delivery(state, EXTENSIONS)
        self._lifecycle = lifecycle = Lifecycle(state, delivery)
        self._admission = Admission(config.security, state.tables)
        state.gate.admits_answer = self._admission.may_answer
        self._takeover = takeover = Takeover(state, delivery, lifecycle)
        crossings = Crossings(identity.id)
        self._handshake = handshake = Handshake(state, delivery, lifecycle, takeover, crossings)
        self._races = Races(state, delivery, handshake)
        self._ways = AlternatePaths(state, delivery, lifecycle)
        self._responder = Responder(
            state,
            delivery,
            lifecycle,
            takeover,
            handshake,
            self._ways,
            crossings,
        )
        self._liveness = Liveness(state, delivery, lifecycle)
        self._liveness.on_goodbye = self._ways.handle_goodbye
        self._pager = Pager(state, delivery)
        self._discovery = Discovery(state, delivery, lifecycle, self._pager)
        self._queries = Queries(state, delivery)
        self._membership = Membership(state, delivery, lifecycle)
        self._membership.on_forgotten = self._handshake.reconnect
        self._queries.on_list = self._membership.handle_list
        self._routing = Routing(state, delivery, lifecycle)
        self.naming = Naming(state, self._queries, self._routing, lifecycle)
        """The names of nodes that are no peers."""
        self.watching = Watching(state, delivery, self.naming, lifecycle)
        """Keeps the lists of the joined servers fresh while somebody looks."""
        self.server_watch = ServerWatch(state, delivery, lifecycle)
        """The closer look at servers about which there is doubt."""
        self._end_to_end = EndToEnd(state, delivery, self._routing, self.server_watch)
        self._relay_control = RelayControl(state, delivery, lifecycle)
        self._relay = Relay(state, delivery, lifecycle, self._relay_control)
        self._relay_frames = RelayFrames(state, delivery, lifecycle, self._relay_control)
        self._failover = Failover(state, delivery, lifecycle, self._relay_frames, self.server_watch)
        self._resumptions = resumptions = Resumptions(
            state, delivery, lifecycle, handshake, self._failover
        )
        self._liveness.on_forgotten = resumptions.take_up
        self._liveness.is_asked_anew = resumptions.is_under_way
        self._liveness.on_beat += [self._membership.check, self._failover.check_beat]
        self.traversal = Traversal(state, delivery, lifecycle, handshake, self._relay_frames)
        crossings.has_path = self.traversal.has_path
        """Direct paths to nodes that a server knows too."""
        self.keepalives = Keepalives(
            state,
            delivery,
            lifecycle,
            lambda: self.traversal.offers.hosts,
            lambda: self.traversal.offers.facts.nat_type,
        )
        """Keeps the ways to servers open."""
        self.moving = Moving(
            state, delivery, resumptions, self._liveness, self.traversal, self.keepalives
        )
        """What happens when the machine moved, or slept."""
        self._liveness.on_pinged = self.keepalives.note_heartbeat
        self._responder.on_restart = self._failover.note_restart
        self._failover.on_moved = self.traversal.session_follower.follow
        self._failover.on_rescued = self.traversal.regain
        self.traversal.head_start.listed_address = self._routing.listed_address
        self._rendezvous = Rendezvous(state, delivery, lifecycle, self._handshake, self._routing)
        self._rendezvous.on_introduced = self.traversal.intake.handle_introduction
        self._rendezvous.on_incapable = self.traversal.refusals.handle_incapable
        self._rendezvous.on_unknown = self.traversal.refusals.handle_unknown
        self._relay.on_refused = self._relay_frames.handle_refusal
        self._relay_frames.on_refused = self.traversal.refusals.handle_refused
        self._discovery.on_listed += [
            self._routing.learn_listed,
            self._rendezvous.refresh,
            self.naming.handle_listed,
        ]
        self._discovery.on_unlisted += [self._routing.forget_unlisted, self._rendezvous.forget]
        self.neighbours = Neighbours(state, delivery, self._handshake)
        """Local discovery; `start` it once the networks are known."""
        self.stun = StunService(state, delivery, lifecycle, self._admission)
        """STUN on this socket and others; closed until it is opened."""
        self.probes = FilterProbes(state, delivery)
        """Probes by peers, for those who want to know what their NAT lets in."""
        self.path_probes = PathProbes(state, delivery, self._relay_frames)
        """Finds out how large a datagram to each peer may be."""
        self._windows = ReceiveWindows(state, delivery, lifecycle)
        data = DataService(state, delivery, self._routing, self._pager)
        services = Services(
            self._handshake,
            self._liveness,
            self._discovery,
            self._queries,
            self._rendezvous,
            self._relay,
            self.stun,
            self.probes,
            data,
            self._windows,
            self.path_probes,
            resumptions,
            SessionMessages(state, delivery, self._liveness, data, self._rendezvous),
        )
        accounts = Accounts(state.counters.drop, state.most_peers)
        lifecycle.on_left.append(accounts.forget)
        outside = (
            HandshakeMessages(state, handshake),
            self._responder,
            self.neighbours,
            self._failover.way_checks,
            self._end_to_end,
        )
        table = MessageTable((*services, *outside), accounts)
        self._end_to_end.takers = table.routed
        self._strangers = strangers = Strangers(
            state,
            delivery,
            table,
            self._rendezvous,
            self._admission,
            self._races,
            self._ways,
        )
        inbox = Inbox(state, delivery, services, table)
        self._ways.on_message = inbox.receive
        self._dispatch = Dispatch(
            state,
            self._admission,
            Receivers(
                table,
                strangers,
                inbox,
                self._relay_frames,
                self.keepalives,
                self._failover,
                self.traversal.checks,
                self.probes,
                self.stun,
            ),
        )

    def sizes(self) -> dict[str, int]:
        """How full everything is that grows with what others do; each has a limit."""
        return self._state.tables.sizes()
