"""The captured reference server, its answers adapted in ids, serves this node as its client."""

from collections.abc import Iterable
from typing import Any

import pytest

from p2ptui.core.events import (
    ConnectResult,
    DataReceived,
    NodeList,
    Path,
    PeerIntroduced,
    PeersDiscovered,
    PingResult,
    RelayDataReceived,
    RoutesReceived,
    SendResult,
    SendStatus,
)
from p2ptui.errors import HandshakeError, LocalError, PeerTimeoutError, UnknownPeerError
from tests.reference import captured
from tests.simulation import Host, Puppet, World

SERVER_ID = "c2c1925c-1915-406c-b0bf-7ddc23455e50"
A_ID = "a784ef01-3fcb-422a-890e-0c8a71c37e10"
B_ID = "78e78e85-def0-4d0c-ae4d-92c05fe8f153"
B_ADDRESS = ("127.0.0.1", 44552)

KINDS = {"HandshakeRequest": ("Ack", "HandshakeResponse", "DiscoveryResponse")}


class Server(Puppet):
    """The reference server, played from the capture for one client in the place of `a`."""

    client: Host

    def answer(self, case: str, kinds: Iterable[str], request: dict[str, Any]) -> None:
        """Send the client what the reference server sent in this case, in the order of `kinds`."""
        by_kind = {
            datagram.kind: datagram.message
            for datagram in captured(case)
            if datagram.source == "server" and datagram.destination == "a"
        }
        for kind in kinds:
            message = by_kind[kind] | {"id": self.world.message_id()}
            if kind == "Ack":
                message["ack_for"] = request["id"]
            self.send(message, self.client)

    def expect(self, kind: str) -> dict[str, Any]:
        """Wait for a message of the client; it is the first one of this kind."""
        self.world.run_for(0.1)
        return next(message for message in self.take() if message["message_type"] == kind)


class Scene:
    def __init__(self, **options: Any) -> None:
        self.world = World()
        self.node = self.world.host(node_id=A_ID, **options)
        address = self.world.network.attach(("127.0.0.1", 18095))
        self.server = Server(self.world, address, SERVER_ID)
        self.server.client = self.node
        self.world.hosts[address] = self.server

    def join(self, *kinds: str) -> int:
        token = self.node.connect(self.server)
        request = self.server.expect("HandshakeRequest")
        self.server.answer("handshake", kinds or KINDS["HandshakeRequest"], request)
        self.world.run_for(0.2)
        return token


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def joined(scene: Scene) -> Scene:
    scene.join()
    scene.server.inbox.clear()
    return scene


ORDERS = [
    ("Ack", "HandshakeResponse", "DiscoveryResponse"),
    ("HandshakeResponse", "Ack", "DiscoveryResponse"),
    ("HandshakeResponse",),
    ("DiscoveryResponse", "HandshakeResponse"),
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_a_response_makes_a_peer_wherever_the_ack_is(scene: Scene, order: tuple[str, ...]) -> None:
    token = scene.join(*order)

    assert scene.node.outcome(token) == ConnectResult(
        SERVER_ID, scene.server.address, ("127.0.0.1", 48811)
    )
    assert scene.node.is_connected_to(scene.server)
    assert "HandshakeRequest" not in scene.server.take_types()


def test_the_request_is_what_the_reference_server_parses(scene: Scene) -> None:
    scene.node.connect(scene.server)
    request = scene.server.expect("HandshakeRequest")

    theirs = captured("handshake")[0].message
    assert request.keys() == theirs.keys() - {"sender_addr"}
    assert theirs["payload"].keys() <= request["payload"].keys()
    assert request["payload"]["id"] == request["payload"]["node_id"] == A_ID
    assert request["requires_ack"] is True


def test_an_ack_alone_makes_no_peer(scene: Scene) -> None:
    token = scene.join("Ack")

    outcome = scene.node.outcome(token, 30)

    assert isinstance(outcome, HandshakeError)
    assert "no answer" in str(outcome)


def test_an_error_is_a_refusal(scene: Scene) -> None:
    token = scene.node.connect(scene.server)
    request = scene.server.expect("HandshakeRequest")
    scene.server.answer("handshake with another network", ("Ack", "Error"), request)

    outcome = scene.node.outcome(token, 1)

    assert isinstance(outcome, HandshakeError)
    assert "网络ID不匹配" in str(outcome)
    assert scene.node.peer(scene.server) is None


def test_an_error_that_says_unauthenticated_is_no_refusal(scene: Scene) -> None:
    token = scene.node.connect(scene.server)
    request = scene.server.expect("HandshakeRequest")
    scene.server.say("Error", {"error": "who are you?", "code": "unauthenticated"}, scene.node)
    scene.server.answer("handshake", KINDS["HandshakeRequest"], request)

    assert isinstance(scene.node.outcome(token, 1), ConnectResult)


def test_the_pushed_list_is_told(joined: Scene) -> None:
    joined.server.answer("discovery", ("DiscoveryResponse",), {})
    joined.world.run_for(0.1)

    told = joined.node.told(PeersDiscovered)[-1]
    assert [(entry.id, entry.addr) for entry in told.joined] == [(B_ID, "127.0.0.1:44552")]
    assert told.server_id == SERVER_ID


def test_asking_for_the_list(joined: Scene) -> None:
    joined.node.endpoint.discover(joined.node.peer(joined.server), joined.world.now)

    request = joined.server.expect("DiscoveryRequest")

    assert request["payload"] is None
    assert request["requires_ack"] is False


def test_the_node_list_comes_in_one_message(joined: Scene) -> None:
    peer = joined.node.peer(joined.server)
    token = joined.node.endpoint.list_nodes(peer, joined.world.now, 5)
    joined.server.answer(
        "list nodes", ("ListNodesResponse",), joined.server.expect("ListNodesRequest")
    )

    nodes = joined.node.outcome(token, 1)

    assert isinstance(nodes, NodeList)
    assert nodes.complete
    assert [(node.id, node.name, node.listen_addr) for node in nodes.nodes] == [
        (B_ID, "b", "127.0.0.1:44552"),
        (A_ID, "a", "127.0.0.1:48811"),
    ]


def test_a_null_pong_answers_the_ping(joined: Scene) -> None:
    token = joined.node.ping(joined.server)
    joined.world.run_for(0.1)

    result = joined.node.outcome(token, 1)

    assert result == PingResult(pytest.approx(0.02), Path.DIRECT, joined.server.address)


def test_a_lost_pong_does_not_spoil_the_next_measurement(joined: Scene) -> None:
    rtt = joined.node.peer(joined.server).channel.rtt
    learnt = (rtt.srtt, rtt.var)
    joined.server.answers_pings = False
    lost = joined.node.ping(joined.server, timeout_s=2)
    joined.world.run_for(1)
    joined.server.answers_pings = True
    token = joined.node.ping(joined.server)
    joined.server.names_next_ping = False

    assert joined.node.outcome(token, 1).rtt_s == pytest.approx(0.02)
    assert isinstance(joined.node.outcome(lost), PeerTimeoutError)
    # With two Pings out, a null Pong tells no round trip for the retransmission timeout.
    assert (rtt.srtt, rtt.var) == learnt


def test_data_is_delivered_once_the_server_acks_its_id(joined: Scene) -> None:
    token = joined.node.send(joined.server, {"message": "hi"})
    request = joined.server.expect("Data")
    joined.server.answer("data with ack", ("Ack", "Data"), request)

    outcome = joined.node.outcome(token, 1)

    assert outcome.status is SendStatus.DELIVERED
    assert request["requires_ack"] is True
    joined.world.run_for(0.1)
    (echo,) = joined.node.told(DataReceived)
    assert echo.is_echo
    assert echo.payload["echo"] == {"message": "hi"}
    assert joined.server.take_types() == []  # the echo is not echoed


def test_data_without_its_ack_is_sent_again_byte_for_byte(joined: Scene) -> None:
    joined.node.send(joined.server, 1)
    joined.world.run_for(2)

    copies = set(joined.server.inbox)

    assert len(joined.server.inbox) > 1
    assert len(copies) == 1


def test_a_server_that_never_acked_gets_data_once_and_unconfirmed() -> None:
    scene = Scene()
    scene.join("HandshakeResponse")
    scene.world.run_for(1)  # nothing vouches for its answer: a better one might come
    scene.server.inbox.clear()

    token = scene.node.send(scene.server, "hi")
    scene.world.run_for(10)

    assert scene.node.outcomes[token] == SendResult(
        SendStatus.UNCONFIRMED, 1, None, len(scene.server.inbox[0]), "the peer never acknowledges"
    )
    assert scene.server.take_types() == ["Data"]


def test_an_introduction_is_told_and_its_address_pinged(joined: Scene) -> None:
    target = joined.world.puppet(B_ADDRESS, B_ID)
    target.answers_pings = False
    peer = joined.node.peer(joined.server)
    token = joined.node.endpoint.introduce(peer, B_ID, joined.world.now, 5)
    request = joined.server.expect("P2PConnect")
    joined.server.answer("p2p connect", ("P2PConnect",), request)

    outcome = joined.node.outcome(token, 1)

    assert request["payload"] == {"peer_id": B_ID}
    assert isinstance(outcome, LocalError)  # deployed clients never answer a handshake
    assert joined.node.told(PeerIntroduced) == [PeerIntroduced(B_ID, B_ADDRESS, SERVER_ID)]
    joined.world.run_for(1)
    assert target.take_types() == ["Ping"] * 3


def test_an_introduction_to_an_unknown_node_fails(joined: Scene) -> None:
    unknown = "ef7e8615-3449-4c82-95a2-dec25e8d3816"
    peer = joined.node.peer(joined.server)
    token = joined.node.endpoint.introduce(peer, unknown, joined.world.now, 5)
    request = joined.server.expect("P2PConnect")
    joined.server.answer("p2p connect to an unknown node", ("Error",), request)

    assert isinstance(joined.node.outcome(token, 1), UnknownPeerError)


@pytest.mark.parametrize(
    ("case", "status", "reason"),
    [
        ("relay", SendStatus.SENT, None),
        ("relay to an unknown node", SendStatus.FAILED, "目标节点未找到"),
    ],
)
def test_the_server_says_whether_it_relays(
    joined: Scene, case: str, status: SendStatus, reason: str | None
) -> None:
    peer = joined.node.peer(joined.server)
    token = joined.node.endpoint.relay(peer, B_ID, b"\x01\x02\xff", joined.world.now, 5)
    request = joined.server.expect("RelayRequest")
    joined.server.answer(case, ("RelayResponse",), request)

    assert joined.node.outcome(token, 1) == SendResult(status, 1, None, 3, reason)
    assert request["payload"] == {"target_peer_id": B_ID, "data": [1, 2, 255]}


def test_relayed_bytes_are_told(joined: Scene) -> None:
    joined.server.say("RelayData", {"from_peer_id": B_ID, "data": [1, 2, 255]}, joined.node)
    joined.world.run_for(0.1)

    assert joined.node.told(RelayDataReceived) == [
        RelayDataReceived(B_ID, SERVER_ID, b"\x01\x02\xff")
    ]


def test_routed_data_of_another_client_is_delivered(joined: Scene) -> None:
    (_, forwarded) = captured("routed data")
    message = forwarded.message
    message["payload"] |= {"source_node": B_ID, "destination_node": A_ID}
    joined.server.send(message, joined.node)
    joined.world.run_for(0.1)

    (data,) = joined.node.told(DataReceived)
    assert (data.node_id, data.payload, data.path) == (B_ID, {"text": "routed"}, Path.RELAY)
    assert joined.server.take_types() == []


def test_routed_data_to_another_client_is_sent_once_and_unconfirmed(joined: Scene) -> None:
    joined.server.answer("discovery", ("DiscoveryResponse",), {})
    joined.world.run_for(0.1)

    token = joined.node.endpoint.send_routed(B_ID, {"text": "hi"}, 8, joined.world.now, 30)
    joined.world.run_for(30)

    (message,) = [m for m in joined.server.take() if m["message_type"] != "ListNodesRequest"]
    theirs = captured("routed data")[0].message["payload"]
    assert message["payload"].keys() == theirs.keys()
    assert message["payload"]["source_node"] == A_ID
    assert message["payload"]["destination_node"] == B_ID
    assert message["payload"]["hop_count"] == 0
    assert message["payload"]["original_message"]["payload"] == {"text": "hi"}
    assert joined.node.outcomes[token].status is SendStatus.UNCONFIRMED


def test_the_servers_route_table_is_told(joined: Scene) -> None:
    joined.node.send(joined.server, {"cmd": "get_routes"})
    joined.server.answer("route table", ("Data",), joined.server.expect("Data"))
    joined.world.run_for(0.1)

    (told,) = joined.node.told(RoutesReceived)
    assert [(route.destination, route.distance) for route in told.routes] == [(B_ID, 1), (A_ID, 1)]


def test_a_server_that_says_goodbye_is_gone_within_a_second(joined: Scene) -> None:
    joined.server.answers_pings = False
    joined.server.say("Disconnect", {"reason": "done"}, joined.node)
    joined.world.run_for(1)

    assert joined.node.peer(joined.server) is None


def test_a_reference_server_gets_no_extension(joined: Scene) -> None:
    with pytest.raises(LocalError, match="65507"):
        joined.node.send(joined.server, "x" * 70_000)
    joined.node.send(joined.server, "x" * 60_000)
    joined.world.run_for(100)

    assert all(data[:1] == b"{" for data in joined.server.inbox)
    # The list tells whether the server still knows this node; it is a type of the reference.
    assert set(joined.server.take_types()) == {"Data", "ListNodesRequest"}
