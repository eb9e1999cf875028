"""Bytes relayed for two peers of this server that cannot reach each other (reference form)."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, UnsetType

from p2ptui.core.admission import TokenBucket
from p2ptui.core.delivery import MAX_DATAGRAM_BYTES, Delivery
from p2ptui.core.events import RelayDataReceived, SendResult, SendStatus
from p2ptui.core.identity import canonical_id
from p2ptui.core.lifecycle import Lifecycle
from p2ptui.core.peers import Dialect, Peer
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
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._rates: dict[str, TokenBucket] = {}
        self._waiting: dict[str, deque[_Waiting]] = {}
        self.on_refused: Callable[[str, float, str], None] = lambda *_: None
        """Called when a server does not relay to a node."""
        lifecycle.on_left.append(self._forget)

    def __len__(self) -> int:
        return len(self._rates) + len(self._waiting)

    # The server's part.

    def handle_request(self, peer: Peer, request: RelayRequestPayload, now: float) -> None:
        """A peer wants bytes brought to another."""
        reason = self._relay(peer, request, now)
        response = RelayResponsePayload(reason is None, reason, request.request_id)
        self._delivery.send(peer, MessageType.RELAY_RESPONSE, encode_payload(response), now)

    def _relay(self, peer: Peer, request: RelayRequestPayload, now: float) -> str | None:
        """Relay, or the reason why not."""
        options = self._state.config.traffic_forwarding
        if not options.allow_symmetric_nat_relay:
            return "relaying is disabled on this server"
        target_id = canonical_id(request.target_peer_id)
        target = self._state.peers.authenticated(target_id) if target_id else None
        if target is None or target is peer:
            return f"node not found: {request.target_peer_id[:64]}"
        rate = self._rates.get(peer.node_id)
        if rate is None:
            rate = self._rates[peer.node_id] = TokenBucket(options.max_relay_rate_per_client, now)
        if not rate.take(now, len(request.data)):
            return f"over the limit of {options.max_relay_rate_per_client} bytes a second"
        payload = encode_payload(RelayDataPayload(peer.node_id, request.data))
        if not self._delivery.send(target, MessageType.RELAY_DATA, payload, now, payer=peer):
            return "the target cannot be sent to at present"
        self._state.counters.relayed += 1
        return None

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
            self.on_refused(response.target_id, now, response.error_message or "refused")
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

    def handle_data(self, peer: Peer, payload: RelayDataPayload, _now: float) -> None:
        """A joined server brings bytes from another of its peers."""
        node_id = canonical_id(payload.from_peer_id)
        if not peer.initiated or node_id is None:
            self._state.counters.drop("relay_data_unasked")
            return
        self._state.emit(RelayDataReceived(node_id, peer.node_id, bytes(payload.data)))

    def _forget(self, peer: Peer, _now: float) -> None:
        self._rates.pop(peer.node_id, None)
        for entry in self._waiting.pop(peer.node_id, ()):
            where = format_address(peer.address)
            self._state.finish(entry.token, PeerGoneError(f"the server at {where} is gone"))
