"""Whom one has met: who is verified, known, new, open or changed, and what is said of the last."""

import contextlib
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.errors import UnknownPeerError
from p2ptui.node.known_nodes_store import MAX_KNOWN_BYTES
from p2ptui.secure import known_nodes
from p2ptui.secure.identity import Identity, PublicKeys
from p2ptui.secure.known_nodes import (
    MAX_KNOWN_ADDRESSES,
    MAX_KNOWN_NAME,
    MAX_KNOWN_NODES,
    SEEN_STEP_S,
    DamagedError,
    KnownNodes,
    Met,
    Trust,
)
from p2ptui.secure.known_nodes_json import LATEST_S
from p2ptui.secure.secret import Secret
from p2ptui.text import shown

NOW = 1_795_000_000.0
WHERE = "example.org:8080"


def keys(number: int) -> PublicKeys:
    return PublicKeys(number.to_bytes(32, "big"), bytes(32))


def met(number: int, name: str, joined: str | None = None, **more) -> Met:
    return Met(keys(number).id, keys(number), name, joined, **more)


def bare(name: str, number: int = 99, joined: str | None = None) -> Met:
    """A node without keys."""
    return Met(keys(number).id, None, name, joined)


@pytest.fixture
def known() -> KnownNodes:
    one = KnownNodes()
    one.note(met(1, "alice", WHERE), NOW)
    one.note(met(2, "bob"), NOW)
    return one


def test_who_comes_back_is_known(known):
    assert known.judge(met(3, "carol")) == (known_nodes.Judgement(Trust.NEW))
    assert known.judge(met(1, "alice")).trust is Trust.KNOWN
    assert known.judge(met(1, "alice", WHERE)).trust is Trust.KNOWN
    assert known.judge(met(1, "alice", "elsewhere:1")).trust is Trust.KNOWN
    known.trust("alice")
    assert known.judge(met(1, "alice", WHERE)).trust is Trust.VERIFIED
    assert known.judge(met(2, "bob")).trust is Trust.KNOWN


def test_a_name_that_comes_with_another_id_is_changed(known):
    for name in ("alice", "Alice", " alice ", "\uff21\uff2c\uff29\uff23\uff25"):
        judged = known.judge(met(3, name))
        assert judged.trust is Trust.CHANGED
        assert f"is not the {name} of before" in judged.advice
        assert f"p2ptui trust {keys(3).id}" in judged.advice
        assert keys(1).id in judged.advice
    # However often it comes, and after others.
    for _ in range(3):
        known.note(met(3, "alice"), NOW)
        assert known.judge(met(3, "alice")).trust is Trust.CHANGED
        assert known.judge(met(1, "alice")).trust is Trust.KNOWN
    known.trust(keys(3).id)
    assert known.judge(met(3, "alice")).trust is Trust.VERIFIED
    assert known.judge(met(1, "alice")).trust is Trust.KNOWN


def test_a_known_node_that_takes_the_name_of_another_is_changed(known):
    for _ in range(2):
        assert known.judge(met(2, "alice")).trust is Trust.CHANGED
        known.note(met(2, "alice"), NOW)
    assert known.judge(met(2, "bob")).trust is Trust.KNOWN
    known.note(met(2, "robert"), NOW)
    assert known.judge(met(2, "robert")).trust is Trust.KNOWN
    assert known.judge(met(3, "bob")).trust is Trust.NEW


def test_who_came_under_the_name_of_another_owns_no_name(known):
    known.note(met(3, "alice"), NOW)
    known.forget(keys(1).id)
    assert known.judge(met(3, "alice")).trust is Trust.KNOWN
    assert known.judge(met(1, "alice")).trust is Trust.NEW
    known.note(met(3, "alice"), NOW)
    assert known.judge(met(1, "alice")).trust is Trust.CHANGED


def test_a_name_means_those_who_own_it_and_first_whom_the_user_verified(known):
    def meant() -> set[str]:
        return {node.id for node in known.owners("alice")}

    def second(number: int) -> Met:
        return met(20 + number, "shot", ephemeral=True, signer=keys(number))

    known.note(met(3, "alice"), NOW)
    assert meant() == {keys(1).id}
    assert known.judge(second(1)).trust is Trust.KNOWN
    assert known.judge(second(3)).trust is Trust.CHANGED
    assert (known.own_name_of(keys(1).id), known.own_name_of(keys(3).id)) == ("alice", "")
    # Who was there first may be the wrong one.
    known.trust(keys(3).id)
    assert meant() == {keys(3).id}
    assert known.judge(second(3)).trust is Trust.VERIFIED
    assert (known.own_name_of(keys(1).id), known.own_name_of(keys(3).id)) == ("", "alice")
    # Whom the user verified under one name does not own another's by calling itself so.
    known.trust("bob")
    known.note(met(2, "alice"), NOW)
    assert meant() == {keys(3).id}
    assert known.get(keys(2).id).name == "bob"


def test_who_is_listed_is_judged_as_in_a_session(known):
    def listed(number: int, name: str):
        judgement = known.judge_listed(keys(number).id, name)
        return None if judgement is None else judgement.trust

    assert listed(3, "carol") is None, "never met"
    assert listed(3, "bob") is None, "it may be another node of the same user"
    assert (listed(1, "alice"), listed(1, "al")) == (Trust.KNOWN, Trust.KNOWN)
    assert listed(1, "bob") is Trust.CHANGED
    known.note(met(3, "Bob"), NOW)
    assert known.judge(met(3, "bob")).trust is Trust.CHANGED
    assert listed(3, "bob") is Trust.CHANGED, "met, and in dispute"
    assert listed(2, "bob") is Trust.KNOWN
    known.trust(keys(3).id)
    assert listed(3, "bob") is Trust.VERIFIED


def test_an_address_that_another_answers_at_is_changed(known):
    judged = known.judge(met(3, "carol", WHERE.upper()))
    assert judged.trust is Trust.CHANGED
    assert "is not the node of before" in judged.advice
    for _ in range(2):
        known.note(met(3, "carol", WHERE), NOW)
        assert known.judge(met(3, "carol", WHERE)).trust is Trust.CHANGED
    assert known.at(WHERE) == keys(1).id
    known.trust(keys(3).id)
    assert known.at(WHERE) == keys(3).id
    assert known.judge(met(3, "carol", WHERE)).trust is Trust.VERIFIED
    assert known.judge(met(1, "alice", WHERE)).trust is Trust.CHANGED


def test_who_had_a_key_is_changed_without_it(known):
    assert known.judge(bare("dave")).trust is Trust.OPEN
    assert known.judge(bare("dave", joined="elsewhere:1")).trust is Trust.OPEN
    for downgraded in (bare("x", 1), bare("x", joined=WHERE), bare("alice")):
        judged = known.judge(downgraded)
        assert judged.trust is Trust.CHANGED
        assert "p2ptui forget" in judged.advice
        assert not known.note(downgraded, NOW)
        assert known.judge(downgraded).trust is Trust.CHANGED
    known.forget("alice")
    for open_now in (bare("x", 1), bare("x", joined=WHERE), bare("alice")):
        assert known.judge(open_now).trust is Trust.OPEN


def test_an_ephemeral_node_is_neither_kept_nor_compared_by_name(known):
    fleeting = met(5, "alice", ephemeral=True)
    assert known.judge(fleeting).trust is Trust.NEW
    assert not known.note(fleeting, NOW)
    assert known.get(fleeting.id) is None
    signed = met(5, "anything", WHERE, ephemeral=True, signer=keys(1))
    assert known.judge(signed).trust is Trust.KNOWN
    known.trust("alice")
    assert known.judge(signed).trust is Trust.VERIFIED
    # At an address it must be that of before all the same.
    assert known.judge(met(5, "x", WHERE, ephemeral=True)).trust is Trust.CHANGED
    assert known.judge(met(5, "x", WHERE, ephemeral=True, signer=keys(2))).trust is Trust.CHANGED


def test_keys_that_do_not_fit_the_id_are_nobodys(known):
    forged = Met(keys(1).id, keys(3), "alice")
    assert known.judge(forged).trust is Trust.CHANGED
    with pytest.raises(ValueError, match="do not fit"):
        known.note(forged, NOW)


def test_a_node_is_found_by_name_id_and_beginning(known):
    alice = keys(1).id
    for ref in ("alice", "ALICE", alice, alice.upper(), alice[:4], alice[:8]):
        assert known.find(ref).id == alice
    with pytest.raises(UnknownPeerError, match="did you mean 'alice'"):
        known.find("alicia")
    with pytest.raises(UnknownPeerError):
        known.find(alice[:3])
    known.note(met(3, "alice"), NOW)
    with pytest.raises(UnknownPeerError, match="could be any") as caught:
        known.trust("alice")
    assert alice in str(caught.value)
    assert keys(3).id in str(caught.value)


def test_a_node_of_a_session_can_be_trusted_at_once(known):
    known.trust("", met(4, "dora"), NOW)
    assert known.judge(met(4, "dora")).trust is Trust.VERIFIED


def test_an_address_is_enough_to_forget_by(known):
    assert known.forget(WHERE).id == keys(1).id
    assert known.at(WHERE) is None
    assert known.judge(met(3, "alice", WHERE)).trust is Trust.NEW


def test_what_others_say_of_themselves_is_harmless(known):
    evil = "al\x1b[2Jice\u202e" + "x" * 500
    known.note(met(3, evil), NOW)
    assert known.get(keys(3).id).name.isprintable()
    assert len(known.get(keys(3).id).name) <= MAX_KNOWN_NAME
    assert known.judge(met(4, evil)).advice.isprintable()
    assert known.judge(met(4, evil, "\x1b[2J:1")).advice.isprintable()


def test_seen_is_noted_now_and_then(known):
    assert not known.note(met(1, "alice", WHERE), NOW + 1)
    assert known.note(met(1, "alice", WHERE), NOW + SEEN_STEP_S)
    assert known.get(keys(1).id).last_seen == NOW + SEEN_STEP_S
    assert known.get(keys(1).id).first_seen == NOW
    assert not known.note(met(1, "alice", WHERE), NOW - 5)


def test_what_the_user_said_outlives_a_flood():
    known = KnownNodes()
    known.note(met(1, "alice"), NOW)
    known.trust("alice")
    known.note(met(2, "server", WHERE), NOW)
    known.note(met(3, "carol"), NOW)
    for number in range(10, MAX_KNOWN_NODES + 50):
        known.note(met(number, f"n{number}"), NOW + number)
        known.note(met(number + 10**6, "alice"), NOW + number)
    assert len(known) == MAX_KNOWN_NODES
    assert known.judge(met(1, "alice")).trust is Trust.VERIFIED
    assert known.judge(met(2, "server", WHERE)).trust is Trust.KNOWN
    assert known.judge(met(10**7, "alice")).trust is Trust.CHANGED
    assert len(json.dumps(known.to_dict())) < MAX_KNOWN_BYTES


def test_what_is_full_of_what_the_user_said_takes_no_more(monkeypatch):
    monkeypatch.setattr(known_nodes, "MAX_KNOWN_NODES", 3)
    known = KnownNodes()
    for number in range(3):
        known.trust("", met(number, f"n{number}"), NOW)
    assert not known.note(met(9, "late"), NOW)
    assert known.judge(met(9, "late")).trust is Trust.NEW
    assert len(known) == 3


def test_addresses_are_bounded(known):
    for number in range(MAX_KNOWN_ADDRESSES + 10):
        known.note(met(2, "bob", f"h{number}:1"), NOW)
    assert known.at("h0:1") == keys(2).id
    assert known.at(f"h{MAX_KNOWN_ADDRESSES + 5}:1") is None


def test_the_largest_file_fits():
    known = KnownNodes()
    for number in range(MAX_KNOWN_NODES):
        known.note(met(number, "\U0001f600" * 80 + str(number)), NOW)
    for number in range(MAX_KNOWN_ADDRESSES):
        known.note(met(1, "x", f"{number}" + "\U0001f600" * 290), NOW)
    assert len(known) == MAX_KNOWN_NODES
    size = len(json.dumps(known.to_dict()))
    assert size < MAX_KNOWN_BYTES, size


def test_what_is_written_is_read(known):
    known.note(met(3, "alice"), NOW)
    known.note(met(3, "carol", WHERE), NOW)
    known.trust("bob")
    again = KnownNodes.from_dict(json.loads(json.dumps(known.to_dict())))
    assert again.to_dict() == known.to_dict()
    for other in (met(1, "alice", WHERE), met(3, "alice"), met(2, "bob"), bare("alice")):
        assert again.judge(other) == known.judge(other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["form", "nodes", "addresses", "entry", "all"]), st.data())
def test_what_is_damaged_is_said(value, where, data):
    one = KnownNodes()
    one.note(met(1, "alice", WHERE), NOW)
    content = one.to_dict()
    if where == "all":
        content = value
    elif where == "entry":
        content["nodes"][0][data.draw(st.sampled_from(sorted(content["nodes"][0])))] = value
    else:
        content[where] = value
    # It is read, or said to be damaged: nothing else ends it.
    with contextlib.suppress(DamagedError):
        KnownNodes.from_dict(content)


@pytest.mark.parametrize("name", ["first_seen", "last_seen"])
@pytest.mark.parametrize(
    "time", [10**400, -(10**400), 1e308, math.nan, -math.inf, 2.6e11, True, "1", None, [1]]
)
def test_what_is_no_time_of_a_calendar_is_damage(known, name, time):
    content = known.to_dict()
    content["nodes"][0][name] = time
    with pytest.raises(DamagedError, match="is damaged"):
        KnownNodes.from_dict(content)


@pytest.mark.parametrize("time", [NOW, 0, -1, LATEST_S])
def test_what_any_clock_may_have_shown_is_read(known, time):
    content = known.to_dict()
    content["nodes"][0]["first_seen"] = content["nodes"][0]["last_seen"] = time
    assert KnownNodes.from_dict(content).to_dict()["nodes"][0]["first_seen"] == time


def test_another_form_is_named_however_long_it_is():
    with pytest.raises(DamagedError, match=r"is of form '2x*…, and this version knows 1"):
        KnownNodes.from_dict({"form": "2" + "x" * 10_000})


def altered(content: Any, value: Any) -> Iterator[Any]:
    """The content with this value in place of each of its parts, one at a time."""
    yield value
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            for part in altered(content[key], value):
                changed = content.copy()
                changed[key] = part
                yield changed


@pytest.mark.parametrize(
    "value",
    [
        10**400,
        10**5000,
        -1,
        0.5,
        math.inf,
        math.nan,
        "",
        "\x00é",
        True,
        None,
        [],
        {},
        [[]],
        {"id": 1},
    ],
    ids=shown,
)
def test_whatever_stands_in_place_of_a_value_it_is_read_or_damaged(known, value):
    for content in altered(known.to_dict(), value):
        with contextlib.suppress(DamagedError):
            json.dumps(KnownNodes.from_dict(content).to_dict())


def test_where_some_cannot_be_read_nobody_is_simply_new():
    known = KnownNodes(is_partial=True)
    judged = known.judge(met(1, "alice"))
    assert judged.trust is Trust.NEW
    assert "may have been met before" in judged.advice
    assert f"p2ptui trust {keys(1).id}" in judged.advice


def test_real_keys_are_known_like_any():
    identity = Identity(Secret(bytes(32)))
    known = KnownNodes()
    who = Met(identity.id, identity.keys, "me")
    assert known.note(who, NOW)
    assert known.judge(who).trust is Trust.KNOWN


@pytest.mark.parametrize("number", [1, 98])
@pytest.mark.parametrize("joined", [None, "example.org:8080", " EXAMPLE.org:8080", "a.example:1"])
def test_of_whom_nothing_is_known_nothing_has_changed(known, number, joined):
    known.note(met(7, "elsewhere", "example.org:8080"), 1.0)
    node_id = met(number, "").id
    if not known.has_met(node_id, None, joined):
        assert known.judge(Met(node_id, None, "", joined)).trust is Trust.OPEN
    assert known.has_met(node_id, None, joined) == (
        known.get(node_id) is not None or (joined is not None and known.at(joined) is not None)
    )
    assert not KnownNodes().has_met(node_id, joined)
