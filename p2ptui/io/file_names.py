"""File names chosen by others, made harmless on every system.

The result is one component of a path on Linux, macOS and Windows, and has no special meaning there:
no folder, no drive, no device, no stream of another file, no option of a command.
"""

import re
import unicodedata
from typing import Final

from p2ptui.text import printable

MAX_NAME_BYTES: Final = 255
"""In UTF-8: what file systems allow for one name (Windows: 255 units of UTF-16, which is no
less).
"""

NAMELESS: Final = "file"
"""The name of a file if nothing of its own name is left."""

MAX_SUFFIX_BYTES: Final = 40
"""The last dot and what follows it, if longer than this, do not count as a suffix."""

_LOOKED_AT: Final = 600
"""Characters of a name that can matter; a name may have a megabyte."""

_SEPARATORS: Final = re.compile(r"[/\\]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_NUMBER: Final = re.compile(r"(?<=.) \((?:[2-9]|[1-9][0-9]{1,2})\)\Z")
_FORBIDDEN: Final = frozenset('<>:"|?*')
"""Forbidden on Windows, besides the separators and invisible characters (Naming Files, Paths, and
Namespaces).
"""

_NOT_IN_FRONT: Final = " .-~"
"""Hidden files, options of commands, home directories."""

_NOT_AT_END: Final = " ."
"""Windows drops them, and then means another file."""

_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"}
)
"""Devices on Windows, with any suffix and in any case."""


def harmless_name(name: str) -> str:
    """The name under which a file may be kept.

    Args:
        name: Anything.

    Returns:
        One component of a path, normalised (NFC), of 1 to 255 bytes in UTF-8. A name that is
        harmless already stays as it is.
    """
    parts = [part for part in _SEPARATORS.split(name) if part.strip(_NOT_IN_FRONT)]
    part = parts[-1] if parts else ""
    if len(part) > _LOOKED_AT:
        half = _LOOKED_AT // 2
        part = part[:half] + part[-half:]
    drive = _DRIVE.match(part)
    if drive is not None:
        part = part[drive.end() :]
    seen = "".join(map(_harmless, unicodedata.normalize("NFC", part)))
    # A replaced character may have separated two that belong together.
    trimmed = unicodedata.normalize("NFC", seen).lstrip(_NOT_IN_FRONT).rstrip(_NOT_AT_END)
    if not trimmed:
        return NAMELESS
    if trimmed.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        trimmed = f"_{trimmed}"
    return _fitted(trimmed, "")


def numbered_name(name: str, number: int) -> str:
    """`notes (2).txt`: another name for a harmless one that is taken."""
    return _fitted(name, f" ({number})")


def bare_name(name: str) -> str:
    """`notes.txt` for `notes (2).txt`: a harmless name without the number that it has, or may
    have."""
    stem, suffix = _split(name)
    return f"{_NUMBER.sub('', stem)}{suffix}" if stem.endswith(")") else name


def _harmless(character: str) -> str:
    if character in _FORBIDDEN:
        return "_"
    if unicodedata.category(character) == "Zs":
        return " "
    return character if printable(character) == character else "_"


def _fitted(name: str, addition: str) -> str:
    """Insert something before the suffix, and shorten the stem until everything fits."""
    stem, suffix = _split(name)
    room = MAX_NAME_BYTES - len((addition + suffix).encode())
    if len(stem.encode()) > room:
        # A character that was cut in two is dropped.
        stem = stem.encode()[:room].decode("utf-8", "ignore").rstrip(_NOT_AT_END)
    return f"{stem}{addition}{suffix}"


def _split(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode()) >= MAX_SUFFIX_BYTES:
        return name, ""
    if stem.lower().endswith(".tar") and len(stem) > len(".tar"):
        return stem[:-4], f"{stem[-4:]}{dot}{ending}"
    return stem, dot + ending
