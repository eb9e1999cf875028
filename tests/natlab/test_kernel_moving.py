"""A machine gets another address or another default route, and NATs that forget soon: by kernel."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.natlab.laboratory import Host
from tests.natlab.rules import Kind
from tests.natlab.traversal import Ground, Side, join, part
from tests.patience import PATIENCE_S, SLOWER


@pytest.fixture(scope="module")
def ground(requires_laboratory: None) -> Iterator[Ground]:
    with Ground() as opened:
        yield opened


LIFETIMES_S = (8, 10, 20, 30, 60)


class Idlers:
    """Nodes behind NATs that forget soon, and one that knows them; nobody says anything.

    Without heartbeats, which would keep the ways open by chance.
    """

    def __init__(self, ground: Ground) -> None:
        options = {
            "ice": {"enable": False},
            "heartbeat_interval": 3600,
            "connection_timeout": 7200,
        }
        self.sides = [ground.side(Kind.PORT_RESTRICTED) for _ in LIFETIMES_S]
        self.other = ground.side()
        for side, lifetime_s in zip(self.sides, LIFETIMES_S, strict=True):
            side.nats[0].set_mapping_timeout(lifetime_s)
        join(*self.sides, self.other, options=options)
        for side in self.sides:
            assert "error" not in self.other.tell("connect", to=side.node_id, wait_s=0.1)
        self._since = time.monotonic()

    def wait_until_idle_for(self, seconds: float) -> None:
        """The first minute teaches them."""
        time.sleep(max(self._since + seconds - time.monotonic(), 0))


@pytest.fixture(scope="module", autouse=True)
def idlers(ground: Ground) -> Iterator[Idlers]:
    """They are idle while the other tests run; of those their server would tell them."""
    with Ground(ground.laboratory) as quiet:
        begun = Idlers(quiet)
        yield begun
        part(*begun.sides, begun.other)


def reached_after_s(sender: Side, to: Side) -> float:
    """From now until a message has been delivered."""
    began, number = time.monotonic(), 100
    while time.monotonic() - began < PATIENCE_S:
        number += 1
        if sender.tell("say", to=to.node_id, number=number, timeout_s=1.0)["delivered"]:
            return time.monotonic() - began
    raise AssertionError("nothing was delivered any more")


def move_host(host: Host) -> None:
    """Another address on its interface."""
    assert host.nat is not None
    other = host.address.rpartition(".")[0] + ".77"
    host.ip(
        [
            f"address del {host.address}/24 dev eth0",
            f"address add {other}/24 dev eth0",
            f"route add default via {host.nat.lan_address}",
        ]
    )


def replace_address(_ground: Ground, a: Side) -> None:
    move_host(a.host)


def switch_route(ground: Ground, a: Side) -> None:
    nat = ground.laboratory.nat(Kind.PORT_RESTRICTED)
    _, gateway = ground.laboratory.plug_in(a.host, "eth1", nat)
    time.sleep(1.5)  # a new interface alone changes nothing
    a.host.ip([f"route replace default via {gateway} dev eth1"])


@pytest.mark.parametrize("move", [replace_address, switch_route])
def test_a_node_whose_machine_moves_is_reached_again_at_once(ground: Ground, move) -> None:
    a, b = ground.side(Kind.PORT_RESTRICTED), ground.side()
    join(a, b, options={"ice": {"enable": False}})
    assert "error" not in a.tell("connect", to=b.node_id, wait_s=0.1)

    move(ground, a)

    assert reached_after_s(b, a) <= 3.0 * SLOWER
    assert a.tell("say", to=b.node_id, number=1, timeout_s=PATIENCE_S)["delivered"]
    part(a, b)


def test_containers_that_come_and_go_disturb_nobody(ground: Ground) -> None:
    a, b = ground.side(Kind.PORT_RESTRICTED), ground.side()
    join(a, b, options={"ice": {"enable": False}})
    assert "error" not in a.tell("connect", to=b.node_id, wait_s=0.1)
    a.tell("stream", to=b.node_id, count=100, per_second=20.0)
    for number in range(20):
        bridge = f"br{number}"
        a.host.ip(
            [
                f"link add {bridge} type bridge",
                f"address add 172.20.{number}.1/24 dev {bridge}",
                f"link set {bridge} up",
            ]
        )
        a.host.ip([f"link del {bridge}"])
    until = time.monotonic() + PATIENCE_S
    while (seen := a.tell("report", to=b.node_id))["streaming"]:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert (seen["delivered"], seen["undelivered"]) == (100, 0)
    assert b.tell("report")["distinct_streamed"] == 100
    part(a, b)


def test_the_installed_program_says_that_it_has_moved(ground: Ground, tmp_path: Path) -> None:
    host = ground.laboratory.nat(Kind.PORT_RESTRICTED).host()
    log = tmp_path / "node.log"
    with log.open("w") as file:
        argv = ["p2ptui", "--no-ui", "-a", "0.0.0.0:8080", "--join", ground.server]
        process = host.start(argv, stdout=file, stderr=file)

    def wait_for(words: str, times: int = 1) -> float:
        began = time.monotonic()
        while log.read_text().count(words) < times:
            assert process.poll() is None
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.02)
        return time.monotonic() - began

    wait_for("connected: ")
    time.sleep(1.5)
    move_host(host)
    assert wait_for("this machine has moved to") <= 1.0 * SLOWER
    assert wait_for("connected: ", times=2) <= 2.0 * SLOWER


def test_an_idle_node_is_reached_through_nats_that_forget_soon(idlers: Idlers) -> None:
    """At the end of this file, so that the other tests take up most of the waiting."""
    idlers.wait_until_idle_for(max(LIFETIMES_S) + 1)
    for side in idlers.sides:
        said = idlers.other.tell("say", to=side.node_id, number=7, timeout_s=5.0)
        assert said["delivered"]
        assert said["after_s"] <= 0.1 * SLOWER
