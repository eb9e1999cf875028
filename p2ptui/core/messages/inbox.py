"""Messages from authenticated peers: duplicates dropped, the rest acknowledged and handled."""

import enum
from typing import Any, Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.messages.row import Refusal
from p2ptui.core.messages.table import Entry, MessageTable
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.duplicates import Verdict
from p2ptui.core.services import Services
from p2ptui.core.state import NodeState
from p2ptui.wire.codec import MalformedError, decode_envelope, encode_payload
from p2ptui.wire.frames import (
    Fragment,
    FragmentAck,
    PathProbe,
    PathProbeAnswer,
    decode_frame,
    decode_path_probe,
)
from p2ptui.wire.message import (
    MAX_SEQUENCE_NUMBER,
    Capability,
    Envelope,
    ErrorCode,
    ErrorPayload,
    MessageType,
    RetransmitPayload,
)

ANSWERED_BYTES: Final = 800
"""The size of an Ack and an answer of the usual length after it."""

LOST_TRACK_S: Final = 1.0
"""How often a peer whose numbers are unknown is told so, at most."""


_ACK: Final = MessageType.ACK
_PONG: Final = MessageType.PONG
_HANDSHAKE_RESPONSE: Final = MessageType.HANDSHAKE_RESPONSE

_NO_SIGN: Final = frozenset({MessageType.ERROR, MessageType.DISCONNECT})
"""Types that prove nothing about the session: a restarted server says that it knows nobody here,
and anybody can say goodbye."""


class _Outcome(enum.Enum):
    """What became of a message that asks for an Ack."""

    TAKEN = "taken"
    REFUSED = "refused"
    """There is no room for it now."""
    DROPPED = "dropped"
    """Nothing is known about it, or it is not believed."""


# Bound here, since looking up an enum member runs Python code.
_TAKEN: Final = _Outcome.TAKEN
_DUPLICATE: Final = Verdict.DUPLICATE
_UNKNOWN: Final = Verdict.UNKNOWN


class Inbox:
    """Takes the messages and frames of authenticated peers.

    Args:
        state: The shared state.
        delivery: Sends messages.
        services: The handlers of messages.
        table: The rows of the messages.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, services: Services, table: MessageTable
    ) -> None:
        self._state = state
        self._counters = state.counters
        self._peers = state.peers
        self._delivery = delivery
        self._services = services
        self._table = table

    def receive(self, peer: Peer, message: Envelope, now: float) -> None:
        """Take a message of an authenticated peer."""
        kind = message.message_type
        if kind == _HANDSHAKE_RESPONSE and not self._takes_response(peer, message, now):
            return
        if kind not in _NO_SIGN:
            peer.liveness.hear(now)
        self._peers.touch(peer)
        if kind == _ACK:
            self._count(peer)
            self._receive_ack(peer, message, now)
            return
        if message.requires_ack:
            self._receive_reliable(peer, message, now)
        elif peer.channel.is_repeated(message) and kind != _PONG:
            self._counters.duplicates += 1
            return
        else:
            # As `_count`.
            peer.traffic.messages_in += 1
            self._counters.messages_in += 1
            entry, content, error = self._table.read(message)
            if entry is None or error is not None or not entry.is_open:
                entry = self._accept(peer, message, entry, content, error, now)
            if entry is not None:
                if entry.admits is None or entry.admits(peer, content, now):
                    entry.handle(peer, content, now)
                elif entry.refuse is not None:
                    entry.refuse(peer, content, now)
        if peer.deferred or peer.untold or peer.acks_owed:
            self._delivery.release(peer, now)

    def _takes_response(self, peer: Peer, message: Envelope, now: float) -> bool:
        """Whether a HandshakeResponse is to be handled here, like other messages."""
        if self._services.resumptions.take_answer(peer, message, now):
            return False
        if message.ack_for in peer.handshake_keys:
            return True
        # A response to no request of this node is not acknowledged either: that would admit
        # anyone who has forged one.
        self._counters.drop("unsolicited_handshake_response")
        return False

    def _count(self, peer: Peer) -> None:
        peer.traffic.messages_in += 1
        self._counters.messages_in += 1

    def _receive_reliable(self, peer: Peer, message: Envelope, now: float) -> _Outcome:
        # An acknowledged message has arrived, now or earlier.
        channel = peer.channel
        # Peers that number without gaps write no `sender_addr`; a message with one is somebody
        # else's.
        numbers = Capability.RETRANSMIT in peer.facts.capabilities
        numbered = numbers and not message.speaks_reference
        verdict = channel.judge(message, numbered=numbered)
        if verdict is _UNKNOWN:
            self._handle_unknown_number(peer, now)
            return _Outcome.DROPPED
        if verdict is _DUPLICATE:
            self._counters.duplicates += 1
            self._delivery.acknowledge(peer, message, now)
            self._delivery.on_repeated(peer, message.id, now)
            return _Outcome.TAKEN
        entry, content, error = self._table.read(message)
        accepted: Entry | None = None
        # For malformed requests an Ack says that they came, and an Error what is wrong.
        if entry is not None and (error is None or entry.admits is not None):
            accepted = entry
            if error is not None or not entry.is_open:
                accepted = self._accept(peer, message, entry, content, error, now)
            if accepted is None:
                return _Outcome.DROPPED
            if accepted.admits is not None and not accepted.admits(peer, content, now):
                if accepted.refuse is None:
                    return _Outcome.DROPPED
                accepted.refuse(peer, content, now)
                return _Outcome.REFUSED
        is_odd = numbers and not numbered
        channel.remember(message, numbered=numbered, now=now, is_odd=is_odd)
        self._count(peer)
        # An unproved peer's allowance pays for the answer first.
        purse = peer.purse
        pays_for_both = purse.proved or purse.has_room(ANSWERED_BYTES)
        if pays_for_both:
            self._delivery.acknowledge(peer, message, now)
        if accepted is not None:
            accepted.handle(peer, content, now)
        else:
            self._accept(peer, message, entry, content, error, now)
        if not pays_for_both:
            self._delivery.acknowledge(peer, message, now)
        if channel.has_gaps:
            self._delivery.flush(peer, now)  # a gap must be requested in time
        return _TAKEN

    def _handle_unknown_number(self, peer: Peer, now: float) -> None:
        # Nothing is known about it, so nothing is acknowledged. But if it is the peer's, somebody
        # else has moved its window: told which number is expected next, it says where it continues.
        self._state.counters.drop("unknown_number")
        channel = peer.channel
        if channel.numbers is None or now - channel.lost_track_at < LOST_TRACK_S:
            return
        channel.lost_track_at = now
        expected = (channel.numbers.highest + 1) & MAX_SEQUENCE_NUMBER
        heard = peer.handshake_heard
        request = encode_payload(RetransmitPayload(expected, lost_track=True, handshake=heard))
        self._delivery.send(peer, MessageType.RETRANSMIT, request, now)

    def _accept(
        self,
        peer: Peer,
        message: Envelope,
        entry: Entry | None,
        content: Any,
        error: MalformedError | None,
        now: float,
    ) -> Entry | None:
        """The table entry of a valid message that its sender may send. For others, the sender is
        told if that is appropriate."""
        if entry is None:
            self._refuse_type(peer, message, now)
        elif error is not None:
            self._refuse_payload(peer, message, entry, error, now)
        elif entry.trusts(peer, content):
            return entry
        elif entry.doubted is not None and entry.doubted.trusts(peer, content):
            return entry.doubted
        else:
            self._state.counters.drop(entry.row.distrusted)
        return None

    def _refuse_payload(
        self, peer: Peer, message: Envelope, entry: Entry, error: MalformedError, now: float
    ) -> None:
        self._state.counters.drop("malformed")
        if Refusal.OF_PAYLOAD in entry.row.refusal:
            text = f"bad payload of {message.message_type}: {error}"
            self._send_error(peer, ErrorPayload(text, ErrorCode.BAD_PAYLOAD), now)

    def _refuse_type(self, peer: Peer, message: Envelope, now: float) -> None:
        self._state.counters.drop("unknown_type")
        text = f"unknown message type {message.message_type!r}"
        self._send_error(peer, ErrorPayload(text, ErrorCode.UNKNOWN_TYPE), now)

    def _send_error(self, peer: Peer, payload: ErrorPayload, now: float) -> None:
        self._delivery.send(peer, MessageType.ERROR, encode_payload(payload), now)

    def _receive_ack(self, peer: Peer, message: Envelope, now: float) -> None:
        key = message.ack_for
        if key is None:
            self._state.counters.acks_without_message += 1
            return
        if peer.channel.sender.skips.handle_ack(key):
            self._delivery.prove(peer, now)
            self._delivery.flush(peer, now)
            return
        finished = peer.channel.sender.handle_ack(key, now)
        if finished is not None:
            peer.facts.note_ack()
            self._delivery.report(finished)
            self._delivery.prove(peer, now)
            self._delivery.flush(peer, now)
        elif not self._services.handshake.handle_ack(peer, key, now):
            self._state.counters.acks_without_message += 1
            if peer.channel.sender.needs_skip:
                self._delivery.flush(peer, now)

    def receive_frame(self, peer: Peer, data: bytes, now: float) -> None:
        """Take a binary frame of an authenticated peer."""
        frame = decode_frame(data) or decode_path_probe(data)
        if frame is None or Capability.FRAGMENTS not in peer.facts.capabilities:
            self._state.counters.drop("bad_frame")
            return
        peer.liveness.hear(now)
        if not peer.purse.proved:
            # What a forged handshake begins must stay small, and a report can be longer
            # than the fragment that asks for it.
            self._state.counters.drop("unproved_frame")
            self._delivery.challenge(peer, now)
            return
        if isinstance(frame, Fragment):
            self._receive_fragment(peer, frame, now)
        elif isinstance(frame, PathProbe | PathProbeAnswer):
            self._services.path_probes.handle(peer, frame, now)
        else:
            sender = peer.channel.sender
            if sender.awaits_report(frame.sequence):
                # It proves nothing else: anybody can write it.
                peer.liveness.note_answer(now)
                self._state.gate.vouch()
            finished = sender.handle_fragment_ack(frame, now)
            if finished is not None:
                self._delivery.report(finished)
                self._delivery.prove(peer, now)
        self._delivery.flush(peer, now)

    def _receive_fragment(self, peer: Peer, fragment: Fragment, now: float) -> None:
        channel = peer.channel
        if not channel.covers(fragment.sequence):
            self._handle_unknown_number(peer, now)
            return
        assembled = channel.reassembly.receive(fragment, now, peer.address)
        if assembled.refused:
            self._state.counters.drop("fragment_refused")
        if assembled.progressed and channel.numbers is not None:
            timeout = self._state.config.reliability.reassembly_timeout
            channel.numbers.postpone(fragment.sequence, now + timeout)
        report = assembled.report
        if assembled.message is not None:
            report = self._receive_assembled(peer, fragment, assembled.message, now)
        if report is not None:
            self._delivery.transmit_report(peer, report)

    def _receive_assembled(
        self, peer: Peer, fragment: Fragment, data: bytes, now: float
    ) -> FragmentAck | None:
        reassembly = peer.channel.reassembly
        message = _assembled_message(data, fragment)
        if message is None:
            self._state.counters.drop("malformed")
            reassembly.discard(fragment)
            return None
        kind = message.message_type
        # From a secured peer's address, only handshakes get here in the clear.
        sealed = peer.is_secured
        self._state.trace_from(peer.address, peer.node_id, kind, data, is_sealed=sealed)
        peer.liveness.hear(now)
        self._state.peers.touch(peer)
        outcome = self._receive_reliable(peer, message, now)
        if outcome is _Outcome.TAKEN:
            return reassembly.accept(fragment)
        if outcome is _Outcome.REFUSED:
            busy = reassembly.defer(fragment, now)
            # A peer that understands windows was told by one.
            return None if Capability.RECEIVE_WINDOW in peer.facts.capabilities else busy
        reassembly.discard(fragment)
        return None


def _assembled_message(data: bytes, fragment: Fragment) -> Envelope | None:
    """The message that came in fragments, if it is of a type that may."""
    try:
        message = decode_envelope(data)
    except MalformedError:
        return None
    if message.message_type == MessageType.HANDSHAKE_REQUEST:
        return None  # a handshake never needs fragments
    fits = message.requires_ack and message.sequence_number == fragment.sequence
    return message if fits else None
