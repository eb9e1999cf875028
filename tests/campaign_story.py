"""One seed of the fault campaign: a server and three clients on a bad network, and what they do."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.core.reliability.duplicates import SEQUENCE_WINDOW
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_envelope
from p2ptui.wire.message import NULL, Envelope, MessageType
from tests.campaign_checks import (
    QUIET_STEPS_PER_S,
    Connect,
    Sent,
    Summary,
    WatchedWorld,
    account,
    check_end,
    check_limits,
    check_rest,
    require,
    text,
)
from tests.simulation import UNIX_START, Host

LOSS: Final = 0.20
DUPLICATION: Final = 0.05
REORDER: Final = 0.10

FAULTS: Final = {"loss": LOSS, "duplication": DUPLICATION, "reorder": REORDER}

CLIENTS: Final = 3
ACTIONS: Final = 24
PAUSE_S: Final = 1.5
"""Actions follow each other within this time, so that many are under way together."""

CONNECT_TIMEOUT_S: Final = 10.0
CALLS_END_WITHIN_S: Final = 300.0
"""The longest: a thousand transfers one after another, while a fifth of everything is lost."""

QUIET_S: Final = 130.0
"""After this everything has expired: the longest memory is that of missing numbers, 120 s."""

SIZES: Final = (0, 10, 200, 900, 1300, 5_000, 20_000, 64_000)
SMALL: Final = SIZES[:4]

SLOW_READER_BYTES: Final = 100_000
"""What may wait for a slow reader: the largest message waits there alone."""

SLOW_READER_EVENTS: Final = 30
"""What a slow reader reads at a time, at most."""

QUEUE_EVERY: Final = 10
"""One story in so many ends with a long queue, which takes longer than all else."""

_LONGEST_ENVELOPE: Final = Envelope(
    "i" * 36, MessageType.DATA, UNIX_START, NULL, 2**32 - 1, True, None
)
MEGABYTE: Final = Config().server.max_message_size - len(encode_envelope(_LONGEST_ENVELOPE)) - 40
"""Characters of a text whose message just fits the limit of 1 MB, and whose echo does not."""


class Story:
    """One seed's scenario.

    Args:
        seed: Decides everything.
        tell: Called with each line of the account.
        clients: How many.
        faults: What the network does to datagrams; see `Link`.
        relays: Whether the server relays for its clients.
        secured: How many of the nodes speak under seal, from the server on; all without it, but
            for one story in five in the open, and one with one client in the open.
    """

    def __init__(
        self,
        seed: int,
        tell: Callable[[str], None] = lambda _line: None,
        *,
        clients: int = CLIENTS,
        faults: Mapping[str, float] = FAULTS,
        relays: bool = False,
        secured: int | None = None,
    ) -> None:
        self.seed = seed
        self._tell = tell
        self._rng = rng = random.Random(seed)
        self.world = WatchedWorld(
            seed,
            latency_s=rng.uniform(0.002, 0.06),
            jitter_s=rng.uniform(0.0, 0.04),
            reorder_delay_s=rng.uniform(0.02, 0.15),
            **faults,
        )
        self._began = self.world.now
        # Every other story goes with echoes, which are messages to be delivered once as well.
        if secured is None:
            secured = {3: clients, 4: 0}.get(seed % 5, clients + 1)
        self._options: dict[str, Any] = {
            "echo": "all" if seed % 2 else "deployed",
            "allow_symmetric_nat_relay": relays,
        }
        self.server = self._open(secured > 0, **self._options)
        self.clients = [self._open(number < secured) for number in range(1, clients + 1)]
        self.all = [self.server, *self.clients]
        """Every process that ever ran, those that died too."""
        self.gone: set[Host] = set()
        self._left: set[Address] = set()
        """Where a process has been."""
        self.moves = 0
        self.sent: list[Sent] = []
        self.connects: list[Connect] = []
        self.introductions: list[tuple[Host, int]] = []
        self.pings: list[tuple[Host, int]] = []
        self._lists: list[tuple[Host, int]] = []
        self._cuts: dict[frozenset[Address], float] = {}
        # Of its own, so that what happens does not depend on who reads how fast.
        self._reading = random.Random(f"reading {seed}")
        for host in self.all:
            self._begin_to_read(host)

    # What the checks look at.

    @property
    def elapsed_s(self) -> float:
        """Virtual time since the beginning."""
        return self.world.now - self._began

    @property
    def living(self) -> list[Host]:
        """The processes that run."""
        return [host for host in self.all if host not in self.gone]

    def _open(self, is_secured: bool, **options: Any) -> Host:
        return self.world.host(keys=self.world.keys() if is_secured else None, **options)

    @property
    def addresses(self) -> set[Address]:
        """Where a process runs or ran."""
        return self._left | {host.address for host in self.all}

    def name(self, host: Host) -> str:
        """Who it is, for people."""
        return "server" if host is self.server else f"{host.id[:8]}@{host.address[0]}"

    def calls_of(self, host: Host) -> int:
        """How many calls a host has made."""
        return sum(1 for caller, _ in self._calls() if caller is host)

    def _calls(self) -> Iterator[tuple[Host, int]]:
        yield from ((sent.sender, sent.token) for sent in self.sent)
        yield from ((connect.asker, connect.token) for connect in self.connects)
        yield from self.introductions
        yield from self.pings
        yield from self._lists

    def _say(self, line: str) -> None:
        self._tell(f"{self.elapsed_s:9.3f}  {line}")

    # The readers.

    def _begin_to_read(self, host: Host) -> None:
        if self._reading.random() < 0.5:
            host.open_reader(SLOW_READER_BYTES)
            self._say(f"{self.name(host)} reads slowly")

    def _read(self) -> None:
        for host in self.living:
            if host.reader is not None:
                host.read(self._reading.randint(0, SLOW_READER_EVENTS))

    def _read_all(self, host: Host) -> None:
        while host.reader is not None and host.read(SLOW_READER_EVENTS):
            self.world.run_for(0.1)

    # The story.

    def run(self) -> Summary:
        """Live through it; what must hold is checked on the way and at the end."""
        rng, world = self._rng, self.world
        for client in self.clients:
            self._connect(client, self.server)
            world.run_for(rng.uniform(0.0, 0.5))
        world.run_until(lambda: all(self._joined(client) for client in self.clients), 30)
        actions = [action for action, weight in self._weighted() for _ in range(weight)]
        for _ in range(ACTIONS):
            rng.choice(actions)()
            world.run_for(rng.uniform(0.0, PAUSE_S))
            self._read()
            self._heal()
            check_limits(self)
        self._settle()
        self._send_megabyte()
        if self.seed % QUEUE_EVERY == 0:
            self._settle()
            self._send_queue()
        self._settle()
        self._mend()
        world.run_for(QUIET_S / 2)
        steps = world.steps
        world.run_for(QUIET_S / 2)
        rate = (world.steps - steps) / (QUIET_S / 2)
        require(rate <= QUIET_STEPS_PER_S, f"{rate:.1f} steps a second although nothing happens")
        check_rest(self)
        summary = account(self)
        for host in self.living:
            host.endpoint.close("the story ends", world.now)
        world.run_for(QUIET_S)
        check_end(self)
        return summary

    def _weighted(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self._send_some, 8),
            (self._send_burst, 2),
            (self._send_unreliably, 1),
            (self._ping, 2),
            (self._send_routed, 3),
            (self._connect_clients, 3),
            (self._connect_crossing, 2),
            (self._introduce, 1),
            (self._list_nodes, 1),
            (self._leave_and_return, 2),
            (self._restart, 1),
            (self._crash_and_move, 1),
            (self._move, 2),
            (self._restart_server, 1),
            (self._partition, 1),
        ]

    def _pair(self) -> tuple[Host, Host] | None:
        hosts = [self.server, *self.clients]
        pairs = [
            (one, other)
            for one in hosts
            for other in hosts
            if one is not other and one.is_connected_to(other)
        ]
        return self._rng.choice(pairs) if pairs else None

    # Messages.

    def _send(
        self, sender: Host, receiver: Host, size: int, *, reliable: bool = True, must: bool = False
    ) -> None:
        payload = {"n": len(self.sent), "text": text(len(self.sent), size)}
        try:
            token = sender.send(receiver, payload, reliable=reliable)
        except LocalError as error:
            self._say(f"{self.name(sender)} may not send {size} bytes: {error}")
            return
        self._note_sent(sender, receiver, size, token, reliable=reliable, must=must)

    def _note_sent(
        self,
        sender: Host,
        receiver: Host,
        size: int,
        token: int,
        *,
        reliable: bool = True,
        must: bool = False,
    ) -> None:
        number = len(self.sent)
        self.sent.append(Sent(number, sender, receiver.id, size, token, reliable, must))
        self._say(f"{self.name(sender)} sends #{number} ({size} bytes) to {self.name(receiver)}")

    def _send_some(self) -> None:
        if (pair := self._pair()) is not None:
            self._send(*pair, self._rng.choice(SIZES))

    def _send_burst(self) -> None:
        if (pair := self._pair()) is not None:
            for _ in range(self._rng.randint(10, 40)):
                self._send(*pair, self._rng.choice(SMALL))

    def _send_unreliably(self) -> None:
        if (pair := self._pair()) is not None:
            for _ in range(5):
                self._send(*pair, self._rng.choice(SMALL), reliable=False)

    def _send_routed(self) -> None:
        sender, receiver = self._rng.sample([self.server, *self.clients], 2)
        size = self._rng.choice(SIZES[:5])
        payload = {"n": len(self.sent), "text": text(len(self.sent), size)}
        try:
            token = sender.endpoint.send_routed(receiver.id, payload, 8, self.world.now, 40.0)
        except LocalError as error:
            self._say(f"{self.name(sender)} knows no way to {self.name(receiver)}: {error}")
            return
        sender.settle()
        self._note_sent(sender, receiver, size, token)

    def _send_megabyte(self) -> None:
        # A doubt that a late goodbye raised is settled within a second, and a session that
        # only one side remembers is renewed.
        self.world.run_for(3.0)
        client = self._rng.choice(self.clients)
        deadline = self.world.now + 60
        while not self._joined(client):
            require(self.world.now < deadline, f"{self.name(client)} is not back within 60 s")
            self._connect(client, self.server)  # if it knows by now that it has no session
            self.world.run_for(1.0)
        pair = (client, self.server) if self._rng.random() < 0.5 else (self.server, client)
        self._send(*pair, MEGABYTE, must=True)
        self._send(*pair, 100)
        self._send(*pair[::-1], 100)

    def _send_queue(self) -> None:
        """More messages at once than a receiver remembers as missing, and two that may overtake."""
        if (pair := self._pair()) is None:
            return
        # Over a short link, since those in fragments leave one after another.
        for one, other in (pair, pair[::-1]):
            self.world.network.set_link(
                one.address[0], other.address[0], latency_s=0.001, jitter_s=0.001
            )
        for _ in range(SEQUENCE_WINDOW + 100):
            self._send(*pair, 1300)
        self._send(*pair, 10)
        self._send(*pair, 0)

    # Questions.

    def _ping(self) -> None:
        if (pair := self._pair()) is not None:
            self.pings.append((pair[0], pair[0].ping(pair[1])))

    def _list_nodes(self) -> None:
        if (pair := self._pair()) is not None:
            peer = pair[0].peer(pair[1])
            assert peer is not None
            token = pair[0].endpoint.list_nodes(peer, self.world.now, 10.0)
            self._lists.append((pair[0], token))

    # Coming and going.

    def _connect(self, asker: Host, answerer: Host) -> None:
        if asker.is_connected_to(answerer) or self._follows(asker, answerer):
            return
        token = asker.connect(answerer, CONNECT_TIMEOUT_S)
        was_cut = self._is_cut(asker, answerer)
        self.connects.append(Connect(asker, answerer, token, self.elapsed_s, was_cut))
        self._say(f"{self.name(asker)} connects to {self.name(answerer)}")

    @staticmethod
    def _follows(one: Host, other: Host) -> bool:
        """Whether one has a secured session with another that has moved, and goes on there."""
        peer = one.endpoint.peers.authenticated(other.id)
        return peer is not None and peer.is_secured

    def _connect_clients(self) -> None:
        self._connect(*self._rng.sample(self.clients, 2))

    def _connect_crossing(self) -> None:
        one, other = self._rng.sample(self.clients, 2)
        self._connect(one, other)
        self._connect(other, one)

    def _introduce(self) -> None:
        one, other = self._rng.sample(self.clients, 2)
        server = one.peer(self.server)
        if server is None or not server.is_authenticated:
            return
        token = one.endpoint.introduce(server, other.id, self.world.now, CONNECT_TIMEOUT_S)
        one.settle()
        self.introductions.append((one, token))
        self._say(f"{self.name(one)} asks the server for {self.name(other)}")

    def _leave_and_return(self) -> None:
        """In the middle of a conversation, and at times before its last words have arrived."""
        if (pair := self._pair()) is None:
            return
        leaver, other = pair
        peer = leaver.peer(other)
        assert peer is not None
        for _ in range(self._rng.randint(0, 5)):
            self._send(leaver, other, self._rng.choice(SIZES[:6]))
            if other.is_connected_to(leaver):
                self._send(other, leaver, self._rng.choice(SIZES[:6]))
        self.world.run_for(self._rng.choice((0.0, 0.05, 0.3)))
        if not peer.is_authenticated:
            return
        self._say(f"{self.name(leaver)} leaves {self.name(other)}")
        leaver.endpoint.disconnect(peer, "leaving for a moment", self.world.now)
        leaver.settle()
        self.world.run_for(self._rng.choice((0.0, 0.0, 0.1, 2.0)))
        self._connect(leaver, other)

    def _restart(self) -> None:
        """A client's process dies and begins anew at its address."""
        client = self._rng.choice(self.clients)
        self._say(f"{self.name(client)} dies")
        self.world.remove(client)
        self.world.run_for(self._rng.choice((0.0, 0.5, 3.0)))
        self._replace(client, client.address)

    def _crash_and_move(self) -> None:
        """A client's process dies; another begins at another address, under its id."""
        client = self._rng.choice(self.clients)
        self._say(f"{self.name(client)} dies")
        self.world.remove(client)
        # What it sent before must have arrived: to the server it would still be alive.
        self.world.run_for(self._rng.uniform(0.5, 3.0))
        self._replace(client, None)

    def _move(self) -> None:
        """A client's NAT gives it another address; its secured sessions go on, open ones end."""
        client = self._rng.choice(self.clients)
        self._left.add(client.address)
        for connect in self.connects:
            if connect.token not in connect.asker.outcomes:
                # Who is asked at an address that it had answers nothing.
                connect.was_cut |= client in (connect.asker, connect.answerer)
        name = self.name(client)
        self.moves += 1
        self.world.move(client)
        self._say(f"{name} is {self.name(client)} from now on")

    def _restart_server(self) -> None:
        """The server's process dies and begins anew; its clients find out by themselves."""
        self._say("the server dies")
        self.world.remove(self.server)
        self.world.run_for(self._rng.choice((0.0, 0.5, 3.0)))
        old, self.server = self.server, self._succeed(self.server, self.server.address)
        self._say(f"{self.name(old)} has died, and another server begins")

    def _replace(self, old: Host, address: Address | None) -> None:
        new = self._succeed(old, address)
        self.clients[self.clients.index(old)] = new
        self._say(f"{self.name(new)} begins")
        self._connect(new, self.server)

    def _succeed(self, old: Host, address: Address | None) -> Host:
        """Another process in the place of one that died, under its id."""
        self.world.seed += 1  # a new process draws other random numbers
        options = self._options if old is self.server else {}
        seals = old.endpoint._state.seals
        keys = None if seals is None else seals.keys
        new = self.world.host(address, old.id, keys, **options)
        if old.reader is not None:
            old.events += old.reader.take(10**6)  # a crash of the node is none of the program
        self._begin_to_read(new)
        self.gone.add(old)
        self.all.append(new)
        return new

    def _joined(self, client: Host) -> bool:
        return client.is_connected_to(self.server) and self.server.is_connected_to(client)

    # The network.

    def _partition(self) -> None:
        client = self._rng.choice(self.clients)
        if self._is_cut(client, self.server):
            return
        seconds = self._rng.choice((1.0, 5.0, 20.0, 90.0))
        pair = frozenset((client.address, self.server.address))
        self.world.network.partition(*pair)
        self._cuts[pair] = self.world.now + seconds
        for connect in self.connects:
            if connect.token not in connect.asker.outcomes:
                connect.was_cut |= self._is_cut(connect.asker, connect.answerer)
        self._say(f"{self.name(client)} is cut off from the server for {seconds:g} s")

    def _is_cut(self, one: Host, other: Host) -> bool:
        return frozenset((one.address, other.address)) in self._cuts

    def _heal(self) -> None:
        for pair, until in list(self._cuts.items()):
            if until <= self.world.now:
                del self._cuts[pair]
                self.world.network.heal(*pair)
                self._say(f"{' and '.join(sorted(host for host, _ in pair))} are joined again")

    def _mend(self) -> None:
        """No datagram is lost any more: what is still waited for is waited for in vain."""
        hosts = {host for host, _ in self.addresses}
        for one in hosts:
            for other in hosts - {one}:
                self.world.network.set_link(one, other, loss=0.0)

    def _settle(self) -> None:
        """Heal everything, rejoin, and wait until nothing is waited for."""
        world = self.world
        world.run_for(max([until - world.now for until in self._cuts.values()], default=0.0))
        self._heal()
        for client in self.clients:
            self._connect(client, self.server)
        deadline = world.now + CALLS_END_WITHIN_S
        while waiting := self._waiting():
            require(world.now < deadline, f"{waiting} calls or messages never end")
            world.run_for(1.0)
            self._read()
        for host in self.living:
            self._read_all(host)

    def _waiting(self) -> int:
        """Calls that have not ended, and messages that nobody calls for, such as echoes."""
        return sum(
            1
            for host, token in self._calls()
            if host not in self.gone and token not in host.outcomes
        ) + sum(len(peer.channel.sender) for host in self.living for peer in host.endpoint.peers)
