"""What the core alone costs: microseconds a datagram, with few peers and with many.

No socket and no event loop: bytes in, bytes and events out, in batches as the pump hands them
over. Making the datagrams that go in is not counted.
"""

import gc
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import own_node_info
from p2ptui.wire.address import Address
from p2ptui.wire.message import OWN_CAPABILITIES

PEERS: Final = (1, 100, 10_000)
DATAGRAMS: Final = 20_000
"""Datagrams in one round."""

BATCH: Final = 256
"""Datagrams in a batch, as the pump reads them."""

DAY_S: Final = 86_400.0
SETTLE_S: Final = 7_000.0
"""The time after the handshakes: long enough to give up all news of peers, which nobody
acknowledges, but before the first heartbeat."""

TEXT: Final = "x" * 64


@dataclass(slots=True)
class _Client:
    """A simulated peer: its address, and the number of its last message."""

    address: Address
    sequence: int


class Bench:
    """A core with a number of peers, each of which has proved its address.

    Args:
        peers: How many.
    """

    def __init__(self, peers: int) -> None:
        config = Config().with_options(
            max_connections=max(peers, 1),
            heartbeat_interval=DAY_S,
            connection_timeout=DAY_S,
            enable_rate_limiting=False,
        )
        identity = own_node_info(_uuid(0), "bench", "0", "10.0.0.1:8080", "p2p_default")
        self._rng = random.Random(peers)
        self.endpoint = Endpoint(config, identity, self._rng)
        self.now = 1000.0
        self._ids = count(1)
        self._clients = [self._join(number) for number in range(1, peers + 1)]
        end = self.now + SETTLE_S
        while (due := self.endpoint.next_timeout()) is not None and due < end:
            self.now = due
            self.endpoint.handle_timeout(due)
            self._drain()
        self.now = end

    def _join(self, number: int) -> _Client:
        high, low = divmod(number, 250)
        address = (f"10.1.{high}.{low}", 8080)
        client = _Client(address, self._rng.getrandbits(24))
        node_id = _uuid(number)
        payload = {
            "id": node_id,
            "node_id": node_id,
            "name": f"peer-{number}",
            "version": "1",
            "listen_addr": f"{address[0]}:8080",
            "capabilities": OWN_CAPABILITIES,
            "metadata": {},
            "network_id": "p2p_default",
            "padding": " " * 200,
        }
        request = self.message("HandshakeRequest", payload, client.sequence, requires_ack=True)
        self.endpoint.receive_datagram(request, address, self.now)
        for data, receiver in self._drain():
            if receiver == address and b'"HandshakeResponse"' in data:
                answer = json.loads(data)
                ack = self.message("Ack", None, ack_for=answer["sequence_number"])
                self.endpoint.receive_datagram(ack, address, self.now)
        peer = self.endpoint.peers.at(address)
        assert peer is not None
        assert peer.is_authenticated
        assert peer.proved
        self._drain()
        return client

    def _drain(self) -> list[tuple[bytes, Address]]:
        datagrams = self.endpoint.datagrams_to_send(self.now)
        while self.endpoint.next_event() is not None:
            pass
        return datagrams

    def message(
        self,
        kind: str,
        payload: Any,
        sequence_number: int | None = None,
        *,
        requires_ack: bool = False,
        ack_for: int | None = None,
    ) -> bytes:
        """The bytes of a message from one of the peers."""
        message = {
            "id": _uuid(next(self._ids)),
            "message_type": kind,
            "timestamp": 1000,
            "payload": payload,
            "sequence_number": sequence_number,
            "requires_ack": requires_ack,
            "ack_for": ack_for,
        }
        return json.dumps(message, separators=(",", ":")).encode()

    # The workloads: datagrams to be received, each of which must be answered by one.

    def pings(self) -> Iterator[tuple[bytes, Address]]:
        """Ping, answered by Pong."""
        for number in range(DATAGRAMS):
            client = self._rng.choice(self._clients)
            yield self.message("Ping", {"nonce": f"{number:016x}"}), client.address

    def data(self) -> Iterator[tuple[bytes, Address]]:
        """Data that needs no Ack, answered by its echo."""
        for number in range(DATAGRAMS):
            client = self._rng.choice(self._clients)
            yield self.message("Data", {"text": TEXT, "n": number}), client.address

    def reliable_data(self) -> Iterator[tuple[bytes, Address]]:
        """Data that is delivered and answered by an Ack; an echo has no echo."""
        for number in range(DATAGRAMS):
            client = self._rng.choice(self._clients)
            client.sequence += 1
            payload = {"echo": TEXT, "n": number}
            message = self.message("Data", payload, client.sequence, requires_ack=True)
            yield message, client.address

    def receive(self, datagrams: list[tuple[bytes, Address]]) -> float:
        """Receive all of them, batch by batch; returns microseconds for each."""
        endpoint = self.endpoint
        answers = 0
        began = time.process_time()
        for start in range(0, len(datagrams), BATCH):
            self.now += 0.001
            for data, address in datagrams[start : start + BATCH]:
                endpoint.receive_datagram(data, address, self.now)
            answers += len(self._drain())
            due = endpoint.next_timeout()
            if due is not None and due <= self.now:
                endpoint.handle_timeout(self.now)
        elapsed = time.process_time() - began
        assert answers == len(datagrams), f"{answers} answers to {len(datagrams)} datagrams"
        return elapsed / len(datagrams) * 1e6


def _uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


KINDS: Final[dict[str, Callable[[Bench], Iterator[tuple[bytes, Address]]]]] = {
    "Ping, Pong": Bench.pings,
    "Data, echo": Bench.data,
    "reliable Data, Ack": Bench.reliable_data,
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Microseconds per datagram: for each kind the medians with 1, 100 and 10,000 peers."""
    benches = [Bench(peers) for peers in PEERS]
    samples: dict[str, list[list[float]]] = {kind: [[] for _ in PEERS] for kind in KINDS}
    for _ in range(rounds):
        for kind, make in KINDS.items():
            for bench, column in zip(benches, samples[kind], strict=True):
                datagrams = list(make(bench))
                gc.collect()
                column.append(bench.receive(datagrams))
    return {kind: [median(column) for column in columns] for kind, columns in samples.items()}
