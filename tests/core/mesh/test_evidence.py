"""What a list is worth: one answer for all who ask, and asking changes nothing."""

from p2ptui.config import Config
from p2ptui.core.mesh.evidence import Evidence, Told, note_list, of_list
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.reassembly import ReassemblyBudget


def a_peer() -> Peer:
    channel = Channel(Config(), 1, ReassemblyBudget(1000))
    peer = Peer(("192.0.2.1", 1), channel, initiated=False, created_at=0.0)
    peer.handshakes.ask("handshake", 1)
    return peer


def test_a_list_is_doubted_once_one_of_the_peers_own_was_vouched_for() -> None:
    peer = a_peer()
    own, bare = Told([], "handshake"), Told([])
    assert not of_list(peer, bare).is_doubted
    assert of_list(peer, own).evidence is Evidence.HEARSAY, "no server that this node joined"
    assert not of_list(peer, bare).is_doubted, "asking has changed nothing"

    note_list(peer, bare)
    assert not of_list(peer, bare).is_doubted
    note_list(peer, own)
    assert of_list(peer, bare).is_doubted
    assert not of_list(peer, own).is_doubted
