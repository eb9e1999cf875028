"""Writes grafana-dashboard.json: `python docs/deploy/dashboard.py`, at the top of the repository.

The panels are described here; their places, ids and the other fields of Grafana are computed.
"""

import json
from pathlib import Path

TARGET = Path(__file__).with_name("grafana-dashboard.json")

BY_NODE = '{job=~"$job", instance=~"$instance"}'
RATE = "[$__rate_interval]"


def rate(metric: str, by: str = "instance", where: str = "") -> str:
    """The rate of a counter, summed up by a label."""
    chosen = BY_NODE[:-1] + (f", {where}" if where else "") + "}"
    return f"sum by ({by}) (rate({metric}{chosen}{RATE}))"


def now(metric: str, by: str = "instance") -> str:
    """A gauge, summed up by a label."""
    return f"sum by ({by}) ({metric}{BY_NODE})"


TRIED = 'result!="given_up"'

# A row: its title, and panels: title, unit, queries with their legend.
ROWS = [
    (
        "Health",
        [
            ("Up", "short", [(f"up{BY_NODE}", "{{instance}}")]),
            (
                "Peers",
                "short",
                [(now("p2ptui_peers", "instance, status"), "{{instance}} {{status}}")],
            ),
            (
                "Configured servers joined",
                "short",
                [
                    (now("p2ptui_configured_servers_joined"), "{{instance}} joined"),
                    (now("p2ptui_servers_configured"), "{{instance}} configured"),
                ],
            ),
        ],
    ),
    (
        "Connections",
        [
            (
                "Connection attempts that succeed",
                "percentunit",
                [
                    (
                        rate("p2ptui_connections_total", where='result=~"succeeded|elsewhere"')
                        + " / "
                        + rate("p2ptui_connections_total", where=TRIED),
                        "{{instance}}",
                    )
                ],
            ),
            (
                "Connection attempts, by result",
                "ops",
                [(rate("p2ptui_connections_total", "result"), "{{result}}")],
            ),
            (
                "Handshakes refused, by reason",
                "ops",
                [
                    (rate("p2ptui_handshakes_refused_total", "reason"), "{{reason}}"),
                    (rate("p2ptui_handshakes_accepted_total"), "{{instance}} accepted"),
                ],
            ),
        ],
    ),
    (
        "Paths",
        [
            ("Peers, by path", "short", [(now("p2ptui_peer_paths", "path"), "{{path}}")]),
            (
                "Hole punching: paths found for each round",
                "percentunit",
                [
                    (
                        rate("p2ptui_paths_found_total", "method")
                        + " / "
                        + rate("p2ptui_path_rounds_total", "method"),
                        "{{method}}",
                    )
                ],
            ),
            (
                "Port predictions that are right about our own samples",
                "percentunit",
                [
                    (
                        rate("p2ptui_port_predictions_total", where='outcome="right"')
                        + " / "
                        + rate("p2ptui_port_predictions_total"),
                        "{{instance}}",
                    )
                ],
            ),
            ("Direct paths lost", "ops", [(rate("p2ptui_paths_lost_total"), "{{instance}}")]),
            (
                "Round trip of Pings",
                "s",
                [
                    (
                        f"histogram_quantile({share}, "
                        + rate("p2ptui_ping_round_trip_seconds_bucket", "le")
                        + ")",
                        name,
                    )
                    for share, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
                ],
            ),
        ],
    ),
    (
        "Traffic",
        [
            (
                "Bytes",
                "Bps",
                [
                    (rate("p2ptui_received_bytes_total"), "{{instance}} received"),
                    (rate("p2ptui_sent_bytes_total"), "{{instance}} sent"),
                ],
            ),
            (
                "Datagrams",
                "pps",
                [
                    (rate("p2ptui_received_datagrams_total"), "{{instance}} received"),
                    (rate("p2ptui_sent_datagrams_total"), "{{instance}} sent"),
                    (rate("p2ptui_retransmitted_datagrams_total"), "{{instance}} sent again"),
                ],
            ),
            (
                "Work for others",
                "ops",
                [
                    (rate("p2ptui_relayed_datagrams_total"), "{{instance}} relayed"),
                    (rate("p2ptui_forwarded_messages_total"), "{{instance}} forwarded"),
                    (rate("p2ptui_stun_responses_total"), "{{instance}} STUN"),
                ],
            ),
            ("Dropped, by cause", "ops", [(rate("p2ptui_dropped_total", "cause"), "{{cause}}")]),
            (
                "Dropped at the socket",
                "pps",
                [
                    (
                        rate("p2ptui_socket_dropped_datagrams_total", "instance, direction"),
                        "{{instance}} {{direction}}",
                    ),
                    (rate("p2ptui_socket_send_errors_total", "error"), "{{error}}"),
                ],
            ),
        ],
    ),
    (
        "Cluster",
        [
            ("Link to the broker", "short", [(now("p2ptui_cluster_link_up"), "{{instance}}")]),
            (
                "Other servers, and nodes",
                "short",
                [
                    (now("p2ptui_cluster_servers"), "{{instance}} servers"),
                    (
                        now("p2ptui_cluster_nodes", "instance, place"),
                        "{{instance}} nodes {{place}}",
                    ),
                ],
            ),
            (
                "Handovers, by result",
                "ops",
                [(rate("p2ptui_cluster_handovers_total", "result"), "{{result}}")],
            ),
        ],
    ),
    (
        "The process",
        [
            ("CPU", "percentunit", [(rate("process_cpu_seconds_total"), "{{instance}}")]),
            ("Memory", "bytes", [(now("process_resident_memory_bytes"), "{{instance}}")]),
            (
                "Entries in tables",
                "short",
                [(now("p2ptui_table_entries", "table"), "{{table}}")],
            ),
        ],
    ),
]


def variable(name: str, query: str) -> dict:
    """A choice at the top of the dashboard."""
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def target(ref: str, expr: str, legend: str) -> dict:
    """One query of a panel."""
    return {"refId": ref, "datasource": SOURCE, "expr": expr, "legendFormat": legend}


SOURCE = {"type": "prometheus", "uid": "${source}"}


def panels() -> list[dict]:
    """All panels, three in a row of 24 columns."""
    made: list[dict] = []
    y = 0
    for title, row in ROWS:
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
            }
        )
        y += 1
        for number, (name, unit, queries) in enumerate(row):
            made.append(
                {
                    "id": len(made) + 1,
                    "type": "timeseries",
                    "title": name,
                    "datasource": SOURCE,
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                    "gridPos": {"x": number % 3 * 8, "y": y + number // 3 * 8, "w": 8, "h": 8},
                    "targets": [
                        {
                            "refId": chr(65 + n),
                            "datasource": SOURCE,
                            "expr": expr,
                            "legendFormat": legend,
                        }
                        for n, (expr, legend) in enumerate(queries)
                    ],
                }
            )
        y += -(-len(row) // 3) * 8
    return made


def dashboard() -> dict:
    """The whole dashboard, as Grafana imports it."""
    return {
        "title": "p2ptui",
        "uid": "p2ptui",
        "tags": ["p2ptui"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus"},
                variable("job", "label_values(p2ptui_build_info, job)"),
                variable("instance", 'label_values(p2ptui_build_info{job=~"$job"}, instance)'),
            ]
        },
        "panels": panels(),
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
