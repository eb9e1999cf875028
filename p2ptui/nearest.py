"""Suggestions for mistyped words: only a word that is nearly the same is suggested.

Suggesting something entirely different to a user who mistyped nothing helps nobody.
"""

from collections.abc import Iterable
from typing import Final

MAX_COMPARED: Final = 80
"""Characters of a word; longer words are not compared."""

_SHARE: Final = 3
"""At most every third letter may be wrong."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant: it begins with the word, or is nearly the same.

    Args:
        word: The word as written.
        choices: The valid words.
    """
    names = list(choices)
    starts = [name for name in names if word and name.startswith(word)]
    if len(starts) == 1:
        return starts[0]
    near = [(mistakes(word, name), name) for name in names if _may_be_near(word, name)]
    near = [(count, name) for count, name in near if count * _SHARE <= max(len(word), len(name))]
    return min(near, key=lambda found: found[0])[1] if near else None


def suggestion(word: str, choices: Iterable[str], *, is_quoted: bool = True) -> str:
    """Which choice was probably meant, as the end of a complaint; empty if none is near.

    Args:
        word: The word as written.
        choices: The valid words.
        is_quoted: Whether the choice is shown in quotes.
    """
    near = nearest(word, choices)
    if not near:
        return ""
    return f"; did you mean {near!r}?" if is_quoted else f"; did you mean {near}?"


def _may_be_near(word: str, name: str) -> bool:
    longer = max(len(word), len(name))
    return longer <= MAX_COMPARED and abs(len(word) - len(name)) * _SHARE <= longer


def mistakes(word: str, other: str) -> int:
    """The number of letters omitted, inserted or replaced, and of neighbours swapped.

    Args:
        word: One word.
        other: The other word.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        older, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            least = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            is_swapped = i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == wanted
            row.append(min(least, older[j - 2] + 1) if is_swapped else least)
    return row[-1]
