"""What a parser of arguments says of each of them, for everything that is written from it."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Parsers: TypeAlias = Mapping[str, argparse.ArgumentParser]
"""The parser of each command; that of a node has the empty name, and comes first."""

FILE: Final = ("F", "FILE")
"""How an argument is written that is a file."""

FOLDER: Final = ("DIR",)


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, or what stands in its place."""

    names: tuple[str, ...]
    """`-c` and `--config`; none for what is no option."""
    value: str
    """How what it takes is written; empty for a switch."""
    meaning: str

    @property
    def written(self) -> str:
        """As in a list of options: `-c, --config FILE`."""
        names = ", ".join(self.names)
        return f"{names} {self.value}".strip()


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    """All that a parser takes, options last; `-h` is everywhere the same, and left out."""
    for action in _shown(parser):
        many = "..." if action.nargs in ("*", "+") else ""
        value = _value(action) + many
        yield Argument(tuple(action.option_strings), value, _sentence(action.help or ""))


def usage_of(parser: argparse.ArgumentParser) -> str:
    """How a command is written, on one line."""
    words = [parser.prog]
    for group in _alternatives(parser):
        is_optional = any(not action.required or action.nargs in ("*", "?") for action in group)
        text = " | ".join(map(_shortly, group))
        words.append(f"[{text}]" if is_optional else text)
    return " ".join(words)


def choices_of(action: argparse.Action) -> tuple[str, ...]:
    """The words that an argument takes, if there are only a few."""
    if action.choices is not None:
        return tuple(map(str, action.choices))
    written = action.metavar
    return tuple(written.split("|")) if isinstance(written, str) and "|" in written else ()


def _alternatives(parser: argparse.ArgumentParser) -> Iterator[list[argparse.Action]]:
    """Each argument; options that exclude each other, together."""
    groups = {
        id(action): group._group_actions
        for group in parser._mutually_exclusive_groups
        for action in group._group_actions
    }
    for action in _shown(parser):
        group = groups.get(id(action), [action])
        if group[0] is action:
            yield group


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    shown = [each for each in parser._actions if not isinstance(each, left_out)]
    return sorted(shown, key=lambda action: bool(action.option_strings))


def _value(action: argparse.Action) -> str:
    return "" if action.nargs == 0 else str(action.metavar or action.dest.upper())


def _shortly(action: argparse.Action) -> str:
    value = _value(action)
    name = action.option_strings[0] if action.option_strings else ""
    is_many = action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction)
    return f"{name} {value}".strip() + (" ..." if is_many else "")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")
