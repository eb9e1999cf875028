"""The figures of the simulated cluster as tables and plots.

    python -m tests.cluster_plots

draws the plots of docs/cluster.md again from the figures that are stored beside them, and prints
the tables; `python -m tests.cluster_simulation --plots` makes these figures.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import leather

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
DATA = FOLDER / "cluster.json"

SIZES = (
    *((200, 5), (1_000, 5), (3_000, 5), (10_000, 5)),
    *((3_000, 2), (3_000, 3), (3_000, 8)),
)
"""Nodes and servers of all that is shown."""

SERVERS, NODES = 5, 3_000
"""Of the plots by nodes, the servers; of those by servers, the nodes."""

WIDTH, HEIGHT = 720, 340
DIGITS = 6

Row = dict[str, Any]

TIMES = {
    "storm_s": "10 s of joins",
    "churn_settled_s": "churn",
    "killed_s": "a server's death",
    "apart_s": "a partition",
    "lost_s": "a lost bucket",
}
COSTS = {
    "messages": "messages",
    "bytes": "bytes",
    "churn_messages": "messages under churn",
    "churn_bytes": "bytes under churn",
}


class Plot(NamedTuple):
    """One picture."""

    title: str
    by: str
    lines: dict[str, str]
    """Names of figures, and what they are called."""
    scale: float = 1.0


PLOTS = {
    "cluster-known": Plot("Seconds until all servers know all nodes, after", "nodes", TIMES),
    "cluster-messages": Plot(
        "Messages of a node a minute, 5 servers",
        "nodes",
        {"messages": "quiet", "churn_messages": "1 % a second come and go"},
    ),
    "cluster-bytes": Plot(
        "kB of a node a minute, 5 servers",
        "nodes",
        {"bytes": "quiet", "churn_bytes": "1 % a second come and go"},
        1e-3,
    ),
    "cluster-servers": Plot(
        "kB of a node a minute, 3,000 nodes",
        "servers",
        {"bytes": "quiet", "churn_bytes": "1 % a second come and go"},
        1e-3,
    ),
}
COLORS = ("#377eb8", "#e41a1c", "#4daf4a", "#984ea3", "#ff7f00")


def store(rows: Iterable[Row], clients: Row) -> None:
    """Keep the figures; how long they took is of no interest."""
    kept = [{name: value for name, value in row.items() if name != "took_s"} for row in rows]
    data = {"servers": [_rounded(row) for row in kept], "clients": _rounded(clients)}
    FOLDER.mkdir(exist_ok=True)
    DATA.write_text(json.dumps(data, indent=1) + "\n", "utf-8")


def _rounded(row: Row) -> Row:
    return {name: round(value, DIGITS) for name, value in row.items()}


def stored() -> tuple[list[Row], Row]:
    """What servers tell each other, by size, and what nodes and servers say."""
    data = json.loads(DATA.read_text("utf-8"))
    return data["servers"], data["clients"]


def draw(folder: Path = FOLDER) -> None:
    """Draw the stored figures."""
    rows, _ = stored()
    for name, plot in PLOTS.items():
        fixed, value = ("servers", SERVERS) if plot.by == "nodes" else ("nodes", NODES)
        shown = sorted((row for row in rows if row[fixed] == value), key=lambda row: row[plot.by])
        (folder / f"{name}.svg").write_text(_drawn(plot, shown), "utf-8", newline="\n")


def _drawn(plot: Plot, rows: Sequence[Row]) -> str:
    chart = leather.Chart(plot.title)
    top = 0.0
    for (figure, name), color in zip(plot.lines.items(), COLORS, strict=False):
        points = [(row[plot.by], row[figure] * plot.scale) for row in rows]
        top = max(top, *(value for _, value in points))
        chart.add_line(points, stroke_color=color, name=name)
    values = [row[plot.by] for row in rows]
    chart.add_x_scale(0, max(values))
    chart.add_y_scale(0, top * 1.1)
    chart.add_x_axis(values, tick_formatter=lambda value, *_: f"{value:,}", name=plot.by)
    chart.add_y_axis()
    return str(chart.to_svg(width=WIDTH, height=HEIGHT)) + "\n"


def tables(rows: Sequence[Row]) -> list[str]:
    """When all is known, and what it costs, as tables of Markdown."""
    known = {f"after {name}, s": figure for figure, name in TIMES.items()}
    cost = {f"{name}": figure for figure, name in COSTS.items()}
    return [
        _table(rows, {**known, "not known under churn, %": "churn_missing"}),
        _table(rows, {"puts": "puts", **cost}),
    ]


def _table(rows: Sequence[Row], columns: dict[str, str]) -> str:
    heads = {"nodes": "nodes", "servers": "servers", **columns}
    lines = [[_text(figure, row[figure]) for figure in heads.values()] for row in rows]
    lines = [list(heads), ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(figure: str, value: float) -> str:
    if figure in ("nodes", "servers") or "bytes" in figure:
        return f"{value:,.0f}"
    return f"{100 * value:.2f}" if figure == "churn_missing" else f"{value:.2f}"


if __name__ == "__main__":
    draw()
    sys.stdout.write("\n\n".join(tables(stored()[0])) + "\n")
