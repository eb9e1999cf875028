"""The JSON messages as values: which fields are what, and the two dialects."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from p2ptui.wire.codec import (
    MalformedError,
    decode_envelope,
    decode_payload,
    encode_envelope,
    encode_payload,
)
from p2ptui.wire.message import (
    NULL,
    OWN_CAPABILITIES,
    DataKeys,
    DisconnectPayload,
    DiscoveryRequestPayload,
    DiscoveryUpdatePayload,
    Envelope,
    ErrorPayload,
    HandshakeRequestPayload,
    ListNodesPayload,
    MessageType,
    NodeInfo,
    P2PConnectPayload,
    PeerInfo,
    PingPayload,
    ReceivedHandshakeResponse,
    ReceivedNodeInfo,
    RelayDataPayload,
    RelayRequestPayload,
    RelayResponsePayload,
    RetransmitPayload,
    RoutedPayload,
    RoutesPayload,
)
from tests.wire.envelopes import FIELDS, wire

ID = "2c1f3c5e-8a1b-4f6e-9d3a-0b7c5d2e1f40"
ROUTED = {
    "original_message": {"id": "m"},
    "source_node": ID,
    "destination_node": ID,
    "hop_count": 0,
    "max_hops": 8,
    "route_id": "r",
}

TYPED = {"null", "true", "0", "7.5", '"x"', "[]", "{}"}
"""One JSON value of each kind."""

FITTING = {
    "id": {'"x"'},
    "message_type": {'"x"'},
    "timestamp": {"0"},
    "payload": TYPED,
    "sequence_number": {"null", "0"},
    "requires_ack": {"true"},
    "ack_for": {"null", "0", '"x"'},
    "sender_addr": {"null", '"x"'},
}


# The envelope.


@pytest.mark.parametrize("name", FITTING)
def test_a_field_of_another_kind_is_refused(name: str) -> None:
    for text in TYPED:
        data = wire(**{name: text})
        if text in FITTING[name]:
            decode_envelope(data)
        else:
            with pytest.raises(MalformedError, match=name):
                decode_envelope(data)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id", '""'),
        ("id", json.dumps("i" * 65)),
        ("message_type", '""'),
        ("message_type", json.dumps("M" * 65)),
        ("timestamp", "1795000000.0"),
        ("timestamp", "1795e6"),
        ("timestamp", str(2**63)),
        ("timestamp", str(-(2**63) - 1)),
        ("timestamp", "9" * 5000),
        ("sequence_number", "-1"),
        ("sequence_number", str(2**32)),
        ("sequence_number", "7.0"),
        ("sequence_number", "9" * 5000),
        ("sequence_number", '"7"'),
        ("requires_ack", "1"),
        ("ack_for", "-1"),
        ("ack_for", "9" * 5000),
        ("ack_for", json.dumps("i" * 65)),
    ],
)
def test_a_value_out_of_bounds_is_refused(name: str, text: str) -> None:
    with pytest.raises(MalformedError, match=name):
        decode_envelope(wire(**{name: text}))


def test_the_bounds_themselves_are_accepted() -> None:
    message = decode_envelope(
        wire(
            id=json.dumps("\N{GRINNING FACE}" * 64),
            timestamp=str(-(2**63)),
            sequence_number=str(2**32 - 1),
            ack_for=json.dumps("i" * 64),
        )
    )
    assert len(message.id) == 64
    assert message.sequence_number == 2**32 - 1
    assert decode_envelope(wire(sequence_number="0", ack_for="0")).sequence_number == 0


@pytest.mark.parametrize("name", ["id", "message_type", "timestamp"])
def test_without_its_first_three_fields_it_is_no_message(name: str) -> None:
    with pytest.raises(MalformedError, match=name):
        decode_envelope(wire(**{name: None}))


def test_the_other_fields_may_be_absent() -> None:
    message = decode_envelope(
        wire(payload=None, sequence_number=None, requires_ack=None, ack_for=None)
    )
    assert message.payload == NULL
    assert (message.sequence_number, message.requires_ack, message.ack_for) == (None, False, None)


@given(st.text().filter(lambda name: name not in (*FIELDS, "sender_addr")))
def test_unknown_fields_are_ignored(name: str) -> None:
    more = wire()[:-1] + f",{json.dumps(name)}:[1]}}".encode()
    assert decode_envelope(more) == decode_envelope(wire())


# The two dialects of `ack_for`.


@pytest.mark.parametrize(
    ("sender_addr", "sequence_number", "reference"),
    [
        (None, "7", False),
        (None, "null", True),
        (None, None, True),
        ("null", "7", True),
        ('"192.0.2.1:80"', "7", True),
        ('""', "1", True),
        ("null", "null", True),
    ],
)
def test_the_key_sender_addr_even_null_or_a_missing_number_tells_the_reference(
    sender_addr: str | None, sequence_number: str | None, reference: bool
) -> None:
    message = decode_envelope(wire(sender_addr=sender_addr, sequence_number=sequence_number))
    assert message.speaks_reference is reference


def test_own_messages_carry_no_sender_addr_and_every_other_field() -> None:
    data = encode_envelope(Envelope("m", MessageType.PING, 0))
    assert list(json.loads(data)) == list(FIELDS)
    assert Envelope("m", MessageType.PING, 0).sender_addr is UNSET


# Payloads, as captured from deployed programs.

REFERENCE_INFO = {
    "id": ID,
    "name": "client",
    "version": "0.1.0",
    "listen_addr": "0.0.0.0:0",
    "capabilities": ["p2p"],
    "metadata": {"os": "linux"},
    "network_id": "p2p_default",
}
SPEC_INFO = {"node_id": ID, "listen_addr": "0.0.0.0:0", "capabilities": [], "metadata": {}}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ReceivedNodeInfo, REFERENCE_INFO),
        (ReceivedNodeInfo, SPEC_INFO),
        (ReceivedNodeInfo, {}),
        (
            ReceivedHandshakeResponse,
            {"node_info": REFERENCE_INFO, "success": True, "error_message": None},
        ),
        (ReceivedHandshakeResponse, {"success": False, "error_message": "full"}),
        (list[PeerInfo], [{"id": ID, "addr": "192.0.2.1:80", "last_seen": 1, "capabilities": []}]),
        (list[PeerInfo], [{"id": ID, "addr": "192.0.2.1:80"}]),
        (list[PeerInfo], []),
        (DiscoveryRequestPayload, {"network_id": "p2p_default"}),
        (DiscoveryRequestPayload, {}),
        (DiscoveryUpdatePayload, {"joined": [{"id": ID, "addr": "a"}], "left": [ID]}),
        (ListNodesPayload, {"nodes": [REFERENCE_INFO]}),
        (RoutedPayload, ROUTED),
        (RoutesPayload, {"routes": [{"destination": ID, "next_hop": ID, "distance": 1}]}),
        (P2PConnectPayload, {"peer_id": ID}),
        (P2PConnectPayload, {"peer_id": ID, "peer_addr": "a:1", "peer_predicted_ports": [1]}),
        (RelayRequestPayload, {"target_peer_id": ID, "data": [0, 255]}),
        (RelayDataPayload, {"from_peer_id": ID, "data": []}),
        (RelayResponsePayload, {"success": False, "error_message": "no"}),
        (ErrorPayload, {"error": "no", "code": None}),
        (ErrorPayload, {}),
        (DisconnectPayload, {"reason": "bye"}),
        (RetransmitPayload, {"sequence_number": 2**32 - 1}),
        (PingPayload, {"nonce": "ab"}),
        (PingPayload, {}),
    ],
    ids=str,
)
def test_a_payload_is_understood_with_further_keys_as_well(kind: Any, value: Any) -> None:
    decode_payload(json.dumps(value).encode(), kind)
    if isinstance(value, dict):
        decode_payload(json.dumps({**value, "new": [1]}).encode(), kind)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ReceivedNodeInfo, None),
        (ReceivedNodeInfo, []),
        (ReceivedNodeInfo, REFERENCE_INFO | {"id": 1}),
        (ReceivedNodeInfo, REFERENCE_INFO | {"capabilities": "p2p"}),
        (ReceivedNodeInfo, REFERENCE_INFO | {"capabilities": [1]}),
        (ReceivedNodeInfo, REFERENCE_INFO | {"metadata": {"a": 1}}),
        (ReceivedHandshakeResponse, {"node_info": REFERENCE_INFO}),
        (ReceivedHandshakeResponse, {"success": 1}),
        (list[PeerInfo], {"id": ID, "addr": "a"}),
        (list[PeerInfo], [{"id": ID}]),
        (list[PeerInfo], [{"id": ID, "addr": "a", "last_seen": True}]),
        (list[PeerInfo], [{"id": ID, "addr": "a", "last_seen": 1.5}]),
        (DiscoveryUpdatePayload, {"left": [1]}),
        (ListNodesPayload, {}),
        (ListNodesPayload, {"nodes": [], "page": "0"}),
        (RoutedPayload, ROUTED | {"hop_count": -1}),
        (RoutedPayload, ROUTED | {"hop_count": 256}),
        (RoutedPayload, ROUTED | {"hop_count": True}),
        (RoutedPayload, ROUTED | {"max_hops": -1}),
        (RoutedPayload, ROUTED | {"max_hops": 2**32}),
        (RoutedPayload, ROUTED | {"route_id": ""}),
        (RoutedPayload, ROUTED | {"route_id": "r" * 65}),
        (RoutedPayload, {"original_message": {}}),
        (P2PConnectPayload, {}),
        (P2PConnectPayload, {"peer_id": ID, "predicted_ports": [0]}),
        (P2PConnectPayload, {"peer_id": ID, "predicted_ports": [65536]}),
        (P2PConnectPayload, {"peer_id": ID, "predicted_ports": ["1"]}),
        (RelayRequestPayload, {"target_peer_id": ID, "data": [256]}),
        (RelayRequestPayload, {"target_peer_id": ID, "data": [-1]}),
        (RelayRequestPayload, {"target_peer_id": ID, "data": [True]}),
        (RelayRequestPayload, {"target_peer_id": ID, "data": "YQ=="}),
        (ErrorPayload, {"error": None}),
        (ErrorPayload, "no"),
        (DisconnectPayload, {"reason": 1}),
        (RetransmitPayload, {}),
        (RetransmitPayload, {"sequence_number": 2**32}),
        (RetransmitPayload, {"sequence_number": -1}),
        (PingPayload, {"nonce": 1}),
    ],
    ids=str,
)
def test_a_payload_of_another_shape_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(MalformedError):
        decode_payload(json.dumps(value).encode(), kind)


def test_what_a_node_says_of_itself_is_the_union_of_both_forms() -> None:
    own = HandshakeRequestPayload(
        id=ID, node_id=ID, name="n", version="1", listen_addr="a:1", capabilities=OWN_CAPABILITIES
    )
    sent = json.loads(bytes(encode_payload(own)))
    assert sent.keys() >= REFERENCE_INFO.keys() | SPEC_INFO.keys()
    assert sent["network_id"] == "p2p_default"
    assert decode_payload(encode_payload(own), ReceivedNodeInfo).capabilities == list(
        OWN_CAPABILITIES
    )


def test_an_introduction_without_details_has_the_two_keys_that_deployed_programs_know() -> None:
    sent = encode_payload(P2PConnectPayload(peer_id=ID, peer_addr="192.0.2.1:80"))
    assert json.loads(bytes(sent)) == {"peer_id": ID, "peer_addr": "192.0.2.1:80"}


def test_the_keys_of_data_are_told_apart_from_null() -> None:
    assert decode_payload(b"{}", DataKeys).echo is UNSET
    assert decode_payload(b'{"echo":null}', DataKeys).echo == NULL


def test_no_two_received_values_share_their_defaults() -> None:
    first, second = (decode_payload(b"{}", ReceivedNodeInfo) for _ in range(2))
    first.capabilities.append("x")
    first.metadata["x"] = "x"
    assert second == ReceivedNodeInfo()


def test_what_is_handed_around_cannot_be_changed() -> None:
    info = NodeInfo(id=ID, node_id=ID, name="n", version="1", listen_addr="a:1")
    with pytest.raises(AttributeError):
        info.name = "other"  # type: ignore[misc]
    assert msgspec.structs.replace(info, name="other").name == "other"
