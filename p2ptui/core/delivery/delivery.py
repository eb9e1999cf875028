"""The way out: messages become datagrams or transfers, within what a peer may be sent."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final

from msgspec import Raw

from p2ptui.core.accounts import Grant, Reason
from p2ptui.core.delivery.deferred import MAX_DEFERRED, MAX_DEFERRED_BYTES, Deferred
from p2ptui.core.delivery.outlet import Outlet, challenge_interval_s, not_sent
from p2ptui.core.delivery.sizes import ALWAYS_FITS_BYTES, why_lost
from p2ptui.core.events import SendResult, SendStatus
from p2ptui.core.peers import Held, OnLost, Peer
from p2ptui.core.reliability.outgoing import Finished, OutgoingMessage
from p2ptui.core.reliability.path_mtu import FLOOR_BYTES
from p2ptui.core.state import NodeState
from p2ptui.core.trust import proves_at_once
from p2ptui.errors import MessageTooLargeError, NotAnnouncedError, QueueFullError
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import (
    Capability,
    Envelope,
    ErrorCode,
    ErrorPayload,
    MessageType,
    RetransmitPayload,
    SequenceSkipPayload,
)
from p2ptui.wire.templates import Unnumbered

INSISTENCE_S: Final = 5.0
"""How long a peer is pinged while something waits for it."""

_OWN: Final = Reason.OWN_SESSION


class Delivery(Outlet):
    """Sends messages to peers; its arguments are those of `Outlet`."""

    def __init__(
        self, state: NodeState, extensions: Mapping[str, str], following: Collection[str] = ()
    ) -> None:
        super().__init__(state, extensions, following)
        self._on_channel_timeout = self._handle_channel_timeout  # one for all peers
        self.on_repeated: Callable[[Peer, str, float], None] = lambda *_: None
        """Called with the sender and the id of a repeated message, and the time."""
        self.on_overdue: Callable[[Peer, float], None] = lambda *_: None
        """Called when messages to a peer are overdue, before they are sent again or given up."""
        self.probe_path: Callable[[Peer, float], None] = lambda *_: None
        """Called when it is a peer's turn, to find out what its path carries."""
        self.on_room: Callable[[Peer, float], None] = lambda *_: None
        """Called when a peer that has not been told of all nodes may be sent more."""
        state.peers.on_rerouted = self._handle_rerouted
        self._deferred = deferred = Deferred(state, self.transmit_frame)
        self.take_deferred = deferred.take_all
        """Remove and return what waits for a peer."""
        self.end_contest = deferred.end_contest
        """See `Deferred.end_contest`."""

    def send(
        self,
        peer: Peer,
        kind: str,
        payload: Raw | bytes,
        now: float,
        *,
        ack_for: int | str | None = None,
        reason: Reason | None = None,
        waits: bool = True,
    ) -> bool:
        """Send a message that needs no Ack; see `send_once` for what it takes.

        Returns:
            Whether it was sent, is in progress, or waits for the peer's proof of its address.
        """
        try:
            if kind in self._extensions:
                self._require_announced(peer, kind)
            data = self.write(kind, payload, now, ack_for)
            if len(data) <= ALWAYS_FITS_BYTES and not self.waits_for(peer):  # as nearly always
                return self._put(peer, data, kind, now)
            return self._send_written(peer, kind, payload, data, now, reason, waits=waits)
        except MessageTooLargeError:
            self._state.counters.drop("message_too_large")
        except QueueFullError:
            self._state.counters.drop("queue_full")
        except NotAnnouncedError:
            pass  # it is counted
        return False

    def send_once(
        self,
        peer: Peer,
        kind: str,
        payload: Raw | bytes,
        now: float,
        *,
        ack_for: int | str | None = None,
        reason: Reason | None = None,
        waits: bool = True,
        for_reader: bool = False,
        on_lost: OnLost | None = None,
    ) -> bool:
        """Send a message that needs no Ack.

        Args:
            peer: The receiver.
            kind: Its `message_type`.
            payload: Its payload, encoded.
            now: The time, seconds.
            ack_for: What it acknowledges.
            reason: Why this node sends it of its own accord; None for what an unproved peer must
                have paid for itself. No other node's bytes ever pay for it.
            waits: Whether it waits for the proof if it does not fit; otherwise it is dropped.
            for_reader: Whether it is Data for a program that reads at the other end.
            on_lost: Called if it waits and the peer leaves before it may be sent.

        Returns:
            As `send`; for granted messages, whether the bound of the grant allows it.

        Raises:
            MessageTooLargeError: It does not fit the limit, or this peer cannot take it.
            QueueFullError: It needs fragments, and too much is already waiting for this peer.
            NotAnnouncedError: It is an extension that the peer did not announce.
        """
        if kind in self._extensions:
            self._require_announced(peer, kind)
        data = self.write(kind, payload, now, ack_for)
        return self._send_written(
            peer, kind, payload, data, now, reason, waits=waits, for_reader=for_reader, lost=on_lost
        )

    def _send_written(
        self,
        peer: Peer,
        kind: str,
        payload: Raw | bytes,
        data: bytes,
        now: float,
        reason: Reason | None,
        *,
        waits: bool,
        for_reader: bool = False,
        lost: OnLost | None = None,
    ) -> bool:
        self.check_size(peer, len(data))
        if for_reader:
            peer.traffic.data_at = now
        if self._must_be_acknowledged(peer, kind, len(data)):
            if not self.is_paid(peer, len(data)):
                return False
            self.send_reliable(peer, kind, payload, now, for_reader=for_reader)
            return True
        return self.transmit(peer, data, kind, now, reason=reason, waits=waits, on_lost=lost)

    def send_at_once(
        self, peer: Peer, kind: str, payload: Raw | bytes, now: float, *, for_reader: bool = False
    ) -> None:
        """Send a message whose departure a call of the user waits for; see `send_once`.

        Raises:
            QueueFullError: It is not sent: too much at once, or no way there.
            LocalError: As for `send_once`.
        """
        user = Reason.USER_ASKED
        if not self.send_once(peer, kind, payload, now, reason=user, for_reader=for_reader):
            raise not_sent(peer)

    def send_reliable(
        self,
        peer: Peer,
        kind: str,
        payload: Raw | bytes,
        now: float,
        token: int | None = None,
        *,
        for_reader: bool = False,
        ack_for: str | None = None,
    ) -> None:
        """Send a message until it is acknowledged; its result is reported with `token`.

        `for_reader` and `ack_for` are as for `send_once`: all but Data always has room there.

        A peer of the reference's kind that never acknowledges is sent it once: *unconfirmed*.

        Raises:
            MessageTooLargeError: It does not fit the limit, or this peer cannot take it.
            QueueFullError: Too much is waiting for this peer, or what must leave at once cannot.
            NotAnnouncedError: As for `send_once`.
        """
        if kind in self._extensions:
            self._require_announced(peer, kind)
        sender = peer.channel.sender
        name = self._ids.uuid_bytes()
        draft = Unnumbered(name, kind, self._state.unix(now), payload, ack_for)
        size, whole = draft.longest_bytes, Capability.FRAGMENTS not in peer.facts.capabilities
        message = OutgoingMessage(draft, name.decode("ascii"), kind, size, token, whole, for_reader)
        self.check_size(peer, size)
        if not (peer.facts.is_expected_to_ack and self._may_insist(peer, token)):
            message.write(sender.numbering.take())
            # What a call of the user waits for leaves at once; the peer pays for what answers it.
            reason = None if token is None else Reason.USER_ASKED
            if not self.transmit(peer, message.data, kind, now, reason=reason) and reason:
                raise not_sent(peer)
            size = message.size_bytes
            words = f"the peer never acknowledges{why_lost(peer, size)}"
            self._state.finish(token, SendResult(SendStatus.UNCONFIRMED, 1, None, size, words))
            if peer.proved:
                sender.path.note_unconfirmed(size, now)
                self.flush(peer, now)
            return
        sender.submit(message)
        if for_reader:
            peer.traffic.data_at = now
        peer.traffic.messages_out += 1
        self._state.counters.messages_out += 1
        self.flush(peer, now)

    def _may_insist(self, peer: Peer, token: int | None) -> bool:
        """Whether a message may be sent until it is acknowledged, or waits until it may.

        To an unproved peer that this node asked for a session, only what the user waits for may.
        Anything else may answer what anybody has written: it is sent once, and the peer pays.
        """
        return token is not None or peer.purse.proved or self._is_held(peer)

    def _must_be_acknowledged(self, peer: Peer, kind: str, size: int) -> bool:
        """Whether the size of a message requires it to be reliable."""
        if Capability.FRAGMENTS not in peer.facts.capabilities:
            return False
        if size > self.datagram_bytes(peer):
            return True
        # Repeated in vain, it would not even show that its path is too small.
        is_offer = kind == MessageType.P2P_CONNECT
        return is_offer and size > FLOOR_BYTES and not peer.channel.sender.path.has_passed(size)

    def transmit(
        self,
        peer: Peer,
        data: bytes,
        kind: str,
        now: float,
        *,
        reason: Reason | None = None,
        waits: bool = True,
        on_lost: OnLost | None = None,
    ) -> bool:
        """Put one message on the wire, unless the peer is unproved and has used up its
        allowance."""
        if reason is None and not self.may_have(peer, len(data)):
            return waits and self.defer(peer, Held(data, on_lost), now)
        grant = None if reason is None else self.grant(peer, reason, now)
        return self._put(peer, data, kind, now, grant)

    def transmit_from(self, grant: Grant, peer: Peer, data: bytes, kind: str, now: float) -> bool:
        """Put one message on the wire, paid for by a grant that the sender holds."""
        return self._put(peer, data, kind, now, grant)

    def hasten(self, peer: Peer, now: float) -> None:
        """Resend what was in flight at once: the way to the peer has changed."""
        if peer.is_authenticated:
            peer.channel.sender.expire(now)
            self._handle_channel_timeout(peer, now)

    def _handle_rerouted(self, peer: Peer) -> None:
        if peer.is_authenticated:
            self._plan(peer, -math.inf, -math.inf)  # at once: what was in flight is sent again

    def defer(self, peer: Peer, held: Held, now: float) -> bool:
        """Let a message wait until its peer may be sent it; returns whether there is room for
        it."""
        size = sum(len(other.data) for other in peer.deferred) + len(held.data)
        if len(peer.deferred) >= MAX_DEFERRED or size > MAX_DEFERRED_BYTES:
            self._state.counters.drop("unproved_budget")
            return False
        is_first = not peer.deferred  # what waits may be evicted for this
        if not self._deferred.put(peer, held, now):
            return False
        if is_first and peer.pings.insist(now + INSISTENCE_S):
            self._insist(peer, now + INSISTENCE_S, now)
        else:
            self.challenge(peer, now)
        return True

    def _insist(self, peer: Peer, end: float, now: float) -> None:
        # The challenge or its answer may be lost: ask again while something waits.
        if now < end == peer.pings.insists_until and peer.deferred:
            self.challenge(peer, now)
            self._state.timers.schedule(
                now + challenge_interval_s(peer), lambda at: self._insist(peer, end, at)
            )

    def release(self, peer: Peer, now: float) -> None:
        """Send what was deferred, as far as it may be sent now."""
        self._deferred.release(peer, now)
        if peer.untold:
            self.on_room(peer, now)
        if not peer.deferred and not peer.untold:
            self.pay_acks(peer, now)

    def acknowledge(self, peer: Peer, message: Envelope, now: float) -> None:
        """Acknowledge a message in its own dialect.

        Deployed clients ignore it: where bytes are scarce, it is omitted first.
        """
        data = self._build_ack(message, now)
        if peer.purse.proved:
            sent = self._put(peer, data, MessageType.ACK, now)
        else:
            sent = self.transmit(peer, data, MessageType.ACK, now, waits=False)
        if not sent:
            peer.owe_ack(data)
            self.challenge(peer, now)

    def owe_ack(self, peer: Peer, message: Envelope, now: float) -> None:
        """Acknowledge a message once more important ones have been sent."""
        peer.owe_ack(self._build_ack(message, now))

    def pay_acks(self, peer: Peer, now: float, leave_bytes: int = 0) -> None:
        """Send the Acks that are owed, as far as `leave_bytes` are left for something else."""
        while peer.acks_owed and peer.has_room(len(peer.acks_owed[0]) + leave_bytes):
            self.transmit(peer, peer.take_ack_owed(), MessageType.ACK, now)

    def prove(self, peer: Peer, now: float, *, guessable: bool = False) -> None:
        """The peer has returned what only somebody at its address could know; or, if it is
        `guessable`, something that shows that it is there, but moves and proves nothing."""
        peer.liveness.note_answer(now, is_certain=not guessable)
        if guessable:
            return
        self._gate.vouch()
        if self._gate.source is not None:
            peer.take_pair(self._gate.source)
        self.trust_address(peer, now)

    def trust_address(self, peer: Peer, now: float) -> None:
        """Somebody receives at the peer's address, whoever that is in the session."""
        if peer.purse.proved:
            return
        peer.purse.proved = True
        self._state.peers.note_proved(peer)
        self.pay_acks(peer, now)
        self._tell_proved(peer, now)
        self.release(peer, now)
        self.flush(peer, now)

    def _is_held(self, peer: Peer) -> bool:
        if peer.is_stranded:
            return True
        if peer.purse.proved:
            return False
        # Nothing that must be acknowledged goes to an unproved peer that connected to this node: a
        # forged handshake must draw no retransmissions. Nor to one that numbers its messages,
        # whoever asked: it proves itself by the first Ping.
        return proves_at_once(peer) or (peer.session.accepted and not peer.initiated)

    def flush(self, peer: Peer, now: float) -> None:
        """Send what the session's window allows, and plan what comes later."""
        if not peer.is_authenticated:
            return
        if peer.channel.rests:
            self._plan(peer, peer.channel.next_receive_timeout(), now)
            return
        sender = peer.channel.sender
        if not self._is_held(peer):
            free = self._gate.set_apart()  # what waited does not answer what has just come
            if sender.needs_skip:
                self._announce_skip(peer, now)
            sender.fit(now)
            for sequence in sender.take_withdrawn():
                self._withdraw(peer, sequence, now)
            for data in sender.to_send(now):
                grant = None if peer.purse.proved else self.grant(peer, _OWN, now)
                self._gate.now = now
                if self.transmit_frame(peer, data, grant):
                    self._note_sent(peer, now)
            self.probe_path(peer, now)
            self._gate.set_apart(free)
            for message in sender.take_begun():
                if self._state.tracing:
                    self._state.trace_to(peer, peer.sends_to, message.kind, message.data)
            self._plan(peer, peer.channel.next_timeout(now), now)
            return
        when = peer.channel.next_receive_timeout()
        if len(sender) and not peer.is_stranded:
            self.challenge(peer, now)
            again = now + challenge_interval_s(peer)
            when = again if when is None else min(when, again)
        self._plan(peer, when, now)

    def _withdraw(self, peer: Peer, sequence: int, now: float) -> None:
        # The fragments that have arrived would keep memory there that the next message needs.
        text = f"message {sequence} was given up"
        payload = encode_payload(ErrorPayload(text, ErrorCode.GONE, sequence_number=sequence))
        self.send(peer, MessageType.ERROR, payload, now)

    def _announce_skip(self, peer: Peer, now: float) -> None:
        sender, skips = peer.channel.sender, peer.channel.sender.skips
        payload = SequenceSkipPayload(peer.handshake_heard, skips.next_count, sender.numbering.next)
        message_id, data = self.build(
            MessageType.SEQUENCE_SKIP, encode_payload(payload), now, requires_ack=True
        )
        skips.begin(message_id, data, now)

    def _plan(self, peer: Peer, when: float | None, now: float) -> None:
        if when is None:
            return
        when = max(when, now)
        timer = peer.session.channel_timer
        if timer is not None and timer.action is not None:
            if timer.when <= when:
                return
            timer.cancel()
        peer.session.channel_timer = self._state.timers.schedule_about(
            when, self._on_channel_timeout, peer
        )

    def _handle_channel_timeout(self, peer: Peer, now: float) -> None:
        peer.session.channel_timer = None
        if not peer.is_authenticated:
            return
        channel = peer.channel
        if not channel.rests and channel.sender.is_overdue(now):
            self.on_overdue(peer, now)
        if not channel.rests and not peer.is_stranded:
            for finished in channel.sender.handle_timeout(now):
                self.report(finished, peer)
        if channel.numbers is not None:
            for sequence in channel.numbers.to_request(now, channel.rtt.rto()):
                request = RetransmitPayload(sequence, handshake=peer.handshake_heard)
                self.send(peer, MessageType.RETRANSMIT, encode_payload(request), now)
        reports, expired = channel.handle_reassembly_timeout(now)
        for report in reports:
            self.transmit_report(peer, report)
        if expired:
            self._state.counters.drops["reassembly_expired"] += expired
        self.flush(peer, now)
        peer.rest(now)

    def report(self, finished: Finished, peer: Peer | None = None) -> None:
        """Report the result of a reliable message; with the peer, also that its path was too
        narrow."""
        if (token := finished.message.token) is None:
            return  # like everything that nobody waits for
        result = finished.result
        if peer is not None and result.status is SendStatus.TIMED_OUT:
            reason = f"{result.reason}{why_lost(peer, finished.message.datagram_bytes)}"
            result = replace(result, reason=reason)
        self._state.finish(token, result)
