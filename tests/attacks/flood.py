"""Floods against a running node: what is left for those who are honest, and what memory they take.

    python -m tests.attacks                     # all floods, as given and at ten times the rate
    python -m tests.attacks.flood numbers --rate 5000 --seconds 5

Three processes on the loopback interface: a node without a screen, as it is started for real; ten
honest nodes, one whose address is forged, and newcomers; and the attacker. The node listens where
it likes. Forging needs raw sockets (Linux, and CAP_NET_RAW); floods without it come from the
attacker's own sockets. Rates and times are bounded, and nothing leaves the machine.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from p2ptui import Config, Node
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.errors import P2PError
from p2ptui.wire.frames import Fragment, encode_fragment
from tests.bench.load import shake_hands
from tests.patience import PATIENCE_S

HONEST: Final = 10
MESSAGES_A_SECOND: Final = 10
"""Of each honest node."""
IN_TIME_S: Final = 2.0
"""A message that is acknowledged later than this counts as lost."""
NEWCOMER_EVERY_S: Final = 0.5
AFTERWARDS: Final = 5
"""Messages that the forged peer sends when the flood is over."""
GIVEN_BACK_S: Final = 10.0
_MODULE: Final = __spec__.name if __spec__ else __name__

NEWCOMER_S: Final = 1.0
"""Until a newcomer is served, on a quiet machine."""
MOST_GROWN_BYTES: Final = 5_000_000
MOST_KEPT_BYTES: Final = 3_000_000
"""Of these, what the allocator may keep for the next time."""


# What is sent.


def message(kind: str, payload: Any, key: str, **fields: Any) -> bytes:
    """A message as bytes."""
    text = {
        "id": key,
        "message_type": kind,
        "timestamp": 1,
        "payload": payload,
        "sequence_number": None,
        "requires_ack": False,
        "ack_for": None,
    }
    return json.dumps(text | fields, separators=(",", ":")).encode()


def numbers(count: int, first: int) -> bytes:
    """Each number is a thousand beyond the last one: a gap, and a window that moves."""
    number = (first + 1000 * (count + 1)) & 0xFFFFFFFF
    return message("Data", "x", f"n{count}", sequence_number=number, requires_ack=True)


def near_numbers(count: int, first: int) -> bytes:
    """Every second number within the window: as many gaps as there can be."""
    number = (first + 2 * (count % 480 + 1)) & 0xFFFFFFFF
    return message("Data", "x", f"g{count}", sequence_number=number, requires_ack=True)


def last_fragment(count: int, first: int) -> bytes:
    """The last one of 4,096, again and again."""
    total = 4096 * 256
    return encode_fragment(Fragment((first + 2) & 0xFFFFFFFF, total, 256, 4095, b"x" * 256))


def first_fragments(count: int, first: int) -> bytes:
    """Each begins a large message of its own."""
    number = (first + 1 + count % 900) & 0xFFFFFFFF
    return encode_fragment(Fragment(number, 1 << 20, 1000, count % 1000, b"x" * 1000))


def peer_list(count: int, first: int) -> bytes:
    """800 nodes that nobody has heard of."""
    seed = random.Random(count)
    entries = [
        {"id": str(uuid.UUID(int=seed.getrandbits(128))), "addr": "1.1.1.1:1", "last_seen": 1}
        for _ in range(800)
    ]
    return message("DiscoveryResponse", entries, f"l{count}")


def data(count: int, first: int) -> bytes:
    """Small Data."""
    return message("Data", {"text": "x" * 40}, f"d{count}")


def deep(count: int, first: int) -> bytes:
    """42 kB that are a hundred times as large once they are decoded."""
    return message("Data", [[]] * 14_000, f"e{count}")


def pings(count: int, first: int) -> bytes:
    """Pings that are answered."""
    return message("Ping", {"nonce": "0123456789abcdef"}, f"p{count}")


def retransmits(count: int, first: int) -> bytes:
    """Asks for what was never sent."""
    return message("Retransmit", {"sequence_number": count}, f"r{count}")


def routed(count: int, first: int) -> bytes:
    """For a node that nobody knows."""
    return message(
        "Data",
        {
            "original_message": {"x": 1},
            "source_node": str(uuid.UUID(int=7)),
            "destination_node": str(uuid.UUID(int=count + 99)),
            "hop_count": 1,
            "max_hops": 9,
            "route_id": str(count),
        },
        f"o{count}",
    )


def handshakes(count: int, first: int) -> bytes:
    """A newcomer each."""
    info = {
        "id": str(uuid.UUID(int=count + 1)),
        "name": "n",
        "version": "1",
        "listen_addr": "1.1.1.1:1",
        "capabilities": ["routing"] * 32,
        "metadata": {f"k{each}": "v" for each in range(16)},
        "network_id": "p2p_default",
    }
    return message("HandshakeRequest", info, f"h{count}", requires_ack=True, sequence_number=1)


def deployed_handshakes(count: int, first: int) -> bytes:
    """Of one that acknowledges nothing."""
    info = {
        "node_id": str(uuid.UUID(int=count + 1)),
        "listen_addr": "1.1.1.1:1",
        "capabilities": ["data_transfer"],
        "metadata": {"padding": " " * 500},
    }
    return message("HandshakeRequest", info, f"h{count}")


def stun(count: int, first: int) -> bytes:
    """A request with as many attributes as fit."""
    body = b"\x80\x22\x00\x00" * 100
    return struct.pack("!HHI", 1, len(body), 0x2112A442) + count.to_bytes(12, "big") + body


def junk(count: int, first: int) -> bytes:
    """Nothing that means anything."""
    return b"{" + b"[" * 100


@dataclass(frozen=True)
class Kind:
    """One flood."""

    write: Callable[[int, int], bytes]
    source: str
    """`forged`: the address of a peer; `random`: addresses of nobody; `peer`: a session of the
    attacker's own."""
    rate: int
    """Datagrams a second, as it is tried in the small form."""
    varied: int = 4096
    """So many different ones are written beforehand, and sent over and over."""


KINDS: Final = {
    "numbers": Kind(numbers, "forged", 5000, 50_000),
    "near-numbers": Kind(near_numbers, "forged", 5000, 50_000),
    "fragment": Kind(last_fragment, "forged", 5000, 1),
    "fragments": Kind(first_fragments, "forged", 5000),
    "pings": Kind(pings, "forged", 5000),
    "retransmits": Kind(retransmits, "forged", 5000),
    "lists": Kind(peer_list, "peer", 50, 200),
    "data": Kind(data, "peer", 5000),
    "deep": Kind(deep, "peer", 500, 50),
    "routed": Kind(routed, "peer", 5000, 20_000),
    "handshakes": Kind(handshakes, "random", 1000, 10_000),
    "in-use": Kind(handshakes, "forged", 1000, 10_000),
    "in-use-deployed": Kind(deployed_handshakes, "forged", 1000, 10_000),
    "stun": Kind(stun, "random", 5000),
    "junk": Kind(junk, "random", 5000, 1),
}


# The attacker.


def attack(kind: Kind, rate: float, seconds: float, port: int, forged: int, first: int) -> int:
    """Send at a rate for a time; how many left."""
    server = ("127.0.0.1", port)
    written = min(kind.varied, int(rate * seconds) + 1)
    texts = [kind.write(each, first) for each in range(written)]
    send: Callable[[int], Any]
    if kind.source == "peer":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        sock.bind(("127.9.9.9", 0))
        shake_hands(sock, server)
        sock.setblocking(False)

        def send(number: int) -> None:
            sock.sendto(texts[number % written], server)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        sock.setblocking(False)
        source = random.Random(first)
        packets = [
            packet(
                text,
                b"\x7f\x00\x00\x01" if kind.source == "forged" else _somewhere(source),
                forged if kind.source == "forged" else source.randint(1024, 65535),
                port,
            )
            for text in texts
        ]

        def send(number: int) -> None:
            sock.sendto(packets[number % written], ("127.0.0.1", 0))

    print("ready", flush=True)
    sys.stdin.readline()
    sent = 0
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        while sent < passed * rate:
            with suppress(BlockingIOError, InterruptedError):
                send(sent)
            sent += 1
            if not sent % 64 and time.monotonic() - began > seconds:
                break
        time.sleep(0.001)
    return sent


def _somewhere(source: random.Random) -> bytes:
    return bytes((127, source.randint(1, 254), source.randint(0, 255), source.randint(1, 254)))


_HERE: Final = b"\x7f\x00\x00\x01"


def packet(data: bytes, host: bytes, source: int, port: int, to: bytes = _HERE) -> bytes:
    """A datagram with its headers, for a raw socket: from a host and port to others."""
    length = 28 + len(data)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 17, 0, host, to)
    return ip + struct.pack("!HHHH", source, port, length - 20, 0) + data


# The honest.


@dataclass
class Served:
    """What became of what the honest nodes sent."""

    sent: int = 0
    delivered: int = 0
    waits_s: list[float] = field(default_factory=list)

    async def send(self, node: Node, server: str) -> None:
        """Send one message, and see whether it is acknowledged in time."""
        self.sent += 1
        began = time.monotonic()
        with suppress(P2PError):
            result = await node.send(server, "x" * 64, timeout_s=IN_TIME_S)
            if result.delivered:
                self.delivered += 1
                self.waits_s.append(time.monotonic() - began)


def _config() -> Config:
    return Config().with_options(address="127.0.0.1:0", enable_discovery=False)


async def be_honest(port: int) -> None:
    """Ten peers, the forged one, and newcomers; told what to do by lines."""
    server = f"127.0.0.1:{port}"
    nodes = [Node(_config()) for _ in range(HONEST + 1)]
    for node in nodes:
        await node.start()
        await node.connect(server, timeout_s=30)
    forged = nodes.pop()
    left: list[PeerStatus] = []
    events = forged.events()

    async def watch() -> None:
        async for event in events:
            if isinstance(event, PeerStatusChanged):
                left.append(event.status)

    watching = asyncio.ensure_future(watch())
    for node in (*nodes, forged):
        await node.send(server, "hello", timeout_s=30)
    peer = next(iter(forged._endpoint.peers))
    while True:
        print(json.dumps([forged.address[1], peer.channel.sender.numbering.next]), flush=True)
        served = await _be_served(nodes, forged, server)
        print(json.dumps(served | {"forged_ends": [status.value for status in left]}), flush=True)
        # The sessions stay while the memory is measured, and through the next flood.
        if sys.stdin.readline() == "end\n":
            break
    watching.cancel()
    for node in (*nodes, forged):
        await node.close()


async def _be_served(nodes: list[Node], forged: Node, server: str) -> dict[str, Any]:
    """Send and come until a line is read; what became of it."""
    loop = asyncio.get_running_loop()
    served, own = Served(), Served()
    newcomers: list[float] = []
    running = loop.run_in_executor(None, sys.stdin.readline)
    number = 0
    tasks = set()

    def begin(work: Any) -> None:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    began = time.monotonic()
    while not running.done():
        begin(served.send(nodes[number % HONEST], server))
        if number % (HONEST * MESSAGES_A_SECOND) == 0:
            begin(own.send(forged, server))
        if number % int(NEWCOMER_EVERY_S * HONEST * MESSAGES_A_SECOND) == 0:
            begin(_come(server, newcomers))
        number += 1
        due = began + number / (HONEST * MESSAGES_A_SECOND)
        await asyncio.sleep(max(due - time.monotonic(), 0))
    await asyncio.gather(*tasks, return_exceptions=True)
    results = await asyncio.gather(
        *(forged.send(server, "after", timeout_s=20) for _ in range(AFTERWARDS)),
        return_exceptions=True,
    )
    return {
        "sent": served.sent,
        "delivered": served.delivered,
        "slowest_s": max(served.waits_s, default=0.0),
        "newcomers_s": newcomers,
        "forged_delivered": [own.delivered, own.sent],
        "forged_afterwards": sum(getattr(result, "delivered", False) for result in results),
    }


async def _come(server: str, taken_s: list[float]) -> None:
    """A node that nobody has seen; how long it takes to be served."""
    began = time.monotonic()
    node = Node(_config())
    try:
        await node.start()
        await node.connect(server, timeout_s=10)
        taken_s.append(time.monotonic() - began)
    except P2PError:
        taken_s.append(10.0)
    finally:
        await node.close()


# All together.


@dataclass(frozen=True)
class Report:
    """What a flood did."""

    kind: str
    rate: float
    attempted: int
    """Datagrams that the attacker sent; 0 without an attack."""
    sent: int
    delivered: int
    slowest_s: float
    newcomers_s: list[float]
    forged_delivered: list[int]
    forged_ends: list[str]
    forged_afterwards: int
    grown_bytes: int
    """Most that the node's memory grew by under the flood."""
    kept_bytes: int
    """What is left of that some seconds afterwards."""
    cpu_share: float
    """Of one processor, that the node used."""

    @property
    def share(self) -> float:
        """Of the honest messages, what was acknowledged in time."""
        return self.delivered / max(self.sent, 1)

    def faults(self, times: float = 1, slower: float = 1) -> list[str]:
        """What was promised, and is not so.

        Args:
            times: How many times the usual rate it was.
            slower: How many times slower a newcomer may be than on a quiet machine.
        """
        least = 0.9 if times == 1 else 0.5
        held = {
            f"honest >= {least:.0%}": self.share >= least,
            f"newcomers < {NEWCOMER_S * slower:.0f} s": (
                times > 1 or max(self.newcomers_s, default=0) < NEWCOMER_S * slower
            ),
            "the forged peer stays": not self.forged_ends,
            "its messages arrive": self.forged_afterwards == AFTERWARDS,
            f"memory +{MOST_GROWN_BYTES / 1e6:.0f} MB": self.grown_bytes <= MOST_GROWN_BYTES,
            "memory given back": self.kept_bytes <= MOST_KEPT_BYTES,
        }
        return [name for name, holds in held.items() if not holds]

    def line(self) -> str:
        """In one line."""
        return (
            f"{self.kind:13} {self.attempted:7} sent  honest {self.share:6.1%}"
            f" (slowest {self.slowest_s:.2f} s)"
            f"  newcomers {max(self.newcomers_s, default=0):.2f} s"
            f"  forged {self.forged_delivered[0]}/{self.forged_delivered[1]}"
            f" then {self.forged_afterwards}/{AFTERWARDS} {self.forged_ends or 'stays'}"
            f"  memory +{self.grown_bytes / 1e6:.1f} MB, then +{self.kept_bytes / 1e6:.1f}"
            f"  cpu {self.cpu_share:.0%}"
        )


def can_forge() -> bool:
    """Whether this process may write the source of a datagram."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except (AttributeError, OSError):
        return False
    return sys.platform == "linux"


def run_flood(
    name: str,
    rate: float | None = None,
    seconds: float = 5.0,
    *,
    given_back_s: float = GIVEN_BACK_S,
) -> Report:
    """Start all, attack, and tell what it did.

    Args:
        name: Which of `KINDS`; `none` is no attack.
        rate: Datagrams a second; without it as the kind says.
        seconds: How long.
        given_back_s: How long after the flood the memory is looked at, at most.
    """
    (report,) = run_floods([(name, rate)], seconds, given_back_s=given_back_s)
    return report


def run_floods(
    floods: Iterable[tuple[str, float | None]],
    seconds: float,
    *,
    given_back_s: float = GIVEN_BACK_S,
) -> Iterator[Report]:
    """Attack one node with one flood after the other.

    What memory they take is counted from before the first.

    Args:
        floods: Kinds and rates, as for `run_flood`.
        seconds: How long each.
        given_back_s: As for `run_flood`.
    """
    with tempfile.TemporaryFile("w+") as log, Running() as running:
        server = running.start(
            "-m", "p2ptui", "--no-ui", "-a", "127.0.0.1:0", "--enable-discovery", "false",
            stderr=log,
        )  # fmt: skip
        port = _port_in(log)
        honest = running.start("-m", _MODULE, "honest", str(port))
        before = 0
        for name, rate in floods:
            forged, first = json.loads(honest.stdout.readline())
            if not before:
                # Once quietly, so that what is made for the first time is there before it is
                # measured.
                time.sleep(1.0)
                before = _memory(server.pid)
            arguments = (port, forged, first, seconds)
            yield _flood(running, server.pid, honest, (name, rate), arguments, before, given_back_s)
            _tell(honest, "next")
        honest.stdout.readline()
        _tell(honest)
        honest.stdout.readline()
        _tell(honest, "end")
        honest.wait(PATIENCE_S)


def _flood(
    running: "Running",
    pid: int,
    honest: Any,
    flood: tuple[str, float | None],
    arguments: tuple[int, int, int, float],
    before: int,
    given_back_s: float,
) -> Report:
    name, given = flood
    rate = (KINDS[name].rate if name in KINDS else 0.0) if given is None else given
    port, forged, first, seconds = arguments
    highest, attempted = before, 0
    attacker = None
    if name in KINDS:
        attacker = running.start(
            "-m", _MODULE, "attack", name,
            str(port), str(forged), str(first), str(rate), str(seconds),
        )  # fmt: skip
        assert attacker.stdout.readline() == "ready\n"
        _tell(attacker)
    cpu, began = _cpu_s(pid), time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(0.1)
        highest = max(highest, _memory(pid))
    used_s = _cpu_s(pid) - cpu
    spent_s = time.monotonic() - began
    if attacker is not None:
        attempted = int(attacker.stdout.readline())
    over = time.monotonic()
    _tell(honest)
    served = json.loads(honest.stdout.readline())
    while (kept := _memory(pid) - before) > MOST_KEPT_BYTES:
        if time.monotonic() - over > given_back_s:
            break
        highest = max(highest, before + kept)
        time.sleep(0.1)
    return Report(
        name,
        rate,
        attempted,
        grown_bytes=highest - before,
        kept_bytes=kept,
        cpu_share=used_s / spent_s,
        **served,
    )


class Running:
    """Processes that end with this."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Running":
        return self

    def start(self, *arguments: str, stderr: IO[str] | None = None) -> Any:
        """Start a Python of the same kind."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            bufsize=1,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._processes.append(process)
        return process

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _tell(process: Any, what: str = "") -> None:
    process.stdin.write(f"{what}\n")
    process.stdin.flush()


def _port_in(log: IO[str]) -> int:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        log.seek(0)
        found = re.search(r"listening on [0-9.]+:(\d+)", log.read())
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise TimeoutError("the node does not start")


def _memory(pid: int) -> int:
    """Resident bytes, without what is shared with other processes."""
    fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """One flood, or one of its processes."""
    if sys.argv[1] == "honest":
        asyncio.run(be_honest(int(sys.argv[2])))
        return
    if sys.argv[1] == "attack":
        kind = KINDS[sys.argv[2]]
        port, forged, first = map(int, sys.argv[3:6])
        print(attack(kind, float(sys.argv[6]), float(sys.argv[7]), port, forged, first), flush=True)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["none", *KINDS])
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    print(run_flood(options.kind, options.rate, options.seconds).line())


if __name__ == "__main__":
    main()
