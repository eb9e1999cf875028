"""Which allocator a NAT has: all models side by side, weighted by their predictions.

A Bayesian mixture with a little forgetting. After each observation a model's weight is multiplied
by the probability that it gave to the port that came, so that wrong models lose within a few
observations; a small share of all weight returns to the prior (Herbster and Warmuth's fixed share),
so that a NAT may change its behaviour.
"""

import math
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

from p2ptui.nat.allocators import (
    BLOCK_SIZES,
    BUSY,
    GAPS,
    IDLE,
    RANDOM,
    STEP,
    Allocator,
    Block,
    PortRange,
    Preserved,
    SameParity,
    Stepped,
)

FORGETTING: Final = 0.002
"""The share of all weight that returns to the prior with each observation."""

_PRESERVED_WEIGHT, _BLOCK_WEIGHT, _PARITY_WEIGHT, _RANDOM_WEIGHT = 0.3, 0.12, 0.05, 0.2
_STEP_WEIGHTS: Final = {1: 0.14, 2: 0.05, 256: 0.04, -1: 0.03, 4: 0.02, 8: 0.01, -2: 0.01}
"""256 is a step of one in a port with its bytes swapped, as nftables' numgen makes it."""
_STEP_PARITY_WEIGHT: Final = 0.03
_OTHER_STEP_WEIGHT: Final = 0.03
"""All other steps together: half of it spread equally, half of it on small ones."""

_HISTORY: Final = 24
"""Observations that a newly suggested step is tried on."""

_MOST_OTHER_STEPS: Final = 16
"""Models of suggested steps, at most; the least likely makes room."""

_NEGLIGIBLE: Final = 1e-4
"""A model with less weight is left out of a forecast: together they weigh less than the
forgetting.
"""


class _Past(NamedTuple):
    at: float
    local_port: int
    port: int
    log_likelihood: float


class Mixture:
    """All allocators, weighted.

    Args:
        ports: The ports that are possible.
    """

    def __init__(self, ports: PortRange) -> None:
        self._ports = ports
        self._models: dict[str, Allocator] = {}
        self._priors: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._past: deque[_Past] = deque(maxlen=_HISTORY)
        self._begin()

    @property
    def weights(self) -> Mapping[str, float]:
        """The probability of each model, by its name; they sum to one."""
        return self._weights

    @property
    def last_port(self) -> int | None:
        """The port that came last."""
        return self._past[-1].port if self._past else None

    def kinds(self) -> dict[str, float]:
        """The probability of each kind of allocator."""
        kinds: dict[str, float] = {}
        for name, model in self._models.items():
            kinds[model.kind] = kinds.get(model.kind, 0.0) + self._weights[name]
        return kinds

    def traffic(self) -> dict[str, tuple[float, float]]:
        """What each model with a step counted of other hosts' flows: flows a second, and for how
        long (s).
        """
        models = self._models.items()
        return {name: model.traffic for name, model in models if isinstance(model, Stepped)}

    def expect(self, weights: Mapping[str, float]) -> None:
        """Adopt a prior from elsewhere, at any time.

        Args:
            weights: By the names of models or of kinds. What they lack to one is left to the usual
                prior, so that any belief can be overturned.
        """
        rest = max(0.0, 1.0 - sum(weights.values()))
        for name in weights:
            self._add_named(name)
        before = dict(self._priors)
        kinds: dict[str, float] = {}
        for name, model in self._models.items():
            kinds[model.kind] = kinds.get(model.kind, 0.0) + before[name]
        for name, model in self._models.items():
            by_kind = weights.get(model.kind, 0.0) * before[name] / kinds[model.kind]
            # If the only model of a kind has the kind's name, it is counted once.
            by_name = weights.get(name, 0.0) if name != model.kind else 0.0
            self._priors[name] = rest * before[name] + by_kind + by_name
        _normalise(self._priors)
        for name in self._models:
            self._weights[name] *= self._priors[name] / before[name]
        self._make_room()

    def expect_traffic(self, traffic: Mapping[str, tuple[float, float]]) -> None:
        """Start from what was counted of other hosts before, as `traffic` returns it."""
        for name, (rate, exposure_s) in traffic.items():
            model = self._models.get(name)
            if isinstance(model, Stepped):
                model.expect(rate, exposure_s)

    def learn(self, at: float, local_port: int, port: int) -> None:
        """Learn a new mapping.

        Args:
            at: When it was made, in seconds; not before the previous one.
            local_port: The port of this side's socket.
            port: The external port, within the range.
        """
        total = 0.0
        for name, model in self._models.items():
            weight = self._weights[name] * model.learn(at, local_port, port)
            self._weights[name] = weight
            total += weight
        for name, weight in self._weights.items():
            kept = (1 - FORGETTING) * weight / total
            self._weights[name] = kept + FORGETTING * self._priors[name]
        self._past.append(_Past(at, local_port, port, math.log(total)))
        self._think_of_steps()

    def forecast(self, at: float, local_port: int, reach: int) -> dict[int, float]:
        """The probability of every port that stands out or is near the last one.

        Args:
            at: When the mapping will be made, in seconds.
            local_port: The port of this side's socket.
            reach: Look this many allocations, or ports, ahead.
        """
        points: dict[int, float] = {}
        flat = 0.0
        uneven: list[tuple[float, Allocator]] = []
        for name, model in self._models.items():
            weight = self._weights[name]
            if weight < _NEGLIGIBLE:
                continue
            for port, chance in model.points(at, local_port, reach).items():
                points[port] = points.get(port, 0.0) + weight * chance
            if model.uneven:
                uneven.append((weight, model))
            else:
                flat += weight * model.density(local_port, self._ports.low)
        for port in self._near(reach):
            points.setdefault(port, 0.0)
        return {
            port: chance + flat + sum(weight * m.density(local_port, port) for weight, m in uneven)
            for port, chance in points.items()
        }

    def _near(self, reach: int) -> range:
        last = self.last_port
        if last is None:
            return range(0)
        return range(max(last - reach, self._ports.low), min(last + reach, self._ports.high) + 1)

    def _begin(self) -> None:
        ports = self._ports
        self._add(Preserved(ports), _PRESERVED_WEIGHT)
        self._add(Allocator(RANDOM, RANDOM, ports), _RANDOM_WEIGHT)
        self._add(SameParity(ports), _PARITY_WEIGHT)
        for traffic in (IDLE, BUSY):
            for step, weight in _STEP_WEIGHTS.items():
                self._add(Stepped(step, traffic, ports), weight / 2)
            self._add(Stepped(1, traffic, ports, parity=True), _STEP_PARITY_WEIGHT / 2)
        each = _BLOCK_WEIGHT / len(BLOCK_SIZES) / 2
        for size in BLOCK_SIZES:
            for aligned in (False, True):
                self._add(Block(size, ports, aligned=aligned), each * 0.8)
                self._add(Block(size, ports, aligned=aligned, parity=True), each * 0.2)
        _normalise(self._priors)
        _normalise(self._weights)

    def _add(self, model: Allocator, weight: float) -> None:
        self._models[model.name] = model
        self._priors[model.name] = self._weights[model.name] = weight

    def _add_named(self, name: str) -> None:
        """Add the model of a step that is known only by its name."""
        kind, _, step = name.partition(" ")
        if name in self._models or kind not in (STEP, GAPS):
            return
        try:
            number = int(step)
        except ValueError:
            return
        if 0 < abs(number) < self._ports.size:
            self._add_step(number)

    def _add_step(self, step: int) -> None:
        """Add the models of a step, as if they had been there from the start."""
        share = 1 / self._ports.size + 1 / (2 * abs(step) * (abs(step) + 1))
        prior = _OTHER_STEP_WEIGHT / 2 / 2 * share
        seen = sum(past.log_likelihood for past in self._past)
        for traffic in (IDLE, BUSY):
            model = Stepped(step, traffic, self._ports)
            if model.name in self._models:
                continue
            log_likelihood = 0.0
            for past in self._past:
                log_likelihood += math.log(model.learn(past.at, past.local_port, past.port))
            self._add(model, prior)
            self._weights[model.name] = prior * math.exp(min(100.0, log_likelihood - seen))

    def _think_of_steps(self) -> None:
        """Add models for the steps that the last observations suggest."""
        ports = [past.port for past in self._past]
        gaps = [self._shortest(b - a) for a, b in pairwise(ports[-4:])]
        if not gaps or 0 in gaps:
            return
        ideas = {gaps[-1], _common(gaps[-2:]), _common(gaps)} - {0}
        for step in ideas:
            self._add_step(step)
        self._make_room()

    def _shortest(self, gap: int) -> int:
        half = self._ports.size // 2
        return (gap + half) % self._ports.size - half

    def _make_room(self) -> None:
        others = [
            name
            for name, model in self._models.items()
            if isinstance(model, Stepped) and model.step not in _STEP_WEIGHTS
        ]
        others.sort(key=lambda name: self._weights[name], reverse=True)
        for name in others[_MOST_OTHER_STEPS:]:
            del self._models[name], self._priors[name], self._weights[name]
        _normalise(self._priors)
        _normalise(self._weights)


def _common(gaps: list[int]) -> int:
    """The largest step that all gaps are multiples of, in their direction; 0 if they differ."""
    if all(gap > 0 for gap in gaps):
        return math.gcd(*gaps)
    return -math.gcd(*gaps) if all(gap < 0 for gap in gaps) else 0


def _normalise(weights: dict[str, float]) -> None:
    total = sum(weights.values())
    for name in weights:
        weights[name] /= total
