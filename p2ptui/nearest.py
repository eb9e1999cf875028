"""What was probably meant: only a word that is nearly the same is offered in place of another.

To ask somebody who mistyped nothing whether he meant something else altogether helps nobody.
"""

from collections.abc import Iterable
from typing import Final

MAX_COMPARED: Final = 80
"""Characters; nobody mistypes a longer word by a letter."""

_SHARE: Final = 3
"""At most each third letter may be wrong."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of these that was probably meant: it begins so, or is nearly the same.

    Args:
        word: What was written.
        choices: What would be right.
    """
    names = list(choices)
    starts = [name for name in names if word and name.startswith(word)]
    if len(starts) == 1:
        return starts[0]
    near = [(mistakes(word, name), name) for name in names if _may_be_near(word, name)]
    near = [(count, name) for count, name in near if count * _SHARE <= max(len(word), len(name))]
    return min(near, key=lambda found: found[0])[1] if near else None


def _may_be_near(word: str, name: str) -> bool:
    longer = max(len(word), len(name))
    return longer <= MAX_COMPARED and abs(len(word) - len(name)) * _SHARE <= longer


def mistakes(word: str, other: str) -> int:
    """Letters left out, put in or taken for others, and neighbours that changed places.

    Args:
        word: One.
        other: The other.
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
