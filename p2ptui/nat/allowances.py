"""Limits the checks sent to addresses that only the other node vouches for."""

import math
from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable
from p2ptui.wire.address import Address
from p2ptui.wire.offer import MAX_PREDICTED

MAX_LEARNT: Final = MAX_PREDICTED
"""Addresses that checks may come from: a node that knows the password could forge any number. As
many as the other side has sockets with predicted ports: each may be seen at another port than
predicted.
"""

TRIGGERED_CHECKS: Final = 2
"""Sent to an address that a check claimed to come from, until it answers. With the answer that is
at most three times what came in (RFC 9000, section 8.1); each further check earns one more.
"""

PROVED: Final = math.inf

Key: TypeAlias = tuple[int, Address]
"""The number of the local socket, and the remote address."""


class Allowances:
    """What may still be sent to each address, over all rounds of a search."""

    def __init__(self) -> None:
        self._left: BoundedTable[Key, float] = BoundedTable(MAX_LEARNT)

    def __len__(self) -> int:
        return len(self._left)

    def left(self, key: Key) -> float:
        """Checks that may still be sent there."""
        return self._left.get(key, 0)

    def take(self, key: Key) -> bool:
        """Record one sent there; return whether it was the last."""
        left = self.left(key)
        if key in self._left and left < PROVED:
            self._left.replace(key, left - 1)
        return left <= 1

    def allow(self, key: Key, checks: float) -> None:
        """Allow this many checks, unless more are allowed already."""
        known = self._left.get(key)
        if known is not None:
            self._left.replace(key, max(known, checks))
            return
        if not self._left.has_room:
            # Never evict one that answered while there is another: the next path may lead through
            # it.
            unproved = next((known for known, left in self._left.items() if left < PROVED), None)
            del self._left[next(iter(self._left)) if unproved is None else unproved]
        self._left.put(key, checks)

    def earn(self, key: Key, checks: int) -> None:
        """A check came from there, for which at most this many may go back."""
        left = self._left.get(key)
        if left is None:
            self.allow(key, min(checks, TRIGGERED_CHECKS))
        elif left < TRIGGERED_CHECKS:
            self._left.replace(key, left + min(checks, 1))

    def prove(self, key: Key) -> None:
        """It answered: it is no longer limited."""
        if key in self._left:
            self._left.replace(key, PROVED)

    def clear(self) -> None:
        """Forget all."""
        self._left.clear()
