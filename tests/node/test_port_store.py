"""What was learnt of NATs, in a file that may be missing, damaged or forbidden."""

import json
import os
from pathlib import Path

import pytest

from p2ptui.nat.port_memory import Learnt
from p2ptui.node.port_store import MAX_FILE_BYTES, PortStore

NOW = 1_795_000_000.0
NETWORK = "198.51.100.1"


def learnt() -> Learnt:
    return Learnt(at=NOW, samples=8, weights={"sequential": 0.9})


def test_what_was_learnt_is_there_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ports.json"
    PortStore(path).remember(NETWORK, learnt())

    found = PortStore(path).recall(NETWORK, NOW + 60)

    assert found is not None
    assert found.samples == 8
    assert set(found.weights) == {"sequential"}
    assert [file.name for file in path.parent.iterdir()] == ["ports.json"], "nothing half written"


def test_an_unknown_network(tmp_path: Path) -> None:
    assert PortStore(tmp_path / "ports.json").recall(NETWORK, NOW) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'"text"',
        b'{"networks": 7}',
        b'{"networks": {"198.51.100.1": 7}}',
        b'{"networks": {"198.51.100.1": {"at": "x", "samples": []}}}',
        b'{"networks": {"198.51.100.1": {"at": NaN, "samples": 1e400, "weights": {"a": -1}}}}',
        b"[" * 100_000,
        b" " * (MAX_FILE_BYTES + 10) + b"{}",
    ],
    ids=range(12),
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ports.json"
    path.write_bytes(content)
    store = PortStore(path)

    store.recall(NETWORK, NOW)
    store.remember(NETWORK, learnt())

    assert PortStore(path).recall(NETWORK, NOW) is not None
    json.loads(path.read_text("utf-8"))


def test_a_file_that_cannot_be_written_costs_only_the_memory(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no directory")
    store = PortStore(in_the_way / "ports.json")

    store.remember(NETWORK, learnt())

    assert store.recall(NETWORK, NOW) is not None, "it is known until the end of the run"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_directory_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        PortStore(tmp_path / "ports.json").remember(NETWORK, learnt())
    finally:
        tmp_path.chmod(0o700)


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.mkdir()
    store = PortStore(path)

    assert store.recall(NETWORK, NOW) is None
    store.remember(NETWORK, learnt())
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_the_file_is_where_the_platform_keeps_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_state_dir", lambda *_, **__: str(tmp_path))
    PortStore().remember(NETWORK, learnt())

    assert (tmp_path / "ports.json").exists()
