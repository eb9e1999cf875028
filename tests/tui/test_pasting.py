"""What a terminal sends, as keys and pastes: nothing of a paste is ever a key."""

import asyncio
import itertools
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from p2ptui.tui.pasting import (
    DOUBT_S,
    ESCAPE_S,
    MAX_PASTE_CHARACTERS,
    PASTE_END,
    PASTE_START,
    QUIET_S,
    STALL_S,
    Keys,
    Pasted,
    PasteGuard,
    harmless,
    one_line,
)
from p2ptui.tui.terminal import GuardedParser, guarded_driver

HOSTILE = "see \x1b[31mred\rping 1\rquit\r"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A terminal, and what was read of it."""

    def __init__(self) -> None:
        self.guard = PasteGuard()
        self.now = 100.0
        self.told: list[Keys | Pasted] = []

    def sends(self, *reads: str, apart_s: float = 0.001) -> "Line":
        for read in reads:
            self.now += apart_s
            self.told += self.guard.feed(read, self.now)
            self.told += self.guard.tick(self.now)
        return self

    def rests(self, seconds: float) -> "Line":
        for _ in range(int(seconds / 0.01) + 1):
            self.now += 0.01
            self.told += self.guard.tick(self.now)
        return self

    @property
    def keys(self) -> str:
        return "".join(entry.text for entry in self.told if isinstance(entry, Keys))

    @property
    def pastes(self) -> list[str]:
        return [entry.text for entry in self.told if isinstance(entry, Pasted)]


def pasted(text: str) -> str:
    return PASTE_START + text + PASTE_END


def test_a_paste_is_text_without_control_characters_and_no_key():
    line = Line().sends(pasted(HOSTILE)).rests(QUIET_S)
    assert line.keys == ""
    assert line.pastes == ["see [31mred\nping 1\nquit"]


@given(st.lists(st.integers(0, 60)), st.sampled_from(["", "ab\x1b[A", "\x1b", "\x1b[200"]))
def test_where_the_reads_end_makes_no_difference(cuts, before):
    everything = before + pasted(HOSTILE) + "x\r"
    places = sorted({0, *(cut for cut in cuts if cut < len(everything)), len(everything)})
    reads = [everything[a:b] for a, b in itertools.pairwise(places)]
    line = Line().sends(*reads).rests(1.0)
    assert line.pastes == ["see [31mred\nping 1\nquit"]
    assert line.keys == before + "x\r"
    assert isinstance(line.told[-1], Keys)


@given(st.text("\x1b[201~ab\r\x9b"), st.lists(st.integers(0, 40)))
def test_the_closing_sequence_in_a_paste_closes_nothing(text, cuts):
    everything = pasted(text)
    places = sorted({0, *(cut for cut in cuts if cut < len(everything)), len(everything)})
    reads = [everything[a:b] for a, b in itertools.pairwise(places)]
    line = Line().sends(*reads).rests(1.0)
    assert line.keys == ""
    assert len(line.pastes) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"a{PASTE_END}\rquit\r",
        f"a\x1b[20{PASTE_END}1~\rquit\r",
        f"{PASTE_END}\rquit\r{PASTE_START}b",
        f"{PASTE_START}{PASTE_START}\rquit\r",
        f"{PASTE_END}\rquit\r" + "x" * 50_000,
        f"{PASTE_END}{PASTE_END}\rquit\r{PASTE_END}",
        "a\x9b201~\rquit\r",
        "a\x1b[201;1~\rquit\r",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_paste_that_closes_itself_is_all_text(text, size):
    everything = pasted(text)
    reads = [everything[i : i + size] for i in range(0, len(everything), size)]
    line = Line().sends(*reads).rests(QUIET_S)
    assert line.keys == ""
    assert len(line.pastes) == 1
    assert "quit" in line.pastes[0]


def test_what_is_typed_after_a_paste_comes_after_it():
    line = Line().sends(pasted("hello") + "\r").rests(QUIET_S)
    assert line.told == [Pasted("hello"), Keys("\r")]
    line = Line().sends(pasted("hello")).rests(QUIET_S).sends("\r")
    assert line.told == [Pasted("hello"), Keys("\r")]


def test_keys_that_never_pause_after_a_paste_are_not_held_for_ever():
    line = Line().sends(pasted("hello"))
    for _ in range(60):
        line.sends("j", apart_s=0.03)
    assert line.told[0] == Pasted("hello")
    assert line.keys == "j" * 60


def test_a_paste_that_never_ends_is_shown_and_the_keys_work_again():
    line = Line().sends(f"{PASTE_START}ping 1\rqu").rests(STALL_S)
    assert line.told == [Pasted("ping 1\nqu")]
    # What is late is text still.
    line.sends("it\rquit\r").rests(STALL_S)
    assert line.keys == ""
    assert line.pastes[1:] == ["it\nquit"]
    line.rests(0.1).sends("\x11").rests(0.1).sends("\x1b[A")
    assert line.keys == "\x11\x1b[A"
    line.rests(DOUBT_S).sends("stats\r")
    assert line.keys.endswith("stats\r")


def test_the_late_end_of_a_paste_is_no_key():
    line = Line().sends(f"{PASTE_START}ping 1\r\x1b[20").rests(STALL_S).sends("1~").rests(1.0)
    assert line.keys == ""
    assert "".join(line.pastes) == "ping 1"
    line.sends("x\r")
    assert line.keys == "x\r"


def test_somebody_who_presses_keys_while_a_paste_does_not_end_gets_out():
    line = Line().sends(PASTE_START)
    for _ in range(10):
        line.rests(0.2).sends("\x11")
    assert "\x11" in line.keys


def test_a_huge_paste_is_kept_in_part():
    line = Line().sends(PASTE_START, *["x" * 4096] * 1000)
    assert sum(map(len, line.guard._text)) == MAX_PASTE_CHARACTERS + 1
    line.sends(PASTE_END).rests(QUIET_S)
    assert line.keys == ""
    assert [len(text) for text in line.pastes] == [MAX_PASTE_CHARACTERS + 1]


def test_an_escape_alone_is_the_key_after_a_moment():
    line = Line().sends("\x1b")
    assert line.told == []
    line.rests(ESCAPE_S)
    assert line.told == [Keys("\x1b", complete=True)]
    # Even then a paste that begins so is one.
    line.sends("[200~quit\r" + PASTE_END).rests(QUIET_S)
    assert line.pastes == ["quit"]
    assert line.keys == "\x1b"


@given(st.text())
def test_what_was_pasted_is_printable(text):
    line = one_line(text)
    assert line.isprintable()
    assert harmless(line) == line
    assert all(part.isprintable() for part in harmless(text).split("\n"))


def test_lines_become_one_and_letters_of_all_scripts_stay():
    assert one_line("a\r\n  b\x0bc\u2028d\te") == "a b c d e"
    assert one_line("grüße\u00a0日本 🙂\u3000x") == "grüße 日本 🙂 x"
    assert one_line("\x00\x07\x1b]0;t\x07\x9b1m\u202ex\ud800") == "]0;t1mx"


# The parser of the terminal


def parsed(*reads: str, rest_s: float = 1.0) -> list[events.Event]:
    clock = Clock()
    parser = GuardedParser(clock=clock)
    told = []
    for read in reads:
        clock.now += 0.001
        told += parser.feed(read)
    for _ in range(int(rest_s / 0.01)):
        clock.now += 0.01
        told += parser.tick()
    return told


def test_the_parser_tells_pastes_and_keys():
    told = parsed("ab", pasted(HOSTILE), "\x1b[A\r")
    keys = [event.key for event in told if isinstance(event, events.Key)]
    assert keys == ["a", "b", "up", "enter"]
    (paste,) = (event for event in told if isinstance(event, events.Paste))
    assert paste.text == "see [31mred\nping 1\nquit"
    assert told.index(paste) == 2


def test_escape_is_a_key_and_an_arrow_is_one_key():
    assert [event.key for event in parsed("\x1b")] == ["escape"]
    assert [event.key for event in parsed("\x1b[A")] == ["up"]
    assert [event.key for event in parsed("\x1b[", "A")] == ["up"]
    assert [event.key for event in parsed("a\x1b")] == ["a", "escape"]


@pytest.mark.parametrize(
    "odd",
    [
        "\x1b[1114112u",  # a key code beyond Unicode
        "\x1b[97;1;99999999999u",
        f"\x1b[{'9' * 20}u",
    ],
)
def test_what_no_terminal_sends_is_passed_over_and_all_else_is_read(odd):
    for reads in ((f"a{odd}bc",), (f"{odd}a{odd}b", f"c{odd}"), ("a", odd, "b", odd, odd, "c")):
        told = parsed(*reads)
        assert [event.key for event in told] == ["a", "b", "c"]


def test_the_mouse_on_a_screen_of_no_cells_is_passed_over():
    told = parsed("\x1b[48;0;0;0;0t", "a\x1b[<0;5;5Mb", "\x1b[48;24;80;240;800t\x1b[<0;11;11M")
    none, a, b, size, click = told
    assert (none.size, a.key, b.key) == ((0, 0), "a", "b")
    assert size.size == (80, 24)
    assert (click.x, click.y) == (1, 1)  # in pixels


@given(
    st.lists(
        st.sampled_from(["\x1b", "[", "<", "0", "48", "1114112", ";", ":", "t", "u", "M", "é"]),
        min_size=1,
    )
)
def test_whatever_a_terminal_sends_ends_nothing(pieces):
    parsed("\x1b[48;0;0;0;0t", "".join(pieces), rest_s=0.2)


def test_other_drivers_are_left_as_they_are():
    class Other:
        pass

    assert guarded_driver(Other) is Other
    posix = pytest.importorskip("textual.drivers.linux_driver").LinuxDriver
    assert guarded_driver(posix).run_input_thread is not posix.run_input_thread


def test_the_signal_that_stops_the_program_takes_no_lock_of_what_it_interrupts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    posix = pytest.importorskip("textual.drivers.linux_driver").LinuxDriver
    done: list[str] = []
    monkeypatch.setattr(posix, "_sigtstp_application", lambda _: done.append("stopped"))
    monkeypatch.setattr(posix, "_sigcont_application", lambda _: done.append("went on"))
    driver = object.__new__(guarded_driver(posix))

    async def program() -> None:
        driver._loop = asyncio.get_running_loop()
        driver._sigtstp_application(signal.SIGTSTP, None)
        assert done == []
        await asyncio.sleep(0)
        assert done == ["stopped"]
        driver._sigcont_application(signal.SIGCONT, None)
        assert done == ["stopped", "went on"]
        # One that comes before the program could be stopped takes that back.
        driver._sigtstp_application(signal.SIGTSTP, None)
        driver._sigcont_application(signal.SIGCONT, None)
        await asyncio.sleep(0)
        assert done == ["stopped", "went on"]

    asyncio.run(program())
