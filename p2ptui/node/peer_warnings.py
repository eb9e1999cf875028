"""Which warnings about peers the user gets: none twice, and no flood of them.

Anybody may come under any name, as often as they like. What they do leaves room for the warnings
that matter: about whom this node has asked, and about the names of nodes that its user named or
verified. Warnings without room are counted, and one line says how many there were.
"""

import asyncio
import logging
from functools import partial
from typing import Final

from p2ptui.bounded import BoundedTable, LeftOut, TokenBucket
from p2ptui.tagged import tagged
from p2ptui.text import about, printable
from p2ptui.wire.address import Address

log = logging.getLogger("p2ptui.node")

LINES_PER_SECOND: Final = 5.0
"""Warnings at most about whom this node has asked, and as many about whoever comes."""

NAMED_EACH_S: Final = 60.0
"""Once in so long there is room for a warning about each node that the user named or verified,
however many warnings there are."""

REFUSED_PER_S: Final = 1.0
REFUSED_AT_ONCE: Final = 5.0
"""Who is refused has shown nothing: a flood of requests must not become one of lines and events."""

MAX_TOLD: Final = 1_024
"""Warnings that were given, and are not given again."""

UNTOLD_EACH_S: Final = 10.0
"""How many warnings there was no room for is said no more often than this."""


class PeerWarnings:
    """Gives those for which there is room, and counts the others."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._told: BoundedTable[str, None] = BoundedTable(MAX_TOLD)
        self._refused: BoundedTable[tuple[Address, str], None] = BoundedTable(MAX_TOLD)
        """Where somebody was refused, and by what."""
        self._named: BoundedTable[str, None] = BoundedTable(MAX_TOLD, lifetime_s=NAMED_EACH_S)
        """Of whom the user was warned lately, of those that the user named or verified."""
        self._lines_asked = TokenBucket(LINES_PER_SECOND, now)
        self._lines_come = TokenBucket(LINES_PER_SECOND, now)
        self._refusals_asked = TokenBucket(REFUSED_PER_S, now, REFUSED_AT_ONCE)
        self._refusals_come = TokenBucket(REFUSED_PER_S, now, REFUSED_AT_ONCE)
        self._left_out = LeftOut(_tell_left_out, partial(self._loop.call_later, UNTOLD_EACH_S))

    def changed(self, where: str, words: str, *, is_asked: bool, named: str) -> None:
        """Warn once of a peer that is not the one of before.

        Args:
            where: Its address, for people.
            words: What to say of it, which is said once, wherever it is.
            is_asked: Whether this node has asked for the session: strangers cause none of these.
            named: The id of the node that the user named or verified, in whose place it comes;
                empty if there is none.
        """
        if words in self._told:
            return
        now = self._loop.time()
        bucket = self._lines_asked if is_asked else self._lines_come
        if self._is_first_of(named, now) or bucket.take(now):
            self._told.put(words, None)
            self.warn(about(where, words))
        else:
            self._left_out.add()

    def _is_first_of(self, named: str, now: float) -> bool:
        """Whether there was no warning lately about a node that the user named or verified."""
        if not named:
            return False
        self._named.expire(now)
        return named not in self._named and self._named.put(named, None, now)

    def may_refuse(self, address: Address, cause: str, *, is_asked: bool) -> bool | None:
        """Whether to say that somebody was turned away; None if it was said before.

        It is said once for each address and cause, since it will come again and again, and of many
        only some: anybody may ask, from any address, in any name.

        Args:
            address: Where it is.
            cause: In a word.
            is_asked: Whether this node has asked it.
        """
        if (address, cause) in self._refused:
            return None
        bucket = self._refusals_asked if is_asked else self._refusals_come
        if not bucket.take(self._loop.time()):
            self._left_out.add()
            return False
        self._refused.put((address, cause), None)
        return True

    def warn(self, line: str) -> None:
        """Warn in these words, whatever was said before."""
        # An event tells the same to who reads those.
        log.warning("%s", printable(line, 1000), extra={"is_event": True, "event": "peer_warning"})

    def tell_untold(self) -> None:
        """Say how many there was no room for, if there were any."""
        self._left_out.tell()


def _tell_left_out(count: int) -> None:
    whose = "warnings about peers"
    extra = tagged("lines_left_out", count=count, about=whose)
    log.warning("%d more %s were not logged", count, whose, extra=extra)
