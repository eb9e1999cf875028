"""The table of messages: what each type is, who must have sent it, what it costs, who handles it.

To add a type, write its payload in `wire.message`, its row here, and its handler.
"""

from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Any, Final

from p2ptui.core.data import DataKind, DataService, ReceiveWindows, read_data
from p2ptui.core.filter_probes import FilterProbes
from p2ptui.core.mesh.discovery import Discovery
from p2ptui.core.mesh.endtoend import EndToEnd
from p2ptui.core.mesh.entries import read_list_request
from p2ptui.core.mesh.evidence import Told
from p2ptui.core.mesh.neighbours import Neighbours
from p2ptui.core.mesh.queries import Queries
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.messages.budgets import (
    AGAIN,
    FILTER_PROBE_REQUESTS,
    FILTER_PROBES,
    FLOODS,
    INTRODUCTIONS,
    PAGES,
    PARTNER_REPLIES,
    RELAYED,
    SEARCHES,
    STATEMENTS,
)
from p2ptui.core.messages.row import Reader, Refusal, Row
from p2ptui.core.messages.session_messages import SessionMessages, read_disconnect
from p2ptui.core.mobility.guests import Guests
from p2ptui.core.mobility.home import Home
from p2ptui.core.mobility.resumption import Resumptions
from p2ptui.core.relay.requests import Relay, read_relayed
from p2ptui.core.relay.way_checks import WayChecks
from p2ptui.core.sessions.handshake_messages import HandshakeMessages
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.sessions.responder import Responder
from p2ptui.core.stun import StunService
from p2ptui.core.trust import Trust
from p2ptui.wire.codec import decode_payload
from p2ptui.wire.message import (
    Capability,
    DiscoveryRequestPayload,
    DiscoveryUpdatePayload,
    ErrorPayload,
    ListNodesPayload,
    MessageType,
    NatProbePayload,
    NatProbeReportPayload,
    NatProbeRequestPayload,
    NatProbeSentPayload,
    P2PConnectPayload,
    PeerInfo,
    PresencePayload,
    ReceivedHandshakeResponse,
    ReceiveWindowPayload,
    RelayRequestPayload,
    RelayResponsePayload,
    RetransmitPayload,
    SequenceSkipPayload,
    ServersPayload,
)
from p2ptui.wire.relayed_bytes import read_relay_request
from p2ptui.wire.stun_partner import (
    StunDelegatedPayload,
    StunDelegationPayload,
    StunPartnerPayload,
)


def _as(kind: Any) -> Reader:
    return lambda message: decode_payload(message.payload, kind)


def _passed_on(kind: Any) -> Reader:
    """For bytes that are forwarded as they came."""
    return lambda message: read_relay_request(message, kind)


def _told_as(kind: Any) -> Reader:
    """For a list, with what may vouch for it."""
    return lambda message: Told(decode_payload(message.payload, kind), message.ack_for)


_DATA: Final = Row(
    MessageType.DATA,
    DataService.handle,
    read_data,
    refusal=Refusal.ALWAYS,
    admits=DataService.admits,
    refuse=ReceiveWindows.refuse_data,
    introduced=Rendezvous.take_data,
    routed=EndToEnd.take_data,
    meaning=DataKind.PLAIN,
)
REQUEST: Final = "request"
INTRODUCTION: Final = "introduction"
_P2P_CONNECT: Final = Row(
    MessageType.P2P_CONNECT,
    Rendezvous.handle_request,
    _as(P2PConnectPayload),
    budget=INTRODUCTIONS,
    refusal=Refusal.ALWAYS,
    meaning=REQUEST,
)

ROWS: Final = (
    Row(
        MessageType.HANDSHAKE_REQUEST,
        None,
        trust=Trust.STRANGER,
        anybody=Responder.take_request,
        short="Handshake?",
    ),
    Row(
        MessageType.HANDSHAKE_RESPONSE,
        Resumptions.handle_late_response,
        _as(ReceivedHandshakeResponse),
        stranger=HandshakeMessages.refuse_response,
        handshaking=HandshakeMessages.take_response,
        short="Handshake=",
    ),
    Row(
        MessageType.PING,
        Liveness.handle_ping,
        refusal=Refusal.TO_STRANGERS,
        introduced=Rendezvous.take_ping,
        routed=EndToEnd.take_ping,
    ),
    Row(
        MessageType.PONG,
        Liveness.handle_pong,
        refusal=Refusal.TO_STRANGERS,
        introduced=Rendezvous.take_pong,
        routed=EndToEnd.take_pong,
    ),
    Row(
        MessageType.ACK,
        None,
        handshaking=HandshakeMessages.take_ack,
        routed=EndToEnd.take_ack,
    ),
    Row(
        MessageType.ERROR,
        SessionMessages.handle_error,
        _as(ErrorPayload),
        handshaking=HandshakeMessages.take_error,
    ),
    Row(
        MessageType.RETRANSMIT,
        SessionMessages.handle_retransmit,
        _as(RetransmitPayload),
        budget=AGAIN,
        refusal=Refusal.ALWAYS,
    ),
    Row(
        MessageType.DISCONNECT,
        SessionMessages.handle_disconnect,
        read_disconnect,
        trust=Trust.VOUCHED,
        doubted=SessionMessages.doubt_disconnect,
        refusal=Refusal.TO_STRANGERS,
    ),
    _DATA,
    _DATA._replace(meaning=DataKind.ECHO),
    _DATA._replace(meaning=DataKind.ROUTES),
    _DATA._replace(
        meaning=DataKind.ROUTED,
        handler=DataService.handle_routed,
        admits=DataService.admits_routed,
        refuse=None,
        budget=FLOODS,
    ),
    _DATA._replace(
        meaning=DataKind.ROUTES_REQUEST,
        handler=DataService.handle_routes_request,
        admits=None,
        refuse=None,
        budget=PAGES,
    ),
    Row(
        MessageType.RECEIVE_WINDOW,
        ReceiveWindows.handle_update,
        _as(ReceiveWindowPayload),
        trust=Trust.VOUCHED,
        distrusted="window_without_proof",
        capability=Capability.RECEIVE_WINDOW,
        short="Window",
        routed=EndToEnd.take_window,
    ),
    Row(
        MessageType.SEQUENCE_SKIP,
        ReceiveWindows.handle_skip,
        _as(SequenceSkipPayload),
        trust=Trust.VOUCHED,
        distrusted="skip_without_proof",
        capability=Capability.SEQUENCE_SKIP,
        short="Skip",
        admits=ReceiveWindows.admits_skip,
    ),
    Row(
        MessageType.DISCOVERY_REQUEST,
        Discovery.handle_request,
        _as(DiscoveryRequestPayload | None),
        budget=PAGES,
        refusal=Refusal.ALWAYS,
        stranger=Neighbours.take_request,
        short="Discovery?",
    ),
    Row(
        MessageType.DISCOVERY_RESPONSE,
        Discovery.handle_response,
        _told_as(list[PeerInfo]),
        refusal=Refusal.TO_STRANGERS,
        stranger=Neighbours.take_response,
        short="Discovery=",
    ),
    Row(
        MessageType.DISCOVERY_UPDATE,
        Discovery.handle_update,
        _told_as(DiscoveryUpdatePayload),
        refusal=Refusal.TO_STRANGERS,
        capability=Capability.PEER_UPDATES,
        short="Discovery+",
    ),
    Row(
        MessageType.LIST_NODES_REQUEST,
        Discovery.handle_list_nodes,
        read_list_request,
        budget=PAGES,
        refusal=Refusal.ALWAYS,
        short="ListNodes?",
    ),
    Row(
        MessageType.LIST_NODES_RESPONSE,
        Queries.handle_response,
        _told_as(ListNodesPayload),
        refusal=Refusal.TO_STRANGERS,
        short="ListNodes=",
    ),
    _P2P_CONNECT,
    _P2P_CONNECT._replace(
        handler=Rendezvous.handle_introduction,
        trust=Trust.VOUCHED,
        doubted=Rendezvous.handle_hearsay,
        sender=Rendezvous.is_from_joined,
        distrusted="introduction_unasked",
        budget=SEARCHES,
        meaning=INTRODUCTION,
    ),
    Row(
        MessageType.RELAY_REQUEST,
        Relay.handle_request,
        _passed_on(RelayRequestPayload),
        budget=RELAYED,
        refusal=Refusal.ALWAYS,
        short="Relay?",
    ),
    Row(
        MessageType.RELAY_RESPONSE,
        Relay.handle_response,
        _as(RelayResponsePayload),
        refusal=Refusal.TO_STRANGERS,
        short="Relay=",
    ),
    Row(
        MessageType.RELAY_DATA,
        Relay.handle_data,
        read_relayed,
        trust=Trust.JOINED_SERVER,
        sender=Relay.may_bring,
        distrusted="relay_data_unasked",
        admits=Relay.admits_data,
        refuse=Relay.refuse_data,
        refusal=Refusal.TO_STRANGERS,
    ),
    Row(
        MessageType.RELAY_CHECK,
        None,
        trust=Trust.STRANGER,
        anybody=WayChecks.receive,
        capability=Capability.RELAY_CHECK,
    ),
    Row(
        MessageType.STUN_PARTNER,
        StunService.handle_partner,
        _as(StunPartnerPayload),
        trust=Trust.PROVED,
        doubted=StunService.keep_partner,
        sender=StunService.is_named,
        distrusted="stun_partner_unasked",
        capability=Capability.STUN,
    ),
    Row(
        MessageType.STUN_DELEGATION,
        StunService.handle_delegation,
        _as(StunDelegationPayload),
        trust=Trust.PROVED,
        sender=StunService.is_named,
        distrusted="stun_delegation_unasked",
        budget=PARTNER_REPLIES,
        capability=Capability.STUN,
        follows=True,
        short="StunReply?",
    ),
    Row(
        MessageType.STUN_DELEGATED,
        StunService.handle_delegated,
        _as(StunDelegatedPayload),
        trust=Trust.PROVED,
        sender=StunService.is_named,
        distrusted="stun_delegated_unasked",
        capability=Capability.STUN,
        follows=True,
        short="StunReply=",
    ),
    Row(
        MessageType.NAT_PROBE_REQUEST,
        FilterProbes.handle_request,
        _as(NatProbeRequestPayload),
        sender=FilterProbes.may_ask,
        distrusted="probe_request_refused",
        budget=FILTER_PROBE_REQUESTS,
        refusal=Refusal.OF_PAYLOAD,
        capability=Capability.NAT_PROBE,
        short="NatProbes?",
    ),
    Row(
        MessageType.NAT_PROBE_REPORT,
        FilterProbes.handle_report,
        _as(NatProbeReportPayload),
        capability=Capability.NAT_PROBE,
        follows=True,
        short="NatProbes=",
    ),
    Row(
        MessageType.NAT_PROBE,
        FilterProbes.handle_probe,
        _as(NatProbePayload),
        trust=Trust.JOINED_SERVER,
        distrusted="probe_refused",
        budget=FILTER_PROBES,
        capability=Capability.NAT_PROBE,
        short="NatProbe?",
    ),
    Row(
        MessageType.NAT_PROBE_SENT,
        FilterProbes.handle_sent,
        _as(NatProbeSentPayload),
        sender=FilterProbes.is_helper,
        distrusted="probe_sent_unasked",
        capability=Capability.NAT_PROBE,
        follows=True,
        short="NatProbe=",
    ),
    Row(
        MessageType.PRESENCE,
        Guests.handle_presence,
        _as(PresencePayload),
        trust=Trust.PROVED,
        sender=Guests.expects,
        distrusted="presence_unasked",
        budget=STATEMENTS,
        capability=Capability.CLUSTER,
    ),
    Row(
        MessageType.SERVERS,
        Home.handle_servers,
        _as(ServersPayload),
        trust=Trust.JOINED_SERVER,
        sender=Home.is_home,
        distrusted="servers_unasked",
        capability=Capability.CLUSTER,
        follows=True,
    ),
)
"""All types; a test compares this with docs/protocol.md."""

EXTENSIONS: Final = {row.kind: row.capability for row in ROWS if row.capability}
"""Types sent only to nodes that announced a capability, and which capability."""

FOLLOWING: Final = frozenset(row.kind for row in ROWS if row.follows)
"""The types among these that are also sent to nodes that have sent a message of that capability;
see `Row.follows`."""

TOLD_TO_SHAKE_HANDS: Final = frozenset(
    row.kind for row in ROWS if Refusal.TO_STRANGERS in row.refusal
)
"""Types whose sender is told to shake hands if it has no session. Not Acks or Errors, since an
answer to an answer would loop for ever; nor handshakes, nor types that this node does not know."""

MEANINGS: Final[dict[str, Callable[[Any], Hashable]]] = {
    MessageType.DATA: attrgetter("kind"),
    MessageType.P2P_CONNECT: lambda payload: REQUEST if payload.peer_addr is None else INTRODUCTION,
}
"""For types with several meanings: which of them a payload has."""
