"""Files of others on a disk: whole or not at all, and never over or through something else."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.errors import LocalError
from p2ptui.io import file_store
from p2ptui.io.file_store import (
    LEFT_AFTER_S,
    MAX_NUMBER,
    PART_PREFIX,
    PART_SUFFIX,
    FileNotKeptError,
    FileStore,
)

posix = pytest.mark.skipif(os.name == "nt", reason="links and permissions of POSIX")
unprivileged = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)


def store(directory: Path, max_files: int = 100, max_bytes: int = 10_000) -> FileStore:
    return FileStore(directory, max_files, max_bytes)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def no_links(source: Any, target: Any, **_: Any) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "File exists")
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture(params=["hard links", "no hard links"])
def _both_ways(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.usefixtures("_both_ways")
def test_a_file_is_kept_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = store(tmp_path).keep("notes.txt", [b"one ", b"", b"two"])
    assert path == tmp_path / "notes.txt"
    assert path.read_bytes() == b"one two"
    assert names(tmp_path) == {"notes.txt"}


def test_what_a_crash_left_is_removed_once_nobody_can_still_write_it(tmp_path: Path) -> None:
    old, new = (tmp_path / f"{PART_PREFIX}{letter}{PART_SUFFIX}" for letter in "ab")
    others = [tmp_path / name for name in (f"{PART_PREFIX}notes", f"notes{PART_SUFFIX}")]
    folder = tmp_path / f"{PART_PREFIX}folder{PART_SUFFIX}"
    folder.mkdir()
    for path in (old, new, *others):
        path.touch()
    written = new.stat().st_mtime
    for path in (old, folder, *others):
        os.utime(path, (written, written - LEFT_AFTER_S - 10))
    keeper = store(tmp_path)
    assert old.exists(), "to open a folder changes nothing: a check of the options does that, too"
    keeper.remove_left()
    assert names(tmp_path) == {path.name for path in (new, folder, *others)}


@posix
def test_a_file_has_the_permissions_of_any_new_file_and_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    mode = store(tmp_path).keep("x.sh", [b"#!/bin/sh"]).stat().st_mode
    assert stat.S_IMODE(mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    assert not mode & 0o111


@pytest.mark.usefixtures("_both_ways")
def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    keeper = store(tmp_path)
    kept = [keeper.keep("notes.txt", [b"theirs"]).name for _ in range(3)]
    assert kept == ["notes (2).txt", "notes (3).txt", "notes (4).txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


@posix
@pytest.mark.usefixtures("_both_ways")
def test_no_link_is_followed_or_replaced(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("mine")
    (inside / "a").symlink_to(outside / "secret")
    (inside / "b").symlink_to(outside / "nowhere")
    (inside / "c").symlink_to(outside)
    keeper = store(inside)
    assert [keeper.keep(name, [b"theirs"]).name for name in "abc"] == ["a (2)", "b (2)", "c (2)"]
    assert names(outside) == {"secret"}
    assert (outside / "secret").read_text() == "mine"
    assert (inside / "b").is_symlink()


def test_a_folder_of_the_name_is_no_place_to_go_into(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert store(tmp_path).keep("x", [b"1"]).name == "x (2)"
    assert names(tmp_path / "x") == set()


def test_a_name_that_differs_only_in_case_is_taken_where_the_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def insensitive(source: Any, target: Any, **options: Any) -> None:
        if Path(target).name.lower() in {name.lower() for name in names(tmp_path)}:
            raise FileExistsError(errno.EEXIST, "File exists")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", insensitive)
    (tmp_path / "Notes.TXT").write_text("mine")
    assert store(tmp_path).keep("notes.txt", [b"1"]).name == "notes (2).txt"


def test_names_of_one_kind_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for number in range(2, MAX_NUMBER + 1):
        (tmp_path / f"x ({number})").touch()
    with pytest.raises(FileNotKeptError, match="999 files have this name already"):
        store(tmp_path).keep("x", [b"1"])
    assert len(names(tmp_path)) == MAX_NUMBER


def test_the_limits_are_those_of_all_files_together(tmp_path: Path) -> None:
    keeper = store(tmp_path, max_files=2, max_bytes=10)
    keeper.keep("a", [b"123456"])
    with pytest.raises(FileNotKeptError, match=r"the limit of 10 bytes is reached \(max_bytes\)"):
        keeper.keep("b", [b"1234", b"5"])
    keeper.keep("c", [b"1234"])
    with pytest.raises(FileNotKeptError, match=r"the limit of 2 files is reached \(max_files\)"):
        keeper.keep("d", [])
    assert names(tmp_path) == {"a", "c"}


@pytest.mark.parametrize("step", ["write", "flush", "fsync"])
def test_a_full_disk_is_one_reason_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    keeper = store(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def chunks() -> Any:
        yield b"1"
        if step == "write":
            full()

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if step == "flush":
        fdopen = os.fdopen

        def without_room(number: int, mode: str) -> Any:
            file = fdopen(number, mode)
            monkeypatch.setattr(file_store.os, "fdopen", fdopen)

            class Full:
                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *_: Any) -> None:
                    file.close()

                def write(self, data: bytes) -> None:
                    file.write(data)

                def flush(self) -> None:
                    full()

            return Full()

        monkeypatch.setattr(file_store.os, "fdopen", without_room)
    with pytest.raises(FileNotKeptError, match=r"^No space left on device$"):
        keeper.keep("x", chunks())
    assert names(tmp_path) == set()
    monkeypatch.undo()
    assert keeper.keep("x", [b"1"]).name == "x"  # what failed counts for nothing


def test_a_folder_that_vanishes_is_one_reason_and_may_come_back(tmp_path: Path) -> None:
    directory = tmp_path / "in"
    directory.mkdir()
    keeper = store(directory)
    directory.rmdir()
    with pytest.raises(FileNotKeptError, match="No such file or directory"):
        keeper.keep("x", [b"1"])
    directory.mkdir()
    assert keeper.keep("x", [b"1"]).exists()


def test_the_folder_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file", "with\0null"):
        with pytest.raises(LocalError, match=r"cannot receive files into .*: ") as refused:
            store(tmp_path / name)
        assert "\n" not in str(refused.value)
    assert names(tmp_path) == {"file"}


@posix
@unprivileged
def test_a_folder_that_must_not_be_written_into(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(LocalError, match="Permission denied"):
            store(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@given(sent=st.lists(st.text(st.characters(codec=None, exclude_categories=()), max_size=300)))
def test_any_names_are_kept_side_by_side_in_the_folder(
    tmp_path_factory: pytest.TempPathFactory, sent: list[str]
) -> None:
    around = tmp_path_factory.mktemp("around")
    directory = around / "in"
    directory.mkdir()
    keeper = store(directory)
    kept = [keeper.keep(name, [str(n).encode()]) for n, name in enumerate(sent)]
    assert [path.read_bytes() for path in kept] == [str(n).encode() for n in range(len(sent))]
    assert names(directory) == {path.name for path in kept}
    assert names(around) == {"in"}


@posix
def test_a_name_of_which_many_files_are_costs_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    link = os.link

    def count(source: Any, target: Any, **options: Any) -> None:
        nonlocal tried
        tried += 1
        link(source, target, **options)

    monkeypatch.setattr(os, "link", count)
    files = store(tmp_path, max_files=5000, max_bytes=10**6)
    for _ in range(MAX_NUMBER):
        files.keep("notes.txt", [b"x"])
    assert tried <= 2 * MAX_NUMBER
    with pytest.raises(FileNotKeptError):
        files.keep("notes.txt", [b"x"])
    tried = 0
    for _ in range(2000):
        with pytest.raises(FileNotKeptError, match="999 files have this name already"):
            files.keep("notes.txt", [b"x"])
    assert tried == 0

    (tmp_path / "notes (5).txt").unlink()
    (tmp_path / "notes (7).txt").unlink()
    assert files.keep("notes.txt", [b"x"]).name == "notes (5).txt"
    assert files.keep("notes.txt", [b"x"]).name == "notes (7).txt"
    (tmp_path / "notes.txt").unlink()
    assert files.keep("notes.txt", [b"x"]).name == "notes.txt"
    with pytest.raises(FileNotKeptError):
        files.keep("notes.txt", [b"x"])


def test_names_that_are_remembered_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_store, "MAX_REMEMBERED", 2)
    files = store(tmp_path)
    for name in "abcabc":
        files.keep(name, [b"x"])
    assert names(tmp_path) == {"a", "b", "c", "a (2)", "b (2)", "c (2)"}
    assert len(files._numbers) == 2
