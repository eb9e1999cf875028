"""Every metric by its name, what it counts in a network, and what a scraper is told of health."""

import asyncio
import errno
import json
import logging
import re
import shutil
import socket
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from p2ptui import Config
from p2ptui.cli import main
from p2ptui.core.counters import ROUND_TRIP_BOUNDS_S, RoundTrips
from p2ptui.errors import ConfigError, HandshakeError
from p2ptui.metrics import server
from p2ptui.metrics.collector import read
from p2ptui.metrics.families import FAMILIES, MAX_LABEL_VALUES, bounded
from p2ptui.metrics.health import liveness, readiness
from p2ptui.metrics.pages import _format_for, metrics_page
from p2ptui.operating import serving_metrics
from tests.patience import PATIENCE_S, until
from tests.town import MET_S, Town
from tests.virtual_loop import run_virtual

UNITS = ("_seconds", "_bytes", "_info")


def scraped(node, accept: str = "") -> dict[str, float]:
    """Every value by its name and label."""
    text = metrics_page(node)(accept).body.decode()
    return {
        sample.name + "".join(f":{value}" for value in sample.labels.values()): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_follows_the_rules(family):
    assert re.fullmatch(r"p2ptui_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    assert not re.search(r"_(ms|milliseconds|kilobytes|minutes)\b", family.name)
    assert (family.kind == "histogram") <= family.name.endswith(UNITS)
    assert family.label not in {"id", "peer", "address", "node_id", "name"}


def test_no_name_is_used_twice():
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_a_label_has_so_many_values_and_no_more():
    values = {str(number): 1 for number in range(MAX_LABEL_VALUES + 7)}
    told = bounded(values)
    assert len(told) == MAX_LABEL_VALUES + 1
    assert told["other"] == 7
    assert sum(told.values()) == sum(values.values())


def test_what_happens_is_counted():
    async def story():
        async with Town() as town:
            server, alice = await town.start("server"), await town.start("alice")
            await alice.connect(server.address)
            await asyncio.sleep(MET_S)
            await alice.send(server.address, "hello")
            await alice.ping(server.address)
            stranger = await town.start("stranger", network_id="another")
            for target in (server.address, ("10.0.0.99", 1)):
                with pytest.raises(HandshakeError):
                    await stranger.connect(target, timeout_s=2.0)
            client, served, other = map(scraped, (alice, server, stranger))
            assert client["p2ptui_connection_attempts_total"] == 1
            assert client["p2ptui_connections_total:succeeded"] == 1
            assert client["p2ptui_peers:authenticated"] == 1
            assert client["p2ptui_peer_paths:direct"] == 1
            assert client["p2ptui_servers_joined"] == 1
            assert client["p2ptui_ping_round_trip_seconds_count"] >= 1
            assert client["p2ptui_ping_round_trip_seconds_bucket:0.025"] >= 1
            assert client["p2ptui_ping_round_trip_seconds_bucket:0.01"] == 0
            assert served["p2ptui_delivered_messages_total"] == 1
            assert served["p2ptui_handshakes_accepted_total"] >= 1
            assert other["p2ptui_connections_total:unfit"] == 1
            assert other["p2ptui_connections_total:unanswered"] == 1
            assert other["p2ptui_connection_attempts_total"] == 2
            assert "p2ptui_cluster_link_up" not in served

    run_virtual(story())


def test_a_refusal_names_its_rule():
    async def story():
        async with Town() as town:
            server = await town.start("server", security={"mode": "require"})
            client = await town.start("client", secured=False)
            with pytest.raises(HandshakeError):
                await client.connect(server.address, timeout_s=2.0)
            told = scraped(server)
            refused = {k: v for k, v in told.items() if "handshakes_refused" in k and v}
            assert set(refused) == {"p2ptui_handshakes_refused_total:open"}
            assert scraped(client)["p2ptui_connections_total:refused"] == 1

    run_virtual(story())


def test_a_relayed_peer_is_one_by_relay():
    async def story():
        async with Town() as town:
            server = await town.start("server", allow_symmetric_nat_relay=True)
            ice = {"enable": False}
            alice, bob = [await town.start(name, ice=ice) for name in ("alice", "bob")]
            for node in (alice, bob):
                await node.connect(server.address)
            await asyncio.sleep(MET_S)
            await alice.connect(bob.id)
            assert scraped(alice)["p2ptui_peer_paths:relay"] == 1
            assert scraped(alice)["p2ptui_peer_paths:direct"] == 1

    run_virtual(story())


def test_a_direct_path_is_told_with_its_method():
    async def story():
        async with Town() as town:
            server = await town.start("server", allow_symmetric_nat_relay=True)
            alice, bob = [await town.start(name) for name in ("alice", "bob")]
            for node in (alice, bob):
                await node.connect(server.address)
            await asyncio.sleep(MET_S)
            await alice.connect(bob.id)
            await asyncio.sleep(20)
            told = scraped(alice)
            assert told["p2ptui_peer_paths:plain"] == 1
            assert told["p2ptui_path_rounds_total:plain"] >= 1
            assert told["p2ptui_paths_found_total:plain"] >= 1
            assert told["p2ptui_peer_paths:relay"] == 0

    run_virtual(story())


def test_round_trips_fall_into_classes():
    trips = RoundTrips()
    for rtt_s in (0.0, 0.001, 0.0011, 2.5, 60.0):
        trips.note(rtt_s)
    assert trips.counts == [2, 1, *[0] * 8, 1, 1]
    assert len(trips.counts) == len(ROUND_TRIP_BOUNDS_S) + 1
    assert trips.total_s == pytest.approx(62.5021)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept, kind):
    async def story():
        async with Town() as town:
            answer = metrics_page(await town.start("node"))(accept)
            assert answer.type.startswith(kind)
            text = answer.body.decode()
            parse = openmetrics.text_string_to_metric_families if "open" in kind else parsed
            assert "p2ptui_peers" in {family.name for family in parse(text)}

    run_virtual(story())


WORDS = (
    "application/openmetrics-text text/plain version escaping q = ; , 1.0.0 1. x underscores -1 1e9"
)


@given(st.lists(st.sampled_from([*WORDS.split(), " ", "\n"]), max_size=12))
def test_whatever_a_client_accepts_it_gets_one_of_two_formats(words):
    assert _format_for("".join(words)) in ("", "application/openmetrics-text")


def test_a_version_that_is_none_gets_the_text_format():
    async def story():
        async with Town() as town:
            page = metrics_page(await town.start("node"))
            for accept in ("application/openmetrics-text; version=x", "text/plain; version=x"):
                answer = page(accept)
                assert (answer.status, answer.type) == (200, page("").type)

    run_virtual(story())


def test_a_page_is_written_once_a_second_however_often_it_is_asked_for():
    async def story():
        async with Town() as town:
            node = await town.start("node")
            read_at, stats = [], node.stats
            node.stats = lambda: read_at.append(town) or stats()
            page = metrics_page(node)
            for number in range(1_000):
                page("text/plain")
                page(f"application/openmetrics-text; version=1.0.{number}")
            assert len(read_at) == 2, "once for each of the two formats"
            await asyncio.sleep(1)
            page("")
            assert len(read_at) == 3
            await node.close()
            await asyncio.sleep(1)
            assert page("").status == 503

    run_virtual(story())


def test_a_health_check_looks_at_no_peer():
    async def story():
        async with Town() as town:
            node = await town.start("node")

            def look():
                raise AssertionError("it sums over all peers")

            node.stats = node.path_kinds = look
            assert readiness(node).is_well
            assert liveness(node).is_well

    run_virtual(story())


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool of Prometheus")
def test_prometheus_own_tool_finds_nothing_to_say():
    async def story():
        async with Town() as town:
            return metrics_page(await town.start("node"))("").body

    command = ["promtool", "check", "metrics"]
    page = run_virtual(story())
    ran = subprocess.run(command, input=page, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_a_cluster_has_metrics_of_its_own():
    from p2ptui.core.cluster.room import ClusterStatus
    from p2ptui.io.nats_bus import BusStatus
    from p2ptui.node.cluster import ClusterReport

    async def story():
        async with Town() as town:
            return read(await town.start("node"))

    status = ClusterStatus("id", "name", True, True, 0.0, (), 7, 3, 1, 2, 99, 0, 0, 5, 4, 1)
    report = ClusterReport(status, BusStatus(True, 0.0, "broker", "", 0.01, {"links": 2}), 0.0)
    reading = run_virtual(story())._replace(cluster=report)
    told = {family.name: family.read(reading) for family in FAMILIES}
    assert told["p2ptui_cluster_link_up"] == 1
    assert told["p2ptui_cluster_nodes"] == {"here": 3, "elsewhere": 7}
    assert told["p2ptui_cluster_handovers_total"] == {"sent": 5, "taken": 4, "failed": 1}
    assert told["p2ptui_cluster_links_total"] == 2
    assert told["p2ptui_cluster_broker_round_trip_seconds"] == 0.01
    lost = replace(report, broker=replace(report.broker, is_up=False))
    assert FAMILIES[0].read(reading._replace(cluster=lost)) is not None


# Health.


def test_a_node_is_ready_once_a_server_is_joined_and_not_when_it_is_killed():
    async def story():
        async with Town() as town:
            server = town.make("server")
            address = server._config.server.address
            node = town.make("node", join=[address], connection_timeout=2.0, heartbeat_interval=1.0)
            assert readiness(node) == (
                False,
                {"status": "not ready", "reason": "the node has not started yet"},
            )
            assert liveness(node).is_well
            await node.start()
            assert readiness(node).said["reason"] == "no session with the server to join"
            await server.start()
            await asyncio.sleep(70)
            assert readiness(node) == (
                True,
                {
                    "status": "ready",
                    "address": "10.0.0.3:8080",
                    "servers_joined": 1,
                    "servers_configured": 1,
                },
            )
            town.network.partition("10.0.0.2", "10.0.0.3")
            await asyncio.sleep(10)
            assert not readiness(node).is_well
            told = scraped(node)
            assert told["p2ptui_servers_joined"] == 0
            assert told["p2ptui_servers_configured"] == 1
            town.network.heal("10.0.0.2", "10.0.0.3")
            await node.close()
            assert readiness(node).said["reason"] == "the node is closing"
            assert metrics_page(node)("").status == 503
            await server.close()

    run_virtual(story())


def test_a_node_is_not_ready_by_a_session_with_somebody_else():
    async def story():
        async with Town() as town:
            server, other = town.make("server"), await town.start("other")
            address = server._config.server.address
            node = await town.start("node", join=[address], connection_timeout=2.0)
            await node.connect(other.address)
            await asyncio.sleep(MET_S)
            assert not readiness(node).is_well
            assert readiness(node).said["servers_joined"] == 0
            assert scraped(node)["p2ptui_servers_joined"] == 1
            assert scraped(node)["p2ptui_configured_servers_joined"] == 0
            await server.start()
            await asyncio.sleep(70)
            assert readiness(node).said["servers_joined"] == 1
            assert scraped(node)["p2ptui_servers_joined"] == 2
            assert scraped(node)["p2ptui_configured_servers_joined"] == 1
            await node.disconnect(server.address)
            await asyncio.sleep(MET_S)
            assert not readiness(node).is_well

    run_virtual(story())


# The server of both.


async def fetch(address, path: str, host: str = "") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(*address)
    asked_for = f"Host: {host}\r\n" if host else ""
    writer.write(f"GET {path} HTTP/1.1\r\n{asked_for}\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_a_node_is_scraped():
    from p2ptui import Node

    options = {"address": "127.0.0.1:0", "enable_discovery": False, "ephemeral": True}
    config = Config().with_options(**options, metrics={"address": "localhost:0"})
    node = Node(config)
    async with asyncio.timeout(PATIENCE_S), serving_metrics(node, config) as serving:
        assert (await fetch(serving.address, "/readyz"))[0] == 503
        assert (await fetch(serving.address, "/metrics"))[0] == 503
        async with node:
            status, body = await fetch(serving.address, "/readyz")
            assert (status, json.loads(body)["status"]) == (200, "ready")
            status, body = await fetch(serving.address, "/metrics")
            assert status == 200
            assert "p2ptui_uptime_seconds" in body
            assert await fetch(serving.address, "/healthz") == (200, '{"status": "alive"}\n')


@pytest.mark.parametrize(("where", "is_any"), [("localhost:0", False), ("0.0.0.0:0", True)])
async def test_at_a_loopback_address_no_name_of_others_is_answered(where, is_any):
    from p2ptui import Node

    node = Node(Config().with_options(address="127.0.0.1:0", ephemeral=True))
    async with asyncio.timeout(PATIENCE_S), serving_metrics(node, configured(where)) as serving:
        # By localhost a system may mean either loopback address.
        address = "127.0.0.1" if is_any else serving.address[0], serving.address[1]
        for host in ("localhost:1", "127.0.0.1:1", "[::1]"):
            assert (await fetch(address, "/healthz", host))[0] == 200
        status, _ = await fetch(address, "/healthz", "node.example:9108")
        assert status == (200 if is_any else 421)


def configured(address: str) -> Config:
    return Config().with_options(metrics={"address": address})


async def test_a_port_in_use_is_one_line_and_taken_when_it_is_free(caplog, monkeypatch):
    monkeypatch.setattr(server, "AGAIN_S", 0.01)
    caplog.set_level(logging.INFO, "p2ptui.metrics")
    async with asyncio.timeout(PATIENCE_S):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            serving = serving_metrics(object(), configured(where))
            tries, opened = 0, serving._http.open

            async def open_noted(*where):
                nonlocal tries
                tries += 1
                return await opened(*where)

            monkeypatch.setattr(serving._http, "open", open_noted)
            await serving.__aenter__()
            await until(lambda: tries >= 5)
        await until(lambda: serving.address)
        assert (await fetch(serving.address, "/"))[0] == 404
        await serving.__aexit__(None, None, None)
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot serve metrics at {where}: address already in use; choose another address with"
        " --metrics; the node runs on without them",
        f"metrics at http://{where}/metrics, /healthz and /readyz",
    ]


async def test_a_mistake_while_it_is_tried_again_is_told_and_hides_no_reason_of_the_end(
    caplog, monkeypatch
):
    monkeypatch.setattr(server, "AGAIN_S", 0.0)
    errors = [RuntimeError("broken"), OSError("busy")]

    async def fail(*_):
        raise errors.pop()

    serving = serving_metrics(object(), configured("127.0.0.1:9"))
    monkeypatch.setattr(serving._http, "open", fail)

    async def live():
        async with serving:
            await until(serving._trying.done)
            assert "broken" in caplog.text, "at once, and not at the end of the node"
            raise KeyError("why the node ended")

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(KeyError, match="why the node ended"):
            await live()
    assert caplog.records[-1].getMessage() == (
        "metrics are not served at 127.0.0.1:9, and this is not tried again; the node goes on"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "EMFILE",
            "too many files and sockets are open; raise the limit (ulimit -n), or run fewer"
            " programs",
        ),
        (
            "EADDRNOTAVAIL",
            "no interface of this machine has this address; choose another address with --metrics",
        ),
    ],
)
async def test_why_they_are_not_served_and_what_to_do_is_one_line(caplog, monkeypatch, name, why):
    async def fail(*_):
        raise OSError(getattr(errno, name), "the system's words")

    serving = serving_metrics(object(), configured("192.0.2.1:9100"))
    monkeypatch.setattr(serving._http, "open", fail)
    async with serving:
        pass
    assert caplog.messages == [
        f"cannot serve metrics at 192.0.2.1:9100: {why}; the node runs on without them"
    ]


async def test_a_host_that_does_not_resolve_is_one_line_and_the_node_goes_on(caplog):
    async with serving_metrics(object(), configured("no host:9100")) as serving:
        assert serving.address is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("cannot serve metrics at no host:9100: ")
    assert line.endswith("; the node runs on without them")


async def test_whoever_opens_them_to_others_is_told(caplog):
    async with serving_metrics(object(), configured("0.0.0.0:0")):
        pass
    assert "have no password: anyone who can reach that address can read them" in caplog.text


async def test_without_an_address_nothing_is_served():
    async with serving_metrics(object(), Config()) as nothing:
        assert nothing is None


def test_without_the_client_there_is_one_line_and_the_code_of_a_configuration(monkeypatch, capsys):
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[metrics\]'"):
        serving_metrics(object(), configured("127.0.0.1:0"))
    arguments = ["--ephemeral", "-a", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    for way in ("--no-ui", "--check-config"):
        assert main([*arguments, way]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("p2ptui: metrics.address is set, and prometheus-client is not")
