"""A whole endpoint in the middle of sessions, relays, searches and transfers.

The first byte chooses one of the states of `tests.fuzz.states`, the second what happens at the end.
The rest is a row of steps: how much time passes, who sends, and what: a datagram that came or would
come, altered by the grammar or not, one that is made up, an answer to what was sent last, or what
the node's own user does, who also reads, or does not. What must hold is looked at after each.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from p2ptui.core.accounts import DATAGRAMS_EACH, Reason
from p2ptui.core.addresses import visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import (
    DataDropped,
    DatagramDue,
    DataReceived,
    FlowProbeWanted,
    NatFactsWanted,
    SocketsDone,
    SocketsWanted,
    StunReplyDue,
)
from p2ptui.core.peers import Peer
from p2ptui.errors import LocalError
from p2ptui.node.subscription import Subscription
from p2ptui.wire.address import Address
from tests.fuzz.choices import Choices
from tests.fuzz.grammar import (
    THIRD_PARTY,
    Vocabulary,
    alter,
    damage,
    new_frame,
    new_message,
    splice,
)
from tests.fuzz.states import Arrival, Script, scripts

MAX_BYTES: Final = 2400
"""Of one case."""

MAX_STEPS: Final = 120
PASSES_S: Final = (*(0.0, 0.001, 0.01, 0.05) * 8, *(0.0,) * 28, 0.3, 0.3, 1.5, 12.0)
"""What a step begins with: a heartbeat, or the end of what waits, comes seldom."""
STRANGERS: Final[tuple[Address, ...]] = (
    *((f"203.0.113.{host}", 9000) for host in range(101, 109)),
    *(("203.0.113.200", 9000 + port) for port in range(8)),
    *((f"198.18.{net}.1", 9000) for net in range(8)),
)
"""Addresses of nobody who had any part in it before."""

REST_S: Final = 130.0
"""After so long without a word from anybody, what was under way has ended."""

MAX_STEPS_IN_A_ROW: Final = 500
MAX_TIMER_STEPS_PER_S: Final = 1200
"""Sending is paced at a grain of 1 ms."""

MAX_TO_THIRD_PARTY: Final = DATAGRAMS_EACH * MAX_STEPS
"""Datagrams to a host that others named and that has never sent anything: each order is worth so
many, and each step is one order at most."""

OWN_REASONS: Final = (Reason.USER_ASKED, Reason.OWN_SESSION, Reason.OWNER_CHECK)
"""What is granted to addresses that have not earned it, within bounds of its own."""

READER_BYTES: Final = 40_000
"""What may wait for the program that reads: less than some messages have."""

SIZES_EVERY: Final = 8
"""Steps between two looks at all tables."""

EMPTY_AT_THE_END: Final = (
    *("peers", "timers", "relays", "queries", "lists", "routed_waiting", "id_disputes"),
    *(
        "reassembly_bytes",
        "senders_waiting",
        "early_messages",
        "membership_questions",
        "traversals",
    ),
    *("sessions_awaited", "pings_awaited", "resumptions", "relay_waiting_bytes", "stun_in_work"),
)

LIMITS: Final[dict[str, Callable[[Endpoint], int]]] = {
    "peers": lambda e: 2 * e.config.server.max_connections,
    "routes": lambda e: e.config.routing.max_routes,
    "routes_seen": lambda e: e.config.routing.max_seen,
    "introductions": lambda e: e.config.routing.introductions_max,
    "relays": lambda e: e.config.traffic_forwarding.max_concurrent_relays,
    "reassembly_bytes": lambda e: e.config.reliability.reassembly_bytes_total,
    "id_disputes": lambda e: e.config.security.max_unauthenticated_connections,
    "early_senders": lambda _: 64,
    "early_messages": lambda _: 256,
    "relayed_nodes": lambda e: e.config.server.max_connections // 2,
    "relayed_unsettled": lambda _: 256,
    "timers": lambda e: 60 + 30 * e.config.server.max_connections,
}
"""What the tables hold at most, of those whose limits a case may reach."""

_HOST: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")

MAX_OTHERS: Final = 4096
"""No other table grows to this within a case."""


@dataclass
class Account:
    """What came from an address or a host, and what went there."""

    heard: bool = False
    datagrams_in: int = 0
    handshakes_in: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    """JSON and frames."""
    stun_in: int = 0
    stun_out: int = 0
    datagrams_out: int = 0
    """Likewise."""

    @property
    def most_datagrams(self) -> int:
        """What it may be sent: see docs/limits.md."""
        return DATAGRAMS_EACH * self.datagrams_in + 6 * self.handshakes_in


FED: Final[Counter[str]] = Counter()
"""What all cases of this process have fed: datagrams."""


@cache
def _words(number: int) -> Vocabulary:
    script, words = scripts()[number], Vocabulary()
    for arrival in script.arrivals:
        words.learn(arrival.data)
    for data in script.own:
        words.learn(data)
    return words


def test_one(data: bytes) -> None:
    """One case."""
    choices = Choices(data)
    number = choices.byte() % len(scripts())
    ends = choices.byte()
    run = Run(scripts()[number], _words(number))
    for _ in range(MAX_STEPS):
        if not choices:
            break
        run.step(choices)
    if ends & 31 == 1:
        run.rest()
    elif ends & 31 == 2:
        run.end()


class Run:
    """One endpoint, and all that a case does to it.

    Args:
        script: What it has lived through.
        words: What was said meanwhile.
    """

    def __init__(self, script: Script, words: Vocabulary) -> None:
        self.script = script
        self.words = words
        self.endpoint = script.replay()
        self.now = script.now
        self._known = {arrival.source[0] for arrival in script.arrivals}
        self._known |= {address[0].rpartition("@")[2] for address, _ in script.peers}
        self._accounts: dict[Address, Account] = {}
        self._hosts: Counter[str] = Counter()
        self._named = set(_HOST.findall(script.text))
        self._answered: set[Address] = set()
        self._changed: set[Address] = set()
        self._steps = 0
        self._sockets = list(script.sockets)
        self._last: deque[tuple[bytes, Address]] = deque(maxlen=16)
        self._next_socket = 1 + max((0, *script.sockets))
        self._future = script.arrivals
        self._steps_in_a_row = self._timer_steps = 0
        self._second = int(self.now)
        self.endpoint.counters.drops.clear()
        self._reader = Subscription(1000, self.endpoint.readers.open(READER_BYTES))
        self._settle()

    # One step.

    def step(self, choices: Choices) -> None:
        """Let time pass, and something happen."""
        head = choices.byte()
        self.advance(self.now + PASSES_S[head % len(PASSES_S)])
        what = choices.byte()
        if what < 24:
            self._act(choices)
        elif what < 48:
            self._answer(choices)
        else:
            arrival = self._arrival(what, choices)
            self._receive(arrival)
        self.check()

    def _arrival(self, what: int, choices: Choices) -> Arrival:
        template = choices.one(self.script.arrivals)
        data, source, socket = template
        if what < 80:
            return template
        if what < 190:
            data = alter(data, choices, self.words)
        elif what < 215:
            data = new_message(choices, self.words)
        elif what < 230:
            data = new_frame(choices)
        elif what < 238:
            data = choices.take(choices.byte())
        elif what < 246:
            data = splice(data, choices.one(self.script.arrivals).data, choices)
        else:
            data = damage(data, choices)
        place = choices.byte()
        if place > 200:
            source = choices.one(STRANGERS)
        elif place > 150:
            source = choices.one(self.script.arrivals).source
        elif place > 140 and self._sockets:
            socket = choices.one(self._sockets)
        return Arrival(data, source, socket)

    def _receive(self, arrival: Arrival) -> None:
        data, source, socket = arrival
        FED["datagrams"] += 1
        account = self._accounts.setdefault(source, Account())
        account.heard = True
        account.datagrams_in += 1
        account.handshakes_in += b"HandshakeRequest" in data
        account.bytes_in += len(data)
        account.stun_in += data[:1] < b"\4"
        if THIRD_PARTY.encode() in data or b"2001:db8::77" in data:
            self._named.update((THIRD_PARTY, "2001:db8::77"))
        if socket and socket in self._sockets:
            self.endpoint.receive_beside(data, source, socket, self.now)
        else:
            self.endpoint.receive_datagram(data, source, self.now)
        self._settle()

    def _answer(self, choices: Choices) -> None:
        """Answer one of the datagrams that left last, as its receiver would."""
        if not self._last:
            return
        data, to = choices.one(self._last)
        if data[:1] != b"{":
            return
        message = json.loads(data)
        answer: dict[str, Any] = {"id": f"{choices.bits(32):08x}", "timestamp": 1}
        if message["message_type"] == "Ping":
            answer |= {"message_type": "Pong", "payload": message["payload"]}
        elif message.get("requires_ack"):
            number = message["sequence_number"]
            answer |= {
                "message_type": "Ack",
                "ack_for": message["id"] if number is None else number,
            }
        else:
            return
        self._answered.add(to)
        self._receive(Arrival(json.dumps(answer).encode(), to, 0))

    def _act(self, choices: Choices) -> None:
        """Do what the user of a node does."""
        endpoint, now = self.endpoint, self.now
        # What a user asks of strangers is paid for otherwise.
        peers = [peer for peer in endpoint.peers if peer.is_authenticated and self._knows(peer)]
        node_id = choices.one(self.script.peers)[1]
        taken_over = endpoint.peers.with_id(node_id)
        if not peers or (taken_over is not None and not self._knows(taken_over)):
            return
        peer, size = choices.one(peers), choices.byte()
        actions: tuple[Callable[[], object], ...] = (
            lambda: endpoint.send(peer, "x" * 200 * size, now),
            lambda: endpoint.send(peer, "x" * size, now, reliable=False),
            lambda: endpoint.ping(peer, now, 5.0),
            lambda: endpoint.introduce(peer, node_id, now, 5.0),
            lambda: endpoint.send_routed(node_id, "x" * size, 8, now, 5.0),
            lambda: endpoint.list_nodes(peer, now, 5.0),
            lambda: endpoint.relay(peer, node_id, b"x" * size, now, 5.0),
            lambda: endpoint.ping_node(node_id, now, 5.0),
            lambda: endpoint.discover(peer, now),
            lambda: size > 200 and endpoint.disconnect(peer, "enough", now),
            lambda: (self._reader.take(size), endpoint.handle_read(now)),
            lambda: (self._reader.take(size), endpoint.handle_read(now)),
        )
        with suppress(LocalError):
            choices.one(actions)()
        self._settle()

    def _knows(self, peer: Peer) -> bool:
        return visible_address(peer.address)[0] in self._known

    # Time.

    def advance(self, until: float) -> None:
        """Let time pass, and do what is due."""
        endpoint = self.endpoint
        while (due := endpoint.next_timeout()) is not None and due <= until:
            if due > self.now:
                self._steps_in_a_row = 0
                self.now = due
            self._note_timer()
            endpoint.handle_timeout(self.now)
            self._settle()
        if until > self.now:
            self._steps_in_a_row = 0
            self.now = until

    def _note_timer(self) -> None:
        self._steps_in_a_row += 1
        assert self._steps_in_a_row < MAX_STEPS_IN_A_ROW, "time stands still"
        if int(self.now) != self._second:
            self._second, self._timer_steps = int(self.now), 0
        self._timer_steps += 1
        assert self._timer_steps < MAX_TIMER_STEPS_PER_S, "timers run hot"

    # What comes of it.

    def _settle(self) -> None:
        """Take what leaves, and do what the machinery of a node does."""
        endpoint, traversal = self.endpoint, self.endpoint.traversal
        for _ in range(MAX_STEPS_IN_A_ROW):
            for data, to in endpoint.datagrams_to_send(self.now):
                self._note_out(data, to)
            event = endpoint.next_event()
            if event is None:
                return
            match event:
                case DataReceived() | DataDropped():
                    self._reader.put(event)
                case DatagramDue(_, data, to) | StunReplyDue(_, data, to):
                    self._note_out(data, to)
                case NatFactsWanted() if self.script.facts is not None:
                    traversal.facts_ready(self.script.facts, self.now)
                case FlowProbeWanted(node_id):
                    traversal.flows.take_probe(node_id, fresh=True, old=True, now=self.now)
                case SocketsWanted(node_id, count):
                    numbers = tuple(range(self._next_socket, self._next_socket + min(count, 4)))
                    self._next_socket += len(numbers)
                    self._sockets.extend(numbers)
                    traversal.sockets_ready(node_id, numbers, (), self.now)
                case SocketsDone(numbers):
                    self._sockets = [each for each in self._sockets if each not in numbers]

    def _note_out(self, data: bytes, to: Address) -> None:
        self._last.append((data, to))
        account = self._accounts.setdefault((to[0], to[1]), Account())
        if data[:1] < b"\4":
            account.stun_out += 1
        else:
            account.bytes_out += len(data)
            account.datagrams_out += 1
        self._hosts[to[0]] += 1
        if to[0] not in self._known:
            self._changed.add((to[0], to[1]))

    # What must hold.

    def check(self) -> None:
        """What holds after each step."""
        endpoint = self.endpoint
        drops = endpoint.counters.drops
        for cause in ("unpaid", "call_forgotten"):
            assert not drops[cause], f"{drops[cause]} {cause}"
        for address in self._changed:
            self._check_stranger(address, self._accounts[address])
        self._changed.clear()
        self._steps += 1
        if self._steps % SIZES_EVERY == 0:
            self._check_sizes()

    def _check_sizes(self) -> None:
        endpoint = self.endpoint
        for name, size in endpoint.sizes().items():
            limit = LIMITS.get(name)
            most = MAX_OTHERS if limit is None else limit(endpoint)
            if name.endswith("_bytes") and limit is None:
                most = endpoint.config.reliability.reader_bytes
            assert size <= most, f"{size} {name}, the limit is {most}"

    def _check_stranger(self, address: Address, account: Account) -> None:
        host = address[0]
        if not account.heard:
            assert host in self._named or self._is_heard(host), f"nobody named {address}"
            assert self._hosts[host] <= MAX_TO_THIRD_PARTY, f"{self._hosts[host]} to {host}"
            return
        peer = self.endpoint.peers.at(address)
        if peer is not None and peer.purse.proved:
            assert address in self._answered, f"{address} proved itself with nothing"
        if address in self._answered:
            return
        uses = [self.endpoint.counters.grants.get(reason.value) for reason in OWN_REASONS]
        granted = [use for use in uses if use is not None]
        most = 3 * account.bytes_in + sum(use.bytes for use in granted)
        assert account.bytes_out <= most, f"{account.bytes_out} bytes for {account.bytes_in}"
        most = account.most_datagrams + sum(use.datagrams for use in granted)
        assert account.datagrams_out <= most, f"{account.datagrams_out} datagrams of {most}"
        assert account.stun_out <= 2 * account.stun_in + 64, f"{account.stun_out} STUN to {address}"

    def _is_heard(self, host: str) -> bool:
        return any(source[0] == host and each.heard for source, each in self._accounts.items())

    def rest(self) -> None:
        """Nobody says anything any more."""
        while self._reader.take(100):
            self.endpoint.handle_read(self.now)
        self.advance(self.now + REST_S)
        self.check()
        self._check_sizes()
        sizes = self.endpoint.sizes()
        for what in ("queries", "lists", "routed_waiting", "reassembly_bytes", "early_messages"):
            assert sizes[what] == 0, f"{sizes[what]} {what} at rest"
        self.end()

    def end(self) -> None:
        """The node says goodbye."""
        self.endpoint.close("the case ends", self.now)
        self._settle()
        self.advance(self.now + REST_S)
        sizes = self.endpoint.sizes()
        for what in EMPTY_AT_THE_END:
            assert sizes[what] == 0, f"{sizes[what]} {what} at the end"
