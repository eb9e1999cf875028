"""How a peer comes and goes: every change of its status is made and reported here."""

from collections.abc import Callable
from typing import TypeAlias

from p2ptui.core.addresses import address_words, relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.core.identity import dialect_of
from p2ptui.core.peers import Held, Peer
from p2ptui.core.peers.liveness import PeerLiveness, Shown
from p2ptui.core.peers.session import Session
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.sessions.former import FormerSessions
from p2ptui.core.sessions.greetings import believed_capabilities
from p2ptui.core.sessions.seats import Seats
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, PeerGoneError
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability, Envelope, NodeInfo

Listener: TypeAlias = Callable[[Peer, float], None]

LetIn: TypeAlias = Callable[[float, Channel | None], None]
"""Admits a node at a time, with its channel from its last address, if there is one."""


class Lifecycle:
    """Changes the status of peers.

    Args:
        state: The shared state.
        delivery: Sends messages, and reports those that end with a session.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self.seats = Seats(state, delivery)
        """Finds peers that make room for newcomers."""
        self.on_joined: list[Listener] = []
        """Called when a peer has become authenticated."""
        self.on_left: list[Listener] = []
        """Called when an authenticated peer is no longer so."""
        self._former = FormerSessions(state)
        delivery.on_proved.append(self._handle_proved)
        self.on_removed: list[Callable[[Peer, str], None]] = []
        """Called with the reason when a peer is removed, whatever its status."""
        self.on_moved: list[Listener] = []
        """Called when an authenticated peer continues at another address."""
        self.on_vacated: Callable[[Peer, float], None] = lambda *_: None
        """Called with a peer that has made room: somebody may have waited longer for it."""

    def open(
        self,
        address: Address,
        now: float,
        *,
        initiated: bool,
        inherited: Channel | None = None,
        is_proved: bool = False,
    ) -> Peer:
        """Add a new peer to the table.

        Args:
            address: Its address.
            now: The time, seconds.
            initiated: Whether this node asks for the session.
            inherited: Its channel from its last address, if it continues here.
            is_proved: Whether it has proved that it receives there.
        """
        if inherited is not None:
            inherited.renew(now)
        peer = Peer(
            address,
            inherited or self._channel_for(address),
            initiated,
            now,
            session=Session(accepted=not initiated),
            liveness=PeerLiveness(now),
        )
        self._state.gate.debts.open_purse(peer.purse, address)
        if is_proved:
            peer.enter_proved()
        self._state.peers.add(peer)
        return peer

    def _channel_for(self, address: Address) -> Channel:
        channel = self._state.new_channel()
        self._former.recall_at(address, channel)
        return channel

    def make_room(
        self,
        address: Address | None,
        now: float,
        *,
        in_haste: bool = False,
        has_shown: bool = False,
        shown: Shown | None = None,
    ) -> bool:
        """Whether there is room for another peer; one that is hardly a peer is evicted if
        necessary.

        Args:
            address: Its address; None: this node itself asks for it.
            now: The time, seconds.
            in_haste: As for `Seats.who_goes`.
            has_shown: Likewise.
            shown: Likewise.
        """
        if self.seats.is_free(address):
            return True
        peer = self.seats.who_goes(
            address, now, in_haste=in_haste, has_shown=has_shown, shown=shown
        )
        if peer is None:
            return False
        self.evict(peer, now)
        return self.seats.is_free(address)

    def evict(self, peer: Peer, now: float) -> None:
        """A peer that is hardly one makes room."""
        words = "answered no Ping" if peer.proved else "never proved its address"
        self.remove(peer, PeerStatus.DISCONNECTED, now, words)
        self.on_vacated(peer, now)

    def require_room(self, address: Address, now: float) -> None:
        """Make room for a peer that this node itself asks for; see `make_room`.

        Raises:
            LocalError: There is no room.
        """
        if not self.make_room(None, now, has_shown=True):
            self.seats.ask(None, now)  # for the next try
            where = address_words(address)
            raise LocalError(f"cannot connect to {where}: {self.seats.limit} (max_connections)")

    def describe(self, peer: Peer, info: NodeInfo, handshake: Envelope, now: float) -> None:
        """Note who a peer says it is, and the dialect that its handshake message shows."""
        if peer.node_id not in ("", info.id):
            # Waiting messages are for the node that was here, not for another one at its address.
            reason = f"another node is at its address now: {info.id}"
            self._fail_messages(peer.channel, now, reason)
            self._lose_held(peer, reason, now)
            self._former.keep_sent(peer, peer.channel)
            peer.channel.part()
            self._state.readers.forget(peer.node_id)
        was_numbered = Capability.RETRANSMIT in peer.facts.capabilities
        self._state.peers.identify(peer, info)
        peer.handshakes.hear(handshake.id)
        dialect = dialect_of(handshake)
        capabilities = believed_capabilities(info, dialect)
        peer.facts.describe(dialect, capabilities)
        numbered = Capability.RETRANSMIT in capabilities
        channel = peer.channel
        channel.agree(
            bounded=Capability.SEQUENCE_SKIP in capabilities,
            grows=Capability.PATH_PROBE in capabilities,
        )
        if numbered and handshake.sequence_number is not None:
            channel.begin(handshake.sequence_number)
        elif was_numbered and not numbered:
            self._fail_messages(channel, now, "it is another kind of program now")

    def authenticate(self, peer: Peer, now: float) -> None:
        """The handshake is complete."""
        peer.liveness.begin(now)
        peer.session.begin(now)
        self._former.recall(peer)
        has_waited = peer.channel.waiting > 0
        self.set_status(peer, PeerStatus.AUTHENTICATED)
        for listener in self.on_joined:
            listener(peer, now)
        if has_waited or not peer.accepted:  # otherwise its greeting was sent, or is planned
            self._delivery.flush(peer, now)
        self.seats.greet(peer, now)

    def _handle_proved(self, peer: Peer, _now: float) -> None:
        if peer.is_authenticated:
            self._former.recall(peer)

    def restart(self, peer: Peer, now: float, reason: str) -> None:
        """The session is over, and a new one begins with the same peer.

        Messages that wait for a p2ptui node continue in the new session, which recognises what
        arrived before; other programs would take them twice.
        """
        self._end_session(peer, reason, now)
        if relayed_node(peer.address) is None:
            # Its own address is where it is asked, or has asked; no server vouches for it.
            self._state.peers.take_home(peer, peer.address)
        if Capability.RETRANSMIT in peer.capabilities:
            peer.channel.renew(now)
        else:
            ended = peer.channel
            self._fail_messages(ended, now, reason)
            ended.forget_partial()
            peer.channel = self._state.new_channel()
            peer.channel.follow(ended)
        peer.facts.begin_session()

    def move(self, peer: Peer, now: float, reason: str, grant: LetIn) -> None:
        """A peer that was found silent comes back at another address, and continues there.

        Args:
            peer: The peer at its old address.
            now: The time, seconds.
            reason: Why it leaves its old address, in one line.
            grant: Admits it at its new address.
        """
        left = None
        if Capability.RETRANSMIT in peer.capabilities:
            left, peer.channel = peer.channel, self._state.new_channel()
        waiting = self._delivery.take_deferred(peer)
        self.remove(peer, PeerStatus.DISCONNECTED, now, reason)
        if left is not None:
            self._former.keep_sent(peer, left)
        grant(now, left)
        successor = self._state.peers.with_id(peer.node_id)
        self._hand_on(waiting, successor, reason, now)
        if left is not None and (successor is None or successor.channel is not left):
            self._fail_messages(left, now, reason)
            left.forget_partial()

    def _hand_on(
        self, waiting: list[Held], successor: Peer | None, reason: str, now: float
    ) -> None:
        """Messages that waited for a proof of the old address now wait for one of the new
        address."""
        if successor is not None and not successor.is_authenticated:
            successor = None
        for held in waiting:
            is_kept = successor is not None and self._delivery.defer(successor, held, now)
            if not is_kept and held.on_lost is not None:
                held.on_lost(reason, now)
        if successor is not None:
            self._delivery.release(successor, now)

    def suspend(self, peer: Peer, now: float, reason: str) -> None:
        """The session is over, and a new one is requested from the same address."""
        self.set_status(peer, PeerStatus.HANDSHAKING, reason)
        peer.session.cancel()
        self.restart(peer, now, reason)
        peer.session.suspend()
        self._tell_left(peer, now)

    def remove(self, peer: Peer, status: PeerStatus, now: float, reason: str) -> None:
        """Remove a peer from the table.

        Args:
            peer: The peer.
            status: DISCONNECTED or FAILED.
            now: The time, seconds.
            reason: Why, in one line.
        """
        was_authenticated = peer.is_authenticated
        self.set_status(peer, status, reason)
        self._state.peers.remove(peer)
        peer.session.end()
        self._end_session(peer, reason, now)
        self._fail_messages(peer.channel, now, reason)
        peer.channel.forget_partial()
        self._state.gate.debts.close_purse(peer.purse, peer.address)
        for removed in self.on_removed:
            removed(peer, reason)
        # What arrived may arrive again, even if its session had ended before this and no new one
        # began. A peer that only shook hands may be nobody: nothing of it is remembered.
        has_begun = was_authenticated or peer.channel.numbers is not None
        if has_begun and (peer.proved or peer.channel.has_heard):
            self._former.keep(peer)
        if was_authenticated:
            self._tell_left(peer, now)

    def give_way(self, peer: Peer, now: float, reason: str) -> None:
        """Another node is at the address of a peer now."""
        self.remove(peer, PeerStatus.DISCONNECTED, now, reason)

    def tell_moved(self, peer: Peer, now: float, reason: str) -> None:
        """A session continues unchanged at another address."""
        self.set_status(peer, peer.status, reason)
        for listener in self.on_moved:
            listener(peer, now)
        self._delivery.hasten(peer, now)

    def give_up(self, address: Address, reason: str, now: float, *, resuming: bool = True) -> bool:
        """End a handshake with an address, but never a session; returns whether one was ended.

        Args:
            address: The address.
            reason: Why, in one line.
            now: The time, seconds.
            resuming: Whether to end also a handshake that renews a session.
        """
        peer = self._state.peers.at(address)
        if peer is None or peer.is_authenticated or (peer.resumes and not resuming):
            return False
        self.remove(peer, PeerStatus.FAILED, now, reason)
        return True

    def _tell_left(self, peer: Peer, now: float) -> None:
        for listener in self.on_left:
            listener(peer, now)

    def set_status(self, peer: Peer, status: PeerStatus, reason: str | None = None) -> None:
        """Set a status and report it."""
        previous = peer.status if peer.status is not status else None
        self._state.peers.set_status(peer, status)
        self._state.emit(
            PeerStatusChanged(
                peer.node_id or None,
                peer.address,
                peer.name,
                status,
                previous,
                reason,
                is_claim=peer.is_claim,
            )
        )

    def _fail_messages(self, channel: Channel, now: float, reason: str) -> None:
        if not channel.rests:
            for finished in channel.sender.fail_all(reason, now):
                self._delivery.report(finished)
        self._state.counters.retransmissions += channel.take_retransmissions()

    def _end_session(self, peer: Peer, reason: str, now: float) -> None:
        if peer.liveness.outstanding:
            where = address_words(peer.address)
            peer.pings.end_all(PeerGoneError(f"{where} is gone: {reason}"))
        self._lose_held(peer, reason, now)
        peer.session.cancel_channel()

    def _lose_held(self, peer: Peer, reason: str, now: float) -> None:
        """Messages that wait for a peer are not sent any more: their writers are told."""
        held = self._delivery.take_deferred(peer)
        peer.acks_owed = ()
        peer.untold = ()
        for message in held:
            if message.on_lost is not None:
                message.on_lost(reason, now)
