"""The help: every command of the grammar, what a filter may hold, and every key."""

from collections.abc import Iterable, Mapping

from rich.text import Text
from textual.binding import Binding

from p2ptui.tui.filters import EXPLAINED
from p2ptui.verbs import VERBS, Verb

_WIDTH = 30


def help_text(bindings: Iterable[Binding], keys: Mapping[str, str]) -> Text:
    """The page.

    Args:
        bindings: All that keys can do.
        keys: By id, the keys of those that the user has chosen anew.
    """
    text = Text()
    _heading(text, "Commands")
    for verb in VERBS.values():
        text.append(f"{verb.usage:<{_WIDTH}} ", "bold")
        text.append(f"{verb.summary}\n")
    text.append("\nPEER is an id, the beginning of one, a name or an address. Left out, it is\n")
    text.append("the selected node: send . TEXT where TEXT has several words.\n")
    text.append("Tab completes, up and down go through what was typed.\n")
    _heading(text, "\nfilter EXPR: all of these that are given must hold")
    for expression, meaning in EXPLAINED:
        text.append(f"{expression:<{_WIDTH}} ", "bold")
        text.append(f"{meaning}\n")
    _heading(text, "\nKeys, and their ids for the key map")
    for binding in bindings:
        shown = keys.get(binding.id or "", binding.key).replace(",", " ")
        text.append(f"{shown:<{_WIDTH - 12}} ", "bold")
        text.append(f"{binding.description:<26} ")
        text.append(f"{binding.id or ''}\n", "dim")
    _heading(text, "\nMouse")
    text.append("A click selects, a second one opens, a click on a column sorts by it.\n")
    return text


def verb_text(verb: Verb) -> Text:
    """The help on one command."""
    text = Text()
    text.append(f"{verb.usage}\n", "bold")
    text.append(f"{verb.summary}\n")
    if verb.in_shell:
        text.append(f"\nin a shell: p2ptui {verb.name} -h\n", "dim")
    if verb.name == "filter":
        for expression, meaning in EXPLAINED:
            text.append(f"{expression:<{_WIDTH}} ", "bold")
            text.append(f"{meaning}\n")
    return text


def _heading(text: Text, words: str) -> None:
    text.append(f"{words}\n", "bold underline")
