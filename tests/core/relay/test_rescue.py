"""Sessions that began without a server go on by way of one when their own way dies."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, Path, PathChanged, PeerStatus, PeerStatusChanged
from p2ptui.wire.frames import RELAYED, encode_relay
from p2ptui.wire.message import Capability
from tests.core.lan import Lan
from tests.core.relay.test_failover import Flow
from tests.core.relaying import seen
from tests.simulation import Host

GAP_S = 3.0
"""So long after a way is gone nothing arrives, at most."""
BACK_S = 10.0


class Two:
    """Two nodes of one LAN with a server outside, who talk to each other directly.

    Args:
        by: How they met: "address", or "id" (by the server, and directly all the same).
        joined: Whether both keep their session with the server.
    """

    def __init__(self, by: str = "address", *, joined: bool = True, **lan: Any) -> None:
        self.lan = Lan(2, **lan)
        self.world, (self.a, self.b) = self.lan.world, self.lan.nodes
        if by == "id":
            self.lan.connect_all()
            self.world.run_for(2)
        else:
            assert isinstance(self.a.outcome(self.a.connect(self.b.address)), ConnectResult)
        if not joined:
            for host in (self.a, self.b):
                server = host.peer(self.lan.server)
                assert server is not None
                host.endpoint.disconnect(server, "enough", self.world.now)
                host.settle()
        self.world.run_for(1)
        assert self.is_direct()

    def is_direct(self) -> bool:
        return all("@" not in peer.sends_to[0] for peer in self.peers)

    def is_relayed(self) -> bool:
        return all("@" in peer.sends_to[0] for peer in self.peers)

    @property
    def peers(self) -> list[Any]:
        return [seen(self.a, self.b), seen(self.b, self.a)]

    def cut(self) -> None:
        self.world.network.partition(self.a.address[0], self.b.address[0])

    def heal(self) -> None:
        self.world.network.heal(self.a.address[0], self.b.address[0])

    def flow(self, *, back: bool = False) -> Flow:
        one, other = (self.b, self.a) if back else (self.a, self.b)
        return Flow(one, other, per_second=20)


def ends(host: Host) -> list[PeerStatusChanged]:
    told: list[PeerStatusChanged] = host.told(PeerStatusChanged)
    return [e for e in told if e.status in (PeerStatus.DISCONNECTED, PeerStatus.FAILED)]


def assert_they_went_on(flows: Sequence[Flow], since: float) -> None:
    """What waits arrives; each message once, and none of the flows stood still for long."""
    flows[0].settle(10, *flows[1:])
    for flow in flows:
        assert flow.longest_gap_s(since) <= GAP_S
        flow.assert_each_once()


def run_both(two: Two, seconds: float, *flows: Flow) -> None:
    for _ in range(int(seconds * 20)):
        for flow in flows:
            flow.send()
        two.world.run_for(0.05)
        for flow in flows:
            flow.look()


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("seed", range(6))
def test_the_lan_fails_and_the_server_brings_each_message_once(by: str, seed: int) -> None:
    two = Two(by, seed=seed)
    flow = two.flow(back=bool(seed % 2))
    flow.run(2 + seed / 100)
    at = two.world.now
    two.cut()
    flow.run(8)
    flow.settle()

    assert flow.longest_gap_s(at) <= GAP_S
    flow.assert_each_once()
    assert two.is_relayed()
    assert ends(two.a) == ends(two.b) == []


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("seed", range(6))
def test_both_send_while_it_fails(by: str, seed: int) -> None:
    two = Two(by, seed=seed)
    flows = two.flow(), two.flow(back=True)
    run_both(two, 2, *flows)
    at = two.world.now
    two.cut()
    run_both(two, 8, *flows)
    flows[0].settle(10, flows[1])

    for flow in flows:
        flow.assert_each_once()
        assert flow.longest_gap_s(at) <= GAP_S


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("back", [False, True])
def test_where_a_tenth_is_lost_nothing_is_lost_for_good(by: str, back: bool) -> None:
    for seed in range(6):
        two = Two(by, seed=seed, loss=0.05, options={"reliability": {"max_tries": 12}})
        flow = two.flow(back=back)
        flow.run(1)
        at = two.world.now
        two.cut()
        flow.run(6)
        flow.settle()
        flow.assert_each_once()
        assert flow.longest_gap_s(at) <= GAP_S


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("down_s", [2.0, 12.0, 45.0])
def test_it_is_direct_again_soon_after_the_lan_is_back(by: str, down_s: float) -> None:
    two = Two(by)
    flow = two.flow()
    flow.run(1)
    at = two.world.now
    for _ in range(2):
        two.cut()
        flow.run(down_s)
        assert two.is_relayed() or down_s < GAP_S
        two.heal()
        flow.run(BACK_S)
        assert two.is_direct()
        for host, other in ((two.a, two.b), (two.b, two.a)):
            event = host.told(PathChanged)[-1]
            assert (event.path, event.address) == (Path.DIRECT, other.address)
    flow.settle()

    flow.assert_each_once()
    assert flow.longest_gap_s(at) <= GAP_S
    assert ends(two.a) == ends(two.b) == []


@pytest.mark.parametrize("by", ["address", "id"])
def test_an_idle_pair_moves_by_itself(by: str) -> None:
    two = Two(by)
    two.cut()
    two.world.run_for(65)

    assert two.is_relayed()
    assert ends(two.a) == ends(two.b) == []


def test_the_change_is_told_with_its_reason() -> None:
    two = Two()
    flow = two.flow()
    two.cut()
    flow.run(4)

    for host in (two.a, two.b):
        event = next(e for e in host.told(PathChanged) if e.path is Path.RELAY)
        assert event.address == two.lan.server.address
        assert event.reason


# Where there is no such way it is as if there were none.


@pytest.mark.parametrize("kind", ["not joined", "no relay", "older"])
def test_without_a_way_messages_end_as_ever(kind: str) -> None:
    server = {"allow_symmetric_nat_relay": False} if kind == "no relay" else None
    two = Two(joined=kind != "not joined", server=server)
    if kind == "older":
        for peer in two.peers:
            peer.capabilities -= {Capability.RELAY_CHECK}
    flow = two.flow()
    flow.run(1)
    two.cut()
    token = two.a.endpoint.send(seen(two.a, two.b), "lost", two.world.now)
    two.a.settle()

    outcome = two.a.outcome(token, 60)
    assert not outcome.delivered
    assert "no acknowledgement after 6 tries" in outcome.reason
    two.world.run_for(70)
    assert two.a.endpoint.peers.authenticated(two.b.id) is None
    assert two.a.endpoint.sizes()["relayed_sessions"] == 0


def test_it_costs_nothing_while_all_is_well() -> None:
    two = Two()
    before = two.lan.through_server()
    two.flow().run(20)

    assert two.lan.through_server() - before <= 20  # heartbeats
    for host in (two.a, two.b):
        assert host.endpoint.sizes()["relayed_sessions"] == 0


def test_a_little_loss_moves_nothing() -> None:
    for seed in range(4):
        two = Two(seed=seed, loss=0.05)
        flow = two.flow()
        flow.run(30)
        flow.settle()
        assert [e for e in two.a.told(PathChanged) if e.path is Path.RELAY] == []


def test_nothing_is_left_of_it() -> None:
    two = Two()
    flow = two.flow()
    flow.run(1)
    two.cut()
    flow.run(4)
    flow.settle(2)
    two.a.endpoint.disconnect(seen(two.a, two.b), "enough", two.world.now)
    two.a.settle()
    two.world.run_for(90)

    for host in (two.a, two.b):
        sizes = host.endpoint.sizes()
        assert sizes["relayed_sessions"] == sizes["relayed_nodes"] == sizes["servers_doubted"] == 0
        assert host.endpoint._state.detours == {}
        assert len(host.endpoint.peers.relayed) == 0


# Whom to believe.


def test_nobody_else_moves_a_session() -> None:
    """Neither a server that answers what it is asked, nor who forges errors in a peer's name."""
    two = Two()
    liar = two.world.puppet()
    peer = seen(two.a, two.b)
    for handshake in ("guessed", two.a.id, peer.handshake_heard):
        for answer in (False, True):
            check = {"nonce": "n", "handshake": handshake, "answer": answer, "use": True}
            inside = json.dumps(liar.spec_message("RelayCheck", check)).encode()
            frame = encode_relay(RELAYED, uuid.UUID(two.b.id).bytes, inside)
            two.a.endpoint.receive_datagram(frame, two.lan.server.address, two.world.now)
            two.a.settle()
    error = {"error": "who are you?", "code": "unauthenticated"}
    for _ in range(50):
        data = json.dumps(liar.spec_message("Error", error)).encode()
        two.a.endpoint.receive_datagram(data, two.b.address, two.world.now)
        two.a.settle()
        two.world.run_for(0.1)

    assert two.is_direct()
    assert two.a.endpoint.sizes()["relayed_sessions"] == 0
    assert two.a.endpoint.counters.drops["relay_check_refused"] == 6
    flow = two.flow()
    flow.run(1)
    flow.settle(1)
    flow.assert_each_once()


def test_a_node_that_began_anew_is_answered_where_it_asks() -> None:
    """The session had gone on by the server, of which its new process need know nothing."""
    two = Two()
    flow = two.flow()
    two.cut()
    flow.run(4)
    assert two.is_relayed()
    two.world.remove(two.a)
    two.heal()
    heir = two.world.host(two.a.address, two.a.id)
    heir.endpoint._state.rng.seed("another process")

    assert isinstance(heir.outcome(heir.connect(two.b.address)), ConnectResult)
    two.world.run_for(0.5)  # its Ack shows that it is there
    assert "@" not in seen(heir, two.b).sends_to[0]
    assert "@" not in seen(two.b, heir).sends_to[0]


@pytest.mark.parametrize("seed", range(4))
def test_the_server_fails_too_and_the_lan_is_back(seed: int) -> None:
    two = Two(seed=seed)
    flow = two.flow(back=bool(seed % 2))
    flow.run(1)
    two.cut()
    flow.run(4)
    assert two.is_relayed()
    two.world.remove(two.lan.server)
    two.heal()
    flow.run(2)
    flow.settle(90)

    assert two.is_direct()
    assert ends(two.a)[1:] == ends(two.b)[1:] == []  # that of the server
