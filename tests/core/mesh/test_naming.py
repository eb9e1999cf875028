"""Names of nodes behind servers: in lists between our own nodes, asked for elsewhere."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.identity import MAX_TOLD_NAME, MAX_TOLD_NAME_BYTES, told_name
from p2ptui.core.mesh.naming import ASK_EVERY_S, FRESH_S
from p2ptui.node.others import find_others
from p2ptui.wire.codec import encode_payload
from tests.simulation import Host, Puppet, World


def names(host: Host) -> dict[str, str]:
    """The nodes behind the peers of a host, with their names."""
    return {other.node_id: other.name for other in find_others(host.endpoint, host.world.now)}


def our_server(world: World) -> tuple[Host, Host, Host]:
    server, alice = world.host(name="server"), world.host(name="alice")
    bob = world.host(name="nodeB")
    alice.outcome(alice.connect(server))
    bob.outcome(bob.connect(server))
    world.run_for(3)
    return server, alice, bob


class RustServer:
    """A deployed server, played: it lists ids, and tells names only to who asks."""

    def __init__(self, world: World, **names: str) -> None:
        self.world = world
        self.puppet: Puppet = world.puppet()
        self.names = names
        self.asked = 0

    def admit(self, client: Host) -> None:
        token = client.connect(self.puppet, 5.0)
        self.world.run_for(0.1)
        (request,) = (m for m in self.puppet.take() if m["message_type"] == "HandshakeRequest")
        info = {
            "id": self.puppet.id,
            "name": "rust",
            "version": "0.3.0",
            "listen_addr": "0.0.0.0:8080",
            "capabilities": ["p2p_server"],
            "metadata": {},
            "network_id": "p2p_default",
        }
        payload = {
            "node_info": info,
            "success": True,
            "error_message": None,
            "public_addr": "{}:{}".format(*client.address),
        }
        self.puppet.say("Ack", None, client, ack_for=request["id"])
        self.puppet.say("HandshakeResponse", payload, client)
        client.outcome(token)

    def list_ids(self, client: Host) -> None:
        entries = [
            {"id": node_id, "addr": "10.9.9.9:4000", "last_seen": 0, "capabilities": []}
            for node_id in self.names
        ]
        self.puppet.say("DiscoveryResponse", entries, client)

    def serve(self, client: Host, seconds: float) -> None:
        """Answer ListNodesRequests for a while, and ask whether the client is there, as it does."""
        self.puppet.say("Ping", None, client)
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.run_for(0.1)
            for message in self.puppet.take():
                if message["message_type"] == "ListNodesRequest":
                    self.asked += 1
                    nodes = [
                        {
                            "id": node_id,
                            "name": name,
                            "version": "0.3.0",
                            "listen_addr": "10.9.9.9:4000",
                            "capabilities": [],
                            "metadata": {},
                            "network_id": "p2p_default",
                        }
                        for node_id, name in self.names.items()
                    ]
                    self.puppet.say("ListNodesResponse", {"nodes": nodes}, client)


def test_two_nodes_of_one_server_know_each_other_by_name():
    server, alice, bob = our_server(World())
    assert names(alice) == {bob.id: "nodeB"}
    assert names(bob) == {alice.id: "alice"}
    assert names(server) == {}


def test_nobody_has_to_ask_where_lists_tell_names():
    world = World()
    _, alice, bob = our_server(world)
    alice.endpoint.naming.watched = True
    asked: list[str] = []
    alice.endpoint.naming._queries.ask_names = lambda *_: asked.append("asked")
    world.run_for(3 * ASK_EVERY_S)
    assert asked == []
    assert names(alice) == {bob.id: "nodeB"}


def test_a_deployed_client_is_sent_lists_without_names():
    world = World()
    server, bob = world.host(name="server"), world.host(name="bob")
    bob.outcome(bob.connect(server))
    client = world.puppet()
    lists = [m for m in client.join(server) if m["message_type"] == "DiscoveryResponse"]
    assert [entry["id"] for entry in lists[0]["payload"]] == [bob.id]
    late = world.host(name="late")
    late.outcome(late.connect(server))
    world.run_for(3)
    lists += [m for m in client.take() if m["message_type"] == "DiscoveryResponse"]
    client.say("DiscoveryRequest", None, server)
    world.run_for(3)
    lists += [m for m in client.take() if m["message_type"] == "DiscoveryResponse"]
    assert len(lists) >= 2
    assert not any("name" in entry for message in lists for entry in message["payload"])


def test_a_name_of_any_length_leaves_room_for_the_others_in_a_page():
    world = World()
    server = world.host(name="server")
    for number in range(6):
        other = world.host(name=f"{number}" + "\x01" * 60)
        other.outcome(other.connect(server))
    reader = world.host(name="reader")
    reader.outcome(reader.connect(server))
    world.run_for(5)
    assert len(names(reader)) == 6
    for name in names(reader).values():
        assert len(encode_payload(name)) <= MAX_TOLD_NAME_BYTES


@given(st.one_of(st.text(max_size=300), st.none(), st.integers(), st.lists(st.text())))
def test_what_stands_for_a_name_is_bounded_text_or_nothing(name):
    told = told_name(name)
    assert isinstance(told, str)
    assert len(told) <= MAX_TOLD_NAME
    if isinstance(name, str):
        assert name.startswith(told)
        assert len(encode_payload(told)) <= MAX_TOLD_NAME_BYTES
    assert told_name(told) == told


def test_whatever_stands_in_the_free_key_does_not_spoil_the_list():
    world = World()
    server, alice = world.host(name="server"), world.host(name="alice")
    alice.outcome(alice.connect(server))
    odd = [7, None, ["x"], {"a": 1}, "x" * 5000, "\ud800"]
    entries = [
        {"id": world.node_id(), "addr": "10.9.9.9:1", "last_seen": 0, "capabilities": [], "name": n}
        for n in odd
    ]
    peer = server.peer(alice)
    assert peer is not None
    raw = json.dumps({"joined": entries[:5], "left": []}).encode()
    from msgspec import Raw

    server.endpoint._delivery.send(peer, "DiscoveryUpdate", Raw(raw), world.now)
    server.settle()
    world.run_for(1)
    assert sorted(names(alice).values()) == ["", "", "", "", "x" * MAX_TOLD_NAME]


def test_a_deployed_server_is_asked_once_for_the_names_that_its_lists_lack():
    world = World()
    carol = "ca401000-0000-4000-8000-00000000000c"
    rust, alice = RustServer(world, **{carol: "carol"}), world.host(name="alice")
    alice.endpoint.naming.watched = True
    rust.admit(alice)
    rust.list_ids(alice)
    world.run_for(0.1)
    assert names(alice) == {carol: ""}
    rust.serve(alice, 2)
    assert names(alice) == {carol: "carol"}
    for _ in range(30):
        rust.list_ids(alice)
        rust.serve(alice, 1)
    assert rust.asked == 1
    assert names(alice) == {carol: "carol"}


def test_where_nobody_looks_no_name_is_asked_for():
    world = World()
    carol = "ca401000-0000-4000-8000-00000000000c"
    rust, alice = RustServer(world, **{carol: "carol"}), world.host(name="alice")
    rust.admit(alice)
    rust.list_ids(alice)
    rust.serve(alice, 10)
    assert rust.asked == 0


def test_many_newcomers_make_one_question_a_minute():
    world = World()
    rust, alice = RustServer(world), world.host(name="alice", connection_timeout=3600)
    alice.endpoint.naming.watched = True
    rust.admit(alice)
    for number in range(120):
        rust.names[f"ca401000-0000-4000-8000-{number:012x}"] = f"carol{number}"
        rust.list_ids(alice)
        rust.serve(alice, 1)
    assert 2 <= rust.asked <= 3
    rust.serve(alice, 2 * ASK_EVERY_S)
    assert all(names(alice).values())


def test_who_is_no_server_of_ours_is_not_asked_and_does_not_rename():
    world = World()
    server, alice, bob = our_server(world)
    alice.endpoint.naming.watched = True
    mallory = world.host(name="mallory")
    mallory.outcome(mallory.connect(alice))
    peer = mallory.peer(alice)
    assert peer is not None
    from p2ptui.wire.message import DiscoveryUpdatePayload, PeerInfo

    other = world.node_id()
    entries = [
        PeerInfo(bob.id, "10.9.9.9:1", 0, (), "server"),
        PeerInfo(other, "10.9.9.9:2", 0, ()),
    ]
    update = encode_payload(DiscoveryUpdatePayload(joined=entries))
    mallory.endpoint._delivery.send(peer, "DiscoveryUpdate", update, world.now)
    mallory.settle()
    world.run_for(5)
    assert names(alice)[bob.id] == "nodeB"
    assert names(alice)[other] == ""
    assert len(alice.endpoint.naming) == 0
    assert server.id not in names(alice)


def test_a_server_that_was_asked_just_now_is_not_asked_again_for_a_person():
    world = World()
    _, alice, _ = our_server(world)
    naming = alice.endpoint.naming
    assert [peer.name for peer in naming.servers_to_ask(world.now)] == ["server"]
    assert naming.servers_to_ask(world.now + FRESH_S / 2) == []
    assert [peer.name for peer in naming.servers_to_ask(world.now + FRESH_S)] == ["server"]


def test_a_server_that_left_leaves_nothing_behind():
    world = World()
    server, alice, _ = our_server(world)
    alice.endpoint.naming.servers_to_ask(world.now)
    peer = alice.peer(server)
    assert peer is not None
    alice.endpoint.disconnect(peer, "bye", world.now)
    assert names(alice) == {}
    assert len(alice.endpoint.naming) == 0


@pytest.mark.parametrize("size", [3, 40])
def test_lists_with_names_stay_within_the_datagram_budget(size):
    world = World()
    server = world.host(name="server")
    for number in range(size):
        other = world.host(name=f"node number {number} with a long name of its own, really")
        other.outcome(other.connect(server))
    seen: list[int] = []
    real = server.endpoint.datagrams_to_send

    def watch(now: float):
        datagrams = real(now)
        seen.extend(len(data) for data, _ in datagrams)
        return datagrams

    server.endpoint.datagrams_to_send = watch
    reader = world.host(name="reader")
    reader.outcome(reader.connect(server))
    peer = reader.peer(server)
    assert peer is not None
    reader.endpoint.discover(peer, world.now)
    reader.settle()
    world.run_for(5)
    assert len(names(reader)) == size
    assert max(seen) <= server.endpoint.config.server.datagram_budget
