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
from p2ptui.node.files import sender_words
from p2ptui.text import about, printable
from p2ptui.wire.address import format_address
from p2ptui.wire.files import FILE, BadFileError, read_file

log = logging.getLogger("p2ptui.headless")


def log_event(event: Event) -> None:
    """Tell one event; whatever there can be one of for each datagram is told at DEBUG only."""
    match event:
        case PeerStatusChanged():
            _log_status(event)
        case TrustChanged() | PeerRefused():
            _log_trust(event)
        case PeerIntroduced():
            where = format_address(event.address)
            log.info("introduced to %s at %s", short_id(event.node_id), where)
        case PathChanged() | PathMtuChanged():
            _log_path(event)
        case ErrorReceived():
            where = address_words(event.address)
            log.warning("%s reports: %s", where, printable(event.text))
        case DataReceived() if log.isEnabledFor(logging.DEBUG):  # it may have a megabyte
            log.debug(
                "data from %s by %s path: %s",
                short_id(event.node_id),
                event.path.value,
                printable(str(event.payload)),
            )
        case RelayDataReceived():
            log.debug("%d bytes relayed from %s", len(event.data), short_id(event.node_id))
        case PeersDiscovered():
            log.debug("%d nodes listed, %d left", len(event.joined), len(event.left))
        case MessageTraced():
            _log_message(event)
        case StunServed():
            where = format_address(event.source)
            log.info("STUN request from %s at %s: %s", where, event.place, event.outcome)
        case EventsDropped():
            log.warning("%d events were not logged: there were too many", event.count)
        case _:
            pass


def _log_trust(event: TrustChanged | PeerRefused) -> None:
    if isinstance(event, PeerRefused):
        where = address_words(event.address)
        who = short_id(event.node_id) if event.node_id else "a node that has not shown its id,"
        log.warning("refused %s at %s: %s", who, where, event.reason)
    elif event.previous is not None:
        who = f"{printable(event.name, 64)} ({short_id(event.node_id)})"
        log.info("%s is %s from now on", who, event.trust.value)


def _log_path(event: PathChanged | PathMtuChanged) -> None:
    where, who = shown_address(event.address), short_id(event.node_id)
    if isinstance(event, PathMtuChanged):
        level = logging.INFO if event.limit_bytes is None else logging.WARNING
        log.log(level, "%s at %s: %s", who, where, event.words)
    elif event.path is Path.DIRECT:
        log.info("%s is reached directly at %s (%s)", who, where, event.method)
    else:
        why = event.reason or "a direct path is searched"
        log.info("%s is relayed by %s: %s", who, where, printable(why, 400))


def _log_status(event: PeerStatusChanged) -> None:
    where = shown_address(event.address)
    at = "at " if relayed_node(event.address) is None else ""
    node_id = short_id(event.node_id or "unknown")
    who = f"{printable(event.name, 64)} ({node_id}) {at}{where}"
    if event.status is PeerStatus.AUTHENTICATED:
        log.info("connected: %s%s", who, f", {event.trust}" if event.trust else "")
    elif event.is_expected:
        log.debug("%s: %s: %s", event.status.value, where, printable(event.reason or ""))
    elif event.status is PeerStatus.DISCONNECTED:
        why = (event.reason or "").removeprefix("disconnected: ")
        log.info("disconnected: %s: %s", who, printable(why))
    elif event.status is PeerStatus.FAILED:
        log.info("failed: %s", about(where, printable(event.reason or "no reason given")))
    else:
        log.debug("%s: %s", event.status.value, where)


def log_file(event: FileReceived) -> None:
    """Tell of a file that was kept, or could not be."""
    sender = sender_words(event)
    name = printable(event.name, 255)
    if event.path is None:
        why = printable(event.reason or "", 400)
        log.warning("file %s from %s is not kept: %s", name, sender, why)
        return
    log.info(
        "file %s from %s, %d bytes, sha256 %s, is kept as %s",
        name,
        sender,
        event.size_bytes,
        event.sha256,
        printable(event.path, 1000),
    )


def log_unkept(event: DataReceived) -> None:
    """Tell of a file that came to a node which keeps none."""
    payload = event.payload
    who, name = short_id(event.node_id), printable(payload[FILE], 255)
    try:
        file = read_file(payload)
    except BadFileError as error:
        log.warning("file %s from %s cannot be read: %s", name, who, error)
        return
    log.info(
        "file %s from %s, %d bytes, sha256 %s, is not kept: files.receive_into is empty",
        name,
        who,
        len(file.content),
        file.sha256,
    )


def _log_message(event: MessageTraced) -> None:
    where = shown_address(event.address)
    kind = printable(event.message_type, 64)
    log.debug("%s %s %s, %d bytes", event.direction.value, where, kind, event.size_bytes)
    if log.isEnabledFor(TRACE):
        with contextlib.suppress(UnicodeDecodeError):
            log.log(TRACE, "%s", printable(event.data.decode(), 2000))
