"""The classifier: what it says of observations, and above all what it does not."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.nat.behavior import (
    LIKELY,
    SURE,
    Change,
    Dependence,
    FilteringVerdict,
    FilterTest,
    MappingVerdict,
    NatType,
    Reply,
    Seen,
    classify_filtering,
    classify_mapping,
    nat_type_of,
    near_among,
)

LOCAL = ("192.168.1.2", 5000)
ONE, ONE_OTHER_PORT = ("203.0.113.1", 3478), ("203.0.113.1", 3479)
TWO, TWO_OTHER_PORT = ("203.0.113.2", 3478), ("203.0.113.2", 3479)
OUT = ("198.51.100.1", 6000)
OUT_2, OUT_3 = ("198.51.100.1", 6001), ("198.51.100.1", 6002)

UNKNOWN, NONE = Dependence.UNKNOWN, Dependence.NONE
INDEPENDENT = Dependence.ENDPOINT_INDEPENDENT
ADDRESS, ADDRESS_AND_PORT = Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT


def seen(*pairs):
    return [Seen(server, mapped) for server, mapped in pairs]


# --- mapping


@pytest.mark.parametrize(
    ("observations", "kind", "varies", "confidence"),
    [
        pytest.param([], UNKNOWN, False, 0.0, id="nobody answered"),
        pytest.param([(ONE, LOCAL)], NONE, False, LIKELY, id="one saw the local address"),
        pytest.param([(ONE, LOCAL), (TWO, LOCAL)], NONE, False, SURE, id="two saw it"),
        pytest.param([(ONE, OUT)], UNKNOWN, False, 0.0, id="one alone compares with nothing"),
        pytest.param([(ONE, OUT), (ONE, OUT)], UNKNOWN, False, 0.0, id="one said it twice"),
        pytest.param(
            [(ONE, OUT), (ONE_OTHER_PORT, OUT)], UNKNOWN, False, 0.0, id="two ports of one host"
        ),
        pytest.param([(ONE, OUT), (TWO, OUT)], INDEPENDENT, False, SURE, id="two hosts agree"),
        pytest.param(
            [(ONE, OUT), (TWO, OUT_2)], UNKNOWN, True, LIKELY, id="two hosts differ, one port each"
        ),
        pytest.param(
            [(ONE, OUT), (ONE_OTHER_PORT, OUT_2)],
            ADDRESS_AND_PORT,
            True,
            SURE,
            id="two ports of one host differ",
        ),
        pytest.param(
            [(ONE, OUT), (ONE_OTHER_PORT, OUT), (TWO, OUT_2)],
            ADDRESS,
            True,
            SURE,
            id="hosts differ, ports of one do not",
        ),
        pytest.param(
            [(ONE, OUT), (ONE_OTHER_PORT, OUT_2), (TWO, OUT_3), (TWO_OTHER_PORT, OUT)],
            ADDRESS_AND_PORT,
            True,
            SURE,
            id="everything differs",
        ),
        pytest.param(
            [(ONE, LOCAL), (TWO, OUT)], UNKNOWN, False, 0.0, id="a server on this side of the NAT"
        ),
        pytest.param(
            [(ONE, ("198.51.100.1", 5000)), (TWO, ("198.51.100.1", 5000))],
            INDEPENDENT,
            False,
            SURE,
            id="a kept port is still a NAT",
        ),
    ],
)
def test_mapping(observations, kind, varies, confidence):
    verdict = classify_mapping(LOCAL, seen(*observations))
    assert (verdict.kind, verdict.varies, verdict.confidence) == (kind, varies, confidence)
    assert verdict.evidence
    assert all(line.startswith("mapping: ") for line in verdict.evidence)


def test_another_address_of_this_machine_is_not_translated():
    at_home = ("10.0.0.9", LOCAL[1])
    assert classify_mapping(LOCAL, seen((ONE, at_home)), ["10.0.0.9"]).kind is NONE
    assert classify_mapping(LOCAL, seen((ONE, at_home))).kind is UNKNOWN


def test_the_evidence_names_who_saw_what():
    (line,) = classify_mapping(LOCAL, seen((ONE, OUT), (TWO, OUT_2))).evidence
    assert "203.0.113.1:3478 saw 198.51.100.1:6000" in line
    assert "203.0.113.2:3478 saw 198.51.100.1:6001" in line


hosts = st.sampled_from(["203.0.113.1", "203.0.113.2", "203.0.113.3"])
servers = st.tuples(hosts, st.sampled_from([3478, 3479, 3480]))
outsides = st.tuples(st.sampled_from(["198.51.100.1", "198.51.100.2"]), st.integers(6000, 6003))
observations_of_all = st.lists(st.builds(Seen, servers, outsides | st.just(LOCAL)), max_size=8)


@given(observations_of_all)
def test_endpoint_independence_takes_two_hosts_that_agree(observations):
    verdict = classify_mapping(LOCAL, observations)
    outside = [one for one in observations if one.mapped != LOCAL]
    if verdict.kind is INDEPENDENT:
        assert len({one.server[0] for one in outside}) > 1
        assert len({one.mapped for one in outside}) == 1


@given(hosts, st.lists(st.tuples(st.sampled_from([3478, 3479, 3480]), outsides), max_size=8))
def test_one_server_host_never_shows_independence(host, answers):
    verdict = classify_mapping(LOCAL, [Seen((host, port), mapped) for port, mapped in answers])
    assert verdict.kind in (UNKNOWN, ADDRESS_AND_PORT)


@given(observations_of_all, st.integers(0, 2**32).map(random.Random))
def test_the_order_of_answers_and_repetitions_do_not_matter(observations, random):
    shuffled = [*observations, *observations[:3]]
    random.shuffle(shuffled)
    one, other = classify_mapping(LOCAL, observations), classify_mapping(LOCAL, shuffled)
    assert (one.kind, one.varies, one.confidence) == (other.kind, other.varies, other.confidence)


@given(observations_of_all)
def test_varying_and_agreeing_exclude_each_other(observations):
    verdict = classify_mapping(LOCAL, observations)
    assert verdict.varies is (len({o.mapped for o in observations if o.mapped != LOCAL}) > 1)
    assert 0 <= verdict.confidence <= 1
    assert (verdict.confidence == 0) is (verdict.kind is UNKNOWN and not verdict.varies)


@given(st.sampled_from([INDEPENDENT, ADDRESS, ADDRESS_AND_PORT]), st.sets(servers, min_size=1))
def test_a_nat_of_a_kind_is_named_so_or_not_at_all(kind, asked):
    """Whichever servers answer: too few make it unknown, never something else."""

    def outside_of(server):
        depends_on = {INDEPENDENT: None, ADDRESS: server[0], ADDRESS_AND_PORT: server}[kind]
        return "198.51.100.1", 6000 + sorted(map(str, [*asked, *(h for h, _ in asked)])).index(
            str(depends_on)
        ) if depends_on is not None else 6000

    verdict = classify_mapping(LOCAL, [Seen(server, outside_of(server)) for server in asked])
    assert verdict.kind in (kind, UNKNOWN)


# --- filtering

CAME, SILENCE, UNTESTABLE = Reply.CAME, Reply.SILENCE, Reply.UNTESTABLE


def questions(other=None, port=None, peer=None, sends=7):
    asked = {Change.ADDRESS_AND_PORT: other, Change.PORT: port, Change.PEER: peer}
    return [
        FilterTest(change, reply, "asked 203.0.113.1:3478", sends)
        for change, reply in asked.items()
        if reply is not None
    ]


@pytest.mark.parametrize(
    ("other", "port", "peer", "kind"),
    [
        pytest.param(CAME, CAME, None, INDEPENDENT, id="all come in"),
        pytest.param(CAME, None, None, INDEPENDENT, id="from elsewhere comes in"),
        pytest.param(None, None, CAME, INDEPENDENT, id="a peer of the server comes in"),
        pytest.param(SILENCE, SILENCE, CAME, INDEPENDENT, id="a reply outweighs silences"),
        pytest.param(CAME, SILENCE, None, INDEPENDENT, id="the port may be the server's fault"),
        pytest.param(SILENCE, CAME, None, ADDRESS, id="another port comes in, no other host"),
        pytest.param(UNTESTABLE, CAME, SILENCE, ADDRESS, id="a peer stands for the other host"),
        pytest.param(SILENCE, SILENCE, None, ADDRESS_AND_PORT, id="none comes in"),
        pytest.param(None, SILENCE, None, ADDRESS_AND_PORT, id="not even another port"),
        pytest.param(SILENCE, None, None, UNKNOWN, id="by address or by port: not tested"),
        pytest.param(SILENCE, UNTESTABLE, SILENCE, UNKNOWN, id="nor with a peer"),
        pytest.param(UNTESTABLE, CAME, None, UNKNOWN, id="another host was not tested"),
        pytest.param(None, CAME, None, UNKNOWN, id="one address is not enough"),
        pytest.param(UNTESTABLE, UNTESTABLE, UNTESTABLE, UNKNOWN, id="nobody can"),
        pytest.param(None, None, None, UNKNOWN, id="nobody was asked"),
    ],
)
def test_filtering(other, port, peer, kind):
    verdict = classify_filtering(True, questions(other, port, peer), loss=0.05)
    assert verdict.kind is kind
    assert (verdict.confidence == 0) is (kind is UNKNOWN)
    assert verdict.evidence
    assert all(line.startswith("filtering: ") for line in verdict.evidence)


def test_without_a_nat_what_lets_all_in_is_no_filter():
    assert classify_filtering(False, questions(CAME, CAME)).kind is NONE
    assert classify_filtering(False, questions(SILENCE, SILENCE)).kind is ADDRESS_AND_PORT


def test_one_server_that_answers_makes_up_for_one_that_cannot():
    tests = [*questions(UNTESTABLE, UNTESTABLE), *questions(SILENCE, CAME)]
    assert classify_filtering(True, tests).kind is ADDRESS


replies = st.none() | st.sampled_from(Reply)
filter_tests = st.lists(
    st.builds(
        FilterTest,
        st.sampled_from(Change),
        st.sampled_from(Reply),
        st.just("asked somebody"),
        st.integers(0, 10),
    ),
    max_size=6,
)


@given(filter_tests, st.booleans(), st.floats(0, 1))
def test_silence_is_never_taken_for_openness(tests, is_translated, loss):
    verdict = classify_filtering(is_translated, tests, loss)
    if verdict.kind in (INDEPENDENT, NONE):
        assert any(t.reply is CAME and t.change is not Change.PORT for t in tests)
    assert (verdict.confidence == 0) is (verdict.kind is UNKNOWN)


@given(replies, replies, replies, st.floats(0.4, 1))
def test_silence_on_a_lossy_way_never_becomes_a_verdict(other, port, peer, loss):
    """Seven questions of which more than four in ten are lost prove nothing by silence."""
    verdict = classify_filtering(True, questions(other, port, peer), loss)
    assert verdict.kind in (INDEPENDENT, UNKNOWN)


@pytest.mark.parametrize(("loss", "sends"), [(0.19, 4), (0.19, 7), (0.05, 3), (0.0, 1)])
def test_silence_after_enough_questions_does(loss, sends):
    verdict = classify_filtering(True, questions(SILENCE, SILENCE, sends=sends), loss)
    believed = loss**sends <= 0.001
    assert verdict.kind is (ADDRESS_AND_PORT if believed else UNKNOWN)
    assert verdict.confidence >= (0.99 if believed else 0)


def test_a_silence_that_is_not_believed_says_why():
    (line, _) = classify_filtering(True, questions(SILENCE, SILENCE), loss=0.5).evidence
    assert "silence, but 50% of all round trips are lost here" in line


# --- the classical names


@pytest.mark.parametrize(
    ("mapping", "filtering", "nat_type"),
    [
        (NONE, NONE, NatType.OPEN),
        (NONE, ADDRESS, NatType.FIREWALL),
        (NONE, ADDRESS_AND_PORT, NatType.FIREWALL),
        (INDEPENDENT, INDEPENDENT, NatType.FULL_CONE),
        (INDEPENDENT, ADDRESS, NatType.RESTRICTED_CONE),
        (INDEPENDENT, ADDRESS_AND_PORT, NatType.PORT_RESTRICTED_CONE),
        *itertools.product([ADDRESS, ADDRESS_AND_PORT], Dependence, [NatType.SYMMETRIC]),
        *itertools.product([UNKNOWN], Dependence, [NatType.UNKNOWN]),
        *itertools.product([NONE, INDEPENDENT], [UNKNOWN], [NatType.UNKNOWN]),
    ],
)
def test_the_classical_name(mapping, filtering, nat_type):
    varies = mapping in (ADDRESS, ADDRESS_AND_PORT)
    assert nat_type_of(MappingVerdict(mapping, varies, SURE, ()), filtering) is nat_type


def test_a_mapping_that_varies_is_symmetric_whatever_it_varies_with():
    verdict = classify_mapping(LOCAL, seen((ONE, OUT), (TWO, OUT_2)))
    assert verdict.kind is UNKNOWN
    assert nat_type_of(verdict, UNKNOWN) is NatType.SYMMETRIC


@given(observations_of_all, filter_tests, st.floats(0, 1))
def test_a_full_cone_takes_two_hosts_that_agree_and_a_reply_from_elsewhere(
    observations, tests, loss
):
    mapping = classify_mapping(LOCAL, observations)
    filtering: FilteringVerdict = classify_filtering(mapping.kind is not NONE, tests, loss)
    if nat_type_of(mapping, filtering.kind) is NatType.FULL_CONE:
        assert len({one.server[0] for one in observations}) > 1
        assert any(t.reply is CAME and t.change is not Change.PORT for t in tests)


# --- this side of the NAT, and the other


OWN = {"192.168.1.2", "127.0.0.1"}


@pytest.mark.parametrize(
    ("mapped", "near"),
    [
        ({"192.168.1.2"}, set()),
        ({"8.8.4.4"}, set()),
        ({"8.8.4.4", "9.9.9.9"}, set()),
        ({"192.168.1.2", "8.8.4.4"}, {"192.168.1.2"}),
        ({"192.168.1.2", "10.0.0.7"}, {"192.168.1.2"}),
        ({"10.0.0.7", "8.8.4.4"}, {"10.0.0.7"}),
        ({"100.64.0.9", "8.8.4.4"}, {"100.64.0.9"}),
        ({"192.168.1.2", "10.0.0.7", "8.8.4.4"}, {"192.168.1.2", "10.0.0.7"}),
        (set(), set()),
    ],
)
def test_who_sees_a_private_or_the_own_address_is_near_once_somebody_sees_another(mapped, near):
    assert near_among(mapped, OWN) == near


def test_a_public_address_of_ones_own_is_not_near_beside_a_private_one():
    """As a server in a container sees its host."""
    assert near_among({"8.8.4.4", "172.17.0.1"}, {"8.8.4.4"}) == {"172.17.0.1"}
