"""The event loop of a whole program: the fastest there is, and no slow name server holds it up.

Left to the loop, a look-up runs in a thread that the loop, when it ends, waits for: half a minute,
while the name server is out of reach. Here it has a thread that nobody waits for (`lookups`).
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
"""Descriptors that uvloop needs to begin, with some to spare. If it lacks one half way (6 to 9 of
them), it neither runs nor can be closed."""

YOUNG_OBJECTS: Final = 10_000
"""More objects made than freed, until the collector looks at them: some 2 MB, and a millisecond.
Five times as many hold the loop for eight while a crowd arrives. Python has 700."""

_OLDER_COLLECTIONS: Final = (100, 50)
"""Collections of one age until the next older one: full ones after 50 million new objects."""


def run(work: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run a program's main coroutine on a new loop, as `asyncio.run` does.

    Args:
        work: The program.
        fast: Take uvloop where it is installed, and collect garbage seldom. The first makes a
            datagram a third cheaper, and costs 30 ms at start: too much for a short command.

    Raises:
        KeyboardInterrupt: SIGINT came, and `work` was cancelled for it.
        OSError: The loop cannot be made; `work` has not begun.
    """
    with ExitStack() as stack:
        stack.callback(work.close)  # else it is complained of where it never begins
        if fast:
            _require_files(LOOP_FILES)
            stack.enter_context(_garbage_collected_seldom())
        runner = stack.enter_context(asyncio.Runner(loop_factory=_loop_class(fast=fast)))
        return runner.run(work)


def _require_files(count: int) -> None:
    """Find out whether so many files can be opened: raises `OSError` if not."""
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for number in opened:
            os.close(number)


@contextlib.contextmanager
def _garbage_collected_seldom() -> Iterator[None]:
    """Have the garbage collector run seldom, and not look at what stays for ever.

    Records of a log, messages under way and timers live long enough to count as long-lived: at
    1,000 messages a second Python looks at every object that there is each few seconds, and with
    10,000 peers holds the loop for 0.2 s (docs/screen-performance.md). Nearly all is freed without
    the collector, which is there for what refers to itself.
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
    """What has uvloop give a task factory only what was asked for, as asyncio does.

    It also gives it None for `eager_start`: that is one argument too many for the eager factory of
    Python 3.13, which Textual sets, and tells that of 3.14 not to be eager.
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
