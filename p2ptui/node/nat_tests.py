"""The single tests of a NAT diagnosis: each sends its requests, and says what was observed."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from p2ptui.core.events import ProbeReport
from p2ptui.errors import P2PError, PeerTimeoutError
from p2ptui.io.stun_client import Schedule, StunAnswer, StunClient, Transaction, steady_schedule
from p2ptui.io.udp import DatagramSocket
from p2ptui.nat.allocation import PortSample
from p2ptui.nat.behavior import Change, FilterTest, Reply, Seen, is_silence_believed
from p2ptui.nat.plausible import is_plausible_mapped
from p2ptui.wire.address import Address, format_address, ip_version
from p2ptui.wire.stun import Change as ChangeRequest
from p2ptui.wire.stun import MessageClass, StunMessage

SENDS: Final = 7
"""Transmissions of each request: at 10 % loss each way, silence is then chance once in 10^5."""

MORE_SENDS: Final = 5
"""Further transmissions where so much is lost that silence is not believed yet."""

ALLOCATION_PROBES: Final = 10
"""Fresh flows, begun in one burst so that no other flow of ours comes in between. At 10 % loss
each way fewer than four of ten have their first request answered once in 2,000 times."""

HAIRPIN_SENDS: Final = 8
HAIRPIN_PAUSE_S: Final = 0.06

PEER_PROBE_PAUSE_S: Final = 0.1
"""Between two questions for a probe; the answer to the next says how many were sent."""

MTU_SIZES: Final = (1500, 1492, 1480, 1460, 1420, 1400, 1280, 576)
"""IP packets to try: Ethernet, PPPoE, tunnels, IPv6's least, IPv4's least."""

MTU_SENDS: Final = 5
HEADER_BYTES: Final = {4: 28, 6: 48}
"""Of IP and UDP, by the version of IP."""

PADDING_OVERHEAD_BYTES: Final = 24
"""The header of a message and of its PADDING attribute."""


class OpenSocket(Protocol):
    """Opens a socket; an `unfragmented` one sends nothing that would travel in pieces."""

    def __call__(
        self, address: Address, *, unfragmented: bool = False
    ) -> Awaitable[DatagramSocket]:
        """Bind an address; port 0 takes a free one."""


@dataclass(slots=True)
class Ground:
    """What all tests of one diagnosis share."""

    open_socket: OpenSocket
    rng: random.Random
    host: str
    """Where sockets are bound."""
    server: Address
    """The server to ask: of the quickest the one that can do most."""
    rtt_s: float
    mapped: Address
    """Where that server saw the socket that asked."""
    sends: int = SENDS
    """Transmissions of a request that may stay unanswered."""
    transactions: list[Transaction] = field(default_factory=list)
    """All that were answered: the share of losses is taken from them."""

    @property
    def schedule(self) -> Schedule:
        """For a request that may stay unanswered."""
        return steady_schedule(self.rtt_s, self.sends)

    @asynccontextmanager
    async def fresh(self, *, unfragmented: bool = False) -> AsyncIterator[StunClient]:
        """A socket that has sent nothing yet: what one test opens must not serve the next."""
        sock = await self.open_socket((self.host, 0), unfragmented=unfragmented)
        client = StunClient(sock, self.rng)
        try:
            yield client
        finally:
            await client.close()

    async def answer(self, transaction: Transaction) -> StunAnswer | None:
        """Wait for an answer, and count what was lost on the way to it."""
        answer = await transaction.wait()
        if answer is not None:
            self.transactions.append(transaction)
        return answer

    @property
    def loss(self) -> float:
        """The share of round trips that were lost so far; a trace is assumed in any case."""
        lost = sum(transaction.lost for transaction in self.transactions)
        return (lost + 0.5) / (lost + len(self.transactions) + 1)


def mapped_address(answer: StunAnswer | None) -> Address | None:
    """Where a server saw the request come from; the obscured form is the one to trust.

    None where it names an address that nobody can have: this is sent to.
    """
    if answer is None:
        return None
    told = (answer.message.xor_mapped, answer.message.mapped)
    return next((at for at in told if at and is_plausible_mapped(at, answer.source)), None)


async def observe_mapping(
    ground: Ground, client: StunClient, targets: Sequence[Address]
) -> list[Seen]:
    """Ask several addresses where they see one socket (RFC 5780, section 4.3)."""
    started = [client.start(target, ground.schedule) for target in targets]
    seen = []
    for transaction in started:
        mapped = mapped_address(await ground.answer(transaction))
        if mapped is not None:
            seen.append(Seen(transaction.server, mapped))
    return seen


async def probe_filter(ground: Ground, change: Change) -> FilterTest:
    """Ask the server for a reply from elsewhere (RFC 5780, section 4.4).

    That the other place sends at all must be known from elsewhere: silence looks the same.
    """
    other_host = change is Change.ADDRESS_AND_PORT
    request = ChangeRequest.BOTH if other_host else ChangeRequest.PORT
    async with ground.fresh() as client:
        transaction = client.start(ground.server, ground.schedule, change=request)
        answer = await transaction.wait()
        sends = len(transaction.sent_at_s)
        if answer is None and not is_silence_believed(ground.loss, sends):
            schedule = steady_schedule(ground.rtt_s, MORE_SENDS)
            transaction = client.start(ground.server, schedule, change=request)
            answer = await transaction.wait()
            sends += len(transaction.sent_at_s)
    asked = f"asked {format_address(ground.server)}"
    if answer is None:
        return FilterTest(change, Reply.SILENCE, asked, sends)
    if answer.message.message_class is MessageClass.ERROR:
        code = answer.message.error[0] if answer.message.error else "an error"
        return FilterTest(change, Reply.UNTESTABLE, f"{asked}, which refused: {code}")
    if _is_elsewhere(answer.source, ground.server, other_host=other_host):
        detail = f"{asked}, came from {format_address(answer.source)}"
        return FilterTest(change, Reply.CAME, detail, sends)
    return FilterTest(change, Reply.UNTESTABLE, f"{asked}, which ignored the question")


def _is_elsewhere(source: Address, server: Address, *, other_host: bool) -> bool:
    return source[1] != server[1] and (source[0] != server[0]) is other_host


async def sample_ports(ground: Ground) -> list[PortSample]:
    """Begin several flows at once, and see which outside ports they are given."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(ground.fresh()) for _ in range(ALLOCATION_PROBES)
        ]
        started = [client.start(ground.server, ground.schedule) for client in clients]
        samples = []
        for client, transaction in zip(clients, started, strict=True):
            answer = await ground.answer(transaction)
            mapped = mapped_address(answer)
            if answer is not None and mapped is not None:
                local_port = client.local_address[1]
                samples.append(PortSample(local_port, mapped[1], answer.transmission == 0))
    return samples


async def probe_hairpin(ground: Ground, target: StunClient, outside: Address) -> bool | None:
    """Send from a second socket to the outside address of the first (RFC 5780, section 4.4).

    Both send to each other, so that a filter that waits for the other side's datagram first
    does not hide the hairpin.

    Args:
        ground: The ground of all tests.
        target: The first socket.
        outside: Where servers see it.

    Returns:
        Whether either arrived; None if the second socket has no outside address.
    """
    arrived = asyncio.Event()
    async with ground.fresh() as client:
        mapped = mapped_address(await ground.answer(client.start(ground.server, ground.schedule)))
        if mapped is None:
            return None
        known = {client.tag, target.tag}

        def note(message: StunMessage, _source: Address) -> None:
            if message.transaction_id in known:
                arrived.set()

        target.on_stray = client.on_stray = note
        try:
            for _ in range(HAIRPIN_SENDS):
                client.indicate(outside)
                target.indicate(mapped)
                try:
                    async with asyncio.timeout(HAIRPIN_PAUSE_S):
                        await arrived.wait()
                except TimeoutError:
                    continue
                return True
        finally:
            target.on_stray = None
    return False


async def probe_mtu(ground: Ground) -> int | None:
    """The largest IP packet that reaches the server unfragmented, of a few common sizes.

    Any answer counts, also an error: it shows that the request arrived.
    """
    headers = HEADER_BYTES[ip_version(ground.server[0])]
    schedule = steady_schedule(ground.rtt_s, MTU_SENDS)
    async with ground.fresh(unfragmented=True) as client:
        started = [
            client.start(ground.server, schedule, padding=size - headers - PADDING_OVERHEAD_BYTES)
            for size in MTU_SIZES
        ]
        for size, transaction in zip(MTU_SIZES, started, strict=True):
            if await transaction.wait() is not None:
                return size
    return None


async def probe_by_peer(
    ground: Ground, server: Address, ask: Callable[[bytes], Awaitable[ProbeReport]]
) -> FilterTest:
    """Have a peer of a joined server send to a socket that has never sent to it.

    Args:
        ground: The ground of all tests.
        server: The joined server's address.
        ask: Tells the server of a tag; what it says of the probes so far.
    """
    arrived = asyncio.Event()
    sources: list[Address] = []
    sent = 0
    who = f"arranged by {format_address(server)}"
    async with ground.fresh() as client:

        def note(message: StunMessage, source: Address) -> None:
            if message.transaction_id == client.tag and source != server:
                sources.append(source)
                arrived.set()

        client.on_stray = note
        for _ in range(ground.sends):
            try:
                report = await ask(client.tag)
            except PeerTimeoutError:
                continue
            except P2PError as error:
                return FilterTest(Change.PEER, Reply.UNTESTABLE, f"{who}: {error}")
            if not report.has_helper:
                return FilterTest(Change.PEER, Reply.UNTESTABLE, f"{who}, which has no other peer")
            sent = max(sent, report.sent)
            client.indicate(server)
            try:
                async with asyncio.timeout(PEER_PROBE_PAUSE_S):
                    await arrived.wait()
            except TimeoutError:
                continue
            break
    if sources and sources[0][0] == ground.mapped[0]:
        return FilterTest(
            Change.PEER, Reply.UNTESTABLE, f"{who}, whose peer is behind the same NAT"
        )
    if sources:
        # A helper on the server's own machine shows no more than another port would.
        change = Change.PEER if sources[0][0] != server[0] else Change.PORT
        return FilterTest(change, Reply.CAME, f"{who}, came from {format_address(sources[0])}", 1)
    if not sent:
        return FilterTest(Change.PEER, Reply.UNTESTABLE, f"{who}, but the peer sent nothing")
    return FilterTest(Change.PEER, Reply.SILENCE, who, sent)
