"""Probes by peers: only who sent the tag is probed, by a helper elsewhere, and not often."""

import dataclasses
import json
from typing import Any

import pytest

from p2ptui.core.events import ProbeReport
from p2ptui.core.filter_probes import (
    ARMED_S,
    MAX_ARMED,
    MAX_ARMED_BY_ONE,
    MAX_PROBES,
    PROBES_PER_SECOND,
    _may_be_probed,
)
from p2ptui.errors import LocalError, PeerTimeoutError
from p2ptui.wire.address import Address
from p2ptui.wire.message import NatProbeRequestPayload
from p2ptui.wire.stun import MessageClass, StunMessage, decode, encode
from tests.simulation import Host, Puppet, World

TAG = b"twelve bytes"


class Place:
    """A server, a node that asks, and another client that can help."""

    def __init__(self, *, helper: bool = True) -> None:
        self.world = world = World()
        self.server = world.host()
        self.asker = world.host()
        self.asker.outcome(self.asker.connect(self.server))
        if helper:
            self.helper = world.host()
            self.helper.outcome(self.helper.connect(self.server))
        # Another socket of the asker's machine.
        self.probe = world.puppet((self.asker.address[0], 4000))
        world.run_for(1)

    def ask(self, tag: bytes = TAG) -> Any:
        peer = self.asker.peer(self.server)
        token = self.asker.endpoint.probes.request(peer, tag, self.world.now, 1.0)
        self.asker.settle()
        return self.asker.outcome(token)

    def send_tag(self, sender: Puppet, tag: bytes = TAG) -> None:
        data = encode(StunMessage(message_class=MessageClass.INDICATION, transaction_id=tag))
        sender.send(data, self.server)
        self.world.run_for(0.2)


def test_who_sends_the_tag_is_probed_by_another_peer() -> None:
    place = Place()
    assert place.ask() == ProbeReport(has_helper=True, sent=0)

    place.send_tag(place.probe)

    (data,) = place.probe.inbox
    message = decode(data)
    assert message.message_class is MessageClass.INDICATION
    assert message.transaction_id == TAG
    assert place.ask() == ProbeReport(has_helper=True, sent=1)


def test_nobody_is_probed_who_did_not_send_the_tag() -> None:
    place = Place()
    bystander = place.world.puppet()
    place.ask()

    place.send_tag(place.probe)
    place.send_tag(place.probe, b"another tag!")

    assert len(place.probe.inbox) == 1
    assert not bystander.inbox


def test_a_lost_probe_is_made_up_for_but_not_without_end() -> None:
    place = Place()
    place.ask()
    for _ in range(3 * MAX_PROBES):
        place.send_tag(place.probe)

    assert len(place.probe.inbox) == MAX_PROBES


def test_a_tag_is_awaited_for_a_few_seconds() -> None:
    place = Place()
    place.ask()
    place.world.run_for(ARMED_S)

    place.send_tag(place.probe)

    assert not place.probe.inbox


def test_without_another_peer_there_is_no_helper() -> None:
    place = Place(helper=False)
    assert place.ask() == ProbeReport(has_helper=False, sent=0)

    place.send_tag(place.probe)

    assert not place.probe.inbox


def test_a_helper_is_elsewhere_and_knows_how() -> None:
    """Behind the address of the asker it would show nothing; a deployed client cannot help."""
    place = Place(helper=False)
    world = place.world
    beside = world.host((place.asker.address[0], 9000))
    beside.outcome(beside.connect(place.server))
    world.puppet().join(place.server)
    world.run_for(1)

    assert place.ask() == ProbeReport(has_helper=False, sent=0)


def test_a_tag_belongs_to_who_named_it_first() -> None:
    place = Place()
    place.ask()
    other = place.world.host()
    other.outcome(other.connect(place.server))
    peer = other.peer(place.server)
    token = other.endpoint.probes.request(peer, TAG, place.world.now, 1.0)

    assert isinstance(other.outcome(token), PeerTimeoutError)
    assert place.server.endpoint.counters.drops["probe_request_refused"] == 1


def test_a_forged_sender_elsewhere_has_nobody_probed() -> None:
    """The asker could send its tag with a source that it does not have."""
    place = Place()
    victim = place.world.puppet()
    place.ask()

    place.send_tag(victim)

    assert not victim.inbox
    assert place.server.endpoint.counters.drops["probe_elsewhere"] == 1
    assert place.ask() == ProbeReport(has_helper=True, sent=0)
    place.send_tag(place.probe)
    assert len(place.probe.inbox) == 1


def test_the_tags_that_one_peer_awaits_are_few() -> None:
    place = Place()
    for number in range(2 * MAX_ARMED_BY_ONE):
        place.ask(number.to_bytes(12, "big"))
        assert place.server.endpoint.sizes()["filter_probes"] <= MAX_ARMED_BY_ONE

    assert place.server.endpoint.counters.drops["probes_of_one_full"] == MAX_ARMED_BY_ONE
    place.send_tag(place.probe, (0).to_bytes(12, "big"))
    assert not place.probe.inbox, "its own oldest made room"
    place.send_tag(place.probe, (2 * MAX_ARMED_BY_ONE - 1).to_bytes(12, "big"))
    assert len(place.probe.inbox) == 1


def test_the_tags_that_all_await_are_bounded() -> None:
    place = Place(helper=False)
    peer = place.server.peer(place.asker)
    probes = place.server.endpoint.probes
    for number in range(MAX_ARMED + 50):
        stranger = dataclasses.replace(peer)
        payload = NatProbeRequestPayload(number.to_bytes(12, "big").hex())
        probes.handle_request(stranger, payload, place.world.now + number / 1000)

    assert len(probes) <= MAX_ARMED


def test_a_tag_that_is_awaited_stays_however_many_others_ask() -> None:
    place = Place()
    place.ask()
    peer = place.server.peer(place.asker)
    probes = place.server.endpoint.probes
    for number in range(1000):
        payload = NatProbeRequestPayload(number.to_bytes(12, "big").hex())
        stranger = dataclasses.replace(peer)
        probes.handle_request(stranger, payload, place.world.now + number / 250)
    place.send_tag(place.probe)

    assert len(place.probe.inbox) == 1


def test_tags_are_forgotten_in_time_whether_or_not_anybody_comes() -> None:
    place = Place()
    place.ask()
    place.world.run_for(ARMED_S / 2)
    place.ask(b"a later one!")
    assert place.server.endpoint.sizes()["filter_probes"] == 2

    place.world.run_for(ARMED_S / 2)
    assert place.server.endpoint.sizes()["filter_probes"] == 1
    place.world.run_for(ARMED_S / 2 + 0.1)
    assert place.server.endpoint.sizes()["filter_probes"] == 0

    place.ask()
    place.world.run_for(ARMED_S + 0.1)
    assert place.server.endpoint.sizes()["filter_probes"] == 0


def test_a_server_that_cannot_is_not_asked() -> None:
    place = Place()
    puppet = place.world.puppet()
    puppet.join(place.asker)

    with pytest.raises(LocalError, match="arranges no probes"):
        place.asker.endpoint.probes.request(place.asker.peer(puppet), TAG, place.world.now, 1.0)


def test_a_silent_server_is_not_waited_for() -> None:
    place = Place()
    place.world.remove(place.server)

    assert isinstance(place.ask(), PeerTimeoutError)
    assert place.asker.endpoint.sizes()["filter_probes"] == 0


def test_a_report_counts_only_from_the_server_that_was_asked() -> None:
    """The helper knows the tag as well."""
    place = Place()
    liar = place.world.host()
    place.asker.outcome(place.asker.connect(liar))
    server = place.asker.peer(place.server)
    token = place.asker.endpoint.probes.request(server, TAG, place.world.now, 1.0)
    forged = _message(liar, "NatProbeReport", {"tag": TAG.hex(), "has_helper": True, "sent": 8})

    place.asker.receive(forged, liar.address)

    assert place.asker.outcome(token) == ProbeReport(has_helper=True, sent=0)
    assert place.asker.endpoint.counters.drops["probe_report_unasked"] == 1


def _message(host: Host, kind: str, payload: Any) -> bytes:
    message = {
        "id": host.world.message_id(),
        "message_type": kind,
        "timestamp": 1,
        "payload": payload,
    }
    return json.dumps(message).encode()


def probes_to(place: Place, sender: Puppet | Host, address: str, times: int = 1) -> Puppet:
    """Somebody tells the helper to probe an address; who stands there."""
    payload = {"tag": TAG.hex(), "address": address}
    for _ in range(times):
        place.helper.receive(_message(place.server, "NatProbe", payload), sender.address)
    place.helper.settle()
    place.world.run_for(0.2)
    return place.probe


def test_a_helper_obeys_only_servers_that_it_joined() -> None:
    place = Place()
    client = place.world.puppet()
    client.join(place.helper)

    probes_to(place, client, f"{place.probe.address[0]}:4000")

    assert not place.probe.inbox
    assert place.helper.endpoint.counters.drops["probe_refused"] == 1


def test_a_helper_sends_few_a_second() -> None:
    place = Place()
    probes_to(place, place.server, f"{place.probe.address[0]}:4000", times=10 * PROBES_PER_SECOND)

    assert len(place.probe.inbox) <= PROBES_PER_SECOND + 1


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "example.org:53",
        "10.0.0.1",
        "10.0.0.1:0",
        "0.0.0.0:53",
        "127.0.0.1:53",
        "169.254.0.1:53",
        "224.0.0.251:5353",
        "255.255.255.255:53",
        "[::]:53",
        "[::1]:53",
        "[::ffff:127.0.0.1]:53",
        "[fe80::1]:53",
        "[ff02::fb]:5353",
    ],
)
def test_a_helper_is_told_an_address_or_nothing(address: str) -> None:
    place = Place()
    sent = place.world.network.counters().sent

    place.helper.receive(
        _message(place.server, "NatProbe", {"tag": TAG.hex(), "address": address}),
        place.server.address,
    )
    place.helper.settle()

    assert place.world.network.counters().sent == sent


@pytest.mark.parametrize(
    ("host", "server", "may"),
    [
        ("198.51.100.1", "203.0.113.1", True),
        ("198.51.100.1", "192.168.0.1", True),
        ("2001:db8::1", "203.0.113.1", True),
        ("192.168.0.7", "203.0.113.1", False),
        ("100.64.0.7", "203.0.113.1", False),
        ("fd00::1", "2001:db8::1", False),
        ("127.0.0.1", "203.0.113.1", False),
        ("127.0.0.1", "192.168.0.1", False),
        ("192.168.0.7", "10.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("fe80::1", "fe80::2", True),
        ("fe80::1", "fd00::1", False),
        ("10.0.0.1", "an-id@somewhere", False),
        ("0.1.2.3", "0.0.0.0", False),
        ("240.0.0.1", "240.0.0.1", False),
        ("ff02::1", "ff02::1", False),
    ],
)
def test_a_server_elsewhere_cannot_aim_into_a_network(host: str, server: str, may: bool) -> None:
    assert _may_be_probed(host, server) is may


@pytest.mark.parametrize("tag", ["", "zz", "00" * 11, "xyz" * 8])
def test_a_tag_is_twelve_bytes(tag: str) -> None:
    place = Place()
    at: Address = place.asker.address
    place.server.receive(_message(place.asker, "NatProbeRequest", {"tag": tag}), at)
    place.server.settle()

    assert place.server.endpoint.sizes()["filter_probes"] == 0


def test_a_helper_that_claims_more_than_was_ordered() -> None:
    place = Place()
    place.ask()
    place.send_tag(place.probe)
    for _ in range(5):
        claim = _message(place.helper, "NatProbeSent", {"tag": TAG.hex()})
        place.server.receive(claim, place.helper.address)

    assert place.ask() == ProbeReport(has_helper=True, sent=1)
