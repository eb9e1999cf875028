"""The table of messages: what each type is, who must have sent it, what it costs, who handles it.

Whoever adds a type writes its payload in `wire.message`, its row here, and its handler.
"""

import enum
from collections.abc import Callable, Hashable, Iterable
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from p2ptui.core.budgets import (
    ALLOWANCE,
    FILTER_PROBE_REQUESTS,
    FILTER_PROBES,
    FLOODS,
    INTRODUCTIONS,
    PAGES,
    PARTNER_REPLIES,
    RELAYED,
    SEARCHES,
    Accounts,
    Budget,
    Cost,
    Handle,
)
from p2ptui.core.data import DataKind, DataService, read_data
from p2ptui.core.filter_probes import FilterProbes
from p2ptui.core.mesh.discovery import Discovery
from p2ptui.core.mesh.queries import Queries
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.peers import Peer
from p2ptui.core.receive_windows import ReceiveWindows
from p2ptui.core.relay.requests import Relay, read_relayed
from p2ptui.core.resumption import Resumptions
from p2ptui.core.session_messages import SessionMessages
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.stun import StunService
from p2ptui.core.trust import TRUSTS, Trust
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import (
    Capability,
    DisconnectPayload,
    DiscoveryRequestPayload,
    DiscoveryUpdatePayload,
    Envelope,
    ErrorPayload,
    ListNodesPayload,
    MessageType,
    NatProbePayload,
    NatProbeReportPayload,
    NatProbeRequestPayload,
    NatProbeSentPayload,
    P2PConnectPayload,
    PeerInfo,
    ReceivedHandshakeResponse,
    ReceiveWindowPayload,
    RelayRequestPayload,
    RelayResponsePayload,
    RetransmitPayload,
    SequenceSkipPayload,
)
from p2ptui.wire.stun_partner import (
    StunDelegatedPayload,
    StunDelegationPayload,
    StunPartnerPayload,
)

Handler: TypeAlias = Callable[[Any, Peer, Any, float], None]
"""A method of a part of the core, not bound yet: peer, content, time."""

Reader: TypeAlias = Callable[[Envelope], Any]
Admission: TypeAlias = Callable[[Any, Peer, Any, float], bool]


class Refusal(enum.Flag):
    """When the sender of a message that is not taken is told so, with an Error."""

    NEVER = 0
    TO_STRANGERS = enum.auto()
    """It has no session: `unauthenticated`."""
    OF_PAYLOAD = enum.auto()
    """Its payload makes no sense: `bad_payload`."""
    ALWAYS = TO_STRANGERS | OF_PAYLOAD


def _as_it_is(message: Envelope) -> Any:
    return message.payload


def _as(kind: Any) -> Reader:
    return lambda message: decode_payload(message.payload, kind)


class Row(NamedTuple):
    """One type of message; or one meaning of it, where its payload decides what it is."""

    kind: str
    """Its `message_type`."""
    handler: Handler | None
    """Who takes it; None for what is taken before there is a session, and for an Ack."""
    reads: Reader = _as_it_is
    """How its payload is decoded; raises MalformedError."""
    trust: Trust = Trust.CLAIMED
    """What its sender must have shown; otherwise it is dropped."""
    distrusted: str = "distrusted"
    """What that is counted as."""
    budget: Budget = ALLOWANCE
    """What it draws on before its handler is called."""
    sender: Callable[[Any, Peer, Any], bool] | None = None
    """Whether it may come from this peer, where a part of the node knows whom it must come from;
    otherwise it is dropped like what is distrusted."""
    refusal: Refusal = Refusal.NEVER
    capability: str = ""
    """For an extension: who announced that may be sent it."""
    short: str = ""
    """In a narrow column, where a question and its answer would be cut to the same beginning: `?`
    asks, `=` answers, `+` is news. Empty: its own name fits."""
    admits: Admission | None = None
    """Whether it can be taken now: room was kept for it, or it was handed on. What cannot, or makes
    no sense, is neither kept nor acknowledged."""
    refuse: Handler | None = None
    """Called for what found no room, and may find it later."""
    meaning: Hashable = None
    """Which of its meanings this row is for."""

    @property
    def cost(self) -> Cost:
        """What it may make this node do."""
        return self.budget.cost


_DATA: Final = Row(
    MessageType.DATA,
    DataService.handle,
    read_data,
    refusal=Refusal.ALWAYS,
    admits=DataService.admits,
    refuse=ReceiveWindows.refuse_data,
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
        short="Handshake?",
    ),
    Row(
        MessageType.HANDSHAKE_RESPONSE,
        Resumptions.handle_late_response,
        _as(ReceivedHandshakeResponse),
        short="Handshake=",
    ),
    Row(MessageType.PING, Liveness.handle_ping, refusal=Refusal.TO_STRANGERS),
    Row(MessageType.PONG, Liveness.handle_pong, refusal=Refusal.TO_STRANGERS),
    Row(MessageType.ACK, None),
    Row(
        MessageType.ERROR,
        SessionMessages.handle_error,
        _as(ErrorPayload),
    ),
    Row(
        MessageType.RETRANSMIT,
        SessionMessages.handle_retransmit,
        _as(RetransmitPayload),
        refusal=Refusal.ALWAYS,
    ),
    Row(
        MessageType.DISCONNECT,
        SessionMessages.handle_disconnect,
        _as(DisconnectPayload | None),
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
        short="Discovery?",
    ),
    Row(
        MessageType.DISCOVERY_RESPONSE,
        Discovery.handle_response,
        _as(list[PeerInfo]),
        refusal=Refusal.TO_STRANGERS,
        short="Discovery=",
    ),
    Row(
        MessageType.DISCOVERY_UPDATE,
        Discovery.handle_update,
        _as(DiscoveryUpdatePayload),
        refusal=Refusal.TO_STRANGERS,
        capability=Capability.PEER_UPDATES,
        short="Discovery+",
    ),
    Row(
        MessageType.LIST_NODES_REQUEST,
        Discovery.handle_list_nodes,
        budget=PAGES,
        refusal=Refusal.ALWAYS,
        short="ListNodes?",
    ),
    Row(
        MessageType.LIST_NODES_RESPONSE,
        Queries.handle_response,
        _as(ListNodesPayload),
        refusal=Refusal.TO_STRANGERS,
        short="ListNodes=",
    ),
    _P2P_CONNECT,
    _P2P_CONNECT._replace(
        handler=Rendezvous.handle_introduction,
        trust=Trust.JOINED_SERVER,
        distrusted="introduction_unasked",
        budget=SEARCHES,
        meaning=INTRODUCTION,
    ),
    Row(
        MessageType.RELAY_REQUEST,
        Relay.handle_request,
        _as(RelayRequestPayload),
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
        distrusted="relay_data_unasked",
        admits=Relay.admits_data,
        refuse=Relay.refuse_data,
        refusal=Refusal.TO_STRANGERS,
    ),
    Row(
        MessageType.RELAY_CHECK,
        None,
        trust=Trust.STRANGER,
        capability=Capability.RELAY_CHECK,
    ),
    Row(
        MessageType.STUN_PARTNER,
        StunService.handle_partner,
        _as(StunPartnerPayload),
        sender=StunService.is_partner,
        distrusted="stun_partner_unasked",
        capability=Capability.STUN,
    ),
    Row(
        MessageType.STUN_DELEGATION,
        StunService.handle_delegation,
        _as(StunDelegationPayload),
        trust=Trust.PROVED,
        sender=StunService.is_partner,
        distrusted="stun_delegation_unasked",
        budget=PARTNER_REPLIES,
        capability=Capability.STUN,
        short="StunReply?",
    ),
    Row(
        MessageType.STUN_DELEGATED,
        StunService.handle_delegated,
        _as(StunDelegatedPayload),
        trust=Trust.PROVED,
        sender=StunService.is_partner,
        distrusted="stun_delegated_unasked",
        capability=Capability.STUN,
        short="StunReply=",
    ),
    Row(
        MessageType.NAT_PROBE_REQUEST,
        FilterProbes.handle_request,
        _as(NatProbeRequestPayload),
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
        capability=Capability.NAT_PROBE,
        short="NatProbe=",
    ),
)
"""All types; a test compares this with docs/protocol.md."""

TOLD_TO_SHAKE_HANDS: Final = frozenset(
    row.kind for row in ROWS if Refusal.TO_STRANGERS in row.refusal
)
"""Types whose sender is told so if it has no session. Not an Ack or an Error: an answer to an
answer would go round for ever; nor a handshake, nor what this node does not know."""

MEANINGS: Final[dict[str, Callable[[Any], Hashable]]] = {
    MessageType.DATA: attrgetter("kind"),
    MessageType.P2P_CONNECT: lambda payload: REQUEST if payload.peer_addr is None else INTRODUCTION,
}
"""Of the types that mean several things: which one a payload does."""


class Entry(NamedTuple):
    """A row with the part of a node that handles it."""

    row: Row
    handle: Handle
    """Within its budget."""
    admits: Callable[[Peer, Any, float], bool] | None
    refuse: Callable[[Peer, Any, float], None] | None
    trusts: Callable[[Peer, Any], bool]


class _Type(NamedTuple):
    reads: Reader
    first: Entry
    meaning: Callable[[Any], Hashable] | None
    entries: dict[Hashable, Entry]


def _both(
    trusts: Callable[[Peer, Any], bool], is_sender: Callable[[Peer, Any], bool] | None
) -> Callable[[Peer, Any], bool]:
    if is_sender is None:
        return trusts
    return lambda peer, content: trusts(peer, content) and is_sender(peer, content)


class MessageTable:
    """The table as one node uses it.

    Args:
        parts: Who handles messages; each handler is a method of one of them.
        accounts: What has been used of the budgets.
    """

    def __init__(self, parts: Iterable[object], accounts: Accounts) -> None:
        by_class = {known.__name__: part for part in parts for known in type(part).__mro__}

        def bound(handler: Any) -> Any:
            if handler is None:
                return None
            # By name, so that a class may have another one in its place.
            owner, _, name = handler.__qualname__.partition(".")
            return getattr(by_class[owner], name)

        self._types: dict[str, _Type] = {}
        for row in ROWS:
            if row.handler is None:
                continue
            entry = Entry(
                row,
                accounts.guard(row.budget, bound(row.handler)),
                bound(row.admits),
                bound(row.refuse),
                _both(TRUSTS[row.trust], bound(row.sender)),
            )
            known = self._types.get(row.kind)
            if known is None:
                known = _Type(row.reads, entry, MEANINGS.get(row.kind), {})
                self._types[row.kind] = known
            known.entries[row.meaning] = entry

    def read(self, message: Envelope) -> tuple[Entry | None, Any, MalformedError | None]:
        """Tell what a message is: its entry, its content, and what is wrong with its payload.

        There is no entry for what has no row, or is not handled within a session.
        """
        known = self._types.get(message.message_type)
        if known is None:
            return None, None, None
        try:
            content = known.reads(message)
        except MalformedError as error:
            return known.first, None, error
        if known.meaning is None:
            return known.first, content, None
        return known.entries[known.meaning(content)], content, None
