"""Keeps a node connected to the servers that it was told to join, with growing pauses."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

from p2ptui.core.events import ConnectResult
from p2ptui.errors import P2PError
from p2ptui.node.partings import Partings
from p2ptui.wire.address import Address, format_address, parse_address

log = logging.getLogger("p2ptui.join")

Connect: TypeAlias = Callable[[Address, float], Awaitable[ConnectResult]]
REJOIN_WITHIN_S: Final = 0.25
"""A server that was joined for a while and is lost is asked again within so long: it may only be
restarted, and others wait for what it relays."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
PAUSE_JITTER: Final = 0.25
"""Many nodes that lost one server do not come back at the same moment."""

STABLE_S: Final = 30.0
"""A connection that held this long makes the next pause short again."""


class Joining:
    """The servers that a node keeps joined, each with its task.

    Args:
        connect: Shakes hands within seconds.
        wait_until_left: Returns when the peer at an address is gone.
        now: The time, seconds.
        rng: For the jitter.
        partings: Knows of goodbyes.
        pause_until_moved: As for `keep_joined`.
        begin: Starts a task that the node owns.
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
    ) -> None:
        self._connect = connect
        self._wait_until_left = wait_until_left
        self._now = now
        self._rng = rng
        self._partings = partings
        self._pause = pause_until_moved
        self._begin = begin
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timeout_s = 0.0
        self.found_at: dict[Address, Address] = {}
        """Where each server was when it was last joined, by what it was told as."""

    def keep(self, servers: Iterable[str], timeout_s: float) -> None:
        """Keep these joined, and no others; who is connected stays so.

        Args:
            servers: `host:port` each.
            timeout_s: How long each attempt may take from now on (`auth_timeout`), seconds.
        """
        self._timeout_s = timeout_s
        wanted = dict.fromkeys(servers)
        for text in self._tasks.keys() - wanted.keys():
            self._tasks.pop(text).cancel()
            self.found_at.pop(parse_address(text), None)
        for text in wanted:
            if text not in self._tasks:
                work = keep_joined(
                    parse_address(text),
                    self._join,
                    self._wait_until_left,
                    self._now,
                    self._rng,
                    lambda: self._timeout_s,
                    self._partings,
                    self._pause,
                )
                self._tasks[text] = self._begin(work, f"join {text}")

    async def _join(self, server: Address, timeout_s: float) -> ConnectResult:
        result = await self._connect(server, timeout_s)
        self.found_at[server] = result.address
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
) -> None:
    """Connect to `server`, and again whenever the connection is lost, until cancelled.

    After a goodbye that somebody asked for, it is left alone until somebody has connected to it.

    Args:
        server: Host (a name is looked up at each attempt) and port.
        connect: Shakes hands within seconds.
        wait_until_left: Returns when the peer at an address is gone.
        now: The time, seconds.
        rng: For the jitter.
        timeout_s: How long one attempt may take (`auth_timeout`), seconds; or what tells it, before
            each: the option may change meanwhile.
        partings: Knows of such goodbyes.
        pause_until_moved: Waits so many seconds, or until this machine has moved or slept: then
            there is no reason to wait any longer; whether that was so.
    """
    pause, was_stable = FIRST_PAUSE_S, False
    partings = partings or Partings()
    where = server
    partings.note_joined(where)
    while True:
        try:
            limit_s = timeout_s() if callable(timeout_s) else timeout_s
            result = await connect(server, limit_s)
        except P2PError as error:
            was_stable = False
            log.warning("cannot join %s: %s", format_address(server), error)
        else:
            began = now()
            log.info("joined %s", format_address(server))
            where = result.address
            partings.note_joined(where)
            await wait_until_left(where)
            log.warning("lost %s", format_address(server))
            was_stable = now() - began >= STABLE_S
            if was_stable:
                pause = FIRST_PAUSE_S
        if await partings.wait_until_wanted(where):
            pause = FIRST_PAUSE_S
            continue  # somebody has connected to it
        if was_stable:
            await asyncio.sleep(rng.uniform(0.0, REJOIN_WITHIN_S))
            continue
        wait = pause * rng.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)
        log.info("joining %s again in %.1f s", format_address(server), wait)
        if await (pause_until_moved or _sleep)(wait):
            pause = FIRST_PAUSE_S
        else:
            pause = min(pause * 2, LONGEST_PAUSE_S)


async def _sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return False
