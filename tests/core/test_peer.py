"""The parts of a peer: what each of them keeps true, whoever uses it."""

import ast
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import p2ptui
from p2ptui.config import Config
from p2ptui.core.connection import Connection, Method
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import HANDSHAKES_REMEMBERED, Dialect, Peer, Suspicion
from p2ptui.core.peers.facts import Facts
from p2ptui.core.peers.handshakes import Handshakes
from p2ptui.core.peers.liveness import PeerLiveness
from p2ptui.core.peers.reach import Reach
from p2ptui.core.peers.session import Session
from p2ptui.core.peers.traffic import Traffic
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.reassembly import ReassemblyBudget
from p2ptui.core.timers import Timers
from tests.core.stores import all_stores, fields_of, stores
from tests.simulation import World

PARTS = {
    "session": Session,
    "handshakes": Handshakes,
    "facts": Facts,
    "liveness": PeerLiveness,
    "reach": Reach,
    "traffic": Traffic,
}


def a_peer() -> Peer:
    channel = Channel(Config(), 1, ReassemblyBudget(1000))
    return Peer(("192.0.2.1", 1), channel, initiated=True, created_at=0.0)


# The session.


def test_a_step_takes_the_place_of_the_one_planned_before() -> None:
    session, timers, done = Session(), Timers(), list[str]()
    session.schedule(timers, 1.0, lambda _: done.append("first"))
    session.schedule(timers, 2.0, lambda _: done.append("second"))
    assert session.next_step_at == 2.0
    timers.run(3.0)
    assert done == ["second"]
    assert session.next_step_at == math.inf


def test_a_session_that_begins_or_ends_leaves_no_step_of_the_handshake() -> None:
    for change in (lambda session: session.begin(5.0), Session.end, Session.cancel):
        session, timers = Session(), Timers()
        session.schedule(timers, 9.0, lambda _: pytest.fail("it was taken back"))
        change(session)
        assert session.next_step_at == math.inf
        assert not len(timers)
        timers.run(10.0)


def test_a_session_goes_on_until_there_is_a_new_one_or_none() -> None:
    session = Session()
    session.begin(1.0)
    session.suspend()
    assert session.resumes
    session.begin(2.0)
    assert not session.resumes
    assert session.joined_at == 2.0
    session.suspend()
    session.end()
    assert not session.resumes


def test_the_step_of_the_channel_is_taken_back_once() -> None:
    session, timers = Session(), Timers()
    session.channel_timer = timers.schedule(1.0, lambda _: pytest.fail("it was taken back"))
    session.cancel_channel()
    session.cancel_channel()
    assert session.channel_timer is None
    timers.run(2.0)


# The handshakes.


def test_who_asks_anew_believes_nothing_that_names_the_session_before() -> None:
    handshakes = Handshakes()
    handshakes.ask("old", 1)
    handshakes.ask("new", 2)
    assert handshakes.said == ("new",)
    assert handshakes.keys == ("new", 2)


def test_who_asks_beside_a_session_still_believes_what_names_that() -> None:
    handshakes = Handshakes()
    handshakes.ask("old", 1)
    handshakes.ask_beside("new", 2)
    assert handshakes.said == ("old",)
    assert handshakes.keys == ("old", 1, "new", 2)


def test_an_answer_belongs_to_the_session_of_a_request_that_crossed_it() -> None:
    handshakes = Handshakes()
    handshakes.ask("request", 1)
    handshakes.answer(b"{}", "answer", ("answer", 2), crossed=True)
    assert handshakes.said == ("request", "answer")
    handshakes.answer(b"{}", "later", ("later", 3), crossed=False)
    assert handshakes.said == ("later",)
    assert handshakes.keys == ("answer", 2, "later", 3)


def test_only_the_answer_that_the_session_began_with_is_repeated() -> None:
    handshakes = Handshakes()
    assert not handshakes.may_repeat("one")
    handshakes.note_request("one")
    assert not handshakes.may_repeat("one")  # it is not answered
    handshakes.answer(b"{}", "answer", ("answer",), crossed=False)
    assert handshakes.may_repeat("one")
    handshakes.note_request("two")
    assert not handshakes.may_repeat("one")


def test_a_session_won_by_another_way_is_named_by_what_went_there() -> None:
    winner, loser = Handshakes(), Handshakes()
    winner.ask("here", 1)
    loser.ask("there", 2)
    winner.take_over(loser)
    assert winner.said == ("here", "there")
    assert winner.keys == ("here", 1, "there", 2)


def test_the_latest_request_alone_may_come_another_way_and_for_a_time() -> None:
    handshakes = Handshakes()
    handshakes.note_request("one")
    assert not handshakes.is_undecided("one", 0.0)
    handshakes.leave_open(5.0)
    assert handshakes.is_undecided("one", 4.9)
    assert not handshakes.is_undecided("one", 5.0)
    assert not handshakes.is_undecided("another", 0.0)
    handshakes.decide()
    assert not handshakes.is_undecided("one", 0.0)


CHANGES = st.one_of(
    st.tuples(st.sampled_from(["ask", "ask_beside"]), st.text(max_size=3), st.integers(0, 9)),
    st.tuples(st.sampled_from(["note_request", "answer"]), st.text(max_size=3), st.booleans()),
    st.tuples(st.just("take_over"), st.text(max_size=3), st.integers(0, 9)),
)


@given(st.lists(CHANGES, max_size=40))
def test_what_is_remembered_of_handshakes_stays_small(changes) -> None:
    handshakes = Handshakes()
    for change, name, value in changes:
        if change == "note_request":
            handshakes.note_request(name)
            assert handshakes.is_latest(name)
        elif change == "answer":
            handshakes.answer(b"{}", name, (name, 1), crossed=value)
            assert name in handshakes.said
        elif change == "take_over":
            other = Handshakes()
            other.ask(name, value)
            handshakes.take_over(other)
            assert name in handshakes.said
        else:
            getattr(handshakes, change)(name, value)
            assert {name, value} <= set(handshakes.keys)
        assert len(handshakes.requests) <= HANDSHAKES_REMEMBERED
        assert len(handshakes.keys) <= 4


# Facts, reach.


def test_who_never_acknowledges_is_expected_to_once_it_has() -> None:
    facts = Facts()
    assert facts.is_expected_to_ack
    facts.describe(Dialect.REFERENCE, frozenset())
    assert not facts.is_expected_to_ack
    facts.acks = True
    assert facts.is_expected_to_ack


def test_what_was_used_before_a_handshake_says_nothing_of_who_is_there_now() -> None:
    facts = Facts()
    facts.note_used("stun")
    facts.note_used("nat_probe")
    assert facts.used == {"stun", "nat_probe"}
    facts.describe(Dialect.SPEC, frozenset({"routing"}))
    assert not facts.used


def test_a_way_is_found_again_once() -> None:
    reach = Reach(stranded=True)
    assert reach.find()
    assert not reach.find()


def test_a_peer_with_a_path_is_not_stranded_whatever_its_servers_do() -> None:
    peer = a_peer()
    peer.reach.stranded = True
    assert peer.is_stranded
    peer._path = ("192.0.2.2", 2)
    assert not peer.is_stranded


def test_a_server_is_one_that_was_addressed_directly() -> None:
    peer = a_peer()
    peer.status = PeerStatus.AUTHENTICATED
    assert peer.is_joined_server
    peer.reach.connection = Connection(Method.RELAY)
    assert not peer.is_joined_server


# Liveness.


def test_a_complete_handshake_ends_all_doubts() -> None:
    liveness = PeerLiveness()
    liveness.suspect(Suspicion.FORGOT, 1.0)
    liveness.begin(2.0)
    assert liveness.suspicion is None
    assert not liveness.is_suspected_since(1.0)
    assert (liveness.last_received, liveness.answered_at, liveness.known_at) == (2.0, 2.0, 2.0)


def test_an_answer_ends_a_suspicion_and_the_next_one_begins_anew() -> None:
    liveness = PeerLiveness()
    liveness.suspect(Suspicion.LEFT, 1.0)
    assert liveness.is_suspected_since(1.0)
    liveness.clear(2.0)
    assert not liveness.is_suspected_since(1.0)
    liveness.suspect(Suspicion.LEFT, 3.0)
    assert not liveness.is_suspected_since(1.0)
    assert liveness.is_suspected_since(3.0)


@pytest.mark.parametrize("suspicion", Suspicion)
def test_only_who_was_said_to_have_forgotten_is_left_alone_after_it_answered(suspicion) -> None:
    liveness = PeerLiveness()
    liveness.suspect(suspicion, 1.0)
    liveness.clear(2.0)
    assert liveness.cleared_at == (2.0 if suspicion is Suspicion.FORGOT else -math.inf)
    liveness.clear(3.0)  # of nothing
    assert liveness.cleared_at != 3.0


def test_a_suspicion_is_judged_once() -> None:
    liveness = PeerLiveness()
    liveness.suspect(Suspicion.LEFT, 1.0)
    assert liveness.judge() is Suspicion.LEFT
    assert liveness.judge() is None


def test_a_ping_is_missed_until_anything_comes() -> None:
    liveness = PeerLiveness()
    assert not liveness.has_missed_ping
    liveness.last_ping_sent = 1.0
    assert liveness.has_missed_ping
    liveness.hear(1.5)
    assert not liveness.has_missed_ping


@given(*[st.floats(0, 1e6)] * 4)
def test_excused_silence_never_lies_in_the_future(heard, answered, silent_s, now) -> None:
    liveness = PeerLiveness(last_received=heard, answered_at=answered)
    liveness.excuse(silent_s, now)
    assert heard <= liveness.last_received <= max(heard, now)
    assert answered <= liveness.answered_at <= max(answered, now)


def test_a_peer_of_the_references_kind_hears_this_node_while_anything_comes() -> None:
    peer = a_peer()
    peer.liveness.hear(5.0)
    peer.liveness.note_answer(2.0)
    assert peer.hears_at == 2.0
    peer.facts.describe(Dialect.REFERENCE, frozenset())
    assert peer.hears_at == 5.0


# All of them together.


def test_a_session_that_begins_anew_is_whole_in_all_its_parts() -> None:
    """Whatever was doubted, planned or told in the last one means nothing in this."""
    world = World()
    server, client = world.host(), world.host()
    client.outcome(client.connect(server))
    world.run_for(1)
    peer = client.peer(server)
    assert peer is not None
    said, asked = peer.handshakes.said, world.now
    peer.liveness.suspect(Suspicion.FORGOT, asked)

    client.endpoint._handshake.reconnect(peer, asked, "for this test")
    assert peer.session.resumes
    world.run_for(1)

    assert peer.is_authenticated
    assert not peer.session.resumes
    assert not peer.liveness.is_suspected_since(asked)
    assert asked <= peer.session.joined_at <= peer.liveness.answered_at
    assert not set(said) & set(peer.handshakes.said)
    assert peer.session.next_step_at < math.inf  # its heartbeat


def test_a_peer_is_made_of_few_parts_and_these_of_few_fields() -> None:
    own = set(Peer.__slots__) - {"proved", "credit", "kept", "bytes_in", "bytes_out"}
    assert len(own - {"deferred", "acks_owed", "untold"}) <= 14
    assert set(PARTS) <= {name.removeprefix("_") for name in own}  # some are made when needed
    for part in PARTS.values():
        assert len(part.__slots__) <= 10


def test_what_a_peer_tells_of_its_parts_is_for_reading() -> None:
    peer = a_peer()
    for name in ("last_received", "answered_at", "handshake_said", "dialect", "connection"):
        with pytest.raises(AttributeError):
            setattr(peer, name, None)


KEPT = {
    "session": {"joined_at", "resumes", "_timer"},
    "handshakes": {"keys", "said", "response", "undecided_until"},
    "facts": {"dialect", "capabilities"},
    "liveness": {"last_received", "answered_at", "suspicion", "_suspected_at", "cleared_at"},
}
"""Fields that only the methods of their part change: they belong together."""

TOLD = {"accepted", "info", "capabilities", "public_address", "resumes", "status"}
"""Names of a peer that could be assigned, with who does so."""


def test_fields_that_belong_together_are_changed_by_their_part_alone() -> None:
    package = Path(p2ptui.__file__).parent
    found = set[tuple[str, str]]()
    for path in package.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Store):
                continue
            receiver = ast.unparse(node.value)
            part = receiver.rpartition(".")[2]
            if receiver == "self" or (receiver.startswith("self.") and part not in KEPT):
                continue
            if node.attr in KEPT.get(part, ()) or (part == "peer" and node.attr in TOLD):
                found.add((ast.unparse(node), path.stem))
    own = {("self.session.resumes", "peer"), ("self.facts.capabilities", "peer")}
    table = {each for each in found if each[0] == "peer.status"}
    assert len(table) == 1  # `PeerTable.set_status`, which counts them
    assert found == own | table


MAY_STORE = {
    "core/data/service.py: peer.traffic.data_at",
    "core/delivery/delivery.py: peer.session.channel_timer",
    "core/delivery/delivery.py: peer.traffic.data_at",
    "core/delivery/delivery.py: peer.traffic.messages_out",
    "core/delivery/outlet.py: liveness.last_ping_sent",
    "core/delivery/outlet.py: peer.traffic.messages_out",
    "core/delivery/outlet.py: traffic.last_sent",
    "core/endpoint.py: peer.session.parted",
    "core/messages/inbox.py: peer.traffic.messages_in",
    "core/mobility/resumption.py: peer.facts.public_address",
    "core/peers/peer.py: self.facts.capabilities",  # these: setters for tests, and its addresses
    "core/peers/peer.py: self.facts.info",
    "core/peers/peer.py: self.facts.public_address",
    "core/peers/peer.py: self.reach.beside",
    "core/peers/peer.py: self.reach.former",
    "core/peers/peer.py: self.session.accepted",
    "core/peers/peer.py: self.session.resumes",
    "core/peers/peers.py: peer.facts.info",  # the table finds peers by it
    "core/relay/failover.py: peer.reach.stranded",
    "core/relay/rescue.py: peer.reach.connection",
    "core/secure/own_moves.py: peer.facts.public_address",
    "core/sessions/handshake.py: peer.facts.public_address",
    "core/sessions/liveness.py: peer.liveness.heartbeat_due",
    "core/sessions/responder.py: peer.handshakes.requests",
    "core/sessions/responder.py: peer.liveness.last_ping_sent",
    "core/sessions/responder.py: peer.session.accepted",
    "core/traversal/direct_paths.py: peer.reach.connection",
}
"""Who else changes a field of a part, one that goes with no other."""

OF_OTHERS = {
    "core/delivery/delivery.py: self._state.counters.messages_out",
    "core/delivery/outlet.py: self._counters.messages_out",
    "core/mesh/contacts.py: contact.last_received",
    "core/mesh/contacts.py: contact.messages_in",
    "core/mesh/contacts.py: self._touch(node_id).messages_out",
    "core/mesh/rendezvous.py: introduction.capabilities",
    "core/messages/inbox.py: self._counters.messages_in",
    "core/relay/surveys.py: session.heard",
    "core/secure/seating.py: waiting.shown_at",
    "core/sessions/takeover.py: settled.shown_at",
    "core/traversal/sealed_offers.py: writer.shown_at",
    "core/traversal/standing_sockets.py: self._offers.beside",
}
"""Fields of the same name that are no part of a peer."""


def test_no_part_of_a_peer_is_changed_by_who_is_not_named_here() -> None:
    assert all_stores(PARTS.values()) == MAY_STORE | OF_OTHERS


@pytest.mark.parametrize(
    "planted",
    [
        "peer.liveness.known_at = now",
        "peer.liveness.last_ping_sent = now",
        "peer.reach.stranded = True",
        "alive = peer.liveness; alive.suspicion = None",
        "self._peer.traffic.messages_in += 1",
        "peer.facts.acks, other = True, False",
        "del peer.session.channel_timer",
        "setattr(peer.session, 'parted', True)",
        "for peer.session.parted in (True, False): pass",
    ],
)
def test_a_planted_change_of_a_part_is_found(planted: str) -> None:
    assert list(stores(planted, fields_of(PARTS.values())))
