"""The attacks that open sessions withstand, on secured ones: they change even less.

The stories are those of the other files, told again with nodes that have keys. What follows them
is asserted of secured sessions only: where little was obeyed or answered, nothing is.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from p2ptui.core.events import ErrorReceived, PeerStatusChanged
from p2ptui.core.messages import ROWS
from p2ptui.core.peers import Peer
from tests.attacks.attacker import Attacker, Ledger
from tests.attacks.hostile import Words, messages
from tests.attacks.test_forged_names import (  # noqa: F401
    test_a_list_forged_in_a_servers_name_moves_no_name,
    test_a_servers_word_does_not_move_a_direct_peer,
    test_nobody_speaks_in_the_name_of_a_direct_peer,
)
from tests.attacks.test_orders import (  # noqa: F401
    Watch,
    named,
    offer,
    test_a_crowd_of_forged_searches_is_worth_three_checks_each,
    test_a_forged_answer_to_this_nodes_own_search_is_worth_three_checks,
    test_a_forged_offer_ends_no_path,
    test_an_introduction_does_not_turn_a_search_aside,
)
from tests.attacks.test_purses import (  # noqa: F401
    test_a_forged_frame_releases_nothing,
    test_anything_in_any_order,
)
from tests.attacks.test_sessions import (  # noqa: F401
    test_a_forged_claim_moves_no_session_though_the_owner_hears_nothing,
    test_a_forged_request_costs_a_session_nothing,
    test_a_node_of_ours_is_reached_among_forged_answers,
    test_an_owner_gets_in_while_its_old_address_is_forged,
    test_an_owner_that_is_restarted_gets_in_meanwhile,
    test_at_whatever_rate,
    test_claims_from_many_addresses_do_not_keep_an_owner_out,
    test_with_the_message_id_of_the_owners_request,
)
from tests.attacks.test_shared_tables import (
    test_a_flood_of_forged_handshakes_hurts_nobody as flood_story,
)
from tests.attacks.test_shared_tables import (
    test_an_office_that_is_restarted_is_in_again_at_once as office_story,
)
from tests.core.meeting import Meeting
from tests.core.secure.test_secured_nodes import peer_of
from tests.simulation import Host, World


@pytest.fixture(autouse=True)
def secured(monkeypatch: pytest.MonkeyPatch) -> None:
    """All nodes of a world have keys, unless they are deployed ones."""
    monkeypatch.setattr(World, "secured", True)


@pytest.fixture(name="world")
def secured_world(secured: None) -> World:
    return World()


def pair(world: World) -> tuple[Host, Host]:
    server, client = world.host(allow_symmetric_nat_relay=True), world.host()
    client.outcome(client.connect(server))
    world.run_for(2)
    assert peer_of(server, client).is_secured
    return server, client


def answers_to(node: Host, source: Any, data: bytes) -> list[Any]:
    """What leaves a node at once when it is sent a datagram."""
    node.settle()
    node.endpoint.receive_datagram(data, source, node.world.now)
    return node.endpoint.datagrams_to_send(node.world.now)


def hostile(host: Host, other: Host) -> Iterator[bytes]:
    """Messages of every type, as whoever knows all ids and addresses writes them."""
    rng = host.endpoint._state.rng
    words = Words([other.id, host.id], [other.address, ("203.0.113.99", 53)], rng)
    for row in ROWS:
        for case in messages(row, words):
            yield case.data


@pytest.mark.parametrize("at", [0, 1], ids=["at who answered", "at who asked"])
def test_no_message_in_a_peers_name_is_answered_or_obeyed(at: int) -> None:
    """Lists and routes were the dear ones: 59 and 91 times their bytes. It is nothing now."""
    world = World()
    hosts = pair(world)
    node, other = hosts[at], hosts[1 - at]
    told, drops = len(node.events), node.endpoint.counters.drops
    counted = 0
    for data in hostile(node, other):
        is_request = json.loads(data).get("message_type") == "HandshakeRequest"
        answers = answers_to(node, other.address, data)
        if is_request and answers:
            continue  # with a key exchange: a node that was restarted says the same
        assert answers == [], data
        counted += 1
    assert counted > 300
    assert drops["unsealed"] + drops["malformed"] + drops["junk"] >= counted * 0.9
    world.run_for(5)
    assert node.events[told:] == []
    assert node.outcome(node.send(other, "hello")).delivered


@pytest.mark.parametrize("kind", ["P2PConnect", "NatProbe", "introductions"])
def test_an_order_forged_in_a_servers_name_sends_nothing_to_anybody(kind: str) -> None:
    """It was worth three datagrams each."""
    meeting = Meeting("full-cone")
    assert peer_of(meeting.a, meeting.server).is_secured
    watch = Watch(meeting, meeting.a)
    for number in range(100):
        about: Any = named(meeting, meeting.b.id, 1000 + number, peer_offer=offer(f"u{number:05}"))
        if kind == "NatProbe":
            about = {"tag": f"{number:024x}", "address": f"203.0.113.5:{1000 + number}"}
        elif kind == "introductions":
            about = {
                "peer_id": meeting.world.node_id(),
                "peer_addr": f"203.0.113.5:{1000 + number}",
            }
        watch.order("NatProbe" if kind == "NatProbe" else "P2PConnect", about)
        meeting.world.run_for(0.05)
    meeting.world.run_for(60)

    assert watch.third.datagrams == 0


@pytest.mark.parametrize("names", ["nothing", "a handshake that was seen"])
def test_forged_goodbyes_end_no_session_where_a_fifth_is_lost(names: str) -> None:
    """In the open 8 of 20 ended once by those that name nothing, and each by the others."""
    for seed in range(20):
        world = World(seed, latency_s=0.03)
        server, client = pair(world)
        before = peer_of(server, client), peer_of(client, server)
        for host in (server, client):
            for other in (server, client):
                if host is not other:
                    world.network.set_link(host.address[0], other.address[0], loss=0.2)
        attacker = Attacker(world)
        for _ in range(6):
            for host, other, peer in ((server, client, before[0]), (client, server, before[1])):
                pen = attacker.in_the_name_of(other.address, other.id)
                said = list(peer.handshake_said)[-1] if names != "nothing" else None
                payload = {"reason": "gone", "handshake": said} if said else {"reason": "gone"}
                attacker.forge(other.address, host, pen.spec_message("Disconnect", payload))
            world.run_for(1)
        assert (peer_of(server, client), peer_of(client, server)) == before
        assert not [e for host in (server, client) for e in host.told(ErrorReceived)]
        assert all(len(host.told(PeerStatusChanged)) <= 4 for host in (server, client))


def test_what_is_sent_back_to_its_sender_is_nothing_to_it() -> None:
    world = World()
    server, client = pair(world)
    said: list[bytes] = []
    send = world.network.send

    def noted(data: bytes, source: Any, to: Any, *more: Any, **how: Any) -> Any:
        if source == client.address:
            said.append(bytes(data))
        return send(data, source, to, *more, **how)

    world.network.send = noted  # type: ignore[method-assign]
    for number in range(10):
        client.outcome(client.send(server, number))
    assert len(said) == 10
    events, peer = len(client.events), peer_of(client, server)
    for data in list(said):
        # It is of no session here: that is told, and nothing to the other one either.
        ((answer, to),) = answers_to(client, server.address, data)
        assert (answer, to) == (b"\xe2" + data[1:13], server.address)
        server.endpoint.receive_datagram(answer, client.address, world.now)
    world.run_for(3)
    assert client.events[events:] == []
    assert server.endpoint.counters.drops["unknown_session"] == len(said)
    assert peer_of(client, server) is peer
    assert client.received() == []


def requests_in_the_name_of(world: World, victim: Any, node: Host) -> tuple[int, int]:
    """Key exchanges asked for in the name of somebody else: bytes to the node, and to that one."""
    stranger = world.host()
    seen: list[bytes] = []
    send = world.network.send

    def noted(data: bytes, source: Any, to: Any, *more: Any, **how: Any) -> Any:
        if source == stranger.address:
            seen.append(bytes(data))
            return None
        return send(data, source, to, *more, **how)

    world.network.send = noted  # type: ignore[method-assign]
    ledger = Ledger(node)
    attacker = Attacker(world)
    for _ in range(20):
        stranger.connect(node, timeout_s=0.3)
        world.run_for(0.5)
        attacker.forge(victim, node, seen[-1])
        # And what a restarted node of that address is said to have sent.
        attacker.forge(victim, node, b"\xe0" + seen[-1][:40])
        world.run_for(0.1)
    account = ledger.of(victim)
    return account.came.size, account.went.size


def test_a_third_party_is_sent_three_times_its_bytes_at_most() -> None:
    """By message 2 and by "unknown session"."""
    world = World()
    node = world.host()
    came, went = requests_in_the_name_of(world, ("203.0.113.99", 53), node)
    assert came
    assert 0 < went <= 3 * came
    assert not list(node.endpoint.peers)


def test_a_secured_peer_is_sent_three_times_the_bytes_in_its_name_at_most() -> None:
    world = World()
    server, client = pair(world)
    before: tuple[Peer, Peer] = (peer_of(server, client), peer_of(client, server))
    quiet = Ledger(server)
    world.run_for(12)
    usual = quiet.of(client).went.size
    came, went = requests_in_the_name_of(world, client.address, server)
    assert went - usual <= 3 * came
    assert (peer_of(server, client), peer_of(client, server)) == before
    assert client.outcome(client.send(server, "hello")).delivered


# Seats.


def test_a_newcomer_with_keys_gets_a_seat_from_those_who_show_nothing() -> None:
    """It was refused at once where a flood of forged handshakes had taken all seats."""
    flood_story(1000, False)


@pytest.mark.parametrize("count", [1, 20])
def test_an_office_with_keys_that_is_restarted_is_in_again_at_once(count: int) -> None:
    """It was refused until its former sessions had timed out."""
    office_story("own", 60, count)
