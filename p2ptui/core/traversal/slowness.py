"""How long things currently take here, beyond the delay of the network.

A busy machine gives each of its programs a turn now and then, and an answer takes as many turns as
there are programs on its path. A program that repeats requests by the clock repeats those that are
still in progress, which makes the machine even busier. This shows in two ways: the program's own
timers are late, and servers answer late. Each server is measured separately.

Lost datagrams are not slowness: for a request that was repeated, it is only certain that the answer
took at least as long as since the last repetition (Karn's rule; RFC 6298, section 3).
"""

import math
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.wire.address import Address

HALF_LIFE_S: Final = 4.0
"""After this time, an observation counts half."""

LONGEST_SLOWNESS_S: Final = 3.0
"""Longer delays are not slowness: a machine that was suspended for an hour is not slow."""

TURNS: Final = 2
"""An answer takes this many times as long: it waits for its turn at others, too."""


class _Delay:
    """The longest recent delay, which decays."""

    __slots__ = ("_seen_at", "_seen_s")

    def __init__(self) -> None:
        self._seen_s = 0.0
        self._seen_at = -math.inf

    def note(self, delay_s: float, now: float) -> None:
        if delay_s > self.expected_s(now):
            self._seen_s, self._seen_at = delay_s, now

    def expected_s(self, now: float) -> float:
        if not self._seen_s:
            return 0.0
        faded: float = 0.5 ** (max(now - self._seen_at, 0.0) / HALF_LIFE_S)
        return self._seen_s * faded


SERVERS_REMEMBERED: Final = 64
"""Servers whose delays are remembered; the one whose delay is oldest makes room."""


class Slowness:
    """The longest recent delays of this machine and of each server, which decay."""

    def __init__(self) -> None:
        self._machine = _Delay()
        self._servers: BoundedTable[Address, _Delay] = BoundedTable(SERVERS_REMEMBERED)

    def __len__(self) -> int:
        return len(self._servers)

    def note(self, delay_s: float, now: float, server: Address | None = None) -> None:
        """A delay was observed.

        Args:
            delay_s: Its length, seconds; delays that are not slowness are ignored.
            now: The time, seconds.
            server: The server that answered late; None: this program itself was late.
        """
        if 0 < delay_s <= LONGEST_SLOWNESS_S:
            delay = self._machine if server is None else self._of(server)
            delay.note(delay_s, now)

    def _of(self, server: Address) -> _Delay:
        delay = self._servers.get(server)
        if delay is None:
            delay = _Delay()
            self._servers.put(server, delay)
        return delay

    def forget(self, server: Address) -> None:
        """A server has left, or begins anew."""
        self._servers.pop(server, None)

    def delay_s(self, now: float, server: Address | None = None) -> float:
        """The delay to expect, seconds: of this machine, and of a server if one is given."""
        here_s = self._machine.expected_s(now)
        there = None if server is None else self._servers.get(server)
        return here_s if there is None else max(here_s, there.expected_s(now))

    def answer_s(self, now: float, server: Address | None = None) -> float:
        """How long another node's answer may take because of it, seconds."""
        return TURNS * self.delay_s(now, server)
