"""Data: what its payload means, and how it is handled here."""

from typing import Final

from msgspec import UNSET, Raw

from p2ptui.core.addresses import path_at, visible_address
from p2ptui.core.data.content import DataContent, DataKind
from p2ptui.core.delivery import Delivery
from p2ptui.core.encoded import Encoded
from p2ptui.core.events import DataReceived, RoutesReceived
from p2ptui.core.mesh.introduction import Origin
from p2ptui.core.mesh.pager import Pager
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError
from p2ptui.wire.codec import JSON_START, MalformedError, check_any, decode_payload, encode_exactly
from p2ptui.wire.message import (
    ROUTED_KEY,
    Capability,
    DataKeys,
    Envelope,
    ErrorPayload,
    MessageType,
    ReceivedRoutedPayload,
    RoutesPayload,
)

_GET_ROUTES: Final = b'"get_routes"'


# A member of an enum is looked up in Python.
_PLAIN: Final = DataKind.PLAIN
_ECHO: Final = DataKind.ECHO
_ROUTES: Final = DataKind.ROUTES
_DATA: Final = MessageType.DATA


def read_data(message: Envelope) -> DataContent:
    """Determine what the payload of Data is.

    Raises:
        MalformedError: It is a broken routed message, or contains something that Python cannot
            represent.
    """
    # The only copy: delivered and echoed as it is, decoded by its reader. `bytes` of a Raw
    # would take three times as long.
    data = b"" + message.payload
    if data[0] != JSON_START:
        check_any(data)
        return DataContent(_PLAIN, data, message)
    keys = decode_payload(data, DataKeys)
    if keys.original_message is not UNSET:
        routed = decode_payload(data, ReceivedRoutedPayload)
        return DataContent(DataKind.ROUTED, routed, message)
    kind = _PLAIN
    if keys.echo is not UNSET:
        kind = DataKind.ECHO
    elif keys.routes is not UNSET:
        kind = DataKind.ROUTES
    elif isinstance(keys.cmd, Raw) and bytes(keys.cmd) == _GET_ROUTES:
        kind = DataKind.ROUTES_REQUEST
    check_any(data)
    return DataContent(kind, data, message)


def encode_data(payload: object) -> Raw:
    """Write the payload of Data.

    Raises:
        LocalError: It would not arrive as it is; the text names the place and the type.
    """
    if isinstance(payload, dict) and ROUTED_KEY in payload:
        raise LocalError(
            f'payload has the key "{ROUTED_KEY}", which marks a routed message:'
            " use another name, or send a routed message with send_routed()"
        )
    try:
        return encode_exactly(payload)
    except MalformedError as error:
        raise LocalError(f"the payload cannot be sent: {error}") from None


def frame_routes(joined: bytes, number: int, more: bool) -> bytes:
    """The payload of an answer to `get_routes`."""
    flag = b"true" if more else b"false"
    return b'{"routes":[%s],"page":%d,"more":%s}' % (joined, number, flag)


def _end_of_echo(unix: int) -> bytes:
    return b',"timestamp":%d}' % unix


class DataService:
    """Delivers, echoes, answers and forwards incoming Data.

    Args:
        state: The shared state.
        delivery: Sends messages.
        routing: Takes routed messages.
        pager: Sends the route table.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, routing: Routing, pager: Pager
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._routing = routing
        self._pager = pager
        self._second = 0
        self._after_echo = _end_of_echo(0)
        """The end of an echo in that second of Unix time."""

    def admits_routed(self, peer: Peer, content: DataContent, now: float) -> bool:
        """Forward a message; returns whether that was possible, since an acknowledgement says
        so."""
        origin = Origin(peer.node_id, peer.address, peer)
        return self._routing.handle(origin, content.value, now)

    def handle_routed(self, peer: Peer, _content: DataContent, now: float) -> None:
        """A message for another node, or through another node, was forwarded."""
        peer.traffic.data_at = now

    def handle_routes_request(self, peer: Peer, _content: DataContent, now: float) -> None:
        """A peer wants the table of routes."""
        peer.traffic.data_at = now
        self._pager.start(
            peer, MessageType.DATA, "routes", self._routing.entries(now), frame_routes, now
        )

    def admits(self, peer: Peer, content: DataContent, now: float) -> bool:
        """Whether the readers have room; if so it is reserved."""
        return self._state.admits_data(peer.node_id, content.value, now)

    def handle(self, peer: Peer, content: DataContent, now: float) -> None:
        """Data for the readers here; it is no duplicate, and there is room for it."""
        peer.traffic.data_at = now
        kind, data, message = content.kind, content.value, content.message
        if kind is _ROUTES:
            self._handle_routes(peer, message)
        state = self._state
        state.counters.delivered += 1
        if state.readers.reads(data):
            at = peer.sends_to
            told = (
                peer.node_id,
                visible_address(at),
                Encoded(data),
                message.id,
                path_at(at),
                kind is _ECHO,
                len(data),
                "",
            )
            state.emit(tuple.__new__(DataReceived, told))  # in half the time of a call of the class
        if kind is _PLAIN and peer.session.accepted:
            option = state.config.server.echo
            if option == "all" or (option == "deployed" and not peer.facts.wants_no_echo):
                self._echo(peer, message, data, now)

    def handle_error(self, peer: Peer, error: ErrorPayload, now: float) -> None:
        """A peer refuses something, possibly a message that was to be forwarded."""
        if error.route_id is not None:
            self._routing.on_refused(peer, error, now)

    def _handle_routes(self, peer: Peer, message: Envelope) -> None:
        try:
            answer = decode_payload(message.payload, RoutesPayload)
        except MalformedError:
            return
        self._state.emit(RoutesReceived(peer.node_id, tuple(answer.routes)))

    def _echo(self, peer: Peer, message: Envelope, data: bytes, now: float) -> None:
        unix = self._state.unix(now)
        if unix != self._second:
            self._second, self._after_echo = unix, _end_of_echo(unix)
        echo = b'{"echo":' + data + self._after_echo
        # A peer that may never prove its address is sent the echo once, within its allowance.
        surely = message.requires_ack and (
            peer.purse.proved or Capability.RETRANSMIT in peer.facts.capabilities
        )
        if not (surely and peer.facts.is_expected_to_ack):
            self._delivery.send(peer, _DATA, echo, now)
            return
        try:
            # A sender that wanted its message acknowledged wants the echo just as reliably.
            self._delivery.send_reliable(peer, _DATA, echo, now, for_reader=True)
        except LocalError:
            self._state.counters.drop("echo_too_large")
