"""Keeps the paths to servers open through this node's NAT, and learns how long they may be idle.

A path is opened by an outgoing datagram, so only the side behind the NAT sends, and only while
nothing else has been sent. A server of our own kind answers at once, and once more after as long as
a path is left idle: if the second answer arrives, the NAT keeps a path open for that long; if it
fails to arrive twice, the NAT does not, and keepalives are sent twice as often from then on. No
path is tested for longer than it is left idle anyway: a NAT that takes offence at unsolicited
datagrams sees no more of them because of the test. Whether the server is still there is judged by
heartbeats, not here.
"""

import math
from collections.abc import Callable
from typing import Final

from p2ptui.bounded import BoundedTable, Share
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.nat_binding import NatBinding
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.nat.behavior import NatType
from p2ptui.nat.mapping_life import MappingLife
from p2ptui.wire.address import Address, is_global_ipv6, is_loopback, parse_ip_address
from p2ptui.wire.frames import (
    Keepalive,
    KeptAlive,
    decode_keepalive,
    encode_kept_alive,
)
from p2ptui.wire.message import Capability

RETRY_S: Final = 0.2
"""A keepalive unanswered this long after two round trips is repeated: it was lost, or the path has
changed. A server that does not know an address says so only in answer to a Ping."""
TRIES: Final = 2

GRACE_S: Final = 0.4
"""A late answer may be later than requested by this much, and by two round trips."""

LATE_COPIES: Final = 2
COPY_PAUSE_S: Final = 0.1
"""A late answer is sent twice, in short succession: nobody repeats it if it is lost."""

MAX_LATE: Final = 4
"""Late answers owed to one peer; it asks for one at a time, but others may ask in its name."""

SETTLE_S: Final = 0.5
"""How long to wait after a heartbeat before an idle time begins: its answer is in flight."""

MAX_NETWORKS: Final = 16
"""Networks for which it is remembered how long a path may be idle."""

LONGEST_LATE_S: Final = 120.0
"""The latest answer that anybody is promised."""


class Keepalives:
    """Sends keepalives, answers those of others, and learns.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports peers that come and go.
        own_addresses: Where others on this machine's networks reach it.
        nat_type: What is known about its NAT.
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
        tables = state.tables
        self._bindings: BoundedTable[Address, NatBinding] = tables.add(
            "keepalives", BoundedTable(state.most_peers)
        )
        self._late: BoundedTable[tuple[Peer, bytes], Timer] = tables.add(
            "keepalives",
            BoundedTable(
                lambda: MAX_LATE * state.most_peers(),
                refuses=True,
                full="keepalives_full",
                peer_share=Share(MAX_LATE),
            ),
        )
        self._lives: BoundedTable[str, MappingLife] = BoundedTable(MAX_NETWORKS)
        self._seen_at: BoundedTable[Address, Address] = BoundedTable(state.most_peers)
        self.recall: Callable[[str], float | None] = lambda _: None
        """Called with an outside host; returns what was learnt there before, seconds."""
        self.beat_early: Callable[[Peer, float], bool] = lambda *_: False
        """Called with a server and the time; returns whether a heartbeat was sent that was due
        soon."""
        self.on_learnt: Callable[[str, float], None] = lambda *_: None
        """Called with an outside host and how long a path may be idle there, seconds."""
        self.take_other_answer: Callable[[Peer, bytes, float], bool] = lambda *_: False
        """Called with a peer, the nonce in its answer, and the time, if the inquiry is not from
        here; returns whether another part has sent it."""
        state.find_longest_idle_s = self._shortest_s
        self.note_new_place = self._begin
        """Called with a server that sees this node at another address than before, and the time."""
        lifecycle.on_joined.append(self._begin)
        lifecycle.on_left.append(self._pause)
        lifecycle.on_removed.append(self._forget)

    def __len__(self) -> int:
        return len(self._bindings) + len(self._late)

    # Who comes and goes.

    def _begin(self, peer: Peer, now: float) -> None:
        if not peer.initiated or not peer.is_plain or is_loopback(peer.address[0]):
            return
        binding = self._bindings.get(peer.address)
        if binding is None:
            binding = NatBinding(peer)
            self._bindings.put(peer.address, binding)
        binding.peer = peer
        self._notice_new_mapping(binding)
        binding.seek_rest()
        self._plan(binding, now + SETTLE_S)

    def _notice_new_mapping(self, binding: NatBinding) -> None:
        """A session continues at another port of the same NAT, which had forgotten the previous
        one."""
        before, after = self._seen_at.get(binding.peer.address), binding.peer.public_address
        if after is None:
            return
        self._seen_at.put(binding.peer.address, after)
        if before is not None and before != after and before[0] == after[0]:
            life = self._life(binding.peer)
            if binding.idle_before_s > life.interval_s / 2:  # any sooner, the cause was another one
                self._note(binding.peer, life, life.note_new_port(binding.idle_before_s))

    def _pause(self, peer: Peer, _now: float) -> None:
        binding = self._bindings.get(peer.address)
        if binding is not None and binding.timer is not None:
            binding.timer.cancel()
        for key in self._late.of_peer(peer):
            self._late[key].cancel()
            del self._late[key]

    def _forget(self, peer: Peer, _reason: str) -> None:
        self._bindings.pop(peer.address, None)
        self._seen_at.pop(peer.address, None)

    def forget_idle(self) -> None:
        """The machine moved: new mappings then say nothing about their lifetime."""
        for binding in self._bindings.values():
            binding.seek_rest()
            binding.forget_misses()
        self._seen_at.clear()

    # Timers.

    def _needs(self, peer: Peer) -> bool:
        """Whether there is a NAT or a firewall between this node and a server. There is none if the
        server sees this node at one of its own addresses, unless the diagnosis found a firewall.
        Over IPv6, where addresses are hardly ever translated but home routers let in only
        answers, there is one unless the diagnosis found none."""
        if not peer.is_joined_server:
            return False
        seen = peer.public_address
        own = (*self._own_addresses(), self._listens_at)
        if seen is None or seen not in own:
            return True
        found = self._nat_type()
        return found is NatType.FIREWALL or (is_global_ipv6(seen[0]) and found is not NatType.OPEN)

    def _plan(self, binding: NatBinding, when: float) -> None:
        if binding.timer is not None:
            binding.timer.cancel()
        binding.timer = self._state.timers.schedule(when, lambda now: self._act(binding, now))

    def _act(self, binding: NatBinding, now: float) -> None:
        peer = binding.peer
        if not peer.is_authenticated:
            return
        life = self._life(peer)
        if not self._needs(peer):
            self._plan(binding, now + life.pause_s)
        elif binding.inquiry.nonce and binding.traffic is None:
            self._repeat(binding, now)
        elif binding.inquiry.nonce:
            self._judge_silence(binding, now)
        elif Capability.KEEPALIVE not in peer.capabilities:
            self._keep_plainly(binding, life, now)
        elif not life.is_seen and self._is_undisturbed(binding, life, now):
            self._ask(binding, binding.trial_s, now)
        elif binding.is_beat_missed:
            self._ask(binding, 0.0, now)
        elif now >= binding.last_left + life.pause_s:
            self._keep(binding, life, now)
        else:
            self._plan(binding, self._due(binding, life, now))

    def _due(self, binding: NatBinding, life: MappingLife, now: float) -> float:
        due = binding.last_left + life.pause_s
        behind_beat = binding.peer.session.next_step_at + SETTLE_S
        if not life.is_seen and behind_beat > now:
            due = min(due, behind_beat)  # there is room for a test
        return due

    def _is_undisturbed(self, binding: NatBinding, life: MappingLife, now: float) -> bool:
        binding.trial_s = min(binding.trial_s, life.bound_s)
        if any(self._late.of_peer(binding.peer)):
            return False
        return binding.peer.session.next_step_at > now + binding.trial_s + self._grace_s(
            binding.peer
        )

    @staticmethod
    def _grace_s(peer: Peer) -> float:
        return GRACE_S + 2 * (peer.channel.srtt or 0.0)

    def _keep(self, binding: NatBinding, life: MappingLife, now: float) -> None:
        """In the open, a heartbeat that is due soon serves as a keepalive, and wakes the server up
        only once. It has the same time for its answer; otherwise a keepalive follows. Under seal
        the answer to a keepalive proves as much as a Pong, and the heartbeat waits."""
        idle_s = now - binding.last_left
        may_beat = life.is_seen and not binding.peer.is_secured
        if not (may_beat and self.beat_early(binding.peer, now)):
            self._ask(binding, 0.0, now)
            return
        binding.idle_before_s, binding.beat_at = idle_s, now
        self._plan(binding, now + RETRY_S + 2 * (binding.peer.channel.srtt or 0.0))

    def _keep_plainly(self, binding: NatBinding, life: MappingLife, now: float) -> None:
        """Send a Ping, which every program accepts."""
        due = binding.last_left + life.pause_s
        if now >= due:
            binding.idle_before_s = now - binding.last_left
            self._delivery.ping(binding.peer, now)
            due = now + life.pause_s  # whether it was sent or not
        self._plan(binding, due)

    def note_heartbeat(self, peer: Peer, now: float) -> None:
        """A server pings this node: a trial is disturbed, and begins anew behind it."""
        if not peer.initiated:
            return  # most peers that ping this node are not its servers
        binding = self._bindings.get(peer.address)
        if binding is None:
            self._begin(peer, now)  # it may have become a server of this node meanwhile
        elif binding.traffic is not None and not self._life(peer).is_seen:
            binding.break_off(now)
            self._plan(binding, now + SETTLE_S)

    # The exchange.

    def _ask(self, binding: NatBinding, later_s: float, now: float) -> None:
        binding.traffic, binding.beat_at = None, -math.inf
        binding.idle_before_s = now - binding.last_left
        binding.inquiry.begin(self._state.rng, now, later_s)
        self._repeat(binding, now)

    def _repeat(self, binding: NatBinding, now: float) -> None:
        life = self._life(binding.peer)
        if binding.inquiry.tries == TRIES:
            binding.inquiry.end()
            self._delivery.ping(binding.peer, now)
            self._plan(binding, now + life.pause_s)
            return
        frame = binding.inquiry.write(now)
        grant = self._delivery.grant(binding.peer, Reason.OWN_PLAN, now)
        self._delivery.transmit_frame(binding.peer, frame, grant)
        self._plan(binding, now + RETRY_S + 2 * (binding.peer.channel.srtt or 0.0))

    def receive(self, peer: Peer, data: bytes, now: float) -> None:
        """Take a keepalive, or the answer to one."""
        frame = decode_keepalive(data)
        if frame is None:
            self._state.counters.drop("bad_frame")
            return
        peer.liveness.hear(now)
        if isinstance(frame, Keepalive):
            self._answer(peer, frame, now)
            return
        binding = self._bindings.get(peer.address)
        if binding is None or not binding.inquiry.is_answered_by(frame.nonce):
            if not self.take_other_answer(peer, frame.nonce, now):
                self._state.counters.drop("keepalive_unasked")
            return
        binding.inquiry.note_answer(peer, now, is_late=frame.is_late)
        if not frame.is_late:
            self._handle_first(binding, now)
        elif binding.traffic is not None and binding.inquiry.later_s:
            self._handle_late(binding, now)

    def _handle_first(self, binding: NatBinding, now: float) -> None:
        if binding.traffic is not None:
            return
        if not binding.inquiry.later_s:
            binding.inquiry.end()
            self._plan(binding, self._due(binding, self._life(binding.peer), now))
            return
        binding.traffic = binding.peer.bytes_in, binding.peer.bytes_out
        binding.sent_by_all = self._state.counters.datagrams_out
        inquiry = binding.inquiry
        self._plan(binding, inquiry.sent_at + inquiry.later_s + self._grace_s(binding.peer))

    def _handle_late(self, binding: NatBinding, now: float) -> None:
        peer = binding.peer
        others_in = peer.bytes_in - self._state.gate.arrived_bytes
        is_clean = binding.traffic == (others_in, peer.bytes_out)
        binding.end()
        binding.note_late_answer(is_clean=is_clean)
        if is_clean and binding.sent_by_all == self._state.counters.datagrams_out:
            self._learn(peer, open_s=now - binding.inquiry.sent_at)
        self._plan(binding, now + SETTLE_S)

    def _judge_silence(self, binding: NatBinding, now: float) -> None:
        """The second answer stayed away."""
        peer = binding.peer
        is_clean = binding.traffic == (peer.bytes_in, peer.bytes_out)
        binding.end()
        if not is_clean:
            binding.break_off(now)
            self._plan(binding, now)
            return
        if closed_s := binding.note_miss():
            self._learn(peer, closed_s=closed_s)
        # The path may be closed: it is opened at once and, if there is time, tested again.
        is_tried = self._is_undisturbed(binding, self._life(peer), now)
        self._ask(binding, binding.trial_s if is_tried else 0.0, now)

    # Results.

    def _life(self, peer: Peer) -> MappingLife:
        return self._life_in(_network_of(peer))

    def _life_in(self, network: str) -> MappingLife:
        life = self._lives.get(network)
        if life is None:
            life = MappingLife(self.recall(network) if network else None)
            self._lives.put(network, life)
        self._lives.touch(network)  # entries in use are not evicted for others
        return life

    def _learn(self, peer: Peer, *, open_s: float = 0.0, closed_s: float = 0.0) -> None:
        life = self._life(peer)
        is_news = life.note_closed(closed_s) if closed_s else life.note_open(open_s)
        if closed_s:
            for binding in self._bindings.values():  # the counted misses were at longer times
                binding.forget_misses()
        self._note(peer, life, is_news)

    def _note(self, peer: Peer, life: MappingLife, is_news: bool) -> None:
        if is_news and peer.public_address is not None:
            self.on_learnt(peer.public_address[0], life.bound_s)

    def note_measured(self, host: str, lifetime_s: float) -> None:
        """The lifetime of mappings was measured.

        Args:
            host: The outside address of the network.
            lifetime_s: Seconds.
        """
        life = self._life_in(host)
        life.note_measured(lifetime_s)
        self.on_learnt(host, life.bound_s)

    def _shortest_s(self) -> float:
        """How long a path may be idle in every network that paths currently lead through."""
        networks = {_network_of(binding.peer) for binding in self._bindings.values()}
        return min((self._life_in(network).interval_s for network in networks), default=math.inf)

    # The server's part.

    def _answer(self, peer: Peer, asked: Keepalive, now: float) -> None:
        if Capability.KEEPALIVE not in peer.capabilities:
            self._state.counters.drop("bad_frame")
            return
        if asked.later_s:
            if not self._makes_way(peer, now):
                return
            self._forget_late(peer, asked)
            due = now + min(asked.later_s, LONGEST_LATE_S)
            if not self._owe(peer, asked, LATE_COPIES, due):
                return  # what is not promised is not missed: no first answer, nothing is learnt
        self._send_answer(peer, KeptAlive(asked.nonce, is_late=False), now)

    def _forget_late(self, peer: Peer, asked: Keepalive) -> None:
        """Forget the answers promised to a peer before it asked again: in the open only those to
        the same inquiry, since others may ask in its name; under seal all of them, since they
        would only disturb the next test."""
        for key in list(self._late.of_peer(peer)):
            if peer.is_secured or key[1] == asked.nonce:
                self._late[key].cancel()
                del self._late[key]

    def _makes_way(self, peer: Peer, now: float) -> bool:
        """Whether a test by a peer may begin; one by this node on the same path may have to end."""
        binding = self._bindings.get(peer.address)
        if binding is None or not binding.is_tried:
            return True
        if self._state.identity.id < peer.node_id:
            return False
        binding.seek_rest()
        self._plan(binding, now + SETTLE_S)
        return True

    def _owe(self, peer: Peer, asked: Keepalive, copies: int, due: float) -> bool:
        """Send this many late copies of an answer from `due` on; returns whether there was room for
        that."""
        timer = self._state.timers.schedule(
            due, lambda at: self._answer_late(peer, asked, copies, at)
        )
        if self._late.put((peer, asked.nonce), timer, peers=(peer,)):
            return True
        timer.cancel()
        return False

    def _answer_late(self, peer: Peer, asked: Keepalive, left: int, now: float) -> None:
        self._send_answer(peer, KeptAlive(asked.nonce, is_late=True), now)
        if left > 1:
            self._owe(peer, asked, left - 1, now + COPY_PAUSE_S)
            return
        del self._late[peer, asked.nonce]
        binding = self._bindings.get(peer.address)
        if (
            binding is not None and not binding.inquiry.nonce
        ):  # a trial of this node has waited for this
            self._plan(binding, now + SETTLE_S)

    def _send_answer(self, peer: Peer, answer: KeptAlive, now: float) -> None:
        data = encode_kept_alive(answer)
        if not peer.has_room(len(data)):
            return
        self._delivery.transmit_frame(peer, data)
        binding = self._bindings.get(peer.address)
        if binding is not None:
            binding.note_answered(now)


def _network_of(peer: Peer) -> str:
    """The outside address of the network on the path to a server; "": unknown."""
    return "" if peer.public_address is None else peer.public_address[0]
