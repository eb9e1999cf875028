"""Remote text made harmless for people: what cannot be seen is spelled out.

Whatever a peer sends may end on a terminal, in a log or in a pasted report. There an
escape sequence retitles the window, a bidi override reorders the line and an unseen
character makes two names look alike. Letters of every script and emoji stay as they are.
"""

import os
import unicodedata
from typing import Final

_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ELLIPSIS = "…"

SHORTEST_TOLD_S: Final = 0.001

# Letters and marks by category, but drawn as nothing (Default_Ignorable_Code_Point):
# grapheme joiner, Hangul and Khmer fillers, and the selectors in plane 14, which carry
# hidden text as well as tag characters do.
_UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xE0100, 0xE01F0)))
)


def printable(text: str, limit: int = 200) -> str:
    """Neutralise text that somebody else wrote, for one line of output.

    Control characters (C0, DEL, C1), format characters (bidi controls, zero width, tags,
    byte order mark), line and paragraph separators, lone surrogates, private and
    unassigned characters become visible escapes such as `\\x1b`, `\\u202e` or `\\n`.

    Args:
        text: Anything.
        limit: The most characters in the result, 1 or more; what is cut off becomes "…".
            Text beyond the limit costs nothing.

    Returns:
        Text that is safe to print as it is. Where markup is interpreted, the caller must
        still turn that off.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    pieces: list[str] = []
    length = 0
    for character in text[:limit]:
        piece = character if _is_seen(character) else _escaped(character)
        pieces.append(piece)
        length += len(piece)
    if length <= limit and len(text) <= limit:
        return "".join(pieces)
    while length > limit - len(_ELLIPSIS):
        length -= len(pieces.pop())
    return "".join(pieces) + _ELLIPSIS


def _is_seen(character: str) -> bool:
    if character in _UNSEEN:
        return False
    # Spaces other than U+0020 are not "printable" in Python's sense, but harmless.
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def typed(text: str) -> str:
    """Words from the command line or the environment, for all but names of files.

    The system hands over bytes, and Python reads them in the encoding of the locale: under LC_ALL=C
    or in Latin-1 a name in UTF-8 would be another one than the same name in a file, or from a peer.
    What is not UTF-8 stays as Python read it.
    """
    try:
        return os.fsencode(text).decode()
    except UnicodeError:
        return text


def shown_path(path: object) -> str:
    """The name of a file, for a line of output: it may hold anything."""
    return printable(str(path), 300)


def cause(error: Exception) -> str:
    """Why the system, or a library, did not do something: in its words, without the file's name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def about(where: str, words: str) -> str:
    """Words about a place, which is named first; once, where they begin with it themselves.

    Args:
        where: As people write it.
        words: What is said of it.
    """
    is_named = words.startswith((f"{where} ", f"{where}: "))
    return words if is_named or not words else f"{where}: {words}"


def between(page: str, begin: str, end: str, text: str) -> str:
    """A page with a text in place of what stands between two marks.

    Raises:
        ValueError: The page lacks a mark.
    """
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page must hold {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what it counts: `1 try`, `2 tries`.

    Args:
        number: How many.
        one: What one is called.
        many: What several are called; `one` and an s without it.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def shown(value: object, limit: int = 80) -> str:
    """Whatever a program passed, for an error message: its `repr`, in one line of output."""
    try:
        text = repr(value)
    except Exception:  # a class may do anything in there, and a huge number has no digits to show
        text = "of a kind that cannot be shown"
    return printable(text, limit)


def whole_number(text: str, most: int) -> int | None:
    """The number that a text is, 0 to `most`, in ASCII digits; None if it is anything else.

    `int` also takes signs, spaces, underscores and the digits of other scripts, and raises
    `ValueError` for thousands of digits, also of those for which `str.isdigit` is True.
    """
    if len(text) > len(str(most)) or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= most else None


def seconds_words(seconds: float) -> str:
    """A time for people, `9.97335` as `10 s`: two digits, more only of whole seconds.

    What is too short to be of use as a number is told as such, and none has an exponent.
    """
    if 0 < seconds < SHORTEST_TOLD_S:
        return "less than 1 ms"
    return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
