"""The STUN servers of a diagnosis: what is known about each, and where it is."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from p2ptui.core.sessions.race import STAGGER_S
from p2ptui.errors import LocalError
from p2ptui.io.advice import Advice
from p2ptui.io.resolve import NotResolvedError
from p2ptui.io.stun_client import Schedule, StunAnswer, StunClient, Transaction
from p2ptui.nat.behavior import near_among
from p2ptui.nat.feasibility import CHECK_NAMES, OTHER_VERSION
from p2ptui.nat.plausible import is_sendable
from p2ptui.nat.report import ServerReport
from p2ptui.node.nat_tests import mapped_address
from p2ptui.wire.address import Address, format_address, parse_target
from p2ptui.wire.stun import MessageClass

MAX_SERVERS: Final = 16
RESOLVE_S: Final = 1.0
"""A name server that is slower leaves no time for a report within two seconds."""

STUN_PORTS: Final = frozenset({3478, 5349})
"""Only a STUN server is expected there, not a node (RFC 8489, section 19.5): strangers' servers are
not sent what is useless to them."""

FIRST_SCHEDULE: Final = Schedule((0.0, 0.2, 0.4), 0.8)
"""For one of several addresses of a server, with the next one asked meanwhile."""

USUAL_PORTS: Final = (3478, 3479)
"""Ports at which a p2ptui node that answers at another also serves STUN (docs/stun.md)."""

Resolve: TypeAlias = Callable[[Address], Awaitable[list[Address]]]
"""As `p2ptui.io.resolve.resolve_all`."""
Announced: TypeAlias = Mapping[str, tuple[Address, ...]]
"""Servers that are joined nodes, by their text: the addresses at which each announced STUN."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One first request."""

    client: StunClient
    """The client whose socket sent it."""
    transaction: Transaction


@dataclass(slots=True, eq=False)
class KnownServer:
    """One server, at one address."""

    text: str
    address: Address | None = None
    error: str | None = None
    """Why it is useless, in one line."""
    unasked: Advice | None = None
    """Why it was never asked, and what to do."""
    contacts: list[Contact] = field(default_factory=list)
    announced: tuple[Address, ...] = ()
    """Where it announced STUN in its handshake, if it is a joined node."""
    has_changed: bool = False
    """Whether it was seen to reply from elsewhere."""
    is_refused: bool = False
    """Whether its own machine said that nothing listens there."""
    is_stopped: bool = False
    """Whether a machine on the path said that it does not let the request pass."""
    is_node: bool = False
    """Whether there is a node that does not serve STUN."""

    @property
    def contact(self) -> Contact | None:
        """The request with the best answer."""
        answered = [one for one in self.contacts if one.transaction.answer is not None]
        good = [one for one in answered if mapped_address(one.transaction.answer) is not None]
        return next(iter(good or answered or self.contacts), None)

    @property
    def client(self) -> StunClient:
        """The client whose socket sent that request; there must be one."""
        contact = self.contact
        assert contact is not None
        return contact.client

    @property
    def answer(self) -> StunAnswer | None:
        """What it answered, which may be an error."""
        contact = self.contact
        return contact.transaction.answer if contact is not None else None

    @property
    def is_pending(self) -> bool:
        """Whether an answer may still come."""
        waiting = any(not one.transaction.done.is_set() for one in self.contacts)
        return waiting and self.answer is None and not (self.is_refused or self.is_node)

    @property
    def sent(self) -> int:
        """First requests that really left this machine."""
        return sum(one.transaction.sent for one in self.contacts)

    @property
    def other(self) -> Address | None:
        """Its OTHER-ADDRESS, if that is usable as another address."""
        answer = self.answer
        if answer is None or self.address is None:
            return None
        other = answer.message.other_address
        if other is None or other[0] == self.address[0]:
            return None
        return other if is_sendable(other, self.address) else None

    @property
    def other_addresses(self) -> list[Address]:
        """The other three of its four addresses (RFC 5780, section 4.3)."""
        if self.other is None or self.address is None:
            return []
        (host, port), (other_host, other_port) = self.address, self.other
        return [(other_host, port), (other_host, other_port), (host, other_port)]

    @property
    def other_ports(self) -> set[Address]:
        """Other ports of the same host where it is known to serve."""
        if self.address is None:
            return set()
        known = {at for at in self.announced if at[0] == self.address[0]}
        if self.other is not None:
            known.add((self.address[0], self.other[1]))
        return known - {self.address}

    @property
    def usual_ports(self) -> list[Address]:
        """Other ports of the same host where it may serve without saying so."""
        if self.address is None or self.other is not None or self.announced:
            return []
        return [(self.address[0], port) for port in USUAL_PORTS if port != self.address[1]]

    @property
    def can_change(self) -> bool:
        """Whether it is known to reply from elsewhere: others silently drop the request."""
        return self.other is not None or bool(self.announced) or self.has_changed

    @property
    def rtt_s(self) -> float:
        """The round trip to it, seconds; infinite while it is silent."""
        return self.answer.rtt_s if self.answer is not None else math.inf

    @property
    def mapped(self) -> Address | None:
        """Where it saw the socket that asked."""
        return mapped_address(self.answer)

    @property
    def refusal(self) -> str | None:
        """What it said instead of an address."""
        answer = self.answer
        if answer is None or self.mapped is not None:
            return None
        if answer.message.message_class is not MessageClass.ERROR:
            return "its answer names no address that can be true"
        return f"refused: {answer.message.error[0] if answer.message.error else 'an error'}"

    @property
    def trouble(self) -> Advice | None:
        """Why it could not be asked, and what to do; None if it was."""
        if self.sent:
            return None
        contact = self.contact
        return self.unasked if contact is None else contact.transaction.trouble

    def give_up(self, said: str) -> None:
        """It cannot be asked: this machine has no socket that reaches it.

        Args:
            said: What is missing.
        """
        self.error, self.unasked = said, Advice(said, OTHER_VERSION)

    def report(self) -> ServerReport:
        """What it contributed."""
        is_named = self.address is not None and format_address(self.address) != self.text
        at = self.address if is_named else None
        if self.mapped is not None:
            return ServerReport(self.text, self.rtt_s * 1000, ok=True, at=at)
        contact = self.contact
        failure = contact.transaction.error if contact is not None else None
        error = self.refusal or self.error or failure or "no answer"
        return ServerReport(self.text, error=error, at=at)


def beyond_nat(servers: Collection[KnownServer], own_hosts: Collection[str]) -> list[KnownServer]:
    """The servers that see this machine from furthest outside, of all that answered.

    A server on this side of the NAT says nothing about what the NAT does, lets in or carries.
    """
    seen = [(server, server.mapped[0]) for server in servers if server.mapped is not None]
    near = near_among({host for _, host in seen}, own_hosts)
    return [server for server, host in seen if host not in near]


def read_servers(servers: Sequence[str]) -> tuple[list[tuple[str, Address]], list[str]]:
    """The addresses to ask, and the texts of those beyond the limit.

    Raises:
        LocalError: None is given, or one is not an address.
    """
    texts = list(dict.fromkeys(servers))
    if not texts:
        raise LocalError("no STUN server to ask: give one with --server HOST:PORT")
    try:
        addresses = [(text, parse_target(text)) for text in texts[:MAX_SERVERS]]
    except ValueError as error:
        raise LocalError(str(error)) from None
    return addresses, texts[MAX_SERVERS:]


def unfound(text: str, said: str, error: str = "") -> KnownServer:
    """A server whose address is not known.

    Args:
        text: How it was given.
        said: Why.
        error: The same with advice for this name, if there is any.
    """
    return KnownServer(text, error=error or said, unasked=Advice(said, CHECK_NAMES))


async def look_up(text: str, address: Address, resolve: Resolve) -> list[KnownServer]:
    """A server at each of its addresses, in the order in which to ask them."""
    try:
        found = await resolve(address)
    except NotResolvedError as error:
        return [unfound(text, error.said, str(error))]
    except LocalError as error:
        return [unfound(text, str(error))]
    return [KnownServer(text, one) for one in found]


async def first_to_answer(client: StunClient, addresses: Sequence[Address]) -> Address | None:
    """The address at which a server answers first; they are asked 250 ms apart (RFC 8305).

    Args:
        client: Sends the requests; the caller closes it.
        addresses: The addresses, in the order in which to ask them.
    """
    changed = asyncio.Event()
    asked: list[Transaction] = []

    def answered() -> Address | None:
        return next((one.server for one in asked if one.answer is not None), None)

    for address in addresses:
        transaction = client.start(address, FIRST_SCHEDULE)
        asked.append(transaction)
        transaction.on_done = changed.set
        with suppress(TimeoutError):
            async with asyncio.timeout(STAGGER_S):
                await transaction.done.wait()
        if answered() is not None:
            return answered()
    while not all(one.done.is_set() for one in asked) and answered() is None:
        changed.clear()
        await changed.wait()
    return answered()
