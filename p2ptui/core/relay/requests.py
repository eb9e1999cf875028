"""Bytes relayed for two peers of this server that cannot reach each other (reference form)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec import UNSET, Raw, UnsetType

from p2ptui.core.accounts import Reason
from p2ptui.core.calls import Calls
from p2ptui.core.delivery import MAX_DATAGRAM_BYTES, Delivery
from p2ptui.core.events import RelayDataReceived, SendResult, SendStatus
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Dialect, Foreign, Handed, Handing, NotHanded, Peer
from p2ptui.core.relay.control import RelayControl
from p2ptui.core.relay.values import TRANSIENT, Parcel, Refused
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.errors import MessageTooLargeError, PeerGoneError, PeerTimeoutError
from p2ptui.text import seconds_words
from p2ptui.wire.address import format_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    Envelope,
    ErrorCode,
    ErrorPayload,
    MessageType,
    RelayDataPayload,
    RelayedText,
    RelayRequestPayload,
    RelayResponsePayload,
    relay_data_payload,
)

MAX_WAITING: Final = 64
"""RelayRequests that may wait for their response, per server: it answers in order."""

MAX_CALLS: Final = 1024
"""The same for all servers."""


@dataclass(frozen=True, slots=True)
class _Request:
    size_bytes: int
    request_id: str | UnsetType


class RelayedBytes(NamedTuple):
    """A decoded RelayData."""

    node_id: str
    """The sender's id."""
    data: bytes
    comes_again: bool
    """Whether its sender repeats it until it is acknowledged."""


def read_relayed(message: Envelope) -> RelayedBytes:
    """Decode a RelayData.

    Raises:
        MalformedError: The message is not one.
    """
    payload = decode_payload(message.payload, RelayDataPayload)
    node_id = canonical_id(payload.from_peer_id)
    if node_id is None:
        raise MalformedError("`from_peer_id` is not a node id")
    return RelayedBytes(node_id, bytes(payload.data), message.requires_ack)


class Relay:
    """Relays for peers, and asks servers to relay.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports peers that have left.
        control: What is relayed for others, and when.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, control: RelayControl
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._control = control
        self._calls: Calls[_Request] = state.open_room(
            "relay_requests", "relay requests", limit=MAX_CALLS, limit_each=MAX_WAITING
        )
        self.on_refused: Callable[[Peer, RelayResponsePayload, float], None] = lambda *_: None
        """Called when a server refused a relayed datagram, not a request."""
        lifecycle.on_left.append(self._forget)

    # The server's part.

    def handle_request(self, peer: Peer, request: RelayedText, now: float) -> None:
        """A peer asks for bytes to be relayed to another."""
        target_id = canonical_id(request.target_peer_id) or request.target_peer_id
        payload = relay_data_payload(peer.node_id, request.written)
        parcel = Parcel(self, target_id, len(payload), payload, request_id=request.request_id)
        self._control.submit(peer, parcel, now)

    def carry(self, target: Peer, parcel: Parcel, now: float) -> bool:
        """Send the bytes to their target, if it may be sent them now, as the answer will say."""
        data = Raw(parcel.data)
        return self._delivery.send(target, MessageType.RELAY_DATA, data, now, waits=False)

    def conclude(self, client: Peer, parcel: Parcel, refused: Refused | None, now: float) -> None:
        """Answer the request."""
        request_id = UNSET if parcel.request_id is None else parcel.request_id
        response = RelayResponsePayload(refused is None, request_id=request_id)
        if refused is not None:
            response.error_message = refused.text
            if client.dialect is Dialect.SPEC:
                response.code = refused.kind.value
        self._delivery.send(client, MessageType.RELAY_RESPONSE, encode_payload(response), now)

    def hand(self, target: Foreign, client: Peer, parcel: Parcel, now: float) -> bool:
        """Hand the bytes to the server of their target; returns whether they leave."""
        ref, kind = parcel.request_id or "", Handing.RELAY_DATA
        return self._state.elsewhere.hand(target, client, kind, parcel.data, ref, now)

    def take_handed(self, target: Peer, handed: Handed, now: float) -> NotHanded | None:
        """Pass bytes from a node elsewhere to a node here."""
        content = decode_payload(handed.body, RelayDataPayload)
        payload = encode_payload(RelayDataPayload(handed.source_id, content.data))
        kind = MessageType.RELAY_DATA
        has_left = self._delivery.send(target, kind, payload, now, waits=False)
        return None if has_left else NotHanded.UNSENDABLE

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        """Bytes for a node elsewhere have not arrived, although the request was answered: a further
        answer would be taken for that to another request."""
        refused = self._control.note_not_handed(source, handed.target_id, why, now)
        if refused is None:
            return
        error = ErrorPayload(refused.text, ErrorCode.PEER_NOT_FOUND, target=handed.target_id)
        if refused.kind in TRANSIENT:
            error = ErrorPayload(refused.text, ErrorCode.NO_ROOM)
        self._delivery.send(source, MessageType.ERROR, encode_payload(error), now)

    # The client's part.

    def request(self, server: Peer, node_id: str, data: bytes, now: float, timeout_s: float) -> int:
        """Ask a server to relay; the token of the SendResult: SENT once it agreed.

        Raises:
            MessageTooLargeError: The request does not fit a datagram.
            LocalError: Too many requests wait.
        """
        request = RelayRequestPayload(node_id, list(data))
        if server.dialect is Dialect.SPEC:
            request.request_id = self._state.ids.nonce()
        payload = encode_payload(request)
        if len(payload) > MAX_DATAGRAM_BYTES - 512:
            raise MessageTooLargeError(
                f"{len(data)} bytes become {len(payload)} in a RelayRequest, at most"
                f" {MAX_DATAGRAM_BYTES - 512} fit; send them in parts"
            )
        where = format_address(server.address)
        words = f"the server at {where} did not answer within {seconds_words(timeout_s)}"
        error = PeerTimeoutError(words)
        detail = _Request(len(data), request.request_id)
        call = self._calls.begin(server.node_id, detail, now, timeout_s, lambda _: error)
        self._delivery.send(
            server, MessageType.RELAY_REQUEST, payload, now, reason=Reason.USER_ASKED
        )
        return call.token

    def handle_response(self, peer: Peer, response: RelayResponsePayload, now: float) -> None:
        """A server says whether it relayed."""
        if response.target_id is not UNSET:
            self.on_refused(peer, response, now)
            return
        # The reference answers in order and names nothing.
        named = response.request_id is not UNSET
        for call in self._calls.waiting(peer.node_id):
            if not named or call.detail.request_id == response.request_id:
                break
        else:
            self._state.counters.drop("relay_response_unasked")
            return
        status = SendStatus.SENT if response.success else SendStatus.FAILED
        reason = None if response.success else (response.error_message or "refused")
        self._calls.end(call, SendResult(status, 1, None, call.detail.size_bytes, reason))

    def may_bring(self, server: Peer, content: RelayedBytes) -> bool:
        """Whether a server may speak in a node's name: not in this node's own, nor in that of a
        node with a session here that uses no relay of this server."""
        is_own = content.node_id == self._state.identity.id
        return not is_own and self._state.peers.may_be_brought(content.node_id, server)

    def admits_data(self, peer: Peer, content: RelayedBytes, now: float) -> bool:
        """Whether the readers have room; if so it is reserved."""
        return self._state.admits_data(peer.node_id, content.data, now)

    def refuse_data(self, _peer: Peer, content: RelayedBytes, _now: float) -> None:
        """The readers had no room: data that will not be repeated is reported as lost."""
        if content.comes_again:
            self._state.counters.drop("reader_full")
        else:
            self._state.drop_data(content.node_id)

    def handle_data(self, peer: Peer, content: RelayedBytes, _now: float) -> None:
        """A joined server brings bytes from another of its peers."""
        if self._state.readers.reads(content.data):
            self._state.emit(RelayDataReceived(content.node_id, peer.node_id, content.data))

    def _forget(self, peer: Peer, _now: float) -> None:
        where = format_address(peer.address)
        self._calls.end_all(peer.node_id, PeerGoneError(f"the server at {where} is gone"))
