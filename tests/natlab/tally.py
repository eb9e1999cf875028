"""What comes to a host and leaves it, by what it is: `with Tally(host) as tally: tally.counts()`.

A packet socket in the host's namespace sees what the kernel puts on the line, so that nothing in
the program that is watched has to be asked.
"""

import json
import socket
import struct
import threading
from collections import Counter
from types import TracebackType
from typing import Final, Self

from p2ptui.wire import frames
from tests.natlab.laboratory import Host

_ALL_PROTOCOLS: Final = 0x0003
_IPV4: Final = 0x0800
_UDP: Final = 17
_BUFFER_BYTES: Final = 16 << 20
_LOOK_S: Final = 0.2

_FRAMES: Final = {
    frames.RELAY: "relay frame",
    frames.RELAYED: "relayed frame",
    frames.KEEPALIVE: "keepalive frame",
    frames.KEPT_ALIVE: "kept-alive frame",
    frames.PROBE: "probe of the path",
    frames.PROBE_ANSWER: "answer to a probe of the path",
}


class Tally:
    """Counts the datagrams on a host's interface, in a thread of its own.

    Args:
        host: Whose.
        device: The interface.
    """

    def __init__(self, host: Host, device: str = "eth0") -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        with host.entered():
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS)
            )
            self._socket.bind((device, _ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.settimeout(_LOOK_S)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._socket.close()

    def counts(self) -> Counter[str]:
        """So far, by the kind of message and its direction."""
        with self._lock:
            return Counter(self._counts)

    def _read(self) -> None:
        while not self._ends.is_set():
            try:
                packet, (_, protocol, kind, _, _) = self._socket.recvfrom(65_535)
            except TimeoutError:
                continue
            way = "out" if kind == socket.PACKET_OUTGOING else "in"
            name = f"{kind_of(packet) if protocol == _IPV4 else 'no IPv4'} {way}"
            with self._lock:
                self._counts[name] += 1


def kind_of(packet: bytes) -> str:
    """What an IPv4 packet is, in words."""
    header = 4 * (packet[0] & 0x0F)
    if packet[9] != _UDP:
        return f"protocol {packet[9]}"
    if struct.unpack_from("!H", packet, 6)[0] & 0x1FFF:
        return "fragment"
    return kind_of_datagram(packet[header + 8 :])


def kind_of_datagram(data: bytes) -> str:
    """What a datagram of a node is, in words."""
    if data[:1] != b"{":
        is_stun = data[4:8] == b"\x21\x12\xa4\x42"
        return "STUN" if is_stun else _FRAMES.get(data[0] if data else 0, "other frame")
    try:
        message = json.loads(data)
    except ValueError:
        return "no message"
    kind = str(message.get("message_type"))
    payload = message.get("payload")
    if kind != "P2PConnect" or not isinstance(payload, dict):
        return kind
    offer = payload.get("offer") or payload.get("peer_offer")
    if not offer:
        return f"{kind} without an offer"
    return f"{kind} {'answer' if offer.get('answer') else 'offer'} {offer.get('round', 0)}"
