"""The server that relays dies: the other one that both nodes joined takes over."""

import time
from collections.abc import Iterator

import pytest

from tests.natlab.laboratory import Laboratory
from tests.natlab.rules import Kind
from tests.natlab.traversal import Ground, Side
from tests.patience import PATIENCE_S, SLOWER

TAKEN_OVER_S = 3.0 * SLOWER


@pytest.fixture
def grounds(requires_laboratory: None) -> Iterator[tuple[Ground, Ground]]:
    """Two servers on one public network."""
    with Laboratory() as laboratory, Ground(laboratory) as one, Ground(laboratory) as other:
        yield one, other


def wait_until_joined(sides: list[Side], server_count: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while any(side.tell("report")["servers"] < server_count for side in sides):
        assert time.monotonic() < until, "a server was not joined"
        time.sleep(0.1)


def test_the_next_message_goes_by_the_other_server(grounds: tuple[Ground, Ground]) -> None:
    one, other = grounds
    kinds = Kind.SYMMETRIC_RANDOM, Kind.ADDRESS_DEPENDENT
    sides = [one.side(kind) for kind in kinds]
    for side in sides:
        side.start(facts=False, options={"join": [other.server], "ice": {"enable": False}})
    assert [answer for side in sides if "error" in (answer := side.end())] == []
    wait_until_joined(sides, 2)
    a, b = sides
    outcome = a.tell("connect", to=b.node_id, wait_s=0.1)
    assert outcome["delivered"], outcome
    before = a.tell("report", to=b.node_id)
    (used,) = [ground for ground in grounds if ground.server == before["by"]]
    (left,) = [ground for ground in grounds if ground is not used]

    used.node.kill()
    used.node.wait()
    said = a.tell("say", to=b.node_id, number=3, timeout_s=PATIENCE_S)

    assert said["delivered"], said
    assert said["after_s"] <= TAKEN_OVER_S
    for here, there in ((a, b), (b, a)):
        after = here.tell("report", to=there.node_id)
        assert (after["path"], after["by"]) == ("relay", left.server)
    for side in sides:
        side.tell("stop")
