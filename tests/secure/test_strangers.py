"""Known nodes that came by themselves: what a flood of them can take, and what it cannot."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.node.known_nodes_book import KnownNodesBook
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.secure import known_nodes
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import (
    ABSENT_S,
    MAX_KNOWN_NODES,
    SEEN_STEP_S,
    KnownNodes,
    Met,
    Trust,
)
from p2ptui.secure.strangers import REGULAR_AFTER_S, SETTLED_PART

NOW = 1_795_000_000.0
HOME = "198.51.100.7"
FLOOD_FROM = "203.0.113.9"
DAY = REGULAR_AFTER_S


def keys(number: int) -> PublicKeys:
    return PublicKeys(number.to_bytes(32, "big"), bytes(32))


def stranger(number: int, name: str = "", host: str | None = HOME) -> Met:
    return Met(keys(number).id, keys(number), name or f"n{number}", came_from=host)


def flood(known: KnownNodes, count: int = MAX_KNOWN_NODES + 100, host: str = "", at: float = NOW):
    """Strangers come once each; from one host, or each from a network of its own."""
    for number in range(10_000, 10_000 + count):
        place = host or f"{1 + number // 250 % 100}.{number % 250}.0.1"
        known.note(stranger(number, host=place), at)


def knows(known: KnownNodes, number: int) -> bool:
    return known.get(keys(number).id) is not None


def test_one_address_takes_nobody_elses_place():
    known = KnownNodes()
    for number in range(100):
        known.note(stranger(number), NOW)
    flood(known, host=FLOOD_FROM)
    assert all(knows(known, number) for number in range(100))
    assert len(known) == MAX_KNOWN_NODES


def test_strangers_from_everywhere_take_the_place_of_newcomers_alone():
    known = KnownNodes()
    known.note(stranger(1), NOW)
    flood(known, int(MAX_KNOWN_NODES * SETTLED_PART))
    known.note(stranger(2), NOW)
    flood(known)
    assert (knows(known, 1), knows(known, 2)) == (True, False)
    assert len(known) == MAX_KNOWN_NODES


def test_who_came_again_a_day_later_stays():
    known = KnownNodes()
    flood(known, int(MAX_KNOWN_NODES * SETTLED_PART))
    known.note(stranger(1, "alice"), NOW)
    known.note(stranger(2, "bob"), NOW)
    known.note(stranger(1, "alice"), NOW + DAY)
    known.note(stranger(2, "bob"), NOW + DAY - 1)
    flood(known, at=NOW + 2 * DAY)
    assert (knows(known, 1), knows(known, 2)) == (True, False)
    assert known.judge(stranger(3, "alice")).trust is Trust.CHANGED
    assert known.judge(Met(keys(1).id, None, "alice", asks=True)).trust is Trust.CHANGED


def test_whom_the_user_named_stays_however_strangers_come():
    known = KnownNodes()
    known.note(stranger(1, "alice"), NOW)
    known.note(stranger(1, "alice").as_named(), NOW)
    known.trust("", stranger(2, "bob"), NOW)
    for day in range(3):
        flood(known, at=NOW + day * DAY)
    assert knows(known, 1)
    assert known.get(keys(1).id).named
    assert known.judge(stranger(2, "bob")).trust is Trust.VERIFIED
    known.note(stranger(1, "alice"), NOW + 4 * DAY)
    assert known.get(keys(1).id).named, "also when it comes by itself afterwards"


def test_who_is_connected_stays_and_is_seen():
    known = KnownNodes()
    flood(known, int(MAX_KNOWN_NODES * SETTLED_PART))
    known.note(stranger(1), NOW)
    known.note(stranger(2, "carol"), NOW)
    known.heed({keys(1).id, keys(2).id}.__contains__)
    flood(known)
    known.note(stranger(3, "carol"), NOW)  # in dispute, which is of the least worth
    assert knows(known, 1)
    assert knows(known, 2)
    assert not known.see([keys(1).id], NOW + SEEN_STEP_S - 1)
    for hour in range(1, 25):
        assert known.see([keys(1).id], NOW + hour * SEEN_STEP_S)
    known.heed(lambda _: False)
    flood(known, at=NOW + 2 * DAY)
    assert (knows(known, 1), knows(known, 2)) == (True, False), "a day long it was here"


def test_whom_the_user_names_takes_no_place_of_who_is_connected(monkeypatch):
    monkeypatch.setattr(known_nodes, "MAX_KNOWN_NODES", 64)
    known = KnownNodes()
    known.note(stranger(1, "alice"), NOW)
    known.note(stranger(2, "bob").as_named(), NOW)
    known.heed({keys(1).id, keys(2).id}.__contains__)
    for number in range(10_000, 10_200):
        known.note(stranger(number).as_named(), NOW + number)
    assert (knows(known, 1), knows(known, 2)) == (True, True)
    assert known.judge(stranger(3, "alice")).trust is Trust.CHANGED
    assert len(known) == 64
    known.heed(lambda _: True)
    assert not known.note(stranger(3).as_named(), NOW + 1e6), "all are here"


def test_a_warning_has_the_place_of_whose_place_one_takes_and_not_its_own():
    known = KnownNodes()
    alice, own = stranger(1, "alice").as_named(), stranger(2, "bob").as_named()
    at = Met(keys(3).id, keys(3), "carol", "h:1")
    for one in (alice, own, at):
        known.note(one, NOW)
    assert known.claimed_of_named(own) == ""
    assert known.claimed_of_named(Met(own.id, None, "bob")) == own.id
    for name, joined, whose in (("alice", None, alice), ("dave", "h:1", at)):
        other = Met(keys(4).id, keys(4), name, joined)
        for _ in range(2):
            assert known.claimed_of_named(other) == whose.id
            known.note(other, NOW)


def test_patient_strangers_take_no_regulars_place_and_leave_room_for_others():
    known = KnownNodes()
    known.note(stranger(1), NOW - DAY)
    known.note(stranger(1), NOW)
    flood(known)
    flood(known, at=NOW + DAY)
    assert knows(known, 1)
    for number in range(20, 40):
        assert known.note(stranger(number), NOW + DAY)
    assert all(knows(known, number) for number in range(20, 40))
    assert len(known._strangers._regulars) <= SETTLED_PART * MAX_KNOWN_NODES


def test_who_was_not_seen_for_half_a_year_makes_room():
    known = KnownNodes()
    known.note(stranger(1), NOW - DAY)
    known.note(stranger(1), NOW)
    flood(known, at=NOW + ABSENT_S - DAY)
    assert knows(known, 1)
    known.note(stranger(2), NOW + ABSENT_S)
    assert not knows(known, 1)


def test_whom_the_user_names_has_the_room_of_strangers():
    known = KnownNodes()
    known.note(stranger(1), NOW - DAY)
    known.note(stranger(1), NOW)
    flood(known)
    for number in range(20, 120):
        assert known.note(stranger(number, host=None), NOW)
    assert len(known) == MAX_KNOWN_NODES
    assert all(knows(known, number) for number in (1, *range(20, 120)))
    for number in range(200, 200 + MAX_KNOWN_NODES):
        known.note(stranger(number, host=None), NOW + number)
    assert not known.note(stranger(5), NOW), "there is no room for any"
    assert len(known) == MAX_KNOWN_NODES
    known.trust("", stranger(5, "erin"), NOW)
    assert knows(known, 5)


def test_a_copy_and_the_file_know_the_same_strangers():
    known = KnownNodes()
    known.note(stranger(1), NOW - DAY)
    known.note(stranger(1), NOW)
    known.note(stranger(3).as_named(), NOW)
    flood(known, int(MAX_KNOWN_NODES * SETTLED_PART))
    known.note(stranger(2), NOW + 1)
    for again in (known.copy(), KnownNodes.from_dict(json.loads(json.dumps(known.to_dict())))):
        assert again.to_dict() == known.to_dict()
        flood(again)
        assert [knows(again, number) for number in (1, 2, 3)] == [True, False, True]
    assert knows(known, 2)


@pytest.mark.parametrize("how", ["another command writes", "restart", "at hand"])
def test_who_was_there_before_stays_however_often_the_file_is_read(tmp_path, how):
    path, now = tmp_path / "known.json", [NOW]
    node, other = (KnownNodesStore(lambda: now[0], path) for _ in range(2))
    alice = stranger(1, "alice")
    node.note_all([alice])
    now[0] += 60
    places = (f"203.0.{number}.9" for number in range(4))
    for place in places:
        first = 10_000 + 1_000 * int(place.split(".")[2])
        node.note_all([stranger(first + number, host=place) for number in range(512)])
        now[0] += 60
    now[0] += 2.5 * SEEN_STEP_S
    node.note_all([alice])
    if how == "another command writes":
        other.trust("", stranger(2, "bob"))
    elif how == "restart":
        node = KnownNodesStore(lambda: now[0], path)
    for number in range(1_200):
        now[0] += 1
        node.known.note(
            stranger(20_000 + number, host=f"{20 + number // 250}.{number % 250}.0.1"), now[0]
        )
    assert knows(node.known, 1)
    assert node.known.judge(stranger(3, "alice")).trust is Trust.CHANGED


def test_the_file_is_that_of_earlier_versions_with_a_field_more():
    known = KnownNodes()
    known.note(stranger(1, "alice"), NOW)
    known.note(stranger(2, "bob").as_named(), NOW)
    first, second = known.to_dict()["nodes"]
    assert "named" not in first, "where it came from is not written either"
    assert second.pop("named") is True
    assert first.keys() == second.keys()
    before = known.to_dict()
    before["addresses"]["h:1"] = {"id": keys(1).id, "claimed_by": ""}
    for entry in before["nodes"]:
        entry.pop("named", None)
    again = KnownNodes.from_dict(before)
    assert again.get(keys(1).id).named, "it answered at an address that the user joined"
    assert not again.get(keys(2).id).named
    before["nodes"][1]["verified"] = True
    assert KnownNodes.from_dict(before).get(keys(2).id).named
    before["nodes"][1]["named"] = "yes"
    with pytest.raises(Exception, match="damaged"):
        KnownNodes.from_dict(before)


def test_where_strangers_came_from_outlives_what_others_write(tmp_path):
    path = tmp_path / "known.json"
    node, other = KnownNodesStore(lambda: NOW, path), KnownNodesStore(lambda: NOW, path)
    node.note_all([stranger(number, host=FLOOD_FROM) for number in range(10)])
    other.trust("", stranger(50))
    known = node.known
    assert {known._strangers.host_of(keys(number).id) for number in range(10)} == {FLOOD_FROM}


def test_whom_the_user_named_is_written_before_strangers(tmp_path):
    store = KnownNodesStore(lambda: NOW, tmp_path / "known.json")
    book = KnownNodesBook(lambda: NOW, store)
    book.note(stranger(1).as_named())
    for number in range(10_000, 13_000):
        book.note(stranger(number))
    assert (keys(1).id, None, True) in book._unwritten


def test_no_stranger_takes_the_place_of_a_named_node_under_anothers_name():
    known = KnownNodes()
    known.note(stranger(9, "n1"), NOW)
    known.note(stranger(1).as_named(), NOW)
    assert known.get(keys(1).id).disputed
    flood(known)
    assert len(known) == MAX_KNOWN_NODES
    assert knows(known, 1)


steps = st.tuples(
    st.integers(1, 30),
    st.sampled_from(["comes", "comes as n1", "named", "joined", "trusted", "forgotten", "seen"]),
    st.sampled_from([HOME, FLOOD_FROM, "10.0.0.1", "127.0.0.1"]),
    st.sampled_from([0.0, SEEN_STEP_S, DAY, ABSENT_S]),
)


@given(st.lists(steps, max_size=80), st.sets(st.integers(1, 30), max_size=3))
def test_whatever_comes_it_stays_consistent_and_within_its_limit(done, here):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_nodes, "MAX_KNOWN_NODES", 12)
        known, now = KnownNodes(), NOW
        ids_here = {keys(number).id for number in here}
        known.heed(ids_here.__contains__)
        for number, what, host, pause_s in done:
            now += pause_s
            who, was_named = stranger(number, host=host), {one.id for one in known if one.named}
            match what:
                case "comes as n1":
                    known.note(stranger(number, "n1", host), now)
                case "named":
                    known.note(who.as_named(), now)
                case "joined":
                    known.note(Met(who.id, who.keys, who.name, f"h{number}:1"), now)
                case "trusted" if known.get(who.id) is not None:
                    known.trust(who.id, who, now)
                case "forgotten" if known.get(who.id) is not None:
                    known.forget(who.id)
                case "seen":
                    known.see([who.id], now)
                case _:
                    known.note(who, now)
                    assert was_named <= {one.id for one in known}, "a stranger takes none's place"
            strangers = known._strangers
            assert len(known) <= 12
            assert set(strangers) == {one.id for one in known if not one.named}
            assert known._nodes.named_by_user == len(known) - len(strangers)
            settled = {*strangers._regulars, *strangers._others}
            assert settled == set(strangers) - set(strangers._stays.unproved())
            assert set(known._nodes.disputed) == {one.id for one in known if one.disputed}
            for again in (known.copy(), KnownNodes.from_dict(known.to_dict())):
                assert {one.id for one in again} == {one.id for one in known}
