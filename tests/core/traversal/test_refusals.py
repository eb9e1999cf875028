"""Where the relay is refused, a direct path is searched all the same."""

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.errors import PeerTimeoutError, RemoteError, UnknownPeerError
from tests.core.meeting import Meeting

FULL = {"max_concurrent_relays": 1, "relay_timeout": 600}


def with_a_full_server(kind_a: str, kind_b: str) -> Meeting:
    """Two nodes whose server already relays for two others, and for no more."""
    meeting = Meeting(kind_a, kind_b, server=FULL)
    others = [
        meeting.behind("symmetric, random", f"198.51.100.{n}", (f"192.168.{n}.2", 5000))
        for n in (3, 4)
    ]
    for host in others:
        host.outcome(host.connect(meeting.server))
    meeting.world.run_for(1)
    one, other = others
    server = one.peer(meeting.server)
    assert server is not None
    token = one.endpoint.introduce(server, other.id, meeting.world.now, 10)
    assert isinstance(one.outcome(token), ConnectResult)
    return meeting


def test_the_direct_path_is_found_without_the_relay() -> None:
    meeting = with_a_full_server("port-restricted-cone", "port-restricted-cone")
    began = meeting.world.now

    assert isinstance(meeting.a.outcome(meeting.ask()), ConnectResult)

    assert meeting.world.now - began < 1
    assert meeting.is_direct()


def test_where_there_is_none_the_refusal_is_told() -> None:
    meeting = with_a_full_server("symmetric, random", "symmetric, random")

    error = meeting.a.outcome(meeting.ask(timeout_s=5))

    assert isinstance(error, RemoteError)
    assert "all 1 relays of this server are in use" in str(error)
    assert "neither port can be guessed" in str(error)


def test_a_node_that_the_server_does_not_know_is_not_waited_for() -> None:
    meeting = Meeting()
    meeting.world.remove(meeting.b)
    peer = meeting.server.peer(meeting.seen_from(meeting.b, meeting.server.address))
    assert peer is not None
    meeting.server.endpoint.disconnect(peer, "gone", meeting.world.now)
    began = meeting.world.now

    error = meeting.a.outcome(meeting.ask())

    assert isinstance(error, UnknownPeerError)
    assert meeting.world.now - began < 1
    assert meeting.a.endpoint.sizes()["traversals"] == 0


@pytest.mark.parametrize(("timeout_s", "words"), [(0.1 + 0.2, "0.3 s"), (1e-05, "less than 1 ms")])
def test_the_time_that_is_over_is_told_in_few_digits(timeout_s: float, words: str) -> None:
    meeting = Meeting(server={"allow_symmetric_nat_relay": False})
    meeting.world.remove(meeting.b)

    error = meeting.a.outcome(meeting.ask(timeout_s=timeout_s))

    assert isinstance(error, PeerTimeoutError)
    assert f"was found within {words}" in str(error)
