"""Peers that load a node: many addresses on one socket, and the datagrams that they send.

All of 127.0.0.0/8 is this machine. One socket on all addresses sends from any of them, and learns
to which of them an answer came; so ten thousand peers need one file descriptor.
"""

import contextlib
import ipaddress
import json
import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.wire.address import Address
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.bench.load import message
from tests.bench.machine import deaf_to_interrupts

QUIET_S: Final = 0.2
"""If nothing has come for this long, the opening messages are over."""

LONGEST_S: Final = 10.0
"""The longest time that this may take."""

ROOM_BYTES: Final = 4 << 20
"""What may wait in the socket; the system may grant less."""

MOST_FORGOTTEN: Final = 10_000
"""Datagrams that are discarded at a time."""

SPARE_S: Final = 30.0
"""What a load may take beyond its own time before it is ended."""

IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)
_PKTINFO: Final = struct.Struct("=i4s4s")

Datagram = tuple[str, bytes]
"""The host of this machine that sends, and the bytes."""


def uuid_of(kind: int, number: int) -> str:
    """A unique id."""
    return f"{number:08x}-{kind:04x}-4000-8000-feedfeedfeed"


def host_of(number: int) -> str:
    """The host of a peer: from 127.1.0.1 on, 250 in each /24."""
    high, low = divmod(number, 250)
    return f"127.{1 + high // 250}.{high % 250}.{low + 1}"


def handshake_request(number: int, capabilities: Sequence[str], *, deployed: bool = False) -> bytes:
    """The handshake request of a peer, large enough to pay for an answer.

    Args:
        number: The number of the peer.
        capabilities: What it announces.
        deployed: Whether it speaks like the deployed clients.
    """
    node_id = uuid_of(0xA, number)
    payload = {
        "id": node_id,
        "node_id": node_id,
        "name": f"peer-{number}",
        "version": "1",
        "listen_addr": f"{host_of(number)}:8080",
        "capabilities": list(capabilities),
        "metadata": {"padding": " " * 200},
        "network_id": "p2p_default",
    }
    fields: dict[str, Any] = {"sequence_number": 1000, "requires_ack": True}
    if deployed:
        fields["sender_addr"] = None
    return message("HandshakeRequest", payload, uuid_of(0xB, number), **fields).encode()


@dataclass
class Driven:
    """The result of a load of the compiled generator."""

    answers: int
    seconds: float
    lost: int
    p50_us: float
    p99_us: float
    polite: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds if self.seconds else 0.0


class Crowd:
    """A socket with many addresses.

    Args:
        program: The compiled generator.
        folder: Where the datagrams of a load are written.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._path = folder / f"load-{id(self):x}"
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)
        self.sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.sock.bind(("0.0.0.0", 0))
        self.port: int = self.sock.getsockname()[1]

    def sibling(self) -> "Crowd":
        """Another socket like this one."""
        return Crowd(self._program, self._path.parent)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def send(self, host: str, data: bytes, port: int) -> None:
        """Send one datagram from a host to a port of 127.0.0.1."""
        info = _PKTINFO.pack(0, socket.inet_aton(host), bytes(4))
        ancillary = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
        self.sock.sendmsg([data], ancillary, 0, ("127.0.0.1", port))

    def receive(self, timeout_s: float) -> Datagram | None:
        """The next datagram, and the host that it came to; None if none comes in time."""
        self.sock.settimeout(timeout_s)
        try:
            data, ancillary, _, _ = self.sock.recvmsg(65_535, 256)
        except TimeoutError:
            return None
        for level, kind, info in ancillary:
            if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                return str(ipaddress.IPv4Address(_PKTINFO.unpack(info[: _PKTINFO.size])[2])), data
        raise AssertionError("a datagram came to no address")

    def drain(self) -> None:
        """Discard what has come; bounded even if more keeps coming."""
        for _ in range(MOST_FORGOTTEN):
            if self.receive(0.001) is None:
                break

    def write(self, datagrams: Sequence[Datagram]) -> None:
        """Write the next load where the generator finds it."""
        parts: list[bytes] = []
        for host, data in datagrams:
            parts += socket.inet_aton(host), struct.pack("!H", len(data)), data
        self._path.write_bytes(b"".join(parts))

    @contextlib.contextmanager
    def driving(
        self, port: int, *, seconds: float, window: int, match: str = "", linger_s: float = 0.0
    ) -> Iterator["subprocess.Popen[str]"]:
        """Run the generator with the load that was written, during the block."""
        self.sock.setblocking(True)
        numbers = (port, self._path, seconds, window, match, linger_s)
        head = [self._program, "drive", str(self.sock.fileno()), "127.0.0.1"]
        process = subprocess.Popen(
            [*head, *map(str, numbers)],
            pass_fds=[self.sock.fileno()],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=deaf_to_interrupts,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def drive(
        self, port: int, *, seconds: float, window: int, match: str = "", linger_s: float = 0.0
    ) -> Driven:
        """Send the load that was written, and count its answers.

        Args:
            port: The port of the server.
            seconds: The longest time that it takes.
            window: Datagrams in flight.
            match: What an answer contains; empty: everything that comes is one.
            linger_s: How long to keep acknowledging and answering afterwards.
        """
        with self.driving(
            port, seconds=seconds, window=window, match=match, linger_s=linger_s
        ) as process:
            limit_s = seconds + linger_s + SPARE_S
            told, _ = process.communicate(timeout=limit_s)
        if process.returncode:
            raise RuntimeError(f"the load generator ended with code {process.returncode}")
        answers, elapsed, lost, p50, p99, polite = told.split()
        return Driven(int(answers), float(elapsed), int(lost), float(p50), float(p99), int(polite))


@dataclass
class OpenPeer:
    """A peer in the open dialect that has proved its address.

    Args:
        crowd: Its socket.
        number: Which of the addresses is its own.
    """

    crowd: Crowd
    number: int
    handshake: str = ""
    """The id of its own handshake message."""
    sequence: int = 1000
    """The number of its last numbered message."""
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def host(self) -> str:
        """Its address."""
        return host_of(self.number)

    @property
    def id(self) -> str:
        """Its id."""
        return uuid_of(0xA, self.number)

    def join(self, port: int, capabilities: Sequence[str], quiet_s: float = QUIET_S) -> "OpenPeer":
        """Shake hands, and wait until nothing has come for `quiet_s`.

        Raises:
            RuntimeError: It was refused, or nobody answered.
        """
        self.handshake = uuid_of(0xB, self.number)
        self.crowd.send(self.host, handshake_request(self.number, capabilities), port)
        is_joined, end = False, time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            came = self.crowd.receive(quiet_s if is_joined else LONGEST_S)
            if came is None:
                break
            host, data = came
            if host != self.host or data[:1] != b"{":
                continue
            answer = json.loads(data)
            if answer["message_type"] == "HandshakeResponse":
                if not answer["payload"]["success"]:
                    raise RuntimeError(f"refused: {answer['payload']}")
                is_joined = True
            if answer["requires_ack"] or answer["message_type"] == "HandshakeResponse":
                key = answer["sequence_number"] or answer["id"]
                self.crowd.send(self.host, self.message("Ack", None, ack_for=key), port)
        if not is_joined:
            raise RuntimeError("the measured node did not answer a handshake")
        return self

    def message(self, kind: str, payload: Any, **fields: Any) -> bytes:
        """Its next message."""
        message_id = f"{next(self._ids):08x}-{self.number & 0xFFFF:04x}-4000-8000-beefbeefbeef"
        return message(kind, payload, message_id, **fields).encode()

    def messages(self, kind: str, payloads: Sequence[str]) -> list[Datagram]:
        """Many messages that require no Ack, with payloads already encoded as JSON."""
        mark, number = "@payload@", self.number & 0xFFFF
        text = message(kind, mark, "@id@")
        head, rest = text.split("@id@")
        middle, tail = rest.split(f'"{mark}"')
        return [
            (
                self.host,
                f"{head}{next(self._ids):08x}-{number:04x}-4000-8000-beefbeefbeef"
                f"{middle}{payload}{tail}".encode(),
            )
            for payload in payloads
        ]


class SecuredPeer:
    """A peer with keys: a core of its own, without a clock.

    Args:
        crowd: Its socket.
        number: Which of the addresses is its own.
        make: Makes the core, from a number and an address.
    """

    def __init__(self, crowd: Crowd, number: int, make: Callable[[int, Address], Endpoint]) -> None:
        self.crowd = crowd
        self.host = host_of(number)
        self.core = make(number + 1000, (self.host, crowd.port))
        self.peer: Peer | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.core.identity.id

    def join(self, port: int) -> "SecuredPeer":
        """Shake hands, and wait until nothing more comes.

        Raises:
            RuntimeError: There is no secured session then.
        """
        self.core.connect(("127.0.0.1", port), time.monotonic(), 5.0)
        self.flush(port)
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            came = self.crowd.receive(QUIET_S if self.is_secured(port) else LONGEST_S)
            if came is None:
                break
            if came[0] == self.host:
                self.take(came[1], port)
        if not self.is_secured(port):
            raise RuntimeError("the measured node began no secured session")
        return self

    def is_secured(self, port: int) -> bool:
        """Whether it has its session."""
        self.peer = self.core.peers.at(("127.0.0.1", port))
        return self.peer is not None and self.peer.is_secured

    def take(self, data: bytes, port: int) -> None:
        """Handle what came for it, and send its answers."""
        self.core.receive_datagram(data, ("127.0.0.1", port), time.monotonic())
        self.flush(port)

    def flush(self, port: int) -> None:
        """Send what it wants to send."""
        while self.core.next_event() is not None:
            pass
        for data, _ in self.core.datagrams_to_send(time.monotonic()):
            self.crowd.send(self.host, data, port)

    def sealed(self, datagrams: Sequence[bytes]) -> list[Datagram]:
        """Seal datagrams for this session."""
        assert self.peer is not None
        assert self.peer.seal is not None
        seal = self.peer.seal.session.seal
        return [(self.host, seal(data)) for data in datagrams]


def settle(peers: Sequence[SecuredPeer], crowd: Crowd, port: int, seconds: float) -> None:
    """Let the peers of a socket answer what a node sends them, for a while."""
    by_host = {peer.host: peer for peer in peers}
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        now = time.monotonic()
        for peer in peers:
            due = peer.core.next_timeout()
            if due is not None and due <= now:
                peer.core.handle_timeout(now)
                peer.flush(port)
        came = crowd.receive(min(left, 0.05))
        if came is not None and came[0] in by_host:
            by_host[came[0]].take(came[1], port)


OWN: Final[tuple[str, ...]] = tuple(OWN_CAPABILITIES)
PLAIN: Final = ("handshake", "discovery", "data_transfer")
"""What a peer without extensions announces."""


def in_turn(size: int, peers: int, seed: int) -> list[int]:
    """Which of the peers sends each datagram: in turn, in a random order, so that none has two
    answers in flight if there are as many peers as datagrams in flight."""
    order = random.Random(seed).sample(range(peers), peers)
    return [order[number % peers] for number in range(size)]
