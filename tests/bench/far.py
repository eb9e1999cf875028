"""What relayed and sealed datagrams cost in the core alone: `python -m tests.bench.far`.

Relay frames, routed messages, STUN, and sealed traffic: bytes in, bytes out, without a socket or an
event loop, in batches as the pump hands them over. Each figure is the least of many short rounds,
since other load on the machine only adds to it; `--json` is for a program that compares two
checkouts in turn. `--profile` instead shows where the time of one row goes.
"""

import argparse
import cProfile
import gc
import json
import pstats
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address
from p2ptui.wire.frames import RELAY, encode_relay
from p2ptui.wire.stun import MessageClass, StunMessage, encode
from tests.bench.secured import SERVER, endpoint, meet

BATCH: Final = 64
"""Datagrams in a batch, as the pump reads them; also one round."""

DATAGRAMS: Final = 1_024
"""Datagrams made at a time."""

PACE_S: Final = 0.001
"""The time of a batch, by the clock of the core: no client exceeds its rate."""

STRANGERS: Final = 4
"""Hosts that send STUN requests."""

PEERS_LISTED: Final = 200
TEXT: Final = "x" * 64


@dataclass(slots=True)
class Client:
    """A simulated peer: its core, and its address."""

    core: Endpoint
    address: Address


@dataclass
class Town:
    """A core that serves, and two clients that have proved their addresses."""

    secured: bool
    first: int = 1
    """The number of the server; those of the clients follow."""
    has_keys: bool = False
    """Whether the server has keys although it speaks in the open, like those of a cluster."""
    clients: list[Client] = field(default_factory=list)
    now: float = 1000.0

    def __post_init__(self) -> None:
        """Shake hands, and let the opening messages pass."""
        self._ids = count(1)
        self.server = endpoint(self.first, SERVER, secured=self.secured or self.has_keys)
        self.server.reload(
            self.server.config.with_options(
                enable_rate_limiting=True,
                max_requests_per_ip=1_000_000,
                allow_symmetric_nat_relay=True,
                max_relay_rate_per_client=10**9,
            )
        )
        own: dict[Place, Address | None] = {Place.OWN: SERVER}
        self.server.stun.open(own, None)  # type: ignore[arg-type]
        for number in (self.first + 1, self.first + 2):
            address = (f"10.1.0.{number}", 8080)
            client = Client(endpoint(number, address, secured=self.secured), address)
            meet(self.server, client.core, address, self.now)
            self.clients.append(client)
        self.settle()

    def settle(self) -> None:
        """Deliver everything that they send for some minutes."""
        until = self.now + 300.0
        cores = {client.address: client.core for client in self.clients}
        while self.now < until:
            said = True
            while said:
                said = False
                for data, to in self._out(self.server):
                    if to in cores:
                        cores[to].receive_datagram(data, SERVER, self.now)
                        said = True
                for address, core in cores.items():
                    for data, _ in self._out(core):
                        self.server.receive_datagram(data, address, self.now)
                        said = True
            self.now += 1.0
            for core in (self.server, *cores.values()):
                core.handle_timeout(self.now)
        for client in self.clients:
            peer = self.peer(client)
            assert peer.proved
            assert peer.is_secured is self.secured

    def _out(self, core: Endpoint) -> list[tuple[bytes, Address]]:
        while core.next_event() is not None:
            pass
        return core.datagrams_to_send(self.now)

    def peer(self, client: Client) -> Peer:
        """The server's peer for a client."""
        peer = self.server.peers.at(client.address)
        assert peer is not None
        return peer

    def said(self, client: Client, data: bytes) -> bytes:
        """A datagram as a client sends it: sealed, if it has a seal."""
        peer = client.core.peers.at(SERVER)
        assert peer is not None
        return data if peer.seal is None else peer.seal.session.seal(data)

    def message(self, kind: str, payload: Any, **fields: Any) -> bytes:
        """The bytes of a message."""
        made = {
            "id": f"{next(self._ids):08x}-0000-4000-8000-feedfeedfeed",
            "message_type": kind,
            "timestamp": 1000,
            "payload": payload,
            "sequence_number": None,
            "requires_ack": False,
            "ack_for": None,
        }
        return json.dumps(made | fields, separators=(",", ":")).encode()

    def _turns(self) -> Iterator[tuple[Client, Client, int]]:
        one, other = self.clients
        for number in range(DATAGRAMS):
            yield (one, other, number) if number & 1 else (other, one, number)

    # The workloads: datagrams to be received, each of which must be answered by one.

    def stun(self) -> Iterator[tuple[bytes, Address]]:
        """Binding requests without attributes."""
        return self._stun(fingerprint=False)

    def stun_fingerprint(self) -> Iterator[tuple[bytes, Address]]:
        """Binding requests with SOFTWARE and FINGERPRINT."""
        return self._stun(fingerprint=True)

    def _stun(self, *, fingerprint: bool) -> Iterator[tuple[bytes, Address]]:
        for number in range(DATAGRAMS):
            request = StunMessage(
                message_class=MessageClass.REQUEST,
                transaction_id=next(self._ids).to_bytes(12, "big"),
                software="a client" if fingerprint else None,
                fingerprint=fingerprint,
            )
            yield encode(request), (f"10.2.0.{number % STRANGERS}", 40_000 + number % 16)

    def relay(self) -> Iterator[tuple[bytes, Address]]:
        """Relay frames with a message of two nodes that speak in the open."""
        for one, other, _ in self._turns():
            inner = self.message("Data", {"text": TEXT})
            yield self.relayed(one, other, inner)

    def relay_sealed(self) -> Iterator[tuple[bytes, Address]]:
        """Relay frames with a frame that two nodes have sealed for each other."""
        for one, other, number in self._turns():
            inner = b"\xe0" + number.to_bytes(12, "big") + bytes(200)
            yield self.relayed(one, other, inner)

    def relayed(self, one: Client, other: Client, inner: bytes) -> tuple[bytes, Address]:
        """The datagram with which one client has something relayed to the other."""
        head = bytes.fromhex(other.core.identity.id.replace("-", ""))
        return self.said(one, encode_relay(RELAY, head, inner)), one.address

    def relay_request(self) -> Iterator[tuple[bytes, Address]]:
        """RelayRequests, as deployed clients relay bytes; each is relayed and answered."""
        for one, other, _ in self._turns():
            payload = {
                "target_peer_id": other.core.identity.id,
                "data": list(range(64)),
            }
            yield self.said(one, self.message("RelayRequest", payload)), one.address

    def routed(self) -> Iterator[tuple[bytes, Address]]:
        """Routed messages from one client to the other."""
        for one, other, _ in self._turns():
            inner = json.loads(self.message("Data", {"text": TEXT}))
            payload = {
                "original_message": inner,
                "source_node": one.core.identity.id,
                "destination_node": other.core.identity.id,
                "hop_count": 0,
                "max_hops": 10,
                "route_id": f"{next(self._ids):08x}-0000-4000-8000-feedfeedfeed",
            }
            yield self.said(one, self.message("Data", payload)), one.address

    def echo(self) -> Iterator[tuple[bytes, Address]]:
        """Data, answered by its echo."""
        for one, _, number in self._turns():
            message = self.message("Data", {"text": TEXT, "n": number})
            yield self.said(one, message), one.address

    def ping(self) -> Iterator[tuple[bytes, Address]]:
        """Ping, answered by Pong."""
        for one, _, number in self._turns():
            message = self.message("Ping", {"nonce": f"{number:016x}"})
            yield self.said(one, message), one.address

    def reliable(self) -> Iterator[tuple[bytes, Address]]:
        """Data that is delivered and answered by an Ack; an echo has no echo."""
        for one, _, number in self._turns():
            peer = one.core.peers.at(SERVER)
            assert peer is not None
            payload = {"echo": TEXT, "n": number}
            fields = {
                "sequence_number": peer.channel.sender.numbering.take(),
                "requires_ack": True,
            }
            yield self.said(one, self.message("Data", payload, **fields)), one.address

    def receive(self, datagrams: list[tuple[bytes, Address]], answers: int) -> float:
        """Receive all of them, batch by batch; returns microseconds per datagram, in the quickest
        batch."""
        server = self.server
        least = float("inf")
        for start in range(0, len(datagrams), BATCH):
            batch = datagrams[start : start + BATCH]
            self.now += PACE_S
            now = self.now
            began = time.perf_counter()
            for data, address in batch:
                server.receive_datagram(data, address, now)
            out = server.datagrams_to_send(now)
            while server.next_event() is not None:
                pass
            least = min(least, time.perf_counter() - began)
            drops = server.counters.drops
            assert len(out) == answers * len(batch), f"{len(out)} to {len(batch)}: {drops}"
            due = server.next_timeout()
            if due is not None and due <= now:
                server.handle_timeout(now)
                server.datagrams_to_send(now)
        return least / BATCH * 1e6


Make = Callable[[Town], Iterator[tuple[bytes, Address]]]

ROWS: Final[dict[str, tuple[Make, bool, int]]] = {
    "STUN Binding": (Town.stun, False, 1),
    "STUN Binding, SOFTWARE and FINGERPRINT": (Town.stun_fingerprint, False, 1),
    "relay frame, open hops": (Town.relay, False, 1),
    "relay frame, secured hops": (Town.relay_sealed, True, 1),
    "RelayRequest": (Town.relay_request, False, 2),
    "routed, open hops": (Town.routed, False, 1),
    "routed, secured hops": (Town.routed, True, 1),
    "echo, secured": (Town.echo, True, 1),
    "Ping, secured": (Town.ping, True, 1),
    "reliable Data, secured": (Town.reliable, True, 1),
    "echo, open": (Town.echo, False, 1),
    "Ping, open": (Town.ping, False, 1),
    "reliable Data, open": (Town.reliable, False, 1),
}
"""The input, whether the server has sealed sessions, and how many datagrams answer each."""


def measure(rounds: int, only: str = "") -> dict[str, float]:
    """Microseconds per datagram of each row, the least of all rounds."""
    towns = {secured: Town(secured=secured) for secured in (False, True)}
    rows = {name: row for name, row in ROWS.items() if only in name}
    least = dict.fromkeys(rows, float("inf"))
    gc.disable()
    for _ in range(rounds):
        for name, (make, secured, answers) in rows.items():
            town = towns[secured]
            datagrams = list(make(town))
            gc.collect()
            least[name] = min(least[name], town.receive(datagrams, answers))
    return least


def profile(only: str) -> None:
    """Show where the time of the first row with these words in its name goes."""
    make, secured, answers = next(row for name, row in ROWS.items() if only in name)
    town = Town(secured=secured)
    batches = [list(make(town)) for _ in range(8)]
    profiler = cProfile.Profile()
    for batch in batches:
        profiler.enable()
        town.receive(batch, answers)
        profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.far", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="of each row (10)")
    parser.add_argument("--only", default="", help="rows with these words in their name")
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.add_argument("--profile", action="store_true", help="where the time of one row goes")
    options = parser.parse_args()
    if options.profile:
        profile(options.only)
        return
    figures = measure(options.rounds, options.only)
    if options.json:
        print(json.dumps(figures))
        return
    print("| datagram in | microseconds |\n| --- | ---: |")
    for name, figure in figures.items():
        print(f"| {name} | {figure:.2f} |")


if __name__ == "__main__":
    main()
