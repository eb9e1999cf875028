"""Everything known about a node, for reading and for pasting into a report."""

import base64
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from p2ptui.core.events import Path, PeerStatus
from p2ptui.core.sealing import Mode
from p2ptui.node import Known, Node, OtherNode, PeerView, way_words
from p2ptui.node.own_identity import NodeIdentity
from p2ptui.secure.known_nodes import KnownNode, Trust
from p2ptui.text import counted, printable, shown_path
from p2ptui.tui.columns import GLYPHS, TRUST_STYLES, ago_text, evidence_of, glyph_of, path_of
from p2ptui.tui.series import sparkline
from p2ptui.tui.trends import STEP_S, highest_of_each
from p2ptui.tui.trust_words import MAX_ADVICE, TRUST_MEANS, advice_in_bar, is_refused, keys_words
from p2ptui.tui.two_columns import beside, wrapped
from p2ptui.wire.address import format_address

_EVIDENCE_MEANS = {
    "proved": "proved: it has shown that it receives there",
    "claimed": "claimed: it has not yet shown that it receives there",
    "told": "told: another node says so",
}


_LABEL_WIDTH = 15
ID_CELLS: Final = 36
"""If a line has no room for an id beside the names of the facts, it goes below them."""

_BARS = 75
"""At most; with two samples each, they cover five minutes."""


def node_text(
    node: Known,
    rtts_ms: Sequence[float] = (),
    shell: Iterable[str] = (),
    *,
    minutes_ms: Sequence[float] = (),
    width: int = _LABEL_WIDTH + _BARS,
    has_gone: bool = False,
    known: KnownNode | None = None,
    is_home: bool = False,
) -> Text:
    """The page.

    Args:
        node: A peer, or a node behind one.
        rtts_ms: The last round trips to it, oldest first.
        shell: Shell commands that concern it.
        minutes_ms: Round trips over minutes, one each `STEP_S`, oldest first.
        width: Cells of a line.
        has_gone: Whether it is gone; the rest is what was last known.
        known: What this node's user knows about it; None if it is not remembered.
        is_home: Whether it is the server through which others reach this node.
    """
    text = Text()
    if has_gone:
        text.append("It has gone; this is the last that was known of it.\n\n", "yellow")
    glyph, colour = GLYPHS[PeerStatus.DISCONNECTED] if has_gone else glyph_of(node)
    status = path_of(node) if isinstance(node, OtherNode) else node.status.value
    status = "refused" if is_refused(node) else status
    status = f"gone, it was {status}" if has_gone else status
    _fact(text, "name", printable(node.name) or "(unknown)", width)
    _fact(text, "id", node.node_id or "(not known yet)", width)
    text.append(f"{'state':<{_LABEL_WIDTH}}", "dim")
    text.append(glyph, colour)
    text.append(f" {status}\n")
    _say_trust(text, node, known, width)
    facts = _facts_of_other(node) if isinstance(node, OtherNode) else _facts(node, is_home=is_home)
    for name, value in facts:
        _fact(text, name, value, width)
        if name == "round trip":
            _say_trend(text, rtts_ms, minutes_ms, width)
    _fact(text, "whereabouts", _EVIDENCE_MEANS[evidence_of(node)], width)
    # Last, for its length.
    _fact(text, "can", printable(", ".join(node.capabilities), 400) or "-", width)
    lines = list(shell)
    if lines:
        text.append("\nthe same from a shell\n", "dim")
    for line in lines:
        text.append(f"{line}\n")
    return text


def _fact(text: Text, name: str, value: str, width: int) -> None:
    """A fact on one line, or on as many as it takes, below each other."""
    if _LABEL_WIDTH + cell_len(value) > width:
        text.append_text(beside(name, value, _LABEL_WIDTH, width, "dim"))
        return
    text.append(f"{name:<{_LABEL_WIDTH}}", "dim")
    text.append(f"{value}\n")


def _long_fact(
    text: Text, name: str, value: str, width: int, style: str = "", styled: int = MAX_ADVICE
) -> None:
    """A fact containing ids, which stay whole; `styled` is how much of it is in `style`."""
    column = _LABEL_WIDTH if width - _LABEL_WIDTH >= ID_CELLS else 0
    entry = beside(name, value, column, width, "dim")
    if not name and not column:
        entry = entry[1:]  # there is nothing to stand below
    start = entry.plain.index(value.split()[0])
    entry.stylize(style, start, min(start + styled, len(entry)))
    text.append_text(entry)


def _say_trend(
    text: Text, rtts_ms: Sequence[float], minutes_ms: Sequence[float], width: int
) -> None:
    if rtts_ms:
        words = f"{_words(rtts_ms)} of the last {len(rtts_ms)}"
        _fact(text, "trend", f"{sparkline(rtts_ms, len(rtts_ms))}  {words}", width)
    if minutes_ms:
        bars = highest_of_each(minutes_ms, min(max(width - _LABEL_WIDTH, 8), _BARS))
        _fact(text, f"last {ago_text(len(minutes_ms) * STEP_S)}", sparkline(bars, len(bars)), width)
        _fact(text, "", _words(minutes_ms), width)


def _say_trust(text: Text, node: Known, known: KnownNode | None, width: int) -> None:
    """Its proved identity, and what the user should do about it."""
    trust = node.trust if isinstance(node, PeerView) else None
    advice = advice_in_bar(node.advice) if isinstance(node, PeerView) else ""
    if trust is Trust.CHANGED and advice:
        _long_fact(text, "trust", f"{trust.value}: {advice}", width, TRUST_STYLES[trust])
    elif trust is not None:
        words = f"{trust.value}: {TRUST_MEANS[trust]}"
        _long_fact(text, "trust", words, width, TRUST_STYLES[trust], len(trust.value))
        if advice:
            _long_fact(text, "", advice, width)
        elif trust in (Trust.NEW, Trust.KNOWN):
            words = f"once you have compared its id with its user: trust {node.node_id}"
            _long_fact(text, "", words, width)
    _fact(text, "keys", keys_words(node), width)
    if isinstance(node, PeerView) and node.signer_id:
        _fact(text, "of", f"{node.signer_id}, its user's lasting node", width)
    if known is not None:
        _fact(text, "met first", _time_words(known.first_seen), width)


def _time_words(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    except (OSError, OverflowError, ValueError):  # this system's calendar does not have it
        return "unknown"


def _facts_of_other(node: OtherNode) -> Iterable[tuple[str, str]]:
    if node.address is not None:
        yield "address", format_address(node.address)
    if node.is_elsewhere:
        yield "held by", _hop_of(node)
        yield "next", "nothing to do: what peers of this server send to it is handed over"
    elif node.address is not None:
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
    """The node that named it: by name, as in the table, and with the id, which is unique."""
    return f"{printable(node.via_name, 32)}  {node.via}" if node.via_name else node.via


def _facts(peer: PeerView, *, is_home: bool) -> Iterable[tuple[str, str]]:
    if is_refused(peer):
        yield "address", way_words(peer)
        yield "role", "server: this node is to join it"
        yield "refused last", ago_text(peer.last_received_ago_s)
        return
    rtt = "-" if peer.rtt_ms is None else f"{peer.rtt_ms:.3f} ms"
    public = "-" if peer.public_address is None else format_address(peer.public_address)
    yield "address", way_words(peer)
    yield "path", printable(peer.connection.words(relayed=peer.path is Path.RELAY), 400)
    yield "role", _role_of(peer) + (", and the home of this node" if is_home else "")
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
    yield "connected for", ago_text(peer.connected_for_s)


def _role_of(peer: PeerView) -> str:
    if peer.path is Path.RELAY or peer.connection.checks:
        return "peer: the two met on a server"
    return "server: this node asked for the session" if peer.initiated else "client"


def _words(rtts_ms: Sequence[float]) -> str:
    middle = statistics.median(rtts_ms)
    return f"min {min(rtts_ms):.2f}, median {middle:.2f}, max {max(rtts_ms):.2f} ms"


# This node itself.

_MODES: Final = {
    Mode.OPEN: "open: anyone in the network may connect",
    Mode.PREFER: "prefer: anyone may connect, but a node that once had keys must show them",
    Mode.REQUIRE: "require: only secured nodes may connect",
}


def own_text(node: Node, width: int) -> Text:
    """This node's identity, for telling others: never its secrets.

    Args:
        node: This node.
        width: Cells of a line.
    """
    own, shown = node.own_identity, node.identity
    text = Text()
    for name, value in _own_facts(node):
        text.append_text(beside(name, value, _LABEL_WIDTH, width))
    for notice in own.notices:
        text.append("\n" + "\n".join(wrapped(notice, width)) + "\n")
    words = (
        "Anyone you give the id to can check that this node is yours: it is derived from the keys."
        if shown.secured
        else "This node has no keys: anybody on the way can read and alter what it sends."
    )
    return text.append("\n" + "\n".join(wrapped(words, width)) + "\n", "dim")


def _own_facts(node: Node) -> list[tuple[str, str]]:
    own, shown = node.own_identity, node.identity
    facts = [("id", shown.id)]
    if own.identity is not None and shown.secured:
        facts.append(("x25519", _text(own.identity.x_public)))
        facts.append(("ed25519", _text(own.identity.ed_public)))
        facts.append(("lasts", _lasts(node)))
        if shown.signer_id:
            facts.append(("of", f"{shown.signer_id}, your lasting node"))
        facts.append(("network key", _key_words(shown)))
    facts.append(("mode", _MODES[shown.mode]))
    return facts


def _key_words(shown: NodeIdentity) -> str:
    """Whether there is a network key, and who comes in without it nevertheless."""
    if not shown.has_network_key:
        return "none"
    others = "" if shown.mode is Mode.REQUIRE else "; programs without keys, too, in the open"
    return f"set; without it only ids on security.allowed_ids come in{others}"


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _lasts(node: Node) -> str:
    own = node.own_identity
    if own.is_ephemeral or own.file is None:
        return "as long as this node runs"
    return f"in {shown_path(own.file.path)}"
