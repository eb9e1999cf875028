"""Room for the files of others: one sender has a part of it, and what has gone gives some back."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2ptui.io
from p2ptui.bounded import Shares
from p2ptui.errors import LocalError
from p2ptui.io import file_room
from p2ptui.io.directory_change import COARSEST_S
from p2ptui.io.file_room import FileSender
from p2ptui.io.file_store import FileNotKeptError, FileStore


def refusal(keeper: FileStore, name: str, content: bytes, sender: FileSender | None) -> str:
    """Why a file is not kept."""
    with pytest.raises(FileNotKeptError) as refused:
        keeper.keep(name, [content], sender)
    return str(refused.value)


def kept(keeper: FileStore, senders: Iterator[FileSender | None] | list[FileSender | None]) -> int:
    """How many files of senders are kept, one after the other, until one is not."""
    for number, sender in enumerate(senders):
        try:
            keeper.keep(f"{number} of {sender}", [b"x"], sender)
        except FileNotKeptError:
            return number
    return len(list(senders))


class Clock:
    """One that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def at(host: str, node_id: str = "") -> FileSender:
    return FileSender(node_id or host, host)


def test_one_sender_has_half_and_the_rest_is_for_others(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 20, 10_000)
    mallory = at("127.0.0.75", "mallory")
    assert kept(keeper, [mallory] * 20) == 10
    assert refusal(keeper, "x", b"", mallory) == (
        "the share of one sender, 10 of 20 files, is used up (max_files)"
    )
    assert keeper.keep("of-bob", [b"x"], at("127.0.0.78", "bob")).exists()


def test_an_address_with_many_names_has_half_and_a_site_little_more(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 20, 10_000)
    assert kept(keeper, [at("203.0.113.1", str(n)) for n in range(20)]) == 10
    assert "one address" in refusal(keeper, "x", b"", at("203.0.113.1", "new"))
    assert kept(keeper, [at(f"203.0.113.{n}") for n in range(2, 20)]) == 1
    assert "one network, 11 of 20" in refusal(keeper, "x", b"", at("203.0.113.99"))
    assert keeper.keep("of-bob", [b"x"], at("198.51.100.1")).exists()


def test_all_strangers_leave_room_for_the_trusted(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 20, 10_000)
    assert kept(keeper, [at(f"198.51.{n}.1") for n in range(20)]) == 15
    assert "all who are not trusted" in refusal(keeper, "x", b"", at("198.51.100.1"))
    assert kept(keeper, [None] * 20) == 5
    assert "the limit of 20 files" in refusal(keeper, "x", b"", None)


def brought(carrier: str, carrier_host: str, count: int = 100) -> list[FileSender | None]:
    """Files, each of another id, that a node brings."""
    return [FileSender(f"{carrier} {n}", carrier_host, carrier) for n in range(count)]


def test_one_stranger_leaves_room_for_others_by_whatever_way_it_comes(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 100, 10_000)
    assert kept(keeper, brought("server", "192.0.2.1")) == 18
    assert "one node that brings" in refusal(keeper, "x", b"", brought("server", "192.0.2.1")[0])
    # Itself, and by way of nodes of its own at its address.
    assert kept(keeper, [at("203.0.113.1", str(n)) for n in range(20)]) == 20
    assert [kept(keeper, brought(f"own {n}", "203.0.113.1")) for n in range(3)] == [18, 12, 0]
    assert "one address, 50 of 100" in refusal(keeper, "x", b"", brought("new", "203.0.113.1")[0])
    assert kept(keeper, [at("198.51.100.1", "bob")] * 7) == 7


def test_many_ids_at_loopback_are_one_address(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 20, 10_000)
    assert kept(keeper, [at("127.0.0.75", str(n)) for n in range(20)]) == 10
    assert keeper.keep("of-bob", [b"x"], at("127.0.0.78", "bob")).exists()


def test_no_share_that_is_configured_is_more_than_that_of_all_strangers(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 100, 10_000, Shares(lambda: 0.9, lambda: 0.8))
    assert kept(keeper, [at("203.0.113.1")] * 100) == 60
    assert keeper.keep("of-bob", [b"x"], at("198.51.100.1", "bob")).exists()


@pytest.mark.parametrize("files", range(2, 8))
def test_a_small_folder_has_room_for_the_trusted_too(tmp_path: Path, files: int) -> None:
    keeper = FileStore(tmp_path, files, 10_000)
    kept(keeper, [at(f"198.51.{n}.1") for n in range(20)])
    assert keeper.keep("mine", [b"x"]).exists()


def test_the_first_file_of_a_stranger_leaves_the_bytes_of_the_trusted(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 20, 100)
    assert refusal(keeper, "a", b"x" * 76, at("198.51.100.1")) == (
        "the share of all who are not trusted, 75 of 100 bytes, is used up (max_bytes)"
    )
    keeper.keep("a", [b"x" * 75], at("198.51.100.1"))
    assert keeper.keep("mine", [b"x" * 25]).exists()


def test_bytes_are_shared_and_one_file_of_any_size_is_allowed(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 20, 100)
    alice, bob = at("10.0.0.1", "alice"), at("10.0.0.2", "bob")
    keeper.keep("a", [b"x" * 60], alice)
    assert refusal(keeper, "a", b"x", alice) == (
        "the share of one sender, 50 of 100 bytes, is used up (max_bytes)"
    )
    assert "the limit of 100 bytes" in refusal(keeper, "b", b"x" * 41, bob)
    keeper.keep("b", [b"x" * 15], bob)
    assert "all who are not trusted" in refusal(keeper, "b", b"x", bob)
    assert keeper.keep("c", [b"x" * 25]).exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_shares_are_those_that_are_configured(tmp_path: Path) -> None:
    keeper = FileStore(tmp_path, 100, 10_000, Shares(lambda: 0.1, lambda: 0.2))
    assert kept(keeper, [at("203.0.113.1")] * 20) == 10


def test_numbers_of_one_name_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_room, "MAX_NUMBER", 20)
    keeper = FileStore(tmp_path, 1000, 10_000)
    mallory = at("127.0.0.75", "mallory")
    for _ in range(11):  # the first has the name itself
        keeper.keep("notes.txt", [b""], mallory)
    assert refusal(keeper, "notes.txt", b"", mallory) == (
        "the share of one sender, 10 files of one name, is used up"
    )
    assert keeper.keep("other.txt", [b""], mallory).exists()
    assert keeper.keep("notes.txt", [b""], at("127.0.0.78", "bob")).name == "notes (12).txt"


def test_numbers_that_a_sender_chooses_are_counted_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_room, "MAX_NUMBER", 20)
    keeper = FileStore(tmp_path, 1000, 10_000)
    mallory = at("203.0.113.1", "mallory")
    for number in range(2, 12):
        keeper.keep(f"notes ({number}).txt", [b""], mallory)
    for name in ("notes (12).txt", "notes.txt"):
        assert "10 files of one name" in refusal(keeper, name, b"", mallory)
    for name in ("notes (1).txt", "notes (1000).txt", "notes(2).txt", " (2).txt"):
        assert keeper.keep(name, [b""], mallory).exists(), name
    assert keeper.keep("notes.txt", [b""], at("198.51.100.1", "bob")).name == "notes.txt"


def test_what_was_taken_out_gives_room_back(tmp_path: Path) -> None:
    clock = Clock()
    keeper = FileStore(tmp_path, 20, 1_000, clock=clock)
    alice = at("10.0.0.1", "alice")
    for number in range(10):
        keeper.keep(str(number), [b"x" * 10], alice)
    assert "share" in refusal(keeper, "x", b"", alice)
    (tmp_path / "3").unlink()
    (tmp_path / "4").rename(tmp_path.parent / "elsewhere")
    clock.now += COARSEST_S  # the directory may have the time that it had at the refusal
    assert kept(keeper, [alice] * 9) == 2
    for path in tmp_path.iterdir():
        path.unlink()
    for number in range(10):
        keeper.keep(str(number), [b"x" * 50], alice)
    assert "share" in refusal(keeper, "x", b"", alice)


def test_to_look_for_what_has_gone_costs_the_same_however_much_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_room, "LOOKED_AT", 4)
    clock = Clock()
    keeper = FileStore(tmp_path, 20, 10_000, clock=clock)
    for number in range(20):
        keeper.keep(str(number), [b"x"])
    looked = []
    lexists = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: looked.append(path) or lexists(path))
    for _ in range(20):
        refusal(keeper, "x", b"", None)
    assert len(looked) == 20, "nothing has changed since all were looked at"
    (tmp_path / "19").unlink()
    clock.now += COARSEST_S
    refused = 0
    while True:
        before = len(looked)
        try:
            keeper.keep("19", [b"x"])
            break
        except FileNotKeptError:
            refused += 1
            assert len(looked) - before == 4
    assert refused == 4


def test_no_file_goes_where_python_runs_modules_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched, link, other = tmp_path / "searched", tmp_path / "link", tmp_path / "other"
    searched.mkdir()
    other.mkdir()
    link.symlink_to(searched, target_is_directory=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(searched), "nowhere", "\0"])
    for folder in (searched, link, Path(p2ptui.io.__file__).parent):
        with pytest.raises(LocalError, match="choose another folder") as refused:
            FileStore(folder, 1, 1)
        assert str(folder) in str(refused.value)
        assert "\n" not in str(refused.value)
    FileStore(other, 1, 1)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    monkeypatch.chdir(other)
    for folder in (Path(), other):
        with pytest.raises(LocalError, match="choose another folder"):
            FileStore(folder, 1, 1)


def test_where_more_is_kept_than_may_be_there_is_no_room_and_never_less(tmp_path: Path) -> None:
    room = FileStore(tmp_path, 20, 100)._room
    bob = at("127.0.0.78", "bob")
    room.note(tmp_path / "large", "large", 150, bob)
    (tmp_path / "large").touch()
    for sender in (None, bob, at("127.0.0.79", "carol")):
        assert room.bytes_for(sender, "x") == 0
