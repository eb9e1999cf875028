"""Every datagram that leaves is paid for, and there is no way round that."""

import ast
import ipaddress
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2ptui.config import Config
from p2ptui.core.accounts import (
    AMPLIFICATION_LIMIT,
    BOUNDS,
    CHECK_BYTES,
    DATAGRAMS_EACH,
    DATAGRAMS_OF_HANDSHAKE,
    KEPT_FOR_PINGS,
    PING_BYTES,
    ROUNDS_AT_ONCE,
    SEARCHES_AT_ONCE,
    Purse,
    Reason,
    bound_of_search,
)
from p2ptui.core.counters import Counters
from p2ptui.core.events import DatagramDue, Event, StunReplyDue
from p2ptui.core.gate import MAX_GRANTS, MAX_OUTGOING, Gate
from p2ptui.errors import QueueFullError
from p2ptui.nat.stun_server import MANDATORY_IPV6_BYTES, Place
from p2ptui.wire.address import Address, AskedAddress, format_address
from p2ptui.wire.message import NatProbePayload
from p2ptui.wire.stun import MessageClass, StunMessage, encode
from tests.core.meeting import Meeting
from tests.simulation import Host, Puppet, World

PACKAGE = Path(__file__).parents[2] / "p2ptui"
ALICE: Address = ("192.0.2.1", 1000)
BOB: Address = ("192.0.2.2", 1000)

KEPT_WHOLE = [reason for reason, bound in BOUNDS.items() if bound.lifetime_s]


@dataclass
class Someone:
    """A peer, as far as the gate knows it."""

    sends_to: Address
    purse: Purse

    def has_room(self, size: int) -> bool:
        return self.purse.has_room(size)


class Bench:
    """A gate by itself, and what it let out."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.events: list[Event] = []
        self.gate = Gate(self.counters, self.events.append)

    def sends(self, size: int, account: Any, to: Address = ALICE) -> bool:
        """Whether a datagram is let out; what is refused is counted, what is let out leaves."""
        unpaid, out = self.counters.drops["unpaid"], self.counters.datagrams_out
        if isinstance(account, Purse) and account.at is None:
            is_out = self.gate.send_to(Someone(to, account), bytes(size))
        else:
            is_out = self.gate.send(bytes(size), to, account)
        assert self.counters.drops["unpaid"] == unpaid + (not is_out)
        assert self.counters.datagrams_out == out + is_out
        return is_out


@pytest.fixture
def bench() -> Bench:
    return Bench()


# What an address has earned.


def test_a_new_purse_is_worth_nothing(bench: Bench) -> None:
    assert not bench.sends(1, Purse())
    assert not bench.sends(0, Purse())
    assert bench.gate.take() == []


def test_a_datagram_earns_three_times_its_bytes(bench: Bench) -> None:
    purse = Purse()
    bench.gate.note_arrival(purse, ALICE, 100)
    assert bench.sends(AMPLIFICATION_LIMIT * 100, purse)
    assert not bench.sends(1, purse)
    assert (purse.bytes_in, purse.bytes_out) == (100, 300)


def test_a_datagram_earns_three_datagrams(bench: Bench) -> None:
    purse = Purse()
    bench.gate.note_arrival(purse, ALICE, 31)
    assert [bench.sends(1, purse) for _ in range(4)] == [True] * DATAGRAMS_EACH + [False]
    purse.earn_handshake()
    more = [bench.sends(1, purse) for _ in range(7)]
    assert more == [True] * DATAGRAMS_OF_HANDSHAKE + [False]


def test_a_long_datagram_earns_no_more_of_them(bench: Bench) -> None:
    purse = Purse()
    bench.gate.note_arrival(purse, ALICE, 1600)
    most = DATAGRAMS_EACH
    assert [bench.sends(80, purse) for _ in range(most + 1)] == [True] * most + [False]


def test_a_proof_makes_a_purse_bottomless(bench: Bench) -> None:
    purse = Purse()
    purse.proved = True
    assert all(bench.sends(1000, purse) for _ in range(100))
    assert (purse.allowance, purse.spendable) == (math.inf, math.inf)
    assert purse.bytes_out == 100_000
    purse.forget_proof()
    assert not bench.sends(1, purse)


def test_what_is_kept_for_pings_pays_for_pings_and_answers_only(bench: Bench) -> None:
    purse = Purse()
    bench.gate.note_arrival(purse, ALICE, 200)
    purse.keep_for_pings()
    assert (purse.kept, purse.spendable) == (KEPT_FOR_PINGS, 600 - KEPT_FOR_PINGS)
    assert bench.sends(600 - KEPT_FOR_PINGS, purse)
    assert not bench.sends(1, purse)
    for left in (PING_BYTES, 0):
        assert bench.sends(PING_BYTES, bench.gate.grant_ping(purse, ALICE))
        purse.note_ping(PING_BYTES)
        assert (purse.kept, purse.credit) == (left, left)
    assert not bench.sends(1, bench.gate.grant_ping(purse, ALICE))
    assert not bench.sends(1, bench.gate.grant_answer(purse, ALICE))


def test_an_answer_is_paid_by_what_it_answers_where_the_purse_is_empty(bench: Bench) -> None:
    purse = Purse()
    purse.charge(1000)  # by a grant
    account = bench.gate.grant_answer(purse, ALICE, bench.gate.earned_by(100, ALICE))
    assert bench.sends(300, account)
    assert not bench.sends(1, account), "it is for one answer"
    assert purse.credit == -1300, "and lowers what comes later"


def test_an_answer_is_worth_nothing_later(bench: Bench) -> None:
    account = bench.gate.grant_answer(Purse(), ALICE, bench.gate.earned_by(100, ALICE))
    bench.gate.now += 0.001
    assert not bench.sends(1, account)


def test_what_a_newcomer_has_earned_moves_to_its_purse(bench: Bench) -> None:
    earned, purse = bench.gate.earned_by(100, ALICE), Purse()
    bench.gate.send(bytes(50), ALICE, earned)
    purse.absorb(earned)
    assert (purse.credit, purse.bytes_in, purse.bytes_out) == (250, 100, 50)
    assert not bench.sends(1, earned)


def test_a_stranger_pays_with_the_datagram_that_is_handled(bench: Bench) -> None:
    assert not bench.sends(1, bench.gate.answer_purse)
    bench.gate.note_arrival(None, ALICE, 10)
    assert bench.sends(30, bench.gate.answer_purse)
    assert not bench.sends(1, bench.gate.answer_purse)
    bench.gate.note_arrival(None, ALICE, 10)
    bench.gate.settle()
    assert not bench.sends(1, bench.gate.answer_purse)


def test_refusals_need_what_was_earned_and_room_among_all(bench: Bench) -> None:
    asked: list[tuple[int, int, float]] = []
    earned = bench.gate.earned_by(100, ALICE)
    assert not bench.gate.refuse(bytes(10), ALICE, earned, 5.0), "nobody said that it may"

    def admits(*what: Any) -> bool:
        asked.append(what)
        return len(asked) > 1

    bench.gate.admits_answer = admits
    assert not bench.gate.refuse(bytes(301), ALICE, earned, 5.0)
    assert asked == [], "what is too long takes nobody's turn"
    assert not bench.gate.refuse(bytes(300), ALICE, earned, 5.0)
    assert bench.gate.refuse(bytes(300), ALICE, earned, 5.0)
    assert asked == [(300, 100, 5.0)] * 2
    assert not bench.gate.refuse(bytes(10), ALICE, bench.gate.earned_by(100, ALICE), 5.0, Purse())
    assert bench.counters.drops["unpaid"] == 0
    assert len(bench.gate.take()) == 1


# What is granted.


@pytest.mark.parametrize("reason", KEPT_WHOLE)
def test_a_grant_lets_out_what_the_table_says(bench: Bench, reason: Reason) -> None:
    bound = BOUNDS[reason]
    gate = bench.gate

    def count_sent(size: int, to: Address, now: float) -> int:
        sent = 0
        while bench.sends(size, gate.grant(reason, to, now), to):
            sent += 1
            gate.outgoing.clear()
        return sent

    assert count_sent(0, ALICE, 1.0) == bound.datagrams
    use = bench.counters.grants[reason.value]
    assert (use.granted, use.datagrams, use.refused) == (1, bound.datagrams, 1)
    assert count_sent(0, ALICE, 1.0 + bound.lifetime_s) == 0
    # After its time it is granted anew, and in bytes there is an end, too.
    most = bound.size // 1400
    later = 2.0 + bound.lifetime_s
    assert count_sent(1400, ALICE, later) == min(most, bound.datagrams)
    other = (ALICE[0], ALICE[1] + 1)
    assert count_sent(1400, other, later) == (0 if bound.of_host else min(most, bound.datagrams))
    assert count_sent(1400, BOB, later) > 0
    assert use.granted == 3 if bound.of_host else 4


def test_a_grant_that_was_held_is_over_in_time(bench: Bench) -> None:
    held = bench.gate.grant(Reason.GOODBYE, ALICE, 1.0)
    assert bench.sends(1, held)
    bench.gate.now = 1.1 + BOUNDS[Reason.GOODBYE].lifetime_s
    assert not bench.sends(1, held)


def test_what_is_granted_is_counted_in_the_purse_and_costs_no_answer(bench: Bench) -> None:
    purse = Purse()
    bench.gate.note_arrival(purse, ALICE, 100)
    assert bench.sends(250, bench.gate.grant(Reason.USER_ASKED, ALICE, 1.0, purse))
    assert (purse.credit, purse.datagrams, purse.bytes_out) == (300, DATAGRAMS_EACH, 250)
    assert bench.sends(250, bench.gate.grant(Reason.USER_ASKED, ALICE, 1.0, purse))
    assert (purse.credit, purse.datagrams, purse.bytes_out) == (300, DATAGRAMS_EACH, 500)
    assert bench.sends(300, purse), "what this node wants to send is no answer"
    assert not bench.sends(1, purse)


def test_who_has_proved_itself_needs_no_grant(bench: Bench) -> None:
    alice = Someone(ALICE, Purse())
    spent = bench.gate.grant_ping(alice.purse, ALICE)
    alice.purse.proved = True
    assert bench.gate.send_to(alice, b"data", spent)
    assert bench.counters.grants["ping"].datagrams == 0


# Nobody pays for another.


def test_a_purse_pays_for_the_way_to_its_peer_only(bench: Bench) -> None:
    purse = Purse()
    purse.proved = True
    assert not bench.gate.send(b"data", BOB, purse)
    assert not bench.gate.send(b"data", ALICE, purse)
    assert bench.gate.send_to(Someone(ALICE, purse), b"data")
    assert bench.gate.take() == [(b"data", ALICE)]


def test_what_a_datagram_earned_pays_for_where_it_came_from(bench: Bench) -> None:
    bench.gate.note_arrival(None, ALICE, 1000)
    for other in (BOB, (ALICE[0], ALICE[1] + 1)):
        assert not bench.sends(1, bench.gate.answer_purse, other)
    assert bench.sends(1, bench.gate.answer_purse, AskedAddress(ALICE, "192.0.2.9"))


@pytest.mark.parametrize("reason", KEPT_WHOLE)
def test_a_grant_is_for_one_address(bench: Bench, reason: Reason) -> None:
    grant = bench.gate.grant(reason, ALICE, 1.0)
    other_port = (ALICE[0], ALICE[1] + 1)
    assert not bench.sends(1, grant, BOB)
    assert bench.sends(1, grant, other_port) is BOUNDS[reason].of_host
    assert bench.sends(1, grant, ALICE)


def test_one_answer_or_ping_is_for_one_address(bench: Bench) -> None:
    purse = Purse()
    purse.proved = True
    earned = bench.gate.earned_by(100, ALICE)
    for account in (
        bench.gate.grant_answer(purse, ALICE, earned),
        bench.gate.grant_ping(purse, ALICE),
    ):
        assert not bench.sends(1, account, BOB)
        assert bench.sends(1, account, ALICE)
        assert not bench.sends(1, account, ALICE)


def test_a_stun_answer_is_what_the_standard_demands_or_what_was_earned(bench: Bench) -> None:
    for asked, most in ((20, MANDATORY_IPV6_BYTES + 8), (500, 1500)):
        assert not bench.gate.answer_stun(Place.OWN, bytes(most + 1), ALICE, asked)
        assert bench.gate.answer_stun(Place.OWN, bytes(most), ALICE, asked)
        assert bench.gate.take() == [(bytes(most), ALICE)]
        assert bench.gate.answer_stun(Place.PRIMARY, bytes(most), ALICE, asked)
        assert bench.events.pop() == StunReplyDue(Place.PRIMARY, bytes(most), ALICE)
    assert bench.counters.drops["unpaid"] == 2
    use = bench.counters.grants[Reason.STUN_ANSWER.value]
    assert (use.granted, use.datagrams, use.refused) == (6, 4, 2)
    assert (use.bytes, bench.counters.bytes_out) == (2 * (124 + 1500), 2 * (124 + 1500))


def test_grants_are_bounded(bench: Bench) -> None:
    for number in range(MAX_GRANTS + 1):
        bench.gate.grant(Reason.OWN_PLAN, (f"host-{number}", 1), 1.0)
    assert len(bench.gate) == MAX_GRANTS
    assert bench.counters.drops["grants_full"] == 1
    bench.gate.grant(Reason.OWN_PLAN, ALICE, 100.0)
    assert len(bench.gate) == 1, "those that are over make room first"


def test_the_table_is_documented() -> None:
    page = (PACKAGE.parent / "docs" / "limits.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`:]+)` \| ([0-9,]+) \| ([0-9,]+) \|", page, re.MULTILINE)
    assert rows == [
        (reason.value, f"{bound.size:,}", f"{bound.datagrams:,}")
        for reason, bound in BOUNDS.items()
    ]
    assert BOUNDS.keys() == set(Reason)
    assert {bound.lifetime_s for bound in BOUNDS.values()} == {0.0, 10.0}


# How it leaves.


def test_a_datagram_leaves_by_its_socket_or_detour(bench: Bench) -> None:
    gate = bench.gate
    purse = Purse()
    purse.proved = True
    arrived: list[bytes] = []
    gate.detours[BOB] = arrived.append
    gate.send_to(Someone(ALICE, purse), b"own")
    gate.send_to(Someone(BOB, purse), b"detour")
    gate.send(b"beside", BOB, gate.grant(Reason.OWN_SEARCH, BOB, 1.0), socket=3)
    gate.send(b"short", ALICE, gate.grant(Reason.OWN_SEARCH, ALICE, 1.0), ttl=2)
    assert gate.take() == [(b"own", ALICE)]
    assert arrived == [b"detour"]
    expected = [DatagramDue(3, b"beside", BOB, None), DatagramDue(0, b"short", ALICE, 2)]
    assert bench.events == expected
    assert gate.take() == []
    assert bench.counters.datagrams_out == 3


def test_an_answer_leaves_from_the_address_that_was_asked(bench: Bench) -> None:
    purse = Purse()
    purse.proved = True
    bench.gate.source = AskedAddress(ALICE, "192.0.2.9")
    bench.gate.send_to(Someone((ALICE[0], ALICE[1]), purse), b"")
    ((_, to),) = bench.gate.take()
    assert to is bench.gate.source


def test_what_is_refused_takes_nothing_of_what_is_free(bench: Bench) -> None:
    purse = Purse()
    purse.proved = True
    someone = Someone(ALICE, purse)
    bench.gate.admits_unvouched = lambda *_: False
    bench.gate.note_arrival(purse, ALICE, 100)
    assert not bench.gate.send_to(someone, bytes(500))
    assert bench.gate.send_to(someone, bytes(200))
    assert bench.gate.send_to(someone, bytes(100))
    assert not bench.gate.send_to(someone, b"1")
    assert bench.counters.drops == {"unvouched": 2}


def test_a_list_that_draws_for_its_pages_is_not_counted_once_more(bench: Bench) -> None:
    purse = Purse()
    purse.proved = True
    bench.gate.admits_unvouched = lambda *_: False
    bench.gate.note_arrival(purse, ALICE, 10)
    assert not bench.gate.is_vouched
    bench.gate.count_apart()
    assert bench.gate.send_to(Someone(ALICE, purse), bytes(1000))
    bench.gate.settle()


def test_the_way_out_is_bounded(bench: Bench) -> None:
    purse = Purse()
    purse.proved = True
    for _ in range(MAX_OUTGOING + 1):
        bench.gate.send_to(Someone(ALICE, purse), b"")
    assert bench.counters.drops["outgoing_full"] == 1
    assert len(bench.gate.take()) == MAX_OUTGOING


# What each reason is used for.


@pytest.fixture
def world() -> World:
    return World()


def uses(host: Host) -> dict[str, int]:
    """Datagrams by reason; nothing was refused."""
    counters = host.endpoint.counters
    assert counters.drops["unpaid"] == 0
    assert all(use.refused == 0 for use in counters.grants.values())
    return {reason: use.datagrams for reason, use in counters.grants.items() if use.datagrams}


def silent_server(world: World, node: Host, **fields: Any) -> Puppet:
    """A server that this node asks, and that answers so that it proves nothing."""
    puppet = world.puppet()
    puppet.answers_pings = False
    node.connect(puppet)
    world.run_for(0.05)
    write = puppet.spec_message if fields else puppet.message
    info = puppet.handshake_request(**fields)["payload"]
    answer = {"success": True, "error_message": None, "node_info": info, "public_addr": None}
    puppet.send(write("HandshakeResponse", answer, sequence_number=7), node)
    world.run_for(1.05)  # it names no request: a better answer might come
    peer = node.peer(puppet)
    assert peer is not None
    assert peer.is_authenticated
    assert not peer.proved
    puppet.take()
    return puppet


def test_requests_are_granted_until_somebody_answers(world: World) -> None:
    node, puppet = world.host(), world.puppet()
    node.connect(puppet, timeout_s=3)
    world.run_for(3)
    assert uses(node) == {"handshake": len(puppet.take())}


def test_a_newcomer_is_answered_and_asked_at_its_own_cost(world: World) -> None:
    node, puppet = world.host(), world.puppet()
    puppet.join(node)
    world.run_for(60)
    used = uses(node)
    assert used["answer"] == 1
    assert used["ping"] >= 1
    assert used.keys() == {"answer", "ping"}
    assert puppet.bytes_received <= 3 * puppet.bytes_sent


def test_who_forgets_to_ask_sends_nothing(world: World) -> None:
    node, puppet = world.host(), world.puppet()
    puppet.answers_pings = False
    puppet.join(node)
    peer, before = node.peer(puppet), puppet.bytes_received
    assert peer is not None
    assert not node.endpoint._delivery.transmit_frame(peer, bytes(5000))
    node.settle()
    world.run_for(0.1)
    assert puppet.bytes_received == before
    assert node.endpoint.counters.drops["unpaid"] == 1


def test_a_stranger_pays_for_being_told(world: World) -> None:
    node, puppet = world.host(), world.puppet()
    puppet.say("ListNodesRequest", None, node)
    world.run_for(1)
    (told,) = puppet.take()
    assert told["message_type"] == "Error"
    assert uses(node) == {}


def test_what_the_user_asks_for_is_granted_and_charged(world: World) -> None:
    node = world.host()
    puppet = silent_server(world, node)
    peer = node.peer(puppet)
    assert peer is not None
    before, credit = uses(node), peer.purse.credit
    for number in range(20):
        node.send(puppet, number, reliable=False)
    world.run_for(0.1)
    assert len([m for m in puppet.take() if m["message_type"] == "Data"]) == 20
    assert uses(node)["user asked"] == 20
    assert uses(node).keys() - before.keys() == {"user asked"}
    assert peer.purse.credit == credit, "what the user sends takes no answer from the client"


def test_a_call_that_pings_is_granted(world: World) -> None:
    node = world.host()
    puppet = silent_server(world, node)
    before = uses(node).get("user asked", 0)
    for _ in range(5):
        node.ping(puppet)
    assert uses(node)["user asked"] == before + 5


def test_a_session_that_was_asked_for_pays_for_its_messages(world: World) -> None:
    node = world.host()
    puppet = silent_server(world, node, capabilities=["routing"])
    node.send(puppet, "kept until it is acknowledged")
    world.run_for(0.05)
    assert "Data" in puppet.take_types()
    assert uses(node)["own session"] >= 1


def test_a_goodbye_is_granted(world: World) -> None:
    node = world.host()
    puppet = silent_server(world, node)
    peer = node.peer(puppet)
    assert peer is not None
    node.endpoint.disconnect(peer, "done", world.now)
    world.run_for(0.1)
    assert "Disconnect" in puppet.take_types()
    assert uses(node)["goodbye"] == 1


def test_the_owner_of_an_id_is_asked(world: World) -> None:
    node = world.host()
    owner = world.puppet()
    newcomer = world.puppet(node_id=owner.id)
    owner.answers_pings = newcomer.answers_pings = False
    owner.join(node)
    newcomer.join(node)
    world.run_for(5)
    assert 1 <= uses(node)["ping"] <= 4
    assert "owner check" not in uses(node), "before its proof its own datagrams pay"


def test_a_stun_answer_is_granted_and_no_more(world: World) -> None:
    node, puppet = world.host(stun_server={"enable": True}), world.puppet()
    node.endpoint.stun.open({Place.OWN: node.address, Place.PRIMARY: ("10.9.9.9", 3478)}, None)
    request = encode(StunMessage(message_class=MessageClass.REQUEST, transaction_id=bytes(12)))
    for _ in range(3):
        puppet.send(request, node)
    world.run_for(1)
    assert len(puppet.inbox) == 3
    assert uses(node) == {"STUN answer": 3}


def test_checks_and_offers_are_a_search(world: World) -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_for(5)
    for node in (meeting.a, meeting.b):
        assert uses(node)["own search"] >= 2
        assert uses(node).keys() <= {
            "own search",
            "consent",
            "handshake",
            "ping",
            "answer",
            "own plan",
        }


def test_neighbours_are_looked_for_by_plan(world: World) -> None:
    node, neighbour = world.host(), world.puppet()
    lan = ipaddress.ip_network("10.0.0.0/16")
    port = neighbour.address[1]
    node.endpoint.neighbours.start((lan,), (neighbour.address[0],), port, world.now, searching=True)
    world.run_for(5)
    assert "DiscoveryRequest" in neighbour.take_types()
    assert uses(node).keys() == {"own plan"}


def test_a_probe_for_a_peer_is_granted(world: World) -> None:
    node, server, third = world.host(), world.host(), world.puppet()
    node.outcome(node.connect(server))
    peer = node.peer(server)
    assert peer is not None
    payload = NatProbePayload(bytes(12).hex(), format_address(third.address))
    node.endpoint.probes.handle_probe(peer, payload, world.now)
    node.settle()
    world.run_for(1)
    assert len(third.inbox) == 1
    assert uses(node)["probe for peer"] == 1


# What does not leave is not told as sent.


def test_what_finds_no_room_or_no_way_does_not_leave(bench: Bench) -> None:
    alice = Someone(ALICE, Purse())
    alice.purse.proved = True
    bench.gate.outgoing.extend([(b"", BOB)] * MAX_OUTGOING)
    assert not bench.gate.send_to(alice, b"data")
    assert not bench.gate.send(b"data", ALICE, bench.gate.grant(Reason.GOODBYE, ALICE, 1.0))
    bench.gate.take()
    bench.gate.detours[ALICE] = lambda _: False
    assert not bench.gate.send_to(alice, b"data")
    gone = Someone(("someone@192.0.2.9", 1000), alice.purse)
    assert not bench.gate.send_to(gone, b"data")
    assert bench.counters.datagrams_out == 0


@pytest.mark.parametrize("reliable", [False, True])
def test_a_call_whose_message_is_dropped_fails(world: World, *, reliable: bool) -> None:
    node = world.host()
    puppet = silent_server(world, node)
    peer = node.peer(puppet)
    assert peer is not None
    told = len(node.outcomes)
    node.endpoint._state.gate.grant(Reason.USER_ASKED, peer.sends_to, world.now).datagrams = 0
    busy = peer.traffic.last_sent
    with pytest.raises(QueueFullError, match="was not sent"):
        node.endpoint.send(peer, "lost", world.now, reliable=reliable)
    with pytest.raises(QueueFullError, match="was not sent"):
        node.ping(puppet)
    world.run_for(0.1)
    assert len(node.outcomes) == told
    assert peer.traffic.last_sent == busy
    assert len(peer.pings) == 0 or not node.endpoint.sizes()["pings_awaited"]
    # The time of the call tells that what was granted is over: nothing else has happened since.
    later = world.now + 1000
    node.endpoint.send(peer, "arrives", later, reliable=reliable)
    assert node.endpoint._state.gate.now == later


def test_as_much_is_sent_as_a_program_asks_for(world: World) -> None:
    node = world.host()
    puppet = silent_server(world, node)
    for number in range(20_000):
        node.send(puppet, number, reliable=False)
    world.run_for(1)
    assert puppet.take_types().count("Data") == 20_000
    assert uses(node)["user asked"] == 20_000


def test_a_check_that_is_dropped_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting()
    gate = meeting.a.endpoint._state.gate
    tried: list[Address] = []

    def refuse(_data: bytes, to: Address, *_: Any, **__: Any) -> bool:
        tried.append(to)
        return False

    monkeypatch.setattr(gate, "send", refuse)
    meeting.ask()

    def punches() -> Any:
        attempt = meeting.attempt(meeting.a)
        return None if attempt is None else attempt.punching

    meeting.world.run_until(lambda: punches() is not None)
    punching, attempt = punches(), meeting.attempt(meeting.a)
    assert attempt is not None
    meeting.world.run_for(0.5)
    assert len(tried) > 1
    assert (punching.checks_sent, attempt.account.checks, attempt.account.bytes_spent) == (0, 0, 0)


@pytest.mark.parametrize(
    ("checks", "pace_ms"), [(1, 1.0), (2000, 1.0), (200_000, 0.1), (1_000_000, 1000)]
)
def test_a_search_may_send_what_its_options_allow(
    world: World, checks: int, pace_ms: float
) -> None:
    node = world.host(ice={"max_checks": checks, "pace_ms": pace_ms})
    gate = node.endpoint._state.gate
    grant = gate.grant(Reason.OWN_SEARCH, ALICE, world.now)
    most = min(checks, int(10_000 / pace_ms))
    assert grant.datagrams >= SEARCHES_AT_ONCE * most
    assert grant.size == CHECK_BYTES * grant.datagrams
    assert grant.datagrams <= SEARCHES_AT_ONCE * max(ROUNDS_AT_ONCE * checks, 1000)
    node.endpoint.reload(Config())
    again = gate.grant(Reason.OWN_SEARCH, BOB, world.now)
    assert again.datagrams == BOUNDS[Reason.OWN_SEARCH].datagrams


def test_the_bound_of_a_search_is_for_the_options_by_default() -> None:
    ice = Config().ice
    assert bound_of_search(ice.max_checks, ice.pace_ms / 1000) == BOUNDS[Reason.OWN_SEARCH]


# No other way out.


ACCOUNTS = "core/accounts.py"
GATE = "core/gate.py"
DELIVERY, OUTLET = "core/delivery/delivery.py", "core/delivery/outlet.py"
STATE, DISPATCH, PEER = "core/state.py", "core/dispatch.py", "core/peers/peer.py"
RESPONDER = "core/sessions/responder.py"

USES: dict[str, set[str]] = {
    # Who may make what pays and what lets out. A new purse is empty; what is only compared with is
    # no exit.
    "Grant": {GATE},
    "Purse": {GATE, "core/peers/traffic.py"},
    "Gate": {STATE, "core/messages/budgets.py", "io/exits.py"},
    "Reason": set(),
    "BOUNDS": {GATE},
    "bound_of_search": {ACCOUNTS, GATE},
    "DatagramDue": {GATE, "node/traversal_support.py"},
    "StunReplyDue": {GATE, "node/runtime.py"},
    # Who may fill a purse, or say what it is worth.
    "earn_bytes": {GATE, PEER},
    "earned_by": {
        GATE,
        "core/messages/arrivals.py",
        "core/secure/clear.py",
        "core/secure/completing.py",
        "core/secure/opening.py",
    },
    "by_other_server": {RESPONDER},
    "note_arrival": {DISPATCH},
    "note_datagram": set(),
    "earn_handshake": {RESPONDER, "core/sessions/handshake.py"},
    "absorb": {RESPONDER, "core/debts.py"},
    "note_committed": {GATE},
    "commit": {"core/mesh/rendezvous.py"},
    "forget_proof": {"core/sessions/handshake.py"},
    "keep_for_pings": {RESPONDER},
    "note_answered_ping": {"core/sessions/liveness.py"},
    "note_ping": {OUTLET},
    "note_detour": {"core/relay/way_checks.py"},
    "charge": {ACCOUNTS, GATE},
    "answer_purse": {
        "core/mesh/endtoend.py",
        "core/messages/arrivals.py",
        "core/messages/telling.py",
        "core/secure/refusals.py",
        "core/traversal/check_exchange.py",
    },
    # Who may have one datagram paid by what a purse holds, or by what a standard demands.
    "grant_answer": {GATE, RESPONDER, "core/sessions/answers.py"},
    "grant_ping": {OUTLET},
    "answer_stun": {"core/stun.py"},
    # Where it leaves.
    "lets_out": {GATE, "io/exits.py"},
    # An empty frame shows that keys are there; new ones are agreed on within a session.
    # A peer is asked whether it still hears this node, and told where that is now.
    "send_to": {
        OUTLET,
        STATE,
        "core/secure/completing.py",
        "core/secure/own_moves.py",
        "core/secure/rekeying.py",
        "core/secure/roaming.py",
    },
    "put_datagram": set(),
    "outgoing": {GATE, STATE},
    "_outgoing": {STATE},
    "transmit_frame": {
        DELIVERY,
        OUTLET,
        "core/delivery/path_probes.py",
        "core/messages/session_messages.py",
        "core/relay/frames.py",
        "core/mobility/home.py",
        "core/sessions/keepalive.py",
    },
    "transmit_from": {RESPONDER},
    "_leave": {GATE, "core/relay/failover.py", "tui/terminal.py"},
    "_leave_by": {GATE},
    "_grants": {GATE},
    "_nobodys": {GATE},
    "detour_by": {"core/traversal/direct_paths.py"},
    "detours": {
        GATE,
        STATE,
        DISPATCH,
        "core/relay/frames.py",
        "core/traversal/direct_paths.py",
    },
    "carry_out": {"node/traversal_support.py", "io/stun_sockets.py"},
    "create_datagram_endpoint": {"io/udp.py"},
    # What could do any of it unseen.
    "setattr": {"core/reliability/rtt.py", "core/relay/ways.py", "commands/__init__.py"},
    "attrgetter": {
        "core/messages/row.py",
        "node/metrics.py",
        "config/option.py",
        "config/sections.py",
        "core/messages/rows.py",
    },
    "vars": {"tui/words.py"},
    "methodcaller": set(),
    "__setattr__": set(),
    "__dict__": set(),
    "eval": set(),
    "exec": set(),
    "os.write": {"tui/terminal.py"},
    "getattr by a name that is made": {
        "__init__.py",
        "hangups.py",
        "places.py",
        "commands/__init__.py",
        "commands/node_options.py",
        "config/sections.py",
        "core/messages/table.py",
        "core/reliability/rtt.py",
        "core/relay/ways.py",
        "io/memory.py",
        "io/resolve.py",
        "io/signals.py",
    },
}
"""Modules that use a name, whatever of; annotations and imports are no use."""

STORES: dict[str, set[str]] = {
    "credit": {ACCOUNTS},
    "datagrams": {ACCOUNTS, "core/relay/control.py"},
    "kept": {ACCOUNTS},
    "proved": {ACCOUNTS, DELIVERY, PEER},
    "at": {ACCOUNTS, "core/traversal/attempt.py"},
    "size": {ACCOUNTS, "core/mesh/queries.py"},
    "expires": {
        ACCOUNTS,
        "core/mesh/introduction.py",
        "core/mesh/pager.py",
        "core/mesh/rendezvous.py",
        "core/reliability/reassembly.py",
    },
    "purse": {ACCOUNTS, GATE, PEER},  # its traffic, once and for all
    "_use": {ACCOUNTS},
    "bytes_in": {ACCOUNTS, DISPATCH, "core/stun.py", "io/datagrams.py"},
    "bytes_out": {ACCOUNTS, GATE, "io/datagrams.py"},
    "now": {GATE, DISPATCH, OUTLET, DELIVERY, "core/endpoint.py"},
    "source": {GATE, DISPATCH},
    "_arrival": {GATE},
    "arrived_bytes": {GATE},
    "_arrived_from": {GATE},
    "answer_purse": set(),
    "admits_answer": {GATE, "core/sessions/parts.py"},
    "detours": {GATE, STATE},
    "outgoing": {GATE},
    "gate": {STATE, "node/nat_service.py", "node/probe_sockets.py"},
}
"""Modules that store to an attribute of such a name, whatever of."""

REASONS: dict[str, set[str]] = {
    GATE: {"ANSWER", "STUN_ANSWER", "PING", "OWN_SEARCH"},
    DELIVERY: {"OWN_SESSION", "USER_ASKED"},
    OUTLET: {"OWN_SESSION"},
    "core/delivery/path_probes.py": {"OWN_PLAN"},
    "core/filter_probes.py": {"PROBE_FOR_PEER", "USER_ASKED"},
    "core/mesh/introduction_calls.py": {"USER_ASKED"},
    "core/mesh/neighbours.py": {"OWN_PLAN"},
    "core/mesh/punching.py": {"USER_ASKED", "INTRODUCTION"},
    "core/mesh/queries.py": {"USER_ASKED"},
    "core/mesh/watching.py": {"OWN_PLAN"},
    "core/mobility/confirming.py": {"HANDSHAKE"},
    "core/mobility/home.py": {"OWN_PLAN", "OWN_SESSION"},
    "core/mobility/resumption.py": {"OWN_PLAN", "GOODBYE"},
    "core/relay/frames.py": {"OWN_SESSION"},
    "core/relay/requests.py": {"USER_ASKED"},
    "core/secure/own_moves.py": {"OWN_PLAN"},
    "core/secure/beside.py": {"HANDSHAKE"},
    "core/secure/roaming.py": {"OWN_PLAN"},
    "core/sessions/handshake.py": {"HANDSHAKE"},
    "core/sessions/keepalive.py": {"OWN_PLAN"},
    "core/sessions/liveness.py": {"GOODBYE", "USER_ASKED"},
    "core/sessions/membership.py": {"OWN_PLAN"},
    "core/sessions/parting.py": {"GOODBYE"},
    "core/secure/displacing.py": {"OWNER_CHECK"},
    "core/sessions/sealed_answers.py": {"HANDSHAKE"},
    "core/sessions/takeover.py": {"OWNER_CHECK"},
    "core/stun.py": {"PROBE_FOR_PEER"},
    "core/traversal/checks.py": {"OWN_SEARCH"},
    "core/traversal/direct_paths.py": {"CONSENT"},
    "core/traversal/offer_intake.py": {"OWN_SEARCH"},
    "core/traversal/offers.py": {"OWN_SEARCH"},
    "io/exits.py": {"DIAGNOSIS"},
}
"""What a module may have granted, and for which reason."""

SENDERS: dict[str, set[str]] = {
    # Sockets.
    "io/driver.py": {"self._socket.send_all"},  # what the gate of its endpoint let out
    "io/exits.py": {"sock.send"},  # asks a gate
    "io/mmsg.py": {"library.sendmmsg"},
    "io/udp.py": {"self._pktinfo.send", "self._transport.sendto", "self.send", "sock.sendto"},
    "io/pktinfo.py": {"sock.sendmsg", "sock.sendto"},
    "io/own_sockets.py": {"member.socket.send", "member.socket.send_all"},
    "io/memory_socket.py": {"self._clockwork.send", "self._network.send", "self.send"},
    "io/netlink.py": {"link.send"},  # asks the kernel
    "io/sd_notify.py": {"self._socket.sendto"},  # tells systemd, by a socket of this machine
    # What has a `send` of its own, which leads to the gate or to no network.
    "node/runtime.py": {"self._stun.send"},
    "node/stun_serving.py": {"self._sockets.send"},
    "node/files.py": {"self._receipts.send"},
    "node/receipts.py": {"endpoint.send"},
    "node/node.py": {"self._endpoint.send"},
    "tui/executor.py": {"self._node.send"},
    "commands/target.py": {"self.node.send"},
    "commands/send.py": {"target.send"},
}
"""What is sent by, outside of the core, which holds no socket."""

SENDS = {
    *("send", "sendto", "sendmsg", "sendmmsg", "send_all"),
    *("sendall", "sock_sendto", "sock_sendall", "sendfile"),
}
HIDDEN = SENDS | USES.keys() | STORES.keys()
BY_NAME = {"getattr", "setattr", "attrgetter", "hasattr"}


def _notes(tree: ast.AST) -> set[int]:
    """The parts of a module that only say which type something has."""
    notes: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            notes.append(node.annotation)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            notes.append(node.value)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            notes.append(node.returns)
    return {id(part) for note in notes if note is not None for part in ast.walk(note)}


def facts(source: str, name: str) -> set[tuple[str, str, str]]:
    """What a module does that has to do with what leaves: the kind, the word, and the module."""
    tree = ast.parse(source)
    notes = _notes(tree)
    owners = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found: set[tuple[str, str]] = set()
    # Why a message of Noise is wrong is another Reason than why something leaves.
    is_of_noise = any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("p2ptui.secure")
        and any(each.name == "Reason" for each in node.names)
        for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        if id(node) in notes:
            continue
        if isinstance(node, ast.Attribute):
            found |= set(_of_attribute(node, name))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            is_owner = node.id == "Reason" and id(node) in owners
            if node.id in USES and not is_owner:
                found.add(("use", node.id))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            renamed = [each for each in node.names if each.asname and each.asname != each.name]
            words = {each.name.rpartition(".")[2] for each in renamed}
            found |= {("rename", word) for word in words & (HIDDEN | {"accounts", "gate"})}
        elif isinstance(node, ast.Call):
            found |= set(_of_call(node, name))
    return {(kind, word, name) for kind, word in found if not (is_of_noise and kind == "reason")}


def _of_attribute(node: ast.Attribute, name: str) -> Iterator[tuple[str, str]]:
    whole = ast.unparse(node)
    if node.attr in STORES and not isinstance(node.ctx, ast.Load):
        yield "store", node.attr
    if node.attr in USES:
        yield "use", node.attr
    if whole in USES:
        yield "use", whole
    if whole.split(".")[-2] == "Reason" and name != ACCOUNTS:
        yield "reason", node.attr
    if node.attr in SENDS and not (node.attr == "send" and name.startswith("core/")):
        yield "send", whole
    is_kept = name in USES["detours"] and name != GATE
    if is_kept and node.attr == "get" and "detours" in ast.unparse(node.value):
        yield "call", "detours"


def _of_call(node: ast.Call, name: str) -> Iterator[tuple[str, str]]:
    called = ast.unparse(node.func).rpartition(".")[2]
    if called in BY_NAME:
        words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        last = {str(word).rpartition(".")[2] for word in words}
        yield from (("by name", word) for word in last & HIDDEN)
        if called == "getattr" and not isinstance(node.args[1], ast.Constant):
            yield "use", "getattr by a name that is made"
    if isinstance(node.func, ast.Subscript | ast.Call) and (
        name in USES["detours"] or "detour" in ast.unparse(node.func)
    ):
        yield "call", "detours"
    flags = {keyword.arg for keyword in node.keywords} & {"budgeted", "on_ping", "unpaid"}
    yield from (("flag", str(flag)) for flag in flags)


def allowed() -> set[tuple[str, str, str]]:
    uses = {("use", word, name) for word, names in USES.items() for name in names}
    stores = {("store", word, name) for word, names in STORES.items() for name in names}
    reasons = {("reason", word, name) for name, words in REASONS.items() for word in words}
    sends = {("send", word, name) for name, words in SENDERS.items() for word in words}
    return uses | stores | reasons | sends


def test_nothing_leaves_round_the_gate() -> None:
    found: set[tuple[str, str, str]] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        # Noise holds no socket and knows no gate: its reasons say what is wrong with a message,
        # and a key by which it sends is a key.
        if not name.startswith("secure/"):
            found |= facts(path.read_text("utf-8"), name)
    assert found - allowed() == set()
    assert allowed() - found == set(), "what is gone is no exit any more"


ROUND = "core/sessions/race.py"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("node/presence.py", "sock.send(b'', address)"),
        ("node/presence.py", "self._socket.sendto(b'', address)"),
        ("node/presence.py", "put = sock.sendmsg"),
        ("node/presence.py", "getattr(sock, 'send')(b'', address)"),
        ("node/presence.py", "getattr(sock, NAME)(b'', address)"),
        ("node/presence.py", "methodcaller('sendto', b'', address)(sock)"),
        ("node/presence.py", "attrgetter('_socket.sendto')(self)(b'', address)"),
        ("node/presence.py", "os.write(sock.fileno(), b'')"),
        ("node/presence.py", "carry_out(sock, b'', address)"),
        ("node/presence.py", "loop.create_datagram_endpoint(make, remote_addr=address)"),
        ("commands/send.py", "target = socket.socket(); target.sendto(b'', address)"),
        ("node/presence.py", "target = socket.socket(); target.send(b'')"),
        ("cli.py", "node = socket.socket(); node.send(b'')"),
        ("wire/codec.py", "sock.sendto(b'', address)"),
        ("io/stun_client.py", "loop.sock_sendto(sock, b'', address)"),
        (ROUND, "sock.sendto(data, address)"),
        (ROUND, "self._state._outgoing.append((data, address))"),
        (ROUND, "self._state.gate.outgoing.append((data, address))"),
        (ROUND, "queue = self._state.gate.outgoing"),
        (ROUND, "self._state.put_datagram(data, address)"),
        (ROUND, "self._state.emit(DatagramDue(3, data, address, None))"),
        (ROUND, "state.emit(events.StunReplyDue(place, data, address))"),
        (ROUND, "from p2ptui.core.events import DatagramDue as Due"),
        (ROUND, "import p2ptui.core.accounts as a"),
        (ROUND, "make = DatagramDue"),
        (ROUND, "gate.send(data, address, Purse())"),
        (ROUND, "class Full(Purse): pass"),
        (ROUND, "class Endless(accounts.Grant): pass"),
        (ROUND, "Grant(use, 1000, 10, math.inf, None)"),
        (ROUND, "Gate(Counters(), emit)"),
        (ROUND, "gate.send(data, victim, gate.grant(Reason.USER_ASKED, victim, now))"),
        (ROUND, "self._delivery.send(peer, kind, raw, now, reason=accounts.Reason.OWN_PLAN)"),
        (ROUND, "reason = Reason('user asked')"),
        (ROUND, "for reason in Reason: pass"),
        (ROUND, "BOUNDS[reason] = Bound(1, 1, 1.0)"),
        (ROUND, "gate.send(data, victim, gate.grant_answer(peer.purse, victim))"),
        (ROUND, "gate.send(data, victim, gate.grant_ping(peer.purse, victim))"),
        (ROUND, "gate.answer_stun(Place.OWN, data, victim, 1_000_000)"),
        (ROUND, "peer.purse.earn_bytes(1_000_000)"),
        (ROUND, "peer.note_datagram(1_000_000)"),
        (ROUND, "gate.send(data, address, gate.earned_by(1_000_000, to))"),
        (ROUND, "gate.note_arrival(peer.purse, to, 1_000_000)"),
        (ROUND, "peer.purse.credit += 1_000_000"),
        (ROUND, "its = peer.purse; its.credit += 1_000_000"),
        (ROUND, "its = peer.purse; its.datagrams, its.kept = 9, 0"),
        (ROUND, "peer.purse.proved = True"),
        (ROUND, "p = peer.purse; p.proved = True"),
        (ROUND, "peer.proved = True"),
        (ROUND, "setattr(peer.purse, 'proved', True)"),
        ("core/relay/ways.py", "setattr(peer.purse, 'proved', True)"),
        (ROUND, "object.__setattr__(peer.purse, 'proved', True)"),
        (ROUND, "vars(gate)['now'] = 0"),
        (ROUND, "peer.purse.charge(-1_000_000)"),
        (ROUND, "purse.kept = 0"),
        (ROUND, "gate.answer_purse = peer.purse"),
        (ROUND, "gate.answer_purse.at = victim"),
        (ROUND, "earned.at = victim"),
        (ROUND, "gate.source = victim"),
        (ROUND, "gate.now = 0.0"),
        (ROUND, "grant.size = 1_000_000"),
        (ROUND, "grant.datagrams += 1"),
        (ROUND, "grant.expires = math.inf"),
        (ROUND, "gate.admits_answer = lambda *_: True"),
        (ROUND, "gate._leave(data, address)"),
        (ROUND, "gate._leave_by(3, data, address, None)"),
        (ROUND, "gate._grants.clear()"),
        (ROUND, "self._state.detours[address](data)"),
        ("core/relay/frames.py", "self._state.detours[address](data)"),
        ("core/relay/frames.py", "way = self._state.detours.get(address)"),
        ("core/traversal/direct_paths.py", "gate.detour_by(route)(data)"),
        (ROUND, "self._delivery.send(peer, kind, payload, now, budgeted=False)"),
    ],
)
def test_a_way_round_the_gate_is_found(name: str, source: str) -> None:
    assert facts(source, name) - allowed() != set()


def test_a_type_and_a_purse_that_is_read_are_no_way_round() -> None:
    source = "def pay(purse: Purse, why: Reason) -> Grant:\n    return purse.credit + purse.kept"
    assert facts(source, ROUND) == set()
