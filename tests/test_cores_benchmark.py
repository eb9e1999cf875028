"""The benchmarks of several nodes on one machine count what they say; not how fast it is."""

import sys

import pytest

from tests.bench import cores, workers

WHY_NOT = cores.reason_to_skip()
TINY_S = 0.02


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be measured")
def test_one_node_two_nodes_and_a_cluster_are_loaded() -> None:
    wanted = {"ping", "cluster"}.__contains__
    rows = cores.measure(1, cores.On(alone=False), wanted, TINY_S)
    assert [len(row.nodes) for row in rows] == [1, 2, 2, 2, 2]
    for row in rows:
        assert len(row.aimed) == len(row.nodes)
        for figures in (row.rates, row.node_us, row.load_us):
            assert len(figures) == 1
            assert figures[0] > 0
        assert row.lost == 0


def test_a_frame_that_crosses_costs_both_workers() -> None:
    pair = workers.Pair(secured=False)
    here, there = pair.relay(crosses=False)
    assert (here > 0, there) == (True, 0.0)
    assert min(pair.relay(crosses=True)) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux chooses")
def test_who_is_back_takes_the_clients_of_the_other() -> None:
    with workers.Shared(2) as shared:
        before = shared.whose()
        assert shared.whose() == before
        shared.kill()
        assert set(shared.whose()) == {1}
        shared.start()
        assert all(one != other for one, other in zip(before, shared.whose(), strict=True))
