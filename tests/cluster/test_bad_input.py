"""What may be wrong with a cluster, on whole nodes and a real broker: one clear line, and peers of
this server are served all the same."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from brokers import Broker, needs_broker, until

from p2ptui.config import Config
from p2ptui.errors import LocalError
from p2ptui.node import Node
from p2ptui.wire.address import format_address

pytestmark = needs_broker

MakeBroker = Callable[..., Broker]
GOES_ON = "; this server keeps serving its own peers"
NETWORK = "p2p_default"


def server(
    url: str, name: str = "one", wall: Callable[[], float] = time.time, **options: Any
) -> Node:
    chosen: dict[str, Any] = {
        "server.address": "127.0.0.1:0",
        "server.name": name,
        "server.enable_discovery": False,
        "security.ephemeral": True,
        "cluster.servers": (url,),
        "cluster.max_nodes": 1000,
    }
    return Node(Config().with_options(**chosen | options), wall=wall)


@asynccontextmanager
async def served(node: Node) -> AsyncIterator[Node]:
    """It runs, and serves a peer to the end."""
    options = {"server.address": "127.0.0.1:0", "server.enable_discovery": False}
    async with node, Node(Config().with_options(**options)) as alice:
        await alice.connect(format_address(node.address))
        yield node
        assert (await alice.ping(node.id)).rtt_s < 1
        assert node.cluster_servers() == []


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Whatever wants attention in the log."""
    caplog.set_level(logging.INFO, "p2ptui.cluster")
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name == "p2ptui.cluster" and record.levelno >= logging.WARNING
    ]


async def one_line(lines: Callable[[], list[str]]) -> str:
    await until(lambda: bool(lines()), "a line")
    (line,) = lines()
    assert "\n" not in line
    return line.removeprefix("cluster: ")


async def test_a_broker_that_is_away_at_start(lines: Callable[[], list[str]]) -> None:
    async with served(server("nats://127.0.0.1:1")):
        assert await one_line(lines) == (
            "there is no broker at nats://127.0.0.1:1: start nats-server -js there" + GOES_ON
        )


async def test_wrong_credentials(make_broker: MakeBroker, lines: Callable[[], list[str]]) -> None:
    broker = make_broker('authorization { user: "net", password: "right" }').start()
    async with served(server(f"nats://net:wrong@{broker.host}")):
        assert await one_line(lines) == (
            f"the broker nats://***@{broker.host} refuses this server (Authorization Violation):"
            " check cluster.credentials, or the user and password in cluster.servers" + GOES_ON
        )


async def test_no_jetstream(make_broker: MakeBroker, lines: Callable[[], list[str]]) -> None:
    broker = make_broker(jetstream=False).start()
    async with served(server(broker.url)):
        assert await one_line(lines) == (
            f"the broker {broker.url} has no JetStream, at least for this user: start it with"
            " nats-server -js, or enable jetstream for the account" + GOES_ON
        )


async def test_a_bucket_of_another_shape(broker: Broker, lines: Callable[[], list[str]]) -> None:
    async with server(broker.url, **{"cluster.heartbeat": 10.0}) as first:
        await until(lambda: first.cluster is not None and first.cluster.broker.is_up)
    async with served(server(broker.url)):
        assert await one_line(lines) == (
            f"the bucket p2ptui_{NETWORK} of the broker {broker.url} is configured differently: its"
            " entries expire after 30 s, not 90 s; set cluster.heartbeat = 10.0 here to match; or,"
            " to change it everywhere, stop all servers of the network and delete the bucket (nats"
            f" kv del p2ptui_{NETWORK}, or see docs/cluster.md): the first server to start creates"
            " it again" + GOES_ON
        )


@pytest.mark.parametrize(
    ("where", "data", "says"),
    [
        (
            f"$KV.p2ptui_{NETWORK}.ca201004-0000-4000-8000-000000000004",
            b"\x09later",
            "ignored data that this version cannot read: servers of another version, or"
            " another program, write to the same account of the broker",
        ),
        (
            f"p2ptui.{NETWORK}.servers",
            b"hello",
            "ignored data that this version cannot read: servers of another version, or"
            " another program, write to the same account of the broker",
        ),
        (f"p2ptui.{NETWORK}.servers", b"\x01junk", ""),
    ],
)
async def test_what_is_not_ours(
    broker: Broker, lines: Callable[[], list[str]], where: str, data: bytes, says: str
) -> None:
    async with served(server(broker.url)) as one:
        await until(lambda: one.cluster is not None and one.cluster.cluster.is_complete)
        client = await nats.connect(broker.url)
        for _ in range(3):
            await client.publish(where, data)
        await client.close()
        await until(lambda: any(cause.startswith("cluster_") for cause in one.stats().drops))
        assert lines() == ([f"cluster: {says}"] if says else [])
        assert one.cluster is not None
        assert one.cluster.cluster.nodes == 0


async def test_two_servers_with_one_name(broker: Broker, lines: Callable[[], list[str]]) -> None:
    async with server(broker.url, "same") as one, server(broker.url, "same") as other:
        await until(lambda: len(lines()) == 2, "a line of each")
        assert sorted(lines()) == sorted(
            f"cluster: another server is called 'same' too: {node.id}; set cluster.name on one of"
            " them"
            for node in (one, other)
        )
        assert [found.server_id for found in one.cluster_servers()] == [other.id]


async def test_one_identity_twice(
    broker: Broker, lines: Callable[[], list[str]], tmp_path: Path
) -> None:
    options = {"security.ephemeral": False, "security.identity": str(tmp_path / "server.key")}
    async with server(broker.url, "one", **options) as one:
        copy = {**options, "security.identity": str(tmp_path / "copy.key")}
        (tmp_path / "copy.key").write_bytes((tmp_path / "server.key").read_bytes())
        (tmp_path / "copy.key").chmod(0o600)
        async with server(broker.url, "two", **copy) as two:
            assert two.id == one.id

            def told() -> list[str]:
                return sorted(line for line in lines() if "another process" in line)

            await until(lambda: len(told()) == 2, "a line of each")
            assert told() == [
                f"cluster: another process, called '{name}', runs with the identity of this server,"
                f" {one.id}: its key file was copied; while both run, the other servers are not"
                " told of this one's peers; stop one of them and delete its key file, so that"
                " it makes a new one"
                for name in ("one", "two")
            ]


async def test_clocks_that_are_hours_apart(broker: Broker, lines: Callable[[], list[str]]) -> None:
    async with server(broker.url, "one") as one:
        other = server(broker.url, "two", lambda: time.time() - 7 * 3600)
        options = {"server.address": "127.0.0.1:0", "server.enable_discovery": False}
        async with other, Node(Config().with_options(**options)) as alice:
            await alice.connect(format_address(other.address))
            await until(lambda: one.cluster is not None and one.cluster.cluster.nodes == 1)
            (found,) = one.cluster_servers()
            assert -7.1 * 3600 < found.clock_apart_s < -6.9 * 3600
            assert lines() == []


async def test_a_server_without_keys_is_refused(broker: Broker) -> None:
    node_id = "11111111-0000-4000-8000-000000000001"
    options = {"server.node_id": node_id, "security.ephemeral": False}
    with pytest.raises(LocalError, match="servers of a cluster know each other by their keys"):
        await server(broker.url, **options).start()
