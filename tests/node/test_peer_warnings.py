"""Which warnings about peers there is room for, and that the others are counted."""

import asyncio
from typing import Any

import pytest

from p2ptui.node.peer_warnings import LINES_PER_SECOND, NAMED_EACH_S, UNTOLD_EACH_S, PeerWarnings
from tests.virtual_loop import run_virtual

AT = "203.0.113.9:8080"


async def impostors(warnings: PeerWarnings, count: int, named: str = "") -> None:
    """Strangers come under known names, six in a second."""
    for number in range(count):
        words = f"n{number} is not the one of before ({named})"
        warnings.changed(AT, words, is_asked=False, named=named)
        await asyncio.sleep(1 / 6)


def test_strangers_leave_room_for_whom_this_node_has_asked(caplog: Any) -> None:
    async def story() -> None:
        warnings = PeerWarnings()
        await impostors(warnings, 300)
        warnings.changed(AT, "the server", is_asked=True, named="")
        assert caplog.messages[-1] == f"{AT}: the server"
        await asyncio.sleep(UNTOLD_EACH_S)

    run_virtual(story())
    given = sum("not the one of before" in line for line in caplog.messages)
    untold = [line.split()[0] for line in caplog.messages if "were not logged" in line]
    assert given + sum(map(int, untold)) == 300, "each is told, or counted"
    assert 0 < sum(map(int, untold)) < 300
    assert len(untold) <= 300 / 6 / UNTOLD_EACH_S + 1


@pytest.mark.parametrize("of_whom", ["", "of another node that the user named"])
def test_strangers_leave_room_for_the_names_of_whom_the_user_named(
    caplog: Any, of_whom: str
) -> None:
    async def story() -> None:
        warnings = PeerWarnings()
        for round_ in range(2):
            await impostors(warnings, 60, of_whom)
            for number in range(20):  # in place of so many that the user named, all at once
                line = f"{round_} {number}"
                warnings.changed(AT, line, is_asked=False, named=f"id-{number}")
                assert caplog.messages[-1] == f"{AT}: {line}"
            await asyncio.sleep(NAMED_EACH_S)

    run_virtual(story())


def test_impostors_of_one_node_are_limited_as_well(caplog: Any) -> None:
    async def story() -> None:
        warnings = PeerWarnings()
        for number in range(100):
            warnings.changed(AT, f"{number}", is_asked=False, named="alice")
        assert len(caplog.messages) == LINES_PER_SECOND + 1
        warnings.changed(AT, "0", is_asked=False, named="bob")
        assert len(caplog.messages) == LINES_PER_SECOND + 1, "it was said before"
        warnings.tell_untold()
        assert caplog.messages[-1] == "94 more warnings about peers were not logged"
        warnings.tell_untold()
        await asyncio.sleep(2 * UNTOLD_EACH_S)
        assert len(caplog.messages) == LINES_PER_SECOND + 2

    run_virtual(story())


def test_who_asks_leaves_room_for_refusals_of_who_was_asked(caplog: Any) -> None:
    async def story() -> None:
        warnings = PeerWarnings()
        told = [
            warnings.may_refuse((f"10.0.0.{number}", 1), "x", is_asked=False)
            for number in range(50)
        ]
        assert told.count(True) == 5
        assert told.count(False) == 45
        assert warnings.may_refuse(("10.0.1.1", 1), "x", is_asked=True) is True
        assert warnings.may_refuse(("10.0.1.1", 1), "x", is_asked=True) is None
        await asyncio.sleep(UNTOLD_EACH_S)
        assert caplog.messages[-1] == "45 more warnings about peers were not logged"

    run_virtual(story())
