"""What docs/cluster.md tells to type works, and what it tells to permit is enough."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from brokers import Broker, needs_broker, until
from members import Member

from p2ptui import Config, Node
from p2ptui.core.cluster.bus import Delete, Publish, Put
from p2ptui.wire.address import format_address

pytestmark = needs_broker

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "cluster.md").read_text("utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
NODES = re.findall(r"^\$ (p2ptui -a .*)$", TEXT, re.MULTILINE)
(ACCOUNT,) = re.findall(r"^```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def run(command: str, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """A shell with that command, in a process group of its own."""
    with log.open("wb") as output:
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(ROOT), "P2PTUI_SERVER_STATS_INTERVAL": "0.2"},
            start_new_session=True,
        )


def knows_one_elsewhere(server: Node) -> bool:
    """Whether a server knows of one node at the others."""
    return server.cluster is not None and server.cluster.cluster.nodes == 1


async def test_two_commands_make_three_servers(broker: Broker, tmp_path: Path) -> None:
    start, servers = COMMANDS
    assert start.startswith("/usr/sbin/nats-server -js -sd /tmp/nats -a 127.0.0.1 -p 4333")
    # The broker of this test has another port, and so have servers that others may run here.
    servers = servers.replace("nats://127.0.0.1:4333", broker.url).replace(
        "127.0.0.1:808$n", "127.0.0.1:0"
    )
    servers = servers.replace("p2ptui ", f"{shlex.quote(sys.executable)} -m p2ptui ")
    log = tmp_path / "log"
    shell = run(servers, tmp_path, log)
    try:
        await until(lambda: log.read_text().count("cluster: linked to the broker") == 3)
        await until(lambda: len(re.findall(r"broker up.*, 2 other servers", log.read_text())) >= 3)
        os.killpg(shell.pid, signal.SIGTERM)
        await until(lambda: log.read_text().count("stopped") == 3)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    assert "ERROR" not in log.read_text()


async def test_two_nodes_of_different_servers_find_each_other(
    broker: Broker, tmp_path: Path
) -> None:
    servers = [
        Node(
            Config().with_options(
                **{
                    "server.address": "127.0.0.1:0",
                    "server.enable_discovery": False,
                    "security.identity": str(tmp_path / f"server{number}.key"),
                    "cluster.servers": (broker.url,),
                }
            )
        )
        for number in "12"
    ]
    async with servers[0], servers[1]:
        shells = []
        try:
            for number, (command, server) in enumerate(zip(NODES, servers, strict=True), 1):
                joined = f"127.0.0.1:808{number}"
                assert command.endswith(joined)
                command = command.replace("p2ptui ", f"{shlex.quote(sys.executable)} -m p2ptui ")
                command = command.replace(joined, format_address(server.address))
                command += f" --no-ui --identity node{number}.key"
                shells.append(run(command, tmp_path, tmp_path / f"log{number}"))
            for server in servers:
                await until(partial(knows_one_elsewhere, server))
        finally:
            for shell in shells:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()


async def test_what_is_permitted_is_enough(
    make_broker: Callable[..., Broker], join: Callable[..., Member], tmp_path: Path
) -> None:
    config = ACCOUNT.replace("/var/lib/nats", str(tmp_path / "kept"))
    broker = make_broker(config, jetstream=False).start()
    first, second = (
        join(f"nats://blue:change%20me@{broker.host}", own_id, "blue") for own_id in "ab"
    )
    await first.complete()
    await second.complete()
    first.do(Put("k", b"v", 0))
    await second.tells("entry", "k", b"v", 1)
    second.do(Delete("k", 1))
    await first.tells("entry", "k", None, 2)
    first.do(Publish("b", b"to one"))
    first.do(Publish("servers", b"to all"))
    await second.tells("message", "b", b"to one")
    await second.tells("message", "servers", b"to all")
    other = join(f"nats://blue:change%20me@{broker.host}", "c", "red")
    assert "does not permit" in await other.in_trouble("docs/cluster.md")
