"""How long a way may be idle, remembered for each network in a file that may be damaged."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from p2ptui.nat.mapping_life import USUAL_S
from p2ptui.node.idle_store import EXPIRY_S, MAX_KEPT_NETWORKS, IdleStore
from tests.simulated_nat import KINDS, Nat, Nats
from tests.town import Town
from tests.virtual_loop import run_virtual

NOW = 1_795_000_000.0
NETWORK = "198.51.100.1"


def store(path: Path, now: float = NOW) -> IdleStore:
    return IdleStore(lambda: now, path)


def test_what_was_learnt_is_there_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keepalive.json"
    store(path).remember(NETWORK, 7.5)
    assert store(path).recall(NETWORK) == 7.5
    assert store(path).recall("198.51.100.2") is None
    assert store(path, NOW + EXPIRY_S + 1).recall(NETWORK) is None
    # Nor is what a clock that was far ahead has dated kept for as long.
    assert store(path, NOW - EXPIRY_S - 1).recall(NETWORK) is None
    assert store(path, NOW - 60).recall(NETWORK) is not None
    assert [file.name for file in path.parent.iterdir()] == ["keepalive.json"]


def test_what_is_usual_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "keepalive.json"
    store(path).remember(NETWORK, USUAL_S)
    assert not path.exists()
    store(path).remember(NETWORK, 7.5)
    store(path).remember(NETWORK, USUAL_S)
    assert store(path).recall(NETWORK) == USUAL_S


def test_the_oldest_networks_make_room(tmp_path: Path) -> None:
    path = tmp_path / "keepalive.json"
    one = store(path)
    for number in range(MAX_KEPT_NETWORKS + 1):
        one.remember(f"192.0.2.{number}", 5.0)
    assert one.recall("192.0.2.0") is None
    assert len(json.loads(path.read_text())) == MAX_KEPT_NETWORKS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"198.51.100.1": 5}',
        b'{"198.51.100.1": {"idle_s": true, "at": 1795000000}}',
        b'{"198.51.100.1": {"idle_s": NaN, "at": 1795000000}}',
        b'{"198.51.100.1": {"idle_s": "5", "at": 1795000000}}',
        b'{"198.51.100.1": {"idle_s": 5}}',
    ],
    ids=range(9),
)
def test_a_damaged_file_is_no_knowledge(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keepalive.json"
    path.write_bytes(content)
    one = store(path)
    assert one.recall(NETWORK) is None
    one.remember(NETWORK, 5.0)
    assert store(path).recall(NETWORK) == 5.0


def test_a_node_that_comes_back_to_a_network_knows_its_nat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # what other tests learnt is elsewhere

    async def story() -> None:
        intervals = []
        for _ in range(2):
            async with Town(seed=1) as town:  # one in which no heartbeat disturbs the first trial
                nat = Nat(
                    NETWORK,
                    {"192.168.1.2"},
                    replace(KINDS["port-restricted-cone"], lifetime_s=10),
                )
                town.network.translate = Nats(nat).translate
                server = await town.start("server", ("198.51.100.9", 8080))
                node = await town.start("node", ("192.168.1.2", 5000))
                await node.connect(server.address)
                await asyncio.sleep(1)
                before = node._endpoint._state.longest_idle_s
                await asyncio.sleep(200)
                intervals.append((before, node._endpoint._state.longest_idle_s))
        assert intervals == [(15.0, 7.5), (7.5, 7.5)]

    run_virtual(story())
