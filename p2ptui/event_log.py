"""The log of what happens to a node: a line for each event, in words."""

import contextlib
import logging

from p2ptui.core.addresses import address_words, relayed_node, shown_address
from p2ptui.core.events import (
    DataReceived,
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
    PeersDiscovered,
    PeerStatus,
    PeerStatusChanged,
    RelayDataReceived,
    StunServed,
    TrustChanged,
)
from p2ptui.core.identity import short_id
from p2ptui.logs import TRACE
from p2ptui.node.files import not_told_words, sender_words
from p2ptui.tagged import tagged
from p2ptui.text import about, printable
from p2ptui.wire.address import format_address
from p2ptui.wire.files import FILE, BadFileError, read_file

log = logging.getLogger("p2ptui.headless")


def level_of(event: Event) -> int:
    """The level at which an event is told."""
    match event:
        case PeerStatusChanged(status=PeerStatus.AUTHENTICATED):
            return logging.INFO
        case PeerStatusChanged():
            ends = event.status in (PeerStatus.DISCONNECTED, PeerStatus.FAILED)
            return logging.INFO if ends and not event.is_expected else logging.DEBUG
        case DataReceived() | RelayDataReceived() | PeersDiscovered() | MessageTraced():
            return logging.DEBUG  # there can be one for each datagram
        case (
            PeerRefused()
            | ErrorReceived()
            | EventsDropped()
            | FileReceived(path=None)
            | FilesNotTold()
        ):
            return logging.WARNING
        case PathMtuChanged() if event.limit_bytes is not None:
            return logging.WARNING
        case _:
            return logging.INFO


def log_event(event: Event) -> None:
    """Tell one event; whatever there can be one of for each datagram is told at DEBUG only."""
    match event:
        case PeerStatusChanged():
            _log_status(event)
        case TrustChanged() | PeerRefused():
            _log_trust(event)
        case PeerIntroduced():
            where, who = format_address(event.address), event.node_id
            fields = tagged("peer_introduced", node_id=who, address=where, server=event.server_id)
            log.info("introduced to %s at %s", short_id(who), where, extra=fields)
        case PathChanged() | PathMtuChanged():
            _log_path(event)
        case ErrorReceived():
            where, text = address_words(event.address), printable(event.text)
            fields = tagged(
                "peer_error", node_id=event.node_id, address=where, text=text, code=event.code
            )
            log.warning("%s reports: %s", where, text, extra=fields)
        case DataReceived() if log.isEnabledFor(logging.DEBUG):  # it may have a megabyte
            _log_data(event)
        case RelayDataReceived():
            size = len(event.data)
            fields = tagged(
                "relay_data", node_id=event.node_id, server=event.server_id, size_bytes=size
            )
            log.debug("%d bytes relayed from %s", size, short_id(event.node_id), extra=fields)
        case PeersDiscovered():
            joined, left = len(event.joined), len(event.left)
            fields = tagged("peers_listed", server=event.server_id, joined=joined, left=left)
            log.debug("%d nodes listed, %d left", joined, left, extra=fields)
        case MessageTraced():
            _log_message(event)
        case StunServed():
            where, outcome = format_address(event.source), str(event.outcome)
            fields = tagged("stun_request", address=where, place=str(event.place), outcome=outcome)
            log.info("STUN request from %s at %s: %s", where, event.place, outcome, extra=fields)
        case EventsDropped() | FilesNotTold():
            _log_missing(event)
        case _:
            pass


def _log_missing(event: EventsDropped | FilesNotTold) -> None:
    if isinstance(event, EventsDropped):
        fields = tagged("events_dropped", count=event.count)
        log.warning("%d events were not logged: there were too many", event.count, extra=fields)
        return
    fields = tagged("lines_left_out", count=event.count, about="files that were not kept")
    log.warning("%s", not_told_words(event), extra=fields)


def _log_data(event: DataReceived) -> None:
    log.debug(
        "data from %s by %s path: %s",
        short_id(event.node_id),
        event.path.value,
        printable(str(event.payload)),
        extra=tagged(
            "data",
            node_id=event.node_id,
            address=shown_address(event.address),
            path=event.path.value,
            size_bytes=event.size_bytes,
            is_echo=event.is_echo,
        ),
    )


def _log_trust(event: TrustChanged | PeerRefused) -> None:
    if isinstance(event, PeerRefused):
        where = address_words(event.address)
        who = short_id(event.node_id) if event.node_id else "a node that has not shown its id,"
        fields = tagged(
            "peer_refused", node_id=event.node_id, address=where, reason=str(event.reason)
        )
        log.warning("refused %s at %s: %s", who, where, event.reason, extra=fields)
    elif event.previous is not None:
        who = f"{printable(event.name, 64)} ({short_id(event.node_id)})"
        fields = tagged(
            "trust_changed",
            node_id=event.node_id,
            name=printable(event.name, 64),
            trust=event.trust.value,
            previous=event.previous.value,
        )
        log.info("%s is %s from now on", who, event.trust.value, extra=fields)


def _log_path(event: PathChanged | PathMtuChanged) -> None:
    where, node_id = shown_address(event.address), event.node_id
    who = short_id(node_id)
    if isinstance(event, PathMtuChanged):
        fields = tagged(
            "path_size",
            node_id=node_id,
            address=where,
            size_bytes=event.size_bytes,
            limit_bytes=event.limit_bytes,
        )
        level = logging.INFO if event.limit_bytes is None else logging.WARNING
        log.log(level, "%s at %s: %s", who, where, event.words, extra=fields)
    elif event.path is Path.DIRECT:
        fields = tagged(
            "path_direct", node_id=node_id, address=where, path="direct", method=event.method
        )
        log.info("%s is reached directly at %s (%s)", who, where, event.method, extra=fields)
    else:
        why = printable(event.reason or "searching for a direct path", 400)
        fields = tagged("path_relay", node_id=node_id, server=where, path="relay", reason=why)
        log.info("%s is relayed by %s: %s", who, where, why, extra=fields)


def _log_status(event: PeerStatusChanged) -> None:
    where = shown_address(event.address)
    at = "at " if relayed_node(event.address) is None else ""
    node_id = short_id(event.node_id or "unknown")
    who = f"{printable(event.name, 64)} ({node_id}) {at}{where}"
    about_peer = {
        "node_id": event.node_id,
        "name": printable(event.name, 64) or None,
        "address": where,
        "status": event.status.value,
        "reason": printable(event.reason) if event.reason else None,
    }
    if event.status is PeerStatus.AUTHENTICATED:
        fields = tagged("peer_connected", **about_peer, trust=event.trust and str(event.trust))
        log.info("connected: %s%s", who, f", {event.trust}" if event.trust else "", extra=fields)
    elif event.is_expected:
        fields = tagged("peer_status", **about_peer)
        why = printable(event.reason or "")
        log.debug("%s: %s: %s", event.status.value, where, why, extra=fields)
    elif event.status is PeerStatus.DISCONNECTED:
        why = (event.reason or "").removeprefix("disconnected: ")
        fields = tagged("peer_disconnected", **about_peer)
        log.info("disconnected: %s: %s", who, printable(why), extra=fields)
    elif event.status is PeerStatus.FAILED:
        fields = tagged("peer_failed", **about_peer)
        why = about(where, printable(event.reason or "no reason given"))
        log.info("failed: %s", why, extra=fields)
    else:
        fields = tagged("peer_status", **about_peer)
        log.debug("%s: %s", event.status.value, where, extra=fields)


def log_file(event: FileReceived) -> None:
    """Tell of a file that was kept, or could not be."""
    sender = sender_words(event)
    name = printable(event.name, 255)
    about_file = {"node_id": event.node_id, "file": name, "size_bytes": event.size_bytes}
    if event.path is None:
        why = printable(event.reason or "", 400)
        fields = tagged("file_not_kept", **about_file, reason=why)
        log.warning("file %s from %s is not kept: %s", name, sender, why, extra=fields)
        return
    path = printable(event.path, 1000)
    log.info(
        "file %s from %s, %d bytes, sha256 %s, is kept as %s",
        name,
        sender,
        event.size_bytes,
        event.sha256,
        path,
        extra=tagged("file_kept", **about_file, sha256=event.sha256, path=path),
    )


def log_unkept(event: DataReceived) -> None:
    """Tell of a file that came to a node which keeps none."""
    payload = event.payload
    who, name = short_id(event.node_id), printable(payload[FILE], 255)
    about_file = {"node_id": event.node_id, "file": name}
    try:
        file = read_file(payload)
    except BadFileError as error:
        fields = tagged("file_not_kept", **about_file, reason=str(error))
        log.warning("file %s from %s cannot be read: %s", name, who, error, extra=fields)
        return
    size = len(file.content)
    log.info(
        "file %s from %s, %d bytes, sha256 %s, is not kept: files.receive_into is empty",
        name,
        who,
        size,
        file.sha256,
        extra=tagged(
            "file_not_kept",
            **about_file,
            size_bytes=size,
            sha256=file.sha256,
            reason="files.receive_into is empty",
        ),
    )


def _log_message(event: MessageTraced) -> None:
    where = shown_address(event.address)
    kind = printable(event.message_type, 64)
    fields = tagged(
        "message",
        direction=event.direction.value,
        node_id=event.node_id,
        address=where,
        type=kind,
        size_bytes=event.size_bytes,
    )
    words = event.direction.value, where, kind, event.size_bytes
    log.debug("%s %s %s, %d bytes", *words, extra=fields)
    if log.isEnabledFor(TRACE):
        with contextlib.suppress(UnicodeDecodeError):
            text = printable(event.data.decode(), 2000)
            log.log(TRACE, "%s", text, extra=tagged("message_content", type=kind))
