"""What changed right after a look is seen, though the file system gives both the same time."""

import os
from pathlib import Path

from p2ptui.io.directory_change import COARSEST_S, DirectoryChange
from p2ptui.io.file_store import FileNotKeptError, FileStore


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Tick:
    """A directory whose file system gives all changes the same time, until the next one.

    Args:
        directory: Which.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._number = directory, 0
        self.keep()

    def keep(self) -> None:
        """Whatever has changed, the time is that of this tick."""
        os.utime(self._directory, ns=(self._number, self._number))

    def go_on(self) -> None:
        self._number += 1
        self.keep()


def test_a_change_at_another_time_is_seen_at_once(tmp_path: Path) -> None:
    clock, tick = Clock(), Tick(tmp_path)
    change = DirectoryChange(tmp_path, clock)
    moment = change.now()
    assert not change.is_since(moment)
    tick.go_on()
    assert change.is_since(moment)


def test_one_at_the_same_time_is_looked_for_once_more_and_no_more(tmp_path: Path) -> None:
    clock, tick = Clock(), Tick(tmp_path)
    change = DirectoryChange(tmp_path, clock)
    moment = change.now()
    (tmp_path / "new").touch()
    tick.keep()
    assert not change.is_since(moment), "each look costs something"
    clock.now += COARSEST_S
    assert change.is_since(moment)
    moment = change.now()
    clock.now += 1e6
    assert not change.is_since(moment)


def test_what_cannot_be_read_has_not_changed(tmp_path: Path) -> None:
    clock = Clock()
    change = DirectoryChange(tmp_path / "gone", clock)
    clock.now += COARSEST_S
    assert not change.is_since(change.now())
    moment = change.now()
    (tmp_path / "gone").mkdir()
    assert change.is_since(moment)


def test_a_file_taken_out_in_the_tick_of_a_refusal_gives_room_back(tmp_path: Path) -> None:
    clock, tick = Clock(), Tick(tmp_path)
    store = FileStore(tmp_path, 1, 1_000, clock=clock)
    path = store.keep("one", [b"x"])

    def keeps() -> bool:
        tick.keep()
        try:
            store.keep("two", [b"x"])
        except FileNotKeptError:
            return False
        return True

    assert not keeps()
    path.unlink()
    assert not keeps()
    clock.now += COARSEST_S
    assert keeps()
