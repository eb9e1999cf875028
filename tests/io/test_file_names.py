"""Whatever a file is called by others, it is kept as one file in one folder, on every system."""

import ntpath
import string
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.io.file_names import MAX_NAME_BYTES, NAMELESS, harmless_name, numbered_name
from p2ptui.text import printable

RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"} | {
    port + digit for port in ("com", "lpt") for digit in "0123456789¹²³"
}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("notes.txt", "notes.txt"),
        ("Grüße 🎉.txt", "Grüße 🎉.txt"),
        ("2026 (1) [final], v2 + 'quotes' & $x #1.tar.gz", None),
        ("README", "README"),
        # Paths.
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("a/b\\c.txt", "c.txt"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("folder/", "folder"),
        ("a/..", "a"),
        ("//server/share/x", "x"),
        ("\\\\?\\C:\\x.txt", "x.txt"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("C:evil.txt", "evil.txt"),
        ("C:", NAMELESS),
        ("notes.txt:stream:$DATA", "notes.txt_stream_$DATA"),
        # Nothing is left.
        ("", NAMELESS),
        (".", NAMELESS),
        ("..", NAMELESS),
        ("...", NAMELESS),
        ("/", NAMELESS),
        ("  ", NAMELESS),
        ("---", NAMELESS),
        # Beginnings and ends.
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("--help.txt", "help.txt"),
        ("~root", "root"),
        (" x ", "x"),
        ("x.txt. . .", "x.txt"),
        ("x\u00a0", "x"),
        # What cannot be seen, or acts on a terminal.
        ("a\0b.txt", "a_b.txt"),
        ("a\x1b[31m\n\r\t\x7f\x9b.txt", "a_[31m_____.txt"),
        ("invoice\u202etxt.exe", "invoice_txt.exe"),
        ("a\u200bb\ufeff\u2066.txt", "a_b__.txt"),
        ("a\ud800b", "a_b"),
        ("a\u2028b\ue000", "a_b_"),
        ('<>:"|?*.txt', "_______.txt"),
        # Devices.
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("Com1.tar.gz", "_Com1.tar.gz"),
        ("LPT\u00b2.doc", "_LPT\u00b2.doc"),
        ("aux .c", "_aux .c"),
        ("CONIN$", "_CONIN$"),
        ("console.txt", "console.txt"),
        ("com10", "com10"),
        # Unicode.
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        ("\u1100\u1161", "\uac00"),
    ],
    ids=ascii,
)
def test_what_a_name_becomes(name: str, kept: str | None) -> None:
    assert harmless_name(name) == (name if kept is None else kept)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("x" * 300 + ".txt", ".txt"),
        ("ü" * 300 + ".tar.gz", ".tar.gz"),
        ("🎉" * 300 + ".jpeg", ".jpeg"),
        ("x" * 1_000_000 + ".txt", ".txt"),
        ("x" * 300, ""),
        ("a." + "x" * 300, ""),
    ],
    ids=lambda value: ascii(value[-8:]),
)
def test_a_name_that_is_too_long_keeps_its_suffix(name: str, suffix: str) -> None:
    kept = harmless_name(name)
    assert 240 < len(kept.encode()) <= MAX_NAME_BYTES
    assert kept.endswith(suffix)
    second = numbered_name(kept, 2)
    assert 240 < len(second.encode()) <= MAX_NAME_BYTES
    assert second.endswith(f" (2){suffix}")


def is_reserved(name: str) -> bool:
    """Whether Windows has a device of that name; pathlib tells that until Python 3.12 only."""
    if hasattr(ntpath, "isreserved"):
        return bool(ntpath.isreserved(name))
    return PureWindowsPath(name).is_reserved()


def test_a_number_stands_before_the_suffix() -> None:
    assert numbered_name("notes.txt", 2) == "notes (2).txt"
    assert numbered_name("site.tar.gz", 12) == "site (12).tar.gz"
    assert numbered_name("README", 3) == "README (3)"


nasty = st.text(
    st.sampled_from("/\\:.-~ \0\n\x1b\u202e\u200b\ud800<>|?*\"'$%&aZüé\u0301\u1100\u1161🎉")
    | st.characters(codec=None, exclude_categories=()),
    max_size=400,
)
devices = st.builds(
    "{}{}{}".format,
    st.text(" .-_~/\\C:", max_size=3),
    st.sampled_from(sorted(RESERVED)).flatmap(lambda n: st.sampled_from([n, n.upper(), n.title()])),
    st.text(" ./\\:\0x", max_size=4),
)
parts = st.sampled_from(["..", ".", "", "C:", "a", "con", "x.txt", "-", "\\\\?\\", "~", "NUL "])
paths = st.lists(parts | nasty, max_size=6).flatmap(
    lambda found: st.sampled_from(["/", "\\"]).map(lambda separator: separator.join(found))
)


@given(nasty | devices | paths)
def test_the_result_is_one_component_that_means_nothing_else(name: str) -> None:
    kept = harmless_name(name)
    for candidate in (kept, numbered_name(kept, 2), numbered_name(kept, 999)):
        require_harmless(candidate)
    assert harmless_name(kept) == kept


def require_harmless(name: str) -> None:
    directory = Path("/in")
    assert name not in ("", ".", "..")
    assert PurePosixPath(name).name == name
    assert PureWindowsPath(name).name == name
    assert not PureWindowsPath(name).drive
    assert (directory / name).parent == directory
    assert PureWindowsPath("C:/in", name).parent == PureWindowsPath("C:/in")
    assert not is_reserved(name)
    assert name.partition(".")[0].rstrip().lower() not in RESERVED
    assert name[0] not in ".-~ "
    assert name[-1] not in ". "
    assert not set(name) & set('<>:"/\\|?*')
    assert printable(name, 1000) == name
    assert unicodedata.is_normalized("NFC", name)
    assert 1 <= len(name.encode("utf-8")) <= MAX_NAME_BYTES


@given(
    st.text(string.ascii_letters + string.digits + "_() ,+&'[]", min_size=1, max_size=60).map(
        lambda text: f"x{text}x.txt"
    )
)
def test_a_usual_name_stays_as_it_is(name: str) -> None:
    assert harmless_name(name) == name
