"""Many nodes of one LAN meet each other: directly, and at little cost to the server."""

from collections import Counter
from ipaddress import ip_network
from itertools import combinations

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.traversal.own_networks import Attached, Link, OwnNetworks
from p2ptui.errors import PeerTimeoutError
from tests.core.lan import Lan
from tests.core.meeting import Meeting
from tests.simulation import World

RELAYS = {"traffic_forwarding": {"allow_symmetric_nat_relay": True, "max_concurrent_relays": 100}}
"""One address has half of them, and all nodes of the LAN are behind one."""
ONE_RELAY = {"traffic_forwarding": {"allow_symmetric_nat_relay": True, "max_concurrent_relays": 1}}


@pytest.mark.parametrize("server", [RELAYS, ONE_RELAY], ids=["50 relays", "1 relay"])
def test_twenty_nodes_meet_in_all_pairs_without_the_relay(server: dict[str, object]) -> None:
    lan = Lan(20, server=server)
    before = lan.through_server()

    asked = lan.connect_all()
    lan.world.run_for(1)

    assert lan.direct_pairs() == 190
    outcomes = Counter(type(node.outcomes.get(token)) for node, token in asked)
    assert outcomes == {ConnectResult: 190}
    assert len(lan.server.endpoint.relays(1).pairs) == 0
    # Of each pair an offer and its answer: five datagrams, and what it means to be a peer. Of each
    # node an offer of that size for the first time, which is acknowledged both ways.
    assert lan.through_server() - before < 8 * 190 + 4 * 20


@pytest.mark.parametrize(("turn_s", "most"), [((0.2, 1.0), 3500), ((0.2, 2.0), 5000)])
def test_a_busy_machine_is_not_made_busier(turn_s: tuple[float, float], most: int) -> None:
    """Each node, and the server, waits so long for its turn; what is under way is not asked again.

    With fixed pauses it was 190 of 190 as well, but 6,334 and 6,673 packets.
    """
    lan = Lan(20, server=RELAYS, turn_s=turn_s)
    before = lan.through_server()

    asked = lan.connect_all(timeout_s=20)
    lan.world.run_for(30)

    assert lan.direct_pairs() == 190
    assert all(isinstance(node.outcomes[token], ConnectResult) for node, token in asked)
    assert lan.through_server() - before < most


def test_where_both_of_each_pair_ask_they_meet_all_the_same() -> None:
    lan = Lan(12, server=RELAYS)

    asked = lan.connect_all() + lan.connect_all(turned=True)
    lan.world.run_for(1)

    assert lan.direct_pairs() == len(lan.pairs)
    assert all(isinstance(node.outcomes[token], ConnectResult) for node, token in asked)


def test_nodes_that_no_server_has_listed_yet_need_no_relay_either() -> None:
    """The first datagrams go to the relay, which refuses most of them, and says so to each."""
    lan = Lan(20, server=ONE_RELAY)
    for node in lan.nodes:
        node.endpoint.traversal.head_start.listed_address = lambda *_: None

    asked = lan.connect_all()
    lan.world.run_for(1)

    assert lan.direct_pairs() == 190
    assert all(isinstance(node.outcomes[token], ConnectResult) for node, token in asked)


def test_with_loss_all_pairs_meet_within_seconds() -> None:
    lan = Lan(20, server=RELAYS, loss=0.05)

    lan.connect_all()
    lan.world.run_until(lan.all_direct, 5)
    assert lan.direct_pairs() == 190


@pytest.mark.parametrize("seed", range(8))
def test_with_loss_requests_may_cross_by_relay_and_directly(seed: int) -> None:
    lan = Lan(20, server=RELAYS, loss=0.1, seed=seed)

    asked = lan.connect_all() + lan.connect_all(turned=True)
    lan.world.run_until(lan.all_direct, 5)
    assert lan.direct_pairs() == 190

    outcomes = [node.outcome(token, within=5) for node, token in asked]
    assert all(isinstance(outcome, ConnectResult) for outcome in outcomes)


def test_a_lan_that_passes_nothing_between_its_hosts_is_relayed_soon() -> None:
    """A guest network, for example."""
    lan = Lan(2, server=RELAYS)
    one, other = lan.nodes
    lan.world.network.partition(one.address[0], other.address[0])
    began = lan.world.now

    ((node, token),) = lan.connect_all()
    assert isinstance(node.outcome(token), ConnectResult)

    assert lan.world.now - began < 1.2
    assert lan.direct_pairs() == 0


def test_a_call_too_short_for_the_relay_does_not_say_that_there_is_none() -> None:
    """The relay is held back, and on a busy machine the time may be over by then."""
    lan = Lan(2, server=RELAYS)
    one, other = lan.nodes
    lan.world.network.partition(one.address[0], other.address[0])

    ((node, token),) = lan.connect_all(timeout_s=0.3)
    error = node.outcome(token)

    assert isinstance(error, PeerTimeoutError)
    assert str(error).endswith("; the server relays, but there was no time left for that")


def test_where_the_server_is_on_the_lan_too_the_relay_is_held_back_all_the_same() -> None:
    """Nobody is behind the other's outside address then: it is the network that they share."""
    world = World(latency_s=0.0005)
    server = world.host(("192.168.1.1", 8080), allow_symmetric_nat_relay=True)
    nodes = [world.host((f"192.168.1.{number}", 8080)) for number in range(2, 12)]
    for node in nodes:
        offers = node.endpoint.traversal.offers
        offers.hosts = (node.address,)
        lan = ip_network("192.168.1.0/24")
        offers.own = OwnNetworks((Attached(node.address[0], lan, Link.FACING),))
        node.outcome(node.connect(server))
    world.run_for(5)

    asked = []
    for one, other in combinations(nodes, 2):
        peer = one.peer(server)
        assert peer is not None
        asked.append((one, one.endpoint.introduce(peer, other.id, world.now, 5)))
    for node in nodes:
        node.settle()
    world.run_for(0.3)

    assert all(isinstance(node.outcomes[token], ConnectResult) for node, token in asked)
    assert server.endpoint.relays(1).open == 0
    assert server.endpoint.counters.relayed == 0


def test_the_relay_is_not_held_back_for_nodes_of_other_networks() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    began = meeting.world.now

    assert isinstance(meeting.connect(), ConnectResult)

    assert meeting.world.now - began < 0.1


def test_one_that_asks_for_too_many_introductions_takes_none_from_the_others() -> None:
    lan = Lan(2, server=RELAYS)
    greedy = lan.world.puppet()
    greedy.join(lan.server)
    for _ in range(3000):
        greedy.say("P2PConnect", {"peer_id": lan.nodes[0].id}, lan.server)

    ((node, token),) = lan.connect_all()

    assert isinstance(node.outcome(token, within=0.3), ConnectResult)
    assert lan.direct_pairs() == 1
    assert lan.server.endpoint.counters.drops["introductions_limited"] >= 2700
