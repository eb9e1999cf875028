"""The rows of the benchmark with a datagram in and a datagram out: who sends what to whom."""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final
from uuid import UUID

from p2ptui.core.endpoint import Endpoint
from p2ptui.wire.address import Address
from p2ptui.wire.frames import RELAY, encode_relay
from tests.bench.crowd import (
    PLAIN,
    Crowd,
    Datagram,
    OpenPeer,
    SecuredPeer,
    host_of,
    in_turn,
    settle,
)
from tests.bench.load import TEXT, message

WINDOW: Final = 64
"""Datagrams in flight: a server never waits for its load, and no buffer overflows."""

STRANGERS: Final = 500
"""Clients of the STUN server, enough that none exceeds the limit for strangers."""

NEWS_S: Final = 2.5
"""The time after the last peer has joined until all have been told about it, and have acknowledged
that."""

OPTIONS: Final = {
    "max_connections": 100,
    "heartbeat_interval": 86_400.0,
    "connection_timeout": 86_400.0,
    "allow_symmetric_nat_relay": True,
    "max_relay_rate_per_client": 1 << 34,
    "stun_server": {"enable": True, "address": ":0", "alternate_port": 0},
}
"""The options of the loaded node: quiet peers stay, it relays as fast as it can, and serves STUN.
All limits are on; that of a relayed client is just never reached."""

_WRITERS: Final = count(60_000)
"""Numbers for the ids of messages that are not written for one peer: no id comes twice."""

_STUN: Final = struct.Struct("!HHI12s")
_MAGIC_COOKIE: Final = 0x2112A442


@dataclass
class Load:
    """One row.

    Args:
        key: Its name on the command line.
        title: Its title.
        crowd: The socket of the senders.
        make: Makes the given number of datagrams.
        match: What an answer contains; empty if everything that comes is one.
        window: Datagrams in flight.
    """

    key: str
    title: str
    crowd: Crowd
    make: Callable[[int], list[Datagram]]
    match: str = ""
    window: int = WINDOW


@dataclass
class Stage:
    """The peers that play the rows, at one node.

    Args:
        port: The port of the node.
        new_crowd: Opens another socket.
        make_endpoint: Makes the core of a secured peer.
    """

    port: int
    new_crowd: Callable[[], Crowd]
    make_endpoint: Callable[[int, Address], Endpoint]
    _secured: list[SecuredPeer] = field(default_factory=list)

    def loads(self, wanted: Callable[[str], bool]) -> list[Load]:
        """The wanted rows, ready to be played."""
        made = [make(self) for key, make in LOADS.items() if wanted(key)]
        if self._secured:
            settle(self._secured, self._secured[0].crowd, self.port, NEWS_S)
        return made

    def open_peer(self, crowd: Crowd, number: int, *capabilities: str) -> OpenPeer:
        """A new peer in the open."""
        return OpenPeer(crowd, number).join(self.port, capabilities)

    def secured_peer(self, crowd: Crowd, number: int) -> SecuredPeer:
        """A new peer with keys."""
        peer = SecuredPeer(crowd, number, self.make_endpoint).join(self.port)
        self._secured.append(peer)
        return peer

    def secured_crowd(self) -> Crowd:
        """One socket for all of them."""
        return self._secured[0].crowd if self._secured else self.new_crowd()


_DATA: Final = json.dumps({"text": TEXT}, separators=(",", ":"))
_PING: Final = '{"nonce":"0123456789abcdef"}'


def _echo(stage: Stage) -> Load:
    crowd = stage.new_crowd()
    peer = stage.open_peer(crowd, 1, *PLAIN)
    return Load("echo", "echo", crowd, lambda n: peer.messages("Data", [_DATA] * n), '"echo"')


def _latency(stage: Stage) -> Load:
    crowd = stage.new_crowd()
    peer = stage.open_peer(crowd, 2, *PLAIN)
    make = lambda n: peer.messages("Data", [_DATA] * n)  # noqa: E731
    return Load("latency", "latency of an echo, window 1", crowd, make, '"echo"', window=1)


def _ping(stage: Stage) -> Load:
    crowd = stage.new_crowd()
    peer = stage.open_peer(crowd, 3, *PLAIN)
    return Load("ping", "Ping", crowd, lambda n: peer.messages("Ping", [_PING] * n), '"Pong"')


def _reliable(stage: Stage) -> Load:
    crowd = stage.new_crowd()
    peer = stage.open_peer(crowd, 4, *PLAIN, "no_echo")

    def make(size: int) -> list[Datagram]:
        first, peer.sequence = peer.sequence + 1, peer.sequence + size
        text = peer.message("Data", {"text": TEXT}, sequence_number=0, requires_ack=True).decode()
        fresh = peer.messages("Data", [_DATA] * size)
        mark = '"sequence_number":null,"requires_ack":false'
        assert '"sequence_number":0,"requires_ack":true' in text
        return [
            (
                host,
                data.replace(
                    mark.encode(), b'"sequence_number":%d,"requires_ack":true' % (first + number)
                ),
            )
            for number, (host, data) in enumerate(fresh)
        ]

    return Load("reliable", "reliable Data, its Ack", crowd, make, '"Ack"')


def _relay_frame(target: str, number: int) -> bytes:
    inner = message("Data", {"text": TEXT}, f"{number:08x}-0000-4000-8000-feedfeedfeed").encode()
    return encode_relay(RELAY, UUID(target).bytes, inner)


def relay_frames(target: str, size: int) -> list[bytes]:
    zeros = f"{0:08x}-0000-4000-8000-feedfeedfeed".encode()
    head, tail = _relay_frame(target, 0).split(zeros)
    middle = zeros[8:]
    rng = random.Random(size)
    return [b"%s%08x%s%s" % (head, rng.getrandbits(32), middle, tail) for _ in range(size)]


def _relay(stage: Stage) -> Load:
    crowd = stage.new_crowd()
    sender = stage.open_peer(crowd, 5, *PLAIN, "relay_frames")
    target = stage.open_peer(crowd, 6, *PLAIN, "relay_frames")

    def make(size: int) -> list[Datagram]:
        return [(sender.host, frame) for frame in relay_frames(target.id, size)]

    return Load("relay", "relay frame, open hops", crowd, make, '"Data"')


def _routed(stage: Stage) -> Load:
    crowd = stage.new_crowd()
    sender = stage.open_peer(crowd, 7, *PLAIN, "routing")
    target = stage.open_peer(crowd, 8, *PLAIN, "routing")
    inner = message("Data", {"text": TEXT}, "00000000-0000-4000-8000-feedfeedfeed")

    def make(size: int) -> list[Datagram]:
        rng = random.Random(sender.sequence)
        sender.sequence += 1
        head = '{"original_message":' + inner + ',"source_node":"' + sender.id
        head += f'","destination_node":"{target.id}","hop_count":0,"max_hops":8,"route_id":"'
        payloads = [
            f'{head}{rng.getrandbits(32):08x}-{number & 0xFFFF:04x}-4000-8000-0123456789ab"}}'
            for number in range(size)
        ]
        return sender.messages("Data", payloads)

    return Load("routed", "routed forward", crowd, make, '"original_message"')


def _secured_echo(stage: Stage) -> Load:
    crowd = stage.secured_crowd()
    peer = stage.secured_peer(crowd, 11)
    ids = OpenPeer(crowd, 11)

    def make(size: int) -> list[Datagram]:
        return peer.sealed([data for _, data in ids.messages("Data", [_DATA] * size)])

    return Load("secured", "secured echo", crowd, make)


def _relay_secured(stage: Stage) -> Load:
    crowd = stage.secured_crowd()
    sender, target = stage.secured_peer(crowd, 12), stage.secured_peer(crowd, 13)

    def make(size: int) -> list[Datagram]:
        return sender.sealed(relay_frames(target.id, size))

    return Load("relay-secured", "relay frame, secured hops", crowd, make)


def _stun(stage: Stage) -> Load:
    crowd = stage.new_crowd()
    rng = random.Random(1)
    hosts = [host_of(50_000 + number) for number in range(STRANGERS)]

    def make(size: int) -> list[Datagram]:
        return [
            (hosts[number % STRANGERS], _STUN.pack(1, 0, _MAGIC_COOKIE, rng.randbytes(12)))
            for number in range(size)
        ]

    return Load("stun", "STUN", crowd, make)


LOADS: Final[dict[str, Callable[[Stage], Load]]] = {
    "echo": _echo,
    "ping": _ping,
    "reliable": _reliable,
    "secured": _secured_echo,
    "relay": _relay,
    "relay-secured": _relay_secured,
    "routed": _routed,
    "stun": _stun,
    "latency": _latency,
}
"""The rows, in the order of the table."""


def of_many(crowd: Crowd, peers: int, kind: str) -> Callable[[int], list[Datagram]]:
    """A function that makes datagrams of joined peers of one socket, in turn."""
    payload = _DATA if kind == "Data" else _PING
    hosts = [host_of(number) for number in range(peers)]
    ids = OpenPeer(crowd, next(_WRITERS))
    seeds = iter(range(1, 1_000_000))

    def make(size: int) -> list[Datagram]:
        order = in_turn(size, peers, next(seeds))
        fresh = ids.messages(kind, [payload] * size)
        return [(hosts[number], data) for number, (_, data) in zip(order, fresh, strict=True)]

    return make
