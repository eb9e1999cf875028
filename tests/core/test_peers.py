"""The peer table counts as it goes: what it says of all peers at once is what a count would say."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.config import Config
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.reassembly import ReassemblyBudget
from p2ptui.errors import LocalError
from tests.simulation import World

ADDRESSES = st.integers(1, 4).map(lambda number: (f"10.0.0.{number}", 8080))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), ADDRESSES, st.booleans()),
        st.tuples(st.just("status"), st.integers(0, 30), st.sampled_from(PeerStatus)),
        st.tuples(st.just("initiate"), st.integers(0, 30), st.none()),
        st.tuples(st.just("remove"), st.integers(0, 30), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
def test_its_counts_are_those_of_the_peers_in_it(steps) -> None:
    table = PeerTable()
    peers: list[Peer] = []  # also those that another one has the place of, or that were removed
    budget = ReassemblyBudget(1000)
    for what, which, value in steps:
        if what == "add":
            channel = Channel(Config(), 1, budget)
            peers.append(Peer(which, channel, initiated=value, created_at=0.0))
            table.add(peers[-1])
        elif peers:
            peer = peers[which % len(peers)]
            if what == "status":
                table.set_status(peer, value)
                assert peer.status is value
            elif what == "initiate":
                table.set_initiated(peer)
                assert peer.initiated
            else:
                table.remove(peer)
        counted = Counter(peer.status for peer in table)
        assert +Counter(table.statuses) == counted
        assert all(count >= 0 for count in table.statuses.values())
        asked = [peer for peer in table if peer.initiated]
        assert sorted(map(id, table.initiated)) == sorted(map(id, asked))


def test_a_peer_for_which_there_is_no_room_is_not_entered_in_part() -> None:
    table = PeerTable(limit=1)
    first, second = (
        Peer((f"192.0.2.{n}", 1), Channel(Config(), 1, ReassemblyBudget(1000)), False, 0.0)
        for n in range(2)
    )
    table.add(first)
    with pytest.raises(LocalError, match="the peer table is full"):
        table.add(second)
    assert list(table) == [first]
    assert sum(table.statuses.values()) == 1


def test_who_has_proved_its_address_is_doubtful_no_more() -> None:
    world = World()
    server, clients = world.host(), [world.puppet() for _ in range(2)]
    for client in clients:
        client.join(server)
    peers = server.endpoint._state.peers
    assert {peer.address for peer in peers.doubtful()} == {client.address for client in clients}
    server.ping(clients[0])
    world.run_for(0.5)
    assert server.peer(clients[0]).proved
    assert list(peers._by_address.unproved()) == [clients[1].address], "at once, before it is asked"
    peers.set_initiated(server.peer(clients[1]))
    assert list(peers._by_address.unproved()) == []
