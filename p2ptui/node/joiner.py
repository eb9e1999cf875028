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

REJOIN_WITHIN_S: Final = 0.25
"""A server that was joined for a while and is lost is asked again within so long: it may only be
restarted, and others wait for what it relays."""

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
    """
    pause, was_stable = FIRST_PAUSE_S, False
    partings = partings or Partings()
    where = server
    partings.note_joined(where)
    while True:
        try:
            result = await connect(server, timeout_s)
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
        await asyncio.sleep(wait)
        pause = min(pause * 2, LONGEST_PAUSE_S)
