"""The roster: everybody a node knows, sorted and found without a snapshot of each."""

import asyncio

import pytest

from p2ptui.errors import UnknownPeerError
from p2ptui.node import OtherNode, PeerView
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
def test_the_order_is_total_and_can_be_turned_round(by):
    async def story(stage: Stage) -> None:
        await three(stage)
        roster = stage.alice.roster
        keys = roster.order(by)
        assert roster.order(by, descending=True) == keys[::-1]
        assert len(set(keys)) == len(keys)

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
