"""Where the core's time for a datagram goes, step by step: `python -m tests.bench.steps`.

Each step is called by itself on the node of the core benchmark, with one peer, and its figure is
the least of many short rounds. The table is that of docs/hot-path.md.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.encoded import Encoded
from p2ptui.core.events import DataReceived, Path
from p2ptui.wire.codec import decode_envelope
from p2ptui.wire.message import Envelope, MessageType
from tests.bench.core import TEXT, Bench

ROUNDS: Final = 60
CALLS: Final = 256

DIRECT: Final = Path.DIRECT

KINDS: Final[dict[str, tuple[str, Any, bool]]] = {
    "Ping": ("Ping", {"nonce": f"{1:016x}"}, False),
    "Data, echo": ("Data", {"text": TEXT, "n": 1}, False),
    "reliable Data": ("Data", {"echo": TEXT, "n": 1}, True),
}


class Steps:
    """One node with one peer, and the parts that a datagram passes."""

    def __init__(self) -> None:
        self.bench = Bench(1)
        endpoint = self.bench.endpoint
        self.client = self.bench._clients[0]
        peer = endpoint.peers.at(self.client.address)
        assert peer is not None
        self.peer = peer
        self.state = endpoint._state
        self.arrivals = endpoint._dispatch._arrivals
        self.inbox = self.arrivals._inbox
        self.delivery: Delivery = endpoint._delivery

    def least(self, make: Callable[[], Any], call: Callable[[Any], object]) -> float:
        """Microseconds of a call, the least of the rounds."""
        best = float("inf")
        gate = self.state.gate
        for _ in range(ROUNDS):
            made = [make() for _ in range(CALLS)]
            gate.note_arrival(self.peer.purse, self.client.address, 0)
            gate.vouch()
            began = time.perf_counter()
            for each in made:
                call(each)
            best = min(best, time.perf_counter() - began)
            gate.settle()
            self.bench._drain()
        return best / CALLS * 1e6

    def datagram(self, kind: str, payload: Any, *, asks: bool) -> bytes:
        """The incoming datagram."""
        self.client.sequence += asks
        number = self.client.sequence if asks else None
        return self.bench.message(kind, payload, number, requires_ack=asks)

    def measure(self, kind: str, payload: Any, *, asks: bool) -> dict[str, float]:
        """Microseconds of each step of one datagram; they add up to the whole."""
        peer, now = self.peer, self.bench.now
        address, channel, delivery = self.client.address, self.peer.channel, self.delivery

        def make() -> bytes:
            return self.datagram(kind, payload, asks=asks)

        def decoded() -> Envelope:
            return decode_envelope(make())

        idle = self.least(lambda: None, lambda _: None)
        step = {
            "all": self.least(make, lambda d: self.bench.endpoint.receive_datagram(d, address, now))
            - idle,
            "arrivals": self.least(make, lambda d: self.arrivals.receive(d, address, peer, now)),
            "decoded": self.least(make, decode_envelope) - idle,
            "inbox": self.least(decoded, lambda m: self.inbox.receive(peer, m, now)),
            "known": (
                self.least(decoded, lambda m: channel.judge(m, numbered=True))
                if asks
                else self.least(decoded, channel.is_repeated)
            )
            - idle,
            "read": self.least(decoded, self.inbox._table.read) - idle,
            "written": self.least(
                decoded,
                (lambda m: delivery._build_ack(m, now))
                if asks
                else (lambda m: delivery.write(MessageType.PONG, m.payload, now)),
            )
            - idle,
        }
        answer = delivery.write(MessageType.PONG, decoded().payload, now)
        step["left"] = self.least(lambda: answer, lambda d: delivery._put(peer, d, "", now)) - idle
        step["told"] = 0.0
        if kind == MessageType.DATA:
            content = self.inbox._table.read(decoded())[1]
            step["told"] = self.least(
                lambda: content,
                lambda c: self.state.emit(
                    tuple.__new__(
                        DataReceived,
                        (peer.node_id, address, Encoded(c.value), "", DIRECT, False, 1, ""),
                    )
                ),
            )
        named = sum(step[each] for each in ("decoded", "known", "read", "written", "left", "told"))
        return {
            "sender and payment": step["all"] - step["arrivals"],
            "the envelope": step["decoded"],
            "duplicate check": step["known"],
            "row and payload": step["read"],
            "the event": step["told"],
            "writing the answer": step["written"],
            "paying for and sending it": step["left"],
            "between": step["all"] - (step["all"] - step["arrivals"]) - named,
            "all": step["all"],
        }


def main() -> None:
    """Print the table."""
    steps = Steps()
    columns = {
        name: steps.measure(kind, payload, asks=asks)
        for name, (kind, payload, asks) in KINDS.items()
    }
    print("| step | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for step in next(iter(columns.values())):
        print(f"| {step} | " + " | ".join(f"{each[step]:.2f}" for each in columns.values()) + " |")


if __name__ == "__main__":
    main()
