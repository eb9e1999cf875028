"""However much a node has to say of itself, its answer to a key exchange fits one datagram."""

from itertools import product

import msgspec
import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.secure.identity import SHORT_STATEMENT_BYTES
from p2ptui.wire.exchange import (
    LONGEST_NETWORK_BYTES,
    Account,
    InFinish,
    account_of,
    decode_finish,
    encode_inside,
)
from tests.core.relaying import ask, node, relaying, seen
from tests.core.secure.wiretap import Wiretap
from tests.simulation import Host, World

STATEMENT = bytes(range(SHORT_STATEMENT_BYTES))
NAMES = ["n" * 10, "n" * 64, "\u00e9" * 64, "\U0001f600" * 64]
NETWORKS = ["p2p_default", "x" * LONGEST_NETWORK_BYTES, "x" * 255]
# A longer node info is taken by nobody.
BOTH = [pair for pair in product(NAMES, NETWORKS) if sum(len(each.encode()) for each in pair) < 400]
cases = pytest.mark.parametrize(("name", "network"), BOTH, ids=map(str, range(len(BOTH))))
MOST = {
    "stun_server": {"enable": True},
    "traffic_forwarding": {"allow_symmetric_nat_relay": True},
    "files": {"receive_into": "somewhere"},
    "echo": "none",
}


def talkative(world: World, name: str, network: str, **options: object) -> Host:
    """A node that has all to say, and is an ephemeral one of somebody."""
    keys = world.keys(ephemeral=True, statement=lambda _: STATEMENT)
    return world.host(name=name, network_id=network, keys=keys, **MOST, **options)


@pytest.mark.parametrize("ip", ["192.0.2.1", "2001:db8:1111:2222:3333:4444:5555:6666"])
@cases
def test_the_longest_answer_fits_a_datagram(name: str, network: str, ip: str) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    asks = world.host(address=(f"{ip[:-1]}7", 65_535), network_id=network)
    answers = talkative(world, name, network, address=(ip, 65_535))
    assert isinstance(asks.outcome(asks.connect(answers)), ConnectResult)
    assert max(len(datagram.data) for datagram in tap.seen) <= 1200
    (peer,) = asks.endpoint.peers
    assert name.startswith(peer.name)
    assert len(peer.name) >= min(len(name), 16)
    assert peer.info is not None
    assert peer.info.network_id == network
    assert peer.seal is not None
    assert peer.seal.claims.ephemeral


@cases
def test_an_answer_that_a_server_brings_fits_as_well(name: str, network: str) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    server = relaying(world, network_id=network)
    one = node(world, server, network_id=network)
    keys = world.keys(ephemeral=True, statement=lambda _: STATEMENT)
    other = node(world, server, name=name, network_id=network, keys=keys, **MOST)
    assert isinstance(one.outcome(ask(one, server, other)), ConnectResult)
    world.run_for(1)
    assert seen(one, other).is_secured
    assert max(len(datagram.data) for datagram in tap.seen) <= 1200


def test_a_usual_answer_says_whose_it_is() -> None:
    world = World(secured=True)
    asks, answers = world.host(), talkative(world, "n" * 10, "p2p_default")
    asks.outcome(asks.connect(answers))
    world.run_for(1)
    (peer,) = asks.endpoint.peers
    assert peer.seal is not None
    assert peer.seal.claims.statement == STATEMENT


def test_who_asks_says_it_whatever_its_name_is() -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    asks, answers = talkative(world, NAMES[-1], NETWORKS[1]), world.host(network_id=NETWORKS[1])
    asks.outcome(asks.connect(answers))
    world.run_for(1)
    (peer,) = answers.endpoint.peers
    assert peer.seal is not None
    assert (peer.name, peer.seal.claims.statement) == (NAMES[-1], STATEMENT)
    assert max(len(datagram.data) for datagram in tap.seen) <= 1200


def test_nodes_of_another_network_with_a_long_name_stay_strangers() -> None:
    world = World(secured=True)
    one, other = world.host(network_id="x" * 255), world.host(network_id="x" * 254 + "y")
    assert not isinstance(one.outcome(one.connect(other)), ConnectResult)


def test_an_account_of_before_is_that_of_a_lasting_node() -> None:
    world = World(secured=True)
    info = world.host().endpoint.identity
    written = msgspec.msgpack.decode(encode_inside(InFinish(account_of(info, b"k" * 32))))
    assert len(written[0]) == 10
    before = msgspec.msgpack.encode([written[0][:7]])
    account = decode_finish(before).account
    assert (account.ephemeral, account.statement) == (False, b"")
    # And what is said by later ones is passed over.
    later = msgspec.msgpack.encode([[*written[0], "more"], "more"])
    assert isinstance(decode_finish(later).account, Account)
