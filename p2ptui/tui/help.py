"""The help: every command of the grammar, what a filter may contain, and every key."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding
from textual.keys import format_key

from p2ptui.manual.topics import TOPICS
from p2ptui.tui.filters import EXPLAINED
from p2ptui.tui.two_columns import INDENT, beside, wrapped
from p2ptui.verbs import VERBS, Kind, Verb

_COLUMN: Final = 31
_KEY_COLUMN: Final = 19

PEER_WORDS: Final = {
    Kind.PEER: "PEER is an id, the beginning of one, a name or an address. Left out, it is the"
    " selected node: send . TEXT where TEXT has several words.",
    Kind.MET: "PEER is a node that is here, or was met before: its name, its id, or the beginning"
    " of that; . is the selected node.",
}
"""How a node is named, by kind of argument."""


def help_text(bindings: Iterable[Binding], keys: Mapping[str, str], width: int) -> Text:
    """The page.

    Args:
        bindings: All key bindings.
        keys: The keys that the user has changed, by the id of the action.
        width: Cells of a line.
    """
    text = Text()
    _heading(text, "Commands")
    for verb in VERBS.values():
        text.append_text(beside(verb.usage, verb.summary, _COLUMN, width))
    text.append("\n")
    _words(text, PEER_WORDS[Kind.PEER], width)
    _words(text, "Tab completes, up and down go through earlier commands.", width)
    _heading(text, "\nfilter EXPR: a message must match every part")
    _filter_words(text, width)
    _heading(text, "\nKeys, and their ids for the key map")
    bindings = list(bindings)
    descriptions = max((cell_len(binding.description) for binding in bindings), default=0) + 2
    for binding in bindings:
        shown = " ".join(map(_as_typed, keys.get(binding.id or "", binding.key).split(",")))
        text.append_text(_key(shown, binding, descriptions, width))
    _heading(text, "\nMouse")
    _words(
        text,
        "A click selects, a second one opens, a click on a column sorts by it.",
        width,
    )
    return text


def verb_text(verb: Verb, width: int) -> Text:
    """The help on one command.

    Args:
        verb: The command.
        width: Cells of a line.
    """
    text = beside(verb.usage, "", 0, width)
    _words(text, verb.summary, width)
    kinds = {parameter.kind for parameter in verb.parameters}
    if meaning := next((words for kind, words in PEER_WORDS.items() if kind in kinds), ""):
        text.append("\n")
        _words(text, meaning, width)
    if verb.options:
        text.append("\n")
    for option, meaning in verb.options:
        text.append_text(beside(option, meaning, _COLUMN, width))
    if verb.in_shell:
        text.append(f"\nin a shell: p2ptui {verb.name} -h\n", "dim")
    if verb.name == "filter":
        _filter_words(text, width)
    if verb.name in TOPICS:
        text.append("\n").append_text(topic_text(verb.name, width))
    return text


def topic_text(name: str, width: int) -> Text:
    """The text on a topic, which a shell has as `p2ptui help TOPIC`.

    Args:
        name: The topic.
        width: Cells of a line.
    """
    text = Text()
    lines = TOPICS[name].text.splitlines()
    for is_prose, group in groupby(lines, lambda line: bool(line) and not line.startswith(" ")):
        part = list(group)
        if all(cell_len(line) <= width for line in part):
            text.append("".join(f"{line}\n" for line in part))
            continue
        for line in [" ".join(part)] if is_prose else part:
            lead = " " * min(len(line) - len(line.lstrip()), width // 4)
            folded = wrapped(line, max(width - len(lead), 1))
            text.append("".join(f"{lead}{piece}\n" for piece in folded))
    return text


def _filter_words(text: Text, width: int) -> None:
    for expression, meaning in EXPLAINED:
        text.append_text(beside(expression, meaning, _COLUMN, width))


def _as_typed(key: str) -> str:
    """A key by its character, such as `/`, if it has one: Textual calls that one slash."""
    sign = format_key(key.strip())
    return sign if len(sign) == 1 and sign.isascii() else key.strip()


def _key(shown: str, binding: Binding, descriptions: int, width: int) -> Text:
    description, name = binding.description, binding.id or ""
    if _KEY_COLUMN + descriptions + cell_len(name) <= width and cell_len(shown) < _KEY_COLUMN:
        line = Text.assemble((f"{shown:<{_KEY_COLUMN}}", "bold"))
        return line.append(f"{description:<{descriptions}}").append(f"{name}\n", "dim")
    line = beside(shown, description, cell_len(shown) + 2, width)
    return line.append(f"{' ' * INDENT}{name}\n" if name else "", "dim")


def _words(text: Text, words: str, width: int) -> None:
    text.append("\n".join(wrapped(words, width)) + "\n")


def _heading(text: Text, words: str) -> None:
    text.append(f"{words}\n", "bold underline")
