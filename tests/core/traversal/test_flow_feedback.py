"""A NAT that limits new flows: the rounds of guesses become short, and many, on both sides."""

import pytest

from p2ptui.core.events import SocketsWanted
from p2ptui.core.traversal.attempt import MAX_LIMITED_ROUNDS, MAX_ROUNDS
from tests.core.meeting import Meeting
from tests.simulation import Host

GUESSER, SOCKETS = "port-restricted-cone", "symmetric, random"


def hopeless(kind_a: str, kind_b: str, *, limited: bool, adapts: bool = True) -> Meeting:
    """Two nodes whose guesses all go astray, and that know what they are behind."""
    meeting = Meeting(kind_a, kind_b, options={"ice": {"adapt_pace": adapts}})
    for host in (meeting.a, meeting.b):
        assert host.facts is not None
        host.endpoint.traversal.facts_ready(host.facts, meeting.world.now)
        host.new_flows_pass = lambda: not limited
    meeting.cut()
    meeting.connect()
    return meeting


def guesser(meeting: Meeting, kind_a: str) -> Host:
    return meeting.a if kind_a == GUESSER else meeting.b


def rounds(meeting: Meeting) -> int:
    attempt = meeting.attempt(meeting.a)
    assert attempt is not None
    return attempt.offer.round


@pytest.mark.parametrize(("kind_a", "kind_b"), [(GUESSER, SOCKETS), (SOCKETS, GUESSER)])
def test_where_new_flows_are_limited_rounds_are_short_and_sockets_fresh(
    kind_a: str, kind_b: str
) -> None:
    meeting = hopeless(kind_a, kind_b, limited=True)
    meeting.world.run_for(4)

    assert rounds(meeting) >= 4
    other = meeting.other(guesser(meeting, kind_a))
    assert len(other.told(SocketsWanted)) == rounds(meeting)
    assert len(other.sockets) <= 256
    told = meeting.attempt(other)
    assert told is not None
    assert told.remote is not None
    assert told.remote.flows > 0

    meeting.world.run_for(20)
    assert rounds(meeting) == MAX_LIMITED_ROUNDS - 1
    assert not other.sockets


@pytest.mark.parametrize(("kind_a", "kind_b"), [(GUESSER, SOCKETS), (SOCKETS, GUESSER)])
@pytest.mark.parametrize(("limited", "adapts"), [(False, True), (True, False)])
def test_otherwise_they_are_not(kind_a: str, kind_b: str, limited: bool, adapts: bool) -> None:
    meeting = hopeless(kind_a, kind_b, limited=limited, adapts=adapts)
    meeting.world.run_for(2.5)
    assert rounds(meeting) == 1
    meeting.world.run_for(20)
    assert rounds(meeting) == MAX_ROUNDS - 1


def test_what_was_seen_of_a_network_holds_for_the_next_node_and_not_for_the_next_network() -> None:
    meeting = hopeless(GUESSER, SOCKETS, limited=True)
    meeting.world.run_for(4)
    traversal = meeting.a.endpoint.traversal
    assert traversal.offers.flow_limit is not None

    traversal.flows.forget()

    assert traversal.offers.flow_limit is None
    assert traversal.flows.pace.limit_per_s is None
