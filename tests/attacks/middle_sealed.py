"""Somebody between secured nodes, who has everything but their keys.

    python -m tests.attacks.middle_sealed --datagrams 100000
    python -m tests.attacks.middle_sealed --seed 17 --datagrams 2000

A server, two nodes with a session of their own, and a third one talk, send what takes fragments,
move, make new keys, leave, come back, and are restarted; one pair of them is relayed. They have
done so before, with other session keys. He has all that ever passed, and throws it at them: again,
cut, longer, with bits, numbers, counters and tails of others, from both addresses and from
nobody's, turned round, and to whom it was not for; and whatever the wire has in the clear, in the
name of each. Nothing of that is taken: no session, no path, no event, no count of what was
delivered or relayed is another one after any datagram of his. And everything that was said arrives
once.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from p2ptui.core.events import (
    DataReceived,
    ErrorReceived,
    PathChanged,
    PeerRefused,
    PeerStatusChanged,
)
from p2ptui.core.messages import ROWS
from p2ptui.core.sealing import Mode
from p2ptui.secure.transport import REKEY_AFTER_S
from p2ptui.wire.address import Address
from p2ptui.wire.stun import MessageClass
from tests.attacks.hostile import FRAME_KINDS, Words, frame_cases, messages, stun_cases
from tests.campaign_checks import require
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

STRANGERS: Final[tuple[Address, ...]] = tuple((f"198.18.{net}.1", 9000) for net in range(4))
BURSTS: Final = 40
"""In one story; between them the nodes talk."""

NEWS: Final = (PeerStatusChanged, PathChanged, DataReceived, ErrorReceived)

AMPLIFICATION: Final = 3
REMEMBERED: Final = 3000
"""Datagrams, the latest, of each run."""

SEALED, LAST, UNKNOWN = b"\xe0", b"\xe1", b"\xe2"


class Passed(NamedTuple):
    """A datagram that arrived."""

    data: bytes
    source: Address
    to: Address


@dataclass(frozen=True)
class Forged:
    """One of his."""

    kind: str
    data: bytes
    source: Address
    to: Host

    def __str__(self) -> str:
        return f"{self.kind} from {self.source} to {self.to.address}: {self.data[:300]!r}"


class Lives:
    """A network of secured nodes, and what they do.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"lives {seed}")
        self.world = world = World(seed, secured=True)
        self.passed: list[Passed] = []
        """All that has arrived in this run."""
        self.earlier: list[Passed] = []
        """And in the run before."""
        mode = Mode.REQUIRE if seed % 2 else Mode.PREFER
        self.is_strict = mode is Mode.REQUIRE
        self._keys = [world.keys(mode=mode) for _ in range(5)]
        self._places = [world.address() for _ in self._keys]
        self.sent: Counter[tuple[str, int]] = Counter()
        """What was said to whom, by its number."""
        self.came: Counter[tuple[str, int]] = Counter()
        """What was delivered to those that are gone."""
        self.hosts: list[Host] = []
        self.on_arrival: Callable[[], None] = lambda: None
        """Called whenever one of them has taken a datagram."""
        self.did: Counter[str] = Counter()
        for _ in range(2):
            self._begin()
            self._talk(4)

    def _begin(self) -> None:
        """All processes begin, or begin anew, at their addresses."""
        for host in self.hosts:
            self._end(host)
        self.earlier, self.passed = self.passed[-REMEMBERED:], []
        self.hosts = [self._open(number) for number in range(5)]
        self.world.seed += 1  # processes of later draw other random numbers
        self._join(*range(1, 5))

    def _open(self, number: int) -> Host:
        place, world = self._places[number], self.world
        options: dict[str, Any] = {"ice": {"enable": False}}
        if number == 0:
            options = {"allow_symmetric_nat_relay": True, "stun_server": {"enable": True}}
        host = world.host(place, keys=self._keys[number], name=f"node-{number}", **options)
        self._listen(host)
        return host

    def _listen(self, host: Host) -> None:
        """From now on all that arrives is on record."""
        receive = host.receive

        def noted(data: bytes, source: Address) -> None:
            self.passed.append(Passed(bytes(data), source, host.address))
            receive(data, source)
            self.on_arrival()

        host.receive = noted  # type: ignore[method-assign]
        host.take = receive  # type: ignore[attr-defined]

    def _end(self, host: Host) -> None:
        self.world.remove(host)
        self.count(host)

    def count(self, host: Host) -> None:
        """What was delivered to a process."""
        self.came.update((host.id, number) for number, _ in host.received())

    def _join(self, *numbers: int) -> None:
        """To the server; nodes 1 and 2 have a session of their own, 3 and 4 a relayed one."""
        server, one, other, third, fourth = self.hosts
        for number in numbers:
            host = self.hosts[number]
            host.outcome(host.connect(server))
        self.world.run_for(1)
        if {1, 2} & set(numbers):
            one.outcome(one.connect(other))
        if {3, 4} & set(numbers):
            via = third.peer(server)
            assert via is not None
            token = third.endpoint.introduce(via, fourth.id, self.world.now, 10)
            third.settle()
            third.outcome(token)
        self.world.run_for(1)

    # What they do.

    def act(self) -> None:
        """One thing, or several at once."""
        action = self.rng.choice(
            [self._talk_some] * 6 + [self._move, self._rekey, self._leave, self._restart]
        )
        self.did[action.__name__] += 1
        action()
        self.world.run_for(3)

    def pairs(self) -> list[tuple[Host, Host]]:
        """Who has a session with whom."""
        return [
            (one, other)
            for one in self.hosts
            for other in self.hosts
            if one is not other and one.endpoint.peers.authenticated(other.id)
        ]

    def _say(self, one: Host, other: Host, size: int) -> tuple[Host, int]:
        number = self.sent.total()
        self.sent[other.id, number] += 1
        peer = one.endpoint.peers.authenticated(other.id)
        assert peer is not None
        token = one.endpoint.send(peer, [number, "x" * size], self.world.now)
        one.settle()
        return one, token

    def _talk_some(self) -> None:
        self._talk(self.rng.randint(1, 4))

    def _talk(self, count: int) -> None:
        pairs = self.pairs()
        calls = []
        for _ in range(count):
            one, other = self.rng.choice(pairs)
            calls.append(self._say(one, other, self.rng.choice((0, 30, 800, 4_000))))
            peer = one.endpoint.peers.authenticated(other.id)
            assert peer is not None
            calls.append((one, one.endpoint.ping(peer, self.world.now, 5.0)))
            one.settle()
        for host, token in calls:
            outcome = host.outcome(token)
            require(getattr(outcome, "delivered", True), f"{host.address}: {outcome}")
        self.world.run_for(self.rng.choice((0.1, 1.0, 20.0)))

    def _move(self) -> None:
        one, other = self.hosts[1:3]
        self.world.move(one)
        self._places[1] = one.address
        for call in (self._say(one, other, 10), self._say(one, self.hosts[0], 10)):
            call[0].outcome(call[1])
        self.world.run_for(3)

    def _rekey(self) -> None:
        """Fourteen minutes have passed."""
        for host in self.hosts:
            for peer in host.endpoint.peers:
                if peer.seal is not None:
                    peer.seal.session.current.began_at -= REKEY_AFTER_S
        self.world.run_for(40)

    def _leave(self) -> None:
        third = self.hosts[3]
        for peer in list(third.endpoint.peers):
            third.endpoint.disconnect(peer, "for a moment", self.world.now)
        third.settle()
        self.world.run_for(1)
        self._join(3)

    def _restart(self) -> None:
        """Somebody begins anew, and the others come back to it by "unknown session"."""
        fourth = self.hosts[4]
        self._end(fourth)
        self.world.seed += 1
        self.hosts[4] = again = self._open(4)
        again.outcome(again.connect(self.hosts[0]))
        third = self.hosts[3]
        if third.endpoint.peers.authenticated(again.id) is not None:
            third.outcome(self._say(third, again, 10)[1])
        self._join(3)


class Man:
    """Makes datagrams of what he has seen.

    Args:
        lives: What he sees.
        seed: Decides what he does.
    """

    def __init__(self, lives: Lives, seed: int) -> None:
        self._lives = lives
        self.rng = random.Random(f"man {seed}")
        self._clear: list[bytes] = []

    def forge(self) -> Forged:
        """His next one."""
        return self.rng.choice(self._WAYS)(self)

    # What he has to work with.

    def _old(self) -> Passed:
        """Something that has arrived, of now or, one in five, of earlier."""
        lives, rng = self._lives, self.rng
        if lives.earlier and rng.random() < 0.2:
            return rng.choice(lives.earlier)
        first = max(len(lives.passed) - REMEMBERED, 0)
        # Half of it is fresh: what is long over is known as such in other ways.
        if rng.random() < 0.5:
            first = max(len(lives.passed) - 60, 0)
        return lives.passed[rng.randrange(first, len(lives.passed))]

    def _sealed(self) -> Passed:
        for _ in range(100):
            old = self._old()
            if old.data[:1] == SEALED:
                return old
        return old

    def _host_at(self, address: Address) -> Host:
        for host in self._lives.hosts:
            if host.address == address:
                return host
        return self.rng.choice(self._lives.hosts)

    def _made(self, kind: str, data: bytes, old: Passed) -> Forged:
        """To whom it was for, or one in eight to somebody else, in whoever's name."""
        rng, hosts = self.rng, self._lives.hosts
        to = self._host_at(old.to) if rng.random() < 0.9 else rng.choice(hosts)
        others = [host.address for host in hosts if host is not to]
        odds = rng.random()
        source = old.source if odds < 0.6 else rng.choice(others if odds < 0.85 else STRANGERS)
        if source == to.address:
            source = rng.choice(others)
        if not self._is_for_him(data, source, to):
            data, kind = old.data, "again"
        return Forged(kind, data, source, to)

    def _is_for_him(self, data: bytes, source: Address, to: Host) -> bool:
        """Whether a datagram is for him to send: whoever asks in the open where nobody is known,
        under a name of his own, is a newcomer as any other, unless a node takes none."""
        if data[:1] != b"{" or self._lives.is_strict:
            return True
        peer = to.endpoint.peers.at(source)
        return peer is not None and peer.is_secured and peer.is_authenticated

    # His ways.

    def _again(self) -> Forged:
        old = self._old()
        return self._made("again", old.data, old)

    def _cut(self) -> Forged:
        old = self._old()
        return self._made("cut", old.data[: self.rng.randrange(len(old.data) + 1)], old)

    def _longer(self) -> Forged:
        old = self._old()
        return self._made("longer", old.data + self.rng.randbytes(self.rng.randrange(1, 60)), old)

    def _bits(self) -> Forged:
        old, rng = self._old(), self.rng
        data = bytearray(old.data or b"\0")
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(min(len(data), 14) if rng.random() < 0.4 else len(data))
            data[at] ^= 1 << rng.randrange(8)
        return self._made("bits", bytes(data), old)

    def _first_byte(self) -> Forged:
        old = self._old()
        first = self.rng.choice((0xE0, 0xE1, 0xE2, 0x7B, 0, 1, self.rng.randrange(0xC0, 0x100)))
        return self._made("first byte", bytes((first,)) + old.data[1:], old)

    def _number(self) -> Forged:
        """The session number of another frame: of the other way, of another session, of earlier."""
        old, other = self._sealed(), self._old().data
        number = other[1:5] if self.rng.random() < 0.8 else self.rng.randbytes(4)
        return self._made("number", old.data[:1] + number + old.data[5:], old)

    def _counter(self) -> Forged:
        old, rng = self._sealed(), self.rng
        known = int.from_bytes(old.data[5:13], "big")
        near = known + rng.choice((-1, 1, 2, 64, 1023, 1024, 1025, 4096))
        value = rng.choice((near, near, near, 0, 2**31, 2**32, 2**63, 2**64 - 2, 2**64 - 1))
        counter = (value % 2**64).to_bytes(8, "big")
        return self._made("counter", old.data[:5] + counter + old.data[13:], old)

    def _tail(self) -> Forged:
        """The beginning of one and the end of another."""
        old, other = self._old(), self._old().data
        at = self.rng.choice((1, 5, 13, max(len(old.data) - 16, 0)))
        return self._made("tail", old.data[:at] + other[at:], old)

    def _turned(self) -> Forged:
        old = self._old()
        turned = Passed(old.data, old.to, old.source)
        return self._made("turned", old.data, turned)

    def _unknown(self) -> Forged:
        """The receiver of a frame knows nothing of its session, he says."""
        old = self._sealed()
        turned = Passed(old.data, old.to, old.source)
        return self._made("unknown", UNKNOWN + old.data[1:13], turned)

    def _last(self) -> Forged:
        """A last message of an exchange, for another one."""
        old, rng = self._old(), self.rng
        lasts = [each for each in self._lives.passed + self._lives.earlier if each.data[:1] == LAST]
        last = rng.choice(lasts) if lasts else old
        other = rng.choice(lasts).data if lasts else old.data
        data = rng.choice((last.data[:5] + other[5:], LAST + old.data[1:5] + last.data[5:]))
        return self._made("last", data, last)

    def _handshake(self) -> Forged:
        """A request or its answer with another value somewhere, or without one."""
        rng = self.rng
        seen = self._lives.passed[-REMEMBERED:] + self._lives.earlier
        olds = [each for each in seen if each.data[:1] == b"{"]
        old = rng.choice(olds)
        message = json.loads(old.data)
        inner = rng.choice((message, message["payload"], message["payload"]))
        other = json.loads(rng.choice(olds).data)
        its = other if inner is message else other["payload"]
        for _ in range(rng.choice((1, 1, 3))):
            key = rng.choice(sorted(inner))
            if rng.random() < 0.4 or key not in its:
                inner.pop(key, None)
            else:
                inner[key] = its[key]
            if not inner:
                break
        data = json.dumps(message, separators=(",", ":")).encode()
        return self._made("handshake", data, old)

    def _in_clear(self) -> Forged:
        """Whatever there is on the wire, in the open and in the name of a peer."""
        if not self._clear:
            self._clear = list(self._all_in_clear())
            self.rng.shuffle(self._clear)
        lives, rng = self._lives, self.rng
        one, other = rng.choice(lives.pairs())
        peer = one.endpoint.peers.authenticated(other.id)
        assert peer is not None
        data = self._clear.pop()
        if data[:1] == b"{" and rng.random() < 0.5:
            data = self._named(data)
        source = peer.sends_to if "#" not in peer.sends_to[0] else other.address
        if one.endpoint.peers.at(source) is None:
            source = lives.hosts[0].address if one is not lives.hosts[0] else other.address
        return Forged("in clear", data, source, one)

    def _named(self, data: bytes) -> bytes:
        """With numbers and ids that he has seen."""
        rng = self.rng
        seen = self._lives.passed[-REMEMBERED:] + self._lives.earlier
        known = [json.loads(each.data) for each in seen if each.data[:1] == b"{"]
        message = json.loads(data)
        if not isinstance(message, dict) or not known:
            return data
        message["ack_for"] = rng.choice(known)[rng.choice(("sequence_number", "id"))]
        message["id"] = rng.choice(known)["id"]
        message["sequence_number"] = rng.choice(known)["sequence_number"]
        return json.dumps(message).encode()

    def _all_in_clear(self) -> Iterator[bytes]:
        hosts = self._lives.hosts
        ids, addresses = [host.id for host in hosts], [host.address for host in hosts]
        words = Words([*ids, "99999999-0000-4000-8000-000000000000"], addresses, self.rng)
        for row in ROWS:
            yield from (case.data for case in messages(row, words))
        for first in (*FRAME_KINDS, 0xE0, 0xE1, 0xE2, 0xFF):
            yield from (case.data for case in frame_cases(first, words))
        for kind in MessageClass:
            yield from (case.data for case in stun_cases(kind, words))

    _WAYS: Final[tuple[Callable[["Man"], Forged], ...]] = (
        *(_again, _again, _cut, _longer, _bits, _bits, _first_byte, _number, _counter),
        *(_tail, _turned, _unknown, _last, _handshake, _in_clear, _in_clear),
    )


def facts_of(host: Host) -> tuple[Any, ...]:
    """What nobody but the other end of a session may change."""
    endpoint = host.endpoint
    counters = endpoint.counters
    return (
        # That a stranger was refused is told to the user, a few times a second at most.
        sum(not isinstance(event, PeerRefused) for event in host.events),
        counters.delivered,
        counters.forwarded,
        counters.relayed,
        counters.messages_in,
        counters.handshakes_accepted,
        counters.acks_without_message,
        len(endpoint._state.seals or ()),
        tuple(_facts_of_peer(peer) for peer in endpoint.peers),
    )


def _facts_of_peer(peer: Any) -> tuple[Any, ...]:
    session = None if peer.seal is None else peer.seal.session
    return (
        id(peer),
        peer.node_id,
        peer.address,
        peer.sends_to,
        peer.path,
        peer.status,
        peer.name,
        frozenset(peer.capabilities),
        peer.proved,
        peer.messages_in,
        tuple(peer.handshake_said),
        peer.liveness.last_received,
        peer.liveness.answered_at,
        id(peer.seal),
        session and (id(session.current), session.current.local_number),
        session and (session.current.opened, session.current.highest),
        len(peer.acks_owed),
    )


@dataclass
class Outcome:
    """What came of a story."""

    thrown: Counter[str]
    did: Counter[str]
    drops: Counter[str]
    bytes_in: int = 0
    bytes_out: int = 0


class Siege:
    """Throws his datagrams at nodes that go on with their lives, and looks at each.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.lives = Lives(seed)
        self._tap = Wiretap(self.lives.world)
        self.man = Man(self.lives, seed)
        self.thrown: Counter[str] = Counter()
        self._among = 0
        """Datagrams that are to be thrown when something has arrived."""
        self._paid: Counter[Address] = Counter()
        """Bytes in the name of strangers."""
        self._got: Counter[Address] = Counter()
        """Bytes that these were sent."""

    def run(self, datagrams: int) -> Outcome:
        """Live through it.

        Args:
            datagrams: How many he throws, spread over the whole story.

        Raises:
            BrokenError: One of his datagrams has changed something.
        """
        # Half of them at moments when nothing else happens, the others when something has arrived.
        self._among = datagrams // 2
        self.lives.on_arrival = self._throw_among
        for burst in range(BURSTS):
            self.lives.act()
            left = datagrams - self._among - self.thrown.total()
            self._burst(left // (BURSTS - burst))
        while self._among:
            self.lives.act()
        self.lives.on_arrival = lambda: None
        self._check_end()
        drops: Counter[str] = Counter()
        for host in self.lives.hosts:
            drops.update(host.endpoint.counters.drops)
        return Outcome(self.thrown, self.lives.did, drops, self._paid.total(), self._got.total())

    def _throw_among(self) -> None:
        """Something has arrived; whatever is under way, he may be in between."""
        for _ in range(self.man.rng.randrange(4)):
            if self._among:
                self._among -= 1
                self._throw(self.man.forge())

    def _burst(self, datagrams: int) -> None:
        """While nobody says anything: nothing is to be heard of anybody, then or soon after."""
        hosts, world = self.lives.hosts, self.lives.world
        on_arrival, self.lives.on_arrival = self.lives.on_arrival, lambda: None
        before, pairs = [len(host.events) for host in hosts], self.lives.pairs()
        for number in range(datagrams):
            self._throw(self.man.forge())
            if number % 200 == 199:
                world.run_for(0.02)  # what answers him leaves, and arrives
        world.run_for(1.5)
        for host, count in zip(hosts, before, strict=True):
            news = [event for event in host.events[count:] if isinstance(event, NEWS)]
            require(not news, f"{host.address} tells {news}")
        require(self.lives.pairs() == pairs, "sessions have ended")
        self.lives.on_arrival = on_arrival

    def _throw(self, forged: Forged) -> None:
        host, seen = forged.to, self._tap.seen
        host.settle()
        before, began = facts_of(host), len(seen)
        host.take(forged.data, forged.source)  # type: ignore[attr-defined]
        host.settle()
        self.thrown[forged.kind] += 1
        after = facts_of(host)
        require(after == before, f"changed by {forged}\n{_difference(before, after)}")
        self._check_answers(forged, seen[began:])
        del seen[began:]

    def _check_answers(self, forged: Forged, answers: list[Seen]) -> None:
        for answer in answers:
            if answer.data[:1] == UNKNOWN:
                short = len(answer.data) < len(forged.data)
                require(short, f"an answer of {len(answer.data)} bytes to {forged}")
        if forged.source in STRANGERS:
            self._paid[forged.source] += len(forged.data)
        self._got.update(
            {to: sum(len(one.data) for one in answers if one.to == to) for to in STRANGERS}
        )
        for stranger in STRANGERS:
            most = AMPLIFICATION * self._paid[stranger]
            require(self._got[stranger] <= most, f"{self._got[stranger]} bytes to {stranger}")

    def _check_end(self) -> None:
        """All that was said has arrived once, and sessions go on."""
        lives = self.lives
        lives.world.run_for(5)
        lives._talk(6)
        for host in lives.hosts:
            lives.count(host)
        require(lives.came == lives.sent, f"said and delivered: {lives.sent - lives.came}")
        for one, other in lives.pairs():
            peer = one.endpoint.peers.authenticated(other.id)
            require(peer and peer.is_secured, f"{one.address} and {other.address} are not secured")
        for host in lives.hosts:
            for peer in host.endpoint.peers:
                require(peer.is_secured, f"{peer.address} is in the open at {host.address}")


def _difference(before: Any, after: Any) -> str:
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return "; ".join(_difference(one, other) for one, other in pairs if one != other)
    return f"{before!r} -> {after!r}"


def main() -> int:
    """The command line; 1 if one of his datagrams was taken."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tests.attacks.middle_sealed", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--datagrams", type=int, default=100_000, help="in all (100,000)")
    parser.add_argument("--seeds", type=int, default=20, help="stories, from seed 0 (20)")
    parser.add_argument("--seed", type=int, help="only this one")
    options = parser.parse_args()
    seeds = range(options.seeds) if options.seed is None else [options.seed]
    began, total, drops, failed = time.perf_counter(), Counter[str](), Counter[str](), 0
    paid = got = 0
    for seed in seeds:
        try:
            outcome = Siege(seed).run(options.datagrams // len(seeds))
        except AssertionError as error:
            failed += 1
            print(f"FAILED seed {seed}: {error}", flush=True)
            continue
        total += outcome.thrown
        drops += outcome.drops
        paid, got = paid + outcome.bytes_in, got + outcome.bytes_out
    print(f"{total.total():,} datagrams, 0 taken; {time.perf_counter() - began:.0f} s")
    print(", ".join(f"{kind} {count:,}" for kind, count in total.most_common()))
    print(f"strangers were sent {got:,} bytes for {paid:,}")
    print("dropped: " + ", ".join(f"{cause} {count:,}" for cause, count in drops.most_common()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
