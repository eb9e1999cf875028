"""An event loop whose clock jumps: a test that waits an hour takes no time, and the same way.

    from tests.virtual_loop import run_virtual

    def test_a_lost_answer_is_asked_for_again():
        async def story():
            ...
            await asyncio.sleep(3600)

        run_virtual(story())

When nothing is ready, time jumps to the next timer. When no timer is left either, nothing can
ever happen again, and `DeadlockError` says which tasks wait, and where. All clocks of `time` that
are read in the loop are the loop's own (`tests.virtual_time`). What p2ptui does in a thread is done
in the loop, and takes a moment; to hand other work to a thread is an error. A real socket is not
waited for.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from p2ptui.io import threads
from tests import virtual_time
from tests.virtual_time import START_S

T = TypeVar("T")

DEFAULT_LIMIT_S = 86_400.0
MAX_LIMIT_S = 1e6
"""Far beyond it, the loop's clock resolution of 1 ns is lost in rounding, and timers with it."""


WORK_S = 0.001
"""What work takes in a thread: a machine that is busy would take as long as it likes."""


class DeadlockError(Exception):
    """Every task waits, and nothing is scheduled that could wake one."""


class TimeLimitError(Exception):
    """The virtual clock passed the limit of the run: something waits for what never comes."""


class RealWorkError(Exception):
    """Something was handed to a thread: it would end whenever the machine gets to it."""


class VirtualLoop(asyncio.SelectorEventLoop, virtual_time.VirtualClock):
    """A selector loop in virtual time.

    Args:
        limit_s: How far the clock may go, in seconds, never beyond `MAX_LIMIT_S`; it
            catches a wait without an end while some timer keeps the loop alive.
    """

    def __init__(self, limit_s: float = DEFAULT_LIMIT_S) -> None:
        self._now = START_S
        self._end = START_S + min(limit_s, MAX_LIMIT_S)
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:
        """Names are looked up by way of this, too.

        Raises:
            RealWorkError: Always.
        """
        raise RealWorkError(f"{func!r} would run in a thread, in real time")

    def _jump(self, timeout_s: float | None) -> None:
        if timeout_s is None:
            raise DeadlockError(f"nothing is scheduled, and this waits:\n{self._waiting()}")
        self._now += timeout_s
        if self._now > self._end:
            raise TimeLimitError(
                f"{self._end - START_S:g} s of virtual time passed, and this still waits:\n"
                f"{self._waiting()}"
            )

    def _waiting(self) -> str:
        lines = []
        for task in sorted(asyncio.all_tasks(self), key=lambda task: task.get_name()):
            stack = task.get_stack(limit=1)
            where = f"{stack[0].f_code.co_filename}:{stack[0].f_lineno}" if stack else "?"
            lines.append(f"  {task.get_name()} at {where}")
        return "\n".join(lines) or "  (no task)"


class _Threads:
    """What work is handed to: the loop, if its time is virtual."""

    @staticmethod
    def Thread(target: Callable[[], None], **options: Any) -> Any:  # noqa: N802 - as it is called
        loop = asyncio._get_running_loop()
        if isinstance(loop, VirtualLoop):
            return _InLoop(loop, target)
        return threading.Thread(target=target, **options)


class _InLoop:
    def __init__(self, loop: VirtualLoop, target: Callable[[], None]) -> None:
        self._loop, self._target = loop, target

    def start(self) -> None:
        self._loop.call_later(WORK_S, self._target)


threads.threading = _Threads  # type: ignore[assignment]


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: what the loop would sleep is told to the clock."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self._jump(timeout)
        return ready


def run_virtual(coro: Coroutine[Any, Any, T], *, limit_s: float = DEFAULT_LIMIT_S) -> T:
    """Run a coroutine to its end in virtual time, and return its result.

    Args:
        coro: The test.
        limit_s: How much virtual time it may take.

    Raises:
        DeadlockError: It waits, and nothing is scheduled.
        TimeLimitError: It took longer.
    """
    virtual_time.install()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(limit_s)) as runner:
        return runner.run(coro)
