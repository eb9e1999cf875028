"""Numbers over time, and their display in one line of text."""

from collections import deque
from collections.abc import Iterable
from typing import Final

_BARS: Final = " ▁▂▃▄▅▆▇█"


class Series:
    """The last values of one quantity.

    Args:
        length: How many are kept.
    """

    def __init__(self, length: int) -> None:
        self._values: deque[float] = deque(maxlen=length)

    def add(self, value: float) -> None:
        """Add the newest."""
        self._values.append(value)

    @property
    def values(self) -> tuple[float, ...]:
        """The values, oldest first."""
        return tuple(self._values)


def sparkline(values: Iterable[float], width: int) -> str:
    """The newest `width` values as bars, the highest at full height; padded on the left."""
    shown = list(values)[-width:]
    highest = max(shown, default=0.0)
    if highest <= 0:
        return ("▁" * len(shown)).rjust(width)
    steps = len(_BARS) - 1
    bars = (_BARS[max(1, round(value / highest * steps))] if value > 0 else "▁" for value in shown)
    return "".join(bars).rjust(width)


def rate_text(value: float, unit: str = "") -> str:
    """A rate in at most five characters and its unit: `999`, `1.2k`, `34M`."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            scaled = value / factor
            digits = f"{scaled:.1f}" if scaled < 10 else f"{scaled:.0f}"
            return f"{digits}{suffix}{unit}"
    return f"{value:.0f}{unit}"
