"""A secured session goes on while addresses change, by the kernel: all comes, and once."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.natlab.rules import Kind
from tests.natlab.test_kernel_moving import replace_address, switch_route
from tests.natlab.traversal import Ground, Side, join, part
from tests.patience import PATIENCE_S

BACK_S = 2.0
"""The longest that nothing may come, beside what the machine itself stood still meanwhile."""
COUNT = 300
PER_SECOND = 60.0
MOVES_AFTER_S = 1.5
assert COUNT / PER_SECOND > MOVES_AFTER_S + BACK_S, "the stream outlasts what is allowed"

PLACES = {
    "a NAT": (Kind.PORT_RESTRICTED, Kind.OPEN),
    "a NAT with a port for each destination": (Kind.SYMMETRIC_RANDOM, Kind.OPEN),
    "NATs on both sides": (Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED),
}


@pytest.fixture(scope="module")
def ground(requires_laboratory: None) -> Iterator[Ground]:
    with Ground() as opened:
        yield opened


def new_ports(_ground: Ground, a: Side) -> None:
    """The NAT has forgotten all mappings; where ports are drawn, the next ones are others."""
    a.forget()


def new_public_address(_ground: Ground, a: Side) -> None:
    """The provider gives the NAT another address: masquerading forgets what went by the old one."""
    nat = a.nats[-1]
    other = nat.outer.rpartition(".")[0] + ".77"
    nat.ip(
        [
            f"address del {nat.outer}/24 dev wan",
            f"address add {other}/24 dev wan",
            f"route add default via {nat._line.gateway}",
        ]
    )
    nat.flush_conntrack()


MOVES = {
    "new ports": new_ports,
    "new public address": new_public_address,
    "new address of the host": replace_address,
    "new interface": switch_route,
}


def wait_for_end(side: Side, to: Side) -> dict[str, object]:
    until = time.monotonic() + PATIENCE_S
    while (seen := side.tell("report", to=to.node_id))["streaming"]:
        assert time.monotonic() < until, seen
        time.sleep(0.2)
    return seen


def stood_still_s(pause: list[float], *sides: Side) -> float:
    """How long the machine did not let the sides run while nothing came: each is waited for."""
    began, ended = pause
    times = [side.tell("stood_still", began=began, ended=ended)["seconds"] for side in sides]
    return sum(times)


@pytest.mark.parametrize("way", ["relayed", "direct"])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("kinds", PLACES.values(), ids=PLACES)
def test_300_messages_each_way_come_once_while_an_address_changes(
    ground: Ground,
    kinds: tuple[Kind, Kind],
    move: Callable[[Ground, Side], None],
    way: str,
) -> None:
    a, b = (ground.side(kind) for kind in kinds)
    join(a, b, options={"ice": {"enable": way == "direct"}})
    began = a.tell("connect", to=b.node_id, wait_s=20.0 if way == "direct" else 0.1)
    assert "error" not in began
    for side, to in ((a, b), (b, a)):
        side.tell("stream", to=to.node_id, count=COUNT, per_second=PER_SECOND)
    time.sleep(MOVES_AFTER_S)
    move(ground, a)
    seen = wait_for_end(a, b), wait_for_end(b, a)
    pauses = [report["longest_pause"] for report in seen]
    stood_still = [stood_still_s(pause, a, b) for pause in pauses]
    pauses_s = [ended - began for began, ended in pauses]
    print(way, began["path"], [round(s, 2) for s in pauses_s + stood_still])
    for report in seen:
        assert report["secured"] is True
        assert (report["delivered"], report["undelivered"]) == (COUNT, 0)
        assert (report["streamed"], report["distinct_streamed"]) == (COUNT, COUNT)
    for pause_s, still_s in zip(pauses_s, stood_still, strict=True):
        assert pause_s < BACK_S + still_s
    part(a, b)
