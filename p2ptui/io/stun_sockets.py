"""The sockets that carry only STUN: the separate port, and the places beside it."""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from p2ptui.config.nat_sections import StunServerOptions, stun_address
from p2ptui.errors import BindError, LocalError
from p2ptui.io.advice import bind_advice
from p2ptui.io.exits import carry_out
from p2ptui.io.interfaces import local_addresses
from p2ptui.io.resolve import resolve
from p2ptui.io.udp import DatagramSocket
from p2ptui.nat.stun_server import Place
from p2ptui.tagged import tagged
from p2ptui.wire.address import Address, bare_ip, format_address, is_wildcard

log = logging.getLogger("p2ptui.stun")

BATCH: Final = 256

_KEYS: Final = {
    Place.PRIMARY: "address",
    Place.ALTERNATE_PORT: "alternate_port",
    Place.ALTERNATE_ADDRESS: "alternate_address",
    Place.ALTERNATE_BOTH: "alternate_address or alternate_port",
}
"""What to change in the configuration if a place cannot be had."""

Open: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]


class StunSockets:
    """Up to four sockets; `open` binds them, `run` pumps them."""

    def __init__(self, sockets: dict[Place, DatagramSocket]) -> None:
        self._sockets = sockets

    @classmethod
    async def open(
        cls, options: StunServerOptions, open_socket: Open, host: str = "0.0.0.0"
    ) -> "StunSockets":
        """Bind what the options ask for; what is unavailable is left out with a warning.

        Args:
            options: `[stun_server]` of the configuration.
            open_socket: Binds one address.
            host: Where the node itself listens: so do these, unless the options name another.
        """
        sockets: dict[Place, DatagramSocket] = {}
        at = stun_address(options, host)
        try:
            host, port = await resolve(at)
        except LocalError as error:
            log.warning(
                "STUN is not served at %s: %s",
                format_address(at),
                error,
                extra=tagged("stun_not_served", address=format_address(at), reason=str(error)),
            )
            return cls(sockets)
        if options.alternate_address:
            host = _single_host(host, options.alternate_address)

        async def bind(place: Place, at: Address) -> None:
            try:
                sockets[place] = await open_socket(at)
            except BindError as error:
                log.warning(
                    "%s",
                    _refusal(place, format_address(at), error),
                    extra=tagged("stun_not_served", address=format_address(at), reason=str(error)),
                )

        await bind(Place.PRIMARY, (host, port))
        if Place.PRIMARY in sockets:
            port = sockets[Place.PRIMARY].local_address[1]
            if options.alternate_port:
                await bind(Place.ALTERNATE_PORT, (host, options.alternate_port))
            if options.alternate_address:
                await bind(Place.ALTERNATE_ADDRESS, (options.alternate_address, port))
                if options.alternate_port:
                    at = (options.alternate_address, options.alternate_port)
                    await bind(Place.ALTERNATE_BOTH, at)
        return cls(sockets)

    @property
    def places(self) -> dict[Place, Address]:
        """The sockets that exist, with the address of each."""
        return {place: sock.local_address for place, sock in self._sockets.items()}

    async def run(
        self,
        receive: Callable[[bytes, Address, Place], None],
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        """Pass on what arrives, until cancelled.

        Args:
            receive: Takes each datagram.
            flush: Called after each batch of datagrams, as the answers are ready.
        """
        async with asyncio.TaskGroup() as group:
            for place in self._sockets:
                group.create_task(self._pump(place, receive, flush), name=f"stun {place.name}")

    async def _pump(
        self,
        place: Place,
        receive: Callable[[bytes, Address, Place], None],
        flush: Callable[[], None],
    ) -> None:
        sock = self._sockets[place]
        while not sock.closed:
            await sock.wait()
            batch = sock.drain(BATCH)
            for data, address in batch:
                receive(data, address, place)
            if batch:
                flush()
            await asyncio.sleep(0)

    def send(self, place: Place, data: bytes, to: Address) -> None:
        """Send one datagram from a place, if it exists."""
        sock = self._sockets.get(place)
        if sock is not None:
            carry_out(sock, data, to)

    def close(self) -> None:
        """Release the addresses."""
        for sock in self._sockets.values():
            sock.close()


def require_other_node(partner: Address, local: Address) -> None:
    """Check that a partner is another node.

    Args:
        partner: Its address, resolved.
        local: Where this node's own socket is bound.

    Raises:
        LocalError: It is this node itself.
    """
    hosts = local_addresses() if is_wildcard(local[0]) else [local[0]]
    if partner[1] == local[1] and partner[0] in hosts:
        raise LocalError(f"{format_address(partner)} is this node itself")


def _refusal(place: Place, at: str, error: BindError) -> str:
    # A socket's advice is meant for the node's own address.
    do = f"change {_KEYS[place]} in [stun_server]"
    if isinstance(error.__cause__, OSError):
        return f"STUN is not served at {at}: {bind_advice(error.__cause__, do)}"
    reason = str(error).removeprefix(f"cannot bind {at}: ").partition("; ")[0]
    return f"STUN is not served at {at}: {reason}; {do}"


def _single_host(host: str, alternate: str) -> str:
    """The address that goes with an alternate one: a wildcard would cover both."""
    if not is_wildcard(host):
        return host
    other = ipaddress.ip_address(alternate)
    for text in local_addresses():
        ip = bare_ip(text)
        if (
            ip.version == other.version
            and ip != other
            and ip.is_loopback is other.is_loopback
            and not ip.is_link_local
        ):
            return text
    return host
