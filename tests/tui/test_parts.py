"""The parts of the screen by themselves: records, journal, history, series, settings, shell."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.events import (
    DataReceived,
    Direction,
    ErrorReceived,
    EventsDropped,
    FileReceived,
    FilesNotTold,
    MessageTraced,
    Path,
    PeerIntroduced,
    PeerRefused,
    PeerStatus,
    PeerStatusChanged,
    RelayDataReceived,
    StunServed,
)
from p2ptui.node import OtherNode
from p2ptui.tui.columns import COLUMNS, PeerRow, columns_for, render_cells, widths_for
from p2ptui.tui.detail import coloured_json
from p2ptui.tui.history import MAX_ENTRIES, History
from p2ptui.tui.journal import Journal
from p2ptui.tui.message_log import _NARROW_KIND_WIDTH, SHORT_KINDS
from p2ptui.tui.records import MAX_KEPT_BYTES, RecordLog
from p2ptui.tui.series import Series, rate_text, sparkline
from p2ptui.tui.settings import Settings
from p2ptui.tui.shell import shell_command
from p2ptui.verbs import UsageError, parse_command, read_payload
from p2ptui.wire.message import MessageType

BOB = ("10.0.0.2", 8080)


def journal(log: RecordLog) -> Journal:
    return Journal(log, lambda address: "bob\x1b" if address == BOB else "", lambda: 12.5)


def traced(data: bytes, kind: str = "Data") -> MessageTraced:
    return MessageTraced(Direction.OUT, BOB, "id", kind, len(data), data)


# Records


def test_a_record_is_found_by_its_number_for_as_long_as_it_is_kept():
    log = RecordLog(max_records=3)
    for number in range(5):
        journal(log).note(f"note {number}")
    assert log.trim() == 2
    assert [record.text for record in log] == ["note 2", "note 3", "note 4"]
    assert log.get(1) is None
    assert log.get(2).text == "note 2"
    assert log.get(5) is None
    assert len(log) == 3


def test_for_a_reader_twice_the_limit_is_kept():
    log = RecordLog(max_records=10)
    for number in range(30):
        journal(log).note(str(number))
        log.trim(keep_from=5)
    assert log.first_number == 10
    log.trim()
    assert log.first_number == 20


def test_the_bytes_kept_are_bounded_and_the_size_is_told_all_the_same():
    log = RecordLog(max_bytes=100_000)
    for _ in range(50):
        record = journal(log).write(traced(b"x" * 40_000))
        log.trim()
    assert record.size_bytes == 40_000
    assert len(record.data) == MAX_KEPT_BYTES
    assert record.summary == "40000 bytes"
    assert len(log) == 100_000 // MAX_KEPT_BYTES


@given(st.binary(max_size=300))
def test_any_bytes_have_a_summary_and_a_page_without_control_characters(data):
    record = journal(RecordLog()).write(traced(data))
    assert record.summary.isprintable() or not record.summary.isascii()
    for line in record.pretty().split("\n"):
        assert not any(ord(character) < 32 or ord(character) == 127 for character in line)
    json.dumps(record.as_dict())


def test_a_message_is_shown_whole_and_indented():
    record = journal(RecordLog()).write(traced(b'{"a":[1,{"b":"c"}]}'))
    assert record.pretty() == '{\n  "a": [\n    1,\n    {\n      "b": "c"\n    }\n  ]\n}'
    assert coloured_json(record.pretty()).plain == record.pretty()


# Journal


@pytest.mark.parametrize(
    ("event", "level", "words"),
    [
        (
            PeerStatusChanged("id", BOB, "bob", PeerStatus.AUTHENTICATED, None),
            "info",
            "authenticated",
        ),
        (
            PeerStatusChanged("id", BOB, "bob", PeerStatus.DISCONNECTED, None, "bye"),
            "warn",
            "disconnected: bye",
        ),
        (
            PeerStatusChanged("id", BOB, "", PeerStatus.DISCONNECTED, None, "disconnected: bye"),
            "warn",
            "disconnected: bye",
        ),
        (PeerIntroduced("id", BOB, "server"), "info", "introduced by a server"),
        (ErrorReceived("id", BOB, "no\x1bway"), "warn", r"reports: no\x1bway"),
        (PeerRefused(None, BOB, "it speaks in the open"), "warn", "refused: it speaks in the open"),
        (RelayDataReceived("id", "server", b"hi\xff"), "info", "relayed 3 bytes: hi\ufffd"),
        (StunServed(BOB, "primary", "binding"), "info", "STUN request at primary: binding"),
        (
            FileReceived("id", "bob", "x\x1b", 3, "00", "/in/x_"),
            "info",
            r"file x\x1b (3 bytes) is kept as /in/x_",
        ),
        (
            FileReceived("id", "bob", "x", 3, "00", None, "full"),
            "warn",
            "file x is not kept: full",
        ),
        (FilesNotTold(7), "warn", "7 more files were not kept"),
        (EventsDropped(7), "warn", "7 events are missing"),
    ],
)
def test_an_event_becomes_a_note(event, level, words):
    record = journal(RecordLog()).write(event)
    assert record.level == level
    assert words in record.summary
    assert record.direction == "note"
    assert record.time == 12.5


def test_what_a_message_says_already_is_not_told_twice():
    log = RecordLog()
    data = DataReceived("id", BOB, "hi", "message", Path.DIRECT, is_echo=False)
    connecting = PeerStatusChanged(None, BOB, "", PeerStatus.CONNECTING, None)
    assert journal(log).write(data) is None
    assert journal(log).write(connecting) is None
    assert len(log) == 0


def test_a_traced_message_has_direction_peer_and_level():
    record = journal(RecordLog()).write(traced(b"{}", "Ping"))
    assert (record.direction, record.peer, record.level) == ("out", r"bob\x1b", "debug")
    assert journal(RecordLog()).write(traced(b"{}", "Error")).level == "warn"


# History


def test_history_forgets_the_oldest_and_repeats_nothing(tmp_path):
    history = History(tmp_path / "history")
    for number in range(MAX_ENTRIES + 10):
        history.add(f"ping {number}")
        history.add(f"ping {number}")
    history.add("")
    history.add("with\x1bescape")
    again = History(tmp_path / "history")
    assert again.entries == history.entries
    assert len(again.entries) == MAX_ENTRIES
    assert again.entries[-1] == f"ping {MAX_ENTRIES + 9}"


def test_history_without_a_file_or_with_one_that_fails_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    for history in (History(), History(tmp_path / "file" / "below")):
        history.add("stats")
        history.add("nat")
        assert history.previous("dra") == "nat"
        assert history.previous("") == "stats"
        assert history.previous("") is None
        assert history.next() == "nat"
        assert history.next() == "dra"
        assert history.next() is None


# Settings


def test_settings_survive_and_a_damaged_file_is_no_harm(tmp_path):
    path = tmp_path / "deep" / "screen.json"
    Settings(path).remember("theme", "nord")
    assert Settings(path).text("theme") == "nord"
    for damaged in ("{", "[]", '{"theme": 7}', '{"theme": "\\u001b"}', "[" * 100_000):
        path.write_text(damaged)
        assert Settings(path).text("theme") == ""
    (tmp_path / "file").write_text("")
    settings = Settings(tmp_path / "file" / "below")
    settings.remember("theme", "nord")
    assert settings.text("theme") == "nord"


# Series


@given(st.lists(st.floats(0, 1e12), max_size=50), st.integers(1, 40))
def test_a_sparkline_is_as_wide_as_it_should(values, width):
    assert len(sparkline(values, width)) == width


def test_a_sparkline_shows_the_newest_and_nothing_below_its_foot():
    assert sparkline([1, 2, 4, 8], 4) == "▁▂▄█"
    assert sparkline([9, 0, 0], 2) == "▁▁"
    assert sparkline([], 3) == "   "
    series = Series(2)
    for value in (1, 2, 3):
        series.add(value)
    assert series.values == (2, 3)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1234, "1.2k"), (45_678, "46k"), (3e6, "3.0M"), (2e10, "20G")],
)
def test_a_rate_is_short(value, text):
    assert rate_text(value) == text
    assert rate_text(value, "/s") == f"{text}/s"


# Columns


@given(st.integers(0, 300))
def test_columns_fit_their_table(width):
    columns = columns_for(width)
    assert [c.name for c in columns][:2] == [COLUMNS[0].name, "Name"]
    if width >= 20:
        assert sum(widths_for(columns, width)) + len(columns) <= width + 8


def test_a_node_without_a_session_has_its_place_in_the_table():
    node = OtherNode("b0b0b0b0-0000-4000-8000-000000000001", "", BOB, "server", 1, ())
    row = PeerRow(node.node_id, node)
    line = render_cells(columns_for(200), [c.cell(row) for c in columns_for(200)], 200).plain
    assert "introduced" in line
    assert "told" in line
    assert "b0b0b0b0" in line
    assert "10.0.0.2:8080" in line


# What a shell would do


def test_payloads_that_are_json_travel_as_that():
    assert read_payload('{"a": 1}') == {"a": 1}
    assert read_payload("[1]") == [1]
    assert read_payload("[not json") == "[not json"
    assert read_payload("12") == "12"
    assert read_payload("[" * 100_000) == "[" * 100_000
    assert read_payload('{"a": NaN}') == '{"a": NaN}'
    with pytest.raises(UsageError, match='the name "a" stands twice'):
        read_payload('{"a": 1, "a": 2}')


def test_the_shell_command_for_a_node_behind_a_server_needs_one():
    node = OtherNode("b0b0b0b0-0000-4000-8000-000000000001", "zoe", None, "server", 2, ())
    ping = parse_command("ping zoe 3", ["zoe"])
    assert shell_command(ping, node, None, "p2p_default") == ""
    connect = parse_command("connect 1.2.3.4:5")
    assert shell_command(connect, None, None, "p2p_default") == "p2ptui --join 1.2.3.4:5"
    assert shell_command(connect, None, None, "my net").endswith("--network-id 'my net'")
    assert shell_command(parse_command("connect " + node.node_id), None, None, "p2p_default") == ""


# Types in a narrow column


def test_in_the_narrow_column_no_type_is_cut_and_no_two_look_alike():
    types = [value for name, value in vars(MessageType).items() if name.isupper()]
    shown = [SHORT_KINDS.get(kind, kind) for kind in types]
    assert max(map(len, shown)) <= _NARROW_KIND_WIDTH
    assert len(set(shown)) == len(types)
    assert set(SHORT_KINDS) <= set(types)
