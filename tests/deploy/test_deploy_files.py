"""What docs/deploy offers is true: metrics and options exist, and the tools have no complaint."""

import json
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from p2ptui.cli import _node_parser
from p2ptui.config.load import _VARIABLES, load_config
from p2ptui.io.key_files import create_key_file
from p2ptui.io.nats_link import DRAIN_S
from p2ptui.metrics.families import FAMILIES, WATCHED_DROPS
from p2ptui.node.files import FINISH_S, LAST_FILE_S
from p2ptui.node.own_identity import network_key_of
from p2ptui.node.runtime import CLOSE_FLUSH_S, GOODBYES_S
from p2ptui.secure.secret import KeyKind, Secret
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
UNIT = (DEPLOY / "p2ptui.service").read_text("utf-8")
CONTAINER = (DEPLOY / "Containerfile").read_text("utf-8")
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
ALERTS = (DEPLOY / "alerts.yml").read_text("utf-8")

QUERIES = {
    panel["title"]: [target["expr"] for target in panel["targets"]]
    for panel in DASHBOARD["panels"]
    if panel["type"] != "row"
}
EXPRESSIONS = [expr for queries in QUERIES.values() for expr in queries]
SERIES = {family.name: family for family in FAMILIES} | {
    f"{family.name}_{end}": family
    for family in FAMILIES
    if family.kind == "histogram"
    for end in ("bucket", "sum", "count")
}


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(tool), reason=f"needs {tool}")


# The dashboard and the alerts.


def test_a_node_has_time_to_end_before_it_is_killed() -> None:
    ends_s = LAST_FILE_S + FINISH_S + GOODBYES_S + CLOSE_FLUSH_S + DRAIN_S
    (unit_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    (container_s,) = re.findall(r"^# Give it at least (\d+) s to stop", CONTAINER, re.MULTILINE)
    assert ends_s < int(container_s) < int(unit_s)


def test_the_dashboard_is_as_its_script_writes_it() -> None:
    script = runpy.run_path(str(DEPLOY / "dashboard.py"))
    written = (DEPLOY / "grafana-dashboard.json").read_text("utf-8")
    assert script["text"]() == written, "run: python docs/deploy/dashboard.py"


@pytest.mark.parametrize("expr", [*EXPRESSIONS, ALERTS], ids=lambda e: e[:60])
def test_only_metrics_and_labels_that_exist_are_asked_for(expr: str) -> None:
    for name, selector in re.findall(r"\b(p2ptui_\w+)(\{[^}]*\})?", expr):
        family = SERIES[name]
        labels = {*re.findall(r"(\w+)[=!]", selector), "job", "instance"}
        assert labels <= {"job", "instance", family.label}, name
        is_rate = bool(re.search(rf"(rate|increase)\({name}\b", expr))
        assert is_rate == (family.kind != "gauge"), name


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_results_that_are_asked_for_are_told(family) -> None:
    """A value of a label in a query is one that the page explains."""
    for values in re.findall(
        rf"{family.name}\{{[^}}]*{family.label or '-'}[=!]~?\\?\"([^\"\\]+)", ALERTS
    ):
        assert all(value in family.help for value in values.split("|"))


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@needs("promtool")
def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    for ran in (
        run("promtool", "check", "rules", DEPLOY / "alerts.yml"),
        run("promtool", "check", "config", DEPLOY / "prometheus.yml"),
    ):
        assert ran.returncode == 0, ran.stdout + ran.stderr


@needs("promtool")
def test_promtool_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    def plain(expr: str) -> str:
        return (
            expr.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
        )

    rules = [
        {"record": f"panel:{number}", "expr": plain(expr)}
        for number, expr in enumerate(EXPRESSIONS)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    ran = run("promtool", "check", "rules", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs("promtool")
def test_a_killed_server_raises_the_alert_in_the_right_place(tmp_path: Path) -> None:
    """The node that is left without a server is named, and the server that is gone."""
    case = {
        "rule_files": [str(DEPLOY / "alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    {"series": 'up{job="p2ptui",instance="server"}', "values": "1x10 0x30"},
                    {"series": 'up{job="p2ptui",instance="node"}', "values": "1x40"},
                    {"series": 'p2ptui_servers_configured{instance="node"}', "values": "1x40"},
                    {"series": 'p2ptui_servers_joined{instance="node"}', "values": "1x40"},
                    {
                        "series": 'p2ptui_configured_servers_joined{instance="node"}',
                        "values": "1x10 0x30",
                    },
                ],
                "alert_rule_test": [
                    {"eval_time": "2m", "alertname": "P2ptuiDown", "exp_alerts": []},
                    {"eval_time": "2m", "alertname": "P2ptuiNoServer", "exp_alerts": []},
                ],
                "promql_expr_test": [
                    {
                        "expr": 'ALERTS{alertstate="firing"}',
                        "eval_time": "6m",
                        "exp_samples": [
                            {
                                "labels": f'ALERTS{{alertname="{name}",alertstate="firing",'
                                f'instance="{where}"{job},severity="critical"}}',
                                "value": 1,
                            }
                            for name, where, job in (
                                ("P2ptuiDown", "server", ',job="p2ptui"'),
                                ("P2ptuiNoServer", "node", ""),
                            )
                        ],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "case.yml"
    path.write_text(json.dumps(case))
    ran = run("promtool", "test", "rules", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def firing(tmp_path: Path, series: dict[str, str], *moments: str) -> dict[str, set[str]]:
    """Which alerts fire at which moments, if these series are scraped each minute."""
    test = {
        "interval": "1m",
        "input_series": [{"series": key, "values": told} for key, told in series.items()],
        "alert_rule_test": [
            {"eval_time": moment, "alertname": name, "exp_alerts": []}
            for moment in moments
            for name in re.findall(r"alert: (\w+)", ALERTS)
        ],
    }
    case = {"rule_files": [str(DEPLOY / "alerts.yml")], "tests": [test]}
    (tmp_path / "case.yml").write_text(json.dumps(case))
    # Each that fires is one that was not expected.
    ran = run("promtool", "test", "rules", tmp_path / "case.yml")
    said = re.findall(r"alertname: ?(\w+), time: ?(\w+)", ran.stdout + ran.stderr)
    assert bool(ran.returncode) == bool(said), ran.stderr
    return {
        moment: {name for name, at in said if _minutes(at) == _minutes(moment)}
        for moment in moments
    }


def _minutes(duration: str) -> int:
    """Of `75m`, or of the same as promtool writes it: `1h15m`."""
    of_each = {"h": 60, "m": 1}
    return sum(int(number) * of_each[unit] for number, unit in re.findall(r"(\d+)(\w)", duration))


@needs("promtool")
def test_a_server_that_is_gone_stays_an_alert_until_it_is_back(tmp_path: Path) -> None:
    seen = 'p2ptui_cluster_servers{job="p2ptui",instance="%s"}'
    series = {seen % "a": "2x5 1x1000 2x60", seen % "b": "2x5 1x1000 2x60"}
    # The third ends, or it lives and is not believed: either way the others miss it.
    for third in ("2x5 stale", "2x1066"):
        told = firing(tmp_path, series | {seen % "c": third}, "3m", "12m", "900m", "1020m")
        gone = {"P2ptuiClusterServerGone"}
        assert told == {"3m": set(), "12m": gone, "900m": gone, "1020m": set()}


@needs("promtool")
def test_each_thing_to_watch_has_an_alert(tmp_path: Path) -> None:
    node = 'job="p2ptui",instance="a"'
    series = {
        f'p2ptui_peers{{{node},status="authenticated"}}': "95x60",
        f"p2ptui_max_connections{{{node}}}": "100x60",
        f'p2ptui_dropped_total{{{node},cause="relay_refused"}}': "0+300x60",
        f'p2ptui_dropped_total{{{node},cause="junk"}}': "0+300x60",
        f"p2ptui_log_lost_lines_total{{{node}}}": "0x30 5x30",
    }
    assert firing(tmp_path, series, "25m", "40m") == {
        "25m": {"P2ptuiNearlyFull", "P2ptuiLimitReached"},
        "40m": {"P2ptuiNearlyFull", "P2ptuiLimitReached", "P2ptuiLogLost"},
    }


def test_the_causes_that_alerts_watch_are_told_from_the_start() -> None:
    (watched,) = re.findall(r'cause=~"([^"]+)"', ALERTS)
    assert set(watched.split("|")) <= set(WATCHED_DROPS)


# The unit.


def told(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def test_the_unit_names_arguments_and_variables_that_exist() -> None:
    (start,) = told("ExecStart")
    known = {name for action in _node_parser()._actions for name in action.option_strings}
    assert set(start.split()[1:]) <= known
    assert set(re.findall(r"(P2PTUI_\w+)=", UNIT)) <= set(_VARIABLES)
    assert told("Type") == ["notify"]
    assert told("RestartPreventExitStatus") == ["2"]


def test_the_documentation_of_the_unit_is_where_the_guide_puts_it() -> None:
    assert told("Documentation") == ["man:p2ptui(1)"]
    for page in ("deployment.md", "zh-CN/deployment.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        assert "docs/p2ptui.1 /usr/local/share/man/man1/p2ptui.1" in text


def test_nothing_installs_p2ptui_by_name_from_an_index() -> None:
    """It is on none: whoever takes the name there would be installed instead."""
    for folder in (ROOT / "docs", ROOT / "p2ptui"):
        for path in folder.rglob("*"):
            if path.suffix in {".md", ".py", ".1", ".service"}:
                assert not re.search(r"pip install '?p2ptui", path.read_text("utf-8")), path


@needs("systemd-analyze")
def test_systemd_accepts_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    unit = tmp_path / "p2ptui.service"
    (start,) = told("ExecStart")
    # What it starts has to be there.
    unit.write_text(UNIT.replace(start, shutil.which("true") or "/bin/true"))
    ran = run("systemd-analyze", "verify", "--man=no", unit)
    assert "p2ptui" not in ran.stderr, ran.stderr
    ran = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit)
    if "offline" in ran.stderr:
        pytest.skip("this systemd-analyze needs a running systemd")
    assert ran.returncode == 0, ran.stdout[-300:]


@needs("systemd-analyze")
def test_the_lines_for_a_low_port_are_of_use_and_leave_it_closed(tmp_path: Path) -> None:
    """A capability in a user namespace of its own binds no port of the machine."""
    lines = re.findall(
        r"^#((?:CapabilityBoundingSet|AmbientCapabilities|PrivateUsers)=.*)$", UNIT, re.M
    )
    changed = dict(line.split("=") for line in lines)
    assert changed["PrivateUsers"] == "no"
    assert changed["AmbientCapabilities"] == changed["CapabilityBoundingSet"] != ""
    text = UNIT
    for key, value in changed.items():
        text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert count == 1
    unit = tmp_path / "p2ptui.service"
    unit.write_text(text)
    ran = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit)
    if "offline" in ran.stderr:
        pytest.skip("this systemd-analyze needs a running systemd")
    assert ran.returncode == 0, ran.stdout[-300:]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_a_closed_network_starts_and_shuts_no_users_commands_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe of deployment.md: the key is root's, and systemd hands a copy to the service."""
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    (written,) = re.findall(r"```toml\n(\[security\]\n.*?)```", page, re.DOTALL)
    (dropped,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    (name, source) = re.findall(r"^LoadCredential=(.*):(.*)$", dropped, re.MULTILINE)[0]
    (variable, path) = re.findall(r"^Environment=(\w+)=(.*)$", dropped, re.MULTILINE)[0]
    assert f"/etc/p2ptui/network.key\n```\n\n```toml\n{written}" in page
    assert source == "/etc/p2ptui/network.key"
    assert path == f"/run/credentials/p2ptui.service/{name}"
    unit_with_key = UNIT.replace("\n#LoadCredential", "\nLoadCredential").replace(
        "\n#Environment=", "\nEnvironment="
    )
    for line in dropped.splitlines()[1:]:
        assert line in unit_with_key.replace("%n", "p2ptui.service")

    config = tmp_path / "config.toml"
    config.write_text(written)
    users = load_config(config, {}, {})
    assert network_key_of(users) is None  # nothing that a user could not read
    credential = tmp_path / "credentials" / name
    create_key_file(credential, KeyKind.NETWORK, Secret(bytes(range(32))))
    credential.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credential.parent))
    service = load_config(config, {variable: str(credential)}, {})
    assert network_key_of(service) == Secret(bytes(range(32)))


# The container.


def test_the_container_names_what_exists() -> None:
    """It is built by .ci/build_container.py: what can be seen without that is looked at."""
    instructions = re.findall(r"^([A-Z]+) ", CONTAINER, re.MULTILINE)
    assert set(instructions) <= {
        *("ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"),
        *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
    assert re.findall(r"^FROM (\S+)", CONTAINER, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert set(re.findall(r"(P2PTUI_\w+)=", CONTAINER)) <= set(_VARIABLES)
    entry, command = (
        json.loads(re.findall(rf"^{key} (\[.*\])$", CONTAINER, re.MULTILINE)[0])
        for key in ("ENTRYPOINT", "CMD")
    )
    parsed, unknown = _node_parser().parse_known_args([*entry[1:], *command])
    assert not unknown
    assert parsed.no_ui
    (check,) = re.findall(r"^    CMD (\[.*\])$", CONTAINER, re.MULTILINE)
    code = json.loads(check)[2]
    compile(code, "HEALTHCHECK", "exec")
    assert "os.environ['P2PTUI_METRICS_ADDRESS']" in code  # of this container, not of another one
    extras = re.findall(r"'\.\[(.*)\]'", CONTAINER)[0].split(",")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert all(f"\n{extra} = [" in project for extra in extras)
    (user,) = re.findall(r"^USER (\S+)$", CONTAINER, re.MULTILINE)
    made = re.search(r"groupadd --gid (\d+) .*\n.*useradd --uid (\d+) --gid (\d+) ", CONTAINER)
    assert made is not None
    group, own, of_user = made.groups()
    assert user == f"{own}:{group}"
    assert (of_user, own != "0") == (group, True)  # it is not root


def test_podman_is_told_to_keep_the_health_check_wherever_it_builds() -> None:
    """An image of its own format has none, and it only warns."""
    pages = [ROOT / "docs" / name for name in ("deployment.md", "zh-CN/deployment.md")]
    for path in (DEPLOY / "Containerfile", *pages):
        built = re.findall(r"podman build (.*)", path.read_text("utf-8"))
        assert built
        assert all("--format docker -f docs/deploy/Containerfile" in line for line in built), path
