"""In a virtual loop, every clock of `time` is the loop's; everywhere else, the machine's.

What reads a clock by itself (Textual does, at a dozen places) would count the machine's seconds
between sleeps that take none, and do more or less in the meantime as the machine is quiet or busy.
So the functions are replaced, once and for the whole process, by ones that ask who calls: a thread
that runs a virtual loop gets the loop's time, any other the machine's. Modules that were imported
before and hold a function by its name get the replacement too.

`tests.virtual_loop` calls `install`; nothing else needs to.
"""

import asyncio
import sys
import time
from collections.abc import Callable

START_S = 1000.0
"""Not 0, so that a test notices a time that was taken for a truth value or for a duration."""
UNIX_START_S = 1_795_000_000
"""The Unix time at which a virtual loop begins."""

_WATCHED = {"textual", "rich", "p2ptui", "tests"}
"""The packages whose modules may hold a function of `time` under a name of their own."""


class VirtualClock:
    """A loop with a time of its own, by which it is known."""

    def time(self) -> float:
        """Seconds, from `START_S` on."""
        raise NotImplementedError


def _monotonic(clock: VirtualClock) -> float:
    return clock.time()


def unix_time(clock: VirtualClock) -> float:
    """The Unix time in a virtual loop, in seconds."""
    return UNIX_START_S + clock.time() - START_S


def _busy(_clock: VirtualClock) -> float:
    return 0.0  # what the test computes takes no time


_CLOCKS: dict[str, Callable[[VirtualClock], float]] = {
    "monotonic": _monotonic,
    "perf_counter": _monotonic,
    "time": unix_time,
    "process_time": _busy,
    "thread_time": _busy,
}


def install() -> None:
    """Replace the clocks of `time`, and wherever they are held by name. Once is enough."""
    replaced: dict[int, Callable[[], float]] = {}
    for name, read in _CLOCKS.items():
        for full_name, unit in ((name, None), (f"{name}_ns", 1e9)):
            real = getattr(time, full_name)
            if not hasattr(real, "is_virtual"):
                replaced[id(real)] = _virtual(full_name, real, read, unit)
    if not replaced:
        return  # what was imported since then has them from `time`
    for name, module in list(sys.modules.items()):
        if module is time or name.partition(".")[0] in _WATCHED:
            for key, value in list(vars(module).items()):
                if id(value) in replaced:
                    setattr(module, key, replaced[id(value)])


def _virtual(
    name: str,
    real: Callable[[], float],
    read: Callable[[VirtualClock], float],
    unit: float | None,
) -> Callable[[], float]:
    def clock() -> float:
        loop = asyncio._get_running_loop()
        if not isinstance(loop, VirtualClock):
            return real()
        return read(loop) if unit is None else int(read(loop) * unit)

    clock.__name__ = clock.__qualname__ = name
    clock.is_virtual = True  # type: ignore[attr-defined]
    return clock
