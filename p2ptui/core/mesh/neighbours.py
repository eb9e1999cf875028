"""Nodes on this machine and its own networks: searched for by probes, and told about this node.

This is the one case in which a stranger is served: a DiscoveryRequest that names this node's
network and comes from loopback or a directly attached network is answered with this node's own
entry.
"""

import ipaddress
import math
from typing import Final, TypeAlias

from msgspec import Raw

from p2ptui.bounded import BoundedTable, TokenBucket
from p2ptui.core.accounts import Purse, Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import canonical_id
from p2ptui.core.mesh.discovery import frame_list
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address, is_loopback, parse_ip_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    DiscoveryRequestPayload,
    Envelope,
    MessageType,
    PeerInfo,
)

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

ANSWERS_PER_SECOND: Final = 50
"""Probes answered in total, whoever sent them."""

ANSWER_WINDOW_S: Final = 5.0
"""An answer counts for this long after its probe."""

PROBE_SPACING_S: Final = 0.02
"""Between two probes: a search over ten ports and three networks takes less than a second."""

MAX_PROBES: Final = 512
"""Ports times networks of one search; the rest waits for the next search, in turn."""

CONNECTS_PER_SEARCH: Final = 32
"""Handshakes that the answers to one search may begin."""

MAX_SHUNNED: Final = 256
"""Neighbours to which this node said goodbye, and which it must not connect to by itself."""

USUAL_PORT: Final = 8080
"""Where a node listens by default."""

SINGLE_TRY_S: Final = 0.4
"""Less than the pause between two tries of a handshake."""

SEARCH_JITTER: Final = 0.2
FIRST_SEARCH_WITHIN_S: Final = 0.5


class Neighbours:
    """Finds nodes nearby, and lets itself be found.

    Args:
        state: The shared state.
        delivery: Makes messages.
        handshake: Connects to the nodes that answer.
    """

    def __init__(self, state: NodeState, delivery: Delivery, handshake: Handshake) -> None:
        self._state = state
        self._delivery = delivery
        self._handshake = handshake
        self._networks: tuple[Network, ...] = LOOPBACK
        self._targets: tuple[str, ...] = ()
        self._own_port = 0
        self._ports: dict[int, None] = {}
        """Where neighbours are looked for."""
        self._probes: list[Address] = []
        self._probed_up_to = 0
        self._probed: BoundedTable[Address, float] = BoundedTable(MAX_PROBES)
        self._probe_ids: BoundedTable[str, None] = BoundedTable(MAX_PROBES)
        self._broadcast_at = -math.inf
        self._connects = 0
        self._answers: TokenBucket | None = None
        self._shunned: BoundedTable[str, Address] = BoundedTable(MAX_SHUNNED)

    def start(
        self,
        networks: tuple[Network, ...],
        hosts: tuple[str, ...],
        own_port: int,
        now: float,
        *,
        searching: bool,
    ) -> None:
        """Answer neighbours from now on, and search for them.

        Args:
            networks: The directly attached networks.
            hosts: Where to look: loopback and broadcast addresses.
            own_port: The port of this node, which no other node has on loopback.
            now: The time, seconds.
            searching: Whether to search at all (`enable_discovery`).
        """
        self._networks = (*LOOPBACK, *networks)
        self._targets = hosts
        self._own_port = own_port
        lowest, highest = self._state.config.server.discovery_port_range
        self._ports = dict.fromkeys(range(lowest, highest + 1))
        if own_port not in self._ports:
            # Nodes in the range find each other. Others listen on the default port, or were given
            # the same one as this node.
            self._ports |= dict.fromkeys((USUAL_PORT, own_port))
        if searching and hosts:
            first = now + self._state.rng.uniform(0.0, FIRST_SEARCH_WITHIN_S)
            self._state.timers.schedule(first, self._search)

    def shun(self, node_id: str, address: Address) -> None:
        """The user said goodbye to the node at an address: no search connects to it again."""
        self._shunned.put(node_id, address)

    def welcome(self, node_id: str) -> None:
        """The user has connected to a node: searches may connect to it, too."""
        self._shunned.pop(node_id, None)

    def _is_shunned(self, ids: set[str | None], address: Address) -> bool:
        # Deployed nodes, and datagrams in flight at the goodbye, do not say who answers.
        return address in self._shunned.values() if not ids else not ids.isdisjoint(self._shunned)

    def update_networks(self, networks: tuple[Network, ...], hosts: tuple[str, ...]) -> None:
        """The machine's networks have changed."""
        self._networks = (*LOOPBACK, *networks)
        self._targets = hosts

    def _search(self, now: float) -> None:
        if self._state.closing:
            return
        self._connects = 0
        if not self._probes:
            wanted = [
                (host, port)
                for port in self._ports
                for host in self._targets
                if not (port == self._own_port and is_loopback(host))
            ]
            # If they do not fit one search they take turns: each begins where the last one ended.
            begin = self._probed_up_to % max(len(wanted), 1)
            self._probes = [*wanted[begin:], *wanted[:begin]][:MAX_PROBES]
            self._probed_up_to = begin + len(self._probes)
            self._probes.reverse()
            self._probe(now)
        interval = self._state.config.server.discovery_interval
        jitter = self._state.rng.uniform(1 - SEARCH_JITTER, 1 + SEARCH_JITTER)
        self._state.timers.schedule(now + interval * jitter, self._search)

    def _probe(self, now: float) -> None:
        if not self._probes or self._state.closing:
            return
        address = self._probes.pop()
        if self._state.peers.at(address) is None:
            payload = encode_payload(DiscoveryRequestPayload(self._state.config.server.network_id))
            probe_id, data = self._delivery.build(MessageType.DISCOVERY_REQUEST, payload, now)
            gate = self._state.gate
            gate.send(data, address, gate.grant(Reason.OWN_PLAN, address, now))
            self._remember(probe_id, address, now)
        self._state.timers.schedule(now + PROBE_SPACING_S, self._probe)

    def _remember(self, probe_id: str, address: Address, now: float) -> None:
        if not is_loopback(address[0]):
            self._broadcast_at = now
        self._probed.put(address, now)
        self._probe_ids.put(probe_id, None)

    def take_request(self, address: Address, message: Envelope, earned: Purse, now: float) -> bool:
        """A stranger asks who is here; returns whether it was answered."""
        try:
            request = decode_payload(message.payload, DiscoveryRequestPayload)
        except MalformedError:
            return False
        if request.network_id != self._state.config.server.network_id or not self._is_near(
            address[0]
        ):
            return False
        own = self._state.identity
        for capabilities in (own.capabilities, ()):
            entry = PeerInfo(own.id, own.listen_addr, self._state.unix(now), capabilities)
            payload = Raw(frame_list(bytes(encode_payload(entry)), 0, False))
            # Naming the probe proves to its sender that this address received it.
            _, data = self._delivery.build(
                MessageType.DISCOVERY_RESPONSE, payload, now, ack_for=message.id
            )
            if earned.has_room(len(data)):
                break
        if self._answers is None:
            self._answers = TokenBucket(ANSWERS_PER_SECOND, now)
        if not earned.has_room(len(data)) or not self._answers.take(now):
            self._state.counters.drop("probe_unanswered")
            return True
        self._state.gate.send(data, address, earned)
        return True

    def take_response(
        self, address: Address, message: Envelope, _earned: Purse, now: float
    ) -> bool:
        """A stranger answers; returns whether it was asked. A new neighbour gets a handshake."""
        if not self._was_probed(address, now):
            return False
        try:
            entries = decode_payload(message.payload, list[PeerInfo])
        except MalformedError:
            self._state.counters.drop("malformed")
            return True
        ids = {canonical_id(entry.id) for entry in entries if _names_itself(entry, address)}
        peers = self._state.peers
        known = any(node_id and peers.with_id(node_id) is not None for node_id in ids)
        if self._state.identity.id in ids or known or peers.at(address) is not None:
            return True
        if self._is_shunned(ids, address):
            return True
        if self._connects >= CONNECTS_PER_SEARCH:
            self._state.counters.drop("neighbours_limited")
            return True
        self._connects += 1
        # An answer that names no probe may be forged to direct requests at a third: one is sent.
        is_proved = message.ack_for in self._probe_ids
        timeout_s = self._state.config.security.auth_timeout if is_proved else SINGLE_TRY_S
        try:
            self._handshake.connect(address, now, timeout_s)
        except LocalError:
            self._state.counters.drop("neighbours_limited")
        return True

    def _was_probed(self, address: Address, now: float) -> bool:
        if self._probed.get(address, -math.inf) > now - ANSWER_WINDOW_S:
            return True
        return (
            self._broadcast_at > now - ANSWER_WINDOW_S
            and address[1] in self._ports
            and self._is_near(address[0])
        )

    def _is_near(self, host: str) -> bool:
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(ip in network for network in self._networks if network.version == ip.version)


def _names_itself(entry: PeerInfo, address: Address) -> bool:
    # A node of ours answers with itself alone, at the port that it listens on; the
    # reference answers with its peers.
    listed = parse_ip_address(entry.addr)
    return listed is not None and listed[1] == address[1]
