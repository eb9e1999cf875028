"""Does this server connect the two ends of a session? The question, and its answer.

The server could forge both. So each names the handshake message of the session that came from the
other end: only the two ends know both. And an answer counts only if it comes through the server
that was asked.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Purse
from p2ptui.core.addresses import relay_address, relayed_node, visible_address
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.relay.rescue import goes_plainly, may_be_rescued
from p2ptui.core.relay.ways import RelayedSession, Way
from p2ptui.core.state import NodeState
from p2ptui.core.trust import vouches
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import Capability, Envelope, MessageType, RelayCheckPayload

MAX_WAYS: Final = 8
"""Servers that are asked about one node; if there are more, those that were joined first."""


_RELAYING: Final = frozenset({Capability.RELAY, Capability.RELAY_FRAMES})


def relays(peer: Peer) -> bool:
    """Whether a peer is a joined server that relays datagrams."""
    return peer.is_joined_server and peer.facts.capabilities >= _RELAYING


def is_relayed(peer: Peer) -> bool:
    """Whether a server carries a session whose other end understands checks."""
    return relayed_node(peer.address) is not None and Capability.RELAY_CHECK in peer.capabilities


class WayChecks:
    """Sends and answers checks, and takes the answers.

    Args:
        state: The shared state.
        delivery: Makes messages.
        frames: Relays them.
    """

    def __init__(self, state: NodeState, delivery: Delivery, frames: RelayFrames) -> None:
        self._state = state
        self._delivery = delivery
        self._frames = frames
        self.servers: BoundedTable[Address, Peer] = state.tables.add(
            "relaying_servers", BoundedTable(state.most_peers)
        )
        """Joined servers that relay, by address."""
        self.sessions: BoundedTable[Peer, RelayedSession] = state.tables.add(
            "relayed_sessions", BoundedTable(state.most_peers)
        )
        """Sessions whose other end understands checks: relayed ones, and those that began at the
        node's own address, while that is silent or once a server has brought the node."""
        self.on_question: Callable[[RelayedSession, Way, bool, float], None] = lambda *_: None
        """Called when a check was answered, with whether the way is to be used from now on."""
        self.on_answer: Callable[[RelayedSession, Way, str, float], None] = lambda *_: None
        """Called with the nonce of a check that was answered."""

    def is_current(self, session: RelayedSession) -> bool:
        """Whether this session still exists."""
        return self.sessions.get(session.peer) is session and not self._state.closing

    def adopt(self, peer: Peer, session: RelayedSession | None = None) -> RelayedSession | None:
        """Track the session with a node at its own address, if it may continue through a server.

        Args:
            peer: The node.
            session: Its state if it is tracked already.
        """
        known = self.sessions.get(peer)
        if known is None and self.may_adopt(peer):
            known = session or RelayedSession(peer)
            self.sessions.put(peer, known)
        return known

    def may_adopt(self, peer: Peer) -> bool:
        """Whether a session that began without a server may continue through one."""
        return may_be_rescued(peer) and self.servers.get(peer.address) is not peer

    def release(self, session: RelayedSession) -> None:
        """Forget a session that has never used a server and needs none."""
        peer = session.peer
        if goes_plainly(peer) and not self._state.peers.relayed.of(peer):
            self.sessions.pop(peer, None)

    def server_in_use(self, peer: Peer) -> Peer | None:
        """The server through which a node is reached, unless it is gone."""
        return self.servers.get(visible_address(peer.home))

    def way(self, session: RelayedSession, server: Peer) -> Way:
        """The way of a session through a server."""
        address = relay_address(server.address, session.peer.node_id)
        way = session.ways.get(address)
        if way is None or way.server is not server:
            way = session.ways[address] = Way(server, address)
        return way

    def ways(self, session: RelayedSession) -> list[Way]:
        """The ways that may be tried, the one in use first."""
        present = {relay_address(at, session.peer.node_id) for at in self.servers}
        for gone in session.ways.keys() - present:
            del session.ways[gone]
        ways = [self.way(session, server) for server in self.servers.values()]
        ways.sort(key=lambda way: way.address != session.peer.home)
        return ways[:MAX_WAYS]

    def check(self, session: RelayedSession, way: Way, now: float, *, use: bool = False) -> str:
        """Ask whether a server connects the two ends; returns the nonce of the check. `use` tells
        the other side to use this way from now on."""
        nonce = self._state.ids.nonce()
        check = RelayCheckPayload(nonce, session.peer.handshake_heard, use=use)
        way.note_asked(nonce, now)
        self._send(session, way, check, now)
        return nonce

    def _send(
        self, session: RelayedSession, way: Way, check: RelayCheckPayload, now: float
    ) -> None:
        _, data = self._delivery.build(MessageType.RELAY_CHECK, encode_payload(check), now)
        if self._state.seals is not None and session.peer.seal is not None:
            # The way is not registered as the peer's, so nothing else would seal what goes there.
            data = self._state.seals.seal_for(session.peer, data)
            if not data:
                return
        session.peer.purse.note_detour(len(data))
        self._frames.send(way.server, session.peer.node_id, data)

    def receive(self, address: Address, message: Envelope, _earned: Purse, now: float) -> bool:
        """Take a check that came through a server, or the answer to one.

        Args:
            address: The node's address through that server.
            message: The check or answer.
            now: The time, seconds.
        """
        try:
            check = decode_payload(message.payload, RelayCheckPayload)
        except MalformedError:
            self._state.counters.drop("malformed")
            return True
        peer = self._state.peers.authenticated(relayed_node(address) or "")
        server = self.servers.get(visible_address(address))
        is_genuine = peer is not None and vouches(peer, check.handshake)
        session = self.adopt(peer) if peer is not None and is_genuine else None
        if session is None or server is None:
            self._state.counters.drop("relay_check_refused")
            return True
        way = self.way(session, server)
        if self.admit(session, way):
            if check.answer:
                self._take_answer(session, way, check.nonce, now)
            else:
                self._answer(session, way, check, now)
        return True

    def admit(self, session: RelayedSession, way: Way) -> bool:
        """Datagrams from this server belong to the session from now on; returns whether that was
        accepted."""
        if not self._state.peers.add_relay(session.peer, way.address):
            self._state.counters.drop("relay_check_refused")
            return False
        self._frames.open(way.server, session.peer.node_id)
        return True

    def _answer(
        self, session: RelayedSession, way: Way, check: RelayCheckPayload, now: float
    ) -> None:
        answer = RelayCheckPayload(check.nonce, session.peer.handshake_heard, answer=True)
        self._send(session, way, answer, now)
        self.on_question(session, way, check.use, now)

    def _take_answer(self, session: RelayedSession, way: Way, nonce: str, now: float) -> None:
        if way.take_answer(nonce, now) is None:
            self._state.counters.drop("relay_answer_unasked")
        else:
            self.on_answer(session, way, nonce, now)
