"""The file of known nodes: shared by nodes and commands, never lost without a word."""

import json
import sys
import threading

import pytest

from p2ptui.errors import UnknownPeerError
from p2ptui.node.known_nodes_store import WRITE_PAUSE_S, KnownNodesStore
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import Met, Trust

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


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "known_nodes.json"


def test_who_was_met_is_known_in_the_next_run(path):
    store = KnownNodesStore(Clock(), path)
    assert store.meet(met(1, "alice", "h:1")).trust is Trust.NEW
    assert store.meet(met(1, "alice", "h:1")).trust is Trust.KNOWN
    store.flush()
    again = KnownNodesStore(Clock(), path)
    assert again.judge(met(1, "alice", "h:1")).trust is Trust.KNOWN
    assert again.judge(met(2, "alice")).trust is Trust.CHANGED
    assert again.notices == ()
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0


def test_it_is_not_written_for_each_node(path):
    clock = Clock()
    store = KnownNodesStore(clock, path)
    store.meet(met(1, "n1"))
    first = path.read_bytes() if path.exists() else b""
    for number in range(2, 50):
        store.meet(met(number, f"n{number}"))
    assert (path.read_bytes() if path.exists() else b"") == first
    clock.now += WRITE_PAUSE_S
    store.meet(met(50, "n50"))
    assert len(KnownNodesStore(clock, path).known) == 50


def test_what_a_shell_says_reaches_the_node_that_runs(path):
    node, shell = KnownNodesStore(Clock(), path), KnownNodesStore(Clock(), path)
    node.meet(met(1, "alice"))
    node.flush()
    node.meet(met(2, "bob"))  # not written yet
    shell.trust("alice")
    assert node.judge(met(1, "alice")).trust is Trust.VERIFIED
    assert node.judge(met(2, "bob")).trust is Trust.KNOWN
    node.flush()
    assert shell.judge(met(2, "bob")).trust is Trust.KNOWN
    assert shell.judge(met(1, "alice")).trust is Trust.VERIFIED
    shell.forget("alice")
    assert node.judge(met(1, "alice")).trust is Trust.NEW
    with pytest.raises(UnknownPeerError):
        node.forget("alice")


def test_nothing_is_lost_between_several_that_write(path):
    def work(first: int) -> None:
        store = KnownNodesStore(Clock(), path)
        for number in range(first, first + 20):
            store.meet(met(number, f"n{number}"))
            store.flush()

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(KnownNodesStore(Clock(), path).known) == 100


DAMAGED = [b"", b"{", b"[" * 100_000, b"[]", b"null", b'{"form": 2}', b"\xff\xfe", b'{"form": 1}']


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_kept_beside_and_nobody_is_simply_new(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    store = KnownNodesStore(Clock(), path)
    (line,) = store.notices
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    beside = path.with_name("known_nodes.damaged-1.json")
    assert beside.name in line
    assert beside.read_bytes() == content
    assert "may have been met before" in store.meet(met(1, "alice")).advice
    store.flush()
    # Also in the next run, and until the user has looked at it.
    again = KnownNodesStore(Clock(), path)
    assert again.notices == ()
    assert again.judge(met(1, "alice")).trust is Trust.KNOWN
    assert "may have been met before" in again.judge(met(2, "bob")).advice
    beside.unlink()
    assert KnownNodesStore(Clock(), path).judge(met(2, "bob")).advice == ""


def test_a_second_damaged_file_is_kept_beside_the_first(path):
    path.parent.mkdir()
    for number in (1, 2):
        path.write_text(f"damaged {number}")
        KnownNodesStore(Clock(), path)
    kept = sorted(file.read_text() for file in path.parent.glob("*damaged*"))
    assert kept == ["damaged 1", "damaged 2"]


def test_one_damaged_entry_is_told_and_kept(path):
    store = KnownNodesStore(Clock(), path)
    store.trust("", met(1, "alice"))
    content = json.loads(path.read_text())
    content["nodes"][0]["id"] = keys(2).id  # the keys do not make this id
    path.write_text(json.dumps(content))
    again = KnownNodesStore(Clock(), path)
    assert len(again.notices) == 1
    assert again.judge(met(1, "alice")).advice


def test_a_file_that_cannot_be_read_is_left_alone(path):
    path.mkdir(parents=True)
    store = KnownNodesStore(Clock(), path)
    (line,) = store.notices
    assert "cannot be read" in line
    assert "may have been met before" in store.meet(met(1, "alice")).advice
    store.flush()
    assert path.is_dir()
    assert list(path.parent.iterdir()) == [path]
    assert store.judge(met(1, "alice")).trust is Trust.KNOWN


def test_without_a_home_nodes_are_known_until_the_end(monkeypatch):
    monkeypatch.setattr("platformdirs.user_state_dir", lambda *_, **__: "~/state")
    store = KnownNodesStore(Clock())
    store.meet(met(1, "alice"))
    store.flush()
    assert store.judge(met(1, "alice")).trust is Trust.KNOWN
    assert store.trust("alice").verified
