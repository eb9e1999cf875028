import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2ptui.io.threads import off_loop
from tests.patience import PATIENCE_S
from tests.virtual_loop import (
    START_S,
    WORK_S,
    DeadlockError,
    RealWorkError,
    TimeLimitError,
    run_virtual,
)


def test_an_hour_passes_on_the_clock_of_the_loop_and_not_on_the_wall():
    async def story():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(story()) == pytest.approx(START_S + 3600)
    assert time.monotonic() - began < 60


def test_timers_fire_in_the_order_of_their_times():
    async def story():
        loop, order, done = asyncio.get_running_loop(), [], asyncio.Event()
        loop.call_later(3, done.set)
        for delay_s in (2, 0.5, 1):
            loop.call_later(delay_s, order.append, delay_s)
        await done.wait()
        return order

    assert run_virtual(story()) == [0.5, 1, 2]


def test_a_timeout_elapses_without_waiting():
    async def story():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(story()) == pytest.approx(START_S + 30)


def test_a_wait_that_nothing_can_end_is_named():
    async def forgotten():
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=r"nothing is scheduled.*\n.*test_virtual_loop\.py:\d+"):
        run_virtual(forgotten())


def test_a_heartbeat_does_not_hide_a_wait_without_an_end():
    async def story():
        loop = asyncio.get_running_loop()

        def beat():
            loop.call_later(5, beat)

        beat()
        await asyncio.Event().wait()

    with pytest.raises(TimeLimitError, match=r"600 s of virtual time"):
        run_virtual(story(), limit_s=600)


def test_an_error_of_the_test_comes_through_and_its_tasks_are_cancelled():
    cancelled = []

    async def story():
        async def background():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        task = asyncio.ensure_future(background())
        await asyncio.sleep(1)
        assert not task.done()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_virtual(story())
    assert cancelled == [True]


CLOCKS = ("monotonic", "perf_counter", "time", "process_time", "thread_time")


@pytest.mark.parametrize("name", [*CLOCKS, *(f"{name}_ns" for name in CLOCKS)])
def test_every_clock_is_the_loops_in_the_loop_and_the_machines_outside(name):
    read = getattr(time, name)
    unit = 1e9 if name.endswith("_ns") else 1.0
    runs = not name.startswith(("process", "thread"))  # no processor time passes

    async def story():
        before = read()
        await asyncio.sleep(100)
        return before, read()

    before, after = run_virtual(story())
    assert run_virtual(story()) == (before, after)
    assert (after - before) / unit == pytest.approx(100 if runs else 0)
    assert type(after) is (int if name.endswith("_ns") else float)
    assert abs(read() / unit - before / unit) > 1e-6
    assert read() <= read()


def test_another_thread_keeps_the_clock_of_the_machine():
    async def story():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(time.time).result()

    assert run_virtual(story()) == pytest.approx(time.time(), abs=3600)


def test_what_p2ptui_does_in_a_thread_takes_a_moment_however_busy_the_machine_is():
    async def story():
        began, work = time.monotonic(), asyncio.create_task(off_loop(threading.current_thread))
        await asyncio.sleep(WORK_S / 2)
        assert not work.done()
        assert await work is threading.current_thread()
        return time.monotonic() - began

    assert run_virtual(story()) == pytest.approx(WORK_S)


def test_work_that_a_thread_would_do_in_real_time_is_an_error():
    async def story():
        await asyncio.to_thread(time.sleep, 1)

    with pytest.raises(RealWorkError, match="in a thread"):
        run_virtual(story())


READS = """
import sys, time

MACHINE = {id(getattr(time, name)): name for name in dir(time) if callable(getattr(time, name))}
ALLOWED = {"localtime", "gmtime", "strftime", "tzset", "mktime", "ctime", "asctime", "struct_time"}
seen = set()

def watch(frame, event, what):
    if event != "c_call":
        return
    module = frame.f_globals.get("__name__", "")
    if module.partition(".")[0] not in ("textual", "rich", "p2ptui"):
        return
    name = MACHINE.get(id(what))
    if name is None and getattr(what, "__qualname__", "") in ("datetime.now", "datetime.utcnow"):
        name = what.__qualname__
    if name is not None and name not in ALLOWED:
        seen.add(f"{module}.{frame.f_code.co_name} reads {name}")

from tests.tui.stage import play

async def story(stage):
    app = await stage.open()
    await stage.friend("bob", 1)
    sys.setprofile(watch)
    try:
        for line in ("ping bob 2", "send bob hello", "nat", "filter peer:bob", "theme nord"):
            await stage.type(line)
        await stage.pilot.press("f1", "escape", "f3", "up", "enter", "escape", "ctrl+p", "escape")
        await stage.pilot.resize_terminal(80, 24)
        await stage.wait(30)
    finally:
        sys.setprofile(None)

play(story)
print(*sorted(seen), sep="\\n")
"""


def test_nothing_that_draws_the_screen_reads_the_clock_of_the_machine():
    ran = subprocess.run(
        [sys.executable, "-c", READS],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.strip() == ""
