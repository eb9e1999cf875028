"""The words with which a command line can be completed."""

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from p2ptui.core.identity import canonical_id
from p2ptui.core.sealing import SealFrame
from p2ptui.manual.topics import TOPICS
from p2ptui.node import Roster
from p2ptui.node.roster import TRUST_KEY
from p2ptui.secure.known_nodes import KnownNode, Trust
from p2ptui.tui.filters import DIRECTIONS, SEALED
from p2ptui.verbs import LEVELS, SELECTED, VERBS, Kind
from p2ptui.wire.address import format_address
from p2ptui.wire.message import MessageType

MAX_WORDS: Final = 50
"""Most words offered at once."""

MAX_ENTRIES: Final = 5_000
"""Entries of a folder that are read: it is read while the user types."""

_MESSAGE_TYPES: Final = tuple(
    sorted([*(kind for name, kind in vars(MessageType).items() if name.isupper()), *SealFrame])
)

_FILTER_WORDS: Final = (
    *(f"level:{level}" for level in LEVELS),
    *(f"dir:{direction}" for direction in DIRECTIONS),
    *(f"sealed:{condition}" for condition in SEALED),
    "peer:",
    "type:",
)


def words_of(
    kind: Kind,
    beginning: str,
    roster: Roster,
    themes: Iterable[str],
    known: Iterable[KnownNode] = (),
) -> Iterable[str]:
    """The words of a kind that begin with a text; there may be others among them.

    Args:
        kind: The kind of the argument being typed.
        beginning: What has been typed of it.
        roster: Provides names and ids as words for a peer; those with invisible characters are left
            out.
        themes: The names of the themes.
        known: The known nodes.
    """
    match kind:
        case Kind.PEER | Kind.ADDRESS:
            # A name is also valid for `connect`: a server knows where that node is.
            return _names(roster.names(), beginning)
        case Kind.MET:
            met = (word for node in known for word in (node.id, node.name) if word)
            return _names(itertools.chain(roster.names(), met), beginning)
        case Kind.SHOW:
            return (Kind.SHOW.value,)
        case Kind.WORD:
            return [f"{TRUST_KEY}{trust}" for trust in Trust]
        case Kind.VERB:
            return list(dict.fromkeys([*VERBS, *TOPICS]))
        case Kind.LEVEL:
            return LEVELS
        case Kind.THEME:
            return sorted(themes)
        case Kind.FILTER:
            return _filter_words(beginning, roster)
        case Kind.SERVER:
            return sorted(format_address(server.address) for server in roster.servers())
        case Kind.FILE:
            return _files(beginning)
        case _:
            return ()


def _names(names: Iterable[str], beginning: str) -> list[str]:
    """The words that name one of these nodes and begin with the text."""
    words = map(_word_for, names)
    return _names_first({word for word in words if word is not None and word.startswith(beginning)})


def _names_first(words: Iterable[str]) -> list[str]:
    """Sorted, with ids at the end: nobody wants an id while there are names."""
    return sorted(words, key=lambda word: (canonical_id(word) is not None, word))[:MAX_WORDS]


def _filter_words(beginning: str, roster: Roster) -> Iterable[str]:
    """Conditions, also negated, with the values that begin with the text."""
    inverse = "!" * beginning.startswith("!")
    key, colon, value = beginning.removeprefix("!").partition(":")
    if not colon or key not in ("peer", "type"):
        return [inverse + word for word in _FILTER_WORDS]
    if key == "type":
        values = [kind for kind in _MESSAGE_TYPES if kind.startswith(value)]
    else:
        # A space would end the condition.
        names = {name for name in roster.names() if name.startswith(value)}
        values = _names_first(n for n in names if n.isprintable() and " " not in n)
    return [f"{inverse}{key}:{word}" for word in values]


def _word_for(name: str) -> str | None:
    """A name as it is written in a command; None if it would be read as something else."""
    is_count = name.isdigit() and len(name) < 4
    if not name.isprintable() or name == SELECTED or name.startswith("-") or is_count:
        return None
    if not any(character in name for character in " '\"\\"):
        return name
    if '"' not in name and "\\" not in name:
        return f'"{name}"'
    return f"'{name}'" if "'" not in name else None


def _files(beginning: str) -> list[str]:
    if beginning == "~":
        return ["~/"]
    folder, slash, name = beginning.rpartition("/")
    try:
        base = Path(folder + slash if slash else ".").expanduser()
        with os.scandir(base) as entries:
            # Entries that begin with a dot stay hidden until the dot is typed.
            fitting = (
                entry
                for entry in itertools.islice(entries, MAX_ENTRIES)
                if entry.name.startswith(name) and (name or not entry.name.startswith("."))
            )
            names = sorted(entry.name + "/" * entry.is_dir() for entry in fitting)
    except (OSError, RuntimeError, ValueError):
        return []
    return [folder + slash + name for name in names if name.isprintable()][:MAX_WORDS]
