"""The benchmark measures what it says, ends what it starts, and says what it leaves out.

No test here says how fast anything is: loads are tiny, and only what they count is looked at.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.bench import __main__ as command
from tests.bench import coturn, crowded, loopback, machine, profile_layers, table
from tests.bench.crowd import Crowd, host_of, in_turn
from tests.bench.machine import Machine, Program
from tests.bench.report import Report, Row, Spread, beside, heading, judged, spread, verdict
from tests.bench.report import table as written
from tests.patience import PATIENCE_S

WHY_NOT = table.reason_to_skip()
needs_load = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be measured")

TINY = table.Plan(1, 0.001, crowded.Plan(20, 3, 5, 0.2, 0.2, 1, 0.001))
COUNTED = ("echo", "ping", "reliable", "secured", "relay", "relay-secured", "routed", "stun")


@pytest.fixture(scope="module")
def report() -> Report:
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    return table.measure(TINY)


@pytest.fixture(scope="module")
def rows(report: Report) -> dict[str, Row]:
    return {row.key: row for row in report.rows}


def test_every_row_is_there_once_in_the_order_of_the_table(report: Report) -> None:
    assert [row.key for row in report.rows] == list(table.ROWS)


def test_what_is_installed_is_measured(rows: dict[str, Row]) -> None:
    skipped = {key: row.skipped for key, row in rows.items() if row.skipped}
    if coturn.reason_to_skip():
        assert skipped.pop("stun-beside") == coturn.reason_to_skip()
    assert not skipped


@pytest.mark.parametrize("key", COUNTED)
def test_a_row_has_rates_and_cpu_time_beside_the_echo(rows: dict[str, Row], key: str) -> None:
    row = rows[key]
    for figure in (row.rate, row.cpu_us, row.by_clock, row.by_cpu, row.echo_rate, row.echo_cpu_us):
        assert figure is not None
        # None is seen of a stretch that ends before the scheduler has counted it.
        assert 0 <= figure.least <= figure.median <= figure.most
    assert row.rate is not None
    assert row.rate.least > 0


def test_latency_is_told_beside_that_of_the_echo(rows: dict[str, Row]) -> None:
    figures = rows["latency"].figures
    assert 0 < figures["p50_us"] <= figures["p99_us"]
    assert 0 < figures["p50_of_C_us"] <= figures["p99_of_C_us"]
    assert rows["latency"].rate is None


def test_a_crowd_has_memory_and_growth(rows: dict[str, Row]) -> None:
    for kind in ("own", "plain"):
        assert rows[f"memory-{kind}"].figures["whole_mb"] > 0
        assert rows[f"handshakes-{kind}"].figures["handshake_growth"] >= 0
        assert f"20 {kind} peers" in rows[f"idle-{kind}"].title
    for key in ("echo-crowd", "ping-crowd"):
        assert rows[key].figures["one_to_all_growth"] >= 0
        assert rows[key].figures["few_to_all_growth"] >= 0


def test_in_turn_each_peer_sends_once_before_any_sends_again() -> None:
    order = in_turn(25, 10, seed=1)
    assert len(order) == 25
    assert sorted(order[:10]) == list(range(10))
    assert order[:10] == order[10:20]
    assert order[:10] != in_turn(10, 10, seed=2)


def test_the_figures_for_machines_keep_their_schema(report: Report) -> None:
    data = msgspec.json.encode(report)
    assert msgspec.json.decode(data, type=Report, strict=True) == report
    schema = msgspec.json.schema(Report)["$defs"]
    assert set(schema["Row"]["required"]) == {"key", "title"}
    assert set(schema["Report"]["required"]) == {
        *("form", "machine", "program", "rounds", "quick", "seconds", "rows", "busy")
    }
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"form":1,"surprise":2}', type=Report)


def test_every_figure_has_a_unit_that_the_table_knows(report: Report) -> None:
    text = written(report.rows)
    assert text.count("\n") == len(report.rows) + 1
    assert "x " in text


def test_it_says_what_was_measured(report: Report) -> None:
    program = report.program
    assert program.build in ("pure", "compiled", "partly")
    assert program.version in program.says
    assert Path(program.package).name == "p2ptui"
    text = heading(report)
    assert program.build in text
    assert f"{report.machine.cores} cores" in text


# --- a busy machine


def a_row(rates: list[float], cpu_us: list[float], share: float = 0.9) -> Row:
    return Row(
        "echo",
        "echo",
        echo_rate=spread(rates),
        echo_cpu_us=spread(cpu_us),
        echo_share=Spread(share, share, share),
    )


QUIET = Machine("Linux", "a CPU", 2, True, False, 0.1)
STEADY = a_row([100.0, 110.0], [5.0, 5.1])


def test_a_steady_echo_on_a_quiet_machine_is_judged() -> None:
    assert judged([STEADY], QUIET) == []


@pytest.mark.parametrize(
    ("row", "where", "word"),
    [
        (a_row([50.0, 110.0], [5.0, 5.1]), QUIET, "rate"),
        (a_row([100.0, 110.0], [5.0, 9.0]), QUIET, "all ratios"),
        (a_row([100.0, 110.0], [5.0, 5.1], 0.3), QUIET, "30% of its core"),
        (STEADY, Machine("Linux", "a CPU", 2, True, False, 3.0), "load"),
        (STEADY, Machine("Linux", "a CPU", 1, False, False, 0.1), "one core"),
    ],
)
def test_a_busy_machine_is_named(row: Row, where: Machine, word: str) -> None:
    why = judged([row], where)
    assert len(why) == 1
    assert word in why[0]


def test_others_that_had_to_wait_do_not_matter() -> None:
    assert judged([STEADY], Machine("Linux", "a CPU", 2, True, True, 8.0)) == []


def test_one_disturbed_row_makes_no_busy_machine() -> None:
    assert judged([STEADY, STEADY, a_row([10.0, 110.0], [5.0, 9.0])], QUIET) == []


def a_report(busy: list[str]) -> Report:
    program = Program("1", "p2ptui 1", "pure", "cpython 3", "/p2ptui", "")
    return Report(1, QUIET, program, 1, False, 1.0, [], busy)


def test_the_verdict_says_why() -> None:
    assert "quiet enough" in verdict(a_report([]))
    assert verdict(a_report(["this", "that"])) == "TOO BUSY TO JUDGE: this; that."


def test_several_stand_beside_each_other() -> None:
    reports = [a_report([]), a_report([])]
    for report, cpu_us in zip(reports, (9.0, 6.0), strict=True):
        report.rows = [Row("ping", "Ping", by_cpu=spread([0.5]), cpu_us=spread([cpu_us]))]
    head, _, row = beside(reports).splitlines()
    assert "| / C by CPU, A: pure | / C by CPU, B: pure |" in head
    assert "| CPU us, A over B |" in head
    assert "| 9.0 | 6.0 | 1.50 |" in row


# --- what is left out


def test_a_row_that_was_skipped_says_why() -> None:
    text = written([Row("stun-beside", "STUN, coturn", skipped="it is not installed")])
    assert "| STUN, coturn |  |  |  |  | skipped: it is not installed |" in text


def test_without_coturn_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "not installed" in coturn.reason_to_skip()


def test_without_a_compiler_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", "")
    assert "no C compiler" in table.reason_to_skip()


def test_on_another_system_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in table.reason_to_skip()


def test_a_program_that_does_not_start_is_told_of(tmp_path: Path) -> None:
    interpreter = machine.Interpreter(None, tmp_path)
    running = crowded.program(interpreter, 10, "--no-such-option")
    with pytest.raises(RuntimeError, match="no-such-option"), running:
        pass


# --- the load generator


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with loopback.compiled() as program:
        assert program is not None
        crowd = Crowd(program, tmp_path_factory.mktemp("crowd"))
        with contextlib.closing(crowd):
            yield crowd


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE_S)
        yield sock


def test_each_datagram_comes_from_its_own_address(crowd: Crowd, server: socket.socket) -> None:
    crowd.write([(host_of(number), b"%d" % number) for number in range(300)])
    with crowd.driving(server.getsockname()[1], seconds=PATIENCE_S, window=300):
        heard = {}
        while len(heard) < 300:
            data, address = server.recvfrom(100)
            heard[int(data)] = address
            server.sendto(b"answer", address)
    assert heard == {number: (host_of(number), crowd.port) for number in range(300)}


def test_only_what_holds_the_match_is_an_answer(crowd: Crowd, server: socket.socket) -> None:
    crowd.write([(host_of(1), b"question")] * 3)
    with crowd.driving(
        server.getsockname()[1], seconds=PATIENCE_S, window=1, match="good"
    ) as process:
        for _ in range(3):
            _, address = server.recvfrom(100)
            server.sendto(b"nonsense", address)
            server.sendto(b"a good answer", address)
        told, _ = process.communicate(timeout=PATIENCE_S)
    assert told.split()[0] == "3"


def test_lost_answers_are_counted_and_the_load_ends(crowd: Crowd, server: socket.socket) -> None:
    crowd.write([(host_of(1), b"question")] * 4)
    driven = crowd.drive(server.getsockname()[1], seconds=PATIENCE_S, window=2)
    assert (driven.answers, driven.lost) == (0, 4)


def test_a_load_ends_in_its_time(crowd: Crowd, server: socket.socket) -> None:
    crowd.write([(host_of(1), b"question")] * 100_000)
    assert crowd.drive(server.getsockname()[1], seconds=0.1, window=1).lost < 100_000


PING = (
    b'{"id":"1","message_type":"Ping","timestamp":1,"payload":{"nonce":"77"},'
    b'"sequence_number":null,"requires_ack":false,"ack_for":null}'
)
NUMBERED = (
    b'{"id":"2","message_type":"DiscoveryUpdate","timestamp":1,"payload":{"sequence_number":5},'
    b'"sequence_number":4711,"requires_ack":true,"ack_for":null}'
)


def test_a_crowd_is_polite_while_it_waits(crowd: Crowd, server: socket.socket) -> None:
    host = host_of(7)
    with crowd.driving(server.getsockname()[1], seconds=0, window=1, linger_s=PATIENCE_S):
        pass  # what was written last is still there: it is replaced
    crowd.write([])
    with crowd.driving(server.getsockname()[1], seconds=0, window=1, linger_s=PATIENCE_S):
        answers = []
        for data in (PING, NUMBERED, b"\xc6keykeykey" + bytes(100)):
            server.sendto(data, (host, crowd.port))
            answers.append(server.recvfrom(2000))
    assert {address for _, address in answers} == {(host, crowd.port)}
    pong, ack = (msgspec.json.decode(data) for data, _ in answers[:2])
    assert (pong["message_type"], pong["payload"]) == ("Pong", {"nonce": "77"})
    assert (ack["message_type"], ack["ack_for"]) == ("Ack", 4711)
    assert pong["id"] != ack["id"]
    assert answers[2][0] == b"\xc7keykeyke"


# --- the profile


@needs_load
def test_a_profile_sees_the_layers() -> None:
    profile = profile_layers.measure("ping", cpu_s=0.3)
    text = profile_layers.written(profile)
    assert profile.seen > 0
    assert sum(seen for _, seen in profile_layers.layers(profile)) == profile.seen
    assert "| layer | share | us an answer |" in text


@pytest.mark.parametrize(
    ("file", "line", "layer"),
    [
        ("/x/p2ptui/wire/codec.py", "", "wire"),
        ("/x/p2ptui/core/endpoint.py", "", "core"),
        ("/x/p2ptui/core/mesh/pager.py", "", "core/mesh"),
        ("/x/p2ptui/io/udp.py", "self._sendto(data, address)", profile_layers.CALLS),
        ("/x/p2ptui/io/udp.py", "received.append(recvfrom(SIZE))", profile_layers.CALLS),
        ("/x/p2ptui/io/udp.py", "return sent", "io"),
        ("/x/p2ptui/headless.py", "", "headless"),
        ("/usr/lib/python3/asyncio/events.py", "", "other: libraries and the event loop"),
    ],
)
def test_a_line_belongs_to_a_layer(file: str, line: str, layer: str) -> None:
    assert profile_layers.layer_of(file, line, "/x/p2ptui") == layer


# --- the command


ROOT = Path(__file__).parent.parent


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@needs_load
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_was_started(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "echo", "--rounds", "1000"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    with process.stderr as errors:
        while "rounds" not in errors.readline():
            assert process.poll() is None
        children = children_of(process.pid)
        assert len(children) >= 2, "the node and the bare echo"
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number
    deadline = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_load
def test_the_p2ptui_of_another_interpreter_is_measured(tmp_path: Path) -> None:
    package = tmp_path / "p2ptui"
    package.symlink_to(ROOT / "p2ptui")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    report, own = table.compare(TINY, ("ping",), [str(python), None])
    assert report.program.package == str(package)
    assert report.program.commit == ""
    assert own.program.package == str(ROOT / "p2ptui")
    for each in (report, own):
        assert [row.key for row in each.rows] == ["ping"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "0"], "--rounds 0: one at least"),
        (["--json", "/nowhere/file"], "there is no folder /nowhere"),
        (["--python", "/nowhere/python"], "/nowhere/python: No such file"),
        (["--python", "/bin/false"], "no p2ptui is installed there"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests.bench", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert words in capsys.readouterr().err


def test_the_schema_is_printed_on_request() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--schema"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
        env=dict(os.environ),
    )
    assert msgspec.json.decode(ran.stdout)["$ref"] == "#/$defs/Report"
