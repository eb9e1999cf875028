"""Where no server can tell what a NAT does, ports are guessed once before the relay is accepted."""

import pytest

from p2ptui.core.connection import Method
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.nat.allocation import AllocationKind, PortAllocation
from tests.core.meeting import Meeting

STRICT = "port-restricted-cone"
ADDRESS_DEPENDENT = "symmetric, hashed"
SEEN = {
    STRICT: NatFacts(allocation=PortAllocation(AllocationKind.PRESERVED), diagnosed=True),
    ADDRESS_DEPENDENT: NatFacts(allocation=PortAllocation(AllocationKind.HASHED), diagnosed=True),
}
"""What a server with one address can see: how ports are chosen, and nothing of the mapping."""


def unknown(kind_a: str, kind_b: str, **options: object) -> Meeting:
    """Two nodes whose server has one address."""
    meeting = Meeting(kind_a, kind_b, seed=2, **options)  # type: ignore[arg-type]
    meeting.a.facts, meeting.b.facts = SEEN[kind_a], SEEN[kind_b]
    return meeting


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_an_address_dependent_nat_that_one_server_cannot_name_is_met(
    turned: bool, known: bool
) -> None:
    kinds = (ADDRESS_DEPENDENT, STRICT) if turned else (STRICT, ADDRESS_DEPENDENT)
    meeting = unknown(*kinds)
    if known:
        for host in (meeting.a, meeting.b):
            assert host.facts is not None
            host.endpoint.traversal.facts_ready(host.facts, meeting.world.now)

    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 12)

    peer = meeting.peer(meeting.a)
    assert peer is not None
    assert peer.connection is not None
    assert peer.connection.method is Method.BIRTHDAY
    assert meeting.a.outcome(meeting.say("found")).delivered


def test_nothing_at_all_is_known_and_they_meet_all_the_same() -> None:
    meeting = unknown(STRICT, ADDRESS_DEPENDENT)
    meeting.a.facts = meeting.b.facts = NatFacts(diagnosed=True)

    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 12)


def test_what_cannot_work_is_guessed_in_one_search_only() -> None:
    meeting = unknown(ADDRESS_DEPENDENT, ADDRESS_DEPENDENT)
    meeting.connect()
    meeting.world.run_for(30)
    peers = [meeting.peer(host) for host in (meeting.a, meeting.b)]
    spent = []
    for peer in peers:
        assert peer is not None
        assert peer.connection is not None
        spent.append(peer.connection.checks)

    meeting.world.run_for(600)

    assert meeting.is_relayed()
    assert meeting.a.sockets == meeting.b.sockets == {}
    for peer, before in zip(peers, spent, strict=True):
        assert peer is not None
        assert peer.connection is not None
        assert peer.connection.checks - before < 300, "ten searches, plain ones"


def test_plain_checks_that_work_need_no_guess() -> None:
    meeting = unknown(STRICT, STRICT)
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 0.5)

    peer = meeting.peer(meeting.a)
    assert peer is not None
    assert peer.connection is not None
    assert peer.connection.method is Method.PLAIN
