"""One socket's whole protocol state: datagrams and time in, datagrams and events out.

Five calls drive it, in the manner of quinn and aioquic: `receive_datagram`,
`handle_timeout`, `datagrams_to_send`, `next_timeout`, `next_event`. Everything
else is what the user of this node asks for; such a call returns a token, and a
CallFinished event with that token tells its end.
"""

import random
from collections.abc import Sequence

from p2ptui.config import Config
from p2ptui.core.addresses import address_words
from p2ptui.core.counters import Counters
from p2ptui.core.data import DataService, encode_data
from p2ptui.core.delivery import Delivery
from p2ptui.core.dispatch import Dispatch, Receivers
from p2ptui.core.events import Event, PeerStatus, SendResult, SendStatus
from p2ptui.core.filter_probes import FilterProbes
from p2ptui.core.inbox import Inbox
from p2ptui.core.mesh.discovery import Discovery
from p2ptui.core.mesh.endtoend import EndToEnd
from p2ptui.core.mesh.naming import Naming
from p2ptui.core.mesh.neighbours import Neighbours
from p2ptui.core.mesh.pager import Pager
from p2ptui.core.mesh.queries import Queries
from p2ptui.core.mesh.rendezvous import Introduction, Rendezvous
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.mesh.watching import Watching
from p2ptui.core.moving import Moving
from p2ptui.core.path_probes import PathProbes
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.core.readers import Readers
from p2ptui.core.receive_windows import ReceiveWindows
from p2ptui.core.relay.control import RelayControl
from p2ptui.core.relay.failover import Failover
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.relay.requests import Relay
from p2ptui.core.relay.values import RelayReport
from p2ptui.core.services import Services
from p2ptui.core.sessions.admission import Admission
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.keepalive import Keepalives
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.sessions.membership import Membership
from p2ptui.core.sessions.other_ways import OtherWays
from p2ptui.core.sessions.race import Races
from p2ptui.core.sessions.responder import Responder
from p2ptui.core.sessions.server_watch import ServerWatch
from p2ptui.core.sessions.strangers import Strangers
from p2ptui.core.sessions.takeover import Takeover
from p2ptui.core.state import NodeState
from p2ptui.core.stun import StunService
from p2ptui.core.traversal.searches import Traversal
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import (
    NULL,
    Capability,
    MessageType,
    NodeInfo,
    RouteEntry,
)


class Endpoint:
    """A node without its socket and its clock.

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
        self._delivery = delivery = Delivery(state)
        self._lifecycle = lifecycle = Lifecycle(state, delivery)
        self._admission = Admission(config.security)
        self._takeover = takeover = Takeover(state, delivery, lifecycle)
        self._handshake = handshake = Handshake(state, delivery, lifecycle, takeover)
        self._races = Races(state, delivery, handshake)
        self._ways = OtherWays(state, delivery, lifecycle)
        self._responder = Responder(
            state, delivery, lifecycle, takeover, handshake, self._admission, self._ways
        )
        self._liveness = Liveness(state, delivery, lifecycle)
        self._liveness.on_goodbye = self._ways.handle_goodbye
        self._liveness.on_forgotten = self._handshake.reconnect
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
        self._watch = ServerWatch(state, delivery, lifecycle)
        self._end_to_end = EndToEnd(state, delivery, self._routing, self._watch)
        self._relay_control = RelayControl(state, delivery, lifecycle)
        self._relay = Relay(state, delivery, lifecycle, self._relay_control)
        self._relay_frames = RelayFrames(state, delivery, lifecycle, self._relay_control)
        self._failover = Failover(state, delivery, lifecycle, self._relay_frames, self._watch)
        self._liveness.on_beat += [self._membership.check, self._failover.check_beat]
        self.traversal = Traversal(state, delivery, lifecycle, handshake, self._relay_frames)
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
            state, delivery, handshake, self._liveness, self.traversal, self.keepalives
        )
        """What happens when the machine moved, or slept."""
        self._liveness.on_pinged = self.keepalives.note_heartbeat
        self._failover.on_moved = self.traversal.follow
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
        )
        self._strangers = strangers = Strangers(
            state,
            delivery,
            self._handshake,
            self.neighbours,
            self._rendezvous,
            self._admission,
            self._races,
            self._ways,
        )
        inbox = Inbox(state, delivery, services)
        self._ways.on_message = inbox.receive
        self._dispatch = Dispatch(
            state,
            self._admission,
            Receivers(
                self._responder,
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

    # Getters.

    @property
    def config(self) -> Config:
        """Every option."""
        return self._state.config

    @property
    def identity(self) -> NodeInfo:
        """Who this node says it is."""
        return self._state.identity

    @property
    def peers(self) -> PeerTable:
        """Every node that this one talks to."""
        return self._state.peers

    @property
    def counters(self) -> Counters:
        """Totals since the start."""
        return self._state.counters

    @property
    def introductions(self) -> tuple[Introduction, ...]:
        """Nodes whose address a server has told."""
        return self._rendezvous.introductions

    def routes(self, now: float) -> list[RouteEntry]:
        """All routes that hold."""
        return list(self._routing.entries(now))

    def relays(self, limit: int) -> RelayReport:
        """What this node relays for others: at most `limit` relays and clients."""
        return self._relay_control.report(limit)

    def sizes(self) -> dict[str, int]:
        """How full everything is that grows with what others do; each has a limit."""
        return {
            "peers": len(self._state.peers),
            "aliases": self._state.peers.aliases,
            "timers": len(self._state.timers),
            "tracked_strangers": len(self._admission),
            "id_disputes": len(self._takeover),
            "addresses_that_lost": len(self._races),
            "other_ways": len(self._ways),
            "routes": len(self._routing.table),
            "routes_seen": self._routing.seen,
            "routed_waiting": len(self._end_to_end),
            "early_messages": len(self._strangers.early),
            "introductions": len(self._rendezvous),
            "introduced_pairs": self._rendezvous.pairs,
            "lists": len(self._pager),
            "lists_paused": self._pager.paused,
            "queries": len(self._queries),
            "servers_asked_for_names": len(self.naming),
            "lists_kept_fresh": len(self.watching),
            "membership_questions": len(self._membership),
            "keepalives": len(self.keepalives),
            "relays": len(self._relay_control),
            "relay_clients": self._relay_control.accounts,
            "relay_waiting_bytes": self._relay_control.waiting_bytes,
            "relay_requests": len(self._relay),
            "relayed_nodes": len(self._relay_frames),
            "relayed_sessions": len(self._failover),
            "servers_doubted": len(self._watch),
            "traversals": len(self.traversal),
            "filter_probes": len(self.probes),
            "stun_in_work": len(self.stun),
            "reader_bytes": self._state.readers.used_bytes,
            "senders_waiting": self._state.readers.waiting,
            "reassembly_bytes": self._state.reassembly_bytes,
        }

    @property
    def readers(self) -> Readers:
        """Those who read Data here; `handle_read` when one that was full has read."""
        return self._state.readers

    # The contract.

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        """Take one datagram; never raises, whatever it holds.

        Args:
            data: Its bytes.
            address: Where it came from, and to which of this machine's addresses (`AskedAddress`).
            now: The time, seconds, on the clock of all other calls.
        """
        self._dispatch.receive(data, address, now)

    def receive_beside(self, data: bytes, address: Address, socket: int, now: float) -> None:
        """Take one datagram from a further socket of a traversal; never raises.

        Args:
            data: Its bytes.
            address: Where it came from.
            socket: The number of the socket.
            now: The time, seconds.
        """
        self._dispatch.receive_beside(data, address, socket, now)

    def datagrams_to_send(self, _now: float) -> list[tuple[bytes, Address]]:
        """What must leave now, in order, each once; to an `AskedAddress` from its `own_host`."""
        return self._state.take_datagrams()

    def next_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called next, or None."""
        return self._state.timers.next_timeout()

    def handle_timeout(self, now: float) -> None:
        """Do all that is due at `now`."""
        self._state.timers.run(now)

    def handle_read(self, now: float) -> None:
        """A reader has read something, and senders wait for room."""
        self._windows.handle_read(now)

    def next_event(self) -> Event | None:
        """The oldest event not yet told, or None."""
        return self._state.next_event()

    # What the user of this node asks for.

    def reload(self, config: Config) -> None:
        """Go by other options from now on: those that are read where they are used."""
        self._state.config = config
        self._admission.reload(config.security)

    def set_tracing(self, *, enabled: bool) -> None:
        """Whether each message is told as a MessageTraced event."""
        self._state.tracing = enabled

    def set_unix_offset(self, unix_offset: float) -> None:
        """The wall clock was set: Unix time minus the clock of `now`, seconds."""
        self._state.unix_offset = unix_offset

    def connect(self, address: Address, now: float, timeout_s: float) -> int:
        """Shake hands with the node at `address`.

        Returns:
            The token of a ConnectResult, or of a HandshakeError.

        Raises:
            LocalError: `max_connections` is reached.
        """
        return self._handshake.connect(address, now, timeout_s)

    def connect_any(self, addresses: Sequence[Address], now: float, timeout_s: float) -> int:
        """Shake hands with a node at the first of its addresses that answers.

        They are asked in their order, 250 ms apart (RFC 8305).

        Returns:
            The token of a ConnectResult, or of a HandshakeError that names each address.

        Raises:
            LocalError: `max_connections` is reached, or there is no address.
        """
        return self._races.connect(addresses, now, timeout_s)

    def introduce(self, server: Peer, node_id: str, now: float, timeout_s: float) -> int:
        """Ask a server for the address of a node, and shake hands with it directly.

        Returns:
            The token of a ConnectResult, or of the error.

        Raises:
            LocalError: Too many introductions are awaited.
        """
        if Capability.RELAY_FRAMES in server.capabilities:
            return self.traversal.connect(server, node_id, now, timeout_s)
        return self._rendezvous.request(server, node_id, now, timeout_s)

    def disconnect(self, peer: Peer, reason: str, now: float) -> None:
        """Say goodbye to a peer and forget it; messages that still wait fail."""
        peer.parted = True
        if peer.is_authenticated:
            self._lifecycle.say_goodbye(peer, reason, now)
            words = f"disconnected: {reason}" if reason else "this node said goodbye"
            self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, words)
        else:
            words = f"given up: {reason}" if reason else "given up"
            self._lifecycle.remove(peer, PeerStatus.FAILED, now, words)

    def ping(self, peer: Peer, now: float, timeout_s: float) -> int:
        """Ping a peer; the token of a PingResult or a PeerTimeoutError.

        Raises:
            LocalError: Too many Pings to it wait for their answer.
        """
        return self._liveness.ping(peer, now, timeout_s)

    def ping_node(self, node_id: str, now: float, timeout_s: float) -> int:
        """Ping a node that is no peer: by way of others, or at its introduced address.

        A node that does not answer inside routed messages can only be asked at the address, and
        would show its user a Ping that came to it by way of others.

        Raises:
            LocalError: There is no way to it.
        """
        introduction = self._rendezvous.with_id(node_id)
        if introduction is not None and Capability.ROUTING not in introduction.capabilities:
            return self._rendezvous.ping(introduction, now, timeout_s)
        if self._routing.is_deaf(node_id, now):
            server = self._routing.introducer_of(node_id, now)
            if server is None:
                raise LocalError(f"cannot find node {node_id}: join a server that knows it")
            return self._rendezvous.request(server, node_id, now, timeout_s, pings=True)
        return self.ping_routed(node_id, now, timeout_s)

    def ping_routed(self, node_id: str, now: float, timeout_s: float) -> int:
        """Ping a node by way of others; the token of a PingResult or a PeerTimeoutError.

        Raises:
            LocalError: There is no way to it.
        """
        return self._end_to_end.ping(node_id, self.config.routing.max_hops, now, timeout_s)

    def send(self, peer: Peer, payload: object, now: float, *, reliable: bool = True) -> int:
        """Send Data to a peer; the token of a SendResult.

        Raises:
            LocalError: Not JSON, too large, too much waiting, or no session with the peer.
        """
        if not (peer.is_authenticated or (reliable and peer.resumes)):
            where = address_words(peer.address)
            raise LocalError(f"cannot send to {where}: the handshake is not complete")
        raw = encode_data(payload)
        if reliable:
            token = self._state.new_token()
            self._delivery.send_reliable(peer, MessageType.DATA, raw, now, token, for_reader=True)
            return token
        self._delivery.send_once(peer, MessageType.DATA, raw, now, budgeted=False, for_reader=True)
        token = self._state.new_token()
        self._state.finish(token, SendResult(SendStatus.SENT, 1, None, len(raw)))
        return token

    def send_routed(
        self, node_id: str, payload: object, max_hops: int, now: float, timeout_s: float
    ) -> int:
        """Send Data to a node by way of others; the token of a SendResult.

        Raises:
            LocalError: Not JSON, too large, no way, or too much waiting.
        """
        return self._end_to_end.send(node_id, encode_data(payload), max_hops, now, timeout_s)

    def relay(self, server: Peer, node_id: str, data: bytes, now: float, timeout_s: float) -> int:
        """Have a server relay bytes to another of its peers; the token of a SendResult.

        Raises:
            LocalError: Too large, or too many requests waiting.
        """
        return self._relay.request(server, node_id, data, now, timeout_s)

    def list_nodes(self, peer: Peer, now: float, timeout_s: float) -> int:
        """Ask a peer whom it knows; the token of a NodeList.

        Raises:
            LocalError: Too many such questions wait.
        """
        return self._queries.list_nodes(peer, now, timeout_s)

    def discover(self, peer: Peer, now: float) -> None:
        """Ask a peer for its peer list; the answers come as PeersDiscovered."""
        self._delivery.send(peer, MessageType.DISCOVERY_REQUEST, NULL, now, budgeted=False)

    def cancel(self, peer: Peer, token: int, reason: str, now: float) -> None:
        """Stop trying to deliver a message that was sent with `send`."""
        # Its messages may have gone on to another address of the same node meanwhile.
        for holder in {peer, self._state.peers.with_id(peer.node_id) or peer}:
            finished = holder.channel.sender.cancel(token, now, reason)
            if finished is not None:
                self._delivery.report(finished, holder)
                self._delivery.flush(holder, now)

    def fail_datagram(self, address: Address, reason: str, now: float) -> None:
        """The system refuses to send to `address`: a handshake with it ends at once."""
        peer = self._state.peers.at(address)
        if peer is not None and peer.is_authenticated:
            self._watch.doubt(peer, now)  # a hint, and no more
        self._lifecycle.give_up(address, f"cannot send to {format_address(address)}: {reason}", now)

    def refuse(self, address: Address, reason: str, now: float) -> bool:
        """Somebody says that nobody is at `address`: whether a handshake has ended by that."""
        return self._lifecycle.give_up(address, reason, now, resuming=False)

    def close(self, reason: str, now: float) -> None:
        """Say goodbye to everybody; from now on nobody is answered."""
        # Goodbyes to those that are relayed go by way of servers: these come last.
        for peer in sorted(self._state.peers, key=lambda peer: peer.is_plain):
            self.disconnect(peer, reason, now)
        self._state.closing = True
