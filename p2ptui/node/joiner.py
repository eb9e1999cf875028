"""Keeps a node connected to the servers that it was told to join, with growing pauses."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

from p2ptui.core.events import ConnectResult
from p2ptui.errors import P2PError
from p2ptui.io.resolve import is_literal
from p2ptui.node.partings import Partings
from p2ptui.tagged import tagged
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.joined import JoinedAddress, joined_text, parse_joined

log = logging.getLogger("p2ptui.join")

Connect: TypeAlias = Callable[[Address, float], Awaitable[ConnectResult]]
REJOIN_WITHIN_S: Final = 0.25
"""A server that was joined for a while and is lost is asked again within this time: it may only be
restarting, and others wait for what it relays.
"""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
PAUSE_JITTER: Final = 0.25
"""Keeps many nodes that lost the same server from coming back at the same moment."""

STABLE_S: Final = 30.0
"""A connection that lasted this long makes the next pause short again."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How a server's other addresses are used."""

    connect: Callable[[Address, float, Address], Awaitable[ConnectResult]]
    """Shakes hands, within a number of seconds, with a server at any of its addresses except silent
    ones and the last argument. Cancelled, it leaves no handshake behind.
    """
    wait_until_silent: Callable[[Address], Awaitable[None]]
    """Returns when the peer at an address does not answer."""
    leave: Callable[[Address], None] = lambda _: None
    """Says goodbye to the peer at an address."""


class Joining:
    """The servers that a node keeps joined, each with its task.

    Args:
        connect: Shakes hands within a number of seconds.
        wait_until_left: Returns when the peer at an address is gone.
        now: The time, seconds.
        rng: For the jitter.
        partings: The servers that were said goodbye to.
        pause_until_moved: As for `keep_joined`.
        begin: Starts a task that the node owns.
        elsewhere: As for `keep_joined`.
        is_there: Whether there is a session with the peer at an address.
        has_session: Whether there is a session with a node, by its id.
    """

    def __init__(
        self,
        connect: Connect,
        wait_until_left: Callable[[Address], Awaitable[None]],
        now: Callable[[], float],
        rng: random.Random,
        partings: Partings,
        pause_until_moved: Callable[[float], Awaitable[bool]],
        begin: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"],
        elsewhere: Elsewhere | None = None,
        is_there: Callable[[Address], bool] = lambda _: False,
        has_session: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._connect = connect
        self._wait_until_left = wait_until_left
        self._now = now
        self._rng = rng
        self._partings = partings
        self._pause = pause_until_moved
        self._begin = begin
        self._elsewhere = elsewhere
        self._is_there = is_there
        self._has_session = has_session
        self._came = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._kept: dict[str, JoinedAddress] = {}
        """The servers, each by the form in which a user would write it."""
        self._timeout_s = 0.0
        self.found_at: dict[Address, Address] = {}
        """Where each server was when it was last joined, by its address as given."""
        self._ids: dict[Address, str] = {}
        """The id of the server found there."""

    def keep(self, servers: Iterable[str], timeout_s: float) -> None:
        """Keep these joined, and no others; existing connections stay.

        Args:
            servers: `host:port` each, or `host:port#id` to accept no other node there.
            timeout_s: How long each attempt may take from now on (`auth_timeout`), seconds.
        """
        self._timeout_s = timeout_s
        wanted = dict.fromkeys(servers)
        self._kept = {joined_text(server): server for server in map(parse_joined, wanted)}
        for text in self._tasks.keys() - wanted.keys():
            self._tasks.pop(text).cancel()
            self.found_at.pop(parse_joined(text), None)
            self._ids.pop(parse_joined(text), None)
        for text in wanted:
            if text not in self._tasks:
                elsewhere = self._elsewhere
                if elsewhere is not None:
                    connect = partial(self._note, elsewhere.connect)
                    elsewhere = replace(elsewhere, connect=connect)
                work = keep_joined(
                    parse_joined(text),
                    self._join,
                    self._wait_until_left,
                    self._now,
                    self._rng,
                    lambda: self._timeout_s,
                    self._partings,
                    self._pause,
                    elsewhere,
                )
                self._tasks[text] = self._begin(work, f"join {text}")

    def is_kept(self, asked: JoinedAddress) -> bool:
        """Whether this is the address of a server that is kept joined, with the same id."""
        return joined_text(asked) in self._kept

    def pin_at(self, address: Address) -> str:
        """The id required of the server that is kept joined and was found at an address; empty if
        none is required.
        """
        found = (one for one in self._kept.values() if self.found_at.get(one) == address)
        return next((one.pin for one in found if one.pin), "")

    def is_at(self, address: Address) -> bool:
        """Whether a server that is kept joined is at an address, or was when it was last joined."""
        return address in self._kept.values() or address in self.found_at.values()

    def keeps(self, given: str) -> bool:
        """Whether a server given by this address, with or without an id, is kept joined."""
        return any(parse_joined(text).given == given for text in self._tasks)

    @property
    def joined(self) -> int:
        """How many of the servers that are kept joined have a session with this node, wherever each
        is now.
        """
        return sum(
            self._is_there(self.found_at.get(server, server))
            or self._has_session(self._ids.get(server, ""))
            for server in self._kept.values()
        )

    async def wait_for_first(self, timeout_s: float | None) -> bool | None:
        """If none of the servers is joined, wait until one is.

        Args:
            timeout_s: The longest wait, seconds; None: as long as it takes.

        Returns:
            Whether one came; None if there was nothing to wait for.
        """
        servers = [parse_joined(text) for text in self._tasks]
        where = [self.found_at.get(server, server) for server in servers]
        under_way = [one for one in where if not self._partings.is_parted(one)]
        if not under_way or any(map(self._is_there, where)):
            return None
        self._came.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._came.wait()
        except TimeoutError:
            return False
        return True

    def give_up(self) -> None:
        """The node ends: nobody waits any more, and nothing is joined again."""
        self._came.set()
        for task in self._tasks.values():
            task.cancel()

    async def _join(self, server: Address, timeout_s: float) -> ConnectResult:
        return await self._note(self._connect, server, timeout_s)

    async def _note(
        self,
        connect: Callable[..., Awaitable[ConnectResult]],
        server: Address,
        timeout_s: float,
        *but: Address,
    ) -> ConnectResult:
        result = await connect(server, timeout_s, *but)
        self.found_at[server] = result.address
        self._ids[server] = result.node_id
        self._came.set()
        return result


async def keep_joined(
    server: Address,
    connect: Connect,
    wait_until_left: Callable[[Address], Awaitable[None]],
    now: Callable[[], float],
    rng: random.Random,
    timeout_s: float | Callable[[], float],
    partings: Partings | None = None,
    pause_until_moved: Callable[[float], Awaitable[bool]] | None = None,
    elsewhere: Elsewhere | None = None,
) -> None:
    """Connect to `server`, and again whenever the connection is lost, until cancelled.

    After a goodbye that the user asked for, it is left alone until the user connects to it again.

    Args:
        server: Host (a name is looked up at each attempt) and port.
        connect: Shakes hands within a number of seconds.
        wait_until_left: Returns when the peer at an address is gone.
        now: The time, seconds.
        rng: For the jitter.
        timeout_s: How long one attempt may take (`auth_timeout`), seconds; or a function that is
            asked before each attempt, as the option may change.
        partings: The servers that were said goodbye to.
        pause_until_moved: Waits this many seconds, or until this machine has moved or slept, when
            there is no reason to wait longer; returns whether it has.
        elsewhere: Joins another address of the same name while the one in use is silent: that one
            may come back until it is lost, but nobody waits for it.
    """
    pause, was_stable = FIRST_PAUSE_S, False
    partings = partings or Partings()
    where = server
    partings.resume(where)  # whoever configures it anew wants it
    partings.note_joined(where)
    while True:
        # Whenever the user said goodbye: also while the next attempt was waited for.
        if await partings.wait_until_wanted(where):
            pause = FIRST_PAUSE_S
        try:
            limit_s = timeout_s() if callable(timeout_s) else timeout_s
            result = await connect(server, limit_s)
        except P2PError as error:
            was_stable = False
            log.warning(
                "cannot join %s: %s",
                format_address(server),
                error,
                extra=tagged("join_failed", server=format_address(server), reason=str(error)),
            )
        else:
            began = now()
            log.info(
                "joined %s",
                format_address(server),
                extra=tagged(
                    "server_joined",
                    server=format_address(server),
                    address=format_address(result.address),
                    node_id=result.node_id,
                ),
            )
            where = result.address
            partings.note_joined(where, server)
            if elsewhere is None or is_literal(server[0]):
                await wait_until_left(where)
            else:
                where = await _stay(server, where, limit_s, wait_until_left, elsewhere, partings)
            log.warning(
                "lost %s",
                format_address(server),
                extra=tagged("server_lost", server=format_address(server)),
            )
            was_stable = now() - began >= STABLE_S
            if was_stable:
                pause = FIRST_PAUSE_S
        if partings.is_parted(where):
            continue  # until the user connects to it
        if was_stable:
            await asyncio.sleep(rng.uniform(0.0, REJOIN_WITHIN_S))
            continue
        wait = pause * rng.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)
        log.info(
            "joining %s again in %.1f s",
            format_address(server),
            wait,
            extra=tagged("join_planned", server=format_address(server), seconds=round(wait, 3)),
        )
        if await (pause_until_moved or _sleep)(wait):
            pause = FIRST_PAUSE_S
        else:
            pause = min(pause * 2, LONGEST_PAUSE_S)


async def _stay(
    server: Address,
    where: Address,
    timeout_s: float,
    wait_until_left: Callable[[Address], Awaitable[None]],
    elsewhere: Elsewhere,
    partings: Partings,
) -> Address:
    """Wait until a server is lost; while it is silent, its other addresses are tried.

    A goodbye to it applies to all of them.

    Returns:
        Its last address.
    """
    pause_s = FIRST_PAUSE_S
    while await _is_first(elsewhere.wait_until_silent(where), wait_until_left(where)):
        try:
            result = await _join_elsewhere(
                server, where, timeout_s, wait_until_left, elsewhere, partings
            )
        except P2PError as error:
            log.info(
                "%s is silent: %s",
                format_address(where),
                error,
                extra=tagged("server_silent", address=format_address(where), reason=str(error)),
            )
            if await _is_first(wait_until_left(where), _sleep(pause_s)):
                break
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        else:
            if result is None:
                break
            old, where, pause_s = where, result.address, FIRST_PAUSE_S
            log.warning(
                "%s is silent: joined %s",
                format_address(old),
                format_address(where),
                extra=tagged(
                    "server_moved", former=format_address(old), address=format_address(where)
                ),
            )
            partings.note_joined(where, server)
    return where


async def _join_elsewhere(
    server: Address,
    where: Address,
    timeout_s: float,
    wait_until_left: Callable[[Address], Awaitable[None]],
    elsewhere: Elsewhere,
    partings: Partings,
) -> ConnectResult | None:
    """Join another address of a silent server; None if the user says goodbye to it meanwhile.

    The old peer may also leave because the same machine is joined at the new address: that is not a
    goodbye.

    Raises:
        P2PError: No address answers.
    """
    if partings.is_parted(where):
        return None
    attempt = asyncio.ensure_future(elsewhere.connect(server, timeout_s, where))
    left = asyncio.ensure_future(wait_until_left(where))
    try:
        await asyncio.wait([attempt, left], return_when=asyncio.FIRST_COMPLETED)
        if not attempt.done() and partings.is_parted(where):
            return None
        result = await attempt
    finally:
        attempt.cancel()
        left.cancel()
    if partings.is_parted(where):
        elsewhere.leave(result.address)  # both at the same moment
        return None
    return result


async def _is_first(one: Awaitable[object], other: Awaitable[object]) -> bool:
    """Wait for the first of two; return whether it was the first argument."""
    both = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return not both[1].done()
    finally:
        for each in both:
            each.cancel()


async def _sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return False
