"""Sending from sockets that no driver pumps: a gate must grant each datagram first."""

import asyncio
import socket

from p2ptui.core.accounts import Reason
from p2ptui.core.counters import Counters
from p2ptui.core.gate import Gate
from p2ptui.io.datagrams import DatagramSocket
from p2ptui.wire.address import Address
from p2ptui.wire.frames import Unfragmented


def new_gate(counters: Counters | None = None) -> Gate:
    """A gate for requests that belong to no session.

    Args:
        counters: Counts them; None if nobody reads the counters.
    """
    return Gate(Counters() if counters is None else counters)


class Exit:
    """Sends from one socket, within what a gate grants for a diagnosis.

    Args:
        sock: The socket.
        gate: Grants the datagrams; None makes a new one.
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
            Whether it was granted; otherwise no answer will come.
        """
        is_granted = _is_granted(self._gate, to, len(data))
        if is_granted:
            self._send(data, to)
        return is_granted


def ask_connected(sock: socket.socket, to: Address, gate: Gate) -> bool:
    """Send an empty datagram from a connected socket, if it is granted; return whether it was.

    Raises:
        OSError: The system did not send it, or an earlier one did not arrive.
    """
    is_granted = _is_granted(gate, to, 0)
    if is_granted:
        sock.send(b"")
    return is_granted


def _is_granted(gate: Gate, to: Address, size: int) -> bool:
    now = asyncio.get_running_loop().time()
    return gate.lets_out(size, to, gate.grant(Reason.DIAGNOSIS, to, now))


def carry_out(sock: DatagramSocket, data: bytes, to: Address, ttl: int | None = None) -> None:
    """Send, from a further socket, what an endpoint's gate has granted.

    Args:
        sock: The socket.
        data: The datagram.
        to: The destination.
        ttl: Its TTL in hops; None: the default.
    """
    sock.send(data, to, ttl=ttl, unfragmented=type(data) is Unfragmented)
