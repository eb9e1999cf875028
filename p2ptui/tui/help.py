"""The help: every command of the grammar and every key of the key map."""

from collections.abc import Iterable

from rich.text import Text
from textual.binding import Binding

from p2ptui.verbs import VERBS

_FILTERS = (
    ("word", "the record contains it"),
    ("/re/", "a regular expression"),
    ("!word  !/re/", "must not fit"),
    ("level:warn", "this level or a graver one"),
    ("peer:alice", "name, id or address contains it"),
    ("dir:in", "in, out or note"),
    ("type:Data", "the message type contains it"),
)


def help_text(bindings: Iterable[Binding], about: str = "") -> Text:
    """The page.

    Args:
        bindings: What the keys do.
        about: A verb, to see it alone.
    """
    text = Text()
    for verb in VERBS.values():
        if about and verb.name != about:
            continue
        text.append(f"{verb.usage:<34}", "bold")
        later = "" if verb.available else " (not available yet)"
        text.append(f"{verb.summary}{later}\n")
    if about:
        return text
    text.append("\nPEER is an id, the beginning of one, a name or an address; left out, it is\n")
    text.append("the selected peer.\n\n")
    text.append("Filter\n", "bold underline")
    for expression, meaning in _FILTERS:
        text.append(f"{expression:<34}", "bold")
        text.append(f"{meaning}\n")
    text.append("\nKeys\n", "bold underline")
    for binding in bindings:
        if binding.description:
            text.append(f"{binding.key:<34}", "bold")
            text.append(f"{binding.description}  ")
            text.append(f"{binding.id or ''}\n", "dim")
    return text
