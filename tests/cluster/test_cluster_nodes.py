"""Nodes that run as servers of one network, by way of a real broker."""

import logging
import re
from collections.abc import Callable

import pytest
from brokers import Broker, needs_broker, until

from p2ptui.config import Config
from p2ptui.node import Node
from p2ptui.wire.address import format_address

pytestmark = needs_broker


def node(name: str, broker: Broker | None = None, *joined: Node) -> Node:
    options: dict[str, object] = {
        "server.address": "127.0.0.1:0",
        "server.name": name,
        "server.enable_discovery": False,
        "security.ephemeral": True,
        "server.join": tuple(format_address(server.address) for server in joined),
    }
    if broker is not None:
        options["cluster.servers"] = (broker.url,)
        options["cluster.max_nodes"] = 1000
    return Node(Config().with_options(**options))


def knows(server: Node, nodes: int, servers: int = 1) -> Callable[[], bool]:
    """Whether a server knows so many nodes of so many other servers."""

    def is_so() -> bool:
        report = server.cluster
        assert report is not None
        return (report.cluster.nodes, len(server.cluster_servers())) == (nodes, servers)

    return is_so


async def test_servers_know_of_each_others_peers(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with node("one", broker) as one, node("two", broker) as two:
        async with node("alice", None, one), node("bob", None, two):
            await until(knows(one, 1))
            await until(knows(two, 1))
            assert one.cluster is not None
            assert re.sub(r"\d+ s,", "0 s,", one.cluster.line) == (
                "cluster: broker up for 0 s, 1 other server, 1 node elsewhere, 1 told of,"
                " handed over 0, taken 0, failed 0, waiting 0"
            )
            (other,) = one.cluster_servers()
            assert (other.name, other.advertised) == ("two", format_address(two.address))

            # The broker is gone: peers stay, and nobody is known elsewhere that cannot be told.
            broker.kill()
            await until(lambda: one.cluster is not None and not one.cluster.broker.is_up)
            assert one.stats().connected == 1
            broker.start()
            await until(knows(one, 1))
            await until(knows(two, 1))
        # Their peers have left, and they are told.
        await until(knows(one, 0))
        await until(knows(two, 0))
    lines = [record.getMessage() for record in caplog.records if record.name == "p2ptui.cluster"]
    of_links = [line for line in lines if "broker" in line]
    assert len(of_links) == 2 * 3


async def test_the_log_says_which_servers_come_and_go(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "p2ptui.cluster")
    async with node("one", broker) as one:
        async with node("two", broker) as two:
            await until(knows(one, 0))
            called = f"cluster: two ({two.id})"
        await until(knows(one, 0, 0))
        lines = [record.getMessage() for record in caplog.records]
        of_two = [line for line in lines if line.startswith(called)]
        assert of_two == [f"{called} {what}" for what in ("is there", "is going down", "is gone")]


async def test_a_server_that_goes_down_takes_back_what_it_told(broker: Broker) -> None:
    async with node("one", broker) as one, node("two", broker) as two, node("bob", None, two):
        await until(knows(one, 1))
        await two.close()
        await until(lambda: one.cluster is not None and one.cluster.cluster.nodes == 0)


async def test_who_serves_alone_has_no_cluster() -> None:
    async with node("one") as one:
        assert one.cluster is None
        assert one.cluster_servers() == []
