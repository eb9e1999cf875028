"""The nodes at a server of a cluster: what they sign, and how they learn of the other servers.

Without a cluster, no statements are requested or accepted.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.secure.errors import SecureError
from p2ptui.secure.exchange import decode_text, encode_text
from p2ptui.secure.identity import is_made_of_keys
from p2ptui.wire.address import format_address, is_wildcard, parse_ip_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.frames import node_id_bytes
from p2ptui.wire.message import (
    MAX_OTHER_SERVERS,
    Capability,
    MessageType,
    OtherServer,
    PresencePayload,
    ServersPayload,
)

STATEMENTS_PER_SECOND: Final = 2_500
"""For all peers: 10,000 come within four seconds from a server that died."""

STATEMENTS_OF_ONE: Final = 4
"""The part of these for one peer, which repeats its statement after a second, and later, if nobody
answers."""

SETTLE_S: Final = 1.0
"""Servers that start or stop together are reported once."""

CALM_S: Final = 60.0
"""Servers that change again and again are reported ever less often, at last at this interval; and
at once again when they have not changed for that long."""

TOLD_AT_ONCE: Final = 50
TOLD_PAUSE_S: Final = 0.05
"""10,000 peers are told news in ten seconds, at most 1.5 megabytes a second."""

NAMED_AT_GOODBYE: Final = 4
"""A goodbye is one datagram, whatever the budget; peers that were told about others know the
rest."""


class Guests:
    """Takes signed statements from peers, and tells them which other servers they could use.

    Args:
        state: The shared state.
        delivery: Sends messages.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._on_presence: Callable[[Peer, int, bytes, float], bool] | None = None
        self._latest: Callable[[Peer], tuple[int, bytes]] = _none
        self._telling: Timer | None = None
        """When all are told about the others."""
        self._told_at = -math.inf
        self._pause_s = SETTLE_S
        """How long after that all are told again."""
        self._left: deque[Peer] = deque()
        """Peers not told yet about the latest change."""
        self.others: Sequence[OtherServer] = ()
        """The other servers, at most `MAX_OTHER_SERVERS`, about which a peer that declares itself
        here is told; set by the code that knows them."""

    def open(
        self,
        on_presence: Callable[[Peer, int, bytes, float], bool],
        latest: Callable[[Peer], tuple[int, bytes]] | None = None,
    ) -> None:
        """This server is in a cluster, and says so in each handshake from now on.

        Args:
            on_presence: Called with a secured peer that declares itself at this server, its
                counter, its signature (which is not checked here) and the time; returns whether the
                statement is genuine and new.
            latest: Called with a peer; returns counter and signature of its latest statement.
        """
        self._on_presence = on_presence
        self._latest = latest or _none
        own = self._state.identity
        if Capability.CLUSTER not in own.capabilities:
            capabilities = (*own.capabilities, Capability.CLUSTER)
            self._state.identity = replace(own, capabilities=capabilities)

    def expects(self, peer: Peer, _content: PresencePayload) -> bool:
        """Whether it matters where a peer is: one with keys, at its own address."""
        return self._on_presence is not None and peer.seal is not None and peer.is_plain

    def handle_presence(self, peer: Peer, content: PresencePayload, now: float) -> None:
        """A peer declares that it is at this server; the answer says where else it could go."""
        assert self._on_presence is not None
        try:
            signature = decode_text(content.signature)
        except SecureError:
            signature = b""
        if self._on_presence(peer, content.counter, signature, now):
            self._tell(peer, ServersPayload(self._in_turn(peer), content.counter), now)
            return
        self._state.counters.drop("presence_refused")
        counter, latest = self._latest(peer)
        if counter > content.counter:
            # Its clock was set back before it was restarted, and it does not know that.
            answer = ServersPayload(self._in_turn(peer), counter, encode_text(latest))
            self._tell(peer, answer, now)

    def note_others(self, servers: Iterable[tuple[str, str]], now: float) -> None:
        """The other servers may have changed: all peers here are told within a while.

        Args:
            servers: Their ids, and where clients reach them, in the order in which they were first
                heard: later ones take no place from earlier ones. Those without a literal address
                are left out, since no client could go there.
            now: The time, seconds.
        """
        written = [(node_id, _as_told(where)) for node_id, where in servers]
        # No peer keeps one whose id is not derived from keys.
        keyed = [OtherServer(*one) for one in written if one[1] and is_made_of_keys(one[0])]
        found = sorted(keyed[:MAX_OTHER_SERVERS])
        if found != self.others:
            self.others = found
            if self._telling is None:
                is_calm = now > self._told_at + self._pause_s + CALM_S
                self._pause_s = SETTLE_S if is_calm else min(2 * self._pause_s, CALM_S)
                when = max(now + SETTLE_S, self._told_at + self._pause_s)
                self._telling = self._state.timers.schedule(when, self._tell_all)

    def _tell_all(self, now: float) -> None:
        here = [peer for peer in self._state.peers if Capability.CLUSTER in peer.facts.used]
        self._telling, self._told_at = None, now
        # Those that were not reached last time come first.
        turns = {peer.node_id: turn for turn, peer in enumerate(self._left)}
        here.sort(key=lambda peer: turns.get(peer.node_id, len(turns)))
        self._left = deque(here)
        self._tell_some(self._left, now)

    def _tell_some(self, left: deque[Peer], now: float) -> None:
        if left is not self._left or self._state.closing:
            return  # they have changed again
        for _ in range(min(TOLD_AT_ONCE, len(left))):
            peer = left.popleft()
            if peer.is_authenticated:
                self._tell(peer, ServersPayload(self._in_turn(peer)), now)
        if left:
            self._state.timers.schedule(now + TOLD_PAUSE_S, partial(self._tell_some, left))

    def _in_turn(self, peer: Peer) -> list[OtherServer]:
        """The others in an order that differs for each peer: if this server dies, its peers do not
        all go to the same one."""
        others = list(self.others)
        start = node_id_bytes(peer.node_id)[-1] % len(others) if others else 0
        return others[start:] + others[:start]

    def _tell(self, peer: Peer, content: ServersPayload, now: float) -> None:
        self._delivery.send(peer, MessageType.SERVERS, encode_payload(content), now)

    def whither(self, peer: Peer) -> bytes:
        """Where a peer may go when this server shuts down, as JSON; nothing for all others."""
        is_told = self._state.closing and Capability.CLUSTER in peer.facts.used
        if not (is_told and peer.seal is not None and self.others):
            return b""
        return bytes(encode_payload(self._in_turn(peer)[:NAMED_AT_GOODBYE]))


def _none(_peer: Peer) -> tuple[int, bytes]:
    return 0, b""


def _as_told(advertised: str) -> str:
    """An address as clients are told it, in its shortest form; empty if it is of no use."""
    address = parse_ip_address(advertised)
    return "" if address is None or is_wildcard(address[0]) else format_address(address)
