"""Every case of the corpus, and every finding of the past, once more; no fuzzer is needed."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from tests.fuzz import fuzz_endpoint
from tests.fuzz.__main__ import FOLDER, HARNESSES
from tests.fuzz.states import scripts

MAX_CORPUS_BYTES = 300_000


def cases(kind: str) -> list[Path]:
    return sorted(path for path in (FOLDER / kind).glob("*/*") if path.is_file())


def harness(path: Path) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.fuzz_{path.parent.name}")


@pytest.mark.parametrize("name", HARNESSES)
def test_a_harness_takes_its_corpus(name: str) -> None:
    paths = [path for path in cases("corpus") if path.parent.name == name]
    assert len(paths) > 20
    for path in paths:
        harness(path).test_one(path.read_bytes())


@pytest.mark.parametrize("path", cases("findings"), ids=lambda path: path.name)
def test_what_was_found_once_is_mended(path: Path) -> None:
    harness(path).test_one(path.read_bytes())


@pytest.mark.parametrize("name", HARNESSES)
@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 100, bytes(range(256))])
def test_any_bytes_are_a_case(name: str, data: bytes) -> None:
    importlib.import_module(f"tests.fuzz.fuzz_{name}").test_one(data)


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in cases("corpus")) < MAX_CORPUS_BYTES


# The states that the endpoint is in.


@pytest.mark.parametrize("number", range(3))
def test_what_is_replayed_comes_to_the_same_state(number: int) -> None:
    script = scripts()[number]
    one, other = script.replay(), script.replay()

    assert one.sizes() == other.sizes()
    assert one.next_timeout() == other.next_timeout()
    assert one.counters.datagrams_out == other.counters.datagrams_out
    assert {peer.address for peer in one.peers} == {address for address, _ in script.peers}


def test_the_states_have_what_others_want_to_disturb() -> None:
    server, searching, direct = (script.replay().sizes() for script in scripts())

    assert server["relays"]
    assert server["relay_clients"] == 2
    assert server["peers"] == 4
    assert searching["traversals"]
    assert searching["checks_sent"]
    assert searching["relayed_sessions"]
    assert searching["introductions"]
    assert direct["aliases"]
    assert direct["reassembly_bytes"]
    assert direct["routed_waiting"]


# What is broken is noticed.


def test_an_endpoint_that_raises_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = [path for path in cases("corpus") if path.read_bytes()[:5] == b"\0\1\1\x3c\0"]
    monkeypatch.setattr("p2ptui.core.mesh.discovery.Discovery.handle_list_nodes", None)
    with pytest.raises(TypeError):
        fuzz_endpoint.test_one(case.read_bytes())


def test_an_endpoint_that_keeps_its_timers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptui.core.sessions.lifecycle.Lifecycle.remove", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="at the end"):
        fuzz_endpoint.test_one(b"\0\2")
