"""Bytes relayed for two peers of this server that cannot reach each other (reference form)."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, Raw, UnsetType

from p2ptui.core.delivery import MAX_DATAGRAM_BYTES, Delivery
from p2ptui.core.events import RelayDataReceived, SendResult, SendStatus
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.relay.control import RelayControl
from p2ptui.core.relay.values import Parcel, Refused
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, MessageTooLargeError, PeerGoneError, PeerTimeoutError
from p2ptui.wire.address import format_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import (
    MessageType,
    RelayDataPayload,
    RelayRequestPayload,
    RelayResponsePayload,
)

MAX_WAITING: Final = 64
"""RelayRequests that may wait for their response, per server: it answers in order."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    token: int
    size_bytes: int
    request_id: str | UnsetType


class Relay:
    """Relays for peers, and asks servers to relay.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Tells of peers that are gone.
        control: What is relayed for others, and when.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, control: RelayControl
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._control = control
        self._waiting: dict[str, deque[_Waiting]] = {}
        self.on_refused: Callable[[Peer, RelayResponsePayload, float], None] = lambda *_: None
        """Called when a server refused a relayed datagram, not a request."""
        lifecycle.on_left.append(self._forget)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    # The server's part.

    def handle_request(self, peer: Peer, request: RelayRequestPayload, now: float) -> None:
        """A peer wants bytes brought to another."""
        target_id = canonical_id(request.target_peer_id) or request.target_peer_id
        payload = bytes(encode_payload(RelayDataPayload(peer.node_id, request.data)))
        request_id = None if request.request_id is UNSET else request.request_id
        parcel = Parcel(self, target_id, len(payload), payload, request_id=request_id)
        self._control.submit(peer, parcel, now)

    def carry(self, target: Peer, parcel: Parcel, now: float) -> bool:
        """Send the bytes to their target, if it may be sent them now: the answer says that."""
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

    # The client's part.

    def request(self, server: Peer, node_id: str, data: bytes, now: float, timeout_s: float) -> int:
        """Ask a server to relay; the token of the SendResult: SENT once it agreed.

        Raises:
            MessageTooLargeError: The request does not fit a datagram.
            LocalError: Too many requests wait for this server.
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
        waiting = self._waiting.setdefault(server.node_id, deque())
        if len(waiting) >= MAX_WAITING:
            raise LocalError(f"{MAX_WAITING} relay requests already wait; try again later")
        token = self._state.new_token()
        waiting.append(_Waiting(token, len(data), request.request_id))
        self._delivery.send(server, MessageType.RELAY_REQUEST, payload, now, budgeted=False)
        self._state.timers.schedule(
            now + timeout_s, lambda _: self._give_up(server, token, timeout_s)
        )
        return token

    def _give_up(self, server: Peer, token: int, timeout_s: float) -> None:
        waiting = self._waiting.get(server.node_id, deque())
        for entry in waiting:
            if entry.token == token:
                waiting.remove(entry)
                where = format_address(server.address)
                error = f"the server at {where} did not answer within {timeout_s:g} s"
                self._state.finish(token, PeerTimeoutError(error))
                return

    def handle_response(self, peer: Peer, response: RelayResponsePayload, now: float) -> None:
        """A server tells whether it relayed."""
        if response.target_id is not UNSET:
            self.on_refused(peer, response, now)
            return
        waiting = self._waiting.get(peer.node_id, deque())
        # The reference answers in order and names nothing.
        named = response.request_id is not UNSET
        fitting = (e for e in waiting if not named or e.request_id == response.request_id)
        entry = next(fitting, None)
        if entry is None:
            self._state.counters.drop("relay_response_unasked")
            return
        waiting.remove(entry)
        status = SendStatus.SENT if response.success else SendStatus.FAILED
        reason = None if response.success else (response.error_message or "refused")
        self._state.finish(entry.token, SendResult(status, 1, None, entry.size_bytes, reason))

    def handle_data(self, peer: Peer, payload: RelayDataPayload, now: float) -> None:
        """A joined server brings bytes from another of its peers."""
        node_id = canonical_id(payload.from_peer_id)
        if node_id is None:
            self._state.counters.drop("relay_data_unasked")
            return
        if not self._state.admits_data(peer.node_id, len(payload.data), now):
            self._state.drop_data(node_id)
            return
        self._state.emit(RelayDataReceived(node_id, peer.node_id, bytes(payload.data)))

    def _forget(self, peer: Peer, _now: float) -> None:
        for entry in self._waiting.pop(peer.node_id, ()):
            where = format_address(peer.address)
            self._state.finish(entry.token, PeerGoneError(f"the server at {where} is gone"))
