"""What came in a session comes in the next one again, if its Ack was lost; it counts once, wherever
its sender is by then."""

import pytest

from tests.simulation import Host, World

IN_DOUBT = {"n": 1}

dialects = pytest.mark.parametrize("secured", [True, False], ids=["secured", "open"])


def two_nodes(*, secured: bool) -> tuple[World, Host, Host]:
    """A reader, and a writer to which the reader has a session that it asked for."""
    world = World(secured=secured)
    reader, writer = world.host(), world.host()
    reader.outcome(reader.connect(writer))
    world.run_for(2)
    return world, reader, writer


def cut_back(world: World, reader: Host, writer: Host, loss: float = 1.0) -> None:
    """Nothing that the reader says arrives."""
    world.network.set_link(reader.address[0], writer.address[0], loss=loss)


def send_in_doubt(world: World, reader: Host, writer: Host) -> int:
    """The writer's message arrives, and its Ack does not."""
    cut_back(world, reader, writer)
    token = writer.send(reader, IN_DOUBT)
    world.run_until(lambda: reader.received() == [IN_DOUBT])
    return token


def send_many(world: World, reader: Host, writer: Host, count: int) -> None:
    """The writer's messages arrive, and are acknowledged."""
    for number in range(count):
        writer.send(reader, {"n": number})
    world.run_for(5)


def part(world: World, reader: Host, writer: Host) -> None:
    """The reader forgets the session, and the writer does not hear of it."""
    peer = reader.endpoint.peers.with_id(writer.id)
    assert peer is not None
    reader.endpoint.disconnect(peer, "leaving for a moment", world.now)
    reader.settle()


def expect_once(world: World, reader: Host, writer: Host, token: int) -> None:
    """It is acknowledged after all, and was delivered once."""
    result = writer.outcome(token)
    assert result.delivered
    world.run_for(5)
    assert reader.received() == [IN_DOUBT]


def test_what_came_from_where_a_session_had_moved_to_is_known_in_the_next() -> None:
    world, reader, writer = two_nodes(secured=True)
    world.move(writer)
    writer.outcome(writer.ping(reader))
    world.run_for(3)
    peer = reader.endpoint.peers.with_id(writer.id)
    assert peer is not None
    assert peer.sends_to == writer.address
    assert peer.address != writer.address, "where it was asked is kept"

    token = send_in_doubt(world, reader, writer)
    part(world, reader, writer)
    cut_back(world, reader, writer, loss=0.0)
    reader.connect(writer)
    expect_once(world, reader, writer, token)


@dialects
def test_what_came_before_its_sender_moved_is_known_in_the_next_session(secured: bool) -> None:
    world, reader, writer = two_nodes(secured=secured)
    token = send_in_doubt(world, reader, writer)
    part(world, reader, writer)
    world.move(writer)
    cut_back(world, reader, writer, loss=0.0)
    reader.connect(writer)
    expect_once(world, reader, writer, token)


@dialects
def test_what_came_is_known_in_a_session_that_this_node_asks_for_elsewhere(secured: bool) -> None:
    world, reader, writer = two_nodes(secured=secured)
    token = send_in_doubt(world, reader, writer)
    world.network.set_link(writer.address[0], reader.address[0], loss=1.0)
    world.move(writer)
    cut_back(world, reader, writer)
    assert reader.is_connected_to(writer) is False
    cut_back(world, reader, writer, loss=0.0)
    reader.connect(writer)
    expect_once(world, reader, writer, token)


def test_who_claims_an_id_in_the_open_makes_nothing_of_its_owner_forgotten() -> None:
    world, reader, writer = two_nodes(secured=False)
    token = send_in_doubt(world, reader, writer)
    part(world, reader, writer)
    claimant = world.puppet(node_id=writer.id)
    claimant.join(reader)
    reader.outcome(reader.ping(claimant))
    part(world, reader, writer)
    world.move(writer)
    cut_back(world, reader, writer, loss=0.0)
    reader.connect(writer)
    expect_once(world, reader, writer, token)


@dialects
def test_who_comes_back_again_and_again_is_remembered_once(secured: bool) -> None:
    world, reader, writer = two_nodes(secured=secured)
    send_many(world, reader, writer, 200)
    former = reader.endpoint._lifecycle._former
    for _ in range(10):
        part(world, reader, writer)
        world.move(writer)
        reader.outcome(reader.connect(writer))
        world.run_for(2)
    channels = [*former._at.values(), *(peer.channel for peer in reader.endpoint.peers)]
    memories = [*former._of.values(), *(channel.came for channel in channels)]
    assert len({id(reliable) for reliable, _ in memories if len(reliable) > 100}) == 1


def test_who_claims_an_id_and_proves_nothing_is_lent_no_memory() -> None:
    world, reader, writer = two_nodes(secured=False)
    send_many(world, reader, writer, 200)
    part(world, reader, writer)
    claimant = world.puppet(node_id=writer.id)
    claimant.answers_pings = False
    claimant.join(reader)
    peer = reader.endpoint.peers.at(claimant.address)
    assert peer is not None
    assert not peer.proved
    assert not peer.channel.has_heard
    assert len(peer.channel._reliable_ids) <= 1


def test_who_claims_an_id_of_keys_without_them_writes_in_no_memory_of_its_owner() -> None:
    world, reader, writer = two_nodes(secured=True)
    send_many(world, reader, writer, 20)
    part(world, reader, writer)
    world.remove(writer)
    kept = reader.endpoint._lifecycle._former._of[writer.id, True]
    claimant = world.puppet(node_id=writer.id)
    claimant.join(reader)
    reader.outcome(reader.ping(claimant))
    peer = reader.endpoint.peers.at(claimant.address)
    assert peer is not None
    assert all(one is not other for one, other in zip(peer.channel.came, kept, strict=True))


@dialects
def test_another_node_at_an_address_writes_in_no_memory_of_who_was_there(secured: bool) -> None:
    world, reader, writer = two_nodes(secured=secured)
    send_many(world, reader, writer, 20)
    part(world, reader, writer)
    kept = reader.endpoint._lifecycle._former._of[writer.id, secured]
    size = len(kept[0])
    world.remove(writer)
    other = world.host(writer.address)
    other.outcome(other.connect(reader))
    for number in range(20):
        other.outcome(other.send(reader, {"other": number}))
    assert len(kept[0]) == size
