"""What a server relays, for whom and how much, in both forms of relaying."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.events import ConnectResult, SendStatus
from p2ptui.core.relay.control import MAX_DEPARTED_CLIENTS
from p2ptui.errors import ConfigError, RemoteError
from tests.core.relaying import account, ask, node, open_relays, puppet, relaying, say, seen
from tests.simulation import Host, Puppet, World

NOBODY = "99999999-0000-4000-8000-000000000000"


@pytest.fixture
def world() -> World:
    return World()


def request(client: Puppet, server: Host, target: Puppet, size: int) -> None:
    """Ask for `size` bytes to be relayed, in the reference's form: 2 bytes each on the wire."""
    client.say("RelayRequest", {"target_peer_id": target.id, "data": [1] * size}, server)


def answers(client: Puppet) -> list[dict[str, Any]]:
    return [m["payload"] for m in client.take() if m["message_type"] == "RelayResponse"]


def arrived(client: Puppet) -> list[int]:
    """The sizes of the relayed data that came."""
    messages = client.take()
    return [len(m["payload"]["data"]) for m in messages if m["message_type"] == "RelayData"]


# The rate.


def test_who_is_over_the_rate_for_a_moment_waits(world: World) -> None:
    """12 kB each at 10 kB a second: the first passes at once, the others as the rate allows."""
    server = relaying(world, max_relay_rate_per_client=10_000)
    a, b = puppet(world, server), puppet(world, server)
    for _ in range(3):
        request(a, server, b, 6000)

    world.run_for(0.1)
    assert arrived(b) == [6000]
    assert answers(a) == [{"success": True}]
    assert account(server, a).waiting_bytes > 24_000
    assert server.endpoint.sizes()["relay_waiting_bytes"] > 24_000

    world.run_for(1.2)
    assert arrived(b) == [6000]
    world.run_for(1.3)
    assert arrived(b) == [6000]
    assert answers(a) == [{"success": True}] * 2
    assert account(server, a).waiting_bytes == 0


def test_beyond_the_buffer_there_is_a_refusal(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=10_000, buffer_size=15_000)
    a, b = puppet(world, server), puppet(world, server)
    for _ in range(3):
        request(a, server, b, 6000)

    world.run_for(0.1)
    taken, refused = answers(a)
    assert taken["success"] is True
    assert refused["success"] is False
    for words in ("over the limit of 10000 bytes", "buffer_size", "send more slowly"):
        assert words in refused["error_message"]
    world.run_for(3)
    assert arrived(b) == [6000, 6000]
    assert account(server, a).refused == {"rate": 1}
    assert server.endpoint.counters.drops["relay_refused"] == 1


def test_each_client_has_its_own_rate(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=10_000, buffer_size=1)
    a, b, c = (puppet(world, server) for _ in range(3))
    request(a, server, b, 6000)
    request(a, server, b, 6000)
    request(c, server, b, 6000)

    world.run_for(0.1)
    assert arrived(b) == [6000, 6000]
    assert [answer["success"] for answer in answers(a)] == [True, False]
    assert [answer["success"] for answer in answers(c)] == [True]


def test_a_new_session_is_no_new_rate(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=10_000, buffer_size=1)
    a, b = puppet(world, server), puppet(world, server)
    request(a, server, b, 20_000)
    world.run_for(0.1)
    assert arrived(b) == [20_000]

    server.endpoint.disconnect(server.peer(a), "bye", world.now)
    assert not account(server, a).connected
    again = puppet(world, server, a.id)  # from another address, two seconds later
    request(again, server, b, 1)

    world.run_for(0.1)
    (refused,) = answers(again)
    assert "over the limit" in refused["error_message"]
    assert account(server, again).refused == {"rate": 1}
    assert account(server, again).datagrams == 1


def test_a_client_that_leaves_takes_what_waits_along(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=10_000)
    a, b = puppet(world, server), puppet(world, server)
    for _ in range(3):
        request(a, server, b, 6000)
    world.run_for(0.1)
    server.endpoint.disconnect(server.peer(a), "bye", world.now)
    world.run_for(5)

    assert arrived(b) == [6000]
    assert account(server, a).refused == {"gone": 2}
    assert server.endpoint.sizes()["relay_waiting_bytes"] == 0


def test_a_target_that_leaves_while_something_waits(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=10_000)
    a, b = puppet(world, server), puppet(world, server)
    request(a, server, b, 6000)
    request(a, server, b, 6000)
    world.run_for(0.1)
    server.endpoint.disconnect(server.peer(b), "bye", world.now)
    world.run_for(3)

    taken, refused = answers(a)
    assert taken["success"] is True
    assert "node not found" in refused["error_message"]
    assert account(server, a).refused == {"unknown": 1}


def test_the_accounts_of_those_who_are_gone_are_bounded(world: World) -> None:
    server = relaying(world)
    b = puppet(world, server)
    control = server.endpoint._relay_control
    for number in range(MAX_DEPARTED_CLIENTS + 10):
        client = puppet_like(server, world, number)
        control.may_tell(client, world.now)
        control._release(client, world.now)

    assert server.endpoint.sizes()["relay_clients"] == MAX_DEPARTED_CLIENTS
    assert len(server.endpoint.relays(10).clients) == 10
    assert server.is_connected_to(b)


def puppet_like(server: Host, world: World, number: int) -> Any:
    class Known:
        node_id = f"{number:08x}-0000-4000-8000-00000000abcd"

    return Known()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.floats(0.05, 1.5)), max_size=20),
    st.integers(500, 20_000),
    st.integers(1, 30_000),
)
def test_nothing_is_lost_in_silence_and_nothing_is_faster_than_the_rate(
    requests: list[tuple[int, float]], rate: int, buffer: int
) -> None:
    world = World()
    server = relaying(world, max_relay_rate_per_client=rate, buffer_size=buffer)
    a, b = puppet(world, server), puppet(world, server)
    began = world.now
    sent: list[int] = []
    for size, pause in requests:
        request(a, server, b, size)
        sent.append(size)
        world.run_for(pause)
        used = account(server, a)
        assert used.waiting_bytes <= buffer
        # A second's worth at once, and one datagram that may be larger than that.
        assert used.bytes <= rate * (world.now - began + 1) + 2 * 3000 + 100
    world.run_for(300)

    told = answers(a)
    assert len(told) == len(requests)
    passed = sum(answer["success"] for answer in told)
    got = arrived(b)
    assert len(got) == passed
    remaining = iter(sent)
    assert all(size in remaining for size in got)  # in order
    if requests:
        used = account(server, a)
        assert used.datagrams == passed
        assert sum(used.refused.values()) == len(requests) - passed
        assert used.waiting_bytes == 0


# Relays.


def test_a_relay_is_a_pair_and_closes_when_it_is_idle(world: World) -> None:
    server = relaying(world, max_concurrent_relays=1, relay_timeout=20)
    a, b, c = (puppet(world, server) for _ in range(3))
    request(a, server, b, 10)
    request(b, server, a, 10)  # the same pair
    world.run_for(10)
    assert [*answers(a), *answers(b)] == [{"success": True}] * 2
    assert server.endpoint.relays(5).pairs == ((a.id, b.id),)

    request(c, server, b, 10)
    world.run_for(1)
    (refused,) = answers(c)
    assert (
        "all 1 relays of this server are in use (max_concurrent_relays)"
        in (refused["error_message"])
    )
    assert account(server, c).refused == {"relays": 1}

    request(a, server, b, 10)  # keeps it open
    world.run_for(19)
    assert open_relays(server) == 1
    world.run_for(1.1)
    assert open_relays(server) == 0
    answers(a)
    request(c, server, b, 10)
    world.run_for(1)
    assert answers(c) == [{"success": True}]


def test_a_relay_ends_with_the_session_of_one_side(world: World) -> None:
    server = relaying(world, max_concurrent_relays=1)
    a, b, c = (puppet(world, server) for _ in range(3))
    request(a, server, b, 10)
    world.run_for(0.1)
    server.endpoint.disconnect(server.peer(b), "bye", world.now)
    assert open_relays(server) == 0

    request(a, server, c, 10)
    world.run_for(0.1)
    assert answers(a) == [{"success": True}] * 2


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(0, 4)), max_size=40),
    st.integers(1, 4),
)
def test_relays_are_never_more_than_allowed_and_all_end(
    pairs: list[tuple[int, int, float]], limit: int
) -> None:
    world = World()
    server = relaying(world, max_concurrent_relays=limit, relay_timeout=5)
    clients = [puppet(world, server) for _ in range(5)]
    used_at: dict[frozenset[int], float] = {}
    for one, other, pause in pairs:
        request(clients[one], server, clients[other], 1)
        world.run_for(0.1)
        (answer,) = answers(clients[one])
        open_now = {pair for pair, at in used_at.items() if world.now - at < 5 - 0.2}
        maybe = {pair for pair, at in used_at.items() if world.now - at < 5 + 0.2}
        pair = frozenset({one, other})
        if one != other and (pair in open_now or len(maybe) < limit):
            assert answer["success"] is True
        if answer["success"]:
            used_at[pair] = world.now
        assert open_relays(server) <= limit
        world.run_for(pause)
    world.run_for(6)
    assert open_relays(server) == 0
    held_by = server.endpoint._relay_control._relays.held_by
    assert [held_by(client.id) for client in clients] == [0] * 5


# Who.


def test_denied_nodes_are_relayed_neither_for_nor_to(world: World) -> None:
    denied = "dddddddd-0000-4000-8000-000000000000"
    server = relaying(world, deny=[denied.upper()], allow=[])
    a, b = puppet(world, server), puppet(world, server, denied)
    request(a, server, b, 1)
    request(b, server, a, 1)
    world.run_for(0.1)

    for client in (a, b):
        (refused,) = answers(client)
        assert f"does not relay for node {denied}" in refused["error_message"]
        assert account(server, client).refused == {"denied": 1}
    assert open_relays(server) == 0


def test_if_some_are_allowed_both_sides_must_be(world: World) -> None:
    listed = ["aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"]
    server = relaying(world, allow=listed)
    a, b = (puppet(world, server, node_id) for node_id in listed)
    c = puppet(world, server)
    request(a, server, b, 1)
    request(a, server, c, 1)
    request(c, server, a, 1)
    world.run_for(0.1)

    assert [answer["success"] for answer in answers(a)] == [True, False]
    assert [answer["success"] for answer in answers(c)] == [False]


def test_deny_wins(world: World) -> None:
    both = ["aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"]
    server = relaying(world, allow=both, deny=both[1:])
    a, b = (puppet(world, server, node_id) for node_id in both)
    request(a, server, b, 1)
    world.run_for(0.1)

    assert answers(a)[0]["success"] is False


@pytest.mark.parametrize("text", ["", "alice", "{aaaaaaaa-0000-4000-8000-000000000000}", "a" * 32])
def test_lists_hold_node_ids(text: str) -> None:
    with pytest.raises(ConfigError, match="a node id: a UUID"):
        World().host(allow=[text])


def test_forged_addresses_use_up_no_relays(world: World) -> None:
    """Who proved nothing gets three times its own bytes relayed, and opens no relay."""
    server = relaying(world, max_concurrent_relays=1)
    forged, b, c = world.puppet(), puppet(world, server), puppet(world, server)
    forged.answers_pings = False
    forged.join(server)
    for _ in range(50):
        request(forged, server, b, 300)
    request(c, server, b, 10)
    world.run_for(1)

    assert forged.bytes_received <= 3 * forged.bytes_sent
    assert open_relays(server) == 1
    assert answers(c) == [{"success": True}]


def test_a_victim_is_not_flooded_by_way_of_a_relay(world: World) -> None:
    """An address under which somebody else shook hands gets three times those bytes, no more."""
    server = relaying(world)
    a, victim = puppet(world, server), world.puppet()
    victim.answers_pings = False
    victim.join(server)
    for _ in range(100):
        request(a, server, victim, 300)
    world.run_for(10)

    assert victim.bytes_received <= 3 * victim.bytes_sent


# Both forms at once.


def test_one_ledger_for_both_forms(world: World) -> None:
    server = relaying(world, max_concurrent_relays=1)
    a, b = node(world, server), node(world, server)
    assert isinstance(a.outcome(ask(a, server, b)), ConnectResult)
    world.run_for(1)
    before = account(server, a).datagrams

    token = a.endpoint.relay(a.peer(server), b.id, b"12345", world.now, 5)

    assert a.outcome(token).status is SendStatus.SENT
    assert account(server, a).datagrams == before + 1
    assert account(server, a).relays == 1
    assert open_relays(server) == 1


def test_a_megabyte_at_the_rate(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=200_000)
    a, b = node(world, server), node(world, server)
    a.outcome(ask(a, server, b))
    began = world.now

    sent = a.outcome(say(a, b, "x" * 1_000_000))

    assert sent.delivered
    assert b.received() == ["x" * 1_000_000]
    # A second's worth goes at once; then 200 kB a second.
    assert 4 <= world.now - began <= 12
    assert account(server, a).bytes <= 200_000 * (world.now - began + 1) + 2000


def test_small_messages_pass_beside_each_other_at_the_rate(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=20_000)
    a, b = node(world, server), node(world, server)
    a.outcome(ask(a, server, b))
    tokens = [say(a, b, [number, "y" * 400]) for number in range(100)]

    assert all(a.outcome(token).delivered for token in tokens)
    assert sorted(payload[0] for payload in b.received()) == list(range(100))


def test_a_full_server_says_so_at_once(world: World) -> None:
    server = relaying(world, max_concurrent_relays=1, relay_timeout=600)
    a, b, c = (node(world, server) for _ in range(3))
    a.outcome(ask(a, server, b))
    began = world.now

    error = c.outcome(ask(c, server, b))

    assert isinstance(error, RemoteError)
    assert "all 1 relays of this server are in use" in str(error)
    assert world.now - began < 1
    assert account(server, c).refused["relays"] >= 1
    server.endpoint.disconnect(server.peer(a), "bye", world.now)
    assert isinstance(c.outcome(ask(c, server, b)), ConnectResult)
    assert seen(c, b).is_authenticated


def test_a_denied_node_says_why(world: World) -> None:
    denied = "dddddddd-0000-4000-8000-000000000000"
    server = relaying(world, deny=[denied])
    a, b = node(world, server), node(world, server, node_id=denied)

    error = a.outcome(ask(a, server, b))

    assert f"does not relay for node {denied}; ask its operator" in str(error)
