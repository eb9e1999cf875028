"""How the round trips to each node developed, over minutes, in bounded memory."""

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

STEP_S: Final = 2.0
"""Between two samples."""

SAMPLES: Final = 150
"""Samples of each node: five minutes."""

MAX_NODES: Final = 1024
"""Most nodes; the least recently sampled is forgotten first; all together take 0.6 MB."""


class Trends:
    """Keeps samples by the key of a node."""

    def __init__(self) -> None:
        self._samples: OrderedDict[str, array[float]] = OrderedDict()

    def take(self, rtts_ms: Iterable[tuple[str, float | None]]) -> None:
        """Add the newest sample of each node, once every `STEP_S`.

        Args:
            rtts_ms: Keys and round trips, milliseconds; None if there is none yet.
        """
        for key, rtt_ms in rtts_ms:
            if rtt_ms is None:
                continue
            samples = self._samples.setdefault(key, array("f"))
            self._samples.move_to_end(key)
            samples.append(rtt_ms)
            if len(samples) > SAMPLES:
                del samples[0]
        while len(self._samples) > MAX_NODES:
            self._samples.popitem(last=False)

    def of(self, key: str) -> Sequence[float]:
        """The samples of a node, milliseconds, oldest first."""
        return tuple(self._samples.get(key, ()))


def highest_of_each(values: Sequence[float], length: int) -> list[float]:
    """At most `length` values, each the highest of a run of the same number of consecutive
    values.
    """
    each = -(-len(values) // max(length, 1))
    return [max(values[at : at + each]) for at in range(0, len(values), each)] if values else []
