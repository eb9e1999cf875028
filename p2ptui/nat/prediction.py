"""The external ports that a NAT will probably give to the next new flow, and how surely.

Each flow raises two questions. Does it get a new port at all? A NAT reuses a port for the same
flow, for the same address (address-dependent mapping, or a computed port), or for everything from
one socket (endpoint-independent mapping); how reliably it does so is counted. If the port is new:
which one? That is answered by the mixture of allocators.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from p2ptui.bounded import BoundedTable
from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.allocators import (
    BLOCK,
    GAPS,
    PARITY,
    PRESERVED,
    RANDOM,
    STEP,
    PortRange,
)
from p2ptui.nat.behavior import Dependence
from p2ptui.nat.mixture import Mixture
from p2ptui.nat.port_memory import Learnt
from p2ptui.wire.address import MAX_PORT, Address

HASHED: Final = "hashed"
"""The port is that of an earlier flow from the same socket to the same address."""
REUSED: Final = "reused"
"""The port is that of the socket, or of the flow itself."""
UNKNOWN: Final = "unknown"
"""Too little was seen to say anything."""

MAX_MAPPINGS: Final = 1024
"""Known mappings of each sort; the least recently seen makes room."""

MAPPING_LIFE_S: Final = 30.0
"""A mapping not used for this long may be gone: some NATs in the field keep them no longer."""

BELIEF_FACTOR: Final = 10.0
LEAST_BELIEF: Final = 0.01
"""A guess is believed if it is this many times as good as a blind one, and at least this good: a
mixture always contains a few optimistic models.
"""

_DOUBT: Final[tuple[float, ...]] = (0.04, 0.08)
"""Kept and seen, before any observation: nearly always, or nearly never, but not in between."""
_FLOW_KEPT: Final[tuple[float, ...]] = (9.5, 10.0)
"""The same flow keeps its port as long as its mapping lives: that is what a NAT does."""
_DIAGNOSED: Final[tuple[float, ...]] = (9.5, 10.0)
_DIAGNOSED_WEIGHT: Final = 0.8
_MOST_SEEN: Final = 50.0
"""Older mappings fade, so that trust can still be lost."""
_WORTH_KEEPING: Final = 0.001
"""A model with less weight is not remembered."""

_Key = tuple[object, ...]
_FLOW, _HOST, _SOCKET = "flow", "host", "socket"


@dataclass(frozen=True, slots=True)
class Prediction:
    """Ports that the next flow may get, the likeliest first."""

    ports: tuple[int, ...] = ()
    """Distinct, and within the range; none if too little was seen."""
    chance: float = 0.0
    """The probability that one of `ports` is right."""
    baseline: float = 0.0
    """The same for as many random ports."""
    kind: str = UNKNOWN
    """What the guess rests on: the kind of an allocator, `HASHED`, `REUSED` or `UNKNOWN`."""
    believed: bool = False
    """Whether `chance` is clearly better than `baseline`."""
    range_size: int = 0
    """The number of possible ports."""
    candidates: tuple[tuple[int, float], ...] = ()
    """All ports that were weighed, each with its probability, the likeliest first."""


class _Known(NamedTuple):
    port: int
    at: float


class PortPredictor:
    """Learns how one NAT chooses ports, and predicts the next.

    Args:
        max_predictions: Ports of one prediction, at most.
        min_samples: Mappings that must be seen before anything is predicted; one is enough for
            a network that is remembered or diagnosed.
        prediction_window: Predicted ports are at most this many allocations, or ports, away from
            the last one.
        port_range_min: The least port that is predicted.
        port_range_max: The greatest.
        enable_nat_type_optimization: Whether `diagnosed` has an effect.
        remembered: What `PortMemory.recall` says about this network.

    Raises:
        ValueError: The range is empty.
    """

    def __init__(
        self,
        *,
        max_predictions: int = 10,
        min_samples: int = 3,
        prediction_window: int = 100,
        port_range_min: int = 1024,
        port_range_max: int = MAX_PORT,
        enable_nat_type_optimization: bool = True,
        remembered: Learnt | None = None,
    ) -> None:
        self._max_predictions = max_predictions
        self._min_samples = min_samples
        self._window = prediction_window
        self._range = PortRange(port_range_min, port_range_max)
        self._listens = enable_nat_type_optimization
        self._mixture = Mixture(self._range)
        self._known: BoundedTable[_Key, _Known] = BoundedTable(3 * MAX_MAPPINGS)
        self._trust: dict[str, tuple[float, float]] = {}
        self._samples = 0
        self._remembered_samples = 0
        if remembered is not None:
            self._mixture.expect(remembered.weights)
            self._mixture.expect_traffic(remembered.traffic)
            for level, (kept, seen) in remembered.trust.items():
                self._count(level, kept, seen)
            self._remembered_samples = remembered.samples
            if remembered.samples >= min_samples:
                self._min_samples = min(1, min_samples)

    @property
    def samples(self) -> int:
        """Mappings seen, not counting remembered ones."""
        return self._samples

    def diagnosed(self, mapping: Dependence, allocation: PortAllocation | None = None) -> None:
        """Treat the diagnosis of the NAT as likely, before or after observations.

        Args:
            mapping: What its mappings depend on.
            allocation: How it chooses ports.
        """
        if not self._listens:
            return
        kept, seen = _DIAGNOSED
        if mapping in (Dependence.NONE, Dependence.ENDPOINT_INDEPENDENT):
            self._count(_SOCKET, kept, seen)
            self._count(_HOST, kept, seen)
        elif mapping is Dependence.ADDRESS:
            self._count(_SOCKET, 0.0, seen)
            self._count(_HOST, kept, seen)
        elif mapping is Dependence.ADDRESS_AND_PORT:
            self._count(_SOCKET, 0.0, seen)
            self._count(_HOST, 0.0, seen)
        weights: dict[str, float] = {}
        if mapping is Dependence.NONE:
            weights = {PRESERVED: _DIAGNOSED_WEIGHT}
        elif allocation is not None:
            weights = _weights_of(allocation)
        if weights:
            self._mixture.expect(weights)
        if weights or mapping is not Dependence.UNKNOWN:
            self._min_samples = min(1, self._min_samples)

    def observe(self, now: float, local_port: int, destination: Address, mapped_port: int) -> None:
        """Learn a mapping; mappings come in the order in which they were made.

        Args:
            now: When it was made, in seconds of a clock that does not go back.
            local_port: The port of this side's socket.
            destination: Where the flow goes.
            mapped_port: The external port, as the other end saw it.
        """
        self._samples += 1
        known = self._recognised(now, local_port, destination)
        if known is not None:
            level, port = known
            kept = port == mapped_port
            self._count(level, float(kept), 1.0)
            # A NAT that keeps one port for all flows of a socket does so for each host, and one
            # that does not for one host does not for all.
            if level.startswith(_SOCKET) and kept:
                self._count(level.replace(_SOCKET, _HOST), 1.0, 1.0)
            elif level.startswith(_HOST) and not kept:
                self._count(level.replace(_HOST, _SOCKET), 0.0, 1.0)
        if (known is None or known[1] != mapped_port) and mapped_port in self._range:
            self._mixture.learn(now, local_port, mapped_port)
        for key in _keys(local_port, destination):
            self._known.put(key, _Known(mapped_port, now))

    def predict(
        self,
        now: float,
        use_at: float,
        local_port: int,
        destination: Address,
        k: int | None = None,
    ) -> Prediction:
        """The ports that a new flow will probably get.

        Args:
            now: Seconds of the clock of `observe`.
            use_at: When the flow will begin; the later, the more ports others will have taken.
            local_port: The port of the socket that it begins from.
            destination: Where it goes.
            k: Ports wanted, at most as many as configured; None: as many as configured.
        """
        if self._samples < self._min_samples:
            return Prediction()
        at = max(now, use_at)
        chances = self._mixture.forecast(at, local_port, self._window)
        kinds = self._mixture.kinds()
        kind = max(kinds, key=lambda name: kinds[name])
        known = self._recognised(at, local_port, destination)
        if known is not None:
            level, kept_port = known
            trust = self._trust_in(level)
            chances = {port: (1 - trust) * chance for port, chance in chances.items()}
            if kept_port in self._range:
                chances[kept_port] = chances.get(kept_port, 0.0) + trust
            if trust > 0.5 and not (kind == PRESERVED and kept_port == local_port):
                kind = HASHED if level.startswith(_HOST) else REUSED
        last = self._mixture.last_port or 0
        ranked = sorted(chances.items(), key=lambda item: (-item[1], abs(item[0] - last), item[0]))
        wanted = self._max_predictions if k is None else min(k, self._max_predictions)
        weighed = Prediction(kind=kind, range_size=self._range.size, candidates=tuple(ranked))
        return spread(weighed, wanted)

    def learnt(self, now: float) -> Learnt:
        """What is worth remembering about this network.

        Args:
            now: Seconds of the wall clock, not of the clock of `observe`.
        """
        weights = {n: w for n, w in self._mixture.weights.items() if w >= _WORTH_KEEPING}
        traffic = self._mixture.traffic()
        return Learnt(
            at=now,
            samples=self._samples + self._remembered_samples,
            weights=weights,
            traffic={name: traffic[name] for name in weights if name in traffic},
            trust=dict(self._trust),
        )

    def _recognised(
        self, at: float, local_port: int, destination: Address
    ) -> tuple[str, int] | None:
        """The most specific knowledge about such a flow: its sort, and the port."""
        for key in _keys(local_port, destination):
            known = self._known.get(key)
            if known is not None:
                old = at - known.at > MAPPING_LIFE_S
                return f"{key[0]}{' old' if old else ''}", known.port
        return None

    def _count(self, level: str, kept: float, seen: float) -> None:
        before_kept, before_seen = self._trust.get(level, (0.0, 0.0))
        kept, seen = before_kept + kept, before_seen + seen
        fade = min(1.0, _MOST_SEEN / seen) if seen else 1.0
        self._trust[level] = kept * fade, seen * fade

    def _trust_in(self, level: str) -> float:
        kept, seen = self._trust.get(level, (0.0, 0.0))
        first_kept, first_seen = _FLOW_KEPT if level == _FLOW else _DOUBT
        return (kept + first_kept) / (seen + first_seen)


def spread(prediction: Prediction, k: int) -> Prediction:
    """The same prediction with the `k` ports that hold the most probability.

    For two sides that both guess: each opens, or probes, a window of ports around where the
    other's allocator will be. The ports need not be neighbours, and there may be more of them
    than were predicted at first, up to the number of candidates.

    Args:
        prediction: What `PortPredictor.predict` said.
        k: Ports, at most.
    """
    chosen = prediction.candidates[: max(0, k)]
    chance = min(1.0, sum(probability for _, probability in chosen))
    baseline = len(chosen) / prediction.range_size if chosen else 0.0
    clearly_better = chance >= max(LEAST_BELIEF, BELIEF_FACTOR * baseline)
    return replace(
        prediction,
        ports=tuple(port for port, _ in chosen),
        chance=chance,
        baseline=baseline,
        # In a range of a few ports even a certain guess is not ten times as good as a blind one.
        believed=bool(chosen) and (clearly_better or chance > (1 + baseline) / 2 > baseline),
    )


def _keys(local_port: int, destination: Address) -> tuple[_Key, _Key, _Key]:
    host, port = destination
    return (
        (_FLOW, local_port, host, port),
        (_HOST, local_port, host),
        (_SOCKET, local_port),
    )


def _weights_of(allocation: PortAllocation) -> dict[str, float]:
    """The weights of models, or of their kinds, that follow from a diagnosed way to choose
    ports.
    """
    kind, step = allocation.kind, allocation.step
    if kind is AllocationKind.SEQUENTIAL and step:
        return {f"{name} {step}": _DIAGNOSED_WEIGHT / 2 for name in (STEP, GAPS)}
    if kind is AllocationKind.PRESERVED:
        return {PRESERVED: _DIAGNOSED_WEIGHT}
    if kind is AllocationKind.BLOCK:
        return {BLOCK: _DIAGNOSED_WEIGHT}
    if kind is AllocationKind.RANDOM:
        return {PARITY if allocation.parity_preserved else RANDOM: _DIAGNOSED_WEIGHT}
    return {}
