"""The way out: messages become datagrams or transfers, within what a peer may be sent."""

from typing import Final

from msgspec import Raw

from p2ptui.core.events import Direction, SendResult, SendStatus
from p2ptui.core.peers import Dialect, OutstandingPing, Peer
from p2ptui.core.reliability import Finished, OutgoingMessage
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.errors import MessageTooLargeError
from p2ptui.wire.codec import encode_envelope, encode_payload
from p2ptui.wire.frames import encode_fragment_ack
from p2ptui.wire.message import (
    NULL,
    Capability,
    Envelope,
    MessageType,
    PingPayload,
    RetransmitPayload,
)

MAX_DATAGRAM_BYTES: Final = 65_507
"""What UDP over IPv4 can carry."""

MAX_OUTSTANDING_PINGS: Final = 32
"""Pings remembered for each peer; an older one can no longer be answered."""

CHALLENGE_INTERVAL_S: Final = 1.0
"""An unproved peer to which something could not be sent is pinged this often, not more."""

CHALLENGES: Final = 5
"""And so often in a row, while something waits for it."""

MAX_DEFERRED: Final = 16
"""Messages that wait for an unproved peer to prove itself."""


class Delivery:
    """Sends messages to peers.

    Args:
        state: The shared ground.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state

    def build(
        self,
        kind: str,
        payload: Raw,
        now: float,
        *,
        sequence_number: int | None = None,
        requires_ack: bool = False,
        ack_for: int | str | None = None,
    ) -> tuple[str, bytes]:
        """Make a message of this node.

        Returns:
            Its id and its bytes.
        """
        message_id = self._state.ids.uuid()
        envelope = Envelope(
            message_id,
            kind,
            self._state.unix(now),
            payload,
            sequence_number,
            requires_ack,
            ack_for,
        )
        return message_id, encode_envelope(envelope)

    def send(
        self,
        peer: Peer,
        kind: str,
        payload: Raw,
        now: float,
        *,
        ack_for: int | str | None = None,
        budgeted: bool = True,
    ) -> bool:
        """Send a message that needs no Ack.

        Args:
            peer: To whom.
            kind: Its `message_type`.
            payload: Its payload, encoded.
            now: The time, seconds.
            ack_for: What it acknowledges.
            budgeted: Whether it counts against what an unproved peer may be sent; False for
                what the user of this node asked for.

        Returns:
            Whether it left (or is on its way in fragments).
        """
        _, data = self.build(kind, payload, now, ack_for=ack_for)
        if len(data) <= self._state.config.server.datagram_budget:
            return self.transmit(peer, data, kind, now, budgeted=budgeted)
        if len(data) > self._state.config.server.max_message_size:
            self._state.counters.drop("message_too_large")
            return False
        if peer.understands(Capability.FRAGMENTS):
            if peer.channel.sender.queued_bytes + len(data) > self.max_queued_bytes:
                self._state.counters.drop("queue_full")
                return False
            self.send_reliable(peer, kind, payload, now)
            return True
        if len(data) > MAX_DATAGRAM_BYTES:
            self._state.counters.drop("message_too_large")
            return False
        return self.transmit(peer, data, kind, now, budgeted=budgeted)

    @property
    def max_queued_bytes(self) -> int:
        """What may wait for one peer, bytes."""
        return self._state.config.reliability.max_queued_bytes

    def send_reliable(
        self, peer: Peer, kind: str, payload: Raw, now: float, token: int | None = None
    ) -> None:
        """Send a message until it is acknowledged; `token` tells its end.

        To a peer of the reference's kind that has never acknowledged anything
        it is sent once and its end is *unconfirmed*.

        Raises:
            MessageTooLargeError: It does not fit the limit, or this peer cannot take it.
            QueueFullError: Too much is already waiting for this peer.
        """
        sender = peer.channel.sender
        sender.check_room(len(payload))
        # The number is taken only when the message is: a refused one leaves no hole.
        sequence = sender.next_sequence
        message_id, data = self.build(
            kind, payload, now, sequence_number=sequence, requires_ack=True
        )
        self._check_size(peer, len(data))
        if peer.dialect is Dialect.REFERENCE and not peer.acks:
            sender.take_sequence()
            self.transmit(peer, data, kind, now, budgeted=False)
            result = SendResult(
                SendStatus.UNCONFIRMED, 1, None, len(data), "the peer never acknowledges"
            )
            self._state.finish(token, result)
            return
        sender.submit(OutgoingMessage(sequence, message_id, data, token), now)
        self._state.trace(Direction.OUT, peer.address, peer.node_id, kind, data)
        peer.messages_out += 1
        self._state.counters.messages_out += 1
        self.flush(peer, now)

    def _check_size(self, peer: Peer, size: int) -> None:
        limit = self._state.config.server.max_message_size
        if size > limit:
            raise MessageTooLargeError(
                f"the message is {size} bytes, the limit is {limit} (max_message_size);"
                " send it in parts"
            )
        if size > MAX_DATAGRAM_BYTES and not peer.understands(Capability.FRAGMENTS):
            raise MessageTooLargeError(
                f"the message is {size} bytes, and this peer takes single datagrams of at most"
                f" {MAX_DATAGRAM_BYTES}; send it in parts"
            )

    def transmit(
        self, peer: Peer, data: bytes, kind: str, now: float, *, budgeted: bool = True
    ) -> bool:
        """Put one message on the wire, unless the peer has not proved itself and had enough."""
        if budgeted and not peer.may_receive(len(data)):
            return self._defer(peer, data, now)
        peer.messages_out += 1
        self._state.counters.messages_out += 1
        self.transmit_frame(peer, data)
        self._state.trace(Direction.OUT, peer.address, peer.node_id, kind, data)
        return True

    def _defer(self, peer: Peer, data: bytes, now: float) -> bool:
        if len(peer.deferred) >= MAX_DEFERRED:
            self._state.counters.drop("unproved_budget")
            return False
        peer.deferred.append(data)
        self.challenge(peer, now)
        if len(peer.deferred) == 1:
            self._insist(peer, CHALLENGES, now)
        return True

    def _insist(self, peer: Peer, left: int, now: float) -> None:
        # The challenge or its answer may be lost: ask again while something waits.
        if left and peer.deferred and peer.is_authenticated:
            self.challenge(peer, now)
            self._state.timers.schedule(
                now + CHALLENGE_INTERVAL_S, lambda at: self._insist(peer, left - 1, at)
            )

    def release(self, peer: Peer) -> None:
        """Send what was deferred, as far as it may go now."""
        while peer.deferred and peer.may_receive(len(peer.deferred[0])):
            self.transmit_frame(peer, peer.deferred.popleft())

    def transmit_frame(self, peer: Peer, data: bytes) -> None:
        """Put a datagram on the wire that is no message of its own."""
        peer.bytes_out += len(data)
        self._state.put_datagram(data, peer.address)

    def acknowledge(self, peer: Peer, message: Envelope, now: float) -> None:
        """Acknowledge a message in its own dialect."""
        key = message.id if message.speaks_reference else message.sequence_number
        self.send(peer, MessageType.ACK, NULL, now, ack_for=key)

    def ping(
        self,
        peer: Peer,
        now: float,
        token: int | None = None,
        timer: Timer | None = None,
        *,
        budgeted: bool = True,
    ) -> bool:
        """Send a Ping whose Pong can be recognised; whether it left.

        Args:
            peer: To whom.
            now: The time, seconds.
            token: The call that waits for it.
            timer: What ends that call if no Pong comes.
            budgeted: See `send`.
        """
        nonce = self._state.ids.nonce()
        payload = encode_payload(PingPayload(nonce))
        if not self.send(peer, MessageType.PING, payload, now, budgeted=budgeted):
            return False
        peer.last_ping_sent = now
        peer.pings[nonce] = OutstandingPing(now, token, timer)
        if len(peer.pings) > MAX_OUTSTANDING_PINGS:
            peer.pings.popitem(last=False)
        return True

    def challenge(self, peer: Peer, now: float) -> None:
        """Give an unproved peer the chance to prove itself."""
        size_of_a_ping = 256
        if (
            not peer.proved
            and now - peer.last_ping_sent >= CHALLENGE_INTERVAL_S
            and peer.may_receive(size_of_a_ping)
        ):
            self.ping(peer, now)

    def prove(self, peer: Peer, now: float) -> None:
        """The peer has returned what only somebody at its address could know."""
        if peer.proved:
            return
        peer.proved = True
        self.release(peer)
        self.flush(peer, now)

    def _is_held(self, peer: Peer) -> bool:
        # Nothing that must be acknowledged goes to an unproved peer that connected to this
        # node: it proves itself first, so that a forged handshake draws no retransmissions.
        return not peer.proved and peer.accepted and not peer.initiated

    def flush(self, peer: Peer, now: float) -> None:
        """Send what the session's window lets go, and plan what comes later."""
        if not peer.is_authenticated:
            return
        sender = peer.channel.sender
        if not self._is_held(peer):
            for data in sender.to_send(now):
                self.transmit_frame(peer, data)
            self._plan(peer, peer.channel.next_timeout(now), now)
            return
        when = peer.channel.next_receive_timeout()
        if len(sender):
            self.challenge(peer, now)
            again = now + CHALLENGE_INTERVAL_S
            when = again if when is None else min(when, again)
        self._plan(peer, when, now)

    def _plan(self, peer: Peer, when: float | None, now: float) -> None:
        if when is None:
            return
        when = max(when, now)
        timer = peer.channel_timer
        if timer is not None and timer.action is not None:
            if timer.when <= when:
                return
            timer.cancel()
        peer.channel_timer = self._state.timers.schedule(
            when, lambda at: self._handle_channel_timeout(peer, at)
        )

    def _handle_channel_timeout(self, peer: Peer, now: float) -> None:
        if not peer.is_authenticated:
            return
        channel = peer.channel
        for finished in channel.sender.handle_timeout(now):
            self.report(finished)
        for sequence in channel.sequences.to_request(now, channel.rtt.rto()):
            request = encode_payload(RetransmitPayload(sequence))
            self.send(peer, MessageType.RETRANSMIT, request, now)
        reports, expired = channel.reassembly.handle_timeout(now)
        for report in reports:
            self.transmit_frame(peer, encode_fragment_ack(report))
        if expired:
            self._state.counters.drops["reassembly_expired"] += expired
        self.flush(peer, now)

    def report(self, finished: Finished) -> None:
        """Tell the end of a reliable message."""
        self._state.finish(finished.message.token, finished.result)
