"""Deployed clients, byte for byte as captured, talk to this node as their server."""

from typing import Any

import pytest

from tests.reference import captured, one
from tests.simulation import UNIX_START, Puppet, World

SERVER = ("127.0.0.1", 18095)
ADDRESSES = {"a": ("127.0.0.1", 48811), "b": ("127.0.0.1", 44552)}
A_ID = "a784ef01-3fcb-422a-890e-0c8a71c37e10"
B_ID = "78e78e85-def0-4d0c-ae4d-92c05fe8f153"

Inboxes = dict[str, list[dict[str, Any]]]


class Scene:
    """The captured clients, and this node in the place of their server."""

    def __init__(self, **options: Any) -> None:
        self.world = World()
        self.server = self.world.host(SERVER, allow_symmetric_nat_relay=True, **options)
        self.clients: dict[str, Puppet] = {
            name: self.world.puppet(address) for name, address in ADDRESSES.items()
        }

    def replay(self, case: str) -> Inboxes:
        """Send what the clients sent in this case; what each of them gets within a second."""
        for datagram in captured(case):
            if datagram.destination == "server":
                self.clients[datagram.source].send(datagram.raw, self.server)
                self.world.run_for(0.5)
        self.world.run_for(0.5)
        return {name: client.take() for name, client in self.clients.items()}


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def joined(scene: Scene) -> Scene:
    scene.replay("handshake")
    scene.replay("handshake of a second node")
    for client in scene.clients.values():
        scene.server.ping(client)
    scene.world.run_for(0.5)
    for client in scene.clients.values():
        client.take()
    return scene


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["message_type"] for message in messages]


def only(messages: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (message,) = [message for message in messages if message["message_type"] == kind]
    return message


def test_the_first_datagram_after_a_handshake_is_its_response(scene: Scene) -> None:
    got = scene.replay("handshake")["a"]

    assert types(got) == ["HandshakeResponse", "Ack", "DiscoveryResponse"]
    response = got[0]["payload"]
    theirs = one("handshake", "HandshakeResponse")["payload"]
    assert response.keys() == theirs.keys()
    assert response["success"] is True
    assert response["error_message"] is None
    assert response["public_addr"] == theirs["public_addr"] == "127.0.0.1:48811"
    node_info = response["node_info"]
    assert node_info.keys() == theirs["node_info"].keys() | {"node_id"}
    assert node_info["id"] == node_info["node_id"] == scene.server.id
    assert node_info["network_id"] == "p2p_default"
    assert node_info["listen_addr"] == "127.0.0.1:18095"
    assert node_info["capabilities"] == theirs["node_info"]["capabilities"]
    assert got[2]["payload"] == []


def test_every_message_has_the_keys_that_a_deployed_client_parses(scene: Scene) -> None:
    for message in scene.replay("handshake")["a"]:
        assert message.keys() == one("ping", "Pong").keys() - {"sender_addr"}
        assert isinstance(message["timestamp"], int)
        assert message["timestamp"] - UNIX_START - 1000 in (0, 1)
        assert message["requires_ack"] is False


def test_an_ack_names_the_message_by_its_id(scene: Scene) -> None:
    request = one("handshake", "HandshakeRequest")

    ack = only(scene.replay("handshake")["a"], "Ack")

    assert ack["ack_for"] == request["id"] == one("handshake", "Ack")["ack_for"]
    assert ack["payload"] is None


def test_a_second_node_is_told_of_the_first_and_the_first_of_it(scene: Scene) -> None:
    scene.replay("handshake")

    got = scene.replay("handshake of a second node")

    # There are not bytes enough for all three before it has answered a Ping.
    assert types(got["b"]) == ["HandshakeResponse", "DiscoveryResponse", "Ack"]
    for client in scene.clients.values():  # it is news once both have proved their addresses
        scene.server.ping(client)
    scene.world.run_for(0.5)
    got["a"] = [*got["a"], *scene.clients["a"].take()]
    for name, other in (("b", "a"), ("a", "b")):
        entries = only(got[name], "DiscoveryResponse")["payload"]
        theirs = one("handshake of a second node", "DiscoveryResponse", name)["payload"]
        assert [(entry["id"], entry["addr"]) for entry in entries] == [
            (entry["id"], entry["addr"]) for entry in theirs
        ]
        assert entries[0].keys() == theirs[0].keys()
        assert entries[0]["last_seen"] in range(UNIX_START + 1000, UNIX_START + 1003)
        assert scene.clients[other].address == ADDRESSES[other]


def test_another_network_is_refused_with_a_reason(scene: Scene) -> None:
    got = scene.replay("handshake with another network")["a"]

    assert types(got) == ["HandshakeResponse"]
    assert got[0]["payload"]["success"] is False
    assert got[0]["payload"]["error_message"] == (
        "network mismatch: expected 'p2p_default', got 'other'"
    )
    assert not scene.server.is_connected_to(scene.clients["a"])


def test_a_ping_without_payload_gets_a_pong_without_payload(joined: Scene) -> None:
    got = joined.replay("ping")["a"]

    assert types(got) == ["Pong"]
    assert got[0]["payload"] is None


def test_discovery_lists_the_others(joined: Scene) -> None:
    got = joined.replay("discovery")["a"]

    assert types(got) == ["DiscoveryResponse"]
    (entry,) = got[0]["payload"]
    (theirs,) = one("discovery", "DiscoveryResponse")["payload"]
    assert entry | {"last_seen": 0} == theirs | {"last_seen": 0}


def test_the_node_list_names_everybody_at_the_observed_address(joined: Scene) -> None:
    got = joined.replay("list nodes")["a"]

    assert types(got) == ["ListNodesResponse"]
    nodes = {node["id"]: node for node in got[0]["payload"]["nodes"]}
    theirs = {
        node["id"]: node for node in one("list nodes", "ListNodesResponse")["payload"]["nodes"]
    }
    assert nodes.keys() == theirs.keys() == {A_ID, B_ID}
    for node_id, node in nodes.items():
        assert node == theirs[node_id] | {"node_id": node_id}


def test_data_is_acknowledged_and_echoed(joined: Scene) -> None:
    got = joined.replay("data with ack")["a"]

    assert types(got) == ["Ack", "Data"]
    assert got[0]["ack_for"] == one("data with ack", "Data", "server")["id"]
    assert got[1]["payload"]["echo"] == {"message": "hi"}
    assert isinstance(got[1]["payload"]["timestamp"], int)
    assert joined.server.received() == [{"message": "hi"}]


def test_the_route_table_is_told(joined: Scene) -> None:
    got = joined.replay("route table")["a"]

    assert types(got) == ["Data"]
    theirs = one("route table", "Data", "a")["payload"]["routes"]
    by_destination = {route["destination"]: route for route in got[0]["payload"]["routes"]}
    assert by_destination == {route["destination"]: route for route in theirs}
    assert joined.server.received() == []


def test_both_sides_are_introduced(joined: Scene) -> None:
    got = joined.replay("p2p connect")

    for name in ("a", "b"):
        theirs = one("p2p connect", "P2PConnect", name)["payload"]
        ours = only(got[name], "P2PConnect")["payload"]
        assert {key: ours[key] for key in theirs} == theirs
        assert ours.keys() - theirs.keys() == {"peer_name", "peer_capabilities"}


def test_nobody_is_introduced_to_an_unknown_node(joined: Scene) -> None:
    got = joined.replay("p2p connect to an unknown node")

    (error,) = got["a"]
    assert error["message_type"] == "Error"
    assert error["payload"]["code"] == "peer_not_found"
    assert "ef7e8615-3449-4c82-95a2-dec25e8d3816" in error["payload"]["error"]
    assert got["b"] == []


def test_bytes_are_relayed(joined: Scene) -> None:
    got = joined.replay("relay")

    assert [message["payload"] for message in got["a"]] == [{"success": True}]
    assert types(got["a"]) == ["RelayResponse"]
    assert types(got["b"]) == ["RelayData"]
    assert got["b"][0]["payload"] == one("relay", "RelayData")["payload"]


def test_nothing_is_relayed_to_an_unknown_node(joined: Scene) -> None:
    got = joined.replay("relay to an unknown node")

    assert types(got["a"]) == ["RelayResponse"]
    assert got["a"][0]["payload"]["success"] is False
    assert "31193d69-df63-45cd-8c95-4dfebf26e4eb" in got["a"][0]["payload"]["error_message"]
    assert got["b"] == []


def test_routed_data_is_forwarded_with_one_more_hop(joined: Scene) -> None:
    got = joined.replay("routed data")

    assert got["a"] == []
    assert types(got["b"]) == ["Data"]
    ours, theirs = got["b"][0]["payload"], one("routed data", "Data", "b")["payload"]
    assert ours == theirs
    assert ours["hop_count"] == 1


def test_a_goodbye_is_believed_within_a_second(joined: Scene) -> None:
    joined.clients["b"].answers_pings = False  # it has ended

    joined.replay("disconnect")

    assert not joined.server.is_connected_to(joined.clients["b"])
    nodes = only(joined.replay("list nodes")["a"], "ListNodesResponse")["payload"]["nodes"]
    assert [node["id"] for node in nodes] == [A_ID]


def test_two_deployed_clients_exchange_routed_data_over_this_node() -> None:
    case = "two deployed clients exchange routed data"
    world = World()
    server = world.host(("127.0.0.1", 18091), network_id="test")
    clients = {
        "client1": world.puppet(("127.0.0.1", 34332)),
        "client2": world.puppet(("127.0.0.1", 44478)),
    }
    received: Inboxes = {name: [] for name in clients}
    for datagram in captured(case):
        if datagram.destination == "server":
            if datagram.kind == "Disconnect":
                clients[datagram.source].answers_pings = False
            clients[datagram.source].send(datagram.raw, server)
            world.run_for(0.5)
            for name, client in clients.items():
                received[name] += client.take()
    world.run_for(1)

    for name, client in clients.items():
        assert received[name][0]["message_type"] == "HandshakeResponse"
        assert only(received[name], "Ack")["ack_for"] == next(
            datagram.message["id"] for datagram in captured(case) if datagram.source == name
        )
        theirs = one(case, "Data", name)["payload"]
        assert only(received[name], "Data")["payload"] == theirs
        assert not server.is_connected_to(client)
    other = "8ffb117a-abce-407b-a077-293910375b86"
    listed = [
        entry["id"]
        for message in received["client2"]
        if message["message_type"] == "DiscoveryResponse"
        for entry in message["payload"]
    ]
    assert other in listed


@pytest.mark.parametrize("is_short", [False, True])
def test_the_first_answer_names_the_network_in_its_metadata(is_short: bool) -> None:
    """Clients of version 0.2.0 look there, at the first datagram only, and give up otherwise."""
    world = World()
    server = world.host(network_id="test")
    requests = captured("two deployed clients exchange routed data")
    request = next(each.message for each in requests if each.kind == "HandshakeRequest")
    if is_short:
        payload = request["payload"]
        request["payload"] = {"id": payload["id"], "network_id": "test"}
    client = world.puppet()
    client.send(request, server)
    world.run_for(0.5)

    response = client.take()[0]
    assert response["message_type"] == "HandshakeResponse"
    assert response["payload"]["success"] is True
    assert response["payload"]["node_info"]["metadata"]["network_id"] == "test"


@pytest.mark.parametrize(("case", "kind"), [("p2p connect", "P2PConnect"), ("routed data", "Data")])
def test_what_one_client_causes_waits_until_the_other_has_paid_for_it(
    scene: Scene, case: str, kind: str
) -> None:
    """Nobody else's bytes pay for what goes to `b`, which sent no more than its handshake."""
    a, b = scene.clients.values()
    b.answers_pings = False
    scene.replay("handshake")
    scene.replay("handshake of a second node")
    scene.server.ping(a)
    assert kind not in types(scene.replay(case)["b"])

    came: list[str] = []
    for _ in range(3):
        came += types(b.ask("Ping", None, scene.server))
        assert b.bytes_received <= 3 * b.bytes_sent

    assert scene.server.peer(a).proved
    assert kind in came


@pytest.mark.parametrize("asker_answers_pings", [True, False])
def test_bytes_are_relayed_once_the_target_may_be_sent_them_and_never_said_to_be_before(
    scene: Scene, asker_answers_pings: bool
) -> None:
    a, b = scene.clients.values()
    a.answers_pings, b.answers_pings = asker_answers_pings, False
    scene.replay("handshake")
    scene.replay("handshake of a second node")

    def ask_to_relay() -> list[dict[str, Any]]:
        return a.ask("RelayRequest", {"target_peer_id": B_ID, "data": [1, 2, 3]}, scene.server)

    told: list[dict[str, Any]] = []
    arrived = 0
    for number in range(12):
        if number in (5, 8):
            b.say("Ping", None, scene.server)
        told += [m["payload"] for m in ask_to_relay() if m["message_type"] == "RelayResponse"]
        arrived += types(b.take()).count("RelayData")
        assert b.bytes_received <= 3 * b.bytes_sent

    assert len(told) == 12
    assert told[0] == {"success": False, "error_message": "the target has not answered yet"}
    agreed = [answer for answer in told if answer["success"]]
    refused = [answer for answer in told if not answer["success"]]
    assert 0 < len(agreed) == arrived
    assert all(answer == told[0] for answer in refused)
    # And once it has proved its address, all of them.
    b.answers_pings = True
    scene.server.ping(b)
    scene.world.run_for(0.1)
    assert {"success": True} in [m["payload"] for m in ask_to_relay()]
    assert "RelayData" in types(b.take())


def test_a_deployed_client_that_only_listens_is_kept() -> None:
    scene = Scene()
    scene.replay("handshake")
    scene.replay("handshake of a second node")

    scene.world.run_for(300)

    for client in scene.clients.values():
        assert scene.server.is_connected_to(client)


def test_a_deployed_client_gets_no_extension() -> None:
    scene = Scene()
    for case in ("handshake", "handshake of a second node", "data with ack"):
        scene.replay(case)

    nodes = [scene.world.host() for _ in range(3)]
    for node in nodes:
        node.connect(scene.server)
        scene.world.run_for(2)
    scene.server.send(scene.clients["a"], "x" * 20_000)
    for node in nodes:
        scene.server.endpoint.disconnect(scene.server.peer(node), "go", scene.world.now)
    scene.world.run_for(5)

    for client in scene.clients.values():
        assert all(data[:1] == b"{" for data in client.inbox)
        assert set(client.take_types()) <= {"DiscoveryResponse", "Data"}
