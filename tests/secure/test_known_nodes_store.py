"""The file of known nodes: shared by nodes and commands, never lost without a word."""

import asyncio
import errno
import json
import os
import sys
import threading

import pytest

from p2ptui.errors import UnknownPeerError
from p2ptui.node.known_nodes_book import LOOK_S, WRITE_PAUSE_S, KnownNodesBook
from p2ptui.node.known_nodes_store import KnownNodesStore, NotWrittenError
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import Judgement, Met, Trust
from tests.virtual_loop import run_virtual

NOW = 1_795_000_000.0


def keys(number: int) -> PublicKeys:
    return PublicKeys(number.to_bytes(32, "big"), bytes(32))


def met(number: int, name: str, joined: str | None = None) -> Met:
    return Met(keys(number).id, keys(number), name, joined)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Running:
    """The known nodes of a node that runs, as it uses them."""

    def __init__(self, path=None):
        self.book = KnownNodesBook(Clock(), KnownNodesStore(Clock(), path))
        self.judge = self.book.judge

    def meet(self, met: Met) -> Judgement:
        judgement = self.judge(met)
        self.book.note(met)
        return judgement

    def flush(self) -> None:
        asyncio.run(self.book.close())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "known_nodes.json"


@pytest.fixture
def told(caplog):
    """What the user was told about the file, a line each."""
    return lambda: list(caplog.messages)


def test_who_was_met_is_known_in_the_next_run(path, told):
    node = Running(path)
    assert node.meet(met(1, "alice", "h:1")).trust is Trust.NEW
    assert node.meet(met(1, "alice", "h:1")).trust is Trust.KNOWN
    node.flush()
    again = Running(path)
    assert again.judge(met(1, "alice", "h:1")).trust is Trust.KNOWN
    assert again.judge(met(2, "alice")).trust is Trust.CHANGED
    assert told() == []
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0


def test_it_is_not_written_for_each_node(path):
    async def story() -> None:
        node = Running(path)
        keeping = asyncio.ensure_future(node.book.keep(pytest.fail))
        node.meet(met(1, "n1"))
        await asyncio.sleep(1.5 * LOOK_S)
        first = path.read_bytes()
        for number in range(2, 51):
            node.meet(met(number, f"n{number}"))
        await asyncio.sleep(WRITE_PAUSE_S - 2 * LOOK_S)
        assert path.read_bytes() == first
        await asyncio.sleep(2 * LOOK_S)
        assert len(KnownNodesStore(Clock(), path).known) == 50
        keeping.cancel()

    run_virtual(story())


def test_what_a_shell_says_reaches_the_node_that_runs(path):
    async def story() -> None:
        node, shell = Running(path), KnownNodesStore(Clock(), path)
        judge, seen = node.judge, asyncio.Event()

        async def note_change() -> None:
            seen.set()

        keeping = asyncio.ensure_future(node.book.keep(note_change))
        node.meet(met(1, "alice"))
        await asyncio.sleep(1.5 * LOOK_S)
        node.meet(met(2, "bob"))  # not written yet
        shell.trust("alice")
        await asyncio.sleep(LOOK_S)
        assert seen.is_set()
        assert judge(met(1, "alice")).trust is Trust.VERIFIED
        assert judge(met(2, "bob")).trust is Trust.KNOWN
        await node.book.close()
        assert shell.known.judge(met(2, "bob")).trust is Trust.KNOWN
        assert shell.known.judge(met(1, "alice")).trust is Trust.VERIFIED
        shell.forget("alice")
        await asyncio.sleep(LOOK_S)
        assert judge(met(1, "alice")).trust is Trust.NEW
        with pytest.raises(UnknownPeerError):
            await node.book.forget("alice")
        keeping.cancel()

    run_virtual(story())


def test_nothing_is_lost_between_several_that_write(path):
    def work(first: int) -> None:
        store = KnownNodesStore(Clock(), path)
        for number in range(first, first + 20):
            store.note_all([met(number, f"n{number}")])

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(KnownNodesStore(Clock(), path).known) == 100


DAMAGED = [b"", b"{", b"[" * 100_000, b"[]", b"null", b'{"form": 2}', b"\xff\xfe", b'{"form": 1}']


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_kept_beside_and_nobody_is_simply_new(path, content, told):
    path.parent.mkdir()
    path.write_bytes(content)
    node = Running(path)
    (line,) = told()
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    beside = path.with_name("known_nodes.damaged-1.json")
    assert beside.name in line
    assert beside.read_bytes() == content
    assert "may have been met before" in node.meet(met(1, "alice")).advice
    node.flush()
    # Also in the next run, and until the user has looked at it.
    again = Running(path)
    assert told() == [line]
    assert again.judge(met(1, "alice")).trust is Trust.KNOWN
    assert "may have been met before" in again.judge(met(2, "bob")).advice
    beside.unlink()
    assert Running(path).judge(met(2, "bob")).advice == ""


def test_a_second_damaged_file_is_kept_beside_the_first(path):
    path.parent.mkdir()
    for number in (1, 2):
        path.write_text(f"damaged {number}")
        assert not list(KnownNodesStore(Clock(), path).known)
    kept = sorted(file.read_text() for file in path.parent.glob("*damaged*"))
    assert kept == ["damaged 1", "damaged 2"]


def test_a_file_that_disappears_while_a_node_runs_is_told_once(path, told):
    node = Running(path)
    assert told() == [], "there was none yet"
    node.meet(met(1, "alice"))
    node.flush()
    away = path.rename(path.with_suffix(".away"))
    store = node.book._store
    assert store is not None
    for _ in range(3):
        assert not list(store.known)
    assert told() == [f"{path}: is gone: nodes that were known count as new until it is back"]
    away.rename(path)
    assert [known.name for known in store.known] == ["alice"]
    assert len(told()) == 1


def test_one_damaged_entry_is_told_and_kept(path, told):
    store = KnownNodesStore(Clock(), path)
    store.trust("", met(1, "alice"))
    content = json.loads(path.read_text())
    content["nodes"][0]["id"] = keys(2).id  # the keys do not make this id
    path.write_text(json.dumps(content))
    again = Running(path)
    assert len(told()) == 1
    assert again.judge(met(1, "alice")).advice


def test_a_file_that_cannot_be_read_is_left_alone(path, told):
    path.mkdir(parents=True)
    node = Running(path)
    (line,) = told()
    assert "cannot be read" in line
    assert "may have been met before" in node.meet(met(1, "alice")).advice
    node.flush()
    assert told() == [line]
    assert path.is_dir()
    assert list(path.parent.iterdir()) == [path]
    assert node.judge(met(1, "alice")).trust is Trust.KNOWN


def test_without_a_home_nodes_are_known_until_the_end(monkeypatch):
    monkeypatch.setattr("platformdirs.user_state_dir", lambda *_, **__: "~/state")
    node = Running()
    node.meet(met(1, "alice"))
    node.flush()
    assert node.judge(met(1, "alice")).trust is Trust.KNOWN
    assert asyncio.run(node.book.trust("alice")).verified
    assert node.judge(met(1, "alice")).trust is Trust.VERIFIED


# A file that cannot be read or written, and a while later can.


class FullDisk:
    """Takes no file of known nodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = True
        really = os.open

        def take(where, *arguments, **options):
            if self.is_full and str(where).endswith(".new"):
                raise OSError(errno.ENOSPC, "No space left on device")
            return really(where, *arguments, **options)

        monkeypatch.setattr(os, "open", take)


@pytest.fixture
def disk(path, monkeypatch):
    store = KnownNodesStore(Clock(), path)
    store.note_all([met(1, "alice")])
    store.trust("alice")
    store.note_all([met(2, "bob")])
    return FullDisk(monkeypatch)


@pytest.mark.parametrize("who", ["shell", "node"])
def test_what_the_user_says_is_not_done_where_it_is_not_written(path, disk, told, who):
    node, store = Running(path), KnownNodesStore(Clock(), path)

    def say(verb: str, ref: str) -> object:
        if who == "node":
            return asyncio.run(getattr(node.book, verb)(ref))
        return getattr(store, verb)(ref)

    for verb, ref in (("trust", "bob"), ("forget", "alice")):
        with pytest.raises(NotWrittenError) as refused:
            say(verb, ref)
        assert str(refused.value) == (
            f"{path}: cannot be written: No space left on device: nothing is changed;"
            " mend that, and try again"
        )
    assert told() == []  # who has asked is told, and nobody else
    for known in (node.book.known, store.known, KnownNodesStore(Clock(), path).known):
        assert (known.find("alice").verified, known.find("bob").verified) == (True, False)
    assert not list(path.parent.glob("*.new"))
    disk.is_full = False
    assert say("trust", "bob").verified
    assert KnownNodesStore(Clock(), path).known.find("bob").verified


def test_whom_a_node_met_is_written_as_soon_as_it_can_be(path, disk, told):
    async def story() -> None:
        node = Running(path)
        keeping = asyncio.ensure_future(node.book.keep(pytest.fail))
        node.meet(met(3, "carol"))
        await asyncio.sleep(10 * WRITE_PAUSE_S)
        (line,) = told()
        assert "cannot be written: No space left on device" in line
        assert node.judge(met(3, "carol")).trust is Trust.KNOWN
        disk.is_full = False
        await asyncio.sleep(WRITE_PAUSE_S + LOOK_S)
        assert {one.name for one in KnownNodesStore(Clock(), path).known} == {
            "alice",
            "bob",
            "carol",
        }
        # And when it happens again, that is said again.
        disk.is_full = True
        node.meet(met(4, "dave"))
        await node.book.close()
        assert told() == [line, line]
        keeping.cancel()

    run_virtual(story())


def test_a_file_that_can_be_read_again_is_read_and_written(path, told):
    path.mkdir(parents=True)
    node = Running(path)
    node.meet(met(1, "alice"))
    for call in ("trust", "forget"):
        with pytest.raises(NotWrittenError, match=r"cannot be read: .*: nothing is changed"):
            asyncio.run(getattr(node.book, call)("alice"))
    assert len(told()) == 1
    path.rmdir()
    assert asyncio.run(node.book.trust("alice")).verified
    assert KnownNodesStore(Clock(), path).known.find("alice").verified


def test_a_file_that_may_be_read_again_is_seen_at_once(path, monkeypatch, told):
    KnownNodesStore(Clock(), path).trust("", met(1, "alice"))
    node = Running(path)
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OSError(errno.EACCES, "Permission denied")

        patch.setattr("p2ptui.node.known_nodes_store.read_own_file", refuse)
        store = KnownNodesStore(Clock(), path)
        assert not list(store.known)
        assert not store.has_changed
        path.chmod(0o400)
        asyncio.run(node.book._write())
        assert len(told()) == 2
        assert node.judge(met(1, "alice")).trust is Trust.VERIFIED  # as it was before
    path.chmod(0o600)
    assert store.has_changed
    assert store.known.find("alice").verified


def test_a_damaged_file_that_cannot_be_moved_is_left_alone(path, monkeypatch, told):
    path.parent.mkdir()
    path.write_bytes(b"{")

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(NotWrittenError, match="is damaged: nothing is changed"):
        KnownNodesStore(Clock(), path).trust("", met(1, "alice"))
    assert path.read_bytes() == b"{"
    assert told() == []


def test_what_is_no_news_is_not_written(path, disk):
    KnownNodesStore(Clock(), path).note_all([met(1, "alice"), met(2, "bob")])
