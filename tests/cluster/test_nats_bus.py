"""The bus and a real broker: entries, their revisions, messages; a broker that goes and comes."""

import asyncio
import logging
import math
import signal
import time
from collections.abc import Callable

import pytest
from brokers import Broker, needs_broker, until
from members import Member

from p2ptui.core.cluster.bus import Delete, Publish, Put
from p2ptui.io.nats_link import MAX_PUTS
from p2ptui.io.nats_watch import Watch

pytestmark = needs_broker

Join = Callable[..., Member]


async def test_who_comes_later_is_told_what_stands_there(broker: Broker, join: Join) -> None:
    first = join(broker.url, "a")
    await first.complete()
    assert first.told == [("link", True), ("complete",)]

    first.do(Put("k1", b"one", 0))
    first.do(Put("k2", b"two", 0))
    await first.tells("put", "k2", 2)
    await first.tells("entry", "k2", b"two", 2)

    second = join(broker.url, "b")
    await second.complete()
    assert second.told == [
        ("link", True),
        ("entry", "k1", b"one", 1),
        ("entry", "k2", b"two", 2),
        ("complete",),
    ]


async def test_an_entry_is_replaced_by_who_knows_it_alone(broker: Broker, join: Join) -> None:
    first, second = join(broker.url, "a"), join(broker.url, "b")
    await first.complete()
    await second.complete()
    first.do(Put("k", b"one", 0))
    await second.tells("entry", "k", b"one", 1)

    second.do(Put("k", b"mine", 0))
    await second.tells("refused", "k")
    second.do(Put("k", b"mine", 1))
    await second.tells("put", "k", 2)
    await first.tells("entry", "k", b"mine", 2)

    first.do(Delete("k", 1))
    await first.tells("refused", "k")
    first.do(Delete("k", 2))
    await second.tells("entry", "k", None, 3)
    # A key that was deleted is put as one that was never there, by who heard of it.
    second.do(Put("k", b"again", 0))
    await first.tells("entry", "k", b"again", 4)


async def test_what_has_expired_before_it_was_asked_for_is_no_reason_to_wait(
    broker: Broker, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = join(broker.url, "a", heartbeat=0.1)
    await first.complete()
    first.do(Put("k", b"v", 0))
    await first.tells("put", "k", 1)
    begin = Watch.begin

    def begin_late(watch: Watch, consumer: str) -> None:
        asyncio.get_running_loop().call_later(1.0, begin, watch, consumer)
        watch._until = math.inf

    monkeypatch.setattr(Watch, "begin", begin_late)
    second = join(broker.url, "b", heartbeat=0.1)
    await second.complete()
    assert second.told == [("link", True), ("complete",)]


async def test_messages_reach_all_or_one(broker: Broker, join: Join) -> None:
    first, second = join(broker.url, "a"), join(broker.url, "b")
    other = join(broker.url, "b", network_id="another network")
    for member in (first, second, other):
        await member.complete()

    first.do(Publish("servers", b"to all"))
    first.do(Publish("b", b"to b"))
    first.do(Publish("a", b"to itself"))
    await second.tells("message", "b", b"to b")
    await second.tells("message", "servers", b"to all")
    await first.tells("message", "a", b"to itself")
    assert ("message", "a", b"to itself") not in second.told
    assert not [told for told in other.told if told[0] == "message"]


async def test_messages_that_do_not_leave_are_told(broker: Broker, join: Join) -> None:
    member = join(broker.url)
    await member.complete()
    member.do(Publish("b", bytes(2 << 20)))
    await member.tells("unsent", "b", True)
    # The broker reads nothing: what the connection has no room for waits, and then does not.
    broker.signal(signal.SIGSTOP)
    for number in range(100):
        member.do(Publish(f"b{number}", bytes(1 << 18)))
    await member.tells("link", False)
    broker.signal(signal.SIGCONT)
    unsent = [told[1] for told in member.told if told[0] == "unsent" and not told[2]]
    counters = member.bus.status().counters
    assert counters["published"] + len(unsent) == 100
    assert counters["dropped_out"] == len(unsent) + 1
    assert {f"b{number}" for number in range(70, 100)} <= set(unsent), "the last ones"
    last = member.told.index(("link", False))
    assert all(told[0] != "unsent" for told in member.told[last:])
    waited = [subject for subject in unsent if int(subject[1:]) < 32]
    assert waited, "those that there was room for"
    await member.complete(2)


async def test_a_broker_that_crashed_is_found_again_with_all_it_kept(
    broker: Broker, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = join(broker.url, "a"), join(broker.url, "b")
    await first.complete()
    await second.complete()
    for number in range(600):
        first.do(Put(f"k{number}", b"v%d" % number, 0))
    await until(lambda: len(second.heard.entries) == 600)

    for times in range(2, 5):
        broker.kill()
        for member in (first, second):
            await until(lambda member=member: member.told[-1] == ("link", False))
            member.do(Put("k0", b"lost", 1))
            member.heard.entries.clear()
        broker.start()
        began = time.monotonic()
        await first.complete(times)
        await second.complete(times)
        assert time.monotonic() - began < 5
        assert len(first.heard.entries) == 600
        assert first.heard.entries["k0"] == (b"v0", 1)

    first.do(Publish("b", b"still there"))
    await second.tells("message", "b", b"still there")
    lines = [record.getMessage() for record in caplog.records if "cluster" in record.getMessage()]
    assert len(lines) == 2 * (4 + 3)  # each says once that it came up, and that it went away


async def test_what_another_server_has_just_deleted_can_be_put(broker: Broker, join: Join) -> None:
    first, second = join(broker.url, "a"), join(broker.url, "b")
    await first.complete()
    await second.complete()
    first.do(Put("k", b"of a", 0))
    await second.tells("entry", "k", b"of a", 1)
    first.do(Delete("k", 1))
    await second.tells("entry", "k", None, 2)
    # It was on its way when the other one deleted what it was to replace.
    second.do(Put("k", b"of b", 1))
    await second.tells("refused", "k")
    second.do(Put("k", b"of b", 0))
    await second.tells("put", "k", 3)


async def test_a_broker_that_stands_still_is_given_up_and_found_again(
    broker: Broker, join: Join
) -> None:
    member = join(broker.url)
    await member.complete()
    broker.signal(signal.SIGSTOP)
    await member.tells("link", False)
    broker.signal(signal.SIGCONT)
    await member.complete(2)


async def test_what_nobody_puts_again_is_gone_for_who_comes_later(
    broker: Broker, join: Join
) -> None:
    member = join(broker.url, heartbeat=0.1)
    await member.complete()
    member.do(Put("k", b"v", 0))
    await member.tells("put", "k", 1)

    async def is_gone() -> bool:
        other = join(broker.url, "b", heartbeat=0.1)
        await other.complete()
        return not other.heard.entries

    while not await is_gone():
        pass
    # What has expired is put as something new.
    member.do(Put("k", b"v", 1))
    await member.tells("refused", "k")
    member.do(Put("k", b"v", 0))
    await member.tells("put", "k", 2)


async def test_what_others_send_to_the_place_of_entries_ends_no_link(
    broker: Broker, join: Join
) -> None:
    first = join(broker.url, "a")
    await first.complete()
    link = first.bus._link
    assert link is not None
    # That one replies to `$JS.ACK` is what the broker itself lets nobody say.
    await link._client.publish(f"{link._inbox}.pull.7", b"forged", "a.b.c.d.1.23.4.5.6")
    first.do(Put("k", b"one", 0))
    await first.tells("entry", "k", b"one", 1)
    assert first.told.count(("link", True)) == 1
    assert first.bus.status().counters["dropped_in"] == 1
    assert not any(b"forged" in told for told in first.told)


async def test_a_full_server_that_ends_takes_all_it_has_put_away(
    broker: Broker, join: Join
) -> None:
    first, second = join(broker.url, "a", max_nodes=6000), join(broker.url, "b", max_nodes=6000)
    await first.complete()
    await second.complete()
    for start in range(0, 5000, 1000):
        for number in range(start, start + 1000):
            first.do(Put(f"k{number}", b"v", 0))
        await until(lambda start=start: len(second.heard.entries) == start + 1000)
    revisions = {key: revision for key, (_, revision) in second.heard.entries.items()}
    assert len(revisions) > MAX_PUTS
    for key, revision in revisions.items():
        first.do(Delete(key, revision))
    await first.bus.drain()
    await first.close()
    await until(lambda: not second.heard.entries, "an empty table")
    assert not [told for told in first.told if told[0] == "refused"]


async def test_entries_that_somebody_else_takes_away_come_all_the_same(
    broker: Broker, join: Join
) -> None:
    """Whoever may ask a consumer can ask that of another server, if it knows its name."""
    first, thief = join(broker.url, "a"), join(broker.url, "b")
    await first.complete()
    await thief.complete()
    link, other = first.bus._link, thief.bus._link
    assert link is not None
    assert other is not None
    await other._client.subscribe("p2ptui.somewhere.else")
    for number in range(12):
        request = f"$JS.API.CONSUMER.MSG.NEXT.{link._watch._consumer}"
        await other._client.publish(request, b"1", "p2ptui.somewhere.else")
        await other._client.flush()
        thief.do(Put(f"k{number}", b"v", 0))
        await asyncio.sleep(0.1)
    thief.do(Put("last", b"v", 0))
    await first.tells("entry", "last", b"v", 13)
    for number in range(12):
        await first.tells("entry", f"k{number}", b"v", number + 1)
    assert first.told.count(("link", True)) == 1
    entries = [told for told in first.told if told[0] == "entry"]
    assert len(entries) == len(set(entries))


async def test_each_server_is_answered_at_subjects_of_its_own(broker: Broker, join: Join) -> None:
    first = join(broker.url, "a")
    await first.complete()
    link = first.bus._link
    assert link is not None
    assert link._inbox.startswith("_INBOX.a.")
