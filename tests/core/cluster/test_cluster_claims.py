"""A node without keys at two servers: who held it asks it, and no word displaces a session."""

import pytest

from p2ptui.core.cluster.bus import Order, Publish
from p2ptui.core.cluster.claims import ANSWERED_S, FIRST_HELD_S, HELD_S, LONG_PROBE_S, PROBES
from p2ptui.core.peers import Foreign
from p2ptui.wire.cluster import Claim, Held, Released, decode_message, encode_message
from p2ptui.wire.frames import node_id_bytes
from tests.core.cluster_rooms import FakeNode, Rooms


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(3)


def joined(rooms: Rooms, *, keys: bool = False) -> FakeNode:
    node = rooms.node(keys=keys)
    rooms.servers[0].join(node)
    rooms.run_for(0.2)
    return node


def test_a_node_that_is_silent_where_it_was_is_let_go(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    rooms.run_for(60)  # it has been silent for longer than a heartbeat
    rooms.move(node, one, other)
    rooms.run_for(0.9)
    assert third.holder(node) == one.id, "it is asked still"
    rooms.run_for(1)
    assert third.holder(node) == one.holder(node) == other.id
    assert one.state.peers.authenticated(node.node_id) is None
    assert rooms.agree()
    assert other.drops == {}


def test_one_that_was_heard_a_moment_ago_has_as_long_as_in_a_dispute_here(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    one.peer(node).liveness.hear(rooms.now)
    rooms.move(node, one, other)
    rooms.run_for(PROBES * LONG_PROBE_S - 0.3)
    assert third.holder(node) == one.id
    rooms.run_for(0.8)
    assert third.holder(node) == one.holder(node) == other.id
    found = one.state.find(node.node_id)
    assert isinstance(found, Foreign), "what is for it goes to the other server"
    assert one.peer(node) is not None, "its session is not ended by somebody's claim"
    assert other.drops == {}
    assert rooms.agree()


def test_one_that_was_merely_quiet_is_claimed_back_when_it_is_heard(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    one.peer(node).liveness.hear(rooms.now)
    rooms.move(node, one, other)
    rooms.run_for(PROBES * LONG_PROBE_S + 1)
    assert third.holder(node) == other.id
    other.forget(node)
    node.answers.add(one.id)
    one.peer(node).liveness.hear(rooms.now)
    one.peer(node).liveness.note_answer(rooms.now)
    assert one.state.find(node.node_id) is one.peer(node), "at once, for those who are here"
    rooms.run_for(PROBES * LONG_PROBE_S + 3)
    assert third.holder(node) == one.id
    assert rooms.agree()


def test_a_forged_claim_takes_nothing_from_a_client_that_is_quiet(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    one.peer(node).liveness.hear(rooms.now)
    one.forget(node)
    own = other.cluster._own
    claim = Claim(own.network, own.server, own.instance, node_id_bytes(node.node_id))
    for _ in range(30):
        rooms.broker.publish(one.id, encode_message(claim), rooms.now)
        rooms.run_for(1)
        assert third.holder(node) == other.holder(node) == one.id
        assert one.state.find(node.node_id) is one.peer(node)


def test_a_node_that_answers_where_it_was_is_held_there(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    other.join(node)
    rooms.run_for(5)
    assert third.holder(node) == other.holder(node) == one.id
    assert one.peer(node) is not None
    assert other.peer(node) is not None, "it keeps its session here as well"
    rooms.run_for(100)
    assert third.holder(node) == one.id
    one.leave(node)
    rooms.run_for(0.5)
    assert third.holder(node) == other.id


def test_one_that_was_held_is_asked_for_again(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    other.join(node)
    rooms.run_for(5)
    one.forget(node)
    rooms.run_for(HELD_S + 2)
    assert third.holder(node) == other.id


def test_a_dead_server_lets_all_go(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    one.kill()
    rooms.run_for(1)
    other.join(node)
    rooms.run_for(0.5)
    assert third.holder(node) == one.id, "it may be there"
    rooms.run_for(ANSWERED_S)
    assert third.holder(node) == other.id


def test_a_server_that_is_known_to_be_silent_is_not_asked(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    one.kill()
    rooms.run_for(5)
    other.join(node)
    rooms.run_for(0.2)
    assert third.holder(node) == other.id


def test_whoever_has_signed_is_not_let_go_by_a_claim(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms, keys=True)
    one.forget(node)
    other.join(node, says_so=False)
    rooms.run_for(5)
    assert third.holder(node) == one.id
    assert one.peer(node) is not None
    other.say(node)
    rooms.run_for(0.3)
    assert third.holder(node) == one.holder(node) == other.id
    assert one.peer(node) is not None, "it keeps its session, and tells nobody"


def test_a_node_with_two_sessions_goes_back_to_the_first_when_the_second_ends(
    rooms: Rooms,
) -> None:
    one, other, third = rooms.servers
    node = joined(rooms, keys=True)
    other.join(node)
    rooms.run_for(0.3)
    assert third.holder(node) == other.id
    other.leave(node)
    rooms.run_for(2)
    assert third.holder(node) == one.id
    assert rooms.agree()


def test_a_claim_for_nobody_is_answered_by_who_holds_nobody(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    own = other.cluster._own
    claim = Claim(own.network, own.server, own.instance, node_id_bytes(rooms.node().node_id))
    rooms.broker.publish(one.id, encode_message(claim), rooms.now)
    rooms.run_for(0.1)
    assert other.drops == {"cluster_unasked": 1}, "the answer, to a server that had not asked"


def test_answers_that_nobody_waits_for_change_nothing(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = joined(rooms)
    other.join(node)
    rooms.run_for(0.1)
    forger = third.cluster._own  # not the one that is asked
    raw = node_id_bytes(node.node_id)
    for kind in (Held, Released):
        answer = kind(forger.network, forger.server, forger.instance, raw)
        rooms.broker.publish(other.id, encode_message(answer), rooms.now)
    rooms.run_for(0.1)
    assert other.drops == {"cluster_unasked": 2}
    rooms.run_for(3)
    assert third.holder(node) == one.id


def test_a_flood_of_claims_asks_a_peer_at_a_bounded_pace(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = joined(rooms)
    own = other.cluster._own
    claim = Claim(own.network, own.server, own.instance, node_id_bytes(node.node_id))
    before = one.state.counters.datagrams_out
    for _ in range(500):
        rooms.broker.publish(one.id, encode_message(claim), rooms.now)
        rooms.run_for(0.02)
    assert one.peer(node) is not None
    assert one.peer(node).messages_out - before < 10


@pytest.mark.parametrize("keys", [False, True])
def test_two_servers_that_were_apart_agree_on_who_holds_a_node(rooms: Rooms, keys: bool) -> None:
    one, other, third = rooms.servers
    node = joined(rooms, keys=keys)
    rooms.broker.cut(other.bus, rooms.now)
    rooms.run_for(1)
    rooms.move(node, one, other)
    rooms.run_for(30)
    assert third.holder(node) == one.id
    rooms.broker.mend(other.bus, rooms.now)
    rooms.run_for(3)
    assert third.holder(node) == one.holder(node) == other.id
    assert rooms.agree()


@pytest.mark.parametrize("is_told_later", [False, True])
def test_a_claim_that_has_not_left_takes_nothing_and_is_made_again(
    rooms: Rooms, is_told_later: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no room for it in the orders, or the link has none and says so a moment later."""
    one, other, third = rooms.servers
    node = joined(rooms)
    room = other.cluster
    is_full = True
    order, do = room._order, other.bus.do

    def is_claim(one: Order) -> bool:
        return isinstance(one, Publish) and isinstance(decode_message(one.data), Claim)

    def take_order(one: Order) -> bool:
        return not (is_full and not is_told_later and is_claim(one)) and order(one)

    def do_order(one: Order) -> None:
        if is_full and is_claim(one):
            room.handle_unsent(one, False, rooms.now)
        else:
            do(one)

    monkeypatch.setattr(room, "_order", take_order)
    monkeypatch.setattr(other.bus, "do", do_order)
    rooms.move(node, one, other)
    for _ in range(20):
        rooms.run_for(0.5)
        assert third.holder(node) == other.holder(node) == one.id
    is_full = False
    rooms.run_for(60)
    assert third.holder(node) == one.holder(node) == other.id


def test_a_full_link_does_not_make_the_pause_after_an_answer_longer(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = joined(rooms)
    other.join(node)
    rooms.run_for(5)
    asked = other.cluster._claims._asked[node.node_id]
    assert asked.again_s == 2 * FIRST_HELD_S
    own = other.cluster._own
    claim = Claim(own.network, own.server, own.instance, node_id_bytes(node.node_id))
    other.cluster.handle_unsent(Publish(one.id, encode_message(claim)), False, rooms.now)
    assert not asked.is_waiting
    assert asked.again_s == 2 * FIRST_HELD_S
