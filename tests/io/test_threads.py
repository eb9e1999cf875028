"""Work in threads: its result, its error, and what happens where there are no more threads."""

import asyncio
import threading

import pytest

from p2ptui.io.loop import run
from p2ptui.io.resolve import NotResolvedError, resolve
from p2ptui.io.threads import NoThreadError, in_thread, off_loop
from tests.patience import PATIENCE_S


@pytest.fixture
def no_threads(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


async def test_the_result_of_work_is_that_of_its_thread():
    assert await off_loop(pow, 2, 5) == 32
    assert await off_loop(threading.current_thread) is not threading.main_thread()


async def test_an_error_is_raised_where_it_is_waited_for():
    with pytest.raises(ZeroDivisionError):
        await off_loop(divmod, 1, 0)


async def test_who_stops_waiting_leaves_the_work_running():
    let_go, ended = threading.Event(), threading.Event()

    def work():
        let_go.wait(PATIENCE_S)
        ended.set()

    waiting = asyncio.ensure_future(off_loop(work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    let_go.set()
    assert ended.wait(PATIENCE_S)


async def test_an_error_that_no_future_takes_ends_the_waiting_too():
    with pytest.raises(RuntimeError, match="StopIteration"):
        await off_loop(next, iter(()))


async def test_that_no_thread_can_be_started_is_an_error_of_the_system(no_threads):
    with pytest.raises(NoThreadError, match="no more threads can be started"):
        in_thread(int, "work")


def test_without_a_thread_a_name_is_not_found_and_that_is_said(no_threads):
    with pytest.raises(NotResolvedError, match="no more threads"):
        run(resolve(("host.example", 80)))
