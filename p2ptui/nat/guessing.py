"""Random guesses of ports, none repeated, at a pace that this node's NAT lets pass."""

import random
from collections.abc import Iterator
from typing import Final

from p2ptui.nat.flow_pace import CATCH_UP_S, FlowPace
from p2ptui.wire.address import Address

YIELD_S: Final = 0.0001
"""After its turn a guesser lets others that share the pace go first."""


def random_ports(rng: random.Random, low: int, high: int) -> Iterator[int]:
    """All ports of a range in a random order, without a list of them.

    A full-period linear congruential generator over the next power of two, skipping values outside.
    """
    size = high - low + 1
    period = max(1 << max(size - 1, 1).bit_length(), 4)
    factor = 4 * rng.randrange(1, period // 4 + 1) + 1
    step = 2 * rng.randrange(period // 2) + 1
    value = rng.randrange(period)
    for _ in range(period):
        if value < size:
            yield low + value
        value = (value * factor + step) % period


class Guesses:
    """The ports of one host that are tried from the node's own socket.

    Args:
        host: Its address.
        ports: In a random order.
        count: Ports tried at most.
        quick: Ports tried first, as fast as the pace allows: on a good network they suffice.
        begin: When the first one is sent, seconds.
        end: Until when the others are spread evenly.
        pace: How fast new flows may begin.
    """

    def __init__(
        self,
        host: str,
        ports: Iterator[int],
        count: int,
        *,
        quick: int,
        begin: float,
        end: float,
        pace: FlowPace,
    ) -> None:
        self.host = host
        self.pace = pace
        self._ports = ports
        self._left = count
        self._quick = quick
        self._due = begin
        self._end = end
        self._turn = begin
        self._probes = 0

    @property
    def due(self) -> float | None:
        """When the next one is due; None if there is none left."""
        return max(self._due, self.pace.free_at, self._turn) if self._left > 0 else None

    def take_due(self, now: float) -> Address | None:
        """The next port, if it is due; a probe may take its turn."""
        while (due := self.due) is not None and due <= now:
            is_probe = self.pace.begin_flow(now)
            self._turn = self.pace.free_at + YIELD_S
            if is_probe:
                self._probes += 1
                continue
            port = next(self._ports, None)
            if port is None:
                self._left = 0
                break
            # After the quick ones, the others are spread over the remaining time.
            pause_s = 0.0 if self._quick > 0 else (self._end - now) / self._left
            self._due = max(self._due, now - CATCH_UP_S) + pause_s
            self._left -= 1
            self._quick -= 1
            return self.host, port
        return None

    def take_probes(self) -> int:
        """Probes that should begin now."""
        probes, self._probes = self._probes, 0
        return probes
