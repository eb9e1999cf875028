"""Looking hosts up and shaking hands, by address or through a server's introduction."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import ConnectResult
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.race import STAGGER_S
from p2ptui.errors import (
    HandshakeError,
    LocalError,
    NetworkMismatchError,
    NotIntroducedError,
    NotKnownThereError,
    P2PError,
    PeerGoneError,
)
from p2ptui.io.advice import NEEDED_BYTES, Advice, barrier, refusal_words
from p2ptui.io.refusal import Refusal
from p2ptui.io.resolve import is_literal, resolve_all
from p2ptui.node.acquaintances import Acquaintances
from p2ptui.node.arguments import single_host
from p2ptui.node.mismatch import in_other_words, says_mismatch
from p2ptui.node.presence import PAUSE_S, SENDS
from p2ptui.text import seconds_words
from p2ptui.wire.address import Address, format_address, ip_version
from p2ptui.wire.joined import as_joined, found_for

SHORTEST_ATTEMPT_S: Final = 0.1
"""The time for a handshake after a look-up that used up all the time."""

HEED_AFTER_S: Final = 0.1
"""An address that answers sooner is not checked for refusals."""

LAST_WORD_S: Final = 0.05
"""How long before the timeout it is reported why nothing came."""

LOOK_S: Final = SENDS * PAUSE_S + 2 * LAST_WORD_S
"""How long before the timeout it is checked whether small datagrams are answered."""

IsNode: TypeAlias = Callable[[Address], Awaitable[bool]]
"""Whether a node answers small datagrams at an address."""
FindRefusal: TypeAlias = Callable[[Address, Callable[[], bool]], Awaitable[str | None]]
"""As `p2ptui.io.refusal.find_refusal`, with a function that tells whether nobody waits any more."""
LONGEST_SHARE_S: Final = 2.5
"""A server that brings no answer for this long is dead, or its peer is: the next one is asked."""


class Connector:
    """Makes connections for a node.

    Args:
        endpoint: Its protocol.
        call: Waits for the end of a call on the endpoint.
        clock: The time on the endpoint's clock, seconds.
        local: Where the node's socket is bound.
        require_running: Raises once the node is closed or broken.
        flush: Carries out what was asked of the endpoint.
        begin: Starts a task that the node owns.
        find_refusal: Asks whether a machine itself says that nothing listens at an address; None if
            that is impossible.
        is_node: Checks whether a node that stays silent answers small datagrams; None: no check.
        acquaintances: Told how the user named each address, and which id is required there.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        call: Callable[[int], Awaitable[Any]],
        clock: Callable[[], float],
        local: Address,
        require_running: Callable[[], None],
        flush: Callable[[], None],
        begin: Callable[[Coroutine[Any, Any, None], str], object],
        find_refusal: FindRefusal | None = None,
        is_node: IsNode | None = None,
        acquaintances: Acquaintances | None = None,
    ) -> None:
        self._acquaintances = acquaintances
        self._endpoint = endpoint
        self._call = call
        self._clock = clock
        self._local = local
        self._require_running = require_running
        self._flush = flush
        self._begin = begin
        self._find_refusal = find_refusal
        self._is_node = is_node
        self.met_over_ipv4: set[Address] = set()
        """Servers whose IPv4 addresses are tried alone at first, even if their names have
        others."""

    async def connect(
        self, address: Address, timeout_s: float, *, heed_refusals: bool = False
    ) -> ConnectResult:
        """Look a host up and shake hands with the node there, all within `timeout_s` seconds.

        Each address of a name is tried (RFC 8305), as far as the node's socket reaches it.

        Args:
            address: A host, which may be a name, and a port.
            timeout_s: Seconds.
            heed_refusals: As for `connect_any`.

        Raises:
            P2PError: It cannot be found, refused, or did not answer.
        """
        deadline = self._clock() + timeout_s
        found = await self.resolve(address, timeout_s)
        four = [one for one in found if ip_version(one[0]) == 4]
        if address in self.met_over_ipv4 and 0 < len(four) < len(found):
            with suppress(HandshakeError):
                return await self.connect_any(four, (deadline - self._clock()) / 2)
        left = max(deadline - self._clock(), SHORTEST_ATTEMPT_S)
        try:
            return await self.connect_any(found, left, heed_refusals=heed_refusals)
        except HandshakeError as error:
            if is_literal(address[0]):
                raise
            raise in_other_words(error, before=f"{address[0]}: ") from None

    async def connect_elsewhere(
        self, address: Address, timeout_s: float, but: Address
    ) -> ConnectResult:
        """As `connect`, but with no node at `but` or at any other silent address.

        If cancelled, it gives up the handshakes: nobody wants their result.

        Raises:
            P2PError: As `connect`; or there is no other address.
        """
        deadline = self._clock() + timeout_s
        found = [one for one in await self.resolve(address, timeout_s) if one != but]
        peers, now = self._endpoint.peers, self._clock()
        others = [
            one for one in found if (peer := peers.at(one)) is None or not peer.is_silent(now)
        ]
        if not others:
            raise HandshakeError(f"{address[0]} has no other address")
        left = max(deadline - self._clock(), SHORTEST_ATTEMPT_S)
        return await self._connect_any(others, left, is_given_up=True)

    async def connect_any(
        self, addresses: Sequence[Address], timeout_s: float, *, heed_refusals: bool = False
    ) -> ConnectResult:
        """Shake hands with a node at the first of its addresses that answers.

        Args:
            addresses: Literal ones, in the order in which they are tried.
            timeout_s: Seconds.
            heed_refusals: Whether a machine that says that nothing listens there is believed at
                once. Anybody can forge that, so it is for callers that can ask again; it never ends
                a session.

        Raises:
            P2PError: All refused, did not answer, or cannot be reached from the node's socket.
        """
        return await self._connect_any(addresses, timeout_s, heed_refusals=heed_refusals)

    def leave(self, address: Address) -> None:
        """Say goodbye to the node at an address, if there is one."""
        peer = self._endpoint.peers.at(address)
        if peer is not None:
            self._endpoint.disconnect(peer, "", self._clock())
            self._flush()

    async def _connect_any(
        self,
        addresses: Sequence[Address],
        timeout_s: float,
        *,
        heed_refusals: bool = False,
        is_given_up: bool = False,
    ) -> ConnectResult:
        """As `connect_any`; with `is_given_up` nothing continues once it is cancelled."""
        self._require_running()
        reached = [one for one in addresses if barrier(one, self._local) is None]
        if addresses and not reached:
            raise HandshakeError(self._out_of_reach(addresses))
        if self._acquaintances is None:
            return await self._ask(addresses, reached, timeout_s, heed_refusals, is_given_up)
        reached = [self._acquaintances.ask(as_joined(one)) for one in reached]
        try:
            result = await self._ask(addresses, reached, timeout_s, heed_refusals, is_given_up)
            self._acquaintances.require_pinned(result)
        except P2PError:
            self._acquaintances.note_failed(reached)
            raise
        return result

    async def _ask(
        self,
        addresses: Sequence[Address],
        reached: Sequence[Address],
        timeout_s: float,
        heed_refusals: bool,
        is_given_up: bool,
    ) -> ConnectResult:
        """Ask the reachable addresses in order."""
        now = self._clock()
        token = self._endpoint.connect_any(reached, now, timeout_s)
        over = asyncio.Event()
        if heed_refusals and self._find_refusal is not None:
            self._begin(self._heed(reached, over, now + timeout_s), "refusals")
        if heed_refusals and self._is_node is not None:
            for address in reached:
                work = self._explain_silence(address, self._is_node, over, now + timeout_s)
                self._begin(work, "a look at who is silent")
        try:
            result: ConnectResult = await self._call(token)
        except asyncio.CancelledError:
            if is_given_up:
                self._endpoint.give_up(token, "it is not wanted any more", self._clock())
                self._flush()
            raise
        except HandshakeError as error:
            if says_mismatch(error, reached):
                error = NetworkMismatchError(str(error))
            left_out = [one for one in addresses if one not in reached]
            more = f"; {self._out_of_reach(left_out)}" if left_out else ""
            raise in_other_words(error, after=more) from None
        finally:
            over.set()
        return result

    def _out_of_reach(self, addresses: Sequence[Address]) -> str:
        """Why a socket reaches none of these, in one line: each reason once."""
        reasons: dict[str, tuple[list[str], Advice]] = {}
        for one in addresses:
            advice = barrier(one, self._local)
            if advice is not None:
                names, _ = reasons.setdefault(advice.do, ([], advice))
                names.append(format_address(one))
        return "; ".join(
            f"cannot connect to {', '.join(names)}: {advice}" for names, advice in reasons.values()
        )

    async def _heed(
        self, addresses: Sequence[Address], over: asyncio.Event, deadline: float
    ) -> None:
        """Ask, until it is over, whether the machines at these addresses refuse."""
        for address in addresses:
            answered = asyncio.Event()
            self._begin(self._heed_one(address, answered, over, deadline), "a refusal")
            # The next one is asked when the handshake with it begins.
            with suppress(TimeoutError):
                async with asyncio.timeout(STAGGER_S):
                    await answered.wait()
            if over.is_set():
                return

    async def _heed_one(
        self, address: Address, answered: asyncio.Event, over: asyncio.Event, deadline: float
    ) -> None:
        assert self._find_refusal is not None
        await asyncio.sleep(HEED_AFTER_S)
        refused_by = None if over.is_set() else await self._find_refusal(address, over.is_set)
        if isinstance(refused_by, Refusal) and refused_by.kind.is_passing:
            # A route may return, and a machine may be switched on: this only says what was missing.
            await self._wait_until(deadline - LAST_WORD_S, over)
        if refused_by is not None and not over.is_set():
            words = refusal_words(address, refused_by)
            self._endpoint.refuse(address, words, self._clock())
            self._flush()
            answered.set()

    async def _wait_until(self, when: float, over: asyncio.Event) -> bool:
        """Wait until a given time, or until it is over; returns whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(when - self._clock()):
                await over.wait()
        return over.is_set()

    async def _explain_silence(
        self, address: Address, is_node: IsNode, over: asyncio.Event, deadline: float
    ) -> None:
        """A node that answers a Ping but no handshake may be behind a path that carries only small
        datagrams."""
        if await self._wait_until(deadline - LOOK_S, over) or not await is_node(address):
            return
        if not await self._wait_until(deadline - LAST_WORD_S, over):
            words = (
                f"no answer to the handshake from {format_address(address)}, where a node answers"
                f" small datagrams; does the path carry datagrams of {NEEDED_BYTES} bytes?"
            )
            self._endpoint.refuse(address, words, self._clock())
            self._flush()

    async def connect_by_id(self, node_id: str, timeout_s: float) -> ConnectResult:
        """Have the joined servers introduce a node, and shake hands with it.

        The quickest server is asked first, and one that has fallen silent last.

        Raises:
            LocalError: No server is joined.
            P2PError: No server's introduction succeeded; it has the most informative reason.
        """
        servers = self._endpoint.peers.best_servers(self._clock())
        if not servers:
            raise LocalError(f"cannot find node {node_id}: join a server first")
        deadline = self._clock() + timeout_s
        errors: list[P2PError] = []
        while servers:
            # A silent server must not use up the time of the next one.
            left = deadline - self._clock()
            share = left if len(servers) == 1 else min(left / len(servers), LONGEST_SHARE_S)
            try:
                return await self._ask_server(
                    servers.pop(0), node_id, max(share, SHORTEST_ATTEMPT_S)
                )
            except P2PError as error:
                errors.append(error)
        # Of equals the first: the most useful servers were asked first.
        raise max(errors, key=_how_telling)

    async def _ask_server(self, server: Peer, node_id: str, timeout_s: float) -> ConnectResult:
        try:
            # The endpoint ends the call itself, and says why; this is for a lost server.
            async with asyncio.timeout(timeout_s + SHORTEST_ATTEMPT_S):
                token = self._endpoint.introduce(server, node_id, self._clock(), timeout_s)
                result: ConnectResult = await self._call(token)
        except TimeoutError:
            raise NotIntroducedError(f"node {node_id} did not answer in time") from None
        return result

    async def resolve(self, address: Address, timeout_s: float) -> list[Address]:
        """Look a host up; see `look_up`."""
        return await look_up(address, timeout_s)


async def look_up(address: Address, timeout_s: float, told_s: float | None = None) -> list[Address]:
    """All addresses of a host, in the order in which to try them.

    Args:
        address: A host, which may be a name, and a port.
        timeout_s: How long the resolver may take, seconds.
        told_s: The time that the error names, if this is what is left of it.

    Raises:
        LocalError: It does not resolve in time, or does not mean a single host.
    """
    try:
        async with asyncio.timeout(timeout_s):
            found = await resolve_all(address)
    except TimeoutError:
        raise LocalError(
            f"cannot resolve host {address[0]!r} within"
            f" {seconds_words(told_s or timeout_s)};"
            " check the network, or use an IP address"
        ) from None
    single: dict[Address, None] = {}
    error: LocalError | None = None
    for one in found:
        try:
            single[found_for(address, single_host(one))] = None
        except LocalError as refused:
            error = error or refused
    if not single:
        assert error is not None
        raise error
    return list(single)


def _how_telling(error: P2PError) -> int:
    """How much a server's failure says about the node, compared with another server's."""
    if isinstance(error, NotKnownThereError | PeerGoneError):
        return 0  # another one may know it
    if isinstance(error, NotIntroducedError):
        return 1
    return 2  # it knows the node, and this is the result
