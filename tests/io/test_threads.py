"""Work in threads: its result, its error, and what happens where there are no more threads."""

import asyncio
import threading

import pytest

from p2ptui.io.lookups import FRESH_S, MAX_LOOKUPS, Lookups
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


async def test_that_no_thread_can_be_started_is_an_error_of_the_system(no_threads):
    with pytest.raises(NoThreadError, match="no more threads can be started"):
        in_thread(int, "work")


class Resolver:
    """Answers when it is told to.

    Args:
        monkeypatch: Puts it in the place of the system's.
    """

    def __init__(self, monkeypatch):
        self.asked = []
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        self._let_go = threading.Event()
        monkeypatch.setattr("socket.getaddrinfo", self._look_up)

    def _look_up(self, host, port, **_):
        self.asked.append(host)
        self._loop.call_soon_threadsafe(self._news.set)
        self._let_go.wait(PATIENCE_S)
        return [host]

    async def has_been_asked(self, times):
        """Wait until it has been asked for so many."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.asked) < times:
                await self._news.wait()
                self._news.clear()

    def answer(self):
        self._let_go.set()


@pytest.fixture
async def resolver(monkeypatch):
    one = Resolver(monkeypatch)
    yield one
    one.answer()


async def test_a_name_is_looked_up_once_for_all_who_ask(resolver):
    lookups = Lookups()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lookups.get("slow", 80), 0.001)
    others = [asyncio.ensure_future(lookups.get("slow", 80)) for _ in range(100)]
    other_kind = asyncio.ensure_future(lookups.get("slow", 80, type=1))
    await resolver.has_been_asked(2)
    resolver.answer()
    assert await asyncio.gather(*others) == [["slow"]] * 100
    await other_kind
    assert resolver.asked == ["slow", "slow"]
    await lookups.get("slow", 80)
    assert len(resolver.asked) == 3, "an answer is not kept"


async def test_one_that_hangs_holds_nobody_up_for_ever(resolver, monkeypatch):
    lookups, now = Lookups(), asyncio.get_running_loop().time
    first = asyncio.ensure_future(lookups.get("slow", 80))
    await resolver.has_been_asked(1)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now() + FRESH_S)
    second = asyncio.ensure_future(lookups.get("slow", 80))
    await resolver.has_been_asked(2)
    resolver.answer()
    assert await asyncio.gather(first, second) == [["slow"], ["slow"]]


async def test_so_many_names_are_looked_up_at_once_and_no_more(resolver):
    lookups = Lookups()
    looking = [asyncio.ensure_future(lookups.get(f"host{n}", 80)) for n in range(MAX_LOOKUPS)]
    await resolver.has_been_asked(MAX_LOOKUPS)
    with pytest.raises(OSError, match=f"{MAX_LOOKUPS} names are being looked up already"):
        await lookups.get("one-more", 80)
    resolver.answer()
    await asyncio.gather(*looking)
    assert await lookups.get("one-more", 80) == ["one-more"]


def test_without_a_thread_a_name_is_not_found_and_that_is_said(no_threads):
    with pytest.raises(NotResolvedError, match="no more threads"):
        run(resolve(("host.example", 80)))
