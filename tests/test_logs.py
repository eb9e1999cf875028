"""The log: two formats, one line a record, nothing remote that acts, no failure that spreads."""

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui import logs
from p2ptui.config import LoggingOptions
from p2ptui.errors import ConfigError
from p2ptui.log_file import lost_lines
from p2ptui.logs import TRACE, configure_logging, default_log_file, shutdown_logging

log = logging.getLogger("p2ptui.test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    shutdown_logging()


def logging_to(stream: io.StringIO, *, verbose: bool = False, **options: Any) -> io.StringIO:
    configure_logging(LoggingOptions(**options), stream, verbose=verbose)
    return stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# --- levels


@pytest.mark.parametrize(
    ("options", "verbose", "logged"),
    [
        ({}, False, "INFO WARN ERROR"),
        ({"level": "trace"}, False, "TRACE DEBUG INFO WARN ERROR"),
        ({"level": "debug"}, False, "DEBUG INFO WARN ERROR"),
        ({"level": "warn"}, False, "WARN ERROR"),
        ({"level": "error"}, False, "ERROR"),
        ({"level": "warn", "verbose_logging": True}, False, "DEBUG INFO WARN ERROR"),
        ({"level": "trace", "verbose_logging": True}, False, "TRACE DEBUG INFO WARN ERROR"),
        ({}, True, "DEBUG INFO WARN ERROR"),
    ],
)
def test_the_level_decides_what_is_logged(
    options: dict[str, Any], verbose: bool, logged: str
) -> None:
    stream = logging_to(io.StringIO(), verbose=verbose, **options)
    for level in (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(level, "message")
    assert " ".join(line.split()[2] for line in stream.getvalue().splitlines()) == logged


# --- formats


def test_pretty_is_time_level_message_and_fields() -> None:
    stream = logging_to(io.StringIO())
    log.warning("lost %s", "alice", extra={"fields": {"rtt_ms": 12.5, "peer": "a\nb"}})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARN  lost alice rtt_ms=12\.5 peer=a\\nb\n",
        stream.getvalue(),
    )


@pytest.mark.parametrize("way", ["pretty", "json"])
@pytest.mark.parametrize(
    ("created", "seconds"),
    [(-0.25, "59.750"), (-1.0, "59.000"), (-86_400.125, "59.875"), (0.25, "00.250")],
)
def test_a_time_before_1970_is_one_line_too(created: float, seconds: str, way: str) -> None:
    stream = logging_to(io.StringIO(), format=way)
    record = log.makeRecord(log.name, logging.INFO, "", 0, "early", (), None)
    record.created = created
    log.handle(record)
    (line,) = stream.getvalue().splitlines()
    assert re.search(rf":\d\d:{re.escape(seconds)}[ Z]", line)


def test_json_is_an_object_a_line() -> None:
    stream = logging_to(io.StringIO(), format="json")
    log.info(
        "joined %s",
        "né",
        extra={"fields": {"peers": 3, "loss": float("nan"), "path": ["a\x1b", None], "level": 1}},
    )
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("timestamp"))
    assert entry == {
        "level": "info",
        "target": "p2ptui.test",
        "message": "joined né",
        "peers": 3,
        "loss": "nan",
        "path": ["a\\x1b", None],
    }


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WT_SESSION", "a terminal of Windows that knows colours")

    log_line(terminal := logging_to(Terminal()))
    assert "\x1b[32mINFO \x1b[0m" in terminal.getvalue()
    log_line(pipe := logging_to(io.StringIO()))
    assert "\x1b" not in pipe.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    log_line(plain := logging_to(Terminal()))
    assert "\x1b" not in plain.getvalue()


@pytest.mark.parametrize("format_", ["pretty", "json"])
def test_the_journal_is_told_priorities_and_has_a_clock_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    path = tmp_path / "journal"
    with path.open("w", encoding="utf-8") as stream:
        about = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        configure_logging(LoggingOptions(level="trace", format=format_), stream)
        for level in (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            log.log(level, "message")
        fail("text")
        shutdown_logging()
    lines = path.read_text("utf-8").splitlines()
    assert [line[:3] for line in lines[:5]] == ["<7>", "<7>", "<6>", "<4>", "<3>"]
    assert {line[:3] for line in lines[5:]} == {"<3>"}  # the lines of a traceback, too
    if format_ == "pretty":
        assert lines[3] == "<4>WARN  message"
    else:
        assert json.loads(lines[3].removeprefix("<4>"))["message"] == "message"


def test_another_stream_than_the_journals_is_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is started by a service, with its own standard error, has the variable too."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        configure_logging(LoggingOptions(), stream)
        log.info("message")
        shutdown_logging()
    assert re.match(r"\d{4}-.* INFO  message\n", (tmp_path / "log").read_text("utf-8"))


def log_line(_: io.StringIO) -> None:
    log.info("message")


# --- remote text


@pytest.mark.parametrize("format_", ["pretty", "json"])
@given(text=st.text(st.characters()))
def test_whatever_a_peer_says_is_one_inert_line(format_: str, text: str) -> None:
    stream = logging_to(io.StringIO(), format=format_)
    log.info("said %s", text, extra={"fields": {text: text}})
    (line,) = stream.getvalue().split("\n")[:-1]
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ud800-\udfff]", line)
    shutdown_logging()


def test_a_long_message_is_cut() -> None:
    stream = logging_to(io.StringIO())
    log.info("x" * 1_000_000)
    assert len(stream.getvalue()) < logs.MESSAGE_LIMIT + 100


# --- errors


def refuse(text: str) -> None:
    raise ValueError(text)


def fail(text: str) -> None:
    try:
        refuse(text)
    except ValueError:
        log.exception("handshake failed")


def test_an_exception_is_one_line() -> None:
    stream = logging_to(io.StringIO())
    fail("bad\n\x1b[2J")
    assert stream.getvalue().endswith("ERROR handshake failed: ValueError: bad\\n\\x1b[2J\n")


def test_its_traceback_is_for_debugging_and_inert_too() -> None:
    stream = logging_to(io.StringIO(), level="debug")
    fail("bad\n2025-01-01 00:00:00.000 INFO  forged \x1b[2J")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR handshake failed")
    assert all(line.startswith("    | ") for line in rest)
    assert rest[-2:] == [
        "    | ValueError: bad",
        "    | 2025-01-01 00:00:00.000 INFO  forged \\x1b[2J",
    ]


def test_json_keeps_one_line_with_a_traceback() -> None:
    stream = logging_to(io.StringIO(), level="debug", format="json")
    fail("bad")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["error"] == "ValueError: bad"
    assert json.loads(line)["traceback"][-1] == "ValueError: bad"
    logging_to(stream := io.StringIO(), format="json")
    fail("bad")
    assert "traceback" not in json.loads(stream.getvalue())


def test_a_mistaken_call_is_logged_rather_than_lost() -> None:
    stream = logging_to(io.StringIO())
    log.info("%d peers", "many")
    assert "%d peers (could not be formatted)" in stream.getvalue()


def test_what_asyncio_reports_goes_the_same_way() -> None:
    stream = logging_to(io.StringIO())
    logging.getLogger("asyncio").error("Task exception\nwas never retrieved")
    logging.getLogger("asyncio").info("selector")
    assert stream.getvalue().endswith("ERROR Task exception\\nwas never retrieved\n")
    assert len(stream.getvalue().splitlines()) == 1


# --- outputs


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingOptions())
    log.info("message")
    captured = capsys.readouterr()
    assert captured.err.endswith("message\n")
    assert captured.out == ""


def test_a_second_call_replaces_the_first() -> None:
    first = logging_to(io.StringIO())
    second = logging_to(io.StringIO(), level="error")
    second = logging_to(second, level="info")
    log.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_shutdown_leaves_logging_as_it_was() -> None:
    logging_to(io.StringIO(), level="debug")
    shutdown_logging()
    shutdown_logging()
    package = logging.getLogger("p2ptui")
    assert (package.handlers, package.propagate, package.level) == ([], True, logging.NOTSET)


def test_a_reader_that_went_away_costs_nothing_but_the_records() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", buffering=1)
    configure_logging(LoggingOptions(), stream)
    os.close(reader)
    log.info("nobody hears this")
    shutdown_logging()
    with pytest.raises(OSError):  # noqa: PT011
        stream.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_costs_nothing_but_the_records() -> None:
    stream = io.StringIO()
    logging_to(stream, log_to_file=True, log_file_path="/dev/full")
    log.info("message")
    shutdown_logging()
    assert stream.getvalue().count("message") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_once_and_so_is_its_end(tmp_path: Path) -> None:
    path, real = tmp_path / "node.log", tmp_path / "real.log"
    path.symlink_to("/dev/full")
    before = lost_lines()
    stream = logging_to(io.StringIO(), level="warn", log_to_file=True, log_file_path=str(path))
    for number in range(20):
        log.warning("lost %d %s", number, "x" * 1000)
    configure_logging(  # as SIGHUP does
        LoggingOptions(level="warn", log_to_file=True, log_file_path=str(path)), stream
    )
    log.warning("lost too")
    assert lost_lines() - before == 21
    path.unlink()
    path.symlink_to(real)
    real.write_text("cut in the mid")
    log.warning("found")
    log.warning("the last")
    told = [line for line in stream.getvalue().splitlines() if "the log file" in line]
    assert [line[24:] for line in told] == [
        f"ERROR the log file {path} cannot be written: No space left on device; its lines are lost"
        " until it can",
        f"WARN  the log file {path} is written again; 21 lines were lost",
    ]
    assert [line[24:] for line in real.read_text("utf-8").splitlines()[1:]] == [
        "WARN  found",
        f"WARN  the log file {path} is written again; 21 lines were lost",
        "WARN  the last",
    ]
    assert lost_lines() - before == 21


def test_a_closed_stream_costs_nothing_but_the_records() -> None:
    stream = logging_to(io.StringIO())
    stream.close()
    log.info("message")


# --- the file


def test_a_file_gets_the_same_without_colours(tmp_path: Path) -> None:
    path = tmp_path / "new" / "node.log"
    logging_to(Terminal(), log_to_file=True, log_file_path=str(path))
    log.info("héllo")
    shutdown_logging()
    assert path.read_text("utf-8").endswith("INFO  héllo\n")
    assert "\x1b" not in path.read_text("utf-8")


@pytest.mark.parametrize("max_log_files", [1, 3])
def test_a_file_is_put_aside_when_it_has_grown(tmp_path: Path, max_log_files: int) -> None:
    path = tmp_path / "node.log"
    logging_to(
        io.StringIO(),
        log_to_file=True,
        log_file_path=str(path),
        max_log_file_size=1,
        max_log_files=max_log_files,
    )
    for _ in range(2500):  # 5 MB
        log.info("x" * 2000)
    log.info("the last")
    shutdown_logging()
    files = list(tmp_path.iterdir())
    assert len(files) == max_log_files
    assert all(file.stat().st_size <= 1_000_000 for file in files)
    assert path.read_text("utf-8").endswith("the last\n")


def test_a_file_that_cannot_be_opened_is_named_and_nothing_changes(tmp_path: Path) -> None:
    stream = logging_to(io.StringIO())
    with pytest.raises(ConfigError) as caught:
        configure_logging(LoggingOptions(log_to_file=True, log_file_path=str(tmp_path)))
    assert str(caught.value).startswith(f"logging.log_file_path: cannot open {str(tmp_path)!r}: ")
    log.info("still here")
    assert "still here" in stream.getvalue()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX systems")
def test_a_pipe_without_a_reader_stops_nobody(tmp_path: Path) -> None:
    pipe = tmp_path / "log.txt"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="it is a pipe"):
        configure_logging(LoggingOptions(log_to_file=True, log_file_path=str(pipe)))


def test_the_default_file_is_in_the_users_directory_for_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_log_file().name == "p2ptui.log"
    monkeypatch.setattr(logs, "default_log_file", lambda: tmp_path / "default.log")
    logging_to(io.StringIO(), log_to_file=True)
    log.info("message")
    assert (tmp_path / "default.log").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="paths differ")
def test_a_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    logging_to(io.StringIO(), log_to_file=True, log_file_path="~/node.log")
    assert (tmp_path / "node.log").exists()
