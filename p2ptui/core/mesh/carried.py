"""Messages to nodes that confirm nothing: brought to the next node on their way as surely as it can
be done, and from there on they are out of sight."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from msgspec import Raw

from p2ptui.bounded import BoundedTable
from p2ptui.core.addresses import address_words
from p2ptui.core.delivery import MAX_DATAGRAM_BYTES, Delivery
from p2ptui.core.events import Outcome, SendResult, SendStatus
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.peers import Dialect, Peer
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.errors import LocalError, MessageTooLargeError
from p2ptui.text import seconds_words
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, ErrorPayload, MessageType

MAX_CARRIED: Final = 1024
"""Own messages that may be under way to the next node."""

REFUSAL_LENGTH: Final = 200
"""Characters of a refusal that are kept."""

NEVER_CONFIRMED: Final = "the node never acknowledges routed messages"


@dataclass(slots=True)
class _Carried:
    token: int
    node_id: str
    route_id: str
    size_bytes: int
    timeout_s: float
    timer: Timer | None = None
    hops: dict[int, Peer] = field(default_factory=dict)
    """The peers that it is under way to, each by the token of the message to it."""


class CarriedMessages:
    """Sends Data by way of others to nodes that never acknowledge.

    Args:
        state: The shared ground.
        delivery: The way out.
        routing: Knows the next hop.
    """

    def __init__(self, state: NodeState, delivery: Delivery, routing: Routing) -> None:
        self._state = state
        self._delivery = delivery
        self._routing = routing
        self._carried: BoundedTable[str, _Carried] = state.tables.add(
            "routed_waiting", BoundedTable(MAX_CARRIED, refuses=True)
        )

    def send(
        self, node_id: str, message: bytes, max_hops: int, now: float, timeout_s: float
    ) -> int:
        """Send a message once; the token of its SendResult.

        It is *unconfirmed* as soon as the next node has acknowledged it, or at once if that
        never does; and fails with the message to that node.

        Raises:
            LocalError: No way, too many under way, too much waiting, or too large.
        """
        self._carried.require_room("routed messages already wait")
        routed = self._routing.wrap(node_id, message, max_hops)
        payload = encode_payload(routed)
        self._check_whole(node_id, payload, now)
        hops = self._routing.next_hops(node_id, now)
        token = self._state.new_token()
        carried = _Carried(token, node_id, routed.route_id, len(message), timeout_s)
        self._carried.put(routed.route_id, carried)
        carried.timer = self._state.timers.schedule(
            now + timeout_s, partial(self._handle_timeout, carried)
        )
        problem = LocalError(f"no route to node {node_id}; join a server that knows it")
        left = 0
        for peer in hops:
            hop_token = self._state.watch(partial(self._handle_end, carried, peer))
            carried.hops[hop_token] = peer
            try:
                self._hand_over(peer, payload, hop_token, now)
                left += 1
            except LocalError as error:
                problem = error
                del carried.hops[hop_token]
                self._state.unwatch(hop_token)
        if not left:
            self._forget(carried)
            raise problem
        return carried.token

    def _hand_over(self, peer: Peer, payload: Raw, hop_token: int, now: float) -> None:
        if peer.dialect is Dialect.SPEC:
            self._delivery.send_reliable(peer, MessageType.DATA, payload, now, hop_token)
            return
        # Programs of the reference's kind hand on, or show, the same message twice.
        self._delivery.send_once(peer, MessageType.DATA, payload, now, budgeted=False)
        result = SendResult(SendStatus.UNCONFIRMED, 1, None, len(payload))
        self._state.finish(hop_token, result)

    def _check_whole(self, node_id: str, payload: Raw, now: float) -> None:
        """What the last hop cannot be sent need not begin its way."""
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

    def _forget(self, carried: _Carried) -> None:
        self._carried.pop(carried.route_id, None)
        if carried.timer is not None:
            carried.timer.cancel()

    def _finish(
        self,
        carried: _Carried,
        status: SendStatus,
        attempts: int,
        reason: str,
        *,
        may_have_arrived: bool = False,
    ) -> None:
        if self._carried.get(carried.route_id) is carried:
            self._forget(carried)
            size = carried.size_bytes
            result = SendResult(status, attempts, None, size, reason, may_have_arrived)
            self._state.finish(carried.token, result)

    def _handle_end(self, carried: _Carried, peer: Peer, end: Outcome) -> None:
        """The message to one of the next nodes has come to its end."""
        for hop_token in [token for token, hop in carried.hops.items() if hop is peer]:
            del carried.hops[hop_token]
        if not isinstance(end, SendResult):
            return
        if end.status in (SendStatus.DELIVERED, SendStatus.UNCONFIRMED):
            self._finish(carried, SendStatus.UNCONFIRMED, end.attempts, NEVER_CONFIRMED)
        elif not carried.hops:
            where = address_words(peer.address)
            reason = f"it did not get as far as {where}: {end.reason}"
            may_have_arrived = end.may_have_arrived
            self._finish(
                carried, end.status, end.attempts, reason, may_have_arrived=may_have_arrived
            )

    def handle_refusal(self, peer: Peer, refusal: ErrorPayload, now: float) -> None:
        """A node that a message was handed to cannot hand it on."""
        carried = self._carried.get(refusal.route_id or "")
        if carried is None:
            return
        for hop_token in [token for token, hop in carried.hops.items() if hop is peer]:
            del carried.hops[hop_token]
            self._state.unwatch(hop_token)
            self._cancel(peer, hop_token, "it was refused", now)
        if not carried.hops:
            self._finish(carried, SendStatus.FAILED, 1, refusal.error[:REFUSAL_LENGTH])

    def _handle_timeout(self, carried: _Carried, now: float) -> None:
        reason = f"no acknowledgement within {seconds_words(carried.timeout_s)}"
        for hop_token, peer in list(carried.hops.items()):
            self._cancel(peer, hop_token, reason, now)
        self._finish(carried, SendStatus.TIMED_OUT, 1, reason, may_have_arrived=True)

    def _cancel(self, peer: Peer, hop_token: int, reason: str, now: float) -> None:
        # It may have gone on to another address of the same node meanwhile.
        for holder in {peer, self._state.peers.with_id(peer.node_id) or peer}:
            finished = holder.channel.sender.cancel(hop_token, now, reason)
            if finished is not None:
                self._delivery.report(finished)
