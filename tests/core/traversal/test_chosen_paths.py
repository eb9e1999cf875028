"""A chosen path has its place at both ends, however many sockets were tried to find it."""

from typing import Any

import pytest

from p2ptui.core.aliases import MAX_ALIASES
from p2ptui.core.events import ConnectResult
from p2ptui.core.traversal.candidates import MAX_PREDICTED
from p2ptui.nat.allowances import MAX_LEARNT
from p2ptui.nat.punching import MAX_PAIRS
from tests.core.meeting import Meeting

SEQUENTIAL, STRICT = "symmetric, step 1", "port-restricted-cone"


def far_apart(kind_a: str, kind_b: str, seed: int, ports: int = 10) -> Meeting:
    """Round trips of 100 to 200 ms, and every datagram may overtake another."""
    options = {"port_prediction": {"max_predictions": ports}}
    meeting = Meeting(kind_a, kind_b, seed=seed, options=options, latency_s=0.05, jitter_s=0.05)
    for host in (meeting.a, meeting.b):
        meeting.predicts_well(host)
    meeting.connect(15)
    return meeting


def keeps_its_place(meeting: Meeting, seconds: float) -> bool:
    """Both say something again and again; whether each chosen path was its peer's all the time."""
    tokens: list[tuple[Any, int]] = []
    for _ in range(int(seconds / 0.05)):
        for host in (meeting.a, meeting.b):
            attempt, peer = meeting.attempt(host), meeting.peer(host)
            assert peer is not None
            direct = None if attempt is None else attempt.direct
            if direct is not None and host.endpoint.peers.at(direct.address) is not peer:
                return False
            tokens.append((host, meeting.say("x", back=host is meeting.b)))
        meeting.world.run_for(0.05)
    return all(host.outcome(token, 30).delivered for host, token in tokens)


@pytest.mark.parametrize("seed", [3, 22, 6])
def test_the_path_of_a_predicted_port(seed: int) -> None:
    meeting = far_apart(SEQUENTIAL, STRICT, seed)

    assert keeps_its_place(meeting, 5)
    assert meeting.is_direct()


@pytest.mark.parametrize("kinds", [(SEQUENTIAL, STRICT), (STRICT, SEQUENTIAL)])
def test_as_many_sockets_as_may_be_opened(kinds: tuple[str, str]) -> None:
    for seed in range(3):
        meeting = far_apart(*kinds, seed, ports=MAX_PREDICTED)

        assert keeps_its_place(meeting, 5)
        assert meeting.is_direct()
        for host in (meeting.a, meeting.b):
            assert not host.endpoint.counters.drops["aliases_full"]


def test_the_place_does_not_depend_on_who_came_before() -> None:
    """Both tables are full of addresses that answered when the path is chosen."""
    meeting = far_apart(STRICT, STRICT, 0)
    a, attempt = meeting.a, meeting.attempt(meeting.a)
    assert attempt is not None
    paths = a.endpoint.traversal._paths
    meeting.world.run_until(meeting.is_direct, 10)
    for number in range(2 * MAX_ALIASES):
        paths.expect_from(attempt, ("203.0.113.9", 1000 + number), 0, proved=True)
    at = meeting.peer(a).sends_to

    assert a.endpoint.peers.at(at) is meeting.peer(a)
    assert a.endpoint.counters.drops["aliases_full"]
    assert keeps_its_place(meeting, 3)


def test_there_is_room_for_every_pair_of_a_round() -> None:
    assert MAX_ALIASES >= MAX_PAIRS + MAX_LEARNT
    assert MAX_PAIRS >= MAX_PREDICTED


# Where another session lives at the address of a path.


@pytest.mark.parametrize("relays", [False, True])
def test_a_node_that_took_the_place_of_another_is_the_one_that_is_reached(relays: bool) -> None:
    """It restarted under another id, at once, and the old session is not over yet."""
    meeting = Meeting("open", "open", server={"allow_symmetric_nat_relay": relays})
    world, a, b = meeting.world, meeting.a, meeting.b
    a.outcome(a.connect(b))
    b.endpoint.disconnect(b.peer(meeting.server), "restart", world.now)
    b.settle()
    world.run_for(0.1)
    world.remove(b)
    again = meeting.behind("open", b.address[0], b.address)
    again.outcome(again.connect(meeting.server))
    token = a.endpoint.introduce(a.peer(meeting.server), again.id, world.now, 10)
    a.settle()
    outcome = a.outcome(token)
    assert isinstance(outcome, ConnectResult)
    assert outcome.node_id == again.id

    world.run_for(8)
    peer = a.endpoint.peers.authenticated(again.id)
    assert peer is not None
    assert peer.sends_to == again.address
    assert a.endpoint.peers.at(again.address) is peer
    assert a.endpoint.peers.with_id(b.id) is None
    sent = a.endpoint.send(peer, "hello", world.now)
    a.settle()
    assert a.outcome(sent).delivered
    assert again.received() == ["hello"]
