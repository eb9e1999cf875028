"""How long paths may be idle in networks visited before, kept in a file."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from p2ptui.bounded import BoundedTable
from p2ptui.nat.mapping_life import USUAL_S
from p2ptui.node.state_file import StateFile

FILE_NAME: Final = "keepalive.json"

MAX_KEPT_NETWORKS: Final = 64
"""The network learnt longest ago makes room for another."""

EXPIRY_S: Final = 30 * 86_400.0
"""After this long it is found out anew: there may be another router."""


class IdleStore:
    """Remembers the idle time for each outside host.

    Args:
        wall: Unix time, seconds.
        path: The file; by default the platform's, and none for a user without a home.
    """

    def __init__(self, wall: Callable[[], float], path: Path | None = None) -> None:
        self._wall = wall
        self._file = StateFile(FILE_NAME, "how long a way may be idle", path)
        self._known: BoundedTable[str, tuple[float, float]] | None = None

    def recall(self, network: str) -> float | None:
        """The idle time learnt for a network, seconds; None if unknown."""
        known = self._loaded().get(network)
        return None if known is None else known[0]

    def remember(self, network: str, idle_s: float) -> None:
        """Keep the idle time learnt for a network."""
        known = self._loaded()
        if known.get(network, (USUAL_S, 0.0))[0] == idle_s:
            return
        known.put(network, (idle_s, self._wall()))
        self._file.write({host: {"idle_s": idle, "at": at} for host, (idle, at) in known.items()})

    def _loaded(self) -> BoundedTable[str, tuple[float, float]]:
        if self._known is None:
            content = self._file.read()
            entries = content.items() if isinstance(content, dict) else ()
            self._known = BoundedTable(MAX_KEPT_NETWORKS)
            for host, written in entries:
                entry = self._read(written)
                if entry is not None:
                    self._known.put(host, entry)
        return self._known

    def _read(self, entry: Any) -> tuple[float, float] | None:
        if not isinstance(entry, dict):
            return None
        idle_s, at = _number(entry.get("idle_s")), _number(entry.get("at"))
        if idle_s is None or at is None or abs(self._wall() - at) > EXPIRY_S:
            return None
        return idle_s, at


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
