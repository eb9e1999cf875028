"""One reader's events: in order, bounded, and honest about what is missing."""

import asyncio
import gc
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2ptui.core.encoded import Encoded
from p2ptui.core.events import (
    DataDropped,
    DataReceived,
    Direction,
    EventsDropped,
    MessageTraced,
    Path,
    PeersDiscovered,
    RelayDataReceived,
)
from p2ptui.core.readers import EVENT_OVERHEAD_BYTES, Readers
from p2ptui.errors import LocalError
from p2ptui.node.subscription import MAX_TRACED_BYTES, Subscription, Subscriptions
from tests.virtual_loop import run_virtual


def event(number: int) -> PeersDiscovered:
    return PeersDiscovered(str(number), ())


def numbers(events) -> list[int | str]:
    return [
        f"{e.count} dropped" if isinstance(e, EventsDropped) else int(e.server_id) for e in events
    ]


async def read(subscription: Subscription, count: int) -> list[int | str]:
    return numbers([await anext(subscription) for _ in range(count)])


def test_events_come_in_order_and_wake_the_reader():
    async def story():
        subscription = Subscription(10)
        reading = asyncio.ensure_future(read(subscription, 3))
        for number in (1, 2, 3):
            subscription.put(event(number))
            await asyncio.sleep(1)
        assert await reading == [1, 2, 3]

    run_virtual(story())


def test_what_is_missing_is_told_where_it_is_missing():
    async def story():
        subscription = Subscription(2)
        for number in range(5):
            subscription.put(event(number))
        assert await read(subscription, 2) == [0, 1]
        subscription.put(event(5))
        assert await read(subscription, 2) == ["3 dropped", 5]

    run_virtual(story())


def test_what_is_missing_at_the_end_is_told_too():
    async def story():
        subscription = Subscription(1)
        subscription.put(event(0))
        subscription.put(event(1))
        subscription.close()
        subscription.put(event(2))
        assert numbers([each async for each in subscription]) == [0, "1 dropped"]

    run_virtual(story())


def test_a_closed_one_ends_the_iteration_also_for_a_reader_that_waits():
    async def story():
        subscription = Subscription(1)
        reading = asyncio.ensure_future(anext(subscription, "the end"))
        await asyncio.sleep(1)
        subscription.close()
        assert await reading == "the end"
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)

    run_virtual(story())


def test_a_reader_that_is_cancelled_loses_nothing():
    async def story():
        subscription = Subscription(5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(subscription), 1)
        subscription.put(event(1))
        assert await read(subscription, 1) == [1]

    run_virtual(story())


def test_two_readers_of_one_subscription_are_a_mistake():
    async def story():
        subscription = Subscription(5)
        first = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        with pytest.raises(LocalError, match="subscribe once for each"):
            await anext(subscription)
        subscription.put(event(1))
        assert numbers([await first]) == [1]

    run_virtual(story())


def test_what_waits_can_be_taken_without_waiting():
    subscription = Subscription(3)
    assert subscription.take(10) == []
    for number in range(5):
        subscription.put(event(number))
    assert numbers(subscription.take(2)) == [0, 1]
    assert numbers(subscription.take(2)) == [2, "2 dropped"]
    assert subscription.take(10) == []


@given(st.integers(1, 5), st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=40))
def test_every_event_is_read_or_counted_as_dropped(limit, steps):
    """None puts one event, a number takes so many."""
    subscription = Subscription(limit)
    put, told = 0, []
    for step in steps:
        if step is None:
            subscription.put(event(put))
            put += 1
        else:
            told += subscription.take(step)
    told += subscription.take(1000)
    at = 0
    for each in told:
        if isinstance(each, EventsDropped):
            at += each.count
        else:
            assert each.server_id == str(at)
            at += 1
    assert at == put


def traced(size_bytes: int) -> MessageTraced:
    return MessageTraced(Direction.IN, ("192.0.2.1", 1), None, "Data", size_bytes, b"")


def data(size_bytes: int, node_id: str = "id") -> DataReceived:
    return DataReceived(node_id, ("192.0.2.1", 1), "x", "m", Path.DIRECT, False, size_bytes)


def test_traced_messages_are_bounded_by_their_bytes():
    subscription = Subscription(1000)
    megabyte = 1 << 20
    for _ in range(40):
        subscription.put(traced(megabyte))

    taken = subscription.take(1000)

    assert len(taken) == MAX_TRACED_BYTES // megabyte + 1
    assert taken[-1] == EventsDropped(40 - MAX_TRACED_BYTES // megabyte)
    subscription.put(event(1))
    assert numbers(subscription.take(10)) == [1]


def test_data_that_was_admitted_always_finds_its_place_and_gives_its_room_back():
    readers = Readers()
    subscription = Subscription(1, readers.open(100_000))
    for _ in range(20):
        assert readers.admit("id", 1000, 0.0)
        subscription.put(data(1000))
        subscription.put(event(0))
    assert readers.used_bytes == 20 * (1000 + EVENT_OVERHEAD_BYTES)

    taken = subscription.take(100)

    assert len([each for each in taken if isinstance(each, DataReceived)]) == 20
    assert readers.used_bytes == 0


def test_a_reader_of_news_only_gets_no_data():
    subscription = Subscription(10)
    subscription.put(data(1))
    subscription.put(DataDropped("id", 1))
    subscription.put(event(1))
    assert numbers(subscription.take(10)) == [1]


def test_a_reader_gets_what_it_wants_and_what_it_does_not_want_waits_nowhere():
    readers = Readers()
    asked = []

    def wants(told) -> bool:
        asked.append(told)
        return not isinstance(told, DataReceived) and told.server_id != "2"

    subscription = Subscription(2, readers.open(10_000), wants=wants)
    for number in (1, 2, 2, 2, 3):
        assert readers.admit("id", 1000, 0.0)
        subscription.put(data(1000))
        subscription.put(event(number))

    assert readers.used_bytes == 0, "it counts as read"
    assert len(asked) == 10
    assert numbers(subscription.take(10)) == [1, 3]
    subscription.put(EventsDropped(4))
    assert numbers(subscription.take(10)) == ["4 dropped"], "of what is missing it is always told"


@pytest.mark.parametrize("waits", [True, False])
def test_a_wish_that_fails_ends_its_own_reader_alone(waits):
    async def story():
        readers = Readers()
        subscriptions, told = Subscriptions(readers, lambda: None), []

        def wants(each) -> bool:
            told.append(each)
            return {1: True}[int(each.server_id)]

        failing = subscriptions.open(10, 10_000, wants)
        other = subscriptions.open(10, 10_000)
        subscriptions.tell(event(1))
        assert numbers([await anext(failing)]) == [1]
        if waits:
            reading = asyncio.ensure_future(anext(failing))
            await asyncio.sleep(0)
        for number in (2, 3):
            subscriptions.tell(event(number))
        with pytest.raises(KeyError):
            await (reading if waits else anext(failing))
        with pytest.raises(StopAsyncIteration):
            await anext(failing)
        assert failing.take(10) == []
        assert len(told) == 2, "it is asked no more"
        assert numbers(other.take(10)) == [1, 2, 3]
        assert readers.admit("id", 9000, 0.0)
        other.put(data(9000))
        other.take(1)
        assert readers.used_bytes == 0, "it holds up nobody"

    run_virtual(story())


def test_a_wish_that_fails_is_told_to_who_takes_what_waits():
    subscription = Subscription(10, wants=lambda each: {"1": True}[each.server_id])
    for number in (1, 2):
        subscription.put(event(number))
    assert numbers(subscription.take(10)) == [1]
    with pytest.raises(KeyError):
        subscription.take(10)
    assert subscription.take(10) == []


def test_of_what_has_no_key_that_is_read_nobody_is_told():
    readers = Readers()
    assert readers.reads(b"1"), "whoever drives it may read all"
    readers.are_all()
    assert not readers.reads(b'{"file":1}')
    files = readers.open(1000, "file")
    for payload, is_read in {
        b'{"file":1}': True,
        b'{"a":{"file":1}}': True,
        rb'{"fil\u0065":1}': True,
        b'{"fil":1}': False,
        b'["file"]': False,
        b'"file"': False,
    }.items():
        assert readers.reads(payload) is is_read
        if not is_read:
            assert not Encoded(payload).may_have("file")
    everything = readers.open(1000)
    assert readers.reads(b"1")
    everything.close()
    assert not readers.reads(b"1")
    files.close()
    assert not readers.reads(b'{"file":1}')


def test_a_reader_of_a_key_gets_nothing_without_it_and_has_its_own_room():
    readers = Readers()
    files = Subscription(10, readers.open(8000, "file"))
    everything = Subscription(10, readers.open(20_000))
    payloads = [b'{"file":1}', b'{"a":1}', b"[1]", b'{"a":"\\n"}']
    for payload in payloads:
        assert readers.admit("id", len(payload), 0.0, payload)
        told = data(len(payload))._replace(held=Encoded(payload))
        relayed = RelayDataReceived("id", "id", payload)
        for subscription in (files, everything):
            subscription.put(told)
        assert readers.admit("id", len(payload), 0.0, payload)
        for subscription in (files, everything):
            subscription.put(relayed)
    assert len(everything.take(100)) == 8
    kept = files.take(100)
    assert {each.data for each in kept if isinstance(each, RelayDataReceived)} == {
        payloads[0],
        payloads[3],
    }
    assert len(kept) == 4
    assert readers.used_bytes == 0


@given(st.text(), st.booleans(), st.booleans())
@example('a"b', False, False)
@example("a/b", False, True)
@example("a\\b", True, False)
@example("\n", True, True)
@example("\ud800", True, False)
def test_a_key_is_found_however_it_is_written(key, is_ascii, escapes_slashes):
    payload = json.dumps({key: 1}, ensure_ascii=is_ascii)
    if escapes_slashes:
        payload = payload.replace("/", "\\/")
    readers = Readers()
    readers.are_all()
    room = readers.open(1000, key)
    data = payload.encode(errors="surrogatepass")
    assert readers.reads(data)
    assert Encoded(data).may_have(key)
    room.close()


@pytest.mark.parametrize("opens", [True, False])
def test_who_is_collected_while_another_comes_or_goes_is_none(opens):
    readers = Readers()
    readers.are_all()
    kept, forgotten = readers.open(1000, "file"), [readers.open(1000)]

    class Rooms(list):
        """When they are looked through, one is collected, as one may be at any time."""

        def __iter__(self):
            forgotten.clear()
            return super().__iter__()

    readers._rooms = Rooms(readers._rooms)
    if opens:
        another = readers.open(1000, "file")
        assert [each() for each in readers._rooms] == [kept, another]
    else:
        kept.close()
        assert readers._rooms == []
    assert not readers.reads(b"1")


def test_all_readers_are_told_but_those_that_nobody_holds():
    async def story():
        readers = Readers()
        subscriptions = Subscriptions(readers, lambda: None)
        kept, forgotten = subscriptions.open(10, 1000), subscriptions.open(10, 1000)
        subscriptions.tell(event(1))
        assert numbers(forgotten.take(10)) == [1]
        del forgotten
        gc.collect()
        assert list(subscriptions) == [kept]
        subscriptions.tell(event(2))
        assert numbers(kept.take(10)) == [1, 2]
        subscriptions.end(kept)
        assert list(subscriptions) == []

    run_virtual(story())


def test_reading_is_told_once_a_turn_and_not_after_the_end():
    async def story():
        told, readers = [], Readers()
        subscriptions = Subscriptions(readers, lambda: told.append("read"))
        for _ in range(3):
            readers.on_read()
        await asyncio.sleep(0)
        assert told == ["read"]
        readers.on_read()
        subscriptions.close()
        await asyncio.sleep(0)
        assert told == ["read"]

    run_virtual(story())


def test_a_task_that_waits_is_held_though_nobody_has_kept_it():
    """The event loop holds it weakly: it vanished, and what it would have read was delivered."""

    async def story():
        subscriptions, told = Subscriptions(Readers(), lambda: None), []

        async def listen() -> None:
            async for each in subscriptions.open(10, None):
                told.append(each)

        asyncio.create_task(listen())  # noqa: RUF006
        await asyncio.sleep(0)
        gc.collect()
        subscriptions.tell(event(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert numbers(told) == [1]

        subscriptions.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
        assert not list(subscriptions)

    run_virtual(story())


def test_a_reader_that_nobody_waits_for_any_more_is_forgotten():
    async def story():
        subscriptions = Subscriptions(Readers(), lambda: None)
        task = asyncio.create_task(read(subscriptions.open(10, None), 1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        del task
        gc.collect()
        assert not list(subscriptions)

    run_virtual(story())
