"""What is remembered of nodes that are reached by way of others."""

from p2ptui.core.mesh.contacts import MAX_CONTACTS, Contacts
from p2ptui.node.others import find_others
from tests.simulation import World


def test_only_the_latest_are_remembered():
    contacts = Contacts()
    for number in range(MAX_CONTACTS + 1):
        contacts.note_sent(str(number))
    assert contacts.get("0") is None
    contacts.note_received("1", 5.0)
    contacts.note_sent("new")
    assert contacts.get("2") is None
    contact = contacts.get("1")
    assert contact is not None
    assert (contact.messages_in, contact.messages_out, contact.last_received) == (1, 1, 5.0)


def test_a_node_behind_a_server_has_its_round_trip_and_when_it_was_heard():
    world = World()
    server, alice, bob = (world.host(name=name) for name in ("server", "alice", "bob"))
    alice.outcome(alice.connect(server))
    bob.outcome(bob.connect(server))
    world.run_for(3)
    (before,) = find_others(alice.endpoint, world.now)
    assert (before.messages_in, before.messages_out, before.rtt_ms) == (0, 0, None)
    token = alice.endpoint.ping_routed(bob.id, world.now, 5.0)
    alice.settle()
    rtt_s = alice.outcome(token).rtt_s
    world.run_for(7)
    (node,) = find_others(alice.endpoint, world.now)
    assert (node.messages_in, node.messages_out) == (1, 1)
    assert node.rtt_ms == rtt_s * 1000
    assert node.last_received_ago_s is not None
    assert 6.9 <= node.last_received_ago_s <= 7.1
