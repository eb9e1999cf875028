"""Turns events of the node into records of the log."""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from p2ptui.core.addresses import relay_address, shown_address
from p2ptui.core.events import (
    Direction,
    ErrorReceived,
    Event,
    EventsDropped,
    FileReceived,
    FilesNotTold,
    MessageTraced,
    Path,
    PathChanged,
    PathMtuChanged,
    PeerIntroduced,
    PeerRefused,
    PeerStatus,
    PeerStatusChanged,
    RelayDataReceived,
    StunServed,
    TrustChanged,
)
from p2ptui.core.identity import canonical_id, short_id
from p2ptui.core.sealing import SealFrame
from p2ptui.node.files import not_told_words
from p2ptui.text import counted, printable
from p2ptui.tui.records import (
    IN,
    MAX_KEPT_BYTES,
    NOTE,
    OUT,
    SEALED_KIND,
    Record,
    RecordLog,
    inner_message,
)
from p2ptui.tui.trust_words import event_words, level_of
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.codec import MalformedError, decode_envelope, decode_payload
from p2ptui.wire.exchange import ExchangeKey
from p2ptui.wire.message import ROUTED_KEY, MessageType
from p2ptui.wire.sealed import is_sealed

_GRAVE = {PeerStatus.FAILED: "warn", PeerStatus.DISCONNECTED: "warn"}
_CHATTER = frozenset({"Ack", "Ping", "Pong"})
_RELAYED = frozenset(
    {(Direction.OUT, MessageType.RELAY_REQUEST), (Direction.IN, MessageType.RELAY_DATA)}
)


_EXCHANGE_WORDS: Final = {
    MessageType.HANDSHAKE_REQUEST: "key exchange 1 of 3",
    MessageType.HANDSHAKE_RESPONSE: "key exchange 2 of 3: who answers is inside, sealed",
}

FRAME_WORDS: Final[dict[SealFrame, str]] = {
    SealFrame.FINISH: "key exchange 3 of 3: who asked is inside, sealed",
    SealFrame.UNKNOWN_SESSION: "the keys of a frame are not known (any more): a handshake follows",
    SealFrame.PATH_CHALLENGE: "asks whether the peer receives at its new address",
    SealFrame.PATH_RESPONSE: "the peer receives at its new address",
    SealFrame.MOVED: "its sender's machine has moved",
    SealFrame.SEEN: "tells a peer that has moved where it is seen now",
    SealFrame.REKEY_REQUEST: "fresh keys 1 of 3",
    SealFrame.REKEY_RESPONSE: "fresh keys 2 of 3",
    SealFrame.REKEY_FINISH: "fresh keys 3 of 3",
    SealFrame.OTHER: "belongs to the secured session itself",
}
"""The purpose of each frame that belongs to a seal: these contain nothing to read."""


class _RelayEnds(Struct):
    """Only the nodes named by a payload with relayed bytes: the bytes are a long list."""

    target_peer_id: str = ""
    from_peer_id: str = ""


class Journal:
    """Writes the log.

    Args:
        log: The log.
        name_of: The name of the peer at an address, or an empty string.
        wall: Unix time, seconds.
        name_with: The name of the node with an id, or an empty string.
        own_id: The id of this node.
    """

    def __init__(
        self,
        log: RecordLog,
        name_of: Callable[[Address], str],
        wall: Callable[[], float] = time.time,
        name_with: Callable[[str], str] = lambda _: "",
        own_id: str = "",
    ) -> None:
        self._log = log
        self._name_with = name_with
        self._own_id = own_id
        self._name_of = name_of
        self._wall = wall

    def write(self, event: Event) -> Record | None:
        """Record an event, if it is one for the log."""
        if isinstance(event, MessageTraced):
            return self._message(event)
        told = _tell(event)
        if told is None:
            return None
        level, address, node_id, text = told
        # A node that has left is no longer in the table of names.
        name = event.name if isinstance(event, PeerStatusChanged | TrustChanged) else ""
        if not name and address is None and node_id:
            name = self._name_with(node_id)
        return self._add(NOTE, level, address, node_id, "", 0, b"", text, name)

    def note(self, text: str, level: str = "info") -> Record:
        """Record a note of the screen itself."""
        return self._add(NOTE, level, None, "", "", 0, b"", text)

    def _message(self, event: MessageTraced) -> Record:
        direction = IN if event.direction is Direction.IN else OUT
        routed = self._routed(event) or self._relayed(event)
        if routed is not None:
            return routed
        level = "debug" if event.message_type in _CHATTER else "info"
        level = "warn" if event.message_type == "Error" else level
        # By what it is, not by its name: anybody may name a message anything.
        kind = event.message_type
        frame = FRAME_WORDS[kind] if isinstance(kind, SealFrame) else None
        return self._add(
            direction,
            level,
            event.address,
            event.node_id or "",
            printable(event.message_type, 64),
            event.size_bytes,
            event.data[:MAX_KEPT_BYTES] if frame is None else b"",
            frame or _exchange_words(event),
            is_sealed=event.is_sealed,
        )

    def _routed(self, event: MessageTraced) -> Record | None:
        """A message inside another one: what it is, and which node it is from or for."""
        if event.message_type != MessageType.DATA or ROUTED_KEY.encode() not in event.data:
            return None
        try:
            found = inner_message(decode_envelope(event.data))
        except MalformedError:
            return None
        if found is None:
            return None
        routed, message = found
        is_in = event.direction is Direction.IN
        hop = event.node_id or ""
        destination = canonical_id(routed.destination_node) or ""
        # Deployed clients write their server's id as the source: the first node to bring it wrote
        # it.
        source = hop if is_in and routed.hop_count == 0 else canonical_id(routed.source_node) or ""
        node_id = source if is_in else destination
        words = []
        if node_id != hop:
            words.append(f"via {self._who(hop) or shown_address(event.address)}")
        if is_in and destination != self._own_id:
            words.append(f"for {self._who(destination)}")
        if not is_in and routed.hop_count > 0:
            words.append(f"from {self._who(source)}")
        # The two ends also report what is inside.
        is_passing = self._own_id not in (source, destination)
        kind = SEALED_KIND if is_sealed(message) else printable(message.message_type, 64)
        is_chatter = kind in _CHATTER or (kind == SEALED_KIND and not is_passing)
        return self._add(
            IN if is_in else OUT,
            "debug" if is_chatter else "info",
            event.address,
            node_id,
            kind,
            event.size_bytes,
            event.data[:MAX_KEPT_BYTES],
            " ".join(words),
            self._who(node_id),
            is_routed=True,
            is_sealed=event.is_sealed,
        )

    def _relayed(self, event: MessageTraced) -> Record | None:
        """Bytes that a server relays, at either end: which node they are for, or from."""
        ends = (event.direction, event.message_type)
        if ends not in _RELAYED:
            return None
        try:
            named = decode_payload(decode_envelope(event.data).payload, _RelayEnds)
        except MalformedError:
            return None
        node_id = canonical_id(named.target_peer_id or named.from_peer_id)
        if node_id is None:
            return None
        server = self._who(event.node_id or "") or shown_address(event.address)
        return self._add(
            IN if event.direction is Direction.IN else OUT,
            "info",
            event.address,
            node_id,
            printable(event.message_type, 64),
            event.size_bytes,
            event.data[:MAX_KEPT_BYTES],
            f"via {server}",
            self._who(node_id),
            is_routed=True,
            is_sealed=event.is_sealed,
        )

    def _who(self, node_id: str) -> str:
        """A node in a word: its name, or the beginning of its id."""
        return printable(self._name_with(node_id), 32) or short_id(node_id)

    def _add(
        self,
        direction: str,
        level: str,
        address: Address | None,
        node_id: str,
        kind: str,
        size_bytes: int,
        data: bytes,
        text: str,
        name: str = "",
        *,
        is_routed: bool = False,
        is_sealed: bool = False,
    ) -> Record:
        if not name and address is not None:
            name = self._name_of(address)
        record = Record(
            number=self._log.next_number,
            time=self._wall(),
            direction=direction,
            level=level,
            peer=printable(name, 64),
            node_id=node_id,
            address=shown_address(address) if address is not None else "",
            kind=kind,
            size_bytes=size_bytes,
            data=data,
            text=text,
            is_routed=is_routed,
            is_sealed=is_sealed,
        )
        self._log.append(record)
        return record


def _exchange_words(event: MessageTraced) -> str:
    """The part of a handshake message in a key exchange; empty for others."""
    words = _EXCHANGE_WORDS.get(event.message_type)
    if words is None or b'"exchange"' not in event.data:
        return ""
    try:
        exchange = decode_payload(decode_envelope(event.data).payload, ExchangeKey).exchange
    except MalformedError:
        return ""
    return words if isinstance(exchange, str) else ""


def _tell(event: Event) -> tuple[str, Address | None, str, str] | None:
    """Level, address, node id and words of an event; None if the log has no place for it."""
    match event:
        case PeerStatusChanged(status=PeerStatus.CONNECTING):
            return None
        case PeerStatusChanged():
            why = (event.reason or "").removeprefix(f"{event.status.value}: ")
            # The node is shown beside the text.
            why = why.removeprefix(f"{format_address(event.address)}: ")
            reason = f": {why}" if why else ""
            level = "info" if event.is_expected else _GRAVE.get(event.status, "info")
            return level, event.address, event.node_id or "", event.status.value + reason
        case PeerIntroduced():
            return "info", event.address, event.node_id, "introduced by a server"
        case PathChanged():
            return _tell_path(event)
        case PathMtuChanged():
            level = "info" if event.limit_bytes is None else "warn"
            return level, event.address, event.node_id, event.words
        case ErrorReceived() | PeerRefused():
            return "warn", event.address, event.node_id or "", event.words
        case RelayDataReceived():
            words = event.data.decode("utf-8", "replace")
            return "info", None, event.node_id, f"relayed {len(event.data)} bytes: {words}"
        case TrustChanged():
            # Other lines say where it is, or through which node; a refused node may have no name.
            where = event.address if event.is_refused else None
            return level_of(event), where, event.node_id, event_words(event)
        case FileReceived():
            return _tell_file(event)
        case StunServed():
            words = f"STUN request at {event.place}: {event.outcome}"
            return "info", event.source, "", words
        case EventsDropped() | FilesNotTold():
            return "warn", None, "", _missing_words(event)
        case _:
            return None


def _missing_words(event: EventsDropped | FilesNotTold) -> str:
    if isinstance(event, EventsDropped):
        missing = counted(event.count, "event is", "events are")
        return f"{missing} missing: there were too many"
    return not_told_words(event)


def _tell_path(event: PathChanged) -> tuple[str, Address, str, str]:
    if event.path is Path.DIRECT:
        return "info", event.address, event.node_id, f"reached directly ({event.method})"
    why = event.reason or "searching for a direct path"
    where = relay_address(event.address, event.node_id)
    return "info", where, event.node_id, f"relayed: {why}"


def _tell_file(event: FileReceived) -> tuple[str, None, str, str]:
    if event.path is None:
        return "warn", None, event.node_id, f"file {event.name} is not kept: {event.reason}"
    words = f"file {event.name} ({counted(event.size_bytes or 0, 'byte')}) is kept as {event.path}"
    return "info", None, event.node_id, words
