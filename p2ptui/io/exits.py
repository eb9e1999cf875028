"""The way out by sockets that no driver pumps: each datagram is granted by a gate first."""

import asyncio
import socket

from p2ptui.core.accounts import Reason
from p2ptui.core.counters import Counters
from p2ptui.core.gate import Gate
from p2ptui.io.datagrams import DatagramSocket
from p2ptui.wire.address import Address
from p2ptui.wire.frames import Unfragmented


def new_gate(counters: Counters | None = None) -> Gate:
    """A gate for questions that belong to no session.

    Args:
        counters: Where they are counted; None where nobody looks.
    """
    return Gate(Counters() if counters is None else counters)


class Exit:
    """Asks from one socket, within what a gate grants for a diagnosis.

    Args:
        sock: The socket.
        gate: What grants it; None for one of its own.
    """

    def __init__(self, sock: DatagramSocket, gate: Gate | None = None) -> None:
        self._send = sock.send
        self._gate = new_gate() if gate is None else gate

    def ask(self, data: bytes, to: Address) -> bool:
        """Send one datagram, if it is granted; never raises.

        Args:
            data: Its bytes.
            to: A literal IP address and a port.

        Returns:
            Whether it is granted; otherwise nothing will be answered.
        """
        is_granted = _is_granted(self._gate, to, len(data))
        if is_granted:
            self._send(data, to)
        return is_granted


def ask_connected(sock: socket.socket, to: Address, gate: Gate) -> bool:
    """Send an empty datagram from a connected socket, if it is granted; whether it is.

    Raises:
        OSError: The system did not send it, or one before it did not arrive.
    """
    is_granted = _is_granted(gate, to, 0)
    if is_granted:
        sock.send(b"")
    return is_granted


def _is_granted(gate: Gate, to: Address, size: int) -> bool:
    now = asyncio.get_running_loop().time()
    return gate.lets_out(size, to, gate.grant(Reason.DIAGNOSIS, to, now))


def carry_out(sock: DatagramSocket, data: bytes, to: Address, ttl: int | None = None) -> None:
    """Send what the gate of an endpoint has let out by a further socket.

    Args:
        sock: The socket.
        data: The datagram.
        to: Where to.
        ttl: Hops that it may travel; None: all.
    """
    sock.send(data, to, ttl=ttl, unfragmented=type(data) is Unfragmented)
