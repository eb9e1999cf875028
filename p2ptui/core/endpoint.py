"""One socket's whole protocol state: datagrams and time in, datagrams and events out.

Five calls drive it, in the manner of quinn and aioquic: `receive_datagram`, `handle_timeout`,
`datagrams_to_send`, `next_timeout`, `next_event`. All others are requests of this node's user;
those return a token, and a CallFinished event with that token reports the result.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from p2ptui.config import Config
from p2ptui.core.addresses import address_words
from p2ptui.core.counters import Counters
from p2ptui.core.data import encode_data
from p2ptui.core.events import Event, PeerStatus, SendResult, SendStatus
from p2ptui.core.mesh.introduction import Introduction
from p2ptui.core.parts import Parts
from p2ptui.core.peers import Elsewhere, Peer, PeerTable
from p2ptui.core.readers import Readers
from p2ptui.core.relay.values import RelayReport
from p2ptui.core.sealing import OwnKeys, Seals
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import (
    Capability,
    MessageType,
    NodeInfo,
    RouteEntry,
)


class Endpoint(Parts):
    """A node without its socket and its clock.

    Args:
        config: All options.
        identity: Who this node is; see `core.identity.own_node_info`.
        rng: The only source of randomness.
        unix_offset: Unix time minus the clock that every `now` comes from, seconds.
        keys: The keys of a node with secured sessions; the id in `identity` is derived from them.
            None: all its sessions are open.
    """

    def __init__(
        self,
        config: Config,
        identity: NodeInfo,
        rng: random.Random,
        unix_offset: float = 0.0,
        keys: OwnKeys | None = None,
    ) -> None:
        super().__init__(NodeState(config, identity, rng, unix_offset, keys))
        self._goodbyes: Iterator[Peer] = iter(())
        """The peers that are still to be sent a goodbye."""

    # Getters.

    @property
    def config(self) -> Config:
        """All options."""
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
    def seals(self) -> Seals | None:
        """The secured sessions; None if this node speaks only in the open."""
        return self._state.seals

    @property
    def counters(self) -> Counters:
        """Totals since the start."""
        return self._state.counters

    @property
    def introductions(self) -> tuple[Introduction, ...]:
        """Nodes whose address a server has named."""
        return self._rendezvous.introductions.all()

    def routes(self, now: float) -> list[RouteEntry]:
        """All valid routes."""
        return list(self._routing.entries(now))

    def relays(self, limit: int) -> RelayReport:
        """What this node relays for others: at most `limit` relays and clients."""
        return self._relay_control.report(limit)

    @property
    def readers(self) -> Readers:
        """The local readers of Data; call `handle_read` when one that was full has read."""
        return self._state.readers

    # The contract.

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        """Take one datagram; never raises, whatever it contains.

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
        """What must be sent now, in order, each once; those to an `AskedAddress` from its
        `own_host`."""
        return self._state.take_datagrams()

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is to be called next, or None."""
        return self._state.timers.next_timeout()

    def handle_timeout(self, now: float, clock: Callable[[], float] | None = None) -> None:
        """Do what is due.

        Args:
            now: The time, seconds.
            clock: Passed by a caller that has other work: whatever is not done after
                `core.timers.DUE_S` of this clock stays due. Without it everything is done.
        """
        self._state.gate.now = now
        self._state.timers.run(now, clock)

    def handle_read(self, now: float) -> None:
        """A reader has read something, and senders wait for room."""
        self._serving.windows.handle_read(now)

    def next_event(self) -> Event | None:
        """The oldest unreported event, or None."""
        return self._state.next_event()

    # Requests of this node's user.

    def reload(self, config: Config) -> None:
        """Use other options from now on: those that are read at each use."""
        self._state.config = config
        self._sessions.admission.reload(config.security)

    def set_tracing(self, *, enabled: bool) -> None:
        """Whether each message is reported as a MessageTraced event."""
        self._state.tracing = enabled

    def set_unix_offset(self, unix_offset: float) -> None:
        """The wall clock was set: Unix time minus the clock of `now`, seconds."""
        self._state.unix_offset = unix_offset

    def connect(self, address: Address, now: float, timeout_s: float) -> int:
        """Shake hands with the node at `address`.

        Returns:
            The token of a ConnectResult, or of a HandshakeError.

        Raises:
            LocalError: `max_connections` is reached, or this node says goodbye to all.
        """
        self._require_open()
        return self._handshake.connect(address, now, timeout_s)

    def connect_any(self, addresses: Sequence[Address], now: float, timeout_s: float) -> int:
        """Shake hands with a node at the first of its addresses that answers.

        They are asked in order, 250 ms apart (RFC 8305).

        Returns:
            The token of a ConnectResult, or of a HandshakeError that names each address.

        Raises:
            LocalError: `max_connections` is reached, there is no address, or this node says goodbye
                to all.
        """
        self._require_open()
        return self._races.connect(addresses, now, timeout_s)

    def give_up(self, token: int, reason: str, now: float) -> None:
        """End what `connect` or `connect_any` began, unless other calls wait for the same
        handshakes.

        Args:
            token: Their token; if it has already ended, nothing happens.
            reason: Why, in one line.
            now: The time, seconds.
        """
        self._races.give_up(token, reason, now)

    def introduce(self, server: Peer, node_id: str, now: float, timeout_s: float) -> int:
        """Ask a server for the address of a node, and shake hands with it directly.

        Returns:
            The token of a ConnectResult, or of the error.

        Raises:
            LocalError: Too many introductions are awaited, or this node says goodbye to all.
        """
        self._require_open()
        if Capability.RELAY_FRAMES in server.capabilities:
            return self.traversal.connect(server, node_id, now, timeout_s)
        return self._rendezvous.calls.request(server, node_id, now, timeout_s)

    def disconnect(self, peer: Peer, reason: str, now: float) -> None:
        """Say goodbye to a peer and forget it; messages that are still queued fail."""
        peer.session.parted = True
        if peer.is_authenticated:
            self._liveness.say_goodbye(peer, reason, now)
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
        """Ping a node that is no peer: through others, or at its introduced address.

        A node that does not answer inside routed messages can be pinged only at the address; it
        would show its user a Ping that came through others.

        Raises:
            LocalError: There is no path to it.
        """
        introduction = self._rendezvous.introductions.with_id(node_id)
        far = self._end_to_end.far
        if far.is_needed(node_id):
            return self.ping_routed(node_id, now, timeout_s)
        if introduction is not None and Capability.ROUTING not in introduction.capabilities:
            return self._mesh.punches.ping(introduction, now, timeout_s)
        if far.is_deaf(node_id, now):
            server = self._routing.introducer_of(node_id, now)
            if server is None:
                raise LocalError(f"cannot find node {node_id}: join a server that knows it")
            return self._rendezvous.calls.request(server, node_id, now, timeout_s, pings=True)
        return self.ping_routed(node_id, now, timeout_s)

    def ping_routed(self, node_id: str, now: float, timeout_s: float) -> int:
        """Ping a node through others; the token of a PingResult or a PeerTimeoutError.

        Raises:
            LocalError: There is no path to it.
        """
        return self._end_to_end.ping(node_id, self.config.routing.max_hops, now, timeout_s)

    def send(self, peer: Peer, payload: object, now: float, *, reliable: bool = True) -> int:
        """Send Data to a peer; the token of a SendResult.

        Raises:
            LocalError: Not JSON, too large, too much queued, or no session with the peer.
        """
        if not (peer.is_authenticated or (reliable and peer.resumes)):
            where = address_words(peer.address)
            raise LocalError(f"cannot send to {where}: the handshake is not complete")
        raw = encode_data(payload)
        if reliable:
            token = self._state.new_token()
            self._delivery.send_reliable(peer, MessageType.DATA, raw, now, token, for_reader=True)
            return token
        self._delivery.send_at_once(peer, MessageType.DATA, raw, now, for_reader=True)
        return self._state.answered(SendResult(SendStatus.SENT, 1, None, len(raw)))

    def send_routed(
        self, node_id: str, payload: object, max_hops: int, now: float, timeout_s: float
    ) -> int:
        """Send Data to a node through others; the token of a SendResult.

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
        """Ask a peer which nodes it knows; the token of a NodeList.

        Raises:
            LocalError: Too many such requests wait.
        """
        return self._queries.list_nodes(peer, now, timeout_s)

    def list_servers(self, peer: Peer, now: float, timeout_s: float) -> int:
        """Ask a server which other servers its network has; the token of a ServerList.

        Raises:
            LocalError: Too many such requests wait.
        """
        return self._queries.list_servers(peer, now, timeout_s)

    @property
    def elsewhere(self) -> Elsewhere:
        """The other servers of the network, and the nodes that they hold."""
        return self._state.elsewhere

    def discover(self, peer: Peer, now: float) -> None:
        """Ask a peer for its peer list; the answers come as PeersDiscovered."""
        self._queries.discover(peer, now)

    def cancel(self, peer: Peer, token: int, reason: str, now: float) -> None:
        """Stop trying to deliver a message that was sent with `send`."""
        # Its messages may have moved to another address of the same node meanwhile.
        for holder in {peer, self._state.peers.with_id(peer.node_id) or peer}:
            finished = holder.channel.sender.cancel(token, now, reason)
            if finished is not None:
                self._delivery.report(finished, holder)
                self._delivery.flush(holder, now)

    def fail_datagram(self, address: Address, reason: str, now: float) -> None:
        """The system refuses to send to `address`: a handshake with it ends at once."""
        peer = self._state.peers.at(address)
        if peer is not None and peer.is_authenticated:
            self.server_watch.doubt(peer, now)  # only a hint
        self._lifecycle.give_up(address, f"cannot send to {format_address(address)}: {reason}", now)

    def refuse(self, address: Address, reason: str, now: float) -> bool:
        """An ICMP error or the like says that nobody is at `address`; returns whether that ended a
        handshake."""
        return self._lifecycle.give_up(address, reason, now, resuming=False)

    def close(self, reason: str, now: float) -> None:
        """Say goodbye to all peers; from now on nothing is answered."""
        self.leave(reason, now, sys.maxsize)

    def leave(self, reason: str, now: float, most: int) -> bool:
        """Say goodbye to some peers, until none is left; from the first call on nothing is
        answered.

        Args:
            reason: What they are told, in one line.
            now: The time, seconds.
            most: How many at most.

        Returns:
            Whether others may be left, to be told by the next call.
        """
        state = self._state
        if not state.closing:
            state.closing = True
            # Goodbyes to relayed peers go through servers, so the servers come last.
            self._goodbyes = iter(sorted(state.peers, key=lambda peer: peer.is_plain))
        told = 0
        for peer in islice(self._goodbyes, most):
            told += 1
            if state.peers.at(peer.address) is peer:  # otherwise it was lost meanwhile
                self.disconnect(peer, reason, now)
        if told < most:
            for peer in list(state.peers):  # a peer that was asked before and has come since
                self.disconnect(peer, reason, now)
            state.gate.close()
        return told == most

    def _require_open(self) -> None:
        if self._state.closing:
            raise LocalError("this node says goodbye to all")
