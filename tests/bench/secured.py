"""What sealed sessions cost: `python -m tests.bench.secured`; it is not part of the test run.

Each figure is compared with that of the open dialect, measured in turn in the same run. Bounds
apply to the ratio of the two, not to what this machine can do.
"""

import argparse
import asyncio
import gc
import os
import platform
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import mean, median
from typing import Final

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import own_capabilities, own_node_info
from p2ptui.core.sealing import OwnKeys
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import Secret
from p2ptui.wire.address import Address, format_address
from tests.bench.figure import ROOT, Figure
from tests.bench.load import PAYLOADS, message
from tests.bench.screen_memory import rss_mb

HANDSHAKES: Final = 300
"""Handshakes in one round."""

PEERS: Final = 2_000
"""Peers whose memory is measured."""

WARM_PEERS: Final = 200
"""Peers before that: by then, everything allocated once is there."""

ECHOES: Final = 4_000
"""Most echoes of one load over a socket; all are made before it begins."""

WINDOW: Final = 64
"""Messages in flight: the server never waits for its load, and no buffer overflows."""

CORE_DATAGRAMS: Final = 5_000
SERVER: Final = ("10.0.0.1", 8080)
DAY_S: Final = 86_400.0

IN_THE_OPEN: Final = """
import sys
from p2ptui.commands import session
from p2ptui.node import Node
session.Node = lambda config: Node(config, secured=False)
from p2ptui.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""A command whose node has no keys."""


PATIENT: Final = Config().with_options(
    max_connections=10_000,
    heartbeat_interval=DAY_S,
    connection_timeout=DAY_S,
    enable_rate_limiting=False,
    echo="all",
)
"""A silent peer is kept for a day."""


def endpoint(number: int, address: Address, *, secured: bool, config: Config = PATIENT) -> Endpoint:
    """A core without a socket."""
    keys = OwnKeys(Identity(Secret(number.to_bytes(32, "big")))) if secured else None
    node_id = keys.identity.id if keys else f"{number:08x}-0000-4000-8000-{number:012x}"
    identity = own_node_info(
        node_id,
        f"node {number}",
        "0",
        format_address(address),
        config.server.network_id,
        own_capabilities(config, has_keys=secured),
    )
    return Endpoint(config, identity, random.Random(number), 0.0, keys)


def drained(one: Endpoint, now: float) -> list[bytes]:
    """What it sends now."""
    while one.next_event() is not None:
        pass
    return [data for data, _ in one.datagrams_to_send(now)]


# --- over sockets


def _serve() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.serve", "node", "all"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """A peer of a node on loopback that makes all its messages before a load begins.

    Args:
        port: The port of the node.
        secured: Whether it has keys.
    """

    def __init__(self, port: int, *, secured: bool) -> None:
        self.server = ("127.0.0.1", port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(0.3)
        self.rates: dict[str, list[float]] = {kind: [] for kind in PAYLOADS}
        self.cpu_us: dict[str, list[float]] = {kind: [] for kind in PAYLOADS}
        self.sizes: dict[str, int] = {}
        self.lost = 0
        self._numbers = count(1)
        self._core = core = endpoint(
            random.getrandbits(31), self.sock.getsockname(), secured=secured
        )
        core.connect(self.server, time.monotonic(), 5.0)
        while not self._is_quiet():
            pass
        peer = core.peers.at(self.server)
        assert peer is not None
        assert peer.is_authenticated
        self.peer = peer
        assert self.peer.is_secured is secured

    def _is_quiet(self) -> bool:
        """Whether the opening messages are over; otherwise handle some more."""
        now = time.monotonic()
        for data in drained(self._core, now):
            self.sock.sendto(data, self.server)
        try:
            self._core.receive_datagram(self.sock.recv(65_535), self.server, time.monotonic())
        except TimeoutError:
            return True
        return False

    def _messages(self, kind: str) -> list[bytes]:
        made = []
        for number in range(ECHOES):
            message_id = f"{next(self._numbers):08x}-0000-4000-8000-feedfeedfeed"
            data = message(kind, PAYLOADS[kind], message_id).encode()
            made.append(data if self.peer.seal is None else self.peer.seal.session.seal(data))
            if not number:
                self.sizes[kind] = len(made[0])
        return made

    def load(self, kind: str, pid: int) -> None:
        """Send, and count the answers of any kind."""
        made = self._messages(kind)
        sock, server = self.sock, self.server
        sock.settimeout(0.2)
        sent = answers = 0
        before, began = _cpu_s(pid), time.perf_counter()
        while answers < ECHOES:
            while sent < ECHOES and sent - answers < WINDOW:
                sock.sendto(made[sent], server)
                sent += 1
            try:
                sock.recv(65_535)
            except TimeoutError:
                self.lost += sent - answers
                break
            answers += 1
        elapsed = time.perf_counter() - began
        self.rates[kind].append(answers / elapsed)
        self.cpu_us[kind].append((_cpu_s(pid) - before) / answers * 1e6)


def _median_ratio(ones: list[float], others: list[float]) -> float:
    return median(one / other for one, other in zip(ones, others, strict=True))


def over_sockets(rounds: int) -> list[Figure]:
    """Echo and Ping of a whole node on loopback, by two peers of the same node in turn."""
    with _serve() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            secured, plain = Client(port, secured=True), Client(port, secured=False)
            for _ in range(rounds):
                for kind in PAYLOADS:
                    for client in (secured, plain):
                        client.load(kind, process.pid)
        finally:
            process.stdin.close()
    figures = []
    for kind, words in (("Data", "echo"), ("Ping", "ping")):
        ratio = _median_ratio(secured.rates[kind], plain.rates[kind])
        ours, theirs = median(secured.rates[kind]), median(plain.rates[kind])
        bound = 0.6 if kind == "Data" else None
        figures.append(
            Figure(
                f"{words}, answers a second, secured to open",
                f"{ours:,.0f} / {theirs:,.0f} = {ratio:.2f}",
                f">= {bound}" if bound else "",
                ratio >= bound if bound else None,
            )
        )
        ours, theirs = mean(secured.cpu_us[kind]), mean(plain.cpu_us[kind])
        figures.append(
            Figure(
                f"{words}, CPU of the server an answer",
                f"{ours:.0f} us / {theirs:.0f} us, {theirs / ours:.2f} of the answers",
                "",
                None,
            )
        )
        longer = secured.sizes[kind] - plain.sizes[kind]
        figures.append(Figure(f"{words}, bytes a datagram", f"{longer:+d}", "29", longer == 29))
    lost = secured.lost + plain.lost
    figures.append(Figure("answers that did not come", f"{lost}", "", None))
    return figures


# --- the core alone


@dataclass
class Meeting:
    """The cost of a handshake with one newcomer."""

    cpu_us: list[float] = field(default_factory=list)
    """CPU time of the answering side, datagram by datagram."""
    bytes_in: list[int] = field(default_factory=list)
    bytes_out: list[int] = field(default_factory=list)


def meet(server: Endpoint, client: Endpoint, address: Address, now: float) -> Meeting:
    """Have a core without a socket shake hands with another, until nothing is left to send."""
    meeting = Meeting()
    client.connect(SERVER, now, 5.0)
    to_server = drained(client, now)
    while to_server:
        to_client: list[bytes] = []
        for data in to_server:
            began = time.process_time()
            server.receive_datagram(data, address, now)
            answers = server.datagrams_to_send(now)
            meeting.cpu_us.append((time.process_time() - began) * 1e6)
            to_client += (answer for answer, to in answers if to == address)
        meeting.bytes_in += map(len, to_server)
        meeting.bytes_out += map(len, to_client)
        for data in to_client:
            client.receive_datagram(data, SERVER, now)
        to_server = drained(client, now)
    drained(server, now)
    return meeting


def _address(number: int) -> Address:
    high, low = divmod(number, 250)
    return f"10.1.{high}.{low}", 8080


def _strangers(numbers: Iterator[int], *, secured: bool) -> Iterator[tuple[Endpoint, Address]]:
    for number in numbers:
        yield endpoint(number, _address(number), secured=secured), _address(number)


def _handshakes(first: int, *, secured: bool) -> list[Meeting]:
    server = endpoint(1, SERVER, secured=secured)
    numbers = iter(range(first, first + HANDSHAKES))
    gc.disable()  # the garbage is the clients', which a server does not have
    met = []
    try:
        for number, (client, address) in enumerate(_strangers(numbers, secured=secured)):
            if number % 50 == 0:
                gc.collect()
            # At most 100 a second: under load a token would be required first.
            met.append(meet(server, client, address, 1000.0 + number / 100))
    finally:
        gc.enable()
    return met


def _quickest(ordered: list[float]) -> float:
    return ordered[len(ordered) // 100]


def handshakes(rounds: int) -> list[Figure]:
    """What a handshake costs the answering side: from the request to its greetings.

    Other load on the machine doubles it: one in a hundred is undisturbed.
    """
    cpu_us: dict[bool, list[float]] = {True: [], False: []}
    whole_us: dict[bool, list[float]] = {True: [], False: []}
    wire: dict[bool, str] = {}
    for number in range(rounds):
        for secured in (True, False):
            met = _handshakes(2 + number * HANDSHAKES, secured=secured)
            # A secured newcomer is admitted by its second datagram, an open one by its first.
            cpu_us[secured] += (sum(each.cpu_us[: 1 + secured]) for each in met)
            whole_us[secured] += (sum(each.cpu_us) for each in met)
            one = met[-1]
            wire[secured] = (
                f"{len(one.bytes_in)} in {sum(one.bytes_in):,}, "
                f"{len(one.bytes_out)} out {sum(one.bytes_out):,}"
            )
    quiet, usual, whole = (
        [share(sorted(samples[secured])) / 1000 for secured in (True, False)]
        for samples, share in ((cpu_us, _quickest), (cpu_us, median), (whole_us, _quickest))
    )
    return [
        Figure(
            "handshake, CPU of who answers, secured / open, undisturbed",
            f"{quiet[0]:.3f} ms / {quiet[1]:.3f} ms",
            "0.6 ms",
            quiet[0] <= 0.6,
        ),
        Figure("the same, median", f"{usual[0]:.3f} ms / {usual[1]:.3f} ms", "", None),
        Figure("with all greetings", f"{whole[0]:.3f} ms / {whole[1]:.3f} ms", "", None),
        Figure("handshake, datagrams and bytes, secured", wire[True], "", None),
        Figure("handshake, datagrams and bytes, open", wire[False], "", None),
    ]


def core_alone(rounds: int) -> list[Figure]:
    """A Ping in, a Pong out, without sockets."""
    samples: dict[bool, list[float]] = {True: [], False: []}
    pairs = {}
    for secured in (True, False):
        server, client = (
            endpoint(1, SERVER, secured=secured),
            endpoint(2, _address(2), secured=secured),
        )
        meet(server, client, _address(2), 1000.0)
        peer = client.peers.at(SERVER)
        assert peer is not None
        pairs[secured] = server, peer
    for number in range(rounds):
        for secured, (server, peer) in pairs.items():
            made = []
            for one in range(CORE_DATAGRAMS):
                key = f"{number * CORE_DATAGRAMS + one:08x}-0000-4000-8000-feedfeedfeed"
                data = message("Ping", PAYLOADS["Ping"], key).encode()
                made.append(data if peer.seal is None else peer.seal.session.seal(data))
            gc.collect()
            began = time.process_time()
            for start in range(0, CORE_DATAGRAMS, 250):
                for data in made[start : start + 250]:
                    server.receive_datagram(data, _address(2), 1001.0)
                assert len(server.datagrams_to_send(1001.0)) == 250
            samples[secured].append((time.process_time() - began) / CORE_DATAGRAMS * 1e6)
    ours, theirs = median(samples[True]), median(samples[False])
    ratio = _median_ratio(samples[False], samples[True])
    words = f"{ours:.1f} us / {theirs:.1f} us, {ratio:.2f} of the answers"
    return [Figure("core alone, CPU a Ping and its Pong, secured / open", words, "", None)]


# --- what it takes to be there


def peer_kb(*, secured: bool) -> float:
    """What one more peer takes in the core of a server, kilobytes; in a separate process."""
    server = endpoint(1, SERVER, secured=secured)
    before = 0.0
    for number in range(2, PEERS + WARM_PEERS + 2):
        if number == WARM_PEERS + 2:
            before = rss_mb()
        address = _address(number)
        meet(server, endpoint(number, address, secured=secured), address, 1000.0 + number / 100)
        if number % 100 == 0:
            gc.collect()  # the clients, whose memory the next ones reuse
    assert len(server.peers) == PEERS + WARM_PEERS
    return (rss_mb() - before) * 1000 / PEERS


def idle_node_mb(*, secured: bool) -> float:
    """What a whole node takes just after its start, megabytes; in a separate process."""
    from p2ptui import Node

    async def story() -> float:
        config = Config().with_options(address="127.0.0.1:0", enable_discovery=False)
        async with Node(config.with_options(ephemeral=True), secured=secured):
            return rss_mb()

    return asyncio.run(story())


def _in_own_process(call: str) -> float:
    code = f"from tests.bench import secured; print(secured.{call})"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return float(ran.stdout.split()[-1])


def memory() -> list[Figure]:
    """The memory of one more peer, and of a node without any."""
    figures = []
    for words, call, unit in (
        ("memory of one more peer", "peer_kb", "kB"),
        ("memory of a node that has just started", "idle_node_mb", "MB"),
    ):
        ours, theirs = (_in_own_process(f"{call}(secured={secured})") for secured in (True, False))
        words += ", secured / open"
        figures.append(Figure(words, f"{ours:.1f} {unit} / {theirs:.1f} {unit}", "", None))
    return figures


def _took_s(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def start_up(rounds: int) -> list[Figure]:
    """How long the shortest commands take, beside a bare interpreter and an open Ping."""
    with _serve() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            where = f"127.0.0.1:{process.stdout.readline().strip()}"
            ping = ("ping", where, "-n", "1")
            commands = {
                "python -c pass": ("-c", "pass"),
                "p2ptui --version": ("-m", "p2ptui", "--version"),
                "p2ptui ping": ("-m", "p2ptui", *ping),
                "in the open": ("-c", IN_THE_OPEN, *ping),
            }
            took_ms: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(rounds):
                for name, arguments in commands.items():
                    took_ms[name].append(1000 * _took_s(*arguments))
        finally:
            process.stdin.close()
    bare, version, ours, theirs = (median(samples) for samples in took_ms.values())
    ratio = _median_ratio(took_ms["p2ptui ping"], took_ms["in the open"])
    return [
        Figure(
            "p2ptui --version / bare interpreter", f"{version:.0f} ms / {bare:.0f} ms", "", None
        ),
        Figure(
            "p2ptui ping -n 1, secured / open",
            f"{ours:.0f} ms / {theirs:.0f} ms = {ratio:.2f}",
            "",
            None,
        ),
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.secured", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="of each measurement (9)")
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {sys.platform}\n")
    print("| what | figure | bound | |")
    print("| --- | --- | --- | --- |")
    for name, measure in PARTS.items():
        if options.only in (None, name):
            for figure in measure(options.rounds):
                kept = {True: "kept", False: "BROKEN", None: ""}[figure.kept]
                print(f"| {figure.what} | {figure.value} | {figure.bound} | {kept} |", flush=True)


PARTS: Final[dict[str, Callable[[int], list[Figure]]]] = {
    "sockets": over_sockets,
    "handshakes": handshakes,
    "core": core_alone,
    "memory": lambda _: memory(),
    "start": start_up,
}


if __name__ == "__main__":
    main()
