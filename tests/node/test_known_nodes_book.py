"""The known nodes of a running node: the disk may be slow, and nobody waits for it."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from p2ptui.node import known_nodes_book
from p2ptui.node.known_nodes_book import LOOK_S, MAX_UNWRITTEN, KnownNodesBook
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import MAX_KNOWN_NODES, KnownNodes, Met, Trust


def someone(number: int, name: str = "", joined: str | None = None) -> Met:
    keys = PublicKeys(number.to_bytes(32, "big"), b"e" * 32)
    return Met(keys.id, keys, name or f"node-{number}", joined)


class SlowStore(KnownNodesStore):
    """Writes only when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(time.time, path)
        self.lets = threading.Event()
        self.writes = threading.Event()

    def _write(self, path: Path) -> None:
        self.writes.set()
        self.lets.wait(60)
        super()._write(path)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = SlowStore(tmp_path / "known.json")
    yield store
    store.lets.set()


def test_a_disk_that_takes_its_time_stops_nobody(store: SlowStore) -> None:
    async def story() -> None:
        book = KnownNodesBook(time.time, store, in_thread=True)
        book.note(someone(1))
        writing = asyncio.ensure_future(book.trust("node-1"))
        assert await asyncio.to_thread(store.writes.wait, 60)
        # The loop goes on, and so does what is known.
        book.note(someone(2))
        assert book.judge(someone(2)).trust is Trust.KNOWN
        assert not writing.done()
        store.lets.set()
        assert (await writing).verified
        assert {one.name for one in book.known} == {"node-1", "node-2"}
        assert book.judge(someone(1)).trust is Trust.VERIFIED
        await book.close()
        assert {one.name for one in store.known} == {"node-1", "node-2"}

    asyncio.run(story())


def test_a_disk_that_hangs_keeps_no_node_from_ending(
    store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_nodes_book, "CLOSE_S", 0.01)

    async def story() -> None:
        book = KnownNodesBook(time.time, store, in_thread=True)
        book.note(someone(1))
        await book.close()
        assert await asyncio.to_thread(store.writes.wait, 60)
        assert not store.lets.is_set()

    asyncio.run(story())
    threads = [one for one in threading.enumerate() if one.name == "known nodes"]
    assert threads
    assert all(one.daemon for one in threads)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_node_that_ends_waits_for_what_is_being_written(
    store: SlowStore, monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    monkeypatch.setattr(known_nodes_book, "CLOSE_S", 60.0)
    monkeypatch.setattr(known_nodes_book, "LOOK_S", LOOK_S / 100)

    async def story() -> None:
        book = KnownNodesBook(time.time, store, in_thread=True)
        book.note(someone(1))

        async def note_change() -> None:
            raise AssertionError("nobody else writes")

        keeping = asyncio.ensure_future(book.keep(note_change))
        assert await asyncio.to_thread(store.writes.wait, 60)
        book.note(someone(2))
        if is_cancelled:
            keeping.cancel()
        closing = asyncio.ensure_future(book.close())
        await asyncio.sleep(0)
        assert not closing.done()
        store.lets.set()
        await closing
        keeping.cancel()
        assert {one.name for one in store.known} == {"node-1", "node-2"}

    asyncio.run(story())


def test_what_cannot_be_done_is_told(store: SlowStore) -> None:
    store.lets.set()

    async def story() -> None:
        book = KnownNodesBook(time.time, store, in_thread=True)
        with pytest.raises(Exception, match="no known node is called 'nobody'"):
            await book.forget("nobody")

    asyncio.run(story())


def test_who_waits_to_be_written_is_bounded(tmp_path: Path) -> None:
    book = KnownNodesBook(time.time, KnownNodesStore(time.time, tmp_path / "known.json"))
    for number in range(2 * MAX_UNWRITTEN):
        book.note(someone(number))
    assert len(book._unwritten) == MAX_UNWRITTEN


def test_a_flood_of_strangers_costs_each_as_much_when_there_is_no_room() -> None:
    """In steps of the program, since a machine may be busy: all nodes are looked through once for
    many newcomers, and not once for each."""
    known = KnownNodes()
    for number in range(MAX_KNOWN_NODES):
        known.note(someone(number), float(number))
    looks = 0
    through = KnownNodes.__iter__

    def count(self: KnownNodes) -> Any:
        nonlocal looks
        looks += 1
        return through(self)

    KnownNodes.__iter__ = count  # type: ignore[method-assign]
    try:
        for number in range(1_000):
            known.note(someone(10_000 + number), 10_000.0 + number)
            known.note(someone(20_000 + number, "node-5000"), 10_000.0 + number)
    finally:
        KnownNodes.__iter__ = through  # type: ignore[method-assign]
    assert looks <= 2_000 / 100
    assert len(known) == MAX_KNOWN_NODES


def test_in_a_full_book_the_one_seen_longest_ago_goes_first() -> None:
    known = KnownNodes()
    for number in range(MAX_KNOWN_NODES):
        known.note(someone(number, joined="h:1" if number == 0 else None), float(number))
    known.trust("node-1")
    known.note(someone(2), 10_000.0)  # it was here again
    for number in range(300):
        known.note(someone(10_000 + number), 10_001.0 + number)
    gone = [number for number in range(MAX_KNOWN_NODES) if known.get(someone(number).id) is None]
    assert gone == list(range(3, 303))
    # Whoever comes under another's name goes before all of them.
    known.note(someone(20_000, "node-500"), 20_000.0)
    known.note(someone(20_001), 20_001.0)
    assert known.get(someone(20_000).id) is None
