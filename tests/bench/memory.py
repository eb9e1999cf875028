"""The memory of peers: `python -m tests.bench.memory`; not part of the test run, and for Linux.

Two measurements. A core alone meets peers that then stay quiet: what it holds is counted object by
object, by kind, which is the same in each run. And as many peers, each from an address of its own,
join a whole headless node in a separate process over loopback: the system reports its memory at
rest, at its peak and an hour's heartbeat later.
"""

import argparse
import contextlib
import gc
import platform
import re
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.secure import SecureError
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_envelope, encode_envelope
from p2ptui.wire.message import NULL, Envelope, MessageType
from tests.bench.figure import ROOT, Figure
from tests.bench.memory_walk import held_by
from tests.bench.secured import SERVER, drained, endpoint, meet

OPEN_BYTES: Final = 3_000
SECURED_BYTES: Final = 4_000
"""The bound for a quiet peer."""

NODE_MB: Final = 65.0
"""The bound for a headless node with 10,000 open peers."""

QUIET_S: Final = 30.0
"""This long after the handshakes, nothing that belongs to them is left."""

WARM: Final = 200
"""Peers that are met before counting: by then, everything allocated once is there."""

KINDS: Final = 12
"""Lines of the table by kind."""

AT_ONCE: Final = 100
"""Clients that join together."""

SETTLE_S: Final = 3.0

SETTLED_WITHIN_S: Final = 60.0
JOINED_WITHIN_S: Final = 15.0

IP_PKTINFO: Final = 8
"""The number on Linux: Python 3.11 has no name for it."""


class Quiet:
    """A peer that no longer sends anything by itself: it acknowledges, and answers Pings.

    Its core is gone: it would take more memory here than everything measured.

    Args:
        client: That core, once it has a session.
        server: The address of its peer.
    """

    def __init__(self, client: Endpoint, server: Address) -> None:
        peer = client.peers.at(server)
        self._session = None if peer is None or peer.seal is None else peer.seal.session

    def answers(self, data: bytes, now: float) -> list[bytes]:
        """What it sends in response."""
        session = self._session
        try:
            message = decode_envelope(data if session is None else session.open(data, now))
        except (MalformedError, SecureError):
            return []
        if message.message_type == MessageType.PING:
            kind, payload, ack_for = MessageType.PONG, message.payload, None
        elif message.requires_ack:
            kind, payload, ack_for = MessageType.ACK, NULL, message.sequence_number or message.id
        else:
            return []
        answer = Envelope(str(uuid.uuid4()), kind, 0, payload, None, False, ack_for)
        written = encode_envelope(answer)
        return [written if session is None else session.seal(written)]


def _address(number: int) -> Address:
    high, low = divmod(number, 250)
    return f"10.{1 + high // 250}.{high % 250}.{low + 1}", 8080


def settled(server: Endpoint, clients: dict[Address, Quiet], now: float, until: float) -> None:
    """Let time pass for a server and its peers, which answer what it sends."""
    while (due := server.next_timeout()) is not None and due <= until:
        now = max(now, due)
        server.handle_timeout(now)
        while server.next_event() is not None:
            pass
        waiting = server.datagrams_to_send(now)
        while waiting:
            for data, to in waiting:
                client = clients.get(to)
                for answer in client.answers(data, now) if client is not None else ():
                    server.receive_datagram(answer, to, now)
            waiting = server.datagrams_to_send(now)


def with_peers(
    server: Endpoint, clients: dict[Address, Quiet], count: int, now: float, *, secured: bool
) -> float:
    """A core meets `count` more peers, which then stay quiet; returns the time afterwards."""
    for number in range(len(clients), len(clients) + count):
        now += 0.05
        address = _address(number)
        client = endpoint(number + 2, address, secured=secured)
        meet(server, client, address, now)
        clients[address] = Quiet(client, SERVER)
        settled(server, clients, now, now)
    settled(server, clients, now, now + QUIET_S)
    gc.collect()
    return now + QUIET_S


def by_kind(count: int, *, secured: bool) -> tuple[dict[str, float], dict[str, float]]:
    """What each of `count` quiet peers takes in a core: bytes, and objects, by kind."""
    server = endpoint(1, SERVER, secured=secured)
    clients: dict[Address, Quiet] = {}
    now = with_peers(server, clients, WARM, 1000.0, secured=secured)
    sizes, numbers = held_by([server])
    with_peers(server, clients, count, now, secured=secured)
    more_sizes, more_numbers = held_by([server])
    return (
        {kind: (size - sizes[kind]) / count for kind, size in more_sizes.items()},
        {kind: (number - numbers[kind]) / count for kind, number in more_numbers.items()},
    )


def in_core(count: int) -> Iterator[Figure]:
    """Bytes per peer, as counted."""
    for secured, words, most in ((False, "open", OPEN_BYTES), (True, "secured", SECURED_BYTES)):
        sizes, numbers = by_kind(count, secured=secured)
        total = sum(sizes.values())
        yield Figure(
            f"one of {count:,} quiet peers, {words}",
            f"{total:,.0f} B",
            f"{most:,} B",
            total <= most,
        )
        for kind in sorted(sizes, key=lambda kind: -sizes[kind])[:KINDS]:
            yield Figure(
                f"of that {kind}", f"{sizes[kind]:,.0f} B in {numbers[kind]:.1f}", "", None
            )


# --- a whole node


class Town:
    """Clients behind one socket, each at an address of its own (all of 127.0.0.0/8 is this
    machine).

    Args:
        port: The port of the node that they join.
        secured: Whether they have keys.
    """

    def __init__(self, port: int, *, secured: bool) -> None:
        self._server = "127.0.0.1", port
        self._secured = secured
        self._clients: dict[str, Endpoint] = {}
        self._quiet: dict[str, Quiet] = {}
        self._asked = self._heard = 0
        self.joined = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self._socket.bind(("", 0))
        self._socket.settimeout(0.02)

    def join(self, count: int) -> None:
        """Have `count` more join the node, and receive what it tells newcomers."""
        now = time.monotonic()
        first, self._asked = self._asked, self._asked + count
        for number in range(first, first + count):
            high, low = divmod(number, 250)
            host = f"127.{1 + high // 250}.{high % 250}.{low + 1}"
            address = host, self._socket.getsockname()[1]
            self._clients[host] = endpoint(number + 2, address, secured=self._secured)
            self._clients[host].connect(self._server, now, 20.0)
        late = time.monotonic() + JOINED_WITHIN_S
        while time.monotonic() < late and not all(map(self._is_in, self._clients.values())):
            self._turn()
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            self._turn()
        for host, client in self._clients.items():
            self.joined += self._is_in(client)
            self._quiet[host] = Quiet(client, self._server)
        self._clients.clear()

    def settle(self) -> None:
        """Wait until nothing has come for a while."""
        late = time.monotonic() + SETTLED_WITHIN_S
        until = 0.0
        heard = -1
        while time.monotonic() < min(until or late, late):
            self._turn()
            if self._heard != heard:
                heard, until = self._heard, time.monotonic() + SETTLE_S

    def _is_in(self, client: Endpoint) -> bool:
        peer = client.peers.at(self._server)
        return peer is not None and peer.is_authenticated

    def _turn(self) -> None:
        now = time.monotonic()
        for host, client in self._clients.items():
            due = client.next_timeout()
            if due is not None and due <= now:
                client.handle_timeout(now)
            self._send(host, drained(client, now))
        with contextlib.suppress(TimeoutError):
            for _ in range(2_000):
                data, told, _, _ = self._socket.recvmsg(65_535, 64)
                self._heard += 1
                host = socket.inet_ntoa(struct.unpack("=I4s4s", told[0][2])[2])
                client = self._clients.get(host)
                if client is not None:
                    client.receive_datagram(data, self._server, now)
                    self._send(host, drained(client, now))
                elif host in self._quiet:
                    self._send(host, self._quiet[host].answers(data, now))

    def _send(self, host: str, datagrams: list[bytes]) -> None:
        source = struct.pack("=I4s4s", 0, socket.inet_aton(host), bytes(4))
        for data in datagrams:
            self._socket.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, self._server)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _mb(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


@contextlib.contextmanager
def headless(port: int, count: int) -> Iterator[int]:
    """A node without a screen, as users start it; yields its process."""
    arguments = (
        f"--no-ui --ephemeral --ERROR -a 127.0.0.1:{port} -m {count} --enable-discovery false"
    )
    arguments += " --heartbeat-interval 3000 --connection-timeout 86400"
    with subprocess.Popen(
        [sys.executable, "-m", "p2ptui", *arguments.split()], cwd=ROOT, stdin=subprocess.DEVNULL
    ) as process:
        try:
            time.sleep(SETTLE_S)
            yield process.pid
        finally:
            process.terminate()


def over_loopback(count: int, *, secured: bool) -> Iterator[Figure]:
    """What a headless node takes, at rest and with its peers."""
    port = _free_port()
    words = "secured" if secured else "open"
    with headless(port, 2 * count + 100) as pid:
        at_rest = _mb(pid, "VmRSS")
        yield Figure("a headless node that has just started", f"{at_rest:.1f} MB", "", None)
        town = Town(port, secured=secured)
        rounds = 0
        while town.joined < count:
            town.join(min(AT_ONCE, count - town.joined))
            rounds += 1
            if rounds > 2 * count // AT_ONCE + 10:
                raise RuntimeError(f"no more than {town.joined} peers joined")
        town.settle()
        full, peak = _mb(pid, "VmRSS"), _mb(pid, "VmHWM")
    a_peer = (full - at_rest) * 1e6 / count
    is_bounded = count == 10_000 and not secured
    yield Figure(
        f"the same with {count:,} quiet peers, {words}",
        f"{full:.1f} MB, {a_peer:,.0f} B a peer",
        f"{NODE_MB:.0f} MB" if is_bounded else "",
        full <= NODE_MB if is_bounded else None,
    )
    yield Figure("its peak", f"{peak:.1f} MB", "", None)


def figures(counts: list[int], only: str | None) -> Iterator[Figure]:
    """All figures."""
    for count in counts:
        if only in (None, "core"):
            yield from in_core(count)
        if only in (None, "open"):
            yield from over_loopback(count, secured=False)
        if only in (None, "secured"):
            yield from over_loopback(count, secured=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--peers", type=int, nargs="+", default=[1_000, 10_000], help="how many")
    parser.add_argument("--only", choices=("core", "open", "secured"), help="one part")
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {sys.platform}\n")
    print("| what | figure | bound | |")
    print("| --- | --- | --- | --- |")
    for figure in figures(options.peers, options.only):
        kept = {True: "kept", False: "BROKEN", None: ""}[figure.kept]
        print(f"| {figure.what} | {figure.value} | {figure.bound} | {kept} |", flush=True)


if __name__ == "__main__":
    main()
