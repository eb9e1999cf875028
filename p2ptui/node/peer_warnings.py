"""Which warnings about peers the user gets: none twice, and no flood of them.

Anybody may come under any name, as often as they like. That leaves room for the warnings that
matter: about nodes that this one has asked, and about the names of nodes that its user named or
verified. Suppressed warnings are counted, and one line says how many there were.
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
"""Most warnings about nodes that this one has asked, and as many about those that come by
themselves."""

NAMED_EACH_S: Final = 60.0
"""Within this time there is room for one warning about each node that the user named or verified,
however many others there are."""

REFUSED_PER_S: Final = 1.0
REFUSED_AT_ONCE: Final = 5.0
"""A refused node has proved nothing: a flood of requests must not become one of lines and
events."""

MAX_TOLD: Final = 1_024
"""Warnings that were given and are not repeated."""

UNTOLD_EACH_S: Final = 10.0
"""How often, at most, the number of suppressed warnings is reported."""


class PeerWarnings:
    """Gives the warnings for which there is room, and counts the others."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._told: BoundedTable[str, None] = BoundedTable(MAX_TOLD)
        self._refused: BoundedTable[tuple[Address, str], None] = BoundedTable(MAX_TOLD)
        """The addresses and causes of refusals."""
        self._named: BoundedTable[str, None] = BoundedTable(MAX_TOLD, lifetime_s=NAMED_EACH_S)
        """Nodes named or verified by the user about which there was a recent warning."""
        self._lines_asked = TokenBucket(LINES_PER_SECOND, now)
        self._lines_come = TokenBucket(LINES_PER_SECOND, now)
        self._refusals_asked = TokenBucket(REFUSED_PER_S, now, REFUSED_AT_ONCE)
        self._refusals_come = TokenBucket(REFUSED_PER_S, now, REFUSED_AT_ONCE)
        self._left_out = LeftOut(_tell_left_out, partial(self._loop.call_later, UNTOLD_EACH_S))

    def changed(self, where: str, words: str, *, is_asked: bool, named: str) -> None:
        """Warn once about a peer that has changed.

        Args:
            where: Its address, for people.
            words: The warning, given once, whatever the address.
            is_asked: Whether this node asked for the session: strangers cannot cause that.
            named: The id of the node, named or verified by the user, whose place it takes; empty if
                there is none.
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
        """Whether there was no recent warning about a node that the user named or verified."""
        if not named:
            return False
        self._named.expire(now)
        return named not in self._named and self._named.put(named, None, now)

    def may_refuse(self, address: Address, cause: str, *, is_asked: bool) -> bool | None:
        """Whether to report that a node was refused; None if it was reported before.

        A refusal is reported once for each address and cause, since it will recur, and only some of
        many are reported: anybody may ask, from any address, under any name.

        Args:
            address: Its address.
            cause: The cause, in a word.
            is_asked: Whether this node asked it.
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
        """Give this warning, whatever was said before."""
        # An event tells readers of events the same.
        log.warning("%s", printable(line, 1000), extra={"is_event": True, "event": "peer_warning"})

    def tell_untold(self) -> None:
        """Report how many warnings were suppressed, if any."""
        self._left_out.tell()


def _tell_left_out(count: int) -> None:
    whose = "warnings about peers"
    extra = tagged("lines_left_out", count=count, about=whose)
    log.warning("%d more %s were not logged", count, whose, extra=extra)
