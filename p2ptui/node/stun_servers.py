"""The STUN servers of a diagnosis: looked up, asked all at once, the quickest able one chosen."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from p2ptui.errors import LocalError
from p2ptui.io.resolve import resolve
from p2ptui.io.stun_client import Transaction
from p2ptui.nat.report import ServerReport
from p2ptui.node.nat_tests import mapped_address
from p2ptui.wire.address import Address, parse_address

MAX_SERVERS: Final = 16
RESOLVE_S: Final = 1.5
"""A name server that is slower than this belongs to no server that would be quick."""

GRACE_S: Final = 0.05
"""After the first answer, and twice its round trip: one that can do more may be a little slower."""

IPV4_FIRST_S: Final = 0.9
"""IPv6 is taken after this where IPv4 is still silent: a report may take two seconds, and at
10 % loss each way IPv4 is silent for so long once in 4,000 times."""


@dataclass(slots=True)
class KnownServer:
    """One server, at one address."""

    text: str
    address: Address | None = None
    error: str | None = None
    contact: Transaction | None = None

    @property
    def other(self) -> Address | None:
        """Its OTHER-ADDRESS, if it is one that can serve as another."""
        answer = self.contact.answer if self.contact is not None else None
        if answer is None or self.address is None:
            return None
        other = answer.message.other_address
        return other if other is not None and other[0] != self.address[0] else None

    @property
    def other_addresses(self) -> list[Address]:
        """The other three of its four addresses (RFC 5780, section 4.3)."""
        if self.other is None or self.address is None:
            return []
        (host, port), (other_host, other_port) = self.address, self.other
        return [(other_host, port), (other_host, other_port), (host, other_port)]

    @property
    def rtt_s(self) -> float:
        """The round trip to it, seconds; without end while it is silent."""
        answer = self.contact.answer if self.contact is not None else None
        return answer.rtt_s if answer is not None else float("inf")

    @property
    def mapped(self) -> Address | None:
        """Where it saw the socket that asked."""
        return mapped_address(self.contact.answer) if self.contact is not None else None

    def report(self) -> ServerReport:
        """What it was good for."""
        if self.mapped is not None:
            return ServerReport(self.text, self.rtt_s * 1000, ok=True)
        error = self.error or (self.contact.error if self.contact is not None else None)
        return ServerReport(self.text, error=error or "no answer")


async def look_up(servers: Sequence[str]) -> list[KnownServer]:
    """Find the addresses of servers.

    Raises:
        LocalError: None is given, or one is no address.
    """
    texts = list(dict.fromkeys(servers))[:MAX_SERVERS]
    if not texts:
        raise LocalError("no STUN server to ask: give one with --server HOST:PORT")
    try:
        addresses = [parse_address(text) for text in texts]
    except ValueError as error:
        raise LocalError(str(error)) from None
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_resolve(text, address))
            for text, address in zip(texts, addresses, strict=True)
        ]
    return [server for task in tasks for server in task.result()]


async def _resolve(text: str, address: Address) -> list[KnownServer]:
    """A server by its IPv4 address, and by its IPv6 address as well if it has both."""
    found: dict[Address, KnownServer] = {}
    error = None
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            async with asyncio.timeout(RESOLVE_S):
                at = await resolve(address, family=family)
        except TimeoutError:
            error = "its name was not looked up in time"
        except LocalError as cause:
            error = str(cause)
        else:
            found.setdefault(at, KnownServer(text, at))
        if _is_literal(address[0]):
            break
    return list(found.values()) or [KnownServer(text, error=error)]


async def choose_version(ipv4: list[KnownServer], ipv6: list[KnownServer]) -> KnownServer | None:
    """As `choose`, by IPv4 if that passes: it is IPv4 that is translated."""
    try:
        async with asyncio.timeout(IPV4_FIRST_S):
            return await choose(ipv4) or await choose(ipv6)
    except TimeoutError:
        return await choose([*ipv4, *ipv6])


async def choose(servers: list[KnownServer]) -> KnownServer | None:
    """The quickest server, or one a little slower that can do more; None if all are silent."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    contacts = [server.contact for server in servers if server.contact is not None]
    for contact in contacts:
        contact.on_done = changed.set
    deadline: float | None = None
    while True:
        changed.clear()
        answered = sorted((s for s in servers if s.mapped is not None), key=lambda s: s.rtt_s)
        able = [server for server in answered if server.other is not None]
        if able or all(contact.done.is_set() for contact in contacts):
            return next(iter(able or answered), None)
        if answered and deadline is None:
            deadline = loop.time() + 2 * answered[0].rtt_s + GRACE_S
        try:
            async with asyncio.timeout_at(deadline):
                await changed.wait()
        except TimeoutError:
            return answered[0]


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
