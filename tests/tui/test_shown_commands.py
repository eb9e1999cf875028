"""Shell commands and addresses on the screen lead to whom they name, and to nobody else.

The commands are carried out: with whole nodes in the simulated network of the screen, and one with
a process of its own over loopback.
"""

import argparse
import asyncio
import json
import re
import shlex
import sys
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2ptui import Config, Node
from p2ptui.commands import CommandParser, nat, peers, ping, read_command, send, session
from p2ptui.core.events import DataReceived, Path
from p2ptui.node import OtherNode
from p2ptui.tui.executor import Executor
from p2ptui.tui.shell import MAX_CHARACTERS, shell_command
from p2ptui.verbs import parse_command, read_payload
from p2ptui.wire.address import parse_address
from p2ptui.wire.exact import is_exact
from tests.town import taken
from tests.tui.stage import Stage, play

SERVER, SECOND, ZOE = "10.0.0.9", "10.0.0.19", "10.0.0.8"
SECRET = "for B only"


class Street:
    """Alice with her screen, nodeB behind a server that relays, and nobody between the two."""

    def __init__(self, stage: Stage, server: Node, node_b: Node) -> None:
        self.stage, self.server, self.node_b = stage, server, node_b
        self.inboxes = {"server": server.events(100), "nodeB": node_b.events(100)}
        self._guests = 0

    @classmethod
    async def make(cls, stage: Stage, size: tuple[int, int] = (200, 40), **server: Any) -> "Street":
        await stage.open(size)
        node = await stage.node("server", SERVER, **server)
        node_b = await stage.node("nodeB", ZOE)
        for host in ("10.0.0.1", *(f"10.0.0.{number}" for number in range(100, 110))):
            stage.network.partition(host, ZOE)
        await node_b.connect(f"{SERVER}:8080")
        await stage.type(f"connect {SERVER}:8080")
        await stage.wait(2)
        return cls(stage, node, node_b)

    def heard(self, name: str) -> list[Any]:
        events = taken(self.inboxes[name], DataReceived)
        return [event.payload for event in events if not event.is_echo]

    async def run(self, command: str) -> int:
        """Carry out what was shown, as a shell would."""
        program, name, *arguments = shlex.split(command)
        assert program == "p2ptui"
        self._guests += 1
        host = f"10.0.0.{99 + self._guests}"

        def make(config: Config) -> Node:
            # No names: a look-up would take real time.
            options = {"address": f"{host}:0", "ice": {"stun_servers": []}}
            stun = {"stun_servers": []}
            return self.stage.make(config.with_options(**options, nat_detection=stun))

        with mock.patch.object(session, "Node", make):
            return await read_command(name, arguments, {})()


def shown(stage: Stage) -> str:
    """The command beside the answer in the bar."""
    return stage.app.bar.beside


def test_text_for_a_relayed_node_goes_to_it_and_not_to_the_server():
    async def story(stage: Stage) -> None:
        street = await Street.make(stage, allow_symmetric_nat_relay=True)
        assert "connected to nodeB by way of server" in await stage.type("connect nodeB")
        assert stage.alice.peer("nodeB").path is Path.RELAY
        assert "delivered" in await stage.type(f"send nodeB {SECRET}")
        command = shown(stage)
        assert f"{SERVER}:8080 " not in command.partition("--join")[0]
        assert command in stage.text()
        assert street.heard("nodeB") == [SECRET]
        assert await street.run(command) == 0
        await stage.wait()
        assert street.heard("nodeB") == [SECRET]
        assert street.heard("server") == []

    play(story)


def test_text_for_a_node_behind_a_server_goes_to_it_and_not_to_the_server():
    async def story(stage: Stage) -> None:
        street = await Street.make(stage)
        assert "delivered" in await stage.type(f"send nodeB {SECRET}")
        command = shown(stage)
        street.heard("nodeB")
        assert await street.run(command) == 0
        await stage.wait()
        assert street.heard("nodeB") == [SECRET]
        assert street.heard("server") == []

    play(story)


def test_of_two_servers_the_command_names_the_one_that_knows_the_node():
    async def story(stage: Stage) -> None:
        await stage.open((200, 40))
        other = await stage.node("other", SECOND)
        await stage.type(f"connect {SECOND}:8080")
        server = await stage.node("server", SERVER, allow_symmetric_nat_relay=True)
        node_b = await stage.node("nodeB", ZOE)
        stage.network.partition("10.0.0.1", ZOE)
        await node_b.connect(f"{SERVER}:8080")
        await stage.type(f"connect {SERVER}:8080")
        await stage.wait(2)
        for line in ("ping nodeB 1", "connect nodeB", "ping nodeB 1"):
            await stage.type(line)
            if line.startswith("ping"):
                assert shown(stage) == f"p2ptui ping {node_b.id} --join {SERVER}:8080 -n 1"
        assert server.id != other.id

    play(story)


def test_the_page_of_a_node_shows_commands_that_reach_it_and_no_address_of_another():
    async def story(stage: Stage) -> None:
        street = await Street.make(stage, allow_symmetric_nat_relay=True)
        await stage.type("connect nodeB")
        app = stage.app
        app.peers.list._selected = street.node_b.id
        app.screen_verbs.show_node()
        await stage.wait()
        text = stage.text()
        assert f"p2ptui send {street.node_b.id} hello --join {SERVER}:8080" in text.replace(
            f"--join {SERVER}:8080 hello", f"hello --join {SERVER}:8080"
        )
        assert f"p2ptui peers {SERVER}" not in text
        assert "by way of server" in text

    play(story)


def test_the_table_the_routes_and_copying_never_give_a_servers_address_for_a_nodes():
    async def story(stage: Stage) -> None:
        street = await Street.make(stage, allow_symmetric_nat_relay=True)
        node_b = street.node_b
        for _ in range(2):  # without a session, and with a relayed one
            (row,) = [
                row
                for index in range(stage.app.peers.list.row_count)
                if (row := stage.app.peers.list.row_at(index)).node.node_id == node_b.id
            ]
            assert row.address == "by way of server"
            assert re.search(rf"nodeB +{node_b.id[:8]} by way of server ", stage.text())
            stage.app.peers.list._selected = node_b.id
            stage.app.chosen = "peers"
            assert stage.app.screen_verbs.selection()[1] == node_b.id
            await stage.type("routes")
            routes = stage.app.screen._text.plain.splitlines()
            (line,) = [line for line in routes if line.startswith(node_b.id)]
            assert "nodeB" in line
            assert "by way of server" in line
            assert "direct" not in line
            await stage.pilot.press("escape")
            await stage.type("connect nodeB")
            await stage.type("peers")

    play(story)


def test_the_log_says_by_way_of_whom_a_relayed_node_is_spoken_to():
    async def story(stage: Stage) -> None:
        street = await Street.make(stage, allow_symmetric_nat_relay=True)
        await stage.type("connect nodeB")
        await stage.type("ping nodeB 1")
        await stage.wait(2)
        of_b = [r for r in stage.app._records if r.node_id == street.node_b.id and r.address]
        assert of_b
        assert {record.address for record in of_b if record.text != "introduced by a server"} == {
            f"by way of {SERVER}:8080"
        }
        assert {record.peer for record in of_b} <= {"nodeB", ""}

    play(story)


def test_who_is_meant_is_decided_when_the_command_begins():
    """The cursor may move on while a message is on its way."""

    async def story(stage: Stage) -> None:
        app = await stage.open((200, 40))
        bob, carol = await stage.friend("bob", 2), await stage.friend("carol", 3)
        await stage.wait()
        app.peers.list._selected = bob.id
        run = asyncio.ensure_future(app.executor.run(parse_command("ping . 3"), lambda _: None))
        await asyncio.sleep(0.1)
        app.peers.list._selected = carol.id
        done = await run
        assert done.said.startswith("bob: 3 of 3")
        assert "10.0.1.2:8080" in done.shell

    play(story)


def test_a_client_is_reached_at_its_address_only_where_it_listens_there():
    async def story(stage: Stage) -> None:
        await stage.open((200, 40))
        friend = await stage.friend("bob", 2)
        await stage.wait()
        await stage.type("ping bob 1")
        assert shown(stage) == "p2ptui ping 10.0.1.2:8080 -n 1"
        # As it looks behind a NAT: seen elsewhere than where it says that it listens.
        peer = stage.alice._endpoint.peers.with_id(friend.id)
        from msgspec.structs import replace

        peer.info = replace(peer.info, listen_addr="0.0.0.0:8080")
        await stage.type("ping bob 1")
        assert shown(stage) == f"p2ptui ping {friend.id} --join 10.0.0.1:8080 -n 1"

    play(story)


def test_a_server_that_left_is_named_no_more():
    async def story(stage: Stage) -> None:
        street = await Street.make(stage, allow_symmetric_nat_relay=True)
        await stage.type("connect nodeB")
        node = stage.app.roster.find("nodeB")
        ping_b = parse_command("ping nodeB 1")
        assert stage.app.executor.in_shell(ping_b, node)
        await stage.type("disconnect server")
        assert stage.app.executor.in_shell(ping_b, node) == ""
        assert street.server.id

    play(story)


# What is typed is what a shell would send.

IDS = st.uuids().map(str)
ADDRESSES = st.builds(
    lambda ip, port: (f"[{ip}]" if ip.version == 6 else str(ip)) + f":{port}",
    st.ip_addresses().filter(lambda ip: not ip.is_multicast and not ip.is_unspecified),
    st.integers(1, 65535),
).filter(lambda text: "255.255.255.255" not in text and "[::ffff:" not in text)
NETWORKS = st.one_of(
    st.just("p2p_default"), st.text("abc -!'\"$`\\\n", min_size=1, max_size=8), st.just("-n")
)
PAYLOADS = st.one_of(
    st.text(min_size=1, max_size=40),
    st.text("-!'\"$`\\ \n\t\x1b\u202e{[]}:a1", min_size=1, max_size=12),
    st.sampled_from(
        ["-", "--", "-n", "--json", "--file", "it's", "a  b", '{"a": "\u202e"}', "[1]"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    )
    .filter(lambda value: isinstance(value, list | dict))
    .map(json.dumps),
)


def read_back(line: str) -> tuple[str, argparse.Namespace, CommandParser]:
    """What our own command line makes of a shown command."""
    program, name, *arguments = shlex.split(line)
    assert program == "p2ptui"
    parser = CommandParser(prog=name, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--network-id")
    {"send": send, "ping": ping, "peers": peers, "nat": nat}[name].add_arguments(parser)
    return name, parser.parse_intermixed_args(arguments), parser


@example("e3e70682-c209-4cac-629f-6fbed82c07cd", "0.0.0.1:1", False, "0", "--")
@given(IDS, ADDRESSES, st.booleans(), PAYLOADS, NETWORKS)
def test_a_shown_command_is_read_back_as_the_same(node_id, address, is_direct, text, network):
    node = OtherNode(node_id, "x", None, "y", 2, ())
    target = (address,) if is_direct else (node_id, "--join", address)
    command = parse_command(f"send . {text}") if text.strip() else None
    if command is None or not is_exact(read_payload(command.text)):
        return  # nothing was sent, so no command is shown
    line = shell_command(command, node, target, network)
    if not line:
        assert not network.isprintable()
        return
    assert line.isprintable()
    name, options, parser = read_back(line)
    assert name == "send"
    assert (options.network_id or "p2p_default") == network
    way = session.read_way(options, parser)
    assert way.wanted == (None if is_direct else node_id)
    assert way.first[1] == parse_address(address)[1]
    assert send._read_payload(options, parser, 1 << 20) == read_payload(command.text)


@given(IDS, ADDRESSES, st.integers(1, 10_000))
def test_a_shown_ping_is_read_back_as_the_same(node_id, address, count):
    node = OtherNode(node_id, "x", None, "y", 2, ())
    line = shell_command(
        parse_command(f"ping . {count}"), node, (node_id, "--join", address), "p2p_default"
    )
    _, options, parser = read_back(line)
    assert options.count == count
    assert session.read_way(options, parser).wanted == node_id


def test_a_text_too_long_to_be_shown_whole_is_not_shown_in_part():
    node = OtherNode("b0b0b0b0-0000-4000-8000-000000000001", "x", None, "y", 2, ())
    command = parse_command("send . " + "x" * MAX_CHARACTERS)
    assert shell_command(command, node, ("10.0.0.1:1",), "p2p_default") == ""


def test_a_joined_server_is_asked_at_its_own_address_over_ipv6_too():
    line = shell_command(parse_command("connect [::1]:80"), None, None, "-x")
    assert line == "p2ptui --join '[::1]:80' --network-id=-x"


# For real: three nodes on loopback, and the shown command in a process of its own.


@pytest.mark.parametrize("connects", [False, True])
def test_for_real_the_text_arrives_at_node_b_and_not_at_the_server(connects):
    async def story() -> None:
        def node(name: str) -> Node:
            options = {"name": name, "address": "127.0.0.1:0", "enable_discovery": False}
            return Node(Config().with_options(**options, nat_detection={"enable": False}))

        async with node("server") as server, node("alice") as alice, node("nodeB") as node_b:
            inboxes = {"server": server.events(), "nodeB": node_b.events()}
            for client in (node_b, alice):
                await client.connect(server.address)
            if connects:
                await alice.connect("nodeB")
            executor = Executor(alice, alice.roster, lambda: None)
            done = await executor.run(
                parse_command(f"send nodeB {SECRET}", ["nodeB"]), lambda _: None
            )
            for name in inboxes:
                taken(inboxes[name], DataReceived)
            words = shlex.split(done.shell)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *words, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0, output
            heard = {
                name: [e.payload for e in taken(inbox, DataReceived) if not e.is_echo]
                for name, inbox in inboxes.items()
            }
            assert heard == {"server": [], "nodeB": [SECRET]}

    asyncio.run(story())
