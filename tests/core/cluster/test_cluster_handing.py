"""What goes from server to server: at most once, and its sender is told if it does not arrive."""

from typing import Any

import pytest

from p2ptui.core.cluster.entry import MAX_PASSING, PASSING_S
from p2ptui.core.cluster.handing import KEPT_BYTES, WAITING_S
from p2ptui.core.cluster.presence import NEWS_S
from p2ptui.core.peers import Handing, NotHanded
from p2ptui.wire.cluster import (
    MAX_BODY_BYTES,
    About,
    HandOver,
    Undelivered,
    encode_about,
    encode_message,
)
from p2ptui.wire.frames import node_id_bytes
from tests.core.cluster_rooms import FakeNode, Rooms, Server, node_id_of


class Pair:
    """A node at each of two servers."""

    def __init__(self, **broker: float) -> None:
        self.rooms = rooms = Rooms(2, **broker)
        self.one, self.other = rooms.servers
        self.source, self.target = rooms.node(), rooms.node()
        self.one.join(self.source)
        self.other.join(self.target)
        rooms.run_for(1)

    def hand(self, body: bytes = b"body", ref: str = "r", kind: Handing = Handing.ROUTED) -> bool:
        return hand(self.one, self.source, self.target, self.rooms, body, ref, kind)


def hand(
    server: Server,
    source: FakeNode,
    target: FakeNode,
    rooms: Rooms,
    body: bytes = b"body",
    ref: str = "r",
    kind: Handing = Handing.ROUTED,
) -> bool:
    foreign = server.cluster.holder(target.node_id)
    assert foreign is not None
    return server.cluster.hand(foreign, server.peer(source), kind, body, ref, rooms.now)


@pytest.mark.parametrize("kind", Handing)
def test_it_arrives_once_as_it_was(kind: Handing) -> None:
    pair = Pair()
    assert pair.hand(bytes(range(256)), "route-1", kind)
    pair.rooms.run_for(1)
    (taken,) = pair.other.taker.taken
    assert taken.kind is kind
    assert (taken.server_id, taken.source_id) == (pair.one.id, pair.source.node_id)
    assert (taken.target_id, taken.body) == (pair.target.node_id, bytes(range(256)))
    assert taken.ref == "route-1"
    assert pair.one.taker.failed == []


def test_what_is_lost_comes_not_again() -> None:
    pair = Pair()
    pair.rooms.broker.loss = 0.3
    for _ in range(200):
        assert pair.hand()
        pair.rooms.run_for(0.01)
    pair.rooms.run_for(1)
    assert 100 < len(pair.other.taker.taken) < 180


def test_a_target_that_has_gone_is_told() -> None:
    pair = Pair()
    foreign = pair.one.cluster.holder(pair.target.node_id)
    pair.other.leave(pair.target)
    assert foreign is not None
    source = pair.one.peer(pair.source)
    assert pair.one.cluster.hand(foreign, source, Handing.ROUTED, b"x", "r7", pair.rooms.now)
    pair.rooms.run_for(0.1)
    ((source_id, handed, why, _),) = pair.one.taker.failed
    assert (source_id, why) == (pair.source.node_id, NotHanded.UNKNOWN)
    assert (handed.ref, handed.target_id) == ("r7", pair.target.node_id)


def test_why_it_has_not_left_is_told() -> None:
    pair = Pair()
    pair.other.taker.answer = NotHanded.UNSENDABLE
    pair.hand()
    pair.rooms.run_for(0.1)
    assert [why for _, _, why, _ in pair.one.taker.failed] == [NotHanded.UNSENDABLE]


def test_a_server_that_has_fallen_silent_is_told_at_once() -> None:
    pair = Pair()
    foreign = pair.one.cluster.holder(pair.target.node_id)
    pair.other.kill()
    pair.rooms.run_for(5)
    assert foreign is not None
    source, began = pair.one.peer(pair.source), pair.rooms.now
    assert pair.one.cluster.hand(foreign, source, Handing.FRAME, b"x", "", pair.rooms.now)
    assert pair.one.taker.failed == [], "whoever hands it over is in the midst of something"
    pair.rooms.run_for(0.01)
    ((_, _, why, when),) = pair.one.taker.failed
    assert why is NotHanded.SERVER_GONE
    assert when == began


def test_it_waits_for_the_link_and_leaves_in_order() -> None:
    pair = Pair()
    pair.rooms.broker.kill(pair.rooms.now)
    for number in range(10):
        assert pair.hand(ref=str(number))
    pair.rooms.run_for(3)
    assert pair.one.cluster.status(pair.rooms.now).waiting == 10
    pair.rooms.broker.start(pair.rooms.now)
    pair.rooms.run_for(1)
    assert [handed.ref for handed in pair.other.taker.taken] == [str(n) for n in range(10)]
    assert pair.one.taker.failed == []
    assert pair.one.cluster.status(pair.rooms.now).waiting_bytes == 0


def test_what_has_waited_too_long_is_told() -> None:
    pair = Pair()
    pair.rooms.broker.kill(pair.rooms.now)
    began = pair.rooms.now
    for number in range(4):
        assert pair.hand(ref=str(number))
        pair.rooms.run_for(1)
    pair.rooms.run_for(10)
    failed = pair.one.taker.failed
    assert [handed.ref for _, handed, _, _ in failed] == ["0", "1", "2", "3"]
    assert {why for _, _, why, _ in failed} == {NotHanded.EXPIRED}
    for number, (_, _, _, when) in enumerate(failed):
        assert when - began == pytest.approx(WAITING_S + number)
    pair.rooms.broker.start(pair.rooms.now)
    pair.rooms.run_for(2)
    assert pair.other.taker.taken == []


def test_what_waits_has_a_bound() -> None:
    rooms = Rooms(1)
    one = rooms.server(max_waiting_bytes=10 * (1000 + KEPT_BYTES))
    source, late, target = (rooms.node() for _ in range(3))
    one.join(source)
    one.join(late)
    rooms.servers[0].join(target)
    rooms.run_for(1)
    rooms.broker.kill(rooms.now)
    handed = [hand(one, source, target, rooms, bytes(1000)) for _ in range(7)]
    assert handed == [True] * 5 + [False] * 2, "one address takes no more than its share"
    handed = [hand(one, late, target, rooms, bytes(1000)) for _ in range(7)]
    assert handed == [True] * 5 + [False] * 2
    assert one.drops["cluster_waiting_full"] == 4


def test_what_was_about_to_leave_when_the_link_went_down_waits() -> None:
    pair = Pair()
    for number in range(5):
        assert pair.hand(ref=str(number))
    pair.rooms.broker.kill(pair.rooms.now)  # nobody has asked for orders since
    status = pair.one.cluster.status(pair.rooms.now)
    assert (status.handed, status.waiting) == (0, 5)
    pair.rooms.run_for(2)
    pair.rooms.broker.start(pair.rooms.now)
    pair.rooms.run_for(1)
    assert [handed.ref for handed in pair.other.taker.taken] == list("01234")
    assert pair.one.taker.failed == []

    pair.hand(ref="late")
    pair.rooms.broker.kill(pair.rooms.now)
    pair.rooms.run_for(10)
    assert [(one[1].ref, one[2]) for one in pair.one.taker.failed] == [("late", NotHanded.EXPIRED)]


@pytest.mark.parametrize("is_too_large", [False, True])
def test_what_the_bus_does_not_take_is_told(is_too_large: bool) -> None:
    pair = Pair()
    pair.hand(ref="r8")
    room, now = pair.one.cluster, pair.rooms.now
    for order in room.orders():
        room.handle_unsent(order, is_too_large, now)
    ((source_id, handed, why, _),) = pair.one.taker.failed
    assert (source_id, handed.ref, handed.body) == (pair.source.node_id, "r8", b"body")
    assert why is (NotHanded.TOO_LARGE if is_too_large else NotHanded.EXPIRED)
    assert room.status(now).handed == 0


def test_what_waits_for_a_node_that_moves_meanwhile_goes_where_it_is() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    source, target = rooms.node(), rooms.node(keys=True)
    one.join(source)
    other.join(target)
    rooms.run_for(1)
    rooms.broker.cut(one.bus, rooms.now)
    assert hand(one, source, target, rooms)
    rooms.move(target, other, third)
    rooms.run_for(2)
    rooms.broker.mend(one.bus, rooms.now)
    rooms.run_for(2)
    assert len(third.taker.taken) == 1
    assert other.taker.taken == []


def test_what_is_too_large_is_not_taken() -> None:
    pair = Pair()
    assert not pair.hand(bytes(MAX_BODY_BYTES + 1))
    assert not pair.hand(ref="x" * 1000)
    assert pair.hand(bytes(MAX_BODY_BYTES), ref="x" * 128)
    pair.rooms.run_for(1)
    assert len(pair.other.taker.taken) == 1


def test_nobody_is_told_of_what_came_from_a_peer_that_has_left() -> None:
    pair = Pair()
    pair.rooms.broker.kill(pair.rooms.now)
    pair.hand()
    pair.one.leave(pair.source)
    pair.rooms.run_for(10)
    assert pair.one.taker.failed == []


def test_a_server_may_speak_for_a_node_that_another_one_holds_and_gets_no_answer() -> None:
    """The node may have a session with it, too; else what is answered goes where the node is."""
    rooms = Rooms(3)
    one, other, third = rooms.servers
    source, target = rooms.node(keys=True), rooms.node()
    one.join(source)
    third.join(target)
    rooms.run_for(6)
    own = other.cluster._own
    over = HandOver(
        own.network,
        own.server,
        own.instance,
        Handing.FRAME,
        node_id_bytes(source.node_id),
        node_id_bytes(target.node_id),
        "",
        b"by another",
    )
    rooms.broker.publish(third.id, encode_message(over), rooms.now)
    rooms.run_for(0.1)
    (taken,) = third.taker.taken
    assert (taken.server_id, taken.source_id) == (other.id, source.node_id)
    assert third.holder(source) == one.id
    assert hand(third, target, source, rooms)
    rooms.run_for(0.1)
    assert [handed.source_id for handed in one.taker.taken] == [target.node_id]
    assert other.taker.taken == []


def test_who_has_just_come_can_be_answered_before_its_entry_is_here() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    target, source = rooms.node(), rooms.node(keys=True)
    other.join(target)
    rooms.run_for(1)
    one.join(source)
    assert hand(one, source, target, rooms)
    rooms.run_for(0.02)
    assert one.cluster.status(rooms.now).entries == 0, "its entry has not left"
    foreign = other.cluster.holder(source.node_id)
    assert foreign is not None
    assert source.identity is not None
    assert (foreign.server_id, foreign.keys) == (one.id, source.identity.keys.text)
    assert not foreign.is_signed
    assert "routing" in foreign.capabilities
    assert list(other.cluster.nodes()) == []
    assert hand(other, target, source, rooms)
    rooms.run_for(0.02)
    assert len(one.taker.taken) == 1
    rooms.run_for(2 * NEWS_S)
    foreign = other.cluster.holder(source.node_id)
    assert foreign is not None
    assert foreign.is_signed
    assert len(other.cluster._view._passing) == 0

    # What is known is not told with each message.
    size = len(over(one, source, target))
    seen: list[int] = []
    rooms.broker.publish = lambda _, data, now: seen.append(len(data))  # type: ignore[method-assign,assignment]
    hand(one, source, target, rooms)
    rooms.run_for(0.01)
    assert size in seen


def over(server: Server, source: FakeNode, target: FakeNode, about: bytes = b"") -> bytes:
    """The message in which a server hands something over."""
    own = server.cluster._own
    ids = node_id_bytes(source.node_id), node_id_bytes(target.node_id)
    head = own.network, own.server, own.instance, Handing.ROUTED
    return encode_message(HandOver(*head, *ids, "r", b"body", about))


def about(name: str = "new", **fields: Any) -> bytes:
    return bytes(encode_about(About("192.0.2.7", 4000, True, name, "1", **fields)))


def test_what_is_said_of_who_has_just_come_counts_only_where_nothing_else_is_known() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    target, source, here = rooms.node(), rooms.node(), rooms.node()
    other.join(target)
    other.join(here)
    third.join(source)
    rooms.run_for(1)

    def say(node: FakeNode, what: bytes) -> None:
        rooms.broker.publish(other.id, over(one, node, target, what), rooms.now)
        rooms.run_for(0.1)

    say(source, about())
    assert other.holder(source) == third.id
    say(here, about())
    assert other.holder(here) is None

    unknown = rooms.node()
    say(unknown, about()[:-3])
    keys = rooms.node(keys=True).identity
    assert keys is not None
    say(unknown, about(keys=keys.x_public + keys.ed_public))
    assert other.holder(unknown) is None
    assert other.drops == {"cluster_malformed": 2}
    say(unknown, about())
    assert other.holder(unknown) == one.id
    rooms.run_for(PASSING_S + 1.5)
    assert other.holder(unknown) is None

    # Of those whose server has fallen silent it is the best that is known.
    third.kill()
    rooms.run_for(4)
    say(source, about())
    assert other.holder(source) == one.id
    for number in range(MAX_PASSING + 10):
        other.cluster._view.note_passing(
            node_id_of(1 << 20 | number),
            about(),
            other.cluster._others.live_run(one.id),
            rooms.now,  # type: ignore[arg-type]
        )
    assert len(other.cluster._view._passing) == MAX_PASSING


def test_kinds_and_reasons_of_a_later_version_are_passed_over() -> None:
    pair = Pair()
    own, raw = pair.other.cluster._own, node_id_bytes(pair.source.node_id)
    head = (own.network, own.server, own.instance)
    for message in (
        HandOver(*head, 77, raw, raw, "", b""),
        Undelivered(*head, 77, 1, raw, raw, ""),
        Undelivered(*head, 1, 77, raw, raw, ""),
    ):
        pair.rooms.broker.publish(pair.one.id, encode_message(message), pair.rooms.now)
    pair.rooms.run_for(0.1)
    assert pair.one.drops == {"cluster_unknown_kind": 3}
    assert (pair.one.taker.taken, pair.one.taker.failed) == ([], [])
