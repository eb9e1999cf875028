"""Whole cores in a simulated network on virtual time: no socket, no event loop, no sleeping.

A `World` holds hosts. Each host is an Endpoint or a hand-driven address (a
`Puppet`, which plays a deployed program byte by byte). Time moves from one
due thing to the next.
"""

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import (
    CallFinished,
    DataDropped,
    DatagramDue,
    DataReceived,
    Event,
    FlowProbeWanted,
    NatFactsWanted,
    SocketsDone,
    SocketsWanted,
)
from p2ptui.core.identity import own_capabilities, own_node_info
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import OwnKeys
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.io.memory import MemoryNetwork
from p2ptui.node.subscription import Subscription
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import Secret
from p2ptui.version import VERSION
from p2ptui.wire.address import Address, AskedAddress, format_address, own_host
from p2ptui.wire.frames import Unfragmented

UNIX_START = 1_795_000_000


class Host:
    """A core at an address of the world."""

    def __init__(
        self,
        world: "World",
        address: Address,
        config: Config,
        node_id: str,
        keys: OwnKeys | None = None,
    ) -> None:
        self.world = world
        self.address = address
        server = config.server
        identity = own_node_info(
            node_id,
            server.name,
            VERSION,
            format_address(address),
            server.network_id,
            own_capabilities(config, has_keys=True) if keys else own_capabilities(config),
        )
        rng = random.Random(f"{world.seed} {address}{world.lives(address) if keys else ''}")
        self.endpoint = Endpoint(config, identity, rng, UNIX_START, keys)
        self.events: list[Event] = []
        self.outcomes: dict[int, Any] = {}
        self.facts: NatFacts | None = None
        """What a diagnosis of this host's NAT finds; without it none ever ends."""
        self.predict: Callable[[Sequence[int]], tuple[Address, ...]] = lambda _ports: ()
        """Where sockets at these ports will be seen, as a prediction would have it."""
        self.new_flows_pass: Callable[[], bool] | None = None
        """What a probe of a new flow finds; without it none is answered at all."""
        self.sockets: dict[int, Beside] = {}
        """Further sockets, by number."""
        self._next_socket = 1
        self.stands_beside = False
        self.doors: dict[str, Door] = {}
        """Further addresses of the host, at the same port."""
        self.reader: Subscription | None = None
        """A program that reads Data when `read` lets it; without one all is read at once."""

    @property
    def id(self) -> str:
        return self.endpoint.identity.id

    def receive(self, data: bytes, source: Address) -> None:
        self.receive_at(self.address[0], data, source)

    def receive_at(self, own: str, data: bytes, source: Address) -> None:
        """Take a datagram that came to one of several addresses, if there are several."""
        address = AskedAddress(source, own) if self.doors else source
        self.endpoint.receive_datagram(data, address, self.world.now)

    def also_at(self, address: Address) -> Address:
        """Give the host one more address; by itself it sends from the first."""
        self.world.network.attach(address)
        self.doors[address[0]] = Door(self, address)
        self.world.hosts[address] = self.doors[address[0]]
        return address

    def lose(self, address: Address) -> None:
        """Take it away again."""
        self.world.network.detach(address)
        del self.world.hosts[address], self.doors[address[0]]

    def _source_for(self, to: Address) -> Address:
        own = own_host(to)
        return (own, self.address[1]) if own in self.doors else self.address

    def settle(self) -> None:
        # Asked at each step of all hosts: the core's own queues say several times faster than its
        # methods that there is nothing.
        state = self.endpoint._state
        if not (state._outgoing or state._events or state._events_dropped):
            return
        self._transmit()
        while (event := self.endpoint.next_event()) is not None:
            if self.reader is not None and isinstance(event, DataReceived | DataDropped):
                self.reader.put(event)
            else:
                self.events.append(event)
            self._carry_out(event)
            self._transmit()

    def open_reader(self, limit_bytes: int) -> None:
        """From now on Data waits to be read, within this room."""
        self.reader = Subscription(1000, self.endpoint.readers.open(limit_bytes))

    def read(self, count: int) -> int:
        """Let the program read so many messages, at most; how many there were."""
        assert self.reader is not None
        events = self.reader.take(count)
        self.events += events
        self.endpoint.handle_read(self.world.now)
        self._transmit()
        return len(events)

    def _transmit(self) -> None:
        for data, address in self.endpoint.datagrams_to_send(self.world.now):
            how = {"unfragmented": True} if type(data) is Unfragmented else {}
            source = self._source_for(address)
            self.world.network.send(data, source, address, self.world.now, **how)

    def _carry_out(self, event: Event) -> None:
        """What the machinery of a node does."""
        traversal, now = self.endpoint.traversal, self.world.now
        match event:
            case CallFinished(token, outcome):
                self.outcomes[token] = outcome
            case DatagramDue(number, data, to, ttl):
                beside = self.sockets.get(number)
                if number == 0 or beside is not None:
                    source = self._source_for(to) if beside is None else beside.address
                    self.world.network.send(data, source, to, now, expires=ttl is not None)
            case NatFactsWanted():
                if self.facts is not None:
                    traversal.facts_ready(self.facts, now)
            case FlowProbeWanted(node_id):
                if self.new_flows_pass is not None:
                    passes = self.new_flows_pass()
                    traversal.flows.take_probe(node_id, fresh=passes, old=True, now=now)
            case SocketsWanted(node_id, count, predict):
                opened = [self._open_beside() for _ in range(count)]
                numbers = tuple(beside.number for beside in opened)
                ports = [beside.address[1] for beside in opened]
                predicted = self.predict(ports) if predict else ()
                traversal.sockets_ready(node_id, numbers, predicted, now)
            case SocketsDone(numbers):
                for number in numbers:
                    self._close_beside(number)

    def stand_beside(self, address: Address) -> "Beside":
        """Have a socket for IPv6, beside one that reaches IPv4 only."""
        if not self.stands_beside:
            self.endpoint.traversal.standing.reach(4)
        self.stands_beside = True
        beside = self._open_beside(address)
        self.endpoint.traversal.standing.stand_beside(beside.number, (address,), self.world.now)
        self.settle()
        return beside

    def _open_beside(self, address: Address | None = None) -> "Beside":
        address = self.world.network.attach(address or (self.address[0], 0))
        beside = Beside(self, address, self._next_socket)
        self._next_socket += 1
        self.sockets[beside.number] = self.world.hosts[address] = beside
        return beside

    def _close_beside(self, number: int) -> None:
        beside = self.sockets.pop(number, None)
        if beside is not None:
            self.world.network.detach(beside.address)
            del self.world.hosts[beside.address]

    # What a user does, in the words of the transcripts.

    def connect(self, other: "Host | Puppet | Address", timeout_s: float = 10.0) -> int:
        address = other if isinstance(other, tuple) else other.address
        token = self.endpoint.connect(address, self.world.now, timeout_s)
        self.settle()
        return token

    def connect_any(self, *addresses: Address, timeout_s: float = 10.0) -> int:
        token = self.endpoint.connect_any(addresses, self.world.now, timeout_s)
        self.settle()
        return token

    def peer(self, other: "Host | Puppet | Address") -> Peer | None:
        return self.endpoint.peers.at(other if isinstance(other, tuple) else other.address)

    def send(self, other: "Host | Puppet", payload: Any, *, reliable: bool = True) -> int:
        peer = self.peer(other)
        assert peer is not None
        token = self.endpoint.send(peer, payload, self.world.now, reliable=reliable)
        self.settle()
        return token

    def ping(self, other: "Host | Puppet", timeout_s: float = 5.0) -> int:
        peer = self.peer(other)
        assert peer is not None
        if isinstance(other, Puppet):
            other.names_next_ping = True
        token = self.endpoint.ping(peer, self.world.now, timeout_s)
        self.settle()
        return token

    def outcome(self, token: int, within: float = 120.0) -> Any:
        """Run the world until the call has ended; its outcome."""
        self.world.run_until(lambda: token in self.outcomes, within)
        return self.outcomes[token]

    def received(self) -> list[Any]:
        """The payloads of all Data that came, without echoes."""
        return [
            event.payload
            for event in self.events
            if isinstance(event, DataReceived) and not event.is_echo
        ]

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def is_connected_to(self, other: "Host | Puppet") -> bool:
        peer = self.peer(other)
        return peer is not None and peer.is_authenticated


class Beside:
    """A further socket of a host."""

    def __init__(self, host: Host, address: Address, number: int) -> None:
        self.host = host
        self.address = address
        self.number = number

    def receive(self, data: bytes, source: Address) -> None:
        self.host.endpoint.receive_beside(data, source, self.number, self.host.world.now)

    def settle(self) -> None:
        self.host.settle()


class Door:
    """A further address of a host."""

    def __init__(self, host: Host, address: Address) -> None:
        self.host = host
        self.address = address

    def receive(self, data: bytes, source: Address) -> None:
        self.host.receive_at(self.address[0], data, source)

    def settle(self) -> None:
        self.host.settle()


class Puppet:
    """An address played by the test: what it receives is kept, what it sends is up to it.

    It answers Pings with `null`, as every deployed client does, unless told otherwise; those
    are not kept.
    """

    def __init__(self, world: "World", address: Address, node_id: str) -> None:
        self.world = world
        self.address = address
        self.id = node_id
        self.answers_pings = True
        self.names_pings = False
        """Whether its Pongs name their Ping, as our own nodes' do."""
        self.names_next_ping = False
        """Whether the next one does that can: so it proves its address."""
        self.hears: Address | None = None
        """From where its NAT lets datagrams in; None: from everywhere."""
        self.sources: list[Address] = []
        """Where everything came from that was sent to it."""
        self.inbox: deque[bytes] = deque()
        self.bytes_received = 0
        self.bytes_sent = 0

    def receive(self, data: bytes, source: Address) -> None:
        self.bytes_received += len(data)
        self.sources.append(source)
        if self.hears not in (None, source):
            return
        if self.answers_pings and b'"message_type":"Ping"' in data:
            named = json.loads(data)["payload"]
            if not (self.names_pings or self.names_next_ping):
                named = None
            elif named is not None:
                self.names_next_ping = False
            self._transmit(json.dumps(self.message("Pong", named)).encode(), source)
        else:
            self.inbox.append(data)

    def settle(self) -> None:
        pass

    def message(self, kind: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
        """A message as deployed clients write it: every key is there, the number is always 1."""
        return {
            "id": self.world.message_id(),
            "message_type": kind,
            "timestamp": UNIX_START,
            "payload": payload,
            "sender_addr": None,
            "sequence_number": 1,
            "requires_ack": False,
            "ack_for": None,
        } | fields

    def spec_message(self, kind: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
        """The same without `sender_addr`, which only deployed programs write."""
        message = self.message(kind, payload, **fields)
        del message["sender_addr"]
        return message

    def handshake_request(self, **changes: Any) -> dict[str, Any]:
        """What a deployed client opens with; a change to None takes the key away."""
        payload = {
            "id": self.id,
            "name": "puppet",
            "version": "0.3.0",
            "listen_addr": format_address(self.address),
            "capabilities": ["handshake", "discovery", "data_transfer"],
            "metadata": {},
            "network_id": "p2p_default",
        } | changes
        payload = {key: value for key, value in payload.items() if value is not None}
        return self.message("HandshakeRequest", payload, requires_ack=True)

    def join(self, server: Host, **changes: Any) -> list[dict[str, Any]]:
        """Shake hands with a node; what came back within a second."""
        self.send(self.handshake_request(**changes), server)
        self.world.run_for(1)
        return self.take()

    def send(self, message: dict[str, Any] | str | bytes, to: "Host | Address") -> int:
        """Send; returns the bytes sent."""
        if isinstance(message, dict):
            message = json.dumps(message)
        data = message.encode() if isinstance(message, str) else message
        return self._transmit(data, to if isinstance(to, tuple) else to.address)

    def say(self, kind: str, payload: Any, to: Host, **fields: Any) -> dict[str, Any]:
        """Send a message as deployed clients write it; returns it."""
        message = self.message(kind, payload, **fields)
        self.send(message, to)
        return message

    def ask(self, kind: str, payload: Any, of: Host, **fields: Any) -> list[dict[str, Any]]:
        """Send a message; what came back within a second."""
        self.say(kind, payload, of, **fields)
        self.world.run_for(1)
        return self.take()

    def _transmit(self, data: bytes, to: Address) -> int:
        self.bytes_sent += len(data)
        self.world.network.send(data, self.address, to, self.world.now)
        return len(data)

    def take(self) -> list[dict[str, Any]]:
        """All JSON messages received since the last call."""
        messages = [json.loads(data) for data in self.inbox if data[:1] == b"{"]
        self.inbox.clear()
        return messages

    def take_types(self) -> list[str]:
        return [message["message_type"] for message in self.take()]


class World:
    """A network, its hosts and their time."""

    secured = False
    """Whether nodes have keys, where nothing else is said."""

    def __init__(self, seed: int = 0, *, secured: bool | None = None, **link: Any) -> None:
        if secured is not None:
            self.secured = secured
        link.setdefault("latency_s", 0.01)
        self.seed = seed
        self.now = 1000.0
        self.network = MemoryNetwork(seed=seed, **link)
        self.hosts: dict[Address, Host | Beside | Door | Puppet] = {}
        self._nodes: dict[Address, Host] = {}
        self._keys: dict[str, OwnKeys] = {}
        """Of all nodes that were made; one that is made again has its own."""
        self._lives: Counter[Address] = Counter()
        self._next_host = 1
        self._next_node = 0
        self._next_message = 0

    def address(self, port: int = 8080) -> Address:
        self._next_host += 1
        high, low = divmod(self._next_host, 250)
        return (f"10.0.{high}.{low}", port)

    def host(
        self,
        address: Address | None = None,
        node_id: str | None = None,
        keys: OwnKeys | None = None,
        **options: Any,
    ) -> Host:
        """Add a node; options by name, as in `Config.with_options`, and its keys if it has any."""
        address = self.network.attach(address or self.address())
        options.setdefault("name", f"node-{len(self.hosts) + 1}")
        config = Config().with_options(**options)
        if self.secured and keys is None:
            keys = self.keys() if node_id is None else self._keys.get(node_id)
        node_id = node_id or (self.node_id() if keys is None else keys.identity.id)
        host = Host(self, address, config, node_id, keys)
        self.hosts[address] = self._nodes[address] = host
        return host

    def lives(self, address: Address) -> str:
        """What tells the nodes apart that there were at an address: the first has nothing."""
        self._lives[address] += 1
        return f" {self._lives[address]}" if self._lives[address] > 1 else ""

    def keys(self, **options: Any) -> OwnKeys:
        """Keys of a further node: those of a seed that only counts; options as of `OwnKeys`."""
        seed = self.node_id().encode()[:32].ljust(32, b"\0")
        keys = OwnKeys(Identity(Secret(seed)), **options)
        self._keys[keys.identity.id] = keys
        return keys

    def puppet(self, address: Address | None = None, node_id: str | None = None) -> Puppet:
        address = self.network.attach(address or self.address())
        puppet = Puppet(self, address, node_id or self.node_id())
        self.hosts[puppet.address] = puppet
        return puppet

    def node_id(self) -> str:
        self._next_node += 1
        return f"{self._next_node:08x}-0000-4000-8000-{self.seed & 0xFFFFFFFFFFFF:012x}"

    def message_id(self) -> str:
        self._next_message += 1
        return f"{self._next_message:08x}-feed-4000-8000-000000000000"

    def remove(self, host: Host | Puppet) -> None:
        """Take a host away without a word, as a crash does."""
        self.network.detach(host.address)
        del self.hosts[host.address]
        self._nodes.pop(host.address, None)

    def move(self, host: Host) -> None:
        """Give a host another address, as a NAT does that has forgotten its mapping."""
        self.network.detach(host.address)
        del self.hosts[host.address]
        del self._nodes[host.address]
        host.address = self.network.attach(self.address())
        self.hosts[host.address] = self._nodes[host.address] = host

    def run_until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        """Move time until the condition holds; fails if it does not in time (seconds)."""
        end = self.now + within
        while not condition():
            if not self._step(end):
                raise AssertionError(f"not reached within {within} s of virtual time")

    def run_for(self, seconds: float) -> None:
        """Move time on."""
        end = self.now + seconds
        while self._step(end):
            pass

    def _step(self, end: float) -> bool:
        # A test may have had a node do something; after that, only datagrams and time do.
        for node in list(self._nodes.values()):
            node.settle()
        dues = [(node, node.endpoint.next_timeout()) for node in self._nodes.values()]
        due = min((time for _, time in dues if time is not None), default=end)
        delivery = self.network.next_delivery()
        if delivery is not None and delivery < due:
            due = delivery
        if due >= end:
            self.now = end
            return False
        self.now = now = max(due, self.now)
        reached: set[object] = set()
        for data, source, destination in self.network.deliver(now):
            receiver = self.hosts.get(destination)
            if receiver is not None:
                receiver.receive(data, source)
                receiver.settle()
                reached.add(getattr(receiver, "host", receiver))  # it may be one of its sockets
        for node, timeout in dues:
            if node in reached:
                timeout = node.endpoint.next_timeout()
            if timeout is not None and timeout <= now:
                node.endpoint.handle_timeout(now)
                node.settle()
        return True


def prove_all(world: World, server: Host, clients: Sequence[Puppet]) -> None:
    """Have a server ask its clients by a call, which they answer so that it proves their addresses;
    it takes five seconds."""
    world.run_for(0.1)
    for start in range(0, len(clients), 500):
        for client in clients[start : start + 500]:
            server.ping(client)
        world.run_for(0.05)
    world.run_for(4.9 - 0.05 * -(-len(clients) // 500))
