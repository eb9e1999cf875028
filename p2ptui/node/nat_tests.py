"""The single tests of a NAT diagnosis: each sends its requests, and says what was observed."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from p2ptui.core.events import ProbeReport
from p2ptui.core.gate import Gate
from p2ptui.errors import P2PError, PeerTimeoutError
from p2ptui.io.stun_client import Schedule, StunAnswer, StunClient, Transaction, steady_schedule
from p2ptui.io.udp import DatagramSocket
from p2ptui.nat.allocation import PortSample
from p2ptui.nat.behavior import Change, FilterTest, Reply, Seen
from p2ptui.nat.plausible import is_plausible_mapped, is_sendable
from p2ptui.node.control import Control
from p2ptui.wire.address import Address, format_address, ip_version
from p2ptui.wire.stun import StunMessage

SENDS: Final = 7
"""Transmissions of each request: at 10 % loss each way, silence is then chance once in 10^5."""

MORE_SENDS: Final = 5
"""Further transmissions if it takes longer because much is lost, or few new flows pass."""

ALLOCATION_PROBES: Final = 10
"""Fresh flows, begun in one burst so that no other flow of ours comes in between. At 10 % loss each
way, fewer than four of ten first requests are answered once in 2,000 times."""

HAIRPIN_SENDS: Final = 8
HAIRPIN_PAUSE_S: Final = 0.06

PEER_PROBE_PAUSE_S: Final = 0.1
"""The pause between two requests for a probe; the next answer says how many were sent."""

MTU_SIZES: Final = (1500, 1492, 1480, 1460, 1420, 1400, 1280, 576)
"""IP packets to try: Ethernet, PPPoE, tunnels, IPv6's least, IPv4's least."""

MTU_SENDS: Final = 5
HEADER_BYTES: Final = {4: 28, 6: 48}
"""Bytes of the IP and UDP headers, by IP version."""

PADDING_OVERHEAD_BYTES: Final = 24
"""The header of a message and of its PADDING attribute."""


class OpenSocket(Protocol):
    """Opens a socket; an `unfragmented` one sends nothing that would be fragmented."""

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
    """The server to ask: the most capable of the quickest."""
    rtt_s: float
    mapped: Address
    """Where that server saw the socket that asked."""
    sends: int = SENDS
    """Transmissions of a request that may stay unanswered."""
    transactions: list[Transaction] = field(default_factory=list)
    """All answered transactions except control requests: the loss is computed from them."""
    control: Control | None = None
    """The control requests over old flows."""
    gate: Gate | None = None
    """Grants requests; without one each socket has its own."""

    @property
    def schedule(self) -> Schedule:
        """The schedule of a request that may stay unanswered."""
        return steady_schedule(self.rtt_s, self.sends)

    @asynccontextmanager
    async def fresh(self, *, unfragmented: bool = False) -> AsyncIterator[StunClient]:
        """A socket that has sent nothing yet: mappings that one test opens must not serve the
        next."""
        sock = await self.open_socket((self.host, 0), unfragmented=unfragmented)
        client = StunClient(sock, self.rng, self.gate)
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

    def start_flow(self, client: StunClient, sends: int | None = None) -> Transaction:
        """Send a plain request that begins a flow."""
        schedule = steady_schedule(self.rtt_s, self.sends if sends is None else sends)
        transaction = client.start(self.server, schedule)
        if self.control is not None:
            self.control.note_fresh(transaction)
        return transaction

    async def open_flow(self, client: StunClient, transaction: Transaction) -> StunAnswer | None:
        """Wait until a flow is established, so that what follows is not taken for a new one.

        If something limits new flows, it tries for longer.
        """
        answer = await self.answer(transaction)
        if answer is None and self.may_be_limited:
            answer = await self.answer(self.start_flow(client, MORE_SENDS))
        return answer

    @property
    def is_limited(self) -> bool:
        """Whether new flows are lost where old ones pass."""
        return self.control is not None and self.control.new_flows.are_limited

    @property
    def may_be_limited(self) -> bool:
        """Whether that is possible."""
        return self.control is not None and self.control.new_flows.may_be_limited

    @property
    def loss(self) -> float:
        """The share of round trips that were lost so far; a trace is assumed in any case."""
        told = self.control.loss if self.control is not None else None
        if told is not None:
            return told
        lost = sum(transaction.lost for transaction in self.transactions)
        return (lost + 0.5) / (lost + len(self.transactions) + 1)


def mapped_address(answer: StunAnswer | None) -> Address | None:
    """Where a server saw the request come from; the XORed form is the one to trust.

    None if it names an impossible address. Code that sends there must check `is_sendable` too.
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


async def sample_ports(ground: Ground) -> list[PortSample]:
    """Begin several flows at once, and see which outside ports they are given."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(ground.fresh()) for _ in range(ALLOCATION_PROBES)
        ]
        started = [ground.start_flow(client) for client in clients]
        answers = [await ground.answer(transaction) for transaction in started]
        is_late = [answer is None for answer in answers]
        if any(is_late) and ground.may_be_limited:
            again = {
                at: ground.start_flow(clients[at], MORE_SENDS)
                for at, late in enumerate(is_late)
                if late
            }
            for at, transaction in again.items():
                answers[at] = await ground.answer(transaction)
        samples = []
        for client, answer, late in zip(clients, answers, is_late, strict=True):
            mapped = mapped_address(answer)
            if answer is not None and mapped is not None:
                in_order = answer.transmission == 0 and not late
                samples.append(PortSample(client.local_address[1], mapped[1], in_order))
    return samples


async def begin_more_flows(ground: Ground) -> None:
    """Begin some more at once, to look more closely at how many new flows pass."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(ground.fresh()) for _ in range(ALLOCATION_PROBES)
        ]
        for transaction in [ground.start_flow(client, MORE_SENDS) for client in clients]:
            await ground.answer(transaction)


async def probe_hairpin(
    ground: Ground, target: StunClient, outside: Address, may_send: asyncio.Event
) -> bool | None:
    """Send from a second socket to the outside address of the first (RFC 5780, section 4.4).

    Both send to each other, so that a filter that waits for the other side's datagram first
    does not hide the hairpin.

    Args:
        ground: The ground of all tests.
        target: The first socket.
        outside: Where servers see it.
        may_send: Set once it may send there: to the NAT that is unsolicited.

    Returns:
        Whether either arrived; None if the second socket has no outside address, or if that server
        must not name one of them.
    """
    arrived = asyncio.Event()
    async with ground.fresh() as client:
        mapped = mapped_address(await ground.open_flow(client, ground.start_flow(client)))
        if mapped is None or not all(is_sendable(at, ground.server) for at in (outside, mapped)):
            return None
        await may_send.wait()
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

    Any answer counts, even an error: it shows that the request arrived. The flow is opened first,
    so that the requests differ only in size.
    """
    headers = HEADER_BYTES[ip_version(ground.server[0])]
    schedule = steady_schedule(ground.rtt_s, MTU_SENDS)
    async with ground.fresh(unfragmented=True) as client:
        if await ground.open_flow(client, ground.start_flow(client)) is None:
            return None
        started = [
            client.start(ground.server, schedule, padding=size - headers - PADDING_OVERHEAD_BYTES)
            for size in MTU_SIZES
        ]
        for size, transaction in zip(MTU_SIZES, started, strict=True):
            if await transaction.wait() is not None:
                return size
    return None


async def probe_by_peer(
    ground: Ground,
    server: Address,
    ask: Callable[[bytes], Awaitable[ProbeReport]],
    refusal: Callable[[Address | None], str | None] = lambda _: None,
) -> FilterTest:
    """Have a peer of a joined server send to a socket that has never sent to it.

    Args:
        ground: The ground of all tests.
        server: The joined server's address.
        ask: Tells the server a tag; returns what it says about the probes so far.
        refusal: Returns why the peer at an address (None if the server did not say) must not send
            unsolicited datagrams.
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
            # Nothing is sent before the socket has sent its indication to the server.
            if (reason := refusal(report.helper)) is not None:
                return FilterTest(Change.PEER, Reply.UNTESTABLE, f"{who}, {reason}")
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
