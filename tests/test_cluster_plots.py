"""A cluster holds what is promised of it, and docs/cluster.md shows what was simulated."""

from pathlib import Path

import pytest

from tests import cluster_clients, cluster_plots
from tests.cluster_simulation import Figures, figures_of

DOCS = cluster_plots.FOLDER.parent / "cluster.md"
SMALLEST = cluster_plots.SIZES[0]


def row_of(nodes: int, servers: int) -> cluster_plots.Row:
    rows, _ = cluster_plots.stored()
    return next(row for row in rows if (row["nodes"], row["servers"]) == (nodes, servers))


def require_promises(figures: Figures) -> None:
    assert figures.storm_s <= 60
    assert figures.churn_missing <= 0.01
    for again in (figures.churn_settled_s, figures.apart_s, figures.lost_s):
        assert again <= 5
    assert figures.killed_s <= 6  # nodes are at another server after 5 s
    assert figures.puts == pytest.approx(2, abs=0.1)
    assert figures.told == pytest.approx(2 * figures.servers, rel=0.05)


def test_a_small_cluster_holds_what_is_promised_and_costs_what_is_stored() -> None:
    figures = figures_of(SMALLEST)

    require_promises(figures)
    stored = row_of(*SMALLEST)
    for name in cluster_plots.COSTS:
        assert getattr(figures, name) == pytest.approx(stored[name], rel=0.05), (
            f"{name} has changed: python -m tests.cluster_simulation --plots"
        )


def test_all_sizes_are_stored_and_hold_what_is_promised() -> None:
    rows, _ = cluster_plots.stored()
    assert [(row["nodes"], row["servers"]) for row in rows] == list(cluster_plots.SIZES)
    for row in rows:
        require_promises(Figures(**row))


def test_a_node_costs_no_more_where_there_are_more() -> None:
    few, many = row_of(1_000, 5), row_of(10_000, 5)
    for name in cluster_plots.COSTS:
        assert many[name] <= 1.02 * few[name]


def test_what_a_node_says_is_as_stored() -> None:
    figures = cluster_clients.measure(3)
    _, stored = cluster_plots.stored()
    assert figures.quiet_bytes == pytest.approx(stored["quiet_bytes"], rel=0.1)
    assert figures.news_bytes == pytest.approx(stored["news_bytes"], rel=0.5)


def test_the_stored_plots_are_those_of_the_stored_figures(tmp_path: Path) -> None:
    cluster_plots.draw(tmp_path)
    names = {f"{name}.svg" for name in cluster_plots.PLOTS}
    assert {path.name for path in cluster_plots.FOLDER.glob("*.svg")} == names
    for name in names:
        same = (tmp_path / name).read_bytes() == (cluster_plots.FOLDER / name).read_bytes()
        assert same, f"{name} is stale: python -m tests.cluster_plots"


def test_the_docs_show_the_stored_figures_and_all_plots() -> None:
    text = DOCS.read_text("utf-8")
    for table in cluster_plots.tables(cluster_plots.stored()[0]):
        assert table in text, "print it with: python -m tests.cluster_plots"
    for name in cluster_plots.PLOTS:
        assert f"](pictures/{name}.svg)" in text
