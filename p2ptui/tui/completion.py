"""Completions of a command line: the words of the grammar, peers, and paths."""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from p2ptui.verbs import VERBS, Kind

Words: TypeAlias = Callable[[Kind, str], Iterable[str]]
"""The words of a kind that begin with a text."""

_ESCAPED: Final = {"": " \t\\'\"", '"': '\\"', "'": ""}
"""The characters that a backslash escapes in a path, by the quotation mark that it is in."""


def completions(line: str, words_of: Words) -> list[str]:
    """Completions of the word under the cursor, as whole lines, the likeliest first.

    Args:
        line: What has been typed.
        words_of: Returns the words of each kind.
    """
    words = line.split(" ")
    if len(words) == 1:
        names = [name for name in VERBS if name.startswith(line)]
        return [f"{name} " if VERBS[name].parameters else name for name in names]
    verb = VERBS.get(words[0])
    if verb is None or not verb.parameters:
        return []
    if verb.parameters[0].kind is Kind.FILE:
        return _paths(line, line.partition(" ")[2], words_of)
    place = len(words) - 2
    last_parameter = verb.parameters[-1]
    goes_on = last_parameter.many or last_parameter.kind is Kind.FILTER
    if place >= len(verb.parameters) and not goes_on:
        return []
    kind = verb.parameters[min(place, len(verb.parameters) - 1)].kind
    head, last = " ".join(words[:-1]), words[-1]
    found = [word for word in words_of(kind, last) if word.startswith(last) and word != last]
    return [f"{head} {word}" for word in found]


def _paths(line: str, typed: str, words_of: Words) -> list[str]:
    """Lines that end in a path beginning with the last word, quoted as the word was begun."""
    read = _read_word(typed)
    if read is None:
        return []
    beginning, mark = read
    lines = []
    for path in words_of(Kind.FILE, beginning):
        rest = path[len(beginning) :]
        if not path.startswith(beginning) or not rest or (mark == "'" and "'" in rest):
            continue
        spelled = "".join(f"\\{c}" if c in _ESCAPED[mark] else c for c in rest)
        # A user who continues into a folder is still within the quotation marks.
        lines.append(line + spelled + ("" if rest.endswith("/") else mark))
    return lines


def _read_word(typed: str) -> tuple[str, str] | None:
    """The only word of a text so far, and the quotation mark still open in it.

    Read as `shlex.split` does; None if the word has ended.
    """
    word, mark, at = "", "", 0
    typed = typed.lstrip(" ")
    while at < len(typed):
        character = typed[at]
        at += 1
        if character == "\\" and mark != "'":
            if at == len(typed):
                return None
            # Within double quotation marks, it stands for itself before most characters.
            if mark and typed[at] not in _ESCAPED[mark]:
                word += character
            word += typed[at]
            at += 1
        elif character == mark:
            mark = ""
        elif character in ("'", '"') and not mark:
            mark = character
        elif character == " " and not mark:
            return None
        else:
            word += character
    return word, mark
