"""What a reading of loss, IPv6 and limited flows found: bounds that did not hold, paths lost."""

from typing import Any

import msgspec
import pytest

from p2ptui.core.connection import Method
from p2ptui.core.events import DatagramDue, Direction, MessageTraced, SocketsWanted
from p2ptui.core.traversal.attempt import MAX_LIMITED_ROUNDS, DirectPath
from p2ptui.core.traversal.direct_paths import RETRY_S, _retry_s
from p2ptui.nat.punching import CLAIMED_CHECKS, Kind, Pair
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer
from p2ptui.wire.stun import MessageClass, StunMessage, encode
from p2ptui.wire.stun_integrity import short_term_key
from tests.core.meeting import OUTSIDE_B, Meeting
from tests.simulated_nat import KINDS, Nat
from tests.simulation import Host

A6: Address = ("2a01:1::2", 5000)
B6: Address = ("2a01:2::2", 5000)
VICTIM: Address = ("2a01:9::9", 53)


def over_ipv6(*, relay: bool = True) -> Meeting:
    """Two nodes with a direct path over IPv6, and no other."""
    server = {"allow_symmetric_nat_relay": relay}
    meeting = Meeting("symmetric, random", "symmetric, random", server=server)
    meeting.a.stand_beside(A6)
    meeting.b.stand_beside(B6)
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 5)
    meeting.world.run_for(1)
    return meeting


@pytest.mark.parametrize("unanswered", [1, 5, 100_000])
def test_a_path_may_be_silent_for_hours(unanswered: int) -> None:
    pair = Pair(0, B6, Kind.HOST, 0.0, rtt_s=0.05)
    assert 0 < _retry_s(DirectPath(pair, B6, 0.0, unanswered)) <= RETRY_S


def test_an_offer_that_comes_after_the_path_was_found_changes_nothing() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 5)
    led = meeting.b
    attempt = meeting.attempt(led)
    assert attempt is not None
    assert attempt.remote is not None
    assert attempt.observed is not None
    late = msgspec.structs.replace(attempt.remote, round=attempt.remote.round + 1, answer=False)

    led.endpoint.traversal.intake.handle_introduction(
        attempt.server, attempt.node_id, attempt.observed, late, meeting.world.now
    )
    led.settle()
    meeting.world.run_for(60)

    assert meeting.is_direct()
    assert attempt.direct is not None
    assert attempt.direct.confirmed_at > meeting.world.now - 10


class Liar:
    """`b` claims that a stranger's address is its own, and does nothing by itself any more."""

    def __init__(self) -> None:
        self.meeting = Meeting("symmetric, random", "symmetric, random")
        self.meeting.a.stand_beside(A6)
        self.meeting.b.stand_beside(B6)
        self.meeting.b.endpoint.traversal.offers.beside = (VICTIM,)
        self.victim_of = self.meeting.a
        self.meeting.connect()
        self.meeting.world.run_for(2)

    def sent(self) -> list[bytes]:
        due = self.victim_of.told(DatagramDue)
        return [event.data for event in due if event.to == VICTIM]


def test_a_round_that_begins_anew_sends_nothing_more_to_whom_nobody_vouches_for() -> None:
    liar = Liar()
    meeting, a = liar.meeting, liar.meeting.a
    attempt = meeting.attempt(a)
    assert attempt is not None
    before = len(liar.sent())
    assert 0 < before <= CLAIMED_CHECKS * 2
    meeting.b.endpoint.traversal.checks.receive = lambda *_: True  # type: ignore[method-assign]
    for other in meeting.b.endpoint.traversal.offers.all():
        other.stop_timer()

    for number in range(30):
        request = StunMessage(
            message_class=MessageClass.REQUEST,
            transaction_id=number.to_bytes(12, "big"),
            username=f"{attempt.offer.ufrag}:",
            fingerprint=True,
        )
        data = encode(request, integrity_key=short_term_key(attempt.offer.password))
        a.endpoint.receive_datagram(data, (OUTSIDE_B, 40_000), meeting.world.now)
        a.settle()
        meeting.world.run_for(1.2)

    assert len(liar.sent()) <= before + CLAIMED_CHECKS * 2, "at most the rounds of one more search"


@pytest.mark.parametrize("relay", [True, False])
def test_a_session_outlives_a_change_of_the_ipv6_address(relay: bool) -> None:
    meeting = over_ipv6(relay=relay)

    meeting.a.stand_beside(("2a01:1::3", 5000))
    outcome = meeting.a.outcome(meeting.say("still here"))
    meeting.world.run_for(20)

    assert outcome.delivered
    assert meeting.is_direct()
    assert meeting.a.outcome(meeting.say("and later")).delivered
    # Relayed, it moved on; else it keeps the socket that it lives at.
    assert set(meeting.a.sockets) == ({2} if relay else {1, 2})


@pytest.mark.parametrize("seed", range(4))
def test_a_path_over_ipv6_comes_back_through_firewalls_that_have_forgotten_it(seed: int) -> None:
    meeting = Meeting("symmetric, random", "symmetric, random", seed=seed)
    firewalls = [meeting.nats.add(Nat(host, {host}, KINDS["firewall"])) for host in (A6[0], B6[0])]
    meeting.a.stand_beside(A6)
    meeting.b.stand_beside(B6)
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 10)
    meeting.world.network.partition(A6, B6)
    meeting.world.run_for(20)
    for firewall in firewalls:
        firewall.forget()

    meeting.world.network.heal(A6, B6)

    meeting.world.run_until(meeting.is_direct, 10)


@pytest.mark.parametrize("offset_s", [0.918, 0.935, 0.95, 0.969])
def test_searches_that_cross_have_one_who_leads(offset_s: float) -> None:
    server = {"allow_symmetric_nat_relay": False}
    meeting = Meeting("port-restricted-cone", "symmetric, step 1", server=server)
    meeting.predicts_well(meeting.b)
    meeting.ask(20)
    meeting.world.run_for(offset_s)
    server_peer = meeting.b.peer(meeting.server)
    assert server_peer is not None

    meeting.b.endpoint.introduce(server_peer, meeting.a.id, meeting.world.now, 20)
    meeting.b.settle()

    meeting.world.run_until(meeting.is_direct, 15)


def offered_rounds(count: int, pause_s: float, observed: Address) -> Host:
    """Who was offered so many rounds of one search, one after the other."""
    meeting = Meeting("symmetric, random", "port-restricted-cone")
    a = meeting.a
    assert a.facts is not None
    a.endpoint.traversal.facts_ready(a.facts, meeting.world.now)
    if ":" in observed[0]:
        a.stand_beside(A6)
    server = a.peer(meeting.server)
    assert server is not None
    for number in range(count):
        one = TraversalOffer(
            "ufra", "password-of-somebody", round=number, nat_type="port-restricted-cone"
        )
        attempt = a.endpoint.traversal.offers.get(meeting.b.id)
        if attempt is not None:
            one = one.naming(attempt.offer.ufrag)
        a.endpoint.traversal.intake.handle_introduction(
            server, meeting.b.id, observed, one, meeting.world.now
        )
        a.settle()
        meeting.world.run_for(pause_s)
    return a


def test_no_further_sockets_are_opened_towards_an_address_that_they_do_not_reach() -> None:
    assert not offered_rounds(4, 1.5, B6).told(SocketsWanted)


def test_rounds_are_bounded_in_number_and_in_time() -> None:
    a = offered_rounds(256, 0.12, (OUTSIDE_B, 5000))

    assert 0 < len(a.told(SocketsWanted)) < MAX_LIMITED_ROUNDS
    assert a.endpoint.counters.drops["offer_refused"] >= 256 - MAX_LIMITED_ROUNDS


def requests_in(meeting: Meeting, host: Host, seconds: float) -> int:
    host.endpoint.set_tracing(enabled=True)
    meeting.ask(seconds + 1)
    meeting.world.run_for(seconds)
    traced: list[Any] = host.told(MessageTraced)
    return sum(
        event.message_type == "HandshakeRequest" and event.direction is Direction.OUT
        for event in traced
    )


def test_who_acks_a_relayed_handshake_and_never_answers_is_not_asked_all_the_time() -> None:
    meeting = Meeting(options={"ice": {"enable": False}}, latency_s=0.002)
    responder = meeting.b.endpoint._responder
    responder._transmit_response = lambda *_: None  # type: ignore[method-assign]

    assert requests_in(meeting, meeting.a, 9) <= 9 / 0.2


def test_a_path_to_a_claimed_address_was_no_guess() -> None:
    meeting = over_ipv6()
    peer = meeting.peer(meeting.a)
    assert peer is not None
    assert peer.connection is not None
    assert peer.connection.method is Method.PLAIN
    assert peer.connection.attempts == 1
