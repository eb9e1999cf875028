"""The node without a screen, in process: which event becomes which line, and how it ends."""

import asyncio
import logging
import os
import re
import signal

import pytest

from p2ptui import Config, headless
from p2ptui.core.addresses import relay_address
from p2ptui.core.encoded import Encoded
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import (
    REACHED_AT,
    DataReceived,
    Direction,
    ErrorReceived,
    EventsDropped,
    FilesNotTold,
    MessageTraced,
    Path,
    PeerIntroduced,
    PeersDiscovered,
    PeerStatus,
    PeerStatusChanged,
    RelayDataReceived,
)
from p2ptui.errors import P2PError
from p2ptui.event_lines import MAX_BEGUN
from p2ptui.event_log import level_of
from p2ptui.headless import PEER_LINES_PER_SECOND
from p2ptui.io.memory_socket import MemorySocket
from p2ptui.logs import TRACE
from p2ptui.secure.known_nodes import Trust
from p2ptui.wire.files import file_payload
from tests.attacks.flood import deployed_handshakes
from tests.town import Town
from tests.virtual_loop import run_virtual

NODE_ID = "0123abcd-0000-4000-8000-000000000001"
ADDRESS = ("192.0.2.1", 80)
RELAYED = relay_address(ADDRESS, NODE_ID)
HOSTILE = "\x1b[31m\u202e\n"

needs_signals = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def changed(status: PeerStatus, reason: str | None = None, name: str = "bob") -> PeerStatusChanged:
    return PeerStatusChanged(NODE_ID, ADDRESS, name, status, None, reason)


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (changed(PeerStatus.AUTHENTICATED), "INFO", "connected: bob (0123abcd) at 192.0.2.1:80"),
        (
            changed(PeerStatus.DISCONNECTED, "it left"),
            "INFO",
            "disconnected: bob (0123abcd) at 192.0.2.1:80: it left",
        ),
        (changed(PeerStatus.FAILED, "no answer"), "INFO", "failed: 192.0.2.1:80: no answer"),
        (changed(PeerStatus.HANDSHAKING), "DEBUG", "handshaking: 192.0.2.1:80"),
        (
            changed(PeerStatus.FAILED, f"{REACHED_AT}192.0.2.2:80"),
            "DEBUG",
            "failed: 192.0.2.1:80: it was reached at 192.0.2.2:80",
        ),
        (
            PeerStatusChanged(NODE_ID, RELAYED, "bob", PeerStatus.AUTHENTICATED, None, None),
            "INFO",
            "connected: bob (0123abcd) by way of 192.0.2.1:80",
        ),
        (
            ErrorReceived(NODE_ID, RELAYED, "no"),
            "WARNING",
            f"node {NODE_ID} by way of the server at 192.0.2.1:80 reports: no",
        ),
        (
            changed(PeerStatus.AUTHENTICATED, name=HOSTILE),
            "INFO",
            "connected: \\x1b[31m\\u202e\\n (0123abcd) at 192.0.2.1:80",
        ),
        (
            PeerIntroduced(NODE_ID, ADDRESS, NODE_ID),
            "INFO",
            "introduced to 0123abcd at 192.0.2.1:80",
        ),
        (
            ErrorReceived(NODE_ID, ADDRESS, HOSTILE),
            "WARNING",
            "192.0.2.1:80 reports: \\x1b[31m\\u202e\\n",
        ),
        (
            DataReceived(NODE_ID, ADDRESS, {"a": HOSTILE}, "id", Path.RELAY, is_echo=False),
            "DEBUG",
            "data from 0123abcd by relay path: {'a': '\\x1b[31m\\u202e\\n'}",
        ),
        (RelayDataReceived(NODE_ID, NODE_ID, b"123"), "DEBUG", "3 bytes relayed from 0123abcd"),
        (PeersDiscovered(NODE_ID, (), (NODE_ID,)), "DEBUG", "0 nodes listed, 1 left"),
        (EventsDropped(7), "WARNING", "7 events were not logged: there were too many"),
        (
            FilesNotTold(7),
            "WARNING",
            "7 more files were not kept: there were too many to name them",
        ),
    ],
)
def test_what_each_event_is_called(caplog, event, level, line):
    with caplog.at_level(logging.DEBUG, "p2ptui"):
        headless._log_event(event)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [(level, line)]
    assert logging.getLevelName(level_of(event)) == level


def test_a_traced_message_is_a_line_and_its_content_another(caplog):
    event = MessageTraced(Direction.IN, ADDRESS, NODE_ID, "Ping", 4, b'{"\x1b"}')
    with caplog.at_level(TRACE, "p2ptui"):
        headless._log_event(event)
    assert [record.getMessage() for record in caplog.records] == [
        "in 192.0.2.1:80 Ping, 4 bytes",
        '{"\\x1b"}',
    ]


def test_data_is_not_even_looked_at_above_debug(caplog):
    class Payload:
        def __str__(self):
            raise AssertionError("formatted in vain")

    with caplog.at_level(logging.INFO, "p2ptui"):
        headless._log_event(DataReceived(NODE_ID, ADDRESS, Payload(), "id", Path.DIRECT, False))
    assert caplog.records == []


def data(payload: object, *, is_echo: bool = False) -> DataReceived:
    return DataReceived(NODE_ID, ADDRESS, payload, "id", Path.DIRECT, is_echo)


@pytest.mark.parametrize("keeps_files", [False, True])
@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_what_has_no_line_waits_nowhere(caplog, level, keeps_files):
    """However much comes, only as much waits to be logged as there may be lines about it."""

    async def wanted(events) -> list[object]:
        lines = headless._Lines(keeps_files=keeps_files)
        return [event for event in events if lines.wants(event)]

    is_debug = level == logging.DEBUG
    for_debug = [
        data({"echo": 1}, is_echo=True),
        RelayDataReceived(NODE_ID, NODE_ID, b"123"),
        PeersDiscovered(NODE_ID, (), (NODE_ID,)),
        MessageTraced(Direction.IN, ADDRESS, NODE_ID, "Ping", 4, b"{}"),
    ]
    file = data(Encoded(b'{"file":"notes.txt"}'))
    text = data(Encoded(b'{"text":"notes.txt"}'))
    crowd = [changed(PeerStatus.AUTHENTICATED)] * 1000
    with caplog.at_level(level, "p2ptui"):
        assert run_virtual(wanted(for_debug)) == (for_debug if is_debug else [])
        assert run_virtual(wanted([file, text])) == (
            [file, text] if is_debug else [] if keeps_files else [file]
        )
        assert len(run_virtual(wanted(crowd))) == PEER_LINES_PER_SECOND
        assert run_virtual(wanted([EventsDropped(3)])) == [EventsDropped(3)]


def test_a_line_that_is_not_logged_takes_no_place_of_another(caplog):
    async def crowd():
        lines = headless._Lines(keeps_files=False)
        for _ in range(30):
            for status in (PeerStatus.HANDSHAKING, PeerStatus.AUTHENTICATED):
                if lines.wants(changed(status)):
                    lines.log(changed(status))
        await asyncio.sleep(2)

    with caplog.at_level(logging.INFO, "p2ptui"):
        run_virtual(crowd())
    told = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("connected: ") for line in told) == PEER_LINES_PER_SECOND
    assert told[-1] == "10 more changes of peers were not logged"


def test_the_going_of_a_trusted_peer_is_told_however_many_have_come_since(caplog):
    def change(host: str, status: PeerStatus, trust: str | None = None) -> PeerStatusChanged:
        return PeerStatusChanged(host, (host, 80), host, status, None, "it left", trust=trust)

    async def crowd():
        lines = headless._Lines(keeps_files=True)
        friend = change("10.0.0.1", PeerStatus.AUTHENTICATED, Trust.VERIFIED.value)
        assert lines.wants(friend)
        for number in range(2 * MAX_BEGUN):
            lines.wants(change(f"20.{number >> 8}.{number & 255}.1", PeerStatus.AUTHENTICATED))
            await asyncio.sleep(0.1)
        for number in range(100):
            lines.wants(change(f"30.0.{number}.1", PeerStatus.DISCONNECTED))
        assert lines.wants(change("10.0.0.1", PeerStatus.DISCONNECTED))

    with caplog.at_level(logging.INFO, "p2ptui"):
        run_virtual(crowd())


def test_who_comes_and_goes_without_end_hides_nobody_else(caplog):
    """Three machines shake hands, send an Error and leave, again and again; six others come and go
    between them."""

    def at(host: str, status: PeerStatus, node_id: str) -> PeerStatusChanged:
        return PeerStatusChanged(node_id, (host, 80), host, status, None, "it left")

    async def crowd():
        lines = headless._Lines(keeps_files=True)

        def happen(*events):
            for event in events:
                if lines.wants(event):
                    lines.log(event)

        for round_ in range(3000):
            for hostile in ("127.0.0.93", "127.0.0.94", "203.0.113.7"):
                node_id = f"{round_}-{hostile}"
                happen(
                    at(hostile, PeerStatus.AUTHENTICATED, node_id),
                    ErrorReceived(node_id, (hostile, 80), "x"),
                    at(hostile, PeerStatus.DISCONNECTED, node_id),
                )
            if round_ % 500 == 400:
                honest = f"10.0.0.{round_ // 500}"
                happen(at(honest, PeerStatus.AUTHENTICATED, honest))
                happen(ErrorReceived(honest, (honest, 80), "no room"))
            elif round_ % 500 == 450:
                honest = f"10.0.0.{round_ // 500}"
                happen(at(honest, PeerStatus.DISCONNECTED, honest))
            await asyncio.sleep(0.01)
        await asyncio.sleep(2)

    with caplog.at_level(logging.INFO, "p2ptui"):
        run_virtual(crowd())
    told = [record.getMessage() for record in caplog.records]
    honest = [line for line in told if " 10.0.0." in f" {line}"]
    assert [sum(line.startswith(kind) for line in honest) for kind in ("conn", "disc")] == [6, 6]
    assert sum("no room" in line for line in honest) == 6
    connected = sum(line.startswith("connected: ") for line in told)
    assert connected == sum(line.startswith("disconnected: ") for line in told)
    assert connected < 3 * 20 + 30 * 6 + 6 + 3  # a second's worth of each, and their parts
    missing = [int(line.split()[0]) for line in told if "were not logged" in line]
    assert sum(missing) + len(told) - len(missing) == 3 * 9000 + 18


def test_who_has_proved_nothing_hides_nobody_who_has(caplog):
    """Handshakes and Errors with forged addresses, that of the honest one among them, and six
    that prove to be there between them."""

    def at(host: str, status: PeerStatus, node_id: str, is_claim: bool) -> PeerStatusChanged:
        at = (host, 80)
        return PeerStatusChanged(node_id, at, node_id, status, None, "it left", is_claim=is_claim)

    junk, good = file_payload("junk", b"x"), file_payload("good", b"x")

    async def flood():
        lines = headless._Lines(keeps_files=False, has_proved=lambda id_: id_.startswith("10."))

        def happen(*events):
            for event in events:
                if lines.wants(event):
                    lines.log(event)

        for number in range(1200):
            forged = f"198.51.{number % 200}.{number // 200}" if number % 2 else "10.0.0.1"
            name, where = f"forged-{number}", (forged, 80)
            happen(
                at(forged, PeerStatus.AUTHENTICATED, name, True),
                ErrorReceived(name, where, "x", is_claim=True),
                DataReceived(name, where, junk, "id", Path.DIRECT, False),
            )
            if number % 200 == 150:
                honest, where = "10.0.0.1", ("10.0.0.1", 80)
                happen(
                    at(honest, PeerStatus.AUTHENTICATED, honest, False),
                    ErrorReceived(honest, where, "no room"),
                    DataReceived(honest, where, good, "id", Path.DIRECT, False),
                    at(honest, PeerStatus.DISCONNECTED, honest, False),
                )
            await asyncio.sleep(0.01)
        await asyncio.sleep(2)

    with caplog.at_level(logging.INFO, "p2ptui"):
        run_virtual(flood())
    told = [record.getMessage() for record in caplog.records]
    for kind in ("connected: 10.0.0.1", "disconnected: 10.0.0.1", "10.0.0.1:80 reports: no room"):
        assert sum(line.startswith(kind) for line in told) == 6, kind
    assert sum(line.startswith("file good from 10.") for line in told) == 6
    missing = [line for line in told if "were not logged" in line]
    assert {line.partition(" more ")[2] for line in missing} == {
        "changes of peers were not logged (unproved)",
        "errors of peers were not logged (unproved)",
        "files were not logged (unproved)",
    }
    assert sum(int(line.split()[0]) for line in missing) + len(told) - len(missing) == 3600 + 24


# --- whole runs, on virtual time


def serve(monkeypatch, caplog, story, **options):
    """Run a headless node beside a story; the lines that it logged."""

    async def program():
        async with Town() as town:
            monkeypatch.setattr(headless, "Node", town.make_from)
            options.setdefault("nat_detection", {"enable": False})
            config = Config().with_options(
                address="10.0.0.100:8080", name="server", enable_discovery=False, **options
            )
            serving = asyncio.ensure_future(headless._serve(config))
            await asyncio.sleep(0.1)
            try:
                await story(town, serving)
                return await serving
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    with caplog.at_level(logging.INFO, "p2ptui"):
        assert run_virtual(program()) == 0
    return [r.getMessage() for r in caplog.records if r.name == "p2ptui.headless"]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@needs_signals
def test_a_run_from_its_first_line_to_its_last(monkeypatch, caplog):
    async def story(town, serving):
        client = await town.start("client")
        await client.connect("10.0.0.100:8080")
        await asyncio.sleep(25)
        interrupt()

    lines = serve(monkeypatch, caplog, story, stats_interval=10.0)
    assert lines[0].startswith("server is listening on 10.0.0.100:8080, network p2p_default, id ")
    assert lines[1].startswith("connected: client (")
    assert lines[2].startswith("up 10 s, 1 peers, in ")
    assert lines[3].startswith("up 20 s, 1 peers, in ")
    assert lines[4:] == [
        "SIGTERM: saying goodbye; once more ends at once",
        "shutting down: 1 peers",
        "stopped",
    ]


@needs_signals
def test_statistics_can_be_turned_off(monkeypatch, caplog):
    async def story(town, serving):
        await asyncio.sleep(1000)
        interrupt()

    lines = serve(monkeypatch, caplog, story, stats_interval=0.0)
    assert not [line for line in lines if line.startswith("up ")]


@needs_signals
def test_a_crowd_that_comes_and_goes_is_counted_not_listed(monkeypatch, caplog):
    async def story(town, serving):
        clients = [await town.start(f"client-{number}") for number in range(60)]
        await asyncio.gather(*(client.connect("10.0.0.100:8080") for client in clients))
        await asyncio.sleep(5)
        interrupt()

    lines = serve(monkeypatch, caplog, story)
    told = [line for line in lines if line.startswith("connected: ")]
    assert len(told) == PEER_LINES_PER_SECOND
    assert f"{60 - PEER_LINES_PER_SECOND} more changes of peers were not logged" in lines


@needs_signals
def test_forged_handshakes_do_not_hide_who_comes(monkeypatch, caplog):
    """Handshakes of older programs, each from another address that never hears an answer."""
    honest = 3

    async def story(town, serving):
        async def forge():
            for number in range(400):
                where = (f"203.0.{number % 100}.{number // 100}", 4000)
                socket = await MemorySocket.open(town.network, where)
                socket.send(deployed_handshakes(number, 0), ("10.0.0.100", 8080))
                socket.close()
                await asyncio.sleep(0.01)

        forging = asyncio.ensure_future(forge())
        for number in range(honest):
            await asyncio.sleep(1)
            client = await town.start(f"honest-{number}")
            await client.connect("10.0.0.100:8080")
            await client.close()
        await forging
        interrupt()

    lines = serve(monkeypatch, caplog, story)
    for kind in ("connected", "disconnected"):
        assert sum(line.startswith(f"{kind}: honest-") for line in lines) == honest, lines
    assert any("changes of peers were not logged (unproved)" in line for line in lines)


@needs_signals
def test_a_file_that_is_not_kept_is_named_with_size_and_hash(monkeypatch, caplog):
    payload = file_payload("notes\x1b.txt", b"hello\n")

    async def story(town, serving):
        client = await town.start("client")
        await client.connect("10.0.0.100:8080")
        await client.send("server", payload)
        await client.send("server", payload | {"size": 5})
        await client.send("server", "no file")
        await asyncio.sleep(1)
        interrupt()

    lines = [line for line in serve(monkeypatch, caplog, story) if line.startswith("file ")]
    (kept, broken) = [re.sub(r"from [0-9a-f]{8}", "from ID", line) for line in lines]
    assert kept == (
        f"file notes\\x1b.txt from ID, 6 bytes, sha256 {payload['sha256']},"
        " is not kept: files.receive_into is empty"
    )
    assert broken == "file notes\\x1b.txt from ID cannot be read: it says 5 bytes, and has 6"


@needs_signals
def test_a_file_that_is_kept_is_named_with_its_place(monkeypatch, caplog, tmp_path):
    payload = file_payload("../notes.txt", b"hello\n")

    async def story(town, serving):
        client = await town.start("client")
        await client.connect("10.0.0.100:8080")
        await client.send("server", payload)
        await client.send("server", payload | {"sha256": "0" * 64})
        await asyncio.sleep(1)
        interrupt()

    told = serve(monkeypatch, caplog, story, files={"receive_into": str(tmp_path)})
    lines = [line for line in told if line.startswith("file ")]
    (kept, broken) = [re.sub(r"\([0-9a-f]{8}\)", "(ID)", line) for line in lines]
    assert kept == (
        f"file ../notes.txt from client (ID), 6 bytes, sha256 {payload['sha256']},"
        f" is kept as {tmp_path / 'notes.txt'}"
    )
    assert broken == (
        "file ../notes.txt from client (ID) is not kept: its sha256 is another than it says"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@needs_signals
def test_files_without_end_are_counted_not_listed(monkeypatch, caplog):
    async def story(town, serving):
        client = await town.start("client")
        await client.connect("10.0.0.100:8080")
        sent = [client.send("server", file_payload("x", b"")) for _ in range(60)]
        await asyncio.gather(*sent)
        await asyncio.sleep(5)
        interrupt()

    lines = serve(monkeypatch, caplog, story)
    assert len([line for line in lines if line.startswith("file x ")]) == PEER_LINES_PER_SECOND
    assert f"{60 - PEER_LINES_PER_SECOND} more files were not logged" in lines


def test_a_mistake_inside_is_one_line_with_what_to_do(monkeypatch, caplog):
    async def story(town, serving):
        client = await town.start("client")

        def fail(*_):
            raise ZeroDivisionError("oh")

        monkeypatch.setattr(Endpoint, "receive_datagram", fail)
        with pytest.raises(P2PError):
            await client.connect("10.0.0.100:8080", timeout_s=1)
        await asyncio.wait([serving], timeout=10)

    with pytest.raises(P2PError) as caught:
        serve(monkeypatch, caplog, story)
    assert str(caught.value) == (
        "the node failed: ZeroDivisionError: oh; this is a mistake in p2ptui,"
        " please report it, with the log at level DEBUG"
    )
