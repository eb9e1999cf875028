"""What the handshake messages say of this node, and in how many bytes."""

import json

import msgspec
import pytest

from p2ptui.core.identity import own_node_info
from p2ptui.core.peers import Dialect
from p2ptui.core.sessions.greetings import (
    EXTENSIONS,
    PLAIN_CAPABILITIES,
    believed_capabilities,
    request_payload,
    response_payloads,
    shortest_response_bytes,
)
from p2ptui.wire.message import OWN_CAPABILITIES
from p2ptui.wire.message import HandshakeResponsePayload as Written
from tests.simulation import Host, World

NODE_ID = "11111111-0000-4000-8000-000000000000"
OWN = own_node_info(NODE_ID, "me", "1.2.3", "0.0.0.0:8080", "net")


def test_a_request_is_padded_and_says_everything_in_both_forms() -> None:
    payload = request_payload(OWN)
    value = json.loads(bytes(payload))

    assert len(payload) == 416
    assert value["id"] == value["node_id"] == NODE_ID
    assert value["capabilities"] == list(OWN_CAPABILITIES)
    assert value["padding"].strip() == ""


def test_a_long_request_is_not_padded() -> None:
    own = own_node_info(NODE_ID, "n" * 64, "1.2.3", "0.0.0.0:8080", "net" * 80)

    assert json.loads(bytes(request_payload(own)))["padding"] == ""


@pytest.mark.parametrize(
    ("dialect", "capabilities"),
    [(Dialect.SPEC, OWN_CAPABILITIES), (Dialect.REFERENCE, PLAIN_CAPABILITIES)],
)
def test_a_response_first_in_full_then_short(
    dialect: Dialect, capabilities: tuple[str, ...]
) -> None:
    full, short = (
        json.loads(bytes(p)) for p in response_payloads(OWN, dialect, ("10.0.0.1", 5), None)
    )

    assert full["success"] is short["success"] is True
    assert full["public_addr"] == short["public_addr"] == "10.0.0.1:5"
    assert full["node_info"]["capabilities"] == list(capabilities)
    assert full["node_info"]["metadata"] == {"network_id": OWN.network_id}
    assert short["node_info"] == full["node_info"] | {"capabilities": []}


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(
    "address", [("10.0.0.1", 5), ("::1", 5), ('fe80::1%\u00e9"', 5), ("a@b", 5)]
)
def test_a_response_is_what_the_encoder_writes(
    dialect: Dialect, extended: bool, address: tuple[str, int]
) -> None:
    for own in (OWN, own_node_info(NODE_ID, '\u00e9"\\', "1", "0.0.0.0:1", "office")):
        for payload in response_payloads(own, dialect, address, None, extended=extended):
            value = msgspec.json.decode(payload, type=Written)
            assert msgspec.json.encode(value) == bytes(payload)
            assert value.success is True
            assert value.error_message is None


def test_the_network_stands_beside_what_the_metadata_hold_otherwise() -> None:
    own = own_node_info(NODE_ID, "n", "1", "0.0.0.0:1", "office", (), {"stun_port": "3478"})
    full, short = (
        json.loads(bytes(p))["node_info"]["metadata"]
        for p in response_payloads(own, Dialect.REFERENCE, ("10.0.0.1", 5), None)
    )

    assert full == {"stun_port": "3478", "network_id": "office"}
    assert short == {"network_id": "office"}


def test_a_refusal_says_why() -> None:
    payload = next(response_payloads(OWN, Dialect.SPEC, ("::1", 5), "full"))

    assert json.loads(bytes(payload))["success"] is False
    assert json.loads(bytes(payload))["error_message"] == "full"
    assert json.loads(bytes(payload))["public_addr"] == "[::1]:5"


def test_the_short_response_is_never_longer_than_said() -> None:
    world = World()
    server: Host = world.host(name="ö" * 64, max_connections=9)
    limit = shortest_response_bytes(server.endpoint.identity)
    client = world.puppet(("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 65535))
    payload = {"node_id": client.id, "capabilities": ["retransmit"]}
    request = {"id": "1", "message_type": "HandshakeRequest", "timestamp": 1, "payload": payload}
    request |= {"sequence_number": 4294967295, "padding": ""}
    while not client.inbox:
        request["padding"] += " "
        size = client.send(request, server)
        world.run_for(0.1)

    assert len(client.inbox[0]) <= limit <= 3 * size
    assert limit > 3 * (size - 1)


def test_extensions_are_believed_of_our_own_kind_only() -> None:
    assert believed_capabilities(OWN, Dialect.SPEC) == set(OWN_CAPABILITIES)
    assert believed_capabilities(OWN, Dialect.REFERENCE) == set(PLAIN_CAPABILITIES)
    assert "routing" in EXTENSIONS
    assert "relay" in EXTENSIONS
    assert EXTENSIONS.isdisjoint(PLAIN_CAPABILITIES)
