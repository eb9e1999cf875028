"""What takes long begins first, and what waits runs beside what computes."""

from collections import OrderedDict
from pathlib import Path

import pytest

from tests.distribution import BUSY_S, WAITING_S, LongestFirst, next_file, workers

ROOT = Path(__file__).parents[1]
WAITS = "tests/natlab/test_kernel_moving.py"
COMPUTES = "tests/tui/test_properties.py"


@pytest.mark.parametrize("file", [*WAITING_S, *BUSY_S])
def test_files_that_are_named_are_there(file: str) -> None:
    assert (ROOT / file).is_file()


def test_a_file_is_named_once() -> None:
    assert not WAITING_S.keys() & BUSY_S.keys()


def test_there_are_processes_for_those_that_wait() -> None:
    assert workers(2) == 4


@pytest.mark.parametrize(("waits", "first"), [(True, WAITS), (False, COMPUTES)])
def test_the_longest_of_its_sort_is_first(waits: bool, first: str) -> None:
    quick = [("tests/quick.py", 3), ("tests/interop/test_stun_of_others.py", 9)]
    assert next_file([*quick, (WAITS, 1), (COMPUTES, 1), *quick], waits=waits) == first


@pytest.mark.parametrize("waits", [True, False])
def test_where_there_is_none_of_its_sort_the_other_is_taken(waits: bool) -> None:
    other = COMPUTES if waits else WAITS
    assert next_file([(other, 1)], waits=waits) == other


def test_of_equals_the_one_that_was_collected_first_is_first() -> None:
    """A plugin that shuffles the files decides by that."""
    names = ["tests/b.py", "tests/a.py", "tests/c.py"]
    assert next_file([(name, 10) for name in names], waits=False) == names[0]
    assert next_file([(name, 10) for name in reversed(names)], waits=False) == names[-1]


def test_of_files_that_are_not_named_more_tests_take_longer() -> None:
    assert next_file([("tests/few.py", 3), ("tests/many.py", 300)], waits=False) == "tests/many.py"


@pytest.mark.parametrize(
    ("left", "died_of", "waiting"),
    [
        ({"b": False, "c": False}, "b", {"file": {"a": True, "b": True, "c": False}}),
        ({"b": False}, "b", {}),
        ({}, None, {}),
    ],
)
def test_of_a_process_that_died_others_get_what_it_has_not_done(
    left: dict[str, bool], died_of: str | None, waiting: dict[str, dict[str, bool]]
) -> None:
    scheduler = object.__new__(LongestFirst)
    work = {"done": {"x": True}, "file": {"a": True, **left}}
    scheduler.assigned_work, scheduler.workqueue = OrderedDict(node=work), OrderedDict()
    assert scheduler.remove_node("node") == died_of
    assert scheduler.workqueue == waiting
