import asyncio
import time

import pytest

from tests.virtual_loop import START_S, DeadlockError, TimeLimitError, run_virtual


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
