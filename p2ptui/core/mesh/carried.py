"""Messages to nodes that confirm nothing: delivered reliably to the next hop on their way, and out
of sight from there on."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from msgspec import Raw

from p2ptui.core.addresses import address_words
from p2ptui.core.calls import Call, Calls
from p2ptui.core.delivery import MAX_DATAGRAM_BYTES, Delivery
from p2ptui.core.events import Outcome, SendResult, SendStatus
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, MessageTooLargeError
from p2ptui.text import seconds_words
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, ErrorPayload, MessageType

MAX_CARRIED: Final = 1024
"""This node's own messages that may be in flight to the next node."""

REFUSAL_LENGTH: Final = 200
"""Characters of a refusal that are kept."""

NEVER_CONFIRMED: Final = "the node never acknowledges routed messages"


@dataclass(slots=True)
class _Carried:
    size_bytes: int
    timeout_s: float
    hops: dict[int, Peer] = field(default_factory=dict)
    """The peers that it was sent to, each by the token of the message to it."""


class CarriedMessages:
    """Sends Data through others to nodes that never acknowledge.

    Args:
        state: The shared state.
        delivery: Sends messages.
        routing: Knows the next hop.
    """

    def __init__(self, state: NodeState, delivery: Delivery, routing: Routing) -> None:
        self._state = state
        self._delivery = delivery
        self._routing = routing
        self._calls: Calls[_Carried] = state.open_room(
            "routed_waiting", "routed messages", limit=MAX_CARRIED, limit_each=1
        )

    def send(
        self, node_id: str, message: bytes, max_hops: int, now: float, timeout_s: float
    ) -> int:
        """Send a message once; the token of its SendResult.

        It is *unconfirmed* as soon as the next node has acknowledged it, or at once if that node
        never does; it fails if the message to that node fails.

        Raises:
            LocalError: No way, too many under way, too much waiting, or too large.
        """
        routed = self._routing.wrap(node_id, message, max_hops)
        self._calls.require_room(routed.route_id)
        payload = encode_payload(routed)
        self._check_whole(node_id, payload, now)
        hops = self._routing.next_hops(node_id, now)
        carried = _Carried(len(message), timeout_s)
        call = self._calls.begin(routed.route_id, carried, now, timeout_s, self._handle_overdue)
        problem = LocalError(f"no route to node {node_id}; join a server that knows it")
        left = 0
        for peer in hops:
            hop_token = self._state.watch(partial(self._handle_end, call, peer))
            carried.hops[hop_token] = peer
            try:
                self._hand_over(peer, payload, hop_token, now)
                left += 1
            except LocalError as error:
                problem = error
                del carried.hops[hop_token]
                self._state.forget_watch(hop_token)
        if not left:
            self._calls.take(call)
            raise problem
        return call.token

    def _hand_over(self, peer: Peer, payload: Raw, hop_token: int, now: float) -> None:
        if peer.dialect is Dialect.SPEC:
            self._delivery.send_reliable(peer, MessageType.DATA, payload, now, hop_token)
            return
        # Programs of the reference's kind forward or show the same message twice.
        self._delivery.send_at_once(peer, MessageType.DATA, payload, now)
        result = SendResult(SendStatus.UNCONFIRMED, 1, None, len(payload))
        self._state.finish(hop_token, result)

    def _check_whole(self, node_id: str, payload: Raw, now: float) -> None:
        """A message too large for the last hop need not be sent at all."""
        capabilities = self._routing.capabilities_of(node_id, now)
        if (
            capabilities is None
            or Capability.FRAGMENTS in capabilities
            or len(payload) <= MAX_DATAGRAM_BYTES - 1024
        ):
            return
        _, data = self._delivery.build(MessageType.DATA, payload, now)
        if len(data) > MAX_DATAGRAM_BYTES:
            raise MessageTooLargeError(
                f"the message is {len(data)} bytes on its way, and node {node_id} takes single"
                f" datagrams of at most {MAX_DATAGRAM_BYTES}; send it in parts"
            )

    def _finish(
        self,
        call: Call[_Carried],
        status: SendStatus,
        attempts: int,
        reason: str,
        *,
        may_have_arrived: bool = False,
    ) -> None:
        size = call.detail.size_bytes
        result = SendResult(status, attempts, None, size, reason, may_have_arrived)
        self._calls.end(call, result)

    def _handle_end(self, call: Call[_Carried], peer: Peer, end: Outcome) -> None:
        """The message to one of the next nodes has ended."""
        carried = call.detail
        for hop_token in [token for token, hop in carried.hops.items() if hop is peer]:
            del carried.hops[hop_token]
        if not isinstance(end, SendResult):
            return
        if end.status in (SendStatus.DELIVERED, SendStatus.UNCONFIRMED):
            self._finish(call, SendStatus.UNCONFIRMED, end.attempts, NEVER_CONFIRMED)
        elif not carried.hops:
            where = address_words(peer.address)
            reason = f"it did not reach {where}: {end.reason}"
            may_have_arrived = end.may_have_arrived
            self._finish(call, end.status, end.attempts, reason, may_have_arrived=may_have_arrived)

    def handle_refusal(self, peer: Peer, refusal: ErrorPayload, now: float) -> None:
        """A node that was handed a message cannot forward it."""
        for call in self._calls.waiting(refusal.route_id):
            hops = call.detail.hops
            for hop_token in [token for token, hop in hops.items() if hop is peer]:
                del hops[hop_token]
                self._state.unwatch(hop_token)
                self._cancel(peer, hop_token, "it was refused", now)
            if not hops:
                self._finish(call, SendStatus.FAILED, 1, refusal.error[:REFUSAL_LENGTH])

    def _handle_overdue(self, call: Call[_Carried]) -> SendResult:
        carried = call.detail
        reason = f"no acknowledgement within {seconds_words(carried.timeout_s)}"
        for hop_token, peer in list(carried.hops.items()):
            # The end of the last one shows how far it got, and ends the call.
            self._cancel(peer, hop_token, reason, call.deadline)
        size = carried.size_bytes
        return SendResult(SendStatus.TIMED_OUT, 1, None, size, reason, may_have_arrived=True)

    def _cancel(self, peer: Peer, hop_token: int, reason: str, now: float) -> None:
        # It may have moved to another address of the same node meanwhile.
        for holder in {peer, self._state.peers.with_id(peer.node_id) or peer}:
            finished = holder.channel.sender.cancel(hop_token, now, reason)
            if finished is not None:
                self._delivery.report(finished)
