"""Datagrams carried for two nodes that cannot reach each other: opaque, and 17 bytes longer.

A server looks at the id of the other node and at nothing behind it. The two nodes run a
session of their own through it: whatever a session has (acknowledgements, fragments) works
over a relay as it does directly. To each of them the other is at an address of its own kind,
which names the node and the server.
"""

import uuid
from typing import Final

from p2ptui.core.addresses import relay_address
from p2ptui.core.admission import TokenBucket
from p2ptui.core.delivery import Delivery
from p2ptui.core.lifecycle import Lifecycle
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.frames import RELAY, RELAYED, decode_relay, encode_relay
from p2ptui.wire.message import Capability, MessageType, RelayResponsePayload

MAX_RELAYED_NODES: Final = 10_000
"""Nodes that this one talks to by way of servers; one more is not believed to be there."""

REFUSALS_PER_SECOND: Final = 2
"""A client that sends on although it is refused is told this often."""


class RelayFrames:
    """Wraps and unwraps as a client, and passes on as a server.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Tells of servers and clients that are gone.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._options = state.config.traffic_forwarding
        self._rates: dict[str, TokenBucket] = {}
        self._refusals: dict[str, TokenBucket] = {}
        self._through: dict[Peer, set[Address]] = {}
        lifecycle.on_left.append(self._forget)

    def __len__(self) -> int:
        return len(self._rates) + len(self._refusals) + len(self._state.detours)

    # The client's part.

    def open(self, server: Peer, node_id: str) -> Address:
        """Make a node reachable by way of a server; its address."""
        address = relay_address(server.address, node_id)
        if address not in self._state.detours and len(self._state.detours) < MAX_RELAYED_NODES:
            head = uuid.UUID(node_id).bytes

            def wrap(data: bytes) -> None:
                self._delivery.transmit_frame(server, encode_relay(RELAY, head, data))

            self._state.detours[address] = wrap
            self._through.setdefault(server, set()).add(address)
        return address

    def is_open(self, server: Peer, node_id: str) -> bool:
        """Whether a node is reachable by way of a server, as far as this node knows."""
        return relay_address(server.address, node_id) in self._state.detours

    def unwrap(self, server: Peer, data: bytes, now: float) -> tuple[bytes, Address] | None:
        """What a joined server brings: the datagram, and the address that it comes from."""
        frame = decode_relay(data)
        if frame is None or not server.initiated:
            self._state.counters.drop("relay_frame_refused")
            return None
        server.last_received = now
        node_id, datagram = frame
        return datagram, self.open(server, str(uuid.UUID(bytes=node_id)))

    def _forget(self, peer: Peer, _now: float) -> None:
        self._rates.pop(peer.node_id, None)
        self._refusals.pop(peer.node_id, None)
        for address in self._through.pop(peer, ()):
            self._state.detours.pop(address, None)

    # The server's part.

    def forward(self, peer: Peer, data: bytes, now: float) -> None:
        """Pass a client's datagram on to another client, or tell why not."""
        frame = decode_relay(data)
        if frame is None:
            self._state.counters.drop("relay_frame_refused")
            return
        peer.last_received = now
        node_id, datagram = frame
        target_id = str(uuid.UUID(bytes=node_id))
        target = self._state.peers.authenticated(target_id)
        reason = self._objection(peer, target, len(datagram), now)
        if reason is not None or target is None:
            self._refuse(peer, target_id, reason or "", now)
            return
        self._state.counters.relayed += 1
        source = uuid.UUID(peer.node_id).bytes
        self._delivery.transmit_frame(target, encode_relay(RELAYED, source, datagram), payer=peer)

    def _objection(self, peer: Peer, target: Peer | None, size: int, now: float) -> str | None:
        if not self._options.allow_symmetric_nat_relay:
            return "relaying is disabled on this server"
        if target is None or target is peer:
            return "the server does not know it"
        if Capability.RELAY_FRAMES not in target.capabilities:
            return "the node understands no relayed datagrams"
        if not peer.proved or not target.may_receive(size):
            return "the address of one side is not proved yet"
        rate = self._rates.get(peer.node_id)
        if rate is None:
            limit = self._options.max_relay_rate_per_client
            rate = self._rates[peer.node_id] = TokenBucket(limit, now)
        if not rate.take(now, size):
            return f"over the limit of {self._options.max_relay_rate_per_client} bytes a second"
        return None

    def _refuse(self, peer: Peer, target_id: str, reason: str, now: float) -> None:
        self._state.counters.drop("relay_refused")
        bucket = self._refusals.get(peer.node_id)
        if bucket is None:
            bucket = self._refusals[peer.node_id] = TokenBucket(REFUSALS_PER_SECOND, now)
        if bucket.take(now):
            response = RelayResponsePayload(False, reason, target_id=target_id)
            payload = encode_payload(response)
            self._delivery.send(peer, MessageType.RELAY_RESPONSE, payload, now)
