"""Files that come to a node: kept in order, answered for, and refused in one line."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import (
    DataReceived,
    FileReceived,
    FilesNotTold,
    PeerStatus,
    PeerStatusChanged,
)
from p2ptui.errors import LocalError
from p2ptui.io.file_store import LEFT_AFTER_S, PART_PREFIX, PART_SUFFIX
from p2ptui.node import files
from p2ptui.node.files import ENDS, LAST_FILE_S, NOT_TAKEN, REFUSED_PER_SECOND, is_meant
from p2ptui.node.receipts import MAX_RECEIPTS_TO_ONE
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import Secret
from p2ptui.wire.files import Receipt, file_payload, read_receipt
from p2ptui.wire.message import Capability
from tests.node.test_acquaintances import stand_beside
from tests.reference_client import ReferenceClient
from tests.town import MET_S, Town, next_of, taken
from tests.virtual_loop import run_virtual

NOW = 1_795_000_000.0
TEXT = file_payload("notes.txt", b"hello\n")


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def contents(path: str) -> str:
    return Path(path).read_text("utf-8")


async def pair(town: Town, directory: Path, **options: Any) -> tuple[Node, Node]:
    """A node that keeps files, and Alice who is connected to it."""
    keeper = await town.start("keeper", files={"receive_into": str(directory), **options})
    alice = await town.start("alice")
    await alice.connect(keeper.address)
    await asyncio.sleep(MET_S)
    return keeper, alice


async def receipt_of(events: Any) -> Receipt:
    while True:
        event = await next_of(events, DataReceived)
        receipt = None if event.is_echo else read_receipt(event.payload)
        if receipt is not None:
            return receipt


def test_a_file_is_kept_and_both_sides_are_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            assert Capability.FILES in alice.peer(keeper.id).capabilities
            assert Capability.FILES not in keeper.peer(alice.id).capabilities
            at_keeper, at_alice = keeper.events(), alice.events()
            assert (await alice.send(keeper.id, TEXT)).delivered
            event = await next_of(at_keeper, FileReceived)
            assert event == FileReceived(
                alice.id,
                "alice",
                "notes.txt",
                6,
                TEXT["sha256"],
                str(tmp_path / "notes.txt"),
            )
            assert await receipt_of(at_alice) == Receipt(TEXT["sha256"], True, "notes.txt")
            assert (tmp_path / "notes.txt").read_bytes() == b"hello\n"

    run_virtual(story())


def test_files_are_kept_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            events = keeper.events()
            for number in range(20):
                await alice.send(keeper.id, file_payload("x", str(number).encode()))
            kept = [(await next_of(events, FileReceived)).path for _ in range(20)]
            assert [contents(path) for path in kept] == [str(n) for n in range(20)]
            assert kept[0] == str(tmp_path / "x")
            assert kept[19] == str(tmp_path / "x (20)")

    run_virtual(story())


@pytest.mark.parametrize(
    "payload",
    ["text", {"file": "x", "text": "an application's own"}, '{"file":"x","base64":""}', [TEXT]],
    ids=repr,
)
def test_what_is_no_file_is_not_written(tmp_path: Path, payload: Any) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            events = keeper.events()
            await alice.send(keeper.id, payload)
            await next_of(events, DataReceived)
            await asyncio.sleep(5)
            assert not taken(events, FileReceived)
            assert names(tmp_path) == set()

    run_virtual(story())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": 5}, "it says 5 bytes, and has 6"),
        ({"sha256": "0" * 64}, "its sha256 is another than it says"),
        ({"base64": "="}, "it has two contents, text and base64"),
    ],
    ids=repr,
)
def test_a_file_that_contradicts_itself_is_not_written(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            at_keeper, at_alice = keeper.events(), alice.events()
            await alice.send(keeper.id, TEXT | change)
            event = await next_of(at_keeper, FileReceived)
            assert (event.path, event.size_bytes, event.reason) == (None, None, reason)
            receipt = await receipt_of(at_alice)
            assert (receipt.kept, receipt.reason) == (False, reason)
            assert names(tmp_path) == set()
            await alice.send(keeper.id, TEXT)
            assert (await next_of(at_keeper, FileReceived)).path is not None

    run_virtual(story())


HOUR_S = 3_600.0


@pytest.mark.parametrize(
    ("ahead_s", "why"),
    [
        (-23 * HOUR_S, ""),
        (0.0, ""),
        (14 * HOUR_S - 60, ""),
        (-25 * HOUR_S, "the statement has expired, or the clocks of the two nodes differ"),
        (
            14 * HOUR_S + 60,
            "the statement is valid for too long, or the clocks of the two nodes differ",
        ),
    ],
)
def test_a_file_of_a_command_is_refused_for_its_clock_and_both_ends_are_told_so(
    tmp_path: Path, ahead_s: float, why: str
) -> None:
    async def story() -> None:
        async with Town() as town:
            bob = Identity(Secret(bytes(32)))
            into = {"receive_into": str(tmp_path), "receive_from": bob.id}
            keeper = town.make_from(town.configured("keeper", files=into), wall=lambda: NOW)
            command = town.make_from(town.configured("command"), wall=lambda: NOW + ahead_s)
            command._choose_identity = lambda: stand_beside(bob, "command")
            await keeper.start()
            await command.start()
            await command.connect(keeper.address)
            await asyncio.sleep(MET_S)
            at_keeper, at_command = keeper.events(), command.events()
            await command.send(keeper.id, TEXT)
            expected = f"{NOT_TAKEN}; whose this one is cannot be told: {why}" if why else None
            assert (await next_of(at_keeper, FileReceived)).reason == expected
            assert (await receipt_of(at_command)).reason == (expected or "")
            assert names(tmp_path) == (set() if why else {"notes.txt"})

    run_virtual(story())


def test_files_of_others_are_refused_and_their_sender_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path, receive_from="bob")
            bob = await town.start("bob")
            await bob.connect(keeper.address)
            at_keeper, at_alice = keeper.events(), alice.events()
            await alice.send(keeper.id, TEXT)
            event = await next_of(at_keeper, FileReceived)
            assert (event.sender, event.path, event.reason) == ("alice", None, NOT_TAKEN)
            assert (await receipt_of(at_alice)).reason == NOT_TAKEN
            # Who leaves at once is known by its name all the same.
            await bob.send(keeper.id, file_payload("of-bob", b""))
            await bob.disconnect(keeper.id)
            event = await next_of(at_keeper, FileReceived)
            assert (event.sender, Path(event.path).name) == ("bob", "of-bob")
            assert names(tmp_path) == {"of-bob"}

    run_virtual(story())


NODE_ID = "0123abcd-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ("", True),
        (NODE_ID, True),
        (NODE_ID.upper(), True),
        ("0123", True),
        ("0123ABCD", True),
        ("012", False),
        ("0124", False),
        ("alice", True),
        ("Alice", False),
        ("alic", False),
    ],
)
def test_whose_files_are_meant(wanted: str, fits: bool) -> None:
    assert is_meant(wanted, NODE_ID, "alice") is fits


def test_a_name_may_look_like_the_beginning_of_an_id() -> None:
    assert is_meant("0123", "ffffffff-0000-4000-8000-000000000000", "0123")


def test_a_file_comes_by_way_of_others_as_well(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            server, alice, _ = await town.trio()
            keeper = await town.start("keeper", files={"receive_into": str(tmp_path)})
            await keeper.connect(server.address)
            town.partition(alice, keeper)
            at_keeper, at_alice = keeper.events(), alice.events()
            assert (await alice.send_routed(keeper.id, TEXT)).delivered
            event = await next_of(at_keeper, FileReceived)
            assert (event.node_id, event.sender) == (alice.id, "")
            assert (await receipt_of(at_alice)).kept_as == "notes.txt"

    run_virtual(story())


def test_a_node_that_ends_finishes_the_file_that_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            at_alice = alice.events()
            slowly(monkeypatch, LAST_FILE_S / 2)
            assert (await alice.send(keeper.id, TEXT)).delivered
            await keeper.close()
            assert names(tmp_path) == {"notes.txt"}
            assert (await receipt_of(at_alice)).kept_as == "notes.txt"

    run_virtual(story())


def test_a_disk_that_never_answers_does_not_keep_a_node_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            slowly(monkeypatch, 1e9)
            assert (await alice.send(keeper.id, TEXT)).delivered
            async with asyncio.timeout(LAST_FILE_S + 1):
                await keeper.close()
            assert names(tmp_path) == set()

    run_virtual(story())


def test_a_node_that_ends_begins_no_other_file_and_tells_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            at_alice = alice.events()
            slowly(monkeypatch, LAST_FILE_S / 2)
            for name in ("first.txt", "second.txt", "third.txt"):
                assert (await alice.send(keeper.id, TEXT | {"file": name})).delivered
            await keeper.close()
            assert names(tmp_path) == {"first.txt"}
            told = [await receipt_of(at_alice) for _ in range(3)]
            assert [receipt.kept for receipt in told] == [True, False, False]
            assert {receipt.reason for receipt in told[1:]} == {ENDS}

    run_virtual(story())


def test_an_end_that_is_cancelled_while_the_disk_is_slow_is_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            at_alice, keeper_id = alice.events(), keeper.id
            slowly(monkeypatch, 1e9)
            assert (await alice.send(keeper_id, TEXT)).delivered
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(LAST_FILE_S / 2):
                    await keeper.close()
            told = await next_of(at_alice, PeerStatusChanged)
            assert (told.status, told.node_id) == (PeerStatus.DISCONNECTED, keeper_id)

    run_virtual(story())


def test_what_a_crash_left_is_removed_also_if_it_is_new_when_a_node_starts(tmp_path: Path) -> None:
    async def story() -> None:
        left = tmp_path / f"{PART_PREFIX}left{PART_SUFFIX}"
        async with Town() as town:
            left.touch()
            written = left.stat().st_mtime
            await pair(town, tmp_path)
            await asyncio.sleep(LEFT_AFTER_S / 2)
            assert left.exists()
            # The disk has a clock of its own.
            os.utime(left, (written, written - LEFT_AFTER_S - 10))
            await asyncio.sleep(LEFT_AFTER_S)
            assert not left.exists()

    run_virtual(story())


def test_shares_are_those_that_the_node_has_now(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path, max_files=100)
            keeper.reload(keeper._config.with_values({"security.max_share_per_address": 0.01}))
            at_keeper = keeper.events()
            kept = []
            for _ in range(2):
                assert (await alice.send(keeper.id, TEXT)).delivered
                kept.append((await next_of(at_keeper, FileReceived)).path is not None)
            assert kept == [True, False]

    run_virtual(story())


def slowly(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The disk takes so long for each file."""

    async def later(work: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(seconds)
        return work(*arguments)

    monkeypatch.setattr(files, "off_loop", later)


def test_a_disk_that_is_full_is_told_and_the_node_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            at_keeper, at_alice = keeper.events(), alice.events()
            fsync = os.fsync

            def full(_: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(os, "fsync", full)
            await alice.send(keeper.id, TEXT)
            event = await next_of(at_keeper, FileReceived)
            assert (event.path, event.reason) == (None, "No space left on device")
            assert event.sha256 == TEXT["sha256"]
            receipt = await receipt_of(at_alice)
            assert (receipt.kept, receipt.reason) == (False, "No space left on device")
            assert names(tmp_path) == set()
            monkeypatch.setattr(os, "fsync", fsync)
            await alice.send(keeper.id, TEXT)
            assert (await next_of(at_keeper, FileReceived)).path is not None

    run_virtual(story())


def test_limits_are_told_in_the_words_of_the_options(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path, max_files=1)
            events = keeper.events()
            await alice.send(keeper.id, TEXT)
            await alice.send(keeper.id, TEXT)
            assert (await next_of(events, FileReceived)).path is not None
            reason = (await next_of(events, FileReceived)).reason
            assert reason == "the limit of 1 files is reached (max_files)"

    run_virtual(story())


def test_a_node_that_ends_lets_its_last_receipt_arrive(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            at_keeper, at_alice = keeper.events(), alice.events()
            await alice.send(keeper.id, TEXT)
            await next_of(at_keeper, FileReceived)
            await keeper.close()
            assert (await receipt_of(at_alice)).kept

    run_virtual(story())


def test_who_takes_no_receipt_holds_nobody_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            bob = await town.start("bob")
            await bob.connect(keeper.address)
            events = keeper.events()
            loop = asyncio.get_running_loop()
            for _ in range(3):
                await bob.send(keeper.id, TEXT)
            for _ in range(3):
                await next_of(events, FileReceived)
            await bob.send(keeper.id, TEXT)
            town.crash(bob)
            began = loop.time()
            await alice.send(keeper.id, file_payload("of-alice", b""))
            while (await next_of(events, FileReceived)).name != "of-alice":
                pass
            assert loop.time() - began < 1
            await keeper.close()
            assert loop.time() - began < 5

    run_virtual(story())


def test_a_folder_that_is_none_keeps_the_node_from_starting(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            node = town.make("keeper", files={"receive_into": str(tmp_path / "nowhere")})
            with pytest.raises(LocalError, match=r"cannot receive files into .*nowhere: No such"):
                await node.start()

    run_virtual(story())


def test_without_the_option_nothing_is_written(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            server, alice, _ = await town.trio()
            at_server, at_alice = server.events(), alice.events()
            await alice.send(server.id, TEXT)
            await next_of(at_server, DataReceived)
            await asyncio.sleep(5)
            assert not taken(at_server, FileReceived)
            assert not [e for e in taken(at_alice, DataReceived) if not e.is_echo]

    run_virtual(story())


def test_a_deployed_client_gets_no_receipt(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper = await town.start("keeper", files={"receive_into": str(tmp_path)})
            events = keeper.events()
            client = await ReferenceClient.connect(town, keeper)
            await asyncio.sleep(1)
            client.send("Data", TEXT)
            assert (await next_of(events, FileReceived)).path is not None
            await asyncio.sleep(5)
            echo = await client.next("Data")
            assert echo["payload"].keys() == {"echo", "timestamp"}
            with pytest.raises(TimeoutError):
                await client.next("Data")
            client.close()

    run_virtual(story())


def test_routed_files_in_the_names_of_others_draw_few_receipts(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            server, alice, _ = await town.trio()
            keeper = await town.start("keeper", files={"receive_into": str(tmp_path)})
            await keeper.connect(server.address)
            town.partition(alice, keeper)
            await alice.ping_routed(keeper.id)  # they have keys for each other from now on
            events = keeper.events()
            sending = [alice.send_routed(keeper.id, TEXT, timeout_s=5) for _ in range(30)]
            sent = asyncio.gather(*sending)
            await asyncio.sleep(0.015)
            town.crash(alice)
            waiting = []
            for _ in range(30):
                assert (await next_of(events, FileReceived)).path is not None
                waiting.append(keeper.stats().sizes["routed_waiting"])
            assert max(waiting) == MAX_RECEIPTS_TO_ONE
            await sent

    run_virtual(story())


@pytest.mark.parametrize("keeps", [True, False])
def test_those_who_take_no_receipts_keep_nobody_from_theirs(tmp_path: Path, keeps: bool) -> None:
    """However many nodes there are at one address, and whatever became of their files."""

    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path)
            at_alice = alice.events()
            payload = TEXT if keeps else TEXT | {"sha256": "00" * 32}
            many = [
                await town.start(f"mallory{number}", ("10.66.6.6", 8000 + number))
                for number in range(10)
            ]
            for mallory in many:
                await mallory.connect(keeper.address)
            await asyncio.sleep(MET_S)
            sending = [
                mallory.send(keeper.id, payload, timeout_s=1) for mallory in many for _ in range(9)
            ]
            sent = asyncio.gather(*sending)
            await asyncio.sleep(0.015)
            for mallory in many:
                town.crash(mallory)
            await sent
            assert keeper.stats().drops["receipts_full"]
            assert (await alice.send(keeper.id, TEXT)).delivered
            assert (await receipt_of(at_alice)).kept

    run_virtual(story())


def test_one_stranger_does_not_close_the_inbox_for_everybody(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, mallory = await pair(town, tmp_path, max_files=100)
            bob = await town.start("bob")
            await bob.connect(keeper.address)
            at_keeper, at_bob, at_mallory = keeper.events(), bob.events(), mallory.events()
            for _ in range(6):
                sent = [mallory.send(keeper.id, file_payload(f"{n}", b"")) for n in range(20)]
                await asyncio.gather(*sent)
            kept = [event.path is not None for event in taken(at_keeper, FileReceived)]
            assert kept.count(True) == 50
            receipts = [read_receipt(event.payload) for event in taken(at_mallory, DataReceived)]
            reasons = {receipt.reason for receipt in receipts if receipt is not None}
            assert "the share of one sender, 50 of 100 files, is used up (max_files)" in reasons
            await bob.send(keeper.id, TEXT)
            assert (await receipt_of(at_bob)).kept

    run_virtual(story())


def test_who_is_the_only_one_whose_files_are_taken_shares_with_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            keeper, alice = await pair(town, tmp_path, max_files=20, receive_from="alice")
            at_keeper = keeper.events()
            for number in range(20):
                await alice.send(keeper.id, file_payload(f"{number}", b""))
            await asyncio.sleep(1)
            assert [event.path is not None for event in taken(at_keeper, FileReceived)] == [
                True
            ] * 20

    run_virtual(story())


def test_files_that_are_not_kept_hide_none_that_is(tmp_path: Path) -> None:
    """A flood of files that contradict themselves is told by its number, and every kept file."""

    async def story() -> None:
        async with Town() as town:
            keeper, mallory = await pair(town, tmp_path)
            bob = await town.start("bob")
            await bob.connect(keeper.address)
            events = keeper.events(data=False)
            for second in range(10):
                junk = [mallory.send(keeper.id, TEXT | {"size": 1}) for _ in range(50)]
                await asyncio.gather(*junk)
                await bob.send(keeper.id, file_payload(f"{second}", b"x"))
                await bob.send(keeper.id, TEXT | {"size": 1})
                await asyncio.sleep(1)
            await asyncio.sleep(2)
            told = taken(events, FileReceived | FilesNotTold)
            files = [event for event in told if isinstance(event, FileReceived)]
            of_bob = [event for event in files if event.sender == "bob"]
            assert [event.path is not None for event in of_bob] == [True, False] * 10
            assert len(files) - 20 <= REFUSED_PER_SECOND * 2 + 5
            missing = sum(event.count for event in told if isinstance(event, FilesNotTold))
            assert missing == 500 - (len(files) - 20)
            assert len(told) - len(files) <= 12

    run_virtual(story())
