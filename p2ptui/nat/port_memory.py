"""What was learnt about the ports of each network's NAT, kept from one run to the next.

A network is identified by a key that the caller chooses. The memory is a value, and does not know
where it is stored. A damaged file does no harm: whatever is read, what makes no sense is left out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from p2ptui.bounded import BoundedTable

MAX_NETWORKS: Final = 64
"""Networks that are remembered; the least recently seen makes room."""

MAX_ENTRIES: Final = 64
"""Models of one network."""

MAX_KEY_LENGTH: Final = 256
"""Characters of a network's key, and of a model's name."""

EXPIRY_S: Final = 30 * 86_400.0
"""A network not seen for this long is forgotten."""

TRUST: Final = 0.8
"""The weight of a fresh memory against no knowledge: a NAT may have been replaced."""

_TRUST_HALF_LIFE_S: Final = 7 * 86_400.0
_TRAFFIC_HALF_LIFE_S: Final = 3600.0
"""Other hosts' traffic changes with the hour."""

_MOST_EXPOSURE_S: Final = 0.5
"""Remembered traffic counts as half a second of observations, at most: enough to start with, and
outweighed by the first second of real ones.
"""

_MOST_TRUST: Final = 4.0
"""Remembered mappings count as this many, at most."""

_Pairs = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known about the NAT of one network."""

    at: float
    """When it was learnt, in seconds of the wall clock."""
    samples: int
    """The number of mappings that it is based on."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """The probability of each model, by its name. They may sum to less than one: the rest is
    unknown.
    """
    traffic: _Pairs = field(default_factory=dict)
    """For each model with a step: other hosts' new flows a second, and for how many seconds
    counted.
    """
    trust: _Pairs = field(default_factory=dict)
    """How often the same flow, host or socket got the same port: times kept, times seen."""


class PortMemory:
    """What was learnt, by network."""

    def __init__(self) -> None:
        self._networks: BoundedTable[str, Learnt] = BoundedTable(MAX_NETWORKS)

    def __len__(self) -> int:
        return len(self._networks)

    def remember(self, network: str, learnt: Learnt) -> None:
        """Keep what was learnt, replacing what was known about this network.

        Args:
            network: The key of the network; at most `MAX_KEY_LENGTH` characters count.
            learnt: What `PortPredictor.learnt` says.
        """
        key = network[:MAX_KEY_LENGTH]
        if key not in self._networks and not self._networks.has_room:
            oldest = min(self._networks, key=lambda name: self._networks[name].at)
            if learnt.at < self._networks[oldest].at:
                return
            del self._networks[oldest]
        self._networks.put(key, learnt)

    def recall(self, network: str, now: float) -> Learnt | None:
        """What is still worth knowing about a network, or None.

        Args:
            network: Its key.
            now: Seconds of the wall clock. The older a memory is, the less its weights add up to,
                and the shorter the time for which its traffic counts.
        """
        key = network[:MAX_KEY_LENGTH]
        learnt = self._networks.get(key)
        if learnt is None:
            return None
        # If the clock was set back, a memory is never older than it can be.
        age_s = max(0.0, now - learnt.at)
        if age_s > EXPIRY_S:
            del self._networks[key]
            return None
        total = sum(learnt.weights.values()) or 1.0
        share = TRUST * 0.5 ** (age_s / _TRUST_HALF_LIFE_S) / max(1.0, total)
        fresh = 0.5 ** (age_s / _TRAFFIC_HALF_LIFE_S)
        return replace(
            learnt,
            weights={name: weight * share for name, weight in learnt.weights.items()},
            traffic={
                name: (rate, fresh * min(exposure_s, _MOST_EXPOSURE_S))
                for name, (rate, exposure_s) in learnt.traffic.items()
            },
            trust={
                name: (kept * few, seen * few)
                for name, (kept, seen) in learnt.trust.items()
                for few in [min(1.0, _MOST_TRUST / seen) if seen else 0.0]
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """The whole memory as plain values, for JSON."""
        return {
            "networks": {
                network: {
                    "at": learnt.at,
                    "samples": learnt.samples,
                    "weights": dict(learnt.weights),
                    "traffic": {name: list(pair) for name, pair in learnt.traffic.items()},
                    "trust": {name: list(pair) for name, pair in learnt.trust.items()},
                }
                for network, learnt in self._networks.items()
            }
        }

    @classmethod
    def from_dict(cls, value: object, now: float) -> "PortMemory":
        """Read what `to_dict` wrote; anything that makes no sense is left out.

        Args:
            value: From a file.
            now: Seconds of the wall clock: what expired is left out, and what claims to come
                from the future is as old as now.
        """
        memory = cls()
        networks = value.get("networks") if isinstance(value, dict) else None
        for network, entry in networks.items() if isinstance(networks, dict) else ():
            learnt = _read_learnt(entry, now)
            if isinstance(network, str) and learnt is not None:
                memory.remember(network, learnt)
        return memory


def _read_learnt(entry: object, now: float) -> Learnt | None:
    if not isinstance(entry, dict):
        return None
    at = _number(entry.get("at"), now)
    samples = _number(entry.get("samples"), 1e9)
    if at is None or samples is None or now - at > EXPIRY_S:
        return None
    weights = {
        name: weight
        for name, item in _named(entry.get("weights"))
        if (weight := _number(item, 1.0)) is not None
    }
    return Learnt(
        at=at,
        samples=int(samples),
        weights=weights,
        traffic=_read_pairs(entry.get("traffic")),
        trust={
            name: (min(kept, seen), seen)
            for name, (kept, seen) in _read_pairs(entry.get("trust")).items()
        },
    )


def _read_pairs(value: object) -> dict[str, tuple[float, float]]:
    pairs: dict[str, tuple[float, float]] = {}
    for name, item in _named(value):
        if isinstance(item, list | tuple) and len(item) == 2:
            first, second = _number(item[0], 1e6), _number(item[1], 1e6)
            if first is not None and second is not None:
                pairs[name] = first, second
    return pairs


def _named(value: object) -> list[tuple[str, object]]:
    if not isinstance(value, dict):
        return []
    items = [(name, item) for name, item in value.items() if isinstance(name, str)]
    return [(name, item) for name, item in items if len(name) <= MAX_KEY_LENGTH][:MAX_ENTRIES]


def _number(value: object, most: float) -> float | None:
    """A number from 0 to `most`, clamped to `most`; None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(min(value, most)) if value >= 0 else None
