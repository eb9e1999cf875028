"""All that is known of a node, for reading and for pasting into a report."""

import statistics
from collections.abc import Iterable, Sequence

from rich.text import Text

from p2ptui.core.events import Path, PeerStatus
from p2ptui.node import Known, OtherNode, PeerView, way_words
from p2ptui.text import counted, printable
from p2ptui.tui.columns import GLYPHS, ago_text, glyph_of, path_of, trust_of
from p2ptui.tui.series import sparkline
from p2ptui.tui.trends import STEP_S, highest_of_each
from p2ptui.wire.address import format_address

_TRUST_MEANS = {
    "proved": "proved: it has shown that it receives at this address",
    "claimed": "claimed: it has not yet shown that it receives at this address",
    "told": "told: another node says so",
}


_LABEL_WIDTH = 15
_BARS = 75
"""At most; two samples each fill it with five minutes."""


def node_text(
    node: Known,
    rtts_ms: Sequence[float] = (),
    shell: Iterable[str] = (),
    *,
    minutes_ms: Sequence[float] = (),
    width: int = _LABEL_WIDTH + _BARS,
    has_gone: bool = False,
) -> Text:
    """The page.

    Args:
        node: A peer, or a node behind one.
        rtts_ms: The last round trips to it, oldest first.
        shell: Commands for a shell that concern it.
        minutes_ms: Round trips of minutes, one each `STEP_S`, oldest first.
        width: Cells of a line.
        has_gone: It is not here any more; the rest is what was known last.
    """
    text = Text()
    if has_gone:
        text.append("It has gone; this is what was known last.\n\n", "yellow")
    glyph, colour = GLYPHS[PeerStatus.DISCONNECTED] if has_gone else glyph_of(node)
    status = path_of(node) if isinstance(node, OtherNode) else node.status.value
    status = f"gone, it was {status}" if has_gone else status
    _fact(text, "name", printable(node.name) or "(nobody told)")
    _fact(text, "id", node.node_id or "(not told yet)")
    text.append(f"{'state':<{_LABEL_WIDTH}}", "dim")
    text.append(glyph, colour)
    text.append(f" {status}\n")
    facts = _facts_of_other(node) if isinstance(node, OtherNode) else _facts(node)
    for name, value in facts:
        _fact(text, name, value)
    _fact(text, "trust", _TRUST_MEANS[trust_of(node)])
    if rtts_ms:
        words = f"{_words(rtts_ms)} of the last {len(rtts_ms)}"
        _fact(text, "trend", f"{sparkline(rtts_ms, len(rtts_ms))}  {words}")
    if minutes_ms:
        bars = highest_of_each(minutes_ms, min(max(width - _LABEL_WIDTH, 8), _BARS))
        _fact(text, f"last {ago_text(len(minutes_ms) * STEP_S)}", sparkline(bars, len(bars)))
        _fact(text, "", _words(minutes_ms))
    # Last, for its length.
    _fact(text, "can", printable(", ".join(node.capabilities), 400) or "-")
    lines = list(shell)
    if lines:
        text.append("\nthe same from a shell\n", "dim")
    for line in lines:
        text.append(f"{line}\n")
    return text


def _fact(text: Text, name: str, value: str) -> None:
    text.append(f"{name:<{_LABEL_WIDTH}}", "dim")
    text.append(f"{value}\n")


def _facts_of_other(node: OtherNode) -> Iterable[tuple[str, str]]:
    if node.address is not None:
        yield "address", format_address(node.address)
        yield "introduced by", _hop_of(node)
        yield "next", "connect to it by its id, or ping it: it answers without a session"
    else:
        yield "by way of", _hop_of(node)
        yield "hops", str(node.hops)
        yield "next", "connect to it by its id: a server that knows both introduces them"
    if node.messages_in or node.messages_out:
        yield "round trip", "-" if node.rtt_ms is None else f"{node.rtt_ms:.3f} ms"
        yield "messages", f"{node.messages_in} in, {node.messages_out} out"
        ago_s = node.last_received_ago_s
        yield "last heard", "-" if ago_s is None else ago_text(ago_s)


def _hop_of(node: OtherNode) -> str:
    """Who tells of it: by name, as the table has it, and with the id, which nobody else has."""
    return f"{printable(node.via_name, 32)}  {node.via}" if node.via_name else node.via


def _facts(peer: PeerView) -> Iterable[tuple[str, str]]:
    rtt = "-" if peer.rtt_ms is None else f"{peer.rtt_ms:.3f} ms"
    public = "-" if peer.public_address is None else format_address(peer.public_address)
    yield "address", way_words(peer)
    yield "path", printable(peer.connection.words(relayed=peer.path is Path.RELAY), 400)
    yield "role", _role_of(peer)
    yield "version", printable(peer.version) or "-"
    yield "dialect", peer.dialect
    yield "sees us at", public
    yield "round trip", rtt
    vanish = "" if peer.datagram_limit is None else f"; above {peer.datagram_limit} they vanish"
    yield "path MTU", f"{peer.datagram_bytes} bytes a datagram{vanish}"
    yield "messages", f"{peer.messages_in} in, {peer.messages_out} out"
    yield "bytes", f"{peer.bytes_in} in, {peer.bytes_out} out"
    yield "sent again", str(peer.retransmissions)
    yield "waiting", f"{counted(peer.waiting, 'message')} not acknowledged yet"
    yield "last heard", ago_text(peer.last_received_ago_s)
    yield "known for", ago_text(peer.connected_for_s)


def _role_of(peer: PeerView) -> str:
    if peer.path is Path.RELAY or peer.connection.checks:
        return "peer: the two met on a server"
    return "server: this node asked for the session" if peer.initiated else "client"


def _words(rtts_ms: Sequence[float]) -> str:
    middle = statistics.median(rtts_ms)
    return f"min {min(rtts_ms):.2f}, median {middle:.2f}, max {max(rtts_ms):.2f} ms"
