"""Peers that help a node to learn what its NAT filters: one sends it an unsolicited datagram.

Three nodes take part. The asking node has a session with a server, and opens a fresh socket. The
server has another peer, the helper, send one probe to the outside address of that socket, but only
after the server itself has received the node's tag from that address, and from the host of the
session. So nobody can aim a probe at an address that did not ask for one.
"""

import ipaddress
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Final

from p2ptui.bounded import BoundedTable, Share
from p2ptui.core.accounts import Reason
from p2ptui.core.calls import Calls
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import ProbeReport
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, PeerTimeoutError
from p2ptui.wire.address import Address, format_address, parse_ip_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import (
    Capability,
    MessageType,
    NatProbePayload,
    NatProbeReportPayload,
    NatProbeRequestPayload,
    NatProbeSentPayload,
)
from p2ptui.wire.stun import TRANSACTION_ID_BYTES, MessageClass, StunMessage, encode

ARMED_S: Final = 5.0
"""How long a server watches for a tag."""

MAX_ARMED_BY_ONE: Final = 8
"""Tags of one peer: a diagnosis has one at a time."""

MAX_PROBES: Final = 8
"""Probes for one tag: enough to make up for a lost one, and no more."""

REQUESTS_PER_SECOND: Final = 200
"""Requests that this node serves for all its peers together."""

REQUESTS_OF_ONE: Final = 20
"""The part of these for one peer: a peer that asks without end takes nothing from the others."""

MAX_ARMED: Final = int(REQUESTS_PER_SECOND * (ARMED_S + 1))
"""As many as there are requests, with a burst of one second: no peer's tag evicts another's."""

PROBES_PER_SECOND: Final = 20
"""Probes that this node sends for all servers together."""

HELPERS_LOOKED_AT: Final = 64
"""How many of the most recent peers are examined: a search through ten thousand would delay
everyone."""

MAX_WAITING: Final = 16

_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        # RFC 1918, RFC 6598 (between a provider and its customers), RFC 4193.
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    )
)
_NOBODY: Final = tuple(
    # RFC 1122, section 3.2.1.3, and RFC 1112, section 4, with the broadcast address.
    map(ipaddress.ip_network, ("0.0.0.0/8", "240.0.0.0/4"))
)


@dataclass(slots=True)
class _Armed:
    asker: Peer
    expires: float
    helper: Peer | None = None
    ordered: int = 0
    sent: int = 0


class FilterProbes:
    """All three roles: asking, arranging and helping.

    Args:
        state: The shared state.
        delivery: Sends messages.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._armed: BoundedTable[bytes, _Armed] = state.tables.add(
            "filter_probes",
            BoundedTable(
                MAX_ARMED,
                refuses=True,
                full="probe_request_refused",
                shares=state.tables.shares,
                peer_share=Share(MAX_ARMED_BY_ONE, full="probes_of_one_full", makes_room=True),
                lifetime_s=ARMED_S,
            ),
        )
        self._purge_planned = False
        self._calls: Calls[None] = state.open_room(
            "filter_probes", "probes", limit=MAX_WAITING, limit_each=MAX_WAITING
        )

    def __len__(self) -> int:
        return len(self._armed) + len(self._calls)

    # The asking node.

    def request(self, server: Peer, tag: bytes, now: float, timeout_s: float) -> int:
        """Ask a server to have a peer probe the socket that sends it `tag`.

        Ask again to learn how many probes have been sent since.

        Args:
            server: A peer that announced `nat_probe`.
            tag: The transaction id, 12 bytes, of the indications that the socket sends.
            now: The time, seconds.
            timeout_s: How long to wait for the server's answer, seconds.

        Returns:
            The token of a ProbeReport.

        Raises:
            LocalError: The server does not know how, or too many such questions wait.
        """
        if Capability.NAT_PROBE not in server.capabilities:
            where = format_address(server.address)
            raise LocalError(f"the node at {where} arranges no probes by its peers")
        where = format_address(server.address)
        error = PeerTimeoutError(f"the server at {where} did not answer in time")
        # The helper knows the tag too: a report from it is no answer.
        key = tag.hex(), server
        call = self._calls.begin(key, None, now, timeout_s, lambda _: error)
        payload = encode_payload(NatProbeRequestPayload(tag.hex()))
        self._delivery.send(
            server, MessageType.NAT_PROBE_REQUEST, payload, now, reason=Reason.USER_ASKED
        )
        return call.token

    def handle_report(self, peer: Peer, payload: NatProbeReportPayload, _now: float) -> None:
        """A server reports on a request."""
        key = payload.tag, peer
        if not self._calls.waiting(key):
            self._state.counters.drop("probe_report_unasked")
            return
        helper = parse_ip_address(payload.helper or "")
        self._calls.end_all(key, ProbeReport(payload.has_helper, payload.sent, helper))

    # The server, which arranges it.

    def handle_request(self, peer: Peer, payload: NatProbeRequestPayload, now: float) -> None:
        """A peer wants one of its sockets probed, or asks for the status of that."""
        tag = _tag_of(payload.tag)
        if tag is None:
            self._state.counters.drop("probe_request_refused")
            return
        armed = self._armed.get(tag)
        if armed is None and not self._armed.admit():
            return
        if armed is None:
            armed = self._arm(peer, tag, now)
        helper = format_address(armed.helper.address) if armed.helper is not None else None
        report = NatProbeReportPayload(payload.tag, helper is not None, armed.sent, helper)
        self._delivery.send(peer, MessageType.NAT_PROBE_REPORT, encode_payload(report), now)

    def may_ask(self, peer: Peer, payload: NatProbeRequestPayload) -> bool:
        """Whether a tag does not belong to another peer."""
        tag = _tag_of(payload.tag)
        armed = self._armed.get(tag) if tag is not None else None
        return armed is None or armed.asker is peer

    def _arm(self, asker: Peer, tag: bytes, now: float) -> _Armed:
        armed = _Armed(asker, now + ARMED_S, self._find_helper(asker))
        self._armed.put(tag, armed, now, peers=(asker,), address=asker.address)
        if not self._purge_planned:
            self._plan_purge(armed.expires)
        return armed

    def _plan_purge(self, when: float) -> None:
        self._purge_planned = True
        self._state.timers.schedule(when, self._purge)

    def _purge(self, now: float) -> None:
        self._purge_planned = False
        self._armed.expire(now)
        expires = self._armed.next_expiry()
        if expires is not None:
            self._plan_purge(expires)

    def _find_helper(self, asker: Peer) -> Peer | None:
        """Find a peer elsewhere: the NAT would treat one behind the same address as its own."""
        own = asker.address[0]
        for peer in islice(self._state.peers.recent(), HELPERS_LOOKED_AT):
            if (
                peer.is_authenticated
                and peer.proved
                and Capability.NAT_PROBE in peer.capabilities
                and peer.address[0] != own
                and (":" in peer.address[0]) is (":" in own)
            ):
                return peer
        return None

    def notice(self, data: bytes, source: Address, now: float) -> bool:
        """Whether a STUN datagram carries an awaited tag; if so its sender is probed.

        Only senders on the host that asked are: a forged source would be somebody else's.
        """
        armed = self._armed.get(data[8:20])
        if armed is None:
            return False
        if armed.expires <= now or armed.helper is None or armed.ordered >= MAX_PROBES:
            return True
        if source[0] != armed.asker.address[0]:
            self._state.counters.drop("probe_elsewhere")
            return True
        armed.ordered += 1
        payload = NatProbePayload(data[8:20].hex(), format_address(source))
        raw = encode_payload(payload)
        self._delivery.send(armed.helper, MessageType.NAT_PROBE, raw, now)
        return True

    def handle_sent(self, _peer: Peer, payload: NatProbeSentPayload, _now: float) -> None:
        """The helper has sent a probe."""
        tag = _tag_of(payload.tag)
        armed = self._armed.get(tag) if tag is not None else None
        if armed is None or armed.sent >= armed.ordered:
            self._state.counters.drop("probe_sent_unasked")
            return
        armed.sent += 1

    def is_helper(self, peer: Peer, payload: NatProbeSentPayload) -> bool:
        """Whether a peer was asked to send probes with a tag."""
        tag = _tag_of(payload.tag)
        armed = self._armed.get(tag) if tag is not None else None
        return armed is not None and armed.helper is peer

    # The helper.

    def handle_probe(self, peer: Peer, payload: NatProbePayload, now: float) -> None:
        """A joined server asks for one probe."""
        tag, address = _tag_of(payload.tag), parse_ip_address(payload.address)
        if tag is None or address is None or not _may_be_probed(address[0], peer.address[0]):
            self._state.counters.drop("probe_refused")
            return
        probe = encode(StunMessage(message_class=MessageClass.INDICATION, transaction_id=tag))
        gate = self._state.gate
        gate.send(probe, address, gate.grant(Reason.PROBE_FOR_PEER, address, now))
        answer = encode_payload(NatProbeSentPayload(payload.tag))
        self._delivery.send(peer, MessageType.NAT_PROBE_SENT, answer, now)


def _tag_of(text: str) -> bytes | None:
    try:
        tag = bytes.fromhex(text)
    except ValueError:
        return None
    return tag if len(tag) == TRANSACTION_ID_BYTES else None


class _Scope(Enum):
    """The scope within which an address identifies one host."""

    LOOPBACK = auto()
    LINK = auto()
    PRIVATE = auto()
    GLOBAL = auto()


def _may_be_probed(host: str, server: str) -> bool:
    """Whether a server at one address may have the host at another probed.

    A remote server cannot aim at this machine or its networks.
    """
    scope = _scope(host)
    return scope is _Scope.GLOBAL or (scope is not None and scope is _scope(server))


def _scope(host: str) -> _Scope | None:
    """None for anything that is no single host, and for names that are no IP address: a relayed
    peer's."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.is_multicast or ip.is_unspecified or any(ip in network for network in _NOBODY):
        return None
    if ip.is_loopback:
        return _Scope.LOOPBACK
    if ip.is_link_local:
        return _Scope.LINK
    return _Scope.PRIVATE if any(ip in network for network in _PRIVATE) else _Scope.GLOBAL
