"""Pasted text is told apart from keys before anything reads it as keys, and made harmless.

A terminal puts a pasted text between two escape sequences (bracketed paste, xterm's mode 2004). The
text may contain anything: line ends, escape sequences, even the closing sequence itself. Read as a
key, a line end would carry out a command. So nothing of a paste ever reaches the key parser, and if
its end is in doubt, what follows counts as text too.
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

PASTE_START: Final = "\x1b[200~"
PASTE_END: Final = "\x1b[201~"

MAX_PASTE_CHARACTERS: Final = 10_000
"""A longer paste is not a command line."""

ESCAPE_S: Final = 0.1
"""An escape sequence is complete after this time, or was the Escape key; Textual waits as long."""

QUIET_S: Final = 0.05
"""Nobody types this soon after a paste, and a terminal does not pause this long within one."""

MAX_HOLD_S: Final = 1.0
"""Keys after a paste are held back for at most this long."""

MAX_TYPED_AHEAD: Final = 500
"""Characters: nobody types more than this right after a paste."""

STALL_S: Final = 1.0
"""A paste that pauses this long is shown as far as it came, and keys count as keys again."""

DOUBT_S: Final = 10.0
"""For this long after a pause, its rest may still come: keys that come together count as text."""

_KEYS_ALONE: Final = re.compile(r"[^\x1b]|(?:\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~]|[ -~])?)+")
_MARKER: Final = re.compile("\x1b\\[20[01]~")


@dataclass(frozen=True, slots=True)
class Keys:
    """Typed keys, as the terminal sent them."""

    text: str
    complete: bool = False
    """Nothing more belongs to it: an escape alone is the Escape key."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """A pasted text: harmless, its lines separated by line feeds."""

    text: str


Input: TypeAlias = Keys | Pasted


class _Mode(Enum):
    KEYS = auto()
    PASTE = auto()
    AFTER = auto()
    """The closing sequence has come; what follows shows whether it was the terminal's own."""


class PasteGuard:
    """Separates what a terminal sends into keys and pastes.

    It has no clock: each call is given the time, in seconds of any monotonic clock.
    """

    def __init__(self) -> None:
        self._mode = _Mode.KEYS
        self._tail = ""
        """The end of the input, if a relevant sequence may begin there."""
        self._released = 0
        """Characters of it that have already been reported as keys."""
        self._text: list[str] = []
        self._size = 0
        self._rest = ""
        self._heard = -math.inf
        self._ended = 0.0
        self._doubt_until = -math.inf

    @property
    def waits(self) -> bool:
        """Whether `tick` will have something to report soon."""
        return self._mode is not _Mode.KEYS or len(self._tail) > self._released

    def feed(self, data: str, now: float) -> list[Input]:
        """Take what the terminal sent.

        Args:
            data: Any part of it.
            now: Seconds.

        Returns:
            Keys and pastes in order; what is in doubt waits for more, or for `tick`.
        """
        found: list[Input] = []
        at_once = now - self._heard < QUIET_S
        is_typed = not at_once and _KEYS_ALONE.fullmatch(data) is not None
        if self._mode is not _Mode.PASTE or not is_typed:
            # Keys pressed while a paste does not end do not keep it alive.
            self._heard = now
        in_doubt = self._mode is _Mode.KEYS and now < self._doubt_until
        if in_doubt and not is_typed and PASTE_START not in data:
            self._mode = _Mode.PASTE
        if self._mode is _Mode.KEYS:
            self._take_keys(data, now, found)
        elif self._mode is _Mode.PASTE:
            self._take_text(data, now)
        else:
            self._take_after(data, now)
        return found

    def tick(self, now: float) -> list[Input]:
        """Return what no longer waits for more.

        Args:
            now: Seconds.
        """
        found: list[Input] = []
        quiet_s = now - self._heard
        if self._mode is _Mode.AFTER:
            if quiet_s >= QUIET_S or now - self._ended >= MAX_HOLD_S:
                self._finish(found)
                rest, self._rest = self._rest, ""
                self._take_keys(rest, now, found)
        elif self._mode is _Mode.PASTE:
            if quiet_s >= STALL_S:
                self._finish(found)
                self._doubt_until = now + DOUBT_S
        elif len(self._tail) > self._released and quiet_s >= ESCAPE_S:
            found.append(Keys(self._tail[self._released :], complete=True))
            self._released = len(self._tail)
        return found

    def _take_keys(self, data: str, now: float, found: list[Input]) -> None:
        text = self._tail + data
        at = text.find(PASTE_START)
        kept = "" if at >= 0 else _beginning_in(text, PASTE_START)
        end = at if at >= 0 else len(text) - len(kept)
        if end > self._released:
            found.append(Keys(text[self._released : end]))
        if end > 0 or at >= 0:
            self._released = 0
        self._tail = kept
        if at >= 0:
            self._mode, self._doubt_until = _Mode.PASTE, now
            self._take_text(text[at + len(PASTE_START) :], now)

    def _take_text(self, data: str, now: float) -> None:
        text = self._tail + data
        at = text.find(PASTE_END)
        self._tail = "" if at >= 0 else _beginning_in(text, PASTE_END)
        self._keep(text[: at if at >= 0 else len(text) - len(self._tail)])
        if at >= 0:
            self._mode, self._ended, self._doubt_until = _Mode.AFTER, now, now
            self._take_after(text[at + len(PASTE_END) :], now)

    def _take_after(self, data: str, now: float) -> None:
        """If it contains another closing sequence, it was part of the paste too."""
        self._rest += data
        markers = list(_MARKER.finditer(self._rest))
        if not markers:
            if len(self._rest) > MAX_TYPED_AHEAD:
                kept = _beginning_in(self._rest, PASTE_END)
                self._keep(self._rest[: len(self._rest) - len(kept)])
                self._rest, self._ended = kept, now
            return
        last = markers[-1]
        before, rest = self._rest[: last.start()], self._rest[last.end() :]
        self._keep(_MARKER.sub("", before))
        self._rest, self._ended = rest, now
        if last[0] == PASTE_START:
            self._mode, self._rest = _Mode.PASTE, ""
            self._take_text(rest, now)

    def _keep(self, text: str) -> None:
        # One more than the limit shows that there was more.
        text = text[: MAX_PASTE_CHARACTERS + 1 - self._size]
        if text:
            self._size += len(text)
            self._text.append(text)

    def _finish(self, found: list[Input]) -> None:
        text = harmless("".join(self._text))
        if self._size > MAX_PASTE_CHARACTERS:
            # What was too long stays too long, whatever was left out of it.
            text = text.ljust(MAX_PASTE_CHARACTERS + 1, "…")
        found.append(Pasted(text))
        self._mode, self._text, self._size = _Mode.KEYS, [], 0
        # A possible beginning of the closing sequence is not a key, whatever follows it.
        self._released = len(self._tail)


def _beginning_in(text: str, marker: str) -> str:
    """The end of a text that may be the beginning of a marker."""
    for length in range(min(len(text), len(marker) - 1), 0, -1):
        if text.endswith(marker[:length]):
            return marker[:length]
    return ""


def harmless(text: str) -> str:
    """A pasted text without anything that is not readable.

    Control characters (C0, DEL, C1), format characters and lone surrogates are removed; each line
    end becomes a line feed, a tab or other space a plain space.
    """
    lines = text.expandtabs(1).splitlines()
    return "\n".join("".join(map(_seen, line)) for line in lines)


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else ""


def one_line(text: str) -> str:
    """A pasted text as one line: its lines without indentation, joined by spaces."""
    lines = (line.strip() for line in harmless(text).split("\n"))
    return " ".join(filter(None, lines))
