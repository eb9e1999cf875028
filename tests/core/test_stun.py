"""STUN on a node's sockets: who is answered, by which socket, at what price, and by a partner."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.config import OPTIONS
from p2ptui.config.load import load_config
from p2ptui.core.events import StunReplyDue, StunServed
from p2ptui.core.gate import MAX_OUTGOING
from p2ptui.core.stun import PARTNER_REPEAT_S, PARTNER_REPLIES_PER_SECOND
from p2ptui.nat.stun_server import (
    AMPLIFICATION_LIMIT,
    FINGERPRINT_BYTES,
    MANDATORY_IPV4_BYTES,
    MANDATORY_IPV6_BYTES,
    Place,
)
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import Capability
from p2ptui.wire.stun import AttributeType, Change, MessageClass, StunMessage, decode, encode
from tests.simulation import Host, Puppet, World

ID = bytes(range(12))
CLASSIC_ID = bytes(range(16))
STRANGER = ("10.9.0.1", 40_000)


def request(**fields: Any) -> bytes:
    fields = {"message_class": MessageClass.REQUEST, "transaction_id": ID} | fields
    return encode(StunMessage(**fields))


def serve(
    world: World, *, partner: Address | None = None, alternate: bool = False, **options: Any
) -> Host:
    """A node with STUN on its own socket, and on two more of the same address."""
    host = world.host(stun_server={"enable": True, **options})
    ip = host.address[0]
    places = {
        Place.OWN: host.address,
        Place.PRIMARY: (ip, 3478),
        Place.ALTERNATE_PORT: (ip, 3479),
    }
    if alternate:
        places |= {
            Place.ALTERNATE_ADDRESS: ("10.8.0.1", 3478),
            Place.ALTERNATE_BOTH: ("10.8.0.1", 3479),
        }
    host.endpoint.stun.open(places, partner)
    return host


def ask(
    host: Host, data: bytes, place: Place = Place.PRIMARY, source: Address = STRANGER
) -> list[StunReplyDue]:
    """Hand a datagram to one of the separate sockets; what is to leave by them."""
    host.events.clear()
    host.endpoint.stun.receive(data, source, place, host.world.now)
    host.settle()
    return host.told(StunReplyDue)


def dropped(host: Host, cause: str) -> int:
    return host.endpoint.counters.drops[cause]


# --- the own socket


def asked_by(puppet: Puppet, host: Host, data: bytes) -> list[StunMessage]:
    """Send to the node's own socket; what came back."""
    puppet.send(data, host)
    puppet.world.run_for(1)
    answers = [decode(said) for said in puppet.inbox]
    puppet.inbox.clear()
    return answers


def test_by_default_nothing_is_answered() -> None:
    world = World()
    node, stranger = world.host(), world.puppet()
    assert asked_by(stranger, node, request()) == []
    assert dropped(node, "stun_disabled") == 1
    assert not node.endpoint.stun.is_open
    assert Capability.STUN not in node.endpoint.identity.capabilities


def test_the_own_socket_answers_beside_its_other_traffic() -> None:
    world = World()
    node, stranger = serve(world), world.puppet()
    (answer,) = asked_by(stranger, node, request())
    assert answer.message_class is MessageClass.SUCCESS
    assert answer.xor_mapped == answer.mapped == stranger.address
    assert answer.response_origin == node.address
    assert node.endpoint.counters.stun_replies == 1
    stranger.join(node)
    assert node.is_connected_to(stranger)
    assert len(asked_by(stranger, node, request())) == 1


def test_a_wildcard_is_not_told_as_an_address() -> None:
    world = World()
    node, stranger = world.host(stun_server={"enable": True}), world.puppet()
    node.endpoint.stun.open({Place.OWN: ("0.0.0.0", 8080)}, None)
    (answer,) = asked_by(stranger, node, request())
    assert answer.response_origin is None
    assert answer.xor_mapped == stranger.address


def test_a_change_of_the_port_leaves_by_a_separate_socket() -> None:
    world = World()
    node, stranger = serve(world), world.puppet()
    assert asked_by(stranger, node, request(change_request=Change.PORT)) == []
    (reply,) = node.told(StunReplyDue)
    assert (reply.place, reply.to) == (Place.PRIMARY, stranger.address)
    assert decode(reply.data).response_origin == (node.address[0], 3478)


def test_rfc_3489_is_spoken_on_the_separate_port_only() -> None:
    world = World()
    node, stranger = serve(world), world.puppet()
    old = request(transaction_id=CLASSIC_ID)
    assert asked_by(stranger, node, old) == []
    (reply,) = ask(node, old)
    answer = decode(reply.data)
    assert answer.classic
    assert (answer.mapped, answer.xor_mapped) == (STRANGER, None)


def test_a_node_that_is_closing_says_nothing() -> None:
    world = World()
    node = serve(world)
    node.endpoint.close("bye", world.now)
    assert ask(node, request()) == []
    assert dropped(node, "closing") == 1


# --- the separate sockets


@pytest.mark.parametrize(
    ("place", "change", "leaves_by"),
    [
        (Place.PRIMARY, None, Place.PRIMARY),
        (Place.PRIMARY, Change.PORT, Place.ALTERNATE_PORT),
        (Place.PRIMARY, Change.IP, Place.ALTERNATE_ADDRESS),
        (Place.PRIMARY, Change.BOTH, Place.ALTERNATE_BOTH),
        (Place.ALTERNATE_BOTH, Change.BOTH, Place.PRIMARY),
    ],
)
def test_with_two_addresses_everything_can_be_changed(
    place: Place, change: Change | None, leaves_by: Place
) -> None:
    node = serve(World(), alternate=True)
    (reply,) = ask(node, request(change_request=change), place)
    assert (reply.place, reply.to) == (leaves_by, STRANGER)
    assert decode(reply.data).other_address is not None


def test_with_one_address_what_it_cannot_do_is_refused() -> None:
    node = serve(World())
    for change in (Change.IP, Change.BOTH):
        (reply,) = ask(node, request(change_request=change))
        refused = decode(reply.data)
        assert refused.error == (420, "Unknown Attribute")
        assert refused.unknown == (AttributeType.CHANGE_REQUEST,)
    (reply,) = ask(node, request())
    assert decode(reply.data).other_address is None


def test_what_comes_to_the_separate_sockets_is_counted() -> None:
    node = serve(World())
    (reply,) = ask(node, request())
    counters = node.endpoint.counters
    assert (counters.datagrams_in, counters.bytes_in) == (1, len(request()))
    assert (counters.datagrams_out, counters.bytes_out) == (1, len(reply.data))


@pytest.mark.parametrize(("verbose", "told"), [(False, 0), (True, 2)])
def test_requests_are_told_on_request(verbose: bool, told: int) -> None:
    node = serve(World(), verbose_logging=verbose)
    ask(node, request())
    first = node.told(StunServed)
    ask(node, request(change_request=Change.PORT))
    events = [*first, *node.told(StunServed)]
    assert [(event.source, event.place) for event in events] == [(STRANGER, "primary")] * told


def test_what_does_not_leave_is_not_told_as_answered() -> None:
    node = serve(World(), verbose_logging=True)
    node.endpoint._state.gate.outgoing.extend([(b"", STRANGER)] * MAX_OUTGOING)
    for asked in (request(), request(padding=4)):
        node.endpoint.stun.receive(asked, STRANGER, Place.OWN, 1.0)
    assert node.endpoint.counters.drops["outgoing_full"] == 2
    assert node.endpoint.counters.stun_replies == 0
    node.endpoint.datagrams_to_send(1.0)
    assert node.endpoint.next_event() is None


# --- what is never answered


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(message_class=MessageClass.INDICATION), id="indication"),
        pytest.param(request(message_class=MessageClass.SUCCESS), id="response"),
        pytest.param(request(message_class=MessageClass.ERROR, error=(400, "")), id="error"),
        pytest.param(request(method=3), id="allocate"),
        pytest.param(request()[:-1], id="malformed"),
        pytest.param(b"\x00", id="one byte"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_never_answered(data: bytes, place: Place) -> None:
    node = serve(World(), alternate=True)
    ask(node, data, place)
    assert dropped(node, "stun_unanswered") == 1
    assert node.endpoint.counters.stun_replies == 0
    assert node.endpoint.counters.datagrams_out == 0


def test_two_servers_that_answer_each_other_fall_silent() -> None:
    """A request with the forged source of another server costs one reply, and no more."""
    world = World()
    one, two = serve(world), serve(world)
    world.network.send(request(), two.address, one.address, world.now)
    world.run_for(60)
    assert one.endpoint.counters.stun_replies + two.endpoint.counters.stun_replies == 1


requests = st.builds(
    StunMessage,
    message_class=st.sampled_from(MessageClass),
    transaction_id=st.just(ID) | st.just(CLASSIC_ID),
    change_request=st.none() | st.sampled_from([Change.NOTHING, *Change, Change.BOTH]),
    response_port=st.none() | st.integers(0, 0xFFFF),
    padding=st.none() | st.integers(0, 1500),
    software=st.none() | st.text("a", max_size=100),
    others=st.lists(st.integers(0x7F00, 0x8010), unique=True, max_size=40).map(
        lambda kinds: tuple((kind, b"") for kind in kinds)
    ),
    fingerprint=st.booleans(),
)


@given(requests, st.sampled_from(Place), st.booleans(), st.text("s", max_size=127))
def test_response_bytes_are_bound_by_request_bytes(
    message: StunMessage, place: Place, alternate: bool, software: str
) -> None:
    node = serve(World(), alternate=alternate, software=software)
    data = encode(message)
    if place not in (Place.OWN, Place.PRIMARY) and not alternate:
        place = Place.ALTERNATE_PORT
    ask(node, data, place)
    counters = node.endpoint.counters
    if message.message_class is not MessageClass.REQUEST:
        assert counters.datagrams_out == 0
    assert counters.datagrams_out <= 1
    mandatory = MANDATORY_IPV4_BYTES + (FINGERPRINT_BYTES if message.fingerprint else 0)
    assert counters.bytes_out <= max(AMPLIFICATION_LIMIT * len(data), mandatory)


@given(st.binary(max_size=200), st.sampled_from(Place))
def test_arbitrary_bytes_do_no_harm(data: bytes, place: Place) -> None:
    node = serve(World(), alternate=True)
    ask(node, data, place)
    assert node.endpoint.counters.datagrams_out <= 1


# --- what strangers may cost


def test_a_stranger_has_a_rate_and_a_peer_has_none() -> None:
    world = World()
    node = world.host(security={"max_requests_per_ip": 10}, stun_server={"enable": True})
    node.endpoint.stun.open({Place.OWN: node.address, Place.PRIMARY: ("10.0.0.2", 3478)}, None)
    peer = world.puppet()
    peer.join(node)
    world.run_for(5)
    for _ in range(50):
        ask(node, request())
    assert node.endpoint.counters.stun_replies == 10
    assert dropped(node, "rate_limited") == 40
    for _ in range(50):
        ask(node, request(), source=peer.address)
    assert node.endpoint.counters.stun_replies == 60
    world.run_for(1)
    assert len(ask(node, request())) == 1


# --- partners


class Partners:
    """Two nodes that name each other, and a third that neither names."""

    def __init__(self, **options: Any) -> None:
        self.world = World()
        addresses = [self.world.address() for _ in range(2)]
        self.one, self.two = (
            self._serve(mine, theirs, options) for mine, theirs in (addresses, reversed(addresses))
        )
        self.client = STRANGER

    def _serve(self, address: Address, partner: Address, options: dict[str, Any]) -> Host:
        named = {"enable": True, "partner": format_address(partner), **options}
        host = self.world.host(address, stun_server=named)
        ip = address[0]
        places = {
            Place.OWN: address,
            Place.PRIMARY: (ip, 3478),
            Place.ALTERNATE_PORT: (ip, 3479),
        }
        host.endpoint.stun.open(places, partner)
        return host

    def meet(self) -> "Partners":
        self.one.connect(self.two)
        self.world.run_for(1)
        assert self.one.is_connected_to(self.two)
        return self

    def ask(self, host: Host, data: bytes, place: Place = Place.PRIMARY) -> list[StunReplyDue]:
        """What leaves by any socket of either node within a second."""
        for node in (self.one, self.two):
            node.events.clear()
        host.endpoint.stun.receive(data, STRANGER, place, self.world.now)
        self.world.run_for(1)
        return [*self.one.told(StunReplyDue), *self.two.told(StunReplyDue)]

    def other_address(self, host: Host) -> Address | None:
        (reply,) = self.ask(host, request())
        return decode(reply.data).other_address


def test_a_partner_is_told_as_the_other_address() -> None:
    partners = Partners()
    assert partners.other_address(partners.one) is None
    partners.meet()
    assert partners.other_address(partners.one) == (partners.two.address[0], 3479)
    assert partners.other_address(partners.two) == (partners.one.address[0], 3479)


@pytest.mark.parametrize(
    ("place", "change", "port"),
    [
        (Place.PRIMARY, Change.IP, 3478),
        (Place.PRIMARY, Change.BOTH, 3479),
        (Place.ALTERNATE_PORT, Change.IP, 3479),
        (Place.ALTERNATE_PORT, Change.BOTH, 3478),
        (Place.OWN, Change.BOTH, 3479),
    ],
)
def test_a_partner_sends_what_must_come_from_elsewhere(
    place: Place, change: Change, port: int
) -> None:
    partners = Partners().meet()
    (reply,) = partners.ask(partners.one, request(change_request=change), place)
    assert partners.one.told(StunReplyDue) == []
    assert reply.place is (Place.PRIMARY if port == 3478 else Place.ALTERNATE_PORT)
    assert reply.to == STRANGER
    answer = decode(reply.data)
    assert answer.transaction_id == ID
    assert answer.xor_mapped == answer.mapped == STRANGER
    assert answer.response_origin == (partners.two.address[0], port)
    assert len(partners.one.endpoint.stun) == 0


def test_a_response_port_goes_through_the_partner() -> None:
    partners = Partners().meet()
    data = request(change_request=Change.BOTH, response_port=50_000)
    (reply,) = partners.ask(partners.one, data)
    assert reply.to == (STRANGER[0], 50_000)
    assert decode(reply.data).xor_mapped == STRANGER


def test_a_partner_that_leaves_takes_the_other_address_with_it() -> None:
    partners = Partners().meet()
    peer = partners.one.peer(partners.two)
    assert peer is not None
    partners.one.endpoint.disconnect(peer, "bye", partners.world.now)
    partners.world.run_for(1)
    for node in (partners.one, partners.two):
        assert partners.other_address(node) is None
        (reply,) = partners.ask(node, request(change_request=Change.BOTH))
        assert decode(reply.data).error == (420, "Unknown Attribute")
    partners.meet()
    assert partners.other_address(partners.one) is not None


def test_a_partner_that_vanishes_without_a_word_does_so_too() -> None:
    partners = Partners().meet()
    partners.world.remove(partners.two)
    partners.world.run_for(300)
    (reply,) = partners.ask(partners.one, request(change_request=Change.BOTH))
    assert decode(reply.data).error == (420, "Unknown Attribute")


def test_a_partner_is_told_again_in_case_it_was_restarted() -> None:
    partners = Partners().meet()
    stun = partners.two.endpoint.stun
    assert stun._server is not None
    stun._part(partners.two.peer(partners.one), partners.world.now)  # as if it had forgotten
    assert partners.other_address(partners.two) is None
    partners.world.run_for(PARTNER_REPEAT_S)
    assert partners.other_address(partners.two) is not None


def test_a_partner_that_came_before_stun_was_served_is_told_once_it_is() -> None:
    # Its name is looked up while the node already answers handshakes.
    world = World()
    addresses = [world.address() for _ in range(2)]
    nodes = [world.host(address, stun_server={"enable": True}) for address in addresses]
    nodes[0].connect(nodes[1])
    world.run_for(1)
    for node, theirs in zip(nodes, reversed(addresses), strict=True):
        ip = node.address[0]
        places = {Place.OWN: node.address, Place.PRIMARY: (ip, 3478)}
        node.endpoint.stun.open(places | {Place.ALTERNATE_PORT: (ip, 3479)}, theirs)
    world.run_for(5)
    for node, theirs in zip(nodes, reversed(addresses), strict=True):
        (reply,) = ask(node, request())
        assert decode(reply.data).other_address == (theirs[0], 3479)


def test_partners_that_ask_each_other_know_of_each_other_at_once() -> None:
    # The one is there first, and its request is lost: the other's comes before it asks again.
    partners = Partners()
    losing(partners, b'"HandshakeRequest"', 1)
    partners.one.connect(partners.two)
    partners.two.connect(partners.one)
    partners.world.run_for(1)
    for node in (partners.one, partners.two):
        assert partners.other_address(node) is not None


def test_what_a_partner_is_told_may_be_lost_on_the_way() -> None:
    partners = Partners()
    losing(partners, b'"StunPartner"', 4)
    partners.meet()
    partners.world.run_for(15)
    for node in (partners.one, partners.two):
        assert partners.other_address(node) is not None


def losing(partners: Partners, kind: bytes, count: int) -> None:
    """The first datagrams with these bytes do not arrive."""
    lost: list[bytes] = []

    def translate(
        data: bytes, source: Address, destination: Address, _now: float
    ) -> tuple[Address, Address] | None:
        if kind in data and len(lost) < count:
            lost.append(data)
            return None
        return source, destination

    partners.world.network.translate = translate


def test_a_partner_without_stun_is_none() -> None:
    world = World()
    plain = world.host()
    node = serve(world, partner=plain.address)
    node.connect(plain)
    world.run_for(1)
    (reply,) = ask(node, request())
    assert decode(reply.data).other_address is None
    assert dropped(node, "stun_partner_unable") == 1


def test_to_be_named_by_one_side_only_is_not_enough() -> None:
    world = World()
    unaware = serve(world)
    eager = serve(world, partner=unaware.address)
    eager.connect(unaware)
    world.run_for(1)
    assert dropped(unaware, "stun_partner_unasked") == 1
    for node in (eager, unaware):
        (reply,) = ask(node, request())
        assert decode(reply.data).other_address is None


def delegation(**changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": ID.hex(),
        "client": format_address(STRANGER),
        "to_port": STRANGER[1],
        "place": "primary",
        "other_address": None,
        "fingerprint": False,
    } | changes


def test_nobody_but_the_partner_can_have_a_reply_sent() -> None:
    partners = Partners().meet()
    stranger = partners.world.puppet()
    stranger.join(partners.two)
    partners.two.events.clear()
    stranger.ask("StunDelegation", delegation(), partners.two)
    assert partners.two.told(StunReplyDue) == []
    assert dropped(partners.two, "stun_delegation_unasked") == 1
    assert partners.two.endpoint.counters.stun_replies == 0


def test_a_node_without_stun_sends_for_nobody() -> None:
    world = World()
    node, peer = world.host(), world.puppet()
    peer.join(node)
    peer.ask("StunDelegation", delegation(), node)
    assert dropped(node, "stun_delegation_unasked") == 1


def partner_puppet(world: World, **options: Any) -> tuple[Host, Puppet]:
    """A node whose partner is played by hand."""
    puppet = world.puppet()
    node = serve(world, partner=puppet.address, **options)
    prove(puppet, node, puppet.join(node, capabilities=["stun"]))
    return node, puppet


def prove(puppet: Puppet, node: Host, answers: list[dict[str, Any]]) -> None:
    """Show that the puppet receives where it sends from."""
    (response,) = [m for m in answers if m["message_type"] == "HandshakeResponse"]
    puppet.say("Ack", None, node, ack_for=response["id"])
    puppet.world.run_for(0.5)
    puppet.take()


def test_a_forged_handshake_from_the_partners_address_is_no_partner() -> None:
    """Whoever forges a source sees no answer: it can prove nothing."""
    world = World()
    puppet = world.puppet()
    puppet.answers_pings = False
    node = serve(world, partner=puppet.address)
    answers = puppet.join(node, capabilities=["stun"])
    assert node.is_connected_to(puppet)

    puppet.say("StunPartner", {"primary": 3478, "alternate_port": 3479}, node)
    world.run_for(1)
    (reply,) = ask(node, request())
    assert decode(reply.data).other_address is None
    puppet.ask("StunDelegation", delegation(), node)
    puppet.ask("StunDelegated", {"transaction_id": ID.hex()}, node)
    assert node.told(StunReplyDue) == [reply]
    assert dropped(node, "stun_delegation_unasked") == 1
    assert dropped(node, "stun_delegated_unasked") == 1
    assert "StunPartner" not in [m["message_type"] for m in puppet.take()]

    prove(puppet, node, answers)
    (reply,) = ask(node, request())
    assert decode(reply.data).other_address == (puppet.address[0], 3479), "it was only early"


def test_the_end_of_an_older_session_takes_nothing_from_its_successor() -> None:
    partners = Partners().meet()
    older = dataclasses.replace(partners.one.peer(partners.two))
    partners.one.endpoint.stun._part(older, partners.world.now)
    assert partners.other_address(partners.one) is not None


def test_a_partner_that_is_found_again_is_told_by_one_timer() -> None:
    partners = Partners().meet()
    for _ in range(3):
        peer = partners.one.peer(partners.two)
        partners.one.endpoint.stun._greet(peer, partners.world.now)
    planned = len(partners.one.endpoint._state.timers)
    partners.one.endpoint.stun._greet(peer, partners.world.now)
    assert len(partners.one.endpoint._state.timers) == planned


@pytest.mark.parametrize(
    "changes",
    [
        {"place": "own"},
        {"place": "alternate_both"},
        {"place": "\x00"},
        {"client": "example.org:5"},
        {"client": ""},
        {"transaction_id": "not hexadecimal"},
        {"transaction_id": "00"},
        {"transaction_id": ""},
    ],
)
def test_a_delegation_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    node, puppet = partner_puppet(World())
    node.events.clear()
    puppet.ask("StunDelegation", delegation(**changes), node)
    assert node.told(StunReplyDue) == []
    assert dropped(node, "stun_delegation_refused") == 1


def test_even_a_partner_has_a_rate() -> None:
    node, puppet = partner_puppet(World())
    for number in range(PARTNER_REPLIES_PER_SECOND + 50):
        transaction_id = number.to_bytes(12).hex()
        puppet.say("StunDelegation", delegation(transaction_id=transaction_id), node)
    puppet.world.run_for(0.5)
    assert node.endpoint.counters.stun_replies <= PARTNER_REPLIES_PER_SECOND + 10
    assert dropped(node, "stun_delegation_refused") >= 40


def test_a_partner_with_other_ports_cannot_do_what_they_do_not_allow() -> None:
    """A change of the address alone keeps the port (RFC 5780, section 7.2)."""
    node, puppet = partner_puppet(World())
    puppet.say("StunPartner", {"primary": 5000, "alternate_port": 5001}, node)
    puppet.world.run_for(1)
    (reply,) = ask(node, request(change_request=Change.IP))
    assert decode(reply.data).error == (420, "Unknown Attribute")
    assert ask(node, request(change_request=Change.BOTH)) == []
    puppet.world.run_for(1)
    (asked,) = [m for m in puppet.take() if m["message_type"] == "StunDelegation"]
    assert asked["payload"]["place"] == "alternate_port"
    assert asked["payload"]["client"] == format_address(STRANGER)


def test_max_concurrent_requests_wait_for_the_partner_and_no_more() -> None:
    node, puppet = partner_puppet(World(), max_concurrent_requests=3, timeout_ms=2000)
    puppet.say("StunPartner", {"primary": 3478, "alternate_port": 3479}, node)
    puppet.world.run_for(1)
    for number in range(5):
        ask(node, request(change_request=Change.BOTH, transaction_id=number.to_bytes(12)))
    assert len(node.endpoint.stun) == 3
    assert dropped(node, "stun_busy") == 2
    assert len(ask(node, request())) == 1  # who needs no partner is served all the same
    delegated = [m for m in _after(puppet, 0.1) if m["message_type"] == "StunDelegation"]
    assert len(delegated) == 3

    puppet.say("StunDelegated", {"transaction_id": (0).to_bytes(12).hex()}, node)
    puppet.world.run_for(0.1)
    assert len(node.endpoint.stun) == 2
    ask(node, request(change_request=Change.BOTH, transaction_id=b"the next one"))
    assert len(node.endpoint.stun) == 3


def test_timeout_ms_is_how_long_a_partner_is_waited_for() -> None:
    node, puppet = partner_puppet(World(), max_concurrent_requests=1, timeout_ms=2000)
    puppet.say("StunPartner", {"primary": 3478, "alternate_port": 3479}, node)
    puppet.world.run_for(1)
    change = Change.BOTH
    ask(node, request(change_request=change, transaction_id=b"the first id"))
    puppet.world.run_for(1.9)
    ask(node, request(change_request=change, transaction_id=b"too early id"))
    assert dropped(node, "stun_busy") == 1
    puppet.world.run_for(0.2)
    ask(node, request(change_request=change, transaction_id=b"in time, yes"))
    assert dropped(node, "stun_busy") == 1
    assert dropped(node, "stun_partner_silent") == 1


def test_a_request_that_is_sent_again_waits_once() -> None:
    node, puppet = partner_puppet(World(), max_concurrent_requests=1)
    puppet.say("StunPartner", {"primary": 3478, "alternate_port": 3479}, node)
    puppet.world.run_for(1)
    for _ in range(3):
        ask(node, request(change_request=Change.BOTH))
    assert len(node.endpoint.stun) == 1
    assert dropped(node, "stun_busy") == 0


@pytest.mark.parametrize("transaction_id", [ID.hex(), "", "zz"])
def test_a_report_of_what_was_not_asked_counts_for_nothing(transaction_id: str) -> None:
    node, puppet = partner_puppet(World())
    puppet.ask("StunDelegated", {"transaction_id": transaction_id}, node)
    assert dropped(node, "stun_delegated_unasked") == 1


def _after(puppet: Puppet, seconds: float) -> list[dict[str, Any]]:
    puppet.world.run_for(seconds)
    return puppet.take()


# --- what is promised

DOCUMENT = Path(__file__).parents[2] / "docs" / "stun.md"


def test_the_document_states_the_bounds_that_hold() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert f"at most {AMPLIFICATION_LIMIT} times the bytes of its request" in text
    for bound in (
        f"{MANDATORY_IPV4_BYTES} bytes over IPv4",
        f"{MANDATORY_IPV6_BYTES} over IPv6",
        f"{FINGERPRINT_BYTES} more",
        f"{PARTNER_REPLIES_PER_SECOND} replies a second",
    ):
        assert bound in text


def test_the_document_names_every_option_and_its_examples_are_right(tmp_path: Path) -> None:
    text = DOCUMENT.read_text("utf-8")
    options = {path for path in OPTIONS.by_path if path.startswith("stun_server.")}
    assert {path for path in options if f"`{path.partition('.')[2]}`" not in text} == set()
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        file = tmp_path / "stun.toml"
        file.write_text(example)
        assert load_config(file, {}, {}).stun_server.enable
