"""What authenticated peers send: duplicates dropped, acknowledged, and each type to its handler."""

import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET, Raw

from p2ptui.core.data import DataContent, DataKind, read_data
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction, ErrorReceived
from p2ptui.core.peers import Peer, Suspicion
from p2ptui.core.reliability.duplicates import Verdict
from p2ptui.core.services import Services
from p2ptui.core.state import NodeState
from p2ptui.wire.codec import MalformedError, decode_envelope, decode_payload, encode_payload
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
    DisconnectPayload,
    DiscoveryRequestPayload,
    DiscoveryUpdatePayload,
    Envelope,
    ErrorCode,
    ErrorPayload,
    ListNodesPayload,
    MessageType,
    NatProbePayload,
    NatProbeReportPayload,
    NatProbeRequestPayload,
    NatProbeSentPayload,
    P2PConnectPayload,
    PeerInfo,
    ReceiveWindowPayload,
    RelayDataPayload,
    RelayRequestPayload,
    RelayResponsePayload,
    RetransmitPayload,
    SequenceSkipPayload,
)
from p2ptui.wire.stun_partner import (
    StunDelegatedPayload,
    StunDelegationPayload,
    StunPartnerPayload,
)

Handle: TypeAlias = Callable[[Peer, Envelope, Any, float], None]

ANSWERED_BYTES: Final = 800
"""An Ack, and an answer of the usual length after it."""

LOST_TRACK_S: Final = 1.0
"""A peer whose numbers are unknown is told so this often, at most."""

MAX_REASON: Final = 200
"""Characters of a goodbye that are kept."""


class _Entry(NamedTuple):
    decode: Callable[[Raw], Any]
    handle: Handle
    is_request: bool = False
    """Whether a payload that makes no sense is answered with an Error."""
    admits: Callable[[Peer, Envelope, Any, float], bool] | None = None
    """Whether it can be taken now; what cannot, or makes no sense, is not acknowledged either."""


class _Outcome(enum.Enum):
    """What became of a message that asks for an Ack."""

    TAKEN = "taken"
    REFUSED = "refused"
    """There is no room for it now."""
    DROPPED = "dropped"
    """Nothing is known of it, or it is not believed."""


def _as(kind: Any) -> Callable[[Raw], Any]:
    return lambda raw: decode_payload(raw, kind)


def _as_is(_raw: Raw) -> None:
    return None


class Inbox:
    """Takes the messages and frames of authenticated peers.

    Args:
        state: The shared ground.
        delivery: The way out.
        services: Who handles what.
    """

    def __init__(self, state: NodeState, delivery: Delivery, services: Services) -> None:
        self._state = state
        self._delivery = delivery
        self._services = services
        kind, s = MessageType, services
        self._entries: dict[str, _Entry] = {
            kind.PING: _Entry(_as_is, lambda p, m, _c, n: s.liveness.handle_ping(p, m, n)),
            kind.PONG: _Entry(_as_is, lambda p, m, _c, n: s.liveness.handle_pong(p, m, n)),
            kind.DATA: _Entry(read_data, s.data.handle, is_request=True, admits=s.data.admits),
            kind.RECEIVE_WINDOW: _Entry(
                _as(ReceiveWindowPayload), lambda p, _m, c, n: s.windows.handle_update(p, c, n)
            ),
            kind.SEQUENCE_SKIP: _Entry(
                _as(SequenceSkipPayload),
                lambda _p, _m, _c, _n: None,
                admits=lambda p, _m, c, _n: s.windows.handle_skip(p, c),
            ),
            kind.DISCOVERY_REQUEST: _Entry(
                _as(DiscoveryRequestPayload | None),
                lambda p, _m, _c, n: s.discovery.handle_request(p, n),
                is_request=True,
            ),
            kind.DISCOVERY_RESPONSE: _Entry(
                _as(list[PeerInfo]), lambda p, _m, c, n: s.discovery.handle_response(p, c, n)
            ),
            kind.DISCOVERY_UPDATE: _Entry(
                _as(DiscoveryUpdatePayload),
                lambda p, _m, c, n: s.discovery.handle_update(p, c, n),
            ),
            kind.LIST_NODES_REQUEST: _Entry(
                _as_is,
                lambda p, _m, _c, n: s.discovery.handle_list_nodes(p, n),
                is_request=True,
            ),
            kind.LIST_NODES_RESPONSE: _Entry(
                _as(ListNodesPayload), lambda p, _m, c, n: s.queries.handle_response(p, c, n)
            ),
            kind.P2P_CONNECT: _Entry(
                _as(P2PConnectPayload),
                lambda p, _m, c, n: s.rendezvous.handle_p2p_connect(p, c, n),
                is_request=True,
            ),
            kind.RELAY_REQUEST: _Entry(
                _as(RelayRequestPayload),
                lambda p, _m, c, n: s.relay.handle_request(p, c, n),
                is_request=True,
            ),
            kind.RELAY_RESPONSE: _Entry(
                _as(RelayResponsePayload), lambda p, _m, c, n: s.relay.handle_response(p, c, n)
            ),
            kind.RELAY_DATA: _Entry(
                _as(RelayDataPayload),
                lambda p, m, c, n: s.relay.handle_data(p, c, n, admitted=m.requires_ack),
                admits=lambda p, _m, c, n: s.relay.admits_data(p, c, n),
            ),
            kind.STUN_PARTNER: _Entry(
                _as(StunPartnerPayload), lambda p, _m, c, n: s.stun.handle_partner(p, c, n)
            ),
            kind.STUN_DELEGATION: _Entry(
                _as(StunDelegationPayload), lambda p, _m, c, n: s.stun.handle_delegation(p, c, n)
            ),
            kind.STUN_DELEGATED: _Entry(
                _as(StunDelegatedPayload), lambda p, _m, c, n: s.stun.handle_delegated(p, c, n)
            ),
            kind.NAT_PROBE_REQUEST: _Entry(
                _as(NatProbeRequestPayload),
                lambda p, _m, c, n: s.probes.handle_request(p, c, n),
                is_request=True,
            ),
            kind.NAT_PROBE_REPORT: _Entry(
                _as(NatProbeReportPayload), lambda p, _m, c, n: s.probes.handle_report(p, c, n)
            ),
            kind.NAT_PROBE: _Entry(
                _as(NatProbePayload), lambda p, _m, c, n: s.probes.handle_probe(p, c, n)
            ),
            kind.NAT_PROBE_SENT: _Entry(
                _as(NatProbeSentPayload), lambda p, _m, c, n: s.probes.handle_sent(p, c, n)
            ),
            kind.HANDSHAKE_RESPONSE: _Entry(
                _as_is, lambda p, m, _c, _n: s.resumptions.handle_late_response(p, m)
            ),
            kind.RETRANSMIT: _Entry(
                _as(RetransmitPayload), self._handle_retransmit, is_request=True
            ),
            kind.ERROR: _Entry(_as(ErrorPayload), self._handle_error),
            kind.DISCONNECT: _Entry(_as(DisconnectPayload | None), self._handle_disconnect),
        }

    def receive(self, peer: Peer, message: Envelope, now: float) -> None:
        """Take a message of an authenticated peer."""
        is_response = message.message_type == MessageType.HANDSHAKE_RESPONSE
        if is_response and self._services.resumptions.take_answer(peer, message, now):
            return
        if message.message_type != MessageType.ERROR:
            # That it knows nobody here is what a restarted server says: no sign of the session.
            peer.last_received = now
        self._state.peers.touch(peer)
        if message.message_type == MessageType.ACK:
            self._count(peer)
            self._receive_ack(peer, message, now)
            return
        if message.requires_ack:
            self._receive_reliable(peer, message, now)
        elif peer.channel.is_repeated(message):
            self._state.counters.duplicates += 1
            return
        else:
            self._count(peer)
            entry, content, error = self._read(message)
            self._handle(peer, message, entry, content, error, now)
        if peer.deferred or peer.untold or peer.acks_owed:
            self._delivery.release(peer, now)

    def _count(self, peer: Peer) -> None:
        peer.messages_in += 1
        self._state.counters.messages_in += 1

    def _receive_reliable(self, peer: Peer, message: Envelope, now: float) -> _Outcome:
        # What is acknowledged is where it was to go, or was there before.
        channel = peer.channel
        # Who numbers without holes writes no `sender_addr`; what has one is somebody else's.
        numbered = Capability.RETRANSMIT in peer.capabilities and not message.speaks_reference
        verdict = channel.judge(message, numbered=numbered)
        if verdict is Verdict.UNKNOWN:
            self._handle_unknown_number(peer, now)
            return _Outcome.DROPPED
        if verdict is Verdict.DUPLICATE:
            self._state.counters.duplicates += 1
            self._delivery.acknowledge(peer, message, now)
            return _Outcome.TAKEN
        entry, content, error = self._read(message)
        if entry is not None and entry.admits is not None:
            if error is not None:
                self._refuse_payload(peer, message, entry, error, now)
                return _Outcome.DROPPED
            if not entry.admits(peer, message, content, now):
                return self._refuse_for_now(peer, message, content, now)
        channel.remember(message, numbered=numbered, now=now)
        self._count(peer)
        # What an unproved peer may be sent pays for the answer first.
        pays_for_both = peer.has_room(ANSWERED_BYTES)
        if pays_for_both:
            self._delivery.acknowledge(peer, message, now)
        self._handle(peer, message, entry, content, error, now)
        if not pays_for_both:
            self._delivery.acknowledge(peer, message, now)
        if channel.has_gaps:
            self._delivery.flush(peer, now)  # a gap is to be asked for in time
        return _Outcome.TAKEN

    def _handle_unknown_number(self, peer: Peer, now: float) -> None:
        # Nothing is known of it, so nothing is acknowledged. But if it is the peer's, then somebody
        # else has moved its window: what is expected next tells it, and it says where it goes on.
        self._state.counters.drop("unknown_number")
        channel = peer.channel
        if channel.numbers is None or now - channel.lost_track_at < LOST_TRACK_S:
            return
        channel.lost_track_at = now
        expected = (channel.numbers.highest + 1) & MAX_SEQUENCE_NUMBER
        request = encode_payload(RetransmitPayload(expected, lost_track=True))
        self._delivery.send(peer, MessageType.RETRANSMIT, request, now)

    def _refuse_for_now(self, peer: Peer, message: Envelope, content: Any, now: float) -> _Outcome:
        if not isinstance(content, DataContent):
            return _Outcome.REFUSED
        if content.kind is DataKind.ROUTED:
            return _Outcome.DROPPED
        self._state.counters.drop("reader_full")
        self._services.windows.refuse(peer, len(message.payload), now)
        return _Outcome.REFUSED

    def _read(self, message: Envelope) -> tuple[_Entry | None, Any, MalformedError | None]:
        entry = self._entries.get(message.message_type)
        if entry is None:
            return None, None, None
        try:
            return entry, entry.decode(message.payload), None
        except MalformedError as error:
            return entry, None, error

    def _handle(
        self,
        peer: Peer,
        message: Envelope,
        entry: _Entry | None,
        content: Any,
        error: MalformedError | None,
        now: float,
    ) -> None:
        if entry is None:
            self._refuse_type(peer, message, now)
        elif error is not None:
            self._refuse_payload(peer, message, entry, error, now)
        else:
            entry.handle(peer, message, content, now)

    def _refuse_payload(
        self, peer: Peer, message: Envelope, entry: _Entry, error: MalformedError, now: float
    ) -> None:
        self._state.counters.drop("malformed")
        if entry.is_request:
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
            peer.acks = True
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
        if frame is None or Capability.FRAGMENTS not in peer.capabilities:
            self._state.counters.drop("bad_frame")
            return
        peer.last_received = now
        if not peer.proved:
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
            peer.answered_at = now
            finished = peer.channel.sender.handle_fragment_ack(frame, now)
            if finished is not None:
                self._delivery.report(finished)
                self._delivery.prove(peer, now)
        self._delivery.flush(peer, now)

    def _receive_fragment(self, peer: Peer, fragment: Fragment, now: float) -> None:
        channel = peer.channel
        if not channel.covers(fragment.sequence):
            self._handle_unknown_number(peer, now)
            return
        assembled = channel.reassembly.receive(fragment, now)
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
        self._state.trace(Direction.IN, peer.address, peer.node_id, kind, data)
        peer.last_received = now
        self._state.peers.touch(peer)
        outcome = self._receive_reliable(peer, message, now)
        if outcome is _Outcome.TAKEN:
            return reassembly.accept(fragment)
        if outcome is _Outcome.REFUSED:
            busy = reassembly.defer(fragment, now)
            # Who understands a window was told by it.
            return None if Capability.RECEIVE_WINDOW in peer.capabilities else busy
        reassembly.discard(fragment)
        return None

    def _handle_retransmit(
        self, peer: Peer, _message: Envelope, content: RetransmitPayload, now: float
    ) -> None:
        sequence = content.sequence_number
        sender = peer.channel.sender
        if content.lost_track is True and not sender.numbering.is_near(sequence):
            sender.skips.handle_foreign_number(now)
            self._delivery.flush(peer, now)
            return
        data = sender.resend(sequence, now)
        if data is None:
            text = f"message {sequence} is no longer held"
            payload = ErrorPayload(text, ErrorCode.GONE, sequence_number=sequence)
            self._send_error(peer, payload, now)
        elif data:
            self._delivery.transmit_frame(peer, data)

    def _handle_error(
        self, peer: Peer, _message: Envelope, content: ErrorPayload, now: float
    ) -> None:
        if content.code == ErrorCode.GONE and content.sequence_number is not None:
            if peer.channel.numbers is not None:
                peer.channel.numbers.give_up(content.sequence_number)
            peer.channel.reassembly.withdraw(content.sequence_number)
            return
        if content.code == ErrorCode.UNAUTHENTICATED:
            reason = "it does not know this node any more"
            self._services.liveness.suspect(peer, Suspicion.FORGOT, now, reason)
            return
        self._services.data.handle_error(peer, content, now)
        self._services.rendezvous.handle_error(peer, content, now)
        self._state.emit(ErrorReceived(peer.node_id, peer.address, content.error, content.code))

    def _handle_disconnect(
        self, peer: Peer, _message: Envelope, content: DisconnectPayload | None, now: float
    ) -> None:
        words = content.reason[:MAX_REASON] if content is not None else ""
        reason = f"it said goodbye: {words}" if words else "it said goodbye"
        proof = content.handshake if content is not None else UNSET
        self._services.liveness.handle_goodbye(peer, proof, now, reason)


def _assembled_message(data: bytes, fragment: Fragment) -> Envelope | None:
    """The message that came in fragments, if it is one that may."""
    try:
        message = decode_envelope(data)
    except MalformedError:
        return None
    if message.message_type == MessageType.HANDSHAKE_REQUEST:
        return None  # a handshake never needs fragments
    fits = message.requires_ack and message.sequence_number == fragment.sequence
    return message if fits else None
