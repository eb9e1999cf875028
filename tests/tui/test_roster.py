"""The roster: everybody a node knows, sorted and found without a snapshot of each."""

import asyncio

import pytest

from p2ptui.errors import UnknownPeerError
from p2ptui.node import OtherNode, PeerView, Roster
from p2ptui.node import roster as roster_module
from p2ptui.node.roster import RANKS
from tests.tui.stage import Stage, play


async def three(stage: Stage) -> None:
    """Alice with a server, a direct friend, and somebody behind the server."""
    stage.alice = await stage.node("alice", "10.0.0.1")
    server = await stage.node("server", "10.0.0.9")
    zoe = await stage.node("zoe", "10.0.0.8")
    await zoe.connect("10.0.0.9:8080")
    await stage.alice.connect("10.0.0.9:8080")
    await stage.friend("bob", 2)
    await stage.alice.discover(server.id)
    await asyncio.sleep(3)


def test_peers_and_those_behind_them_are_all_there():
    async def story(stage: Stage) -> None:
        await three(stage)
        roster = stage.alice.roster
        nodes = [roster.look(key) for key in roster.order()]
        assert len(roster) == len(nodes) == 3
        assert {type(node) for node in nodes} == {PeerView, OtherNode}
        (zoe,) = [node for node in nodes if isinstance(node, OtherNode)]
        assert zoe.node_id not in {peer.node_id for peer in stage.alice.peers}
        assert roster.connected == 2
        assert [server.name for server in roster.servers()] == ["server"]
        assert zoe.node_id in set(roster.names())
        assert roster.name_at(("10.0.1.2", 8080)) == "bob"
        assert roster.name_at(("10.9.9.9", 1)) == ""

    play(story)


@pytest.mark.parametrize("by", RANKS)
def test_the_order_is_total_and_ties_stay_in_it_when_it_is_turned_round(by):
    async def story(stage: Stage) -> None:
        await three(stage)
        roster = stage.alice.roster
        keys = roster.order(by)
        ranks = {key: rank_of(roster, key, by) for key in keys}
        assert keys == sorted(sorted(keys), key=ranks.get)
        assert roster.order(by, descending=True) == sorted(
            sorted(keys), key=ranks.get, reverse=True
        )
        assert len(set(keys)) == len(keys) == 3

    play(story)


def rank_of(roster: Roster, key: str, by: str) -> object:
    of_peer, of_other = RANKS[by]
    peer = roster._endpoint.peers.with_id(key)
    return of_peer(peer) if peer is not None else of_other(roster._others[key])


def test_nodes_of_equal_rank_stand_alike_in_both_directions():
    async def story(stage: Stage) -> None:
        await three(stage)
        roster = stage.alice.roster
        first, second, other = roster.order("path")
        assert roster.order("path", descending=True) == [other, first, second]

    play(story)


def test_the_order_of_many_is_made_in_parts_and_peers_may_leave_meanwhile(monkeypatch):
    monkeypatch.setattr(roster_module, "PART", 1)

    async def story(stage: Stage) -> None:
        await three(stage)
        roster = stage.alice.roster
        steps = roster.order_in_parts()
        assert next(steps) == []
        await stage.alice.disconnect("bob")
        assert stage.alice.roster.connected == 1
        parts = list(steps)
        assert len(parts) > 2
        assert len(parts[-1]) == 3
        assert all(part == [] for part in parts[:-1])
        assert roster.order() == list(roster.order_in_parts())[-1]

    play(story)


def test_a_round_trip_is_told_without_a_snapshot():
    async def story(stage: Stage) -> None:
        await three(stage)
        roster = stage.alice.roster
        await stage.alice.ping(roster.find("bob").node_id)
        bob = roster.find("bob")
        assert roster.rtt_ms(bob.node_id) == bob.rtt_ms > 0
        assert roster.rtt_ms("nobody") is None

    play(story)


def test_a_node_is_found_by_id_prefix_name_and_address():
    async def story(stage: Stage) -> None:
        await three(stage)
        roster = stage.alice.roster
        bob = roster.find("bob")
        for text in (bob.node_id, bob.node_id.upper(), bob.node_id[:8], "10.0.1.2:8080"):
            assert roster.find(text).node_id == bob.node_id
        (zoe,) = [key for key in roster.order() if isinstance(roster.look(key), OtherNode)]
        assert roster.find(zoe).node_id == zoe
        assert roster.find(zoe[:8]).node_id == zoe
        for text in ("nobody", "10.9.9.9:1", ""):
            with pytest.raises(UnknownPeerError):
                roster.find(text)
        assert roster.order(containing="BO") == [bob.node_id]
        assert roster.order(containing="10.0.1.2") == [bob.node_id]
        assert roster.look("gone") is None
        assert roster.look("1.2.3.4:99999") is None

    play(story)


def test_a_peer_without_a_name_yet_is_known_by_its_address():
    async def story(stage: Stage) -> None:
        stage.alice = await stage.node("alice", "10.0.0.1")
        call = asyncio.ensure_future(stage.alice.connect("10.0.0.77:8080", 1.0))
        await asyncio.sleep(0.1)
        roster = stage.alice.roster
        assert roster.order() == ["10.0.0.77:8080"]
        assert roster.look("10.0.0.77:8080").address == ("10.0.0.77", 8080)
        await asyncio.wait([call])
        assert call.exception() is not None
        assert roster.order() == []

    play(story)
