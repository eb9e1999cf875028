"""Two secured nodes ask each other at once: both end up with the same keys, whatever is lost."""

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged
from p2ptui.secure.frames import MESSAGE_3
from p2ptui.wire.address import Address
from tests.core.lan import Lan
from tests.core.secure.wiretap import Seen, Wiretap
from tests.core.sessions.test_crossing import RELAYS, Losses, ask, check_is_one_session
from tests.simulation import Host, World


class SealedLan(Lan):
    """A LAN whose nodes, and the server, have keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(World, "secured", True)
        super().__init__(2, server=RELAYS)


@pytest.mark.parametrize("directly", [True, False], ids=["direct", "by way of the server"])
@pytest.mark.parametrize("first", [0, 1], ids=["larger asks directly", "smaller asks directly"])
@pytest.mark.parametrize("lost", range(9, 27))
def test_of_two_exchanges_by_two_ways_both_use_one(
    lost: int, first: int, directly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last message of the better exchange may be lost, and the session has moved to another
    way before it is sent again."""
    lan = SealedLan(monkeypatch)
    one, other = lan.nodes[first], lan.nodes[1 - first]
    Losses(lan, (lost,), directly)

    tokens = [
        (one, ask(one, other, lan, is_listed=True)),
        (other, ask(other, one, lan, is_listed=False)),
    ]
    lan.world.run_for(3.5)

    check_is_one_session(lan, tokens)


def use_the_same_keys(one: Host, other: Host) -> bool:
    """Whether each opens what the other seals with the keys that it uses itself."""
    mine, theirs = (
        node.endpoint.peers.with_id(peer.id).seal.session.current
        for node, peer in ((one, other), (other, one))
    )
    return mine.keys.send == theirs.keys.receive


@pytest.mark.parametrize("later_s", [0.0, 0.005, 0.01, 0.015, 0.25, 0.49])
@pytest.mark.parametrize("lost", [None, *range(12)])
def test_two_direct_exchanges_that_cross_end_with_one_set_of_keys(
    lost: int | None, later_s: float
) -> None:
    world = World(secured=True)
    one, other = world.host(), world.host()
    count = -1

    def lose(
        _data: bytes, source: Address, destination: Address, _now: float
    ) -> tuple[Address, Address] | None:
        nonlocal count
        count += 1
        return None if count == lost else (source, destination)

    world.network.translate = lose
    tokens = [(one, one.connect(other))]
    world.run_for(later_s)
    tokens.append((other, other.connect(one)))

    for node, token in tokens:
        assert isinstance(node.outcome(token), ConnectResult)
    for pause_s in (0.0, 12.0, 70.0):
        world.run_for(pause_s)
        for node, peer in ((one, other), (other, one)):
            assert node.outcome(node.send(peer, pause_s)).delivered
    for node in (one, other):
        assert node.received() == [0.0, 12.0, 70.0]
    assert use_the_same_keys(one, other)


@pytest.mark.parametrize("smaller_first", [True, False])
@pytest.mark.parametrize("later_s", [0.011, 0.012, 0.015, 0.019])
def test_a_last_message_that_comes_late_begins_no_other_session(
    later_s: float, smaller_first: bool
) -> None:
    """Who asked second is heard in the session of the first request before its own is complete."""
    world = World(secured=True, latency_s=0.01)
    one, other = sorted((world.host(), world.host()), key=lambda host: host.id)
    if not smaller_first:
        one, other = other, one
    tap, late = Wiretap(world), set[Address]()

    def lose_first(seen: Seen) -> bytes | None:
        if seen.data[:1] != bytes((MESSAGE_3,)) or seen.source in late:
            return seen.data
        late.add(seen.source)
        return None

    tap.rules.append(lose_first)
    tokens = [(one, one.connect(other))]
    world.run_for(later_s)
    tokens.append((other, other.connect(one)))
    for node, token in tokens:
        assert isinstance(node.outcome(token), ConnectResult)
    world.run_for(5)

    assert len(late) == 2
    for node in (one, other):
        states = [told.status for told in node.told(PeerStatusChanged)]
        assert states.count(PeerStatus.AUTHENTICATED) == 1
        assert states[-1] is PeerStatus.AUTHENTICATED
    assert use_the_same_keys(one, other)
