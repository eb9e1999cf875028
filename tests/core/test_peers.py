"""The peer table counts as it goes: what it says of all peers at once is what a count would say."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from p2ptui.config import Config
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.reassembly import ReassemblyBudget

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
