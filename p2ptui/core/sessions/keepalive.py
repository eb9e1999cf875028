"""Keeps the ways to servers open through this node's NAT, and sees for how long they may be idle.

What opens a way is a datagram that leaves; so only the side behind the NAT sends, and only while
nothing else left. A server of our own kind answers at once and once more after the time that a way
is left idle: if the second answer comes, the NAT keeps a way open for so long; if it stays away
twice, it does not, and keepalives leave twice as often from then on. No way is ever tried for
longer than it is left idle anyway: a NAT that takes offence at what comes unasked sees no more of
that for the trial. Whether anybody is still there is not judged here, but by heartbeats.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.nat.behavior import NatType
from p2ptui.nat.mapping_life import SHORTEST_S, USUAL_S, MappingLife
from p2ptui.wire.address import Address, is_global_ipv6, is_loopback, parse_ip_address
from p2ptui.wire.frames import (
    KEEPALIVE_NONCE_BYTES,
    Keepalive,
    KeptAlive,
    decode_keepalive,
    encode_keepalive,
    encode_kept_alive,
)
from p2ptui.wire.message import Capability

RETRY_S: Final = 0.2
"""A keepalive that is not answered so long after two round trips is sent again: it was lost, or the
way has changed. A server that does not know an address says so to a Ping, and only then."""
TRIES: Final = 2

GRACE_S: Final = 0.4
"""A late answer may be later than asked for by so long, and by two round trips."""

LATE_COPIES: Final = 2
COPY_PAUSE_S: Final = 0.1
"""A late answer is sent twice, one soon after the other: nobody repeats it if it is lost."""

MAX_LATE: Final = 4
"""Late answers that one peer is owed; it asks for one at a time, others may ask in its name."""

MISSES: Final = 2
"""So many late answers in a row must stay away: at 10 % loss one does now and then."""

SETTLE_S: Final = 0.5
"""After a heartbeat so long is waited before an idle time begins: its answer is under way."""

TRIAL_SHARE: Final = 0.75
"""A trial that other traffic disturbed is followed by one that is shorter by this."""

MAX_NETWORKS: Final = 16
"""Networks of which it is remembered how long a way may be idle."""

LONGEST_LATE_S: Final = 120.0
"""Nobody is promised an answer later than this."""


@dataclass(slots=True, eq=False)
class _Way:
    """The way to one server."""

    peer: Peer
    timer: Timer | None = None
    nonce: bytes = b""
    tries: int = 0
    sent_at: float = -math.inf
    """When the last keepalive left."""
    idle_before_s: float = 0.0
    """How long nothing had left before it."""
    later_s: float = 0.0
    """After what time it is to be answered once more."""
    traffic: tuple[int, int] | None = None
    """Bytes in and out when its first answer came: what comes later disturbs the trial."""
    sent_by_all: int = 0
    """What had left for anybody by then: many NATs have one mapping for all, and it stays open."""
    trial_s: float = USUAL_S
    """How long the next trial leaves it idle."""
    misses: int = 0
    """Late answers in a row that stayed away."""

    @property
    def last_left(self) -> float:
        return max(self.peer.last_sent, self.sent_at)


class Keepalives:
    """Sends keepalives, answers those of others, and learns.

    Args:
        state: The shared ground.
        delivery: The way out.
        lifecycle: Tells who comes and goes.
        own_addresses: Where others on this machine's networks reach it.
        nat_type: What is known of its NAT.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        own_addresses: Callable[[], tuple[Address, ...]],
        nat_type: Callable[[], NatType],
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._own_addresses = own_addresses
        self._nat_type = nat_type
        self._listens_at = parse_ip_address(state.identity.listen_addr)
        self._ways: dict[Address, _Way] = {}
        self._late: dict[Peer, dict[bytes, Timer]] = {}
        self._lives: OrderedDict[str, MappingLife] = OrderedDict()
        self._seen_at: dict[Address, Address] = {}
        self.recall: Callable[[str], float | None] = lambda _: None
        """Called with an outside host; what was learnt there before, seconds."""
        self.on_learnt: Callable[[str, float], None] = lambda *_: None
        """Called with an outside host and for how long a way may be idle there, seconds."""
        state.find_longest_idle_s = self._shortest_s
        lifecycle.on_joined.append(self._begin)
        lifecycle.on_left.append(self._pause)
        lifecycle.on_removed.append(self._forget)

    def __len__(self) -> int:
        return len(self._ways) + sum(map(len, self._late.values()))

    # Who comes and goes.

    def _begin(self, peer: Peer, now: float) -> None:
        if not peer.initiated or not peer.is_plain or is_loopback(peer.address[0]):
            return
        way = self._ways.setdefault(peer.address, _Way(peer))
        way.peer = peer
        self._notice_new_mapping(way)
        self._seek_rest(way)
        self._plan(way, now + SETTLE_S)

    def _notice_new_mapping(self, way: _Way) -> None:
        """A session goes on at another port of the same NAT: it had forgotten the one before."""
        before, after = self._seen_at.get(way.peer.address), way.peer.public_address
        if after is None:
            return
        self._seen_at[way.peer.address] = after
        if before is not None and before != after and before[0] == after[0]:
            life = self._life(way.peer)
            if way.idle_before_s > life.interval_s / 2:  # sooner, it was another cause
                self._note(way.peer, life, life.note_new_port(way.idle_before_s))

    def _pause(self, peer: Peer, _now: float) -> None:
        way = self._ways.get(peer.address)
        if way is not None and way.timer is not None:
            way.timer.cancel()
        for late in self._late.pop(peer, {}).values():
            late.cancel()

    def _forget(self, peer: Peer, _reason: str) -> None:
        self._ways.pop(peer.address, None)
        self._seen_at.pop(peer.address, None)

    def forget_idle(self) -> None:
        """The machine moved: that its mappings are others says nothing of their lifetime."""
        for way in self._ways.values():
            self._seek_rest(way)
            way.misses = 0
        self._seen_at.clear()

    # When it is time.

    def _needs(self, peer: Peer) -> bool:
        """Whether there is a NAT, or a firewall, between this node and a server.

        There is none if the server sees this node at one of its own addresses, unless the
        diagnosis found a firewall. Over IPv6, where hardly anything is translated and routers at
        home let in answers only, there is one unless it found that there is none.
        """
        if not peer.is_joined_server:
            return False
        seen = peer.public_address
        own = (*self._own_addresses(), self._listens_at)
        if seen is None or seen not in own:
            return True
        found = self._nat_type()
        return found is NatType.FIREWALL or (is_global_ipv6(seen[0]) and found is not NatType.OPEN)

    def _plan(self, way: _Way, when: float) -> None:
        if way.timer is not None:
            way.timer.cancel()
        way.timer = self._state.timers.schedule(when, lambda now: self._act(way, now))

    def _act(self, way: _Way, now: float) -> None:
        peer = way.peer
        if not peer.is_authenticated:
            return
        life = self._life(peer)
        if not self._needs(peer):
            self._plan(way, now + life.interval_s)
        elif way.nonce and way.traffic is None:
            self._repeat(way, now)
        elif way.nonce:
            self._judge_silence(way, now)
        elif Capability.KEEPALIVE not in peer.capabilities:
            self._keep_plainly(way, life, now)
        elif not life.is_seen and self._is_undisturbed(way, life, now):
            self._ask(way, way.trial_s, now)
        elif now >= way.last_left + life.interval_s:
            self._ask(way, 0.0, now)
        else:
            self._plan(way, self._due(way, life, now))

    def _due(self, way: _Way, life: MappingLife, now: float) -> float:
        due = way.last_left + life.interval_s
        behind_beat = _next_beat(way.peer) + SETTLE_S
        if not life.is_seen and behind_beat > now:
            due = min(due, behind_beat)  # there a trial has room
        return due

    def _is_undisturbed(self, way: _Way, life: MappingLife, now: float) -> bool:
        way.trial_s = min(way.trial_s, life.bound_s)
        return _next_beat(way.peer) > now + way.trial_s + self._grace_s(way.peer)

    @staticmethod
    def _grace_s(peer: Peer) -> float:
        return GRACE_S + 2 * (peer.channel.rtt.srtt or 0.0)

    def _keep_plainly(self, way: _Way, life: MappingLife, now: float) -> None:
        """A Ping is what every program accepts."""
        due = way.last_left + life.interval_s
        if now >= due:
            way.idle_before_s = now - way.last_left
            self._delivery.ping(way.peer, now)
            due = now + life.interval_s  # whether it left or not
        self._plan(way, due)

    def note_heartbeat(self, peer: Peer, now: float) -> None:
        """A server pings this node: a trial is disturbed, and begins anew behind it."""
        way = self._ways.get(peer.address)
        if way is None:
            self._begin(peer, now)  # it may have become a server of this node meanwhile
        elif way.traffic is not None and not self._life(peer).is_seen:
            self._shorten(way)
            self._plan(way, now + SETTLE_S)

    @staticmethod
    def _shorten(way: _Way) -> None:
        """A trial was disturbed: the next one is shorter, so that there is a pause for it."""
        way.nonce, way.traffic = b"", None
        way.trial_s = max(TRIAL_SHARE * way.trial_s, SHORTEST_S)

    @staticmethod
    def _seek_rest(way: _Way) -> None:
        """Nothing is asked any more."""
        way.nonce, way.traffic = b"", None
        way.idle_before_s = 0.0

    # The exchange.

    def _ask(self, way: _Way, later_s: float, now: float) -> None:
        way.nonce = self._state.rng.getrandbits(8 * KEEPALIVE_NONCE_BYTES).to_bytes(
            KEEPALIVE_NONCE_BYTES, "big"
        )
        way.later_s, way.traffic, way.tries = later_s, None, 0
        way.idle_before_s = now - way.last_left
        self._repeat(way, now)

    def _repeat(self, way: _Way, now: float) -> None:
        life = self._life(way.peer)
        if way.tries == TRIES:
            way.nonce = b""
            self._delivery.ping(way.peer, now)
            self._plan(way, now + life.interval_s)
            return
        way.tries += 1
        way.sent_at = now
        frame = encode_keepalive(Keepalive(way.nonce, way.later_s))
        self._delivery.transmit_frame(way.peer, frame)
        self._plan(way, now + RETRY_S + 2 * (way.peer.channel.rtt.srtt or 0.0))

    def receive(self, peer: Peer, data: bytes, now: float) -> None:
        """Take a keepalive, or the answer to one."""
        frame = decode_keepalive(data)
        if frame is None:
            self._state.counters.drop("bad_frame")
            return
        peer.last_received = now
        if isinstance(frame, Keepalive):
            self._answer(peer, frame, now)
            return
        way = self._ways.get(peer.address)
        if way is None or not way.nonce or frame.nonce != way.nonce:
            self._state.counters.drop("keepalive_unasked")
        elif not frame.is_late:
            self._handle_first(way, now)
        elif way.traffic is not None and way.later_s:
            self._handle_late(way, len(data), now)

    def _handle_first(self, way: _Way, now: float) -> None:
        if way.traffic is not None:
            return
        if not way.later_s:
            way.nonce = b""
            self._plan(way, self._due(way, self._life(way.peer), now))
            return
        way.traffic = way.peer.bytes_in, way.peer.bytes_out
        way.sent_by_all = self._state.counters.datagrams_out
        self._plan(way, way.sent_at + way.later_s + self._grace_s(way.peer))

    def _handle_late(self, way: _Way, size: int, now: float) -> None:
        peer = way.peer
        is_clean = way.traffic == (peer.bytes_in - size, peer.bytes_out)
        way.nonce, way.traffic, way.misses = b"", None, 0
        if is_clean:
            way.trial_s /= TRIAL_SHARE
        if is_clean and way.sent_by_all == self._state.counters.datagrams_out:
            self._learn(peer, open_s=now - way.sent_at)
        self._plan(way, now + SETTLE_S)

    def _judge_silence(self, way: _Way, now: float) -> None:
        """The second answer stayed away."""
        peer = way.peer
        is_clean = way.traffic == (peer.bytes_in, peer.bytes_out)
        way.nonce, way.traffic = b"", None
        if not is_clean:
            self._shorten(way)
            self._plan(way, now)
            return
        way.misses += 1
        if way.misses == MISSES:
            self._learn(peer, closed_s=way.later_s)
        # The way may be closed: it is opened at once, and if there is time, tried again.
        is_tried = self._is_undisturbed(way, self._life(peer), now)
        self._ask(way, way.trial_s if is_tried else 0.0, now)

    # What was learnt.

    def _life(self, peer: Peer) -> MappingLife:
        return self._life_in(_network_of(peer))

    def _life_in(self, network: str) -> MappingLife:
        life = self._lives.get(network)
        if life is None:
            life = self._lives[network] = MappingLife(self.recall(network) if network else None)
            if len(self._lives) > MAX_NETWORKS:
                self._lives.popitem(last=False)
        self._lives.move_to_end(network)  # what is in use is not forgotten for what is not
        return life

    def _learn(self, peer: Peer, *, open_s: float = 0.0, closed_s: float = 0.0) -> None:
        life = self._life(peer)
        is_news = life.note_closed(closed_s) if closed_s else life.note_open(open_s)
        if closed_s:
            for way in self._ways.values():  # what was counted was of longer times
                way.misses = 0
        self._note(peer, life, is_news)

    def _note(self, peer: Peer, life: MappingLife, is_news: bool) -> None:
        if is_news and peer.public_address is not None:
            self.on_learnt(peer.public_address[0], life.bound_s)

    def note_measured(self, host: str, lifetime_s: float) -> None:
        """How long mappings live was measured.

        Args:
            host: The outside address of the network.
            lifetime_s: Seconds.
        """
        life = self._life_in(host)
        life.note_measured(lifetime_s)
        self.on_learnt(host, life.bound_s)

    def _shortest_s(self) -> float:
        """Of the networks that ways lead through now: a way may be idle for so long in all."""
        networks = {_network_of(way.peer) for way in self._ways.values()}
        return min((self._life_in(network).interval_s for network in networks), default=math.inf)

    # The server's part.

    def _answer(self, peer: Peer, asked: Keepalive, now: float) -> None:
        if Capability.KEEPALIVE not in peer.capabilities:
            self._state.counters.drop("bad_frame")
            return
        if asked.later_s:
            owed = self._late.setdefault(peer, {})
            if asked.nonce in owed:
                owed.pop(asked.nonce).cancel()
            if len(owed) >= MAX_LATE:
                # What is not promised is not missed: no first answer, and nothing is learnt.
                self._state.counters.drop("keepalives_full")
                return
            owed[asked.nonce] = self._state.timers.schedule(
                now + min(asked.later_s, LONGEST_LATE_S),
                lambda at: self._answer_late(peer, asked, LATE_COPIES, at),
            )
        self._send_answer(peer, KeptAlive(asked.nonce, is_late=False))

    def _answer_late(self, peer: Peer, asked: Keepalive, left: int, now: float) -> None:
        self._send_answer(peer, KeptAlive(asked.nonce, is_late=True))
        owed = self._late[peer]
        if left > 1:
            owed[asked.nonce] = self._state.timers.schedule(
                now + COPY_PAUSE_S, lambda at: self._answer_late(peer, asked, left - 1, at)
            )
            return
        del owed[asked.nonce]
        if not owed:
            del self._late[peer]

    def _send_answer(self, peer: Peer, answer: KeptAlive) -> None:
        data = encode_kept_alive(answer)
        if peer.has_room(len(data)):
            self._delivery.transmit_frame(peer, data)


def _next_beat(peer: Peer) -> float:
    """When the session's timer is due: most often with a heartbeat."""
    timer = peer.timer
    return math.inf if timer is None or timer.action is None else timer.when


def _network_of(peer: Peer) -> str:
    """The outside address of the network that the way to a server leads through; "": unknown."""
    return "" if peer.public_address is None else peer.public_address[0]
