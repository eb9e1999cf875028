"""How NATs choose the external port of a new mapping: one learning model for each way.

A model assigns every port a proper probability before the port is seen (`likelihood`), and then
learns from it (`learn`). No model is assumed to be right: each reserves a share of probability for
ports that it cannot explain, and learns how large that share is. Which model is right is decided
elsewhere, by their predictions.

Ports form a ring: the lowest follows the highest. Other hosts' mappings take ports too, and so hide
the step that a NAT takes for each new mapping. Their number is Poisson with an unknown rate; the
rate has a gamma distribution, so the number is negative binomial, and this stays exact as
observations come in.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

PRESERVED: Final = "preserved"
"""The external port is the local one."""
STEP: Final = "constant-step"
"""Each new mapping takes the next port, or the one a fixed step away; nobody else takes any."""
GAPS: Final = "step-with-gaps"
"""The same, while others take ports too."""
BLOCK: Final = "block"
"""Any port of a small contiguous block."""
PARITY: Final = "parity"
"""Any port with the parity of the local one (RFC 4787, 4.2.2)."""
RANDOM: Final = "random"
"""Any port."""

BLOCK_SIZES: Final = (64, 128, 256, 512, 1024, 2048, 4096)
"""As carriers assign them to subscribers (RFC 6431, RFC 7422)."""

IDLE: Final[tuple[float, ...]] = (0.02, 0.05)
"""The prior for other hosts' traffic, as the shape (flows) and the exposure (seconds) of a gamma
distribution: here almost certainly none, as at home at night.
"""
BUSY: Final[tuple[float, ...]] = (1.5, 0.05)
"""30 new flows a second, give or take 25: an office. Traffic of 10 to 50 a second is where
prediction is decided, and a hundred milliseconds of observations soon outweigh this."""

_RATE_MEMORY_S: Final = 30.0
"""Traffic this long ago counts 1/e: it changes from one minute to the next."""

_MOST_SURPRISE: Final = 20
"""This many flows more than expected still count as other hosts' traffic, beyond four times the
expectation.
"""

_MOST_PASSED: Final = 400
"""With parity, ports are followed only this far: what others took is summed up one by one."""

_LEAST_TIME_S: Final = 0.001
"""Two observations at the same time are taken to be this far apart: clocks and queues are no
finer.
"""

_FITS, _TRIALS = 39.0, 40.0
"""A model starts with the trust of one that explained 39 ports of 40. About one port in fifty is
skipped because it is taken, or comes from another pool.
"""

_MOST_TRIALS: Final = 100.0
"""Older successes fade, so that trust can still be lost."""

_SEEN: Final = 32
"""Ports of a block that are remembered as taken."""

_TAKEN: Final = 0.05
"""The chance of a port that is known to be taken, relative to a free one: its mapping may have
expired.
"""


@dataclass(frozen=True, slots=True)
class PortRange:
    """The ports that a NAT may use, both ends included.

    Args:
        low: The least port.
        high: The greatest port; not below `low`.

    Raises:
        ValueError: The range is empty, or reaches beyond the valid ports.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 65_535:
            raise ValueError(f"no range of ports: {self.low} to {self.high}")

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high

    @property
    def size(self) -> int:
        """How many ports there are."""
        return self.high - self.low + 1

    def wrapped(self, port: int) -> int:
        """The port at this place of the ring; the place may be beyond either end."""
        return (port - self.low) % self.size + self.low


class Allocator:
    """A model of one way to choose ports. The base class is `random`: all ports are equally likely.

    Args:
        kind: The name of the way.
        name: The name of this model, different for each.
        ports: The ports that are possible.
    """

    uneven = False
    """Whether `density` differs from port to port."""

    def __init__(self, kind: str, name: str, ports: PortRange) -> None:
        self.kind = kind
        self.name = name
        self.ports = ports
        self._blind = 1 / ports.size
        self._fits = _FITS
        self._trials = _TRIALS

    def likelihood(self, at: float, local_port: int, port: int) -> float:
        """The probability that a new mapping gets `port`; over all ports it sums to one.

        Args:
            at: When the mapping is made, in seconds.
            local_port: The port of this side's socket.
            port: The external port, within the range.
        """
        trust = self._fits / self._trials
        return trust * self._explained(at, local_port, port) + (1 - trust) * self._blind

    def learn(self, at: float, local_port: int, port: int) -> float:
        """Learn that the mapping got `port`, and return the likelihood that it had before.

        Args:
            at: When the mapping was made, in seconds.
            local_port: The port of this side's socket.
            port: The external port, within the range.
        """
        trust = self._fits / self._trials
        explained = trust * self._explained(at, local_port, port)
        likelihood = explained + (1 - trust) * self._blind
        fit = explained / likelihood
        self._fits += fit
        self._trials += 1
        if self._trials > _MOST_TRIALS:
            self._fits *= _MOST_TRIALS / self._trials
            self._trials = _MOST_TRIALS
        self._advance(at, port, fit > 0.5)
        return likelihood

    def points(self, _at: float, _local_port: int, _reach: int, /) -> dict[int, float]:
        """Ports that stand out, with their probability beyond `density`.

        Args, by position: when the mapping will be made, in seconds; the port of this side's
        socket; how many allocations to look ahead.
        """
        return {}

    def density(self, local_port: int, port: int, /) -> float:
        """The probability of `port` where it is not one of the `points`."""
        return self.likelihood(0.0, local_port, port)

    def _rest(self) -> float:
        """The probability of a port that this model cannot explain."""
        return (1 - self._fits / self._trials) * self._blind

    def _explained(self, _at: float, _local_port: int, _port: int, /) -> float:
        return self._blind

    def _advance(self, _at: float, _port: int, _fits: bool, /) -> None:
        pass


class SameParity(Allocator):
    """Any port, but even for an even local port and odd for an odd one."""

    uneven = True

    def __init__(self, ports: PortRange) -> None:
        super().__init__(PARITY, PARITY, ports)

    def _explained(self, _at: float, local_port: int, port: int, /) -> float:
        if (port - local_port) % 2:
            return 0.0
        unlike = (self.ports.low - local_port) % 2
        matching = (self.ports.size + 1 - unlike) // 2
        return 1 / matching


class Preserved(Allocator):
    """The external port is the local one."""

    def __init__(self, ports: PortRange) -> None:
        super().__init__(PRESERVED, PRESERVED, ports)

    def points(self, _at: float, local_port: int, _reach: int, /) -> dict[int, float]:
        """The local port, where the NAT may give it."""
        return {local_port: self._fits / self._trials} if local_port in self.ports else {}

    def density(self, local_port: int, _port: int, /) -> float:
        """The same for all other ports."""
        if local_port in self.ports:
            return self._rest()
        return self._blind

    def _explained(self, _at: float, local_port: int, port: int, /) -> float:
        if local_port not in self.ports:
            return self._blind
        return 1.0 if port == local_port else 0.0


class Stepped(Allocator):
    """Each new mapping, no matter whose, takes the port one step after the last one.

    Args:
        step: From one port to the next; below 0: downwards. Not 0.
        traffic: The prior for other hosts' new flows: `IDLE` or `BUSY`.
        ports: The ports that are possible.
        parity: Ports are skipped until one has the local port's parity.

    Raises:
        ValueError: With an even step no port ever has the other parity.
    """

    def __init__(
        self, step: int, traffic: tuple[float, ...], ports: PortRange, *, parity: bool = False
    ) -> None:
        if parity and step % 2 == 0:
            raise ValueError(f"no port of the other parity follows in steps of {step}")
        kind = STEP if traffic == IDLE else GAPS
        super().__init__(kind, f"{kind} {step}{' parity' if parity else ''}", ports)
        self.step = step
        self.parity = parity
        self._first = self._shape, self._exposure_s = traffic
        self._last: tuple[float, int] | None = None

    @property
    def traffic(self) -> tuple[float, float]:
        """New flows of others a second, and for how many seconds they were counted."""
        seen_s = self._exposure_s - self._first[1]
        return self._shape / self._exposure_s, max(0.0, seen_s)

    def expect(self, rate: float, exposure_s: float) -> None:
        """Start from what is known about other hosts' traffic: new flows a second, and for how long
        they were counted.
        """
        self._shape += rate * exposure_s
        self._exposure_s += exposure_s

    def points(self, at: float, local_port: int, reach: int, /) -> dict[int, float]:
        """The next `reach` ports of the sequence, weighed by how many others come first."""
        if self._last is None:
            return {}
        last_at, last = self._last
        most = min(reach, (self.ports.size - 1) // abs(self.step))
        trust = self._fits / self._trials
        points: dict[int, float] = {}
        before = 0.0
        for others, chance in enumerate(self._moves(at - last_at, most)):
            port = self.ports.wrapped(last + self.step * (others + 1))
            if not self.parity:
                points[port] = trust * chance
            elif (port - local_port) % 2 == 0:
                # The port before may have been free, and skipped.
                points[port] = trust * (chance + before)
            before = chance
        return points

    def density(self, _local_port: int, _port: int, /) -> float:
        """The same for all ports out of step."""
        return self._blind if self._last is None else self._rest()

    def _foreign(self, elapsed_s: float) -> tuple[float, float]:
        """The negative binomial's ratio for this many seconds, and the log of the chance of
        none.
        """
        elapsed_s = max(elapsed_s, _LEAST_TIME_S)
        total_s = self._exposure_s + elapsed_s
        return elapsed_s / total_s, self._shape * math.log(self._exposure_s / total_s)

    def _moves(self, elapsed_s: float, most: int) -> list[float]:
        """The chances that others took 0, 1, 2, ... ports, below `most`.

        Where parity is preserved, half of all flows take two ports: Panjer's recursion.
        """
        fade, log_none = self._foreign(elapsed_s)
        slope = (self._shape - 1) * fade
        moves = [math.exp(log_none)] if most > 0 else []
        if not self.parity:
            for taken in range(1, most):
                moves.append((fade + slope / taken) * moves[-1])
            return moves
        before = 0.0
        for taken in range(1, most):
            one = (fade + slope / taken) * moves[-1]
            two = (fade + slope * 2 / taken) * before
            before = moves[-1]
            moves.append((one + two) / 2)
        return moves

    def _chance_of(self, others: int, elapsed_s: float) -> float:
        """The negative binomial: the chance of this many other flows in this many seconds."""
        fade, log_none = self._foreign(elapsed_s)
        shape = self._shape
        ways = math.lgamma(shape + others) - math.lgamma(shape) - math.lgamma(others + 1)
        return math.exp(min(0.0, log_none + ways + others * math.log(fade)))

    def _others(self, port: int) -> int | None:
        """How many other flows took a port between the last one and this; None if it is out of
        step.
        """
        if self._last is None:
            return None
        ahead = (port - self._last[1]) * (1 if self.step > 0 else -1) % self.ports.size
        taken, out_of_step = divmod(ahead, abs(self.step))
        return None if out_of_step or taken == 0 else taken - 1

    def _explained(self, at: float, local_port: int, port: int, /) -> float:
        if self._last is None:
            return self._blind
        others = self._others(port)
        if others is None:
            return 0.0
        elapsed_s = at - self._last[0]
        if not self.parity:
            return self._chance_of(others, elapsed_s)
        if (port - local_port) % 2 or others >= _MOST_PASSED:
            return 0.0
        return sum(self._moves(elapsed_s, others + 1)[-2:])

    def _advance(self, at: float, port: int, _fits: bool, /) -> None:
        others = self._others(port)
        if self._last is not None and others is not None:
            elapsed_s = max(at - self._last[0], _LEAST_TIME_S)
            expected = self._shape / self._exposure_s * elapsed_s
            # A port nearer than expected, however unlikely, means that the rate fell, not that
            # there was a jump.
            if others <= _MOST_SURPRISE + 4 * expected:
                self._count(others, elapsed_s)
        self._last = at, port

    def _count(self, others: int, elapsed_s: float) -> None:
        counted = float(others)
        if self.parity and others:
            passed, taken = self._moves(elapsed_s, others + 1)[-2:]
            # Of two flows one takes two ports.
            counted = (others - passed / (passed + taken)) / 1.5 if passed else others / 1.5
        keep = math.exp(-elapsed_s / _RATE_MEMORY_S)
        shape, exposure_s = self._first
        # Only observations fade; the prior is the floor that they fade to.
        self._shape = shape + (self._shape - shape) * keep + counted
        self._exposure_s = exposure_s + (self._exposure_s - exposure_s) * keep + elapsed_s


class Block(Allocator):
    """Any port of a contiguous block that the NAT gave to this side.

    Args:
        block: Its size in ports.
        aligned: Whether it begins at a multiple of its size; otherwise anywhere.
        ports: The ports that are possible.
        parity: Even for an even local port, odd for an odd one.
    """

    uneven = True

    def __init__(
        self, block: int, ports: PortRange, *, aligned: bool, parity: bool = False
    ) -> None:
        flags = f"{' aligned' if aligned else ''}{' parity' if parity else ''}"
        super().__init__(BLOCK, f"{BLOCK} {block}{flags}", ports)
        self._block = block
        self._aligned = aligned
        self._parity = parity
        self._seen: deque[int] = deque(maxlen=min(_SEEN, block // 4))
        self._low = self._high = -1
        self._taken = (0, 0)

    def _explained(self, _at: float, local_port: int, port: int, /) -> float:
        if self._low < 0:
            return self._blind
        if self._parity and (port - local_port) % 2:
            return 0.0
        if self._aligned:
            if not 0 <= port - self._low + self._low % self._block < self._block:
                return 0.0
            share = 1.0
        else:
            # The block may begin at any of `slack + 1` places and still contain every port that was
            # seen.
            slack = self._block - (self._high - self._low + 1)
            outside = max(self._low - port, port - self._high, 0)
            if outside > slack:
                return 0.0
            share = (slack + 1 - outside) / (slack + 1)
        even, odd = self._taken
        if self._parity:
            free = self._block / 2 - (1 - _TAKEN) * (odd if local_port % 2 else even)
        else:
            free = self._block - (1 - _TAKEN) * (even + odd)
        return share * (_TAKEN if port in self._seen else 1.0) / free

    def _advance(self, _at: float, port: int, fits: bool, /) -> None:
        low, high = min(self._low, port), max(self._high, port)
        if self._low < 0 or not fits or high - low >= self._block:
            low = high = port
            self._seen.clear()
        self._low, self._high = low, high
        if port not in self._seen:
            self._seen.append(port)
        odd = sum(port % 2 for port in self._seen)
        self._taken = len(self._seen) - odd, odd
