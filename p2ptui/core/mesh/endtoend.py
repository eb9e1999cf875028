"""Messages that travel inside routed ones: repeated until their receiver answers, delivered once.

Hops lose datagrams and remember each `route_id`, so a repetition carries the same inner message
under a new `route_id`; the receiver recognises it by the inner message's own id.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Raw

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Purse
from p2ptui.core.calls import Call, Calls
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import (
    DataReceived,
    Encoded,
    Outcome,
    Path,
    PingResult,
    SendResult,
    SendStatus,
)
from p2ptui.core.mesh.carried import CarriedMessages
from p2ptui.core.mesh.far_messages import FarMessages
from p2ptui.core.mesh.pending import PendingMessage
from p2ptui.core.mesh.routing import Refusal, Routing
from p2ptui.core.mesh.sources import Writer
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, MessageTooLargeError, PeerTimeoutError, QueueFullError
from p2ptui.wire.codec import (
    MalformedError,
    check_any,
    decode_envelope,
    decode_payload,
    encode_payload,
)
from p2ptui.wire.message import (
    NULL,
    Capability,
    Envelope,
    ErrorCode,
    ErrorPayload,
    MessageType,
    PingPayload,
    ReceiveWindowPayload,
)

MAX_PENDING: Final = 1024
"""This node's own messages that may wait for their receiver's answer."""

MAX_DELIVERED: Final = 20_000
"""Inner messages remembered as delivered."""

ROUTED_OVERHEAD_BYTES: Final = 512
"""The most that the routed form and its envelope add to an inner message."""

REFUSAL_LENGTH: Final = 200
"""Characters of a refusal that are kept."""

FIRST_RTO_S: Final = 1.0
"""A path of several hops is not measured before its first answer (RFC 6298, section 2.1)."""


class EndToEnd:
    """The two ends of routed messages.

    Args:
        state: The shared state.
        delivery: Makes messages.
        routing: Carries them.
        doubt: Checks whether a peer that has brought no answer is still there.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        routing: Routing,
        doubt: Callable[[Peer, float], None],
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._routing = routing
        self._calls: Calls[PendingMessage] = state.open_room(
            "routed_waiting", "routed messages", limit=MAX_PENDING, limit_each=1
        )
        self._delivered: BoundedTable[int, None] = BoundedTable(MAX_DELIVERED)
        self._carried = CarriedMessages(state, delivery, routing)
        self.far = FarMessages(state, delivery, routing, doubt)
        """Sealing from end to end."""
        if self.far.asking is not None:
            self.far.asking.on_ready = self._handle_ready
            self.far.asking.on_failed = self._handle_failed
        routing.on_arrived = self._handle_arrived
        routing.on_refused = self._handle_refused
        self.takers: Mapping[str, Callable[[Writer, Envelope, Purse, float], bool]] = {}
        """The handler of each type inside a routed message, from the table of messages."""

    def send(self, node_id: str, payload: Raw, max_hops: int, now: float, timeout_s: float) -> int:
        """Send Data to a node through others; the token of its SendResult.

        A receiver known not to answer inside routed messages is sent it once; it is *unconfirmed*
        once the next node on the way has it.

        Raises:
            LocalError: No way, too many waiting, too large, or a node that this one must not speak
                to in the open.
        """
        self.far.require_allowed(node_id)
        confirmed = not self.far.is_deaf(node_id, now)
        message_id, message = self._delivery.build(
            MessageType.DATA, payload, now, requires_ack=confirmed
        )
        self._check_size(self.far.size(node_id, len(message)))
        if confirmed:
            return self._begin(message_id, node_id, message, max_hops, now, timeout_s)
        return self._carried.send(node_id, message, max_hops, now, timeout_s)

    def ping(self, node_id: str, max_hops: int, now: float, timeout_s: float) -> int:
        """Ping a node through others; the token of its PingResult.

        Raises:
            LocalError: No route, too many waiting, or the node would take it for a message.
        """
        self.far.require_allowed(node_id)
        if self.far.is_deaf(node_id, now):
            raise LocalError(
                f"node {node_id} does not answer routed messages; ping it at its own address"
            )
        nonce = self._state.ids.nonce()
        _, message = self._delivery.build(MessageType.PING, encode_payload(PingPayload(nonce)), now)
        return self._begin(nonce, node_id, message, max_hops, now, timeout_s, is_ping=True)

    def _check_size(self, size: int) -> None:
        limit = self._state.config.server.max_message_size - ROUTED_OVERHEAD_BYTES
        if size > limit:
            raise MessageTooLargeError(
                f"the routed message is {size} bytes, the limit is {limit};"
                " send it in parts, or through a server with --relay"
            )

    def _begin(
        self,
        key: str,
        node_id: str,
        message: bytes,
        max_hops: int,
        now: float,
        timeout_s: float,
        *,
        is_ping: bool = False,
    ) -> int:
        pending = PendingMessage(node_id, message, max_hops, is_ping)
        call = self._calls.begin(key, pending, now, timeout_s, self._handle_overdue)
        refusal = self._try(call, now)
        if refusal is not None:
            self._calls.take(call)
            raise _as_error(refusal)
        return call.token

    def _try(self, call: Call[PendingMessage], now: float) -> Refusal | None:
        """Send it once more; returns why that failed, if it was the first time."""
        pending = call.detail
        hops = self.far.tries.hops(pending.node_id, pending.hops, now)
        routed = self.far.wrap(pending.node_id, pending.message, pending.max_hops, hops, now)
        if routed is None:
            return self._await_keys(call, now)
        pending.awaits_keys = False
        refusal = self.far.originate(routed, pending.message, hops, now)
        pending.hops, pending.refused_by = tuple(hops), ()
        if refusal is not None and pending.attempts == 0 and not self._may_pass(refusal):
            return refusal
        pending.route_id = routed.route_id
        pending.refused = ""
        pending.attempts += 1
        pending.sent_at = now
        options = self._state.config.reliability
        pause = min(FIRST_RTO_S * 2.0 ** min(pending.attempts - 1, 16), options.max_rto_ms / 1000)
        self._try_at(call, now + pause)
        return None

    def _try_at(self, call: Call[PendingMessage], when: float) -> None:
        if when < call.deadline:
            call.detail.timer = self._state.timers.schedule(
                when, lambda at: self._handle_timeout(call, at)
            )

    def _await_keys(self, call: Call[PendingMessage], now: float) -> Refusal | None:
        """There are no keys to seal with for its node: ask for them; returns why that failed, if it
        was the first time."""
        pending, asking = call.detail, self.far.asking
        assert asking is not None
        pending.awaits_keys, pending.hops = True, ()
        refusal = asking.ask(pending.node_id, now, call.deadline)
        if refusal is None:
            return None
        if not (pending.attempts or self._may_pass(refusal)):
            asking.forget(pending.node_id)
            return refusal
        if refusal.code == ErrorCode.NO_ROOM:
            self._try_at(call, now + FIRST_RTO_S)
        return None

    def _to(self, node_id: str) -> list[Call[PendingMessage]]:
        return [call for call in self._calls.all() if call.detail.node_id == node_id]

    def _handle_ready(self, node_id: str, now: float, is_restart: bool) -> None:
        """There are keys for a node: messages that wait for them leave, and so do those that
        reached it without keys."""
        for call in self._to(node_id):
            pending = call.detail
            if is_restart or pending.awaits_keys:
                pending.stop()
                pending.hops = ()
                if is_restart:
                    # None of its tries may have met keys there, and the path works.
                    pending.excused = pending.attempts
                self._go_on(call, now)

    def _go_on(self, call: Call[PendingMessage], now: float) -> None:
        """The next try of a message, which may be its first transmission."""
        refusal, pending = self._try(call, now), call.detail
        if refusal is None:
            return
        pending.refused = refusal.text
        if refusal.code != ErrorCode.TOO_LARGE:
            self._try_at(call, now + FIRST_RTO_S)
        elif pending.is_ping:
            self._end(call, _as_error(refusal))
        else:
            self._end(call, pending.given_up(SendStatus.FAILED, refusal.text))

    def handle_joined(self, peer: Peer, now: float) -> None:
        """A node has a session of its own: messages that wait for keys go there at once."""
        asking = self.far.asking
        if peer.seal is not None and asking is not None and asking.is_asking(peer.node_id):
            self._handle_ready(peer.node_id, now, False)

    def _handle_failed(self, node_id: str, words: str, is_final: bool) -> None:
        """There will be no keys: messages that wait for them fail without having been sent."""
        for call in self._to(node_id):
            pending = call.detail
            if not (is_final or pending.awaits_keys):
                continue
            if pending.is_ping:
                self._end(call, PeerTimeoutError(words))
            else:
                status = SendStatus.FAILED if is_final else SendStatus.TIMED_OUT
                self._end(call, pending.given_up(status, words))

    def _may_pass(self, refusal: Refusal) -> bool:
        """Whether a session is being resumed that may become the route: no route now does not mean
        none at all."""
        asked = self._state.peers.initiated
        return refusal.code == ErrorCode.NO_ROUTE and any(peer.resumes for peer in asked)

    def _handle_timeout(self, call: Call[PendingMessage], now: float) -> None:
        pending, options = call.detail, self._state.config.reliability
        if pending.is_ping and pending.attempts:
            return  # a measurement: it is not repeated, but its answer may be late
        if pending.attempts - pending.excused < options.max_tries:
            self._go_on(call, now)
        else:
            self._end(call, self._handle_overdue(call))

    def _handle_overdue(self, call: Call[PendingMessage]) -> Outcome:
        pending, asking = call.detail, self.far.asking
        pending.stop()
        reason = pending.unanswered_words
        if pending.awaits_keys and asking is not None:
            reason = asking.words(pending.node_id)
        if pending.is_ping:
            return PeerTimeoutError(reason)
        return pending.given_up(SendStatus.TIMED_OUT, pending.refused or reason)

    def _end(self, call: Call[PendingMessage], outcome: Outcome) -> None:
        call.detail.stop()
        self._calls.end(call, outcome)

    def _handle_refused(self, peer: Peer, refusal: ErrorPayload, now: float) -> None:
        """A node that was handed a message cannot forward it; only that node knows the id of the
        message."""
        self._carried.handle_refusal(peer, refusal, now)
        if self.far.asking is not None and refusal.route_id is not None:
            self.far.asking.hear_no_way(refusal.route_id, refusal.error)
        for call in self._calls.all():
            pending = call.detail
            if pending.route_id != refusal.route_id or peer not in pending.hops:
                continue
            if peer in pending.refused_by:
                return
            pending.refused = refusal.error[:REFUSAL_LENGTH]
            pending.refused_by += (peer,)
            if len(pending.refused_by) < len(pending.hops):
                return  # another one may have forwarded it
            pending.refusals += 1
            # Another try may find a route, or room; but it is as large as before.
            if refusal.code == ErrorCode.TOO_LARGE and not pending.is_ping:
                self._end(call, pending.given_up(SendStatus.FAILED, pending.refused))

    def _waiting(self, key: str, source: str) -> Call[PendingMessage] | None:
        """The call that waits for an answer from a node, by its key."""
        return next(
            (call for call in self._calls.waiting(key) if call.detail.node_id == source), None
        )

    # Incoming messages.

    def _handle_arrived(self, writer: Writer, raw: Raw, now: float) -> bool:
        try:
            opened = self.far.open(writer, decode_envelope(bytes(raw)), now)
            if opened is None:
                return True
            writer, message = opened
            self._routing.contacts.note_received(writer.node_id, now, writer.origin.address)
            take = self.takers.get(message.message_type)
            if take is None:
                self._state.counters.drop("routed_unknown_type")
                return False
            return take(writer, message, self._state.gate.answer_purse, now)
        except MalformedError:
            self._state.counters.drop("routed_malformed")
            return False

    def take_data(self, writer: Writer, message: Envelope, _earned: Purse, now: float) -> bool:
        """Data from a node that may be no peer."""
        origin, source = writer.origin, writer.node_id
        data = check_any(message.payload)
        mark = hash((source, message.id))
        if mark in self._delivered:
            self._state.counters.duplicates += 1
        elif not self._state.admits_data(origin.node_id or source, data, now):
            self._refuse_data(writer, message, now)
            return True
        else:
            self._delivered.put(mark, None)
            self._state.counters.delivered += 1
            if self._state.readers.reads(data):
                self._state.emit(
                    DataReceived(
                        source,
                        origin.address,
                        Encoded(data),
                        message.id,
                        _path(writer),
                        False,
                        len(data),
                        origin.node_id,
                    )
                )
        if message.requires_ack:
            _, ack = self._delivery.build(MessageType.ACK, NULL, now, ack_for=message.id)
            self.far.reply(writer, ack, now)
        return True

    def _refuse_data(self, writer: Writer, message: Envelope, now: float) -> None:
        source = writer.node_id
        if not message.requires_ack:
            self._state.drop_data(source)
            return
        self._state.counters.drop("reader_full")
        capabilities = self.far.capabilities_of(writer, now)
        if capabilities is not None and Capability.RECEIVE_WINDOW in capabilities:
            window = ReceiveWindowPayload(handshake=message.id, number=1, room=0)
            _, busy = self._delivery.build(
                MessageType.RECEIVE_WINDOW, encode_payload(window), now, ack_for=message.id
            )
            self.far.reply(writer, busy, now)

    def take_window(self, writer: Writer, message: Envelope, _earned: Purse, _now: float) -> bool:
        """A receiver has no room. That is an answer: no try has failed, and the next one comes when
        it is due."""
        call = self._waiting(str(message.ack_for), writer.node_id)
        if call is not None:
            call.detail.excused = call.detail.attempts
        return True

    def take_ping(self, writer: Writer, message: Envelope, _earned: Purse, now: float) -> bool:
        """A node asks whether this one is there, and how far away."""
        _, pong = self._delivery.build(MessageType.PONG, message.payload, now)
        self.far.reply(writer, pong, now)
        return True

    def take_pong(self, writer: Writer, message: Envelope, _earned: Purse, now: float) -> bool:
        """A node answers a Ping."""
        source = writer.node_id
        nonce = decode_payload(message.payload, PingPayload).nonce
        call = self._waiting(nonce, source)
        if call is None:
            self._state.counters.drop("pong_without_ping")
            return True
        rtt_s = now - call.detail.sent_at
        self._routing.contacts.note_rtt(source, rtt_s)
        self._routing.note_answer(writer, now)
        self._end(call, PingResult(rtt_s, _path(writer), writer.origin.address))
        return True

    def take_ack(self, writer: Writer, message: Envelope, _earned: Purse, now: float) -> bool:
        """A node confirms a message."""
        source = writer.node_id
        call = self._waiting(str(message.ack_for), source)
        if call is None:
            self._state.counters.acks_without_message += 1
            return True
        pending = call.detail
        rtt_s = now - pending.sent_at if pending.attempts == 1 else None
        if rtt_s is not None:
            self._routing.contacts.note_rtt(source, rtt_s)
        self._routing.note_answer(writer, now)
        size = len(pending.message)
        self._end(call, SendResult(SendStatus.DELIVERED, pending.attempts, rtt_s, size))
        return True


def _path(writer: Writer) -> Path:
    return Path.RELAY if writer.is_second_hand else Path.DIRECT


def _as_error(refusal: Refusal) -> LocalError:
    if refusal.code == ErrorCode.TOO_LARGE:
        return MessageTooLargeError(refusal.text)
    if refusal.code == ErrorCode.NO_ROOM:
        return QueueFullError(refusal.text)
    return LocalError(f"{refusal.text}; join a server that knows it")
