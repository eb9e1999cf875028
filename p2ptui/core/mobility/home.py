"""The server of a cluster that represents this node: the quickest live one that it has joined.

A node may have joined several servers of one cluster. It signs through which of them others are to
reach it: its home. Heartbeats find a dead server within a minute, but the home is sent the smallest
possible datagram every two seconds, unless something arrives from it anyway, so that a node that
writes to this one waits for at most five seconds. Servers outside a cluster are never probed like
this.
"""

import math
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET

from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.mobility.told_servers import ToldServer, worth_keeping
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.inquiry import Inquiry
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.server_watch import ServerWatch
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.secure.errors import SecureError
from p2ptui.secure.exchange import decode_text, encode_text
from p2ptui.secure.presence import next_counter, sign_presence, verify_presence
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    MAX_OTHER_SERVERS,
    Capability,
    DisconnectPayload,
    MessageType,
    OtherServers,
    PresencePayload,
    ServersPayload,
)

WATCH_S: Final = 2.0
WATCH_JITTER: Final = 0.1
"""After this much silence the home is asked whether it is alive."""

AGAIN_S: Final = 0.15
TRIES: Final = 4
"""Quick inquiries; two round trips after the last, the closer watch begins, which declares a server
silent after two unanswered Pings in half a second. If one datagram in ten is lost, all of these
are lost by chance once in twelve hours."""

LOOK_S: Final = 0.5
"""While no server is up, how often this is checked."""

QUICKER_SHARE: Final = 0.8
QUICKER_S: Final = 0.005
QUICKER_FOR_S: Final = 30.0
"""Another server is a better home if it is quicker by a fifth and by five milliseconds for this
long: each move is an entry put on the bus of the cluster."""

SPREAD_S: Final = 2.0
"""Nodes told where to go by a server that shuts down do so spread over this time."""

SAY_AGAIN_S: Final = 1.0
SAY_GROWTH: Final = 2.0
LONGEST_SAY_S: Final = 60.0
"""An unanswered statement is repeated, with growing pauses up to this."""

_ENTRIES: Any = OtherServers


class Home:
    """Chooses this node's home, announces it, watches it, and leaves it.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports peers that come and go.
        watch: Checks whether a server is alive.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, watch: ServerWatch
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._watch = watch
        self._cluster = state.peers.cluster
        self._told: tuple[ToldServer, ...] = ()
        self._left: Peer | None = None
        """A server that has announced that it shuts down, and where to go."""
        self._alone: frozenset[str] = frozenset()
        """Ids of joined servers that have lost all others: nodes at those others cannot reach this
        node through them."""
        self._timer: Timer | None = None
        self._saying: Timer | None = None
        self._counter = 0
        self._inquiry = Inquiry()
        """The inquiry sent to the home while nothing arrives from it."""
        self._quicker: tuple[Peer, float] | None = None
        """The server that is quicker than the home, and since when."""
        self.on_wanted: Callable[[], None] = lambda: None
        """Called when no joined server is up, and others may be."""
        self.on_taken: Callable[[Peer], None] = lambda _: None
        """Called with each new home."""
        self.on_moved: Callable[[float], None] = lambda _: None
        """Called with the time when the home has changed."""
        self.is_spare: Callable[[Peer], bool] = lambda _: False
        """Whether a server was joined because none that this node was told to join was
        available."""
        if state.seals is not None:
            lifecycle.on_joined.append(self._handle_joined)
            lifecycle.on_left.append(self._handle_left)
            watch.on_silent.append(self._handle_silent)

    @property
    def server(self) -> Peer | None:
        """The home; None while there is none."""
        return self._cluster.home

    @property
    def is_wanted(self) -> bool:
        """Whether this node is at no server."""
        return self.server is None

    @property
    def told(self) -> tuple[ToldServer, ...]:
        """The other servers that this node was told about, in the order in which they are to be
        tried."""
        return self._told

    def has_session_at(self, address: Address) -> bool:
        """Whether this node has a session with the node at an address."""
        return self._state.peers.has_session_at(address)

    def is_home(self, peer: Peer, _content: ServersPayload) -> bool:
        """Whether this node is at a server; a server that was left may not know that yet."""
        return peer is self.server

    def is_in_cluster(self, peer: Peer) -> bool:
        """Whether a peer is a server that may be this node's home: joined, and under seal. Servers
        of the cluster have no home themselves."""
        if peer.seal is None or Capability.CLUSTER not in peer.facts.capabilities:
            return False
        return peer.is_joined_server and Capability.CLUSTER not in self._state.identity.capabilities

    # Servers that come and go.

    def _handle_joined(self, peer: Peer, now: float) -> None:
        if not self.is_in_cluster(peer):
            return
        if peer is self._left:
            self._left = None
        home = self.server
        if (
            home is None
            or home in (peer, self._left)
            or (self.is_spare(home) and not self.is_spare(peer))
        ):
            self._take(peer, now)

    def _handle_left(self, peer: Peer, now: float) -> None:
        spread_s = 0.0
        self._alone -= {peer.node_id}
        if peer is self._left:
            self._left, spread_s = None, SPREAD_S
        if peer is self.server:
            if peer.session.parted:
                self._told = ()  # this node's user does not want to be there
            self._lose(now, spread_s)

    def _handle_silent(self, peer: Peer, now: float) -> None:
        if peer is self.server:
            self._lose(now, 0.0)

    def note_goodbye(self, peer: Peer, content: DisconnectPayload) -> None:
        """A server shuts down; it may say where to go."""
        if content.servers is UNSET or not self.is_in_cluster(peer):
            return
        try:
            entries = decode_payload(content.servers, _ENTRIES)
        except MalformedError:
            self._state.counters.drop("servers_malformed")
            return
        known = {one.node_id: one for one in self._told}
        first = worth_keeping(entries, peer.address, self._state.identity.id)
        told = {one.node_id: one for one in first} | known
        self._told = tuple(told.values())[:MAX_OTHER_SERVERS]
        self._left = peer

    def handle_servers(self, peer: Peer, content: ServersPayload, now: float) -> None:
        """A server names the others; none, if it has lost contact with them."""
        had_others = bool(self._told)
        self._told = worth_keeping(content.servers, peer.address, self._state.identity.id)
        self._cluster.ids = frozenset([one.node_id for one in self._told])
        if content.counter == self._counter:
            if self._saying is not None:
                self._saying.cancel()
        elif content.signature is not UNSET:
            self._go_beyond(peer, content.counter, content.signature, now)
        if self._told:
            self._alone -= {peer.node_id, *self._cluster.ids}
        elif had_others and not content.servers:
            self._alone |= {peer.node_id}
            self._compare(peer, now)

    def _go_beyond(self, server: Peer, counter: int, text: str, now: float) -> None:
        """A server has a higher statement of this node than the last one: from a former run, when
        the clock was ahead. Nobody else can have signed it."""
        seals = self._state.seals
        if seals is None or counter <= self._counter:
            return
        try:
            signature = decode_text(text)
        except SecureError:
            signature = b""
        own, network_id = seals.keys.identity, self._state.identity.network_id
        if not verify_presence(own.keys, own.id, server.node_id, counter, signature, network_id):
            self._state.counters.drop("presence_not_own")
            return
        self._counter = counter
        self._say(now, SAY_AGAIN_S)

    # The choice of a home.

    def _candidates(self, now: float) -> list[Peer]:
        """The servers that are up, the best first, and last any that has announced its shutdown."""
        servers = [
            peer
            for peer in self._state.peers.joined_servers
            if self.is_in_cluster(peer)
            and not (peer.is_silent(now) or self._watch.is_called_silent(peer))
        ]
        return sorted(
            servers,
            key=lambda peer: (peer is self._left, self._rank(peer), _rtt_s(peer)),
        )

    def _rank(self, server: Peer) -> tuple[bool, bool]:
        """What makes a server a worse home than others, however quick it is."""
        return server.node_id in self._alone, self.is_spare(server)

    def _lose(self, now: float, spread_s: float) -> None:
        """The home has been lost: go to the next one within this many seconds."""
        self._cluster.home = self._quicker = None
        if self._saying is not None:
            self._saying.cancel()
        wait_s = self._state.rng.uniform(0.0, spread_s) if spread_s else 0.0
        if wait_s:
            self._plan(now + wait_s, self._seek)
        else:
            self._seek(now)

    def _seek(self, now: float) -> None:
        if self.server is not None or self._state.closing:
            return
        best = next(iter(self._candidates(now)), None)
        if best is not None:
            self._take(best, now)
            self._watch.doubt(best, now)  # what killed the last one may have killed this one too
            return
        if self._told:
            self.on_wanted()
        silent = [peer for peer in self._state.peers.joined_servers if self.is_in_cluster(peer)]
        for peer in silent:
            self._watch.doubt(peer, now)  # it may answer again, or for the first time
        if silent:
            self._plan(now + LOOK_S, self._seek)

    def _take(self, server: Peer, now: float) -> None:
        is_other = self._cluster.take_home(server)
        self._quicker = None
        self._say(now, SAY_AGAIN_S)
        self._plan_watch(now, now)
        self.on_taken(server)
        if is_other:
            self.on_moved(now)

    def _say(self, now: float, pause_s: float) -> None:
        """Sign that this node is here."""
        server, seals = self.server, self._state.seals
        if self._saying is not None:
            self._saying.cancel()
        if server is None or seals is None or self._state.closing:
            return
        self._counter = next_counter(self._counter, self._state.unix_ms(now))
        signature = sign_presence(
            seals.keys.identity, server.node_id, self._counter, self._state.identity.network_id
        )
        content = PresencePayload(self._counter, encode_text(signature))
        payload, kind = encode_payload(content), MessageType.PRESENCE
        self._delivery.send(server, kind, payload, now, reason=Reason.OWN_SESSION)
        longer_s = min(pause_s * SAY_GROWTH, LONGEST_SAY_S)
        self._saying = self._state.timers.schedule(
            now + pause_s, lambda at: self._say(at, longer_s)
        )

    # Whether the home is alive, and the best.

    def _plan(self, when: float, action: Callable[[float], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._state.timers.schedule(when, action)

    def _plan_watch(self, heard_at: float, now: float) -> None:
        jitter = self._state.rng.uniform(1 - WATCH_JITTER, 1 + WATCH_JITTER)
        self._plan(max(heard_at + WATCH_S * jitter, now + LOOK_S), self._ask)

    def _ask(self, now: float) -> None:
        server = self.server
        if server is None or self._state.closing:
            return
        self._compare(server, now)
        if self.server is not server:
            return
        heard_at = server.liveness.last_received
        if now < heard_at + WATCH_S * (1 - WATCH_JITTER):
            self._plan_watch(heard_at, now)
            return
        self._inquiry.begin(self._state.rng, now)
        self._repeat(server, now)

    def _repeat(self, server: Peer, now: float) -> None:
        frame = self._inquiry.write(now)
        grant = self._delivery.grant(server, Reason.OWN_PLAN, now)
        self._delivery.transmit_frame(server, frame, grant)
        wait_s = 2 * (server.channel.srtt or 0.0) if self._inquiry.tries == TRIES else 0.0
        self._plan(now + AGAIN_S + wait_s, self._judge)

    def note_kept_alive(self, peer: Peer, nonce: bytes, now: float) -> bool:
        """A keepalive was answered; returns whether it was sent from here, to the home."""
        if peer is not self.server or not self._inquiry.is_answered_by(nonce):
            return False
        self._inquiry.note_answer(peer, now)
        self._inquiry.end()
        return True

    def _judge(self, now: float) -> None:
        server = self.server
        if server is None:
            return
        heard_at = server.liveness.last_received
        if heard_at < self._inquiry.began_at:
            if self._inquiry.tries < TRIES:
                self._repeat(server, now)
                return
            self._watch.doubt(server, now)
        self._plan_watch(max(heard_at, now - WATCH_S), now)

    def _compare(self, home: Peer, now: float) -> None:
        """Move to a server that has been quicker for long enough or is otherwise preferable: to
        any, if the home has announced its shutdown; to one that can reach the others, if the
        home cannot."""
        others = [one for one in self._candidates(now) if one not in (home, self._left)]
        best = others[0] if others else None
        if best is not None and (self._rank(best) < self._rank(home) or home is self._left):
            self._take(best, now)
            return
        if best is None or self._rank(best) > (False, False) or not _is_quicker(best, home):
            self._quicker = None
        elif self._quicker is None or self._quicker[0] is not best:
            self._quicker = best, now
        elif now >= self._quicker[1] + QUICKER_FOR_S:
            self._take(best, now)


def _rtt_s(server: Peer) -> float:
    rtt_s = server.channel.srtt
    return math.inf if rtt_s is None else rtt_s


def _is_quicker(one: Peer, than: Peer) -> bool:
    rtt_s, other_s = _rtt_s(one), _rtt_s(than)
    if math.isinf(other_s):
        return not math.isinf(rtt_s)
    return rtt_s <= other_s * QUICKER_SHARE and rtt_s <= other_s - QUICKER_S
