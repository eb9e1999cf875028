"""The event loop of a whole program: the fastest available, and no slow name server holds it up.

Left to the loop, a look-up runs in a thread that the loop waits for when it ends: for half a minute
if the name server cannot be reached. Here it has a thread that nobody waits for (`lookups`).
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any, Final, TypeVar

from p2ptui.io.lookups import Lookups

T = TypeVar("T")

LOOP_FILES: Final = 10
"""Descriptors that uvloop needs to begin, with some to spare. If it runs out half way (at 6 to 9 of
them), it neither runs nor can be closed."""

YOUNG_OBJECTS: Final = 10_000
"""How many more objects must be made than freed before the collector runs: some 2 MB, and a
millisecond. Five times as many hold up the loop for eight while a crowd arrives. Python has 700."""

_OLDER_COLLECTIONS: Final = (100, 50)
"""Collections of one generation before one of the next older: full ones after 50 million new
objects."""


def run(work: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run a program's main coroutine on a new loop, as `asyncio.run` does.

    Args:
        work: The program.
        fast: Use uvloop if it is installed, and collect garbage rarely. uvloop makes a datagram a
            third cheaper, but costs 30 ms at start: too much for a short command.

    Raises:
        KeyboardInterrupt: SIGINT came, and `work` was cancelled for it.
        OSError: The loop cannot be created; `work` has not begun.
    """
    with ExitStack() as stack:
        stack.callback(work.close)  # otherwise Python warns if it never begins
        if fast:
            _require_files(LOOP_FILES)
            stack.enter_context(_garbage_collected_seldom())
        runner = stack.enter_context(asyncio.Runner(loop_factory=_loop_class(fast=fast)))
        return runner.run(work)


def _require_files(count: int) -> None:
    """Check that this many files can be opened; raises `OSError` if not."""
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for number in opened:
            os.close(number)


@contextlib.contextmanager
def _garbage_collected_seldom() -> Iterator[None]:
    """Have the garbage collector run rarely, and skip what stays for ever.

    Log records, messages in flight and timers live long enough to count as long-lived: at 1,000
    messages a second Python examines every object every few seconds, and with 10,000 peers holds up
    the loop for 0.2 s (docs/screen-performance.md). Nearly everything is freed without the
    collector, which is needed only for reference cycles.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *_OLDER_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _loop_class(*, fast: bool) -> Callable[[], asyncio.AbstractEventLoop]:
    base: Any = asyncio.SelectorEventLoop
    if sys.platform == "win32":
        base = asyncio.ProactorEventLoop
    own: dict[str, Any] = {
        "getaddrinfo": _getaddrinfo,
        "lookups": cached_property(lambda _: Lookups()),
    }
    if fast:
        with contextlib.suppress(ImportError):
            import uvloop

            base = uvloop.Loop
            own |= _task_factories(base)
    loop_class: Callable[[], asyncio.AbstractEventLoop] = type("ProgramLoop", (base,), own)
    return loop_class


def _task_factories(uvloop_class: Any) -> dict[str, Any]:
    """Methods that make uvloop pass a task factory only the given options, as asyncio does.

    uvloop itself also passes None for `eager_start`: that is one argument too many for the eager
    factory of Python 3.13, which Textual sets, and tells that of 3.14 not to be eager.
    """

    def set_task_factory(loop: Any, factory: Any) -> None:
        uvloop_class.set_task_factory(loop, factory and partial(_make_task, factory))

    def get_task_factory(loop: Any) -> Any:
        made = uvloop_class.get_task_factory(loop)
        return made and made.args[0]

    return {"set_task_factory": set_task_factory, "get_task_factory": get_task_factory}


def _make_task(factory: Any, *of_what: Any, **options: Any) -> Any:
    return factory(*of_what, **{name: one for name, one in options.items() if one is not None})


async def _getaddrinfo(loop: Any, host: Any, port: Any, **options: Any) -> list[Any]:
    """Look a host up; see `Lookups.get`."""
    lookups: Lookups = loop.lookups
    return await lookups.get(host, port, **options)
