"""How slow this machine and its servers are: by what they do, and by nothing that others say."""

import json
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.offers import ASKS_S, LONGEST_ASK_S
from p2ptui.core.traversal.slowness import HALF_LIFE_S, LONGEST_SLOWNESS_S, Slowness
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import MessageType, P2PConnectPayload
from p2ptui.wire.offer import TraversalOffer
from tests.core.lan import OUTSIDE, SERVER, SERVER_LATENCY_S, Lan
from tests.simulation import Host

ONE, OTHER = ("198.51.100.9", 8080), ("198.51.100.10", 8080)


def delay_s(host: Host, server: Host | None = None) -> float:
    """What a node expects, seconds: of itself, and of a server."""
    address = None if server is None else server.address
    return host.endpoint.traversal.offers.slowness.delay_s(host.world.now, address)


def attempt_at(host: Host, node_id: str) -> Attempt:
    attempt = host.endpoint.traversal.offers.get(node_id)
    assert attempt is not None
    return attempt


def set_links(lan: Lan, **link: Any) -> None:
    """Of all nodes and the server."""
    for host in (*(node.address[0] for node in lan.nodes), OUTSIDE):
        for one, other in ((host, SERVER[0]), (SERVER[0], host)):
            lan.world.network.set_link(one, other, **({"latency_s": SERVER_LATENCY_S} | link))


def name(lan: Lan, host: Host, node_id: str, at: str, offer: TraversalOffer | None = None) -> None:
    """A datagram in the server's name: where a node is, and perhaps its offer."""
    about: dict[str, Any] = {
        "peer_id": node_id,
        "peer_addr": at,
        "peer_capabilities": [str(each) for each in host.endpoint.identity.capabilities],
    }
    if offer is not None:
        about["peer_offer"] = json.loads(bytes(encode_payload(offer)))
    message = json.dumps(lan.world.puppet().spec_message("P2PConnect", about)).encode()
    host.endpoint.receive_datagram(message, lan.server.address, lan.world.now)
    host.settle()


def forge(lan: Lan, host: Host) -> None:
    """An offer of a node that nobody knows, and its address once more."""
    node_id = lan.world.node_id()
    for offer in (TraversalOffer("abcdefabcdef", 16 * "p"), None):
        name(lan, host, node_id, "203.0.113.77:9", offer)
    assert host.endpoint.traversal.offers.get(node_id) is not None


# What is a delay.


def test_a_machine_that_stood_still_is_not_slow() -> None:
    slowness = Slowness()
    for delay in (3600.0, LONGEST_SLOWNESS_S + 0.001, float("inf"), 0.0, -1.0):
        slowness.note(delay, 1.0)
        slowness.note(delay, 1.0, ONE)
    assert slowness.delay_s(1.0) == slowness.delay_s(1.0, ONE) == 0.0
    assert len(slowness) == 0

    slowness.note(LONGEST_SLOWNESS_S, 2.0)
    assert slowness.delay_s(2.0) == LONGEST_SLOWNESS_S
    slowness.note(3600.0, 2.0 + HALF_LIFE_S)
    assert slowness.delay_s(2.0 + HALF_LIFE_S) == LONGEST_SLOWNESS_S / 2


def test_each_server_counts_for_itself_and_this_machine_for_all() -> None:
    slowness = Slowness()
    slowness.note(2.0, 1.0, ONE)
    assert [slowness.delay_s(1.0, each) for each in (ONE, OTHER, None)] == [2.0, 0.0, 0.0]
    slowness.note(1.0, 1.0)
    assert [slowness.delay_s(1.0, each) for each in (ONE, OTHER, None)] == [2.0, 1.0, 1.0]
    slowness.forget(ONE)
    assert slowness.delay_s(1.0, ONE) == 1.0
    assert len(slowness) == 0


# What is measured.


def test_forged_datagrams_make_nothing_slow() -> None:
    lan = Lan(2)
    node = lan.nodes[0]
    for _ in range(20):
        forge(lan, node)
        lan.world.run_for(0.3)
        assert delay_s(node, lan.server) == 0.0


@pytest.mark.parametrize("later_s", [0.0, 0.01, 0.5, 2.5])
def test_a_node_of_the_same_server_makes_nothing_slow(later_s: float) -> None:
    """It offers a path, and asks for the address as well: the server names it twice."""
    lan = Lan(2)
    one, other = lan.nodes
    server = one.peer(lan.server)
    assert server is not None
    lan.connect_all()
    lan.world.run_for(later_s)
    plain = encode_payload(P2PConnectPayload(other.id))
    for _ in range(40):
        delivery = one.endpoint.traversal.offers._delivery
        delivery.send(server, MessageType.P2P_CONNECT, plain, lan.world.now)
        one.settle()
        lan.world.run_for(0.1)
        assert [delay_s(node, lan.server) for node in lan.nodes] == [0.0, 0.0]


@pytest.mark.parametrize("late_s", [0.3, 2.0, 4.0, 4.9])
def test_what_is_said_later_is_an_answer_to_the_latest_ask_at_most(late_s: float) -> None:
    """And to none where none is out any more."""
    lan = Lan(2)
    one, other = lan.nodes
    for host in (OUTSIDE, one.address[0], other.address[0]):
        lan.world.network.partition(host, SERVER[0])
    lan.connect_all()
    lan.world.run_for(late_s)

    name(lan, one, other.id, f"{OUTSIDE}:8081")

    assert delay_s(one, lan.server) <= LONGEST_ASK_S
    assert attempt_at(one, other.id).is_served
    if late_s > ASKS_S + LONGEST_ASK_S:
        assert delay_s(one, lan.server) == 0.0


def test_a_server_that_answers_late_is_slow_and_nobody_else() -> None:
    lan = Lan(2)
    one, other = lan.nodes
    second = lan.world.host(OTHER, allow_symmetric_nat_relay=True)
    for node in lan.nodes:
        node.outcome(node.connect(second))
    set_links(lan, latency_s=0.3)
    lan.connect_all()
    lan.world.run_for(2)

    assert delay_s(one, lan.server) > 0.05
    assert delay_s(one, second) == delay_s(one) == 0.0

    lan.world.run_for(10)
    server = one.peer(lan.server)
    assert server is not None
    one.endpoint.disconnect(server, "enough", lan.world.now)
    one.settle()
    assert len(one.endpoint.traversal.offers.slowness) == 0
    assert attempt_at(one, other.id).is_served


# What is lost is not slow.


@pytest.mark.parametrize("loss", [0.1, 0.2])
@pytest.mark.parametrize("hosts", [0, 14])
def test_lost_datagrams_make_nothing_slow(loss: float, hosts: int) -> None:
    """Also where offers are so long that they are acknowledged, and sent again by themselves."""
    for seed in range(3):
        lan = Lan(12, seed=seed)
        for number, node in enumerate(lan.nodes):
            more = [(f"172.{16 + each}.0.{number + 2}", 8080) for each in range(hosts)]
            node.endpoint.traversal.offers.hosts = (node.address, *more)
        set_links(lan, loss=loss)
        lan.connect_all()
        for _ in range(40):
            lan.world.run_for(0.1)
            assert [delay_s(node, lan.server) for node in lan.nodes] == [0.0] * 12


def none(_lan: Lan) -> None:
    pass


def forged(lan: Lan) -> None:
    for node in lan.nodes:
        forge(lan, node)


@pytest.mark.parametrize(("loss", "p90_s", "most_s"), [(0.1, 0.4, 0.9), (0.2, 0.7, 1.6)])
@pytest.mark.parametrize("before", [none, forged])
def test_where_datagrams_are_lost_two_meet_as_soon_whatever_was_forged(
    before: Callable[[Lan], None], loss: float, p90_s: float, most_s: float
) -> None:
    """With forgeries nine of ten took up to 4.2 s at 10 % loss, and 7.1 s at 20 %."""
    took = sorted(time_to_direct_s(seed, loss, before) for seed in range(40))

    assert statistics.median(took) < 0.25
    assert took[36] < p90_s
    assert took[-1] < most_s


def time_to_direct_s(seed: int, loss: float, before: Callable[[Lan], None]) -> float:
    lan = Lan(2, seed=seed)
    before(lan)
    set_links(lan, loss=loss)
    began = lan.world.now
    lan.connect_all()
    lan.world.run_until(lan.all_direct, 60)
    return lan.world.now - began
