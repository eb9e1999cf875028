"""Names and the selected node, wherever a command, a table or a completion may hold one."""

import asyncio
import json
from typing import Any

import pytest

from p2ptui.core.events import SendStatus
from p2ptui.errors import PeerTimeoutError, UnknownPeerError
from p2ptui.io.memory import MemorySocket
from p2ptui.node import OtherNode
from p2ptui.verbs import VERBS, Kind
from tests.town import Town
from tests.tui.stage import Stage, play
from tests.virtual_loop import run_virtual

RUST = ("10.0.0.77", 8080)
RUST_ID = "4057000a-0000-4000-8000-00000000000a"
CAROL_ID = "ca401000-0000-4000-8000-00000000000c"


class RustServer:
    """A deployed server with carol on it: it names her only to who asks for nodes.

    It answers handshakes, Pings and ListNodesRequests, hands routed Data on to carol, and lets
    her answer as deployed clients do: not at all.
    """

    def __init__(self, socket: MemorySocket) -> None:
        self.socket = socket
        self.asked = 0
        self.carols_inbox: list[Any] = []
        self.names = {CAROL_ID: "carol"}
        self.lists = True
        self._number = 0
        self._clients: dict[tuple[str, int], str] = {}
        self._tasks = [asyncio.ensure_future(work) for work in (self._serve(), self._beat())]

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.socket.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(10)
            for client in self._clients:
                self.say("Ping", None, client)

    async def _serve(self) -> None:
        while not self.socket.closed:
            await self.socket.wait()
            for data, source in self.socket.drain(64):
                self._answer(json.loads(data), source)

    def _answer(self, message: dict[str, Any], source: tuple[str, int]) -> None:
        match message["message_type"]:
            case "HandshakeRequest":
                self.say("Ack", None, source, ack_for=message["id"])
                self._clients[source] = message["payload"]["id"]
                payload = {
                    "node_info": self._info(RUST_ID, "rust"),
                    "success": True,
                    "error_message": None,
                    "public_addr": "{}:{}".format(*source),
                }
                self.say("HandshakeResponse", payload, source)
                if self.lists:
                    self.list_ids(source)
            case "Ping":
                self.say("Pong", None, source)
            case "ListNodesRequest":
                self.asked += 1
                nodes = [self._info(*named) for named in self.names.items()]
                self.say("ListNodesResponse", {"nodes": nodes}, source)
            case "Data":
                self.carols_inbox.append(message["payload"])

    def list_ids(self, to: tuple[str, int]) -> None:
        entries = [
            {"id": node_id, "addr": "10.0.0.78:4000", "last_seen": 0, "capabilities": []}
            for node_id in self.names
        ]
        self.say("DiscoveryResponse", entries, to)

    def say(self, kind: str, payload: Any, to: tuple[str, int], **fields: Any) -> None:
        self._number += 1
        message = {
            "id": f"{self._number:08x}-feed-4000-8000-000000000000",
            "message_type": kind,
            "timestamp": 1_795_000_000,
            "payload": payload,
            "sender_addr": None,
            "sequence_number": 1,
            "requires_ack": False,
            "ack_for": None,
        } | fields
        self.socket.send(json.dumps(message).encode(), to)

    def _info(self, node_id: str, name: str) -> dict[str, Any]:
        return {
            "id": node_id,
            "name": name,
            "version": "0.3.0",
            "listen_addr": "10.0.0.78:4000",
            "capabilities": [],
            "metadata": {},
            "network_id": "p2p_default",
        }


async def on_rust(stage: Stage) -> RustServer:
    """Alice's screen, joined to a deployed server."""
    await stage.open((160, 40))
    rust = RustServer(await MemorySocket.open(stage.network, RUST))
    stage.at_end(rust.close)
    await stage.type("connect 10.0.0.77:8080")
    # The first list may have overtaken the answer to the handshake.
    rust.list_ids(stage.alice.address)
    return rust


# A name that only a deployed server knows


def test_text_for_a_name_that_only_a_deployed_server_knows_is_sent():
    async def story(stage: Stage) -> None:
        rust = await on_rust(stage)
        said = await stage.type("send carol see you at ten")
        assert "no peer" not in said
        await stage.wait(40)
        (routed, *_) = rust.carols_inbox
        assert routed["destination_node"] == CAROL_ID
        assert routed["original_message"]["payload"] == "see you at ten"

    play(story)


def test_a_name_is_asked_for_even_where_the_server_listed_nobody_yet():
    async def story(stage: Stage) -> None:
        rust = await on_rust(stage)
        await stage.wait(5)
        rust.names["dada0000-0000-4000-8000-00000000000d"] = "dora"
        assert "dora" not in stage.text()
        asked = rust.asked
        assert "no peer" not in await stage.type("send dora hello you")
        assert rust.asked == asked + 1

    play(story)


def test_a_name_is_offered_by_table_completion_and_palette():
    async def story(stage: Stage) -> None:
        rust = await on_rust(stage)
        await stage.wait(2)
        assert rust.asked == 1
        assert "carol" in stage.text()
        for verb in ("send", "ping", "punch", "connect", "relay"):
            stage.app.bar.type(f"{verb} car")
            await stage.pilot.press("tab")
            assert stage.app.bar.input.value.strip() == f"{verb} carol"
        stage.app.bar.type("")
        await stage.pilot.press("ctrl+p")
        await stage.pilot.press(*"ping carol")
        await stage.wait()
        assert "ping carol" in stage.text()

    play(story)


def test_who_is_nobodys_name_is_told_so_after_one_question():
    async def story(stage: Stage) -> None:
        rust = await on_rust(stage)
        await stage.wait(5)
        asked = rust.asked
        assert "'nobody' is not a peer" in await stage.type("send nobody hello you")
        assert rust.asked == asked + 1
        for _ in range(5):
            stage.app.run_line("ping nobody")
        await stage.wait(0.5)
        assert rust.asked == asked + 1
        assert rust.carols_inbox == []

    play(story)


def test_two_nodes_of_one_name_are_told_and_none_is_sent_to():
    async def story(stage: Stage) -> None:
        rust = await on_rust(stage)
        other = "ca401000-0000-4000-8000-00000000000d"
        rust.names[other] = "carol"
        rust.list_ids(stage.alice.address)
        await stage.wait(100)
        for line in ("send carol hello you", "ping carol", "connect carol"):
            said = await stage.type(line)
            assert "'carol' fits 2 nodes" in said
            assert CAROL_ID in said
            assert other in said
        assert rust.carols_inbox == []

    play(story)


def test_the_library_knows_the_name_too():
    async def story() -> None:
        async with Town() as town:
            rust = RustServer(await MemorySocket.open(town.network, RUST))
            rust.lists = False
            alice = await town.start("alice")
            await alice.connect(RUST)
            found = await alice.find("carol")
            assert isinstance(found, OtherNode)
            assert (found.node_id, found.via_name) == (CAROL_ID, "rust")
            with pytest.raises(PeerTimeoutError):
                await alice.ping("carol", timeout_s=2)
            with pytest.raises(UnknownPeerError, match="there is no session with carol"):
                await alice.send("carol", "x")
            with pytest.raises(UnknownPeerError, match="no node is called 'nobody'"):
                await alice.ping("nobody")
            assert rust.asked == 2
            rust.close()
            await asyncio.sleep(0)

    run_virtual(story())


def test_who_asks_for_a_name_while_it_is_being_asked_for_shares_the_answer():
    async def story() -> None:
        async with Town() as town:
            rust = RustServer(await MemorySocket.open(town.network, RUST))
            rust.lists = False
            alice = await town.start("alice")
            await alice.connect(RUST)
            found = await asyncio.gather(*(alice.find("carol") for _ in range(20)))
            assert {node.node_id for node in found} == {CAROL_ID}
            assert rust.asked == 1
            rust.close()
            await asyncio.sleep(0)

    run_virtual(story())


def test_between_our_own_nodes_a_name_is_enough():
    async def story() -> None:
        async with Town() as town:
            _, alice, bob = await town.trio()
            await asyncio.sleep(3)
            assert (await alice.ping("bob")).rtt_s > 0
            assert (await alice.connect("bob")).node_id == bob.id
            assert (await alice.send("bob", "x")).status is SendStatus.DELIVERED

    run_virtual(story())


def test_two_nodes_of_one_server_see_each_others_names():
    async def story(stage: Stage) -> None:
        await stage.open()
        server = await stage.node("server", "10.0.0.9")
        node_b = await stage.node("nodeB", "10.0.0.8")
        await node_b.connect(server.address)
        await stage.type("connect 10.0.0.9:8080")
        await stage.wait(1)
        assert "nodeB" in stage.text()
        assert "1 of 1 answered" in await stage.type("ping nodeB 1")

    play(story)


# The selected node, by one word everywhere


@pytest.mark.parametrize(
    "line", ["ping . 1", "ping -n 1 .", "send . hello", "punch .", "connect ."]
)
def test_the_selected_node_has_one_word_for_every_verb(line):
    async def story(stage: Stage) -> None:
        await stage.open()
        assert "nobody is selected" in await stage.type(line)
        await stage.friend("bob", 2)
        await stage.wait()
        said = await stage.type(line)
        assert "bob" in said
        assert "no node is called" not in said

    play(story)


def test_every_verb_for_a_peer_takes_the_word_for_the_selected_one():
    async def story(stage: Stage) -> None:
        await stage.open()
        for verb in VERBS.values():
            kinds = [parameter.kind for parameter in verb.parameters]
            if Kind.PEER in kinds:
                text = " text" if Kind.TEXT in kinds else ""
                assert "nobody is selected" in await stage.type(f"{verb.name} .{text}"), verb

    play(story)


def test_a_goodbye_is_for_somebody_who_is_named():
    async def story(stage: Stage) -> None:
        await stage.open()
        assert "nobody is selected" in await stage.type("disconnect")
        await stage.friend("bob", 2)
        await stage.wait()
        said = await stage.type("disconnect")
        assert said == "disconnect whom? disconnect . says goodbye to the selected node, bob"
        assert [peer.name for peer in stage.alice.peers] == ["bob"]
        assert await stage.type("disconnect .") == "said goodbye to bob"
        assert stage.alice.peers == []

    play(story)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("connect 127.0.0.1", "the port is missing; write HOST:PORT, here 127.0.0.1:PORT"),
        ("connect ::1", "the port is missing; write HOST:PORT, here [::1]:PORT"),
        ("connect localhost", "the port is missing: write localhost:PORT"),
        ("ping 127.0.0.1", "the port is missing"),
        ("ping example.org", "the port is missing: write example.org:PORT"),
        ("disconnect 127.0.0.1", "the port is missing"),
        ("punch 127.0.0.1", "the port is missing"),
        ("send 127.0.0.1 hi there", "the port is missing"),
        ("relay 127.0.0.1 hi there", "the port is missing"),
        ("nat 127.0.0.1", "the port is missing"),
    ],
)
def test_an_address_without_a_port_is_told_so_by_every_verb(line, said):
    async def story(stage: Stage) -> None:
        await stage.open()
        assert said in await stage.type(line)

    play(story)


def test_all_nodes_behind_a_server_that_was_joined_are_there_and_stay_so():
    async def story(stage: Stage) -> None:
        await stage.node("hub", "10.0.2.1")
        for number in range(12):
            node = await stage.node(f"node-{number}", f"10.0.3.{number + 1}")
            await node.connect(("10.0.2.1", 8080))
        await stage.open(join=("10.0.2.1:8080",))
        for seconds in (3, 400):
            await stage.wait(seconds)
            assert stage.app.peers.border_title.startswith("Peers 13")
            assert {f"node-{number}" for number in range(12)} <= set(stage.app.roster.names())

    play(story)


def test_a_goodbye_to_a_joined_server_holds_and_says_how_to_take_it_back():
    async def story(stage: Stage) -> None:
        hub = await stage.node("hub", "10.0.2.1")
        await stage.open(join=("10.0.2.1:8080",))
        await stage.wait(1)
        said = await stage.type("disconnect hub")
        assert said == "said goodbye to hub; connect 10.0.2.1:8080 joins it again"
        await stage.wait(200)
        assert stage.alice.peers == []
        notes = [record.summary for record in stage.app.messages.shown() if record.peer == "hub"]
        assert notes[-1] == "disconnected: this node said goodbye"
        assert "connected to hub" in await stage.type("connect 10.0.2.1:8080")
        assert [peer.name for peer in hub.peers] == ["alice"]

    play(story)


def routed_lines(stage: Stage, direction: str, kind: str) -> list[tuple[str, str]]:
    return [
        (record.peer, record.summary)
        for record in stage.app.messages.shown()
        if (record.direction, record.kind, record.is_routed) == (direction, kind, True)
    ]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_messages_over_a_server_show_the_node_at_the_other_end_and_its_words(size):
    async def story(stage: Stage) -> None:
        await stage.node("hub", "10.0.2.1")
        bob = await stage.node("bob", "10.0.3.1")
        await bob.connect(("10.0.2.1", 8080))
        await stage.open(size, join=("10.0.2.1:8080",))
        await stage.wait(3)
        assert "delivered" in await stage.type("send bob hi there")
        await bob.send_routed(stage.alice.id, "and back")
        assert "ms" in await stage.type("ping bob 1")
        await stage.wait(2)
        assert routed_lines(stage, "out", "Data")[0][0] == "bob"
        assert routed_lines(stage, "out", "Data")[0][1].startswith('via hub  "hi there"')
        assert routed_lines(stage, "in", "Data")[0][0] == "bob"
        assert routed_lines(stage, "in", "Data")[0][1].startswith('via hub  "and back"')
        for direction in ("out", "in"):
            # It has no number of its own.
            assert not [s for _, s in routed_lines(stage, direction, "Data") if "None" in s]
        assert [peer for peer, _ in routed_lines(stage, "out", "Ping")] == ["bob"]
        assert [peer for peer, _ in routed_lines(stage, "in", "Pong")] == ["bob"]
        assert routed_lines(stage, "in", "Ack")[0][0] == "bob"
        await stage.type("filter peer:bob type:Data")
        shown = [record.summary for record in stage.app.messages.shown()]
        assert any("hi there" in line for line in shown)
        assert any("and back" in line for line in shown)
        record = next(r for r in stage.app.messages.shown() if "hi there" in r.summary)
        assert "original_message" in record.pretty()
        assert record.node_id == bob.id
        node = stage.app.roster.find("bob")
        assert (node.messages_out, node.messages_in) == (3, 3)  # Data, Ping, Ack; each way
        assert node.rtt_ms == pytest.approx(8, abs=8)
        assert node.last_received_ago_s is not None
        if size[0] == 120:
            text = stage.text()
            assert 'via hub  "hi there"' in text

    play(story)


def test_who_forwards_sees_from_whom_and_for_whom():
    async def story(stage: Stage) -> None:
        await stage.open()
        bob, carol = await stage.friend("bob", 1), await stage.friend("carol", 2)
        await bob.send_routed(carol.id, "psst")
        await stage.wait(1)
        assert routed_lines(stage, "in", "Sealed")[0] == ("bob", "for carol  keys asked for")
        assert routed_lines(stage, "in", "Sealed")[-1][1] == "for bob  sealed from end to end"
        assert routed_lines(stage, "out", "Sealed")[0] == ("carol", "from bob  keys asked for")
        assert not any("psst" in record.pretty() for record in stage.app.messages.shown())

    play(story)


def test_relayed_bytes_are_shown_with_the_node_at_the_other_end():
    async def story(stage: Stage) -> None:
        await stage.node("hub", "10.0.2.1", allow_symmetric_nat_relay=True)
        bob = await stage.node("bob", "10.0.3.1")
        await bob.connect(("10.0.2.1", 8080))
        await stage.open(join=("10.0.2.1:8080",))
        await stage.wait(3)
        assert "relayed to bob by hub" in await stage.type("relay bob hi there")
        hub = stage.app.roster.find("hub")
        await bob.relay(hub.node_id, stage.alice.id, b"and back")
        await stage.wait(1)
        ((sent_to, sent),) = routed_lines(stage, "out", "RelayRequest")
        ((came_from, came),) = routed_lines(stage, "in", "RelayData")
        assert (sent_to, came_from) == ("bob", "bob")
        assert sent.startswith("via hub ")
        assert came.startswith("via hub ")

    play(story)
