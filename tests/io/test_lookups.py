"""Host names are looked up by few threads, and one that hangs holds up no other."""

import asyncio
import socket
import threading

import pytest

from p2ptui.io.lookups import FRESH_S, MAX_LOOKUPS, MAX_OF_A_NAME, Lookups
from tests.patience import PATIENCE_S


def answer_of(host, port):
    return socket.AF_INET, socket.SOCK_DGRAM, 17, "", (host, port)


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
        return [answer_of(host, port)]

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
    assert await asyncio.gather(*others) == [[answer_of("slow", 80)]] * 100
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
    assert await asyncio.gather(first, second) == [[answer_of("slow", 80)]] * 2


async def test_so_many_names_are_looked_up_at_once_and_no_more(resolver):
    lookups = Lookups()
    looking = [asyncio.ensure_future(lookups.get(f"host{n}", 80)) for n in range(MAX_LOOKUPS)]
    await resolver.has_been_asked(MAX_LOOKUPS)
    with pytest.raises(OSError, match=f"{MAX_LOOKUPS} look-ups of names are under way already"):
        await lookups.get("one-more", 80)
    resolver.answer()
    await asyncio.gather(*looking)
    assert await lookups.get("one-more", 80) == [answer_of("one-more", 80)]


async def test_a_name_that_hangs_leaves_room_for_the_others(resolver, monkeypatch):
    lookups, now = Lookups(), asyncio.get_running_loop().time
    waiting = []
    for asked in range(2 * MAX_LOOKUPS):
        later_s = asked * FRESH_S
        monkeypatch.setattr(
            asyncio.get_running_loop(), "time", lambda later_s=later_s: now() + later_s
        )
        waiting.append(asyncio.ensure_future(lookups.get("slow", 80 + asked)))
        await asyncio.sleep(0)
    other = asyncio.ensure_future(lookups.get("other", 80))
    await resolver.has_been_asked(MAX_OF_A_NAME + 1)
    resolver.answer()
    assert await other == [answer_of("other", 80)]
    ports = [answer[0][-1][1] for answer in await asyncio.gather(*waiting)]
    assert ports == [80 + asked for asked in range(2 * MAX_LOOKUPS)]
    assert sorted(resolver.asked) == ["other", "slow", "slow"]


async def test_what_one_makes_of_the_answer_is_no_business_of_the_others(resolver):
    lookups = Lookups()
    one, two = [asyncio.ensure_future(lookups.get("slow", 0)) for _ in range(2)]
    resolver.answer()
    (await one).clear()
    assert await two == [answer_of("slow", 0)]


@pytest.mark.parametrize("port", [80, None, "domain"])
async def test_the_answer_is_that_of_the_system(port):
    expected = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_DGRAM)
    assert await Lookups().get("127.0.0.1", port, type=socket.SOCK_DGRAM) == expected
