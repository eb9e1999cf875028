"""Joins another server that this node was told of while none of its own servers is up.

Anyone who names an address might want a node to send there. So one address at a time is asked, each
only a few times in a while no matter who names it, with an ordinary handshake for the named id; and
none as long as another server is up.
"""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from p2ptui.bounded import BoundedTable
from p2ptui.core.events import ConnectResult
from p2ptui.core.mobility.home import Home
from p2ptui.core.mobility.told_servers import ToldServer
from p2ptui.errors import P2PError
from p2ptui.node.joiner import FIRST_PAUSE_S, LONGEST_PAUSE_S, PAUSE_JITTER
from p2ptui.tagged import tagged
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.joined import JoinedAddress
from p2ptui.wire.message import MAX_OTHER_SERVERS

log = logging.getLogger("p2ptui.join")

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

ATTEMPT_S: Final = 2.0
"""A server that is up answers sooner, and the next one may be waiting."""

TRIES_AFTER_S: Final = (0.0, 3.0, 30.0, 200.0)
TRIES: Final = len(TRIES_AFTER_S)
TRIES_WITHIN_S: Final = 600.0
"""One address is asked this often within this time, not sooner than at these times after the first
attempt, no matter who names it: the server may be up again soon, or only after its machine
restarts.
"""

HANDED_OVER_S: Final = 0.5
"""By then the server that this node returns to has told the others about it. The node keeps its
session with the other server for this long: until then it stays in all lists.
"""

TRIES_OF_HOST: Final = 12
"""Attempts at one host, whichever of its ports are named: three servers may be on one machine."""

HELD_S: Final = 1.0
"""A session that lasted this long shows that the named server exists and accepts this node, so
attempts at it no longer count. It is short because a node's own server may be up again after two
seconds.
"""

AGAIN_AFTER_S: Final = 5.0
"""Nor do attempts at such a server count if the first of them was at least this long ago. A server
that takes this node in and drops it at once is thus asked twice in this time, and no more.
"""

MAX_ASKED: Final = 256
"""Addresses, and hosts, whose attempts are counted; beyond this, none is asked."""


class Refuge:
    """Joins a server that other servers named, and leaves it for one that it was told to join.

    Args:
        home: Says when one is wanted, and which servers there are.
        connect: Shakes hands, within a number of seconds, with a node at the first of its
            addresses.
        say_goodbye: Says goodbye to the node at an address.
        is_kept: Whether a server that is kept joined has this address.
        now: The time, seconds.
        rng: For the jitter of pauses.
        begin: Starts a task that the node owns.
        count: Called with a cause for each server that is not asked for lack of room.
    """

    def __init__(
        self,
        home: Home,
        connect: Callable[[Sequence[Address], float], Awaitable[ConnectResult]],
        say_goodbye: Callable[[Address], None],
        is_kept: Callable[[Address], bool],
        now: Callable[[], float],
        rng: random.Random,
        begin: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"],
        count: Callable[[str], None],
    ) -> None:
        self._home = home
        self._connect = connect
        self._say_goodbye = say_goodbye
        self._is_kept = is_kept
        self._now = now
        self._rng = rng
        self._begin = begin
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        """Set when there is another home, or none any more."""
        self._seen: tuple[bool, Sequence[ToldServer]] = False, ()
        """Whether a server was wanted, and which ones there were, at the last look."""
        self._joined: BoundedTable[Address, float] = BoundedTable(
            MAX_OTHER_SERVERS, refuses=True, full="told_servers_full", count=count
        )
        """The servers that were asked and have not failed, with the time since which each has been
        joined: infinity while it is being asked.
        """
        self._asked: BoundedTable[Address, tuple[int, float]] = BoundedTable(
            MAX_ASKED,
            refuses=True,
            full="told_servers_full",
            lifetime_s=TRIES_WITHIN_S,
            count=count,
        )
        """How often each was asked, and when first."""
        self._hosts: BoundedTable[str, int] = BoundedTable(
            MAX_ASKED,
            refuses=True,
            full="told_servers_full",
            lifetime_s=TRIES_WITHIN_S,
            count=count,
        )
        home.on_wanted = self._handle_wanted
        home.on_taken = lambda _: self._news.set()
        home.is_spare = lambda server: server.address in self._joined

    def _handle_wanted(self) -> None:
        if (self._home.is_wanted, self._home.told) != self._seen:
            self._news.set()
        if self._task is None or self._task.done():
            self._task = self._begin(self._run(), "another server")

    async def _run(self) -> None:
        """Run until a server that this node was told to join is its home."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._news.clear()
            self._seen = self._home.is_wanted, self._home.told
            if self._home.is_wanted:
                await self._ask_all()
            if self._home.is_wanted:
                jitter = self._rng.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)
                await self._wait(pause_s * jitter)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            server, pause_s = self._home.server, FIRST_PAUSE_S
            if server is not None and server.address not in self._joined:
                await asyncio.sleep(HANDED_OVER_S)
                if self._home.server is server:
                    break
                continue
            self._seen = False, self._home.told
            await self._news.wait()
        for address in list(self._joined):
            self._let_go(address)
            log.info(
                "left the server at %s",
                format_address(address),
                extra=tagged("refuge_left", address=format_address(address)),
            )
            self._say_goodbye(address)

    async def _ask_all(self) -> None:
        for address in [where for where in self._joined if not self._home.has_session_at(where)]:
            self._let_go(address)  # that server has died too
        for told in self._home.told:
            if not self._home.is_wanted:
                return
            if not self._is_kept(told.address) and self._may_ask(told.address):
                await self._ask(told)

    def _may_ask(self, address: Address) -> bool:
        now, host = self._now(), address[0]
        for table in (self._asked, self._hosts):
            table.expire(now)
        tries, first_at = self._asked.get(address) or (0, now)
        of_host = self._hosts.get(host) or 0
        if tries == TRIES or of_host == TRIES_OF_HOST or now < first_at + TRIES_AFTER_S[tries]:
            return False
        return _note(self._asked, address, (tries + 1, first_at), now) and _note(
            self._hosts, host, of_host + 1, now
        )

    def _let_go(self, address: Address) -> None:
        """Stop using a server. If it served for a while it counts as never asked: otherwise a node
        whose own server dies again and again would soon have no server to go to.
        """
        now, joined_at = self._now(), self._joined.pop(address)
        tries, first_at = self._asked.get(address) or (0, now)
        if joined_at is None or now < max(joined_at + HELD_S, first_at + AGAIN_AFTER_S):
            return
        self._asked.pop(address)
        if of_host := self._hosts.get(address[0]):
            self._hosts.replace(address[0], of_host - tries)

    async def _ask(self, told: ToldServer) -> None:
        where = format_address(told.address)
        if not self._joined.put(told.address, math.inf):
            return
        try:
            asked = JoinedAddress(told.address, pin=told.node_id)
            await self._connect([asked], ATTEMPT_S)
        except P2PError as error:
            self._joined.pop(told.address)
            log.info(
                "cannot go to the server at %s: %s",
                where,
                error,
                extra=tagged("refuge_failed", address=where, reason=str(error)),
            )
        else:
            self._joined.replace(told.address, self._now())
            log.warning(
                "no server that was to be joined answers: using the one at %s until one does",
                where,
                extra=tagged("refuge_joined", address=where, node_id=told.node_id),
            )

    async def _wait(self, seconds: float) -> None:
        """Wait, or return sooner on news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()


def _note(table: BoundedTable[KeyT, ValueT], key: KeyT, value: ValueT, now: float) -> bool:
    """Set a value whose lifetime starts when its key is first set; return whether there was
    room.
    """
    if key in table:
        table.replace(key, value)
        return True
    return table.put(key, value, now=now)
