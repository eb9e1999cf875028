"""Keeps a node connected to the servers that it was told to join, with growing pauses."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from p2ptui.core.events import ConnectResult
from p2ptui.errors import P2PError
from p2ptui.node.partings import Partings
from p2ptui.wire.address import Address, format_address

log = logging.getLogger("p2ptui.join")

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
PAUSE_JITTER: Final = 0.25
"""Many nodes that lost one server do not come back at the same moment."""

STABLE_S: Final = 30.0
"""A connection that held this long makes the next pause short again."""


async def keep_joined(
    server: Address,
    connect: Callable[[Address, float], Awaitable[ConnectResult]],
    wait_until_left: Callable[[Address], Awaitable[None]],
    now: Callable[[], float],
    rng: random.Random,
    timeout_s: float,
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
        timeout_s: How long one attempt may take (`auth_timeout`), seconds.
        partings: Knows of such goodbyes.
        pause_until_moved: Waits so many seconds, or until this machine has moved or slept: then
            there is no reason to wait any longer; whether that was so.
    """
    pause = FIRST_PAUSE_S
    partings = partings or Partings()
    where = server
    partings.note_joined(where)
    while True:
        try:
            result = await connect(server, timeout_s)
        except P2PError as error:
            log.warning("cannot join %s: %s", format_address(server), error)
        else:
            began = now()
            log.info("joined %s", format_address(server))
            where = result.address
            partings.note_joined(where)
            await wait_until_left(where)
            log.warning("lost %s", format_address(server))
            if now() - began >= STABLE_S:
                pause = FIRST_PAUSE_S
        if await partings.wait_until_wanted(where):
            pause = FIRST_PAUSE_S
            continue  # somebody has connected to it
        wait = pause * rng.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)
        log.info("joining %s again in %.1f s", format_address(server), wait)
        if await (pause_until_moved or _sleep)(wait):
            pause = FIRST_PAUSE_S
        else:
            pause = min(pause * 2, LONGEST_PAUSE_S)


async def _sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return False
