"""One message to one peer, on the wire at once; and the Pings by which a peer is probed."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from msgspec import Raw

from p2ptui.core.accounts import PING_BYTES, Grant, Reason
from p2ptui.core.addresses import address_words
from p2ptui.core.delivery.sizes import MAX_DATAGRAM_BYTES, check_size
from p2ptui.core.ids import id_of_ack
from p2ptui.core.peers import Peer
from p2ptui.core.pings import OutstandingPing
from p2ptui.core.state import NodeState
from p2ptui.errors import NotAnnouncedError, QueueFullError
from p2ptui.wire.address import own_host
from p2ptui.wire.codec import encode_envelope, encode_payload
from p2ptui.wire.frames import FragmentAck, encode_fragment_ack
from p2ptui.wire.message import NULL, Envelope, MessageType, PingPayload
from p2ptui.wire.templates import NOTHING, Template, encode_key

CHALLENGE_INTERVAL_S: Final = 1.0
"""An unproved peer to which something could not be sent is pinged this often, not more."""

OUR_CHALLENGE_INTERVAL_S: Final = 0.25
"""The same for a peer of our kind, which proves itself by the first Pong that arrives. Its
allowance is the same: three times its own bytes."""

QUIET_S: Final = 2.5
"""A peer that was sent nothing for this long is quiet."""


class Outlet:
    """Makes messages, puts them on the wire, and asks peers whether they are there.

    Args:
        state: The shared state.
        extensions: Types that require a capability, and which one.
        following: Those of them also sent to peers that have sent one of the same capability.
    """

    def __init__(
        self, state: NodeState, extensions: Mapping[str, str], following: Collection[str] = ()
    ) -> None:
        self._state = state
        self._extensions = extensions
        self._following = following
        self._gate = state.gate
        self._ids = state.ids
        self._counters = state.counters
        self._templates: dict[str, Template] = {}
        self.transmit_frame = state.gate.send_to
        """Puts a datagram on the wire that is not a message; as `Gate.send_to`."""
        self.on_busy: Callable[[Peer, float], None] | None = None
        """Called when messages begin to flow to a quiet peer that has a path of its own."""
        self.on_proved: list[Callable[[Peer, float], None]] = []
        """Called when a peer has proved its address."""

    def _tell_proved(self, peer: Peer, now: float) -> None:
        for listener in self.on_proved:
            listener(peer, now)

    def _require_announced(self, peer: Peer, kind: str) -> None:
        capability = self._extensions[kind]
        if capability in peer.facts.capabilities:
            return
        if kind not in self._following or capability not in peer.facts.used:
            self._state.counters.drop("not_announced")
            where = address_words(peer.address)
            raise NotAnnouncedError(f"the node at {where} did not announce {capability}")

    def check_size(self, peer: Peer, size: int) -> None:
        """Check that a message of `size` bytes can reach a peer at all.

        Raises:
            MessageTooLargeError: It cannot.
        """
        if size > MAX_DATAGRAM_BYTES or size > self._state.config.server.max_message_size:
            check_size(peer, size, self._state.config.server.max_message_size)

    @staticmethod
    def is_contested(peer: Peer) -> bool:
        """Whether another node may be at the address of a peer that has not shown itself since."""
        at = peer.facts.contested_at
        return at is not None and peer.liveness.shown_at <= at

    @staticmethod
    def waits_for(peer: Peer) -> bool:
        """Whether messages from others to a peer may have to wait."""
        return not peer.purse.proved or peer.facts.contested_at is not None

    def may_have(self, peer: Peer, size: int) -> bool:
        """Whether a peer may be sent `size` bytes that it pays for: answers to it, and other
        messages only if nobody else could read them at its address."""
        is_answer = self._gate.source == peer.address
        return peer.purse.has_room(size) and (is_answer or not self.is_contested(peer))

    def build(
        self,
        kind: str,
        payload: Raw,
        now: float,
        *,
        sequence_number: int | None = None,
        requires_ack: bool = False,
        ack_for: int | str | None = None,
        message_id: str = "",
    ) -> tuple[str, bytes]:
        """Make a message of this node; a new one unless an id is given.

        Returns:
            Its id and its bytes.
        """
        state = self._state
        message_id = message_id or state.ids.uuid()
        unix = state.unix(now)
        envelope = Envelope(message_id, kind, unix, payload, sequence_number, requires_ack, ack_for)
        return message_id, encode_envelope(envelope)

    def write(
        self, kind: str, payload: Raw | bytes, now: float, ack_for: int | str | None = None
    ) -> bytes:
        """The bytes of a new message without a number that asks for no Ack; as `build`."""
        template = self._templates.get(kind)
        if template is None:
            template = self._templates[kind] = Template(kind)
        key = NOTHING if ack_for is None else encode_key(ack_for)
        unix = self._state.unix(now)
        return template.write(self._ids.uuid_bytes(), unix, payload, key)

    def _build_ack(self, message: Envelope, now: float) -> bytes:
        number = message.sequence_number
        key = message.id if number is None or message.speaks_reference else number
        if message.message_type == MessageType.HANDSHAKE_RESPONSE:
            # An Ack that names it, among guesses of its number, shows that the answer itself was
            # received.
            own_id = id_of_ack(message.id)
            return self.build(MessageType.ACK, NULL, now, ack_for=key, message_id=own_id)[1]
        return self.write(MessageType.ACK, NULL, now, key)

    def _put(
        self, peer: Peer, data: bytes, kind: str, now: float, grant: Grant | None = None
    ) -> bool:
        """Put one message on the wire; returns whether it was sent."""
        gate = self._gate
        gate.now = now
        purse = peer.purse
        if purse.proved:  # as nearly always
            if not gate.send_proved(purse, data, peer.sends_to, peer):
                return False
        elif not gate.send_to(peer, data, grant):
            return False
        self._note_sent(peer, now)
        peer.traffic.messages_out += 1
        self._counters.messages_out += 1
        if self._state.tracing:
            self._state.trace_to(peer, peer.sends_to, kind, data)
        return True

    def _note_sent(self, peer: Peer, now: float) -> None:
        traffic = peer.traffic
        was_quiet = now - traffic.last_sent > QUIET_S
        traffic.last_sent = now
        if was_quiet and self.on_busy is not None and peer.path is not None:
            self.on_busy(peer, now)

    def grant(self, peer: Peer, reason: Reason | None, now: float) -> Grant | None:
        """The grant that pays for a message to a peer; None if its purse does.

        Args:
            peer: The receiver.
            reason: Why this node sends it of its own accord; None if the peer pays.
            now: The time, seconds.
        """
        if reason is None or peer.purse.proved:
            return None
        if reason is Reason.OWN_SESSION and not (
            peer.initiated and self._gate.is_own_doing(peer.purse, peer.sends_to)
        ):
            return None  # the session is the other side's, or this answers its datagram
        return self._gate.grant(reason, peer.sends_to, now, peer.purse)

    def datagram_bytes(self, peer: Peer) -> int:
        """How large a datagram to a peer may be if nobody would notice its loss."""
        return peer.channel.within(self._state.config.server.datagram_budget)

    def transmit_report(self, peer: Peer, report: FragmentAck) -> None:
        """Tell a peer which fragments have arrived; nobody would notice if this were too large."""
        self.transmit_frame(peer, encode_fragment_ack(report, peer.channel.sender.path.floor_bytes))

    def is_paid(self, peer: Peer, size: int) -> bool:
        """Whether a message of `size` bytes may be queued that is sent in parts, and maybe later:
        if it answers the datagram being handled, that pays for it now, since what waits no longer
        counts as an answer."""
        gate, purse = self._gate, peer.purse
        if not purse.proved or gate.is_vouched or gate.is_own_doing(purse, peer.sends_to):
            return True
        return gate.draw(purse, size)

    def ping(self, peer: Peer, now: float, *, is_secret: bool = False) -> bool:
        """Ask whether a peer is there, if it may be sent that.

        Args:
            peer: The peer.
            now: The time, seconds.
            is_secret: Whether nobody else can guess that it is asked now.

        Returns:
            Whether it may be.
        """
        self._gate.now = now
        purse = peer.purse
        nonce, data = self.build_ping(now)
        if purse.proved:
            # A Ping dropped by a relay counts too: it is silence all the same.
            self._put(peer, data, MessageType.PING, now)
            self._note_ping(peer, nonce, data, now)
            return True
        is_bare = not peer.names_pings
        if is_bare:
            # Deployed clients answer with `null` whatever they are sent, and bytes are scarce.
            _, data = self.build(MessageType.PING, NULL, now)
        if not purse.may_receive(len(data)):
            return False
        grant = self._gate.grant_ping(purse, peer.sends_to)
        self._put(peer, data, MessageType.PING, now, grant)
        self._note_ping(peer, nonce, data, now, is_bare=is_bare, is_secret=is_secret)
        return True

    def ask(self, peer: Peer, kind: str, now: float) -> bool:
        """Ask a peer something that shows who is there, if it pays for that; returns whether it was
        asked.

        It need not wait until nobody else can be at the peer's address: that is what the answer
        shows, and the question reveals nothing.

        Args:
            peer: The peer.
            kind: The `message_type` of the question, which has no payload.
            now: The time, seconds.
        """
        data = self.write(kind, NULL, now)
        return peer.has_room(len(data)) and self._put(peer, data, kind, now)

    def send_ping(self, peer: Peer, reason: Reason, now: float) -> OutstandingPing | None:
        """Send a Ping whose Pong can be recognised, for a reason of this node's own.

        Returns:
            What its Pong is recognised by; None if it was not sent, and no Pong will come.
        """
        nonce, data = self.build_ping(now)
        if not self._put(peer, data, MessageType.PING, now, self.grant(peer, reason, now)):
            return None
        return self._note_ping(peer, nonce, data, now)

    def _note_ping(
        self,
        peer: Peer,
        nonce: str,
        data: bytes,
        now: float,
        *,
        is_bare: bool = False,
        is_secret: bool = False,
    ) -> OutstandingPing:
        liveness = peer.liveness
        if peer.session.seal is None:  # else its answers name what they answer
            note = liveness.signs.note_heartbeat if is_secret else liveness.signs.note_other_ping
            note(now)
        is_missed = liveness.has_missed_ping
        peer.purse.note_ping(len(data))
        if peer.purse.may_receive(len(data)):
            self._ping_elsewhere(peer, data, is_missed=is_missed)
        liveness.last_ping_sent = now
        return liveness.pings.add(nonce, now, self._state.counters.drop, is_bare=is_bare)

    def _ping_elsewhere(self, peer: Peer, data: bytes, *, is_missed: bool) -> None:
        """Also ask from this machine's other addresses, which the peer may be more likely to hear:
        its Pong settles that."""
        where = peer.sends_to
        if peer.beside is not None and peer.beside == where:
            beside = self._gate.grant_ping(peer.purse, where)
            self._gate.send(data, peer.beside, beside)
        elif is_missed and (former := peer.former) is not None and former == where:
            self._gate.send(data, former, self._gate.grant_ping(peer.purse, where))
        elif is_missed and peer.initiated and own_host(where) is not None:
            # The outgoing route may have changed by now.
            elsewhere = where[0], where[1]
            self._gate.send(data, elsewhere, self._gate.grant_ping(peer.purse, elsewhere))

    def build_ping(self, now: float) -> tuple[str, bytes]:
        """Make a Ping: its nonce and its bytes."""
        nonce = self._ids.nonce()
        payload = encode_payload(PingPayload(nonce))
        return nonce, self.write(MessageType.PING, payload, now)

    def challenge(self, peer: Peer, now: float) -> None:
        """Give an unproved peer the chance to prove itself.

        A deployed client may answer no Ping at all: until it has answered one, further Pings are
        left to the heartbeats, and its allowance to what it asks for. The last Ping that it may be
        sent is never a challenge.
        """
        liveness = peer.liveness
        if peer.purse.proved or now - liveness.last_ping_sent < challenge_interval_s(peer):
            return
        if peer.is_ours or (
            not liveness.outstanding
            and peer.purse.may_receive(2 * PING_BYTES)
            and (peer.names_pings or liveness.signs.may_challenge(now))
        ):
            self.ping(peer, now)


def challenge_interval_s(peer: Peer) -> float:
    """The least time between two challenges to a peer that has not proved its address; seconds."""
    return OUR_CHALLENGE_INTERVAL_S if peer.is_ours else CHALLENGE_INTERVAL_S


def not_sent(peer: Peer) -> QueueFullError:
    """The error for a message that was to leave at once and was dropped."""
    where = address_words(peer.address)
    return QueueFullError(
        f"it was not sent to {where}: too much at once, or no way there; try again in a few seconds"
    )
