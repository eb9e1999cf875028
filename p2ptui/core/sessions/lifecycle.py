"""How a peer comes and goes: every change of its status passes here, and all who care are told."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from p2ptui.core.delivery import Delivery
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.core.identity import dialect_of
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.sessions.greetings import believed_capabilities
from p2ptui.core.state import NodeState
from p2ptui.errors import PeerGoneError
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import Capability, Envelope, NodeInfo

Listener: TypeAlias = Callable[[Peer, float], None]

MAX_DEPARTED: Final = 256
"""Peers gone of whose last session is remembered what it received."""


class Lifecycle:
    """Changes the status of peers.

    Args:
        state: The shared ground.
        delivery: The way out, which reports the messages that end with a session.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self.on_joined: list[Listener] = []
        """Called when a peer has become authenticated."""
        self.on_left: list[Listener] = []
        """Called when an authenticated peer is no longer so."""
        # What a peer sent in its last session may still arrive after it has come back.
        self._departed: OrderedDict[Address, Channel] = OrderedDict()
        self.on_removed: list[Callable[[Peer, str], None]] = []
        """Called with the reason when a peer of whatever status is taken out."""

    def open(self, address: Address, now: float, *, initiated: bool) -> Peer:
        """Enter a new peer into the table."""
        peer = Peer(
            address=address,
            channel=self._state.new_channel(self._departed.pop(address, None)),
            initiated=initiated,
            accepted=not initiated,
            created_at=now,
            last_received=now,
        )
        self._state.peers.add(peer)
        return peer

    def make_room(self, now: float) -> bool:
        """Whether another peer may be entered; one that is hardly a peer goes for it if need be.

        Whoever forges addresses must not fill the house: who never proved its address and has
        been silent for a while makes room.
        """
        if len(self._state.peers) < self._state.config.server.max_connections:
            return True
        patience = self._state.config.security.auth_timeout
        peer = self._state.peers.most_doubtful()
        if peer is not None and now - peer.last_received >= patience:
            self.remove(peer, PeerStatus.DISCONNECTED, now, "never proved its address")
            return True
        return False

    def describe(self, peer: Peer, info: NodeInfo, handshake: Envelope) -> None:
        """Note who a peer says it is, and the habits that its handshake message shows."""
        self._state.peers.identify(peer, info)
        peer.handshake_heard = handshake.id
        peer.dialect = dialect_of(handshake)
        peer.capabilities = believed_capabilities(info, peer.dialect)
        if handshake.sequence_number is not None and Capability.RETRANSMIT in peer.capabilities:
            peer.channel.sequences.start(handshake.sequence_number)

    def authenticate(self, peer: Peer, now: float) -> None:
        """The handshake is complete."""
        peer.last_received = now
        peer.suspicion = None
        self._cancel_timer(peer)
        self.set_status(peer, PeerStatus.AUTHENTICATED)
        for listener in self.on_joined:
            listener(peer, now)
        self._delivery.flush(peer, now)

    def restart(self, peer: Peer, now: float, reason: str) -> None:
        """The session is over, a new one begins with the same peer."""
        self._end_session(peer, now, reason)
        peer.channel = self._state.new_channel(peer.channel)
        peer.acks = False

    def suspend(self, peer: Peer, now: float, reason: str) -> None:
        """The session is over, and a new one with the same address is asked for."""
        self.set_status(peer, PeerStatus.HANDSHAKING, reason)
        self._cancel_timer(peer)
        self.restart(peer, now, reason)
        self._tell_left(peer, now)

    def remove(self, peer: Peer, status: PeerStatus, now: float, reason: str) -> None:
        """Take a peer out of the table.

        Args:
            peer: Which.
            status: DISCONNECTED or FAILED.
            now: The time, seconds.
            reason: Why, in one line.
        """
        was_authenticated = peer.is_authenticated
        self.set_status(peer, status, reason)
        self._state.peers.remove(peer)
        self._cancel_timer(peer)
        self._end_session(peer, now, reason)
        for removed in self.on_removed:
            removed(peer, reason)
        if was_authenticated:
            self._departed[peer.address] = peer.channel
            if len(self._departed) > MAX_DEPARTED:
                self._departed.popitem(last=False)
            self._tell_left(peer, now)

    def _tell_left(self, peer: Peer, now: float) -> None:
        for listener in self.on_left:
            listener(peer, now)

    def set_status(self, peer: Peer, status: PeerStatus, reason: str | None = None) -> None:
        """Note a status and tell of it."""
        previous = peer.status if peer.status is not status else None
        self._state.peers.set_status(peer, status)
        self._state.emit(
            PeerStatusChanged(
                peer.node_id or None, peer.address, peer.name, status, previous, reason
            )
        )

    def _end_session(self, peer: Peer, now: float, reason: str) -> None:
        for finished in peer.channel.sender.fail_all(reason, now):
            self._delivery.report(finished)
        self._state.counters.retransmissions += peer.channel.sender.retransmissions
        peer.channel.reassembly.clear()
        where = format_address(peer.address)
        peer.pings.end_all(PeerGoneError(f"{where} is gone: {reason}"))
        peer.deferred.clear()
        peer.acks_owed.clear()
        peer.untold.clear()
        if peer.channel_timer is not None:
            peer.channel_timer.cancel()
            peer.channel_timer = None

    @staticmethod
    def _cancel_timer(peer: Peer) -> None:
        if peer.timer is not None:
            peer.timer.cancel()
            peer.timer = None
