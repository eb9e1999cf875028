"""The manual page, for `man`: in the macros of man(7), which groff and mandoc both know."""

import argparse
import re
import textwrap
from collections.abc import Iterator
from typing import Final

from p2ptui.manual.arguments import Parsers, arguments_of, usage_of
from p2ptui.manual.topics import TOPICS

WRITTEN: Final = "2026-11-30"
"""When its texts were last looked through."""


def manual_page(parsers: Parsers, version: str) -> str:
    """Write the page.

    Args:
        parsers: Of the node, and of each command.
        version: Of the program.
    """
    node, *commands = parsers.items()
    lines = [
        '.\\" Written by python -m p2ptui.commands.render.',
        f'.TH P2PTUI 1 {WRITTEN} "p2ptui {version}" "User Commands"',
        ".SH NAME",
        "p2ptui \\- a peer\\-to\\-peer node in the terminal",
        ".SH SYNOPSIS",
        ".nh",
        ".na",
        ".B p2ptui",
        "[\\fIOPTION\\fR ...]",
    ]
    for _, parser in commands:
        lines += [".br", _synopsis(parser)]
    lines += [
        ".ad",
        ".hy",
        ".SH DESCRIPTION",
        *_paragraphs(node[1].description or ""),
        ".SH OPTIONS",
    ]
    lines += _arguments(node[1])
    lines.append(".SH COMMANDS")
    for name, parser in commands:
        lines += [f".SS p2ptui {name}", *_paragraphs(parser.description or "")]
        lines += _arguments(parser)
    for name, topic in TOPICS.items():
        lines += [f".SH {_title(name)}", *_paragraphs(topic.text)]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    """The names by which man pages call such sections."""
    usual = {"exit-codes": "EXIT STATUS"}
    return usual.get(name, name.upper())


def _synopsis(parser: argparse.ArgumentParser) -> str:
    program, _, rest = usage_of(parser).partition(" ")
    name, _, arguments = rest.partition(" ")
    return f"\\fB{_text(program)} {_text(name)}\\fR {_text(arguments)}".rstrip()


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    for argument in arguments_of(parser):
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in argument.names)
        value = f"\\fI{_text(argument.value)}\\fR" if argument.value else ""
        yield ".TP"
        yield f"{names} {value}".strip()
        yield from _filled(argument.meaning)


def _paragraphs(text: str) -> Iterator[str]:
    """Prose is filled; what is indented stays as it is."""
    for number, block in enumerate(re.split(r"\n\n+", text.strip("\n"))):
        if block.startswith(" "):
            yield from (".PP",) if number else ()
            yield from (".RS 4", ".nf")
            yield from map(_line, _without_indent(block))
            yield from (".fi", ".RE")
        else:
            if number:
                yield ".PP"
            yield from _filled(block)


def _without_indent(block: str) -> list[str]:
    return [line.removeprefix("  ") for line in block.splitlines()]


def _filled(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False):
        yield _line(line)


def _line(text: str) -> str:
    """A line that is no macro, whatever it begins with."""
    text = _text(text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _text(text: str) -> str:
    escapes = {"\\": "\\e", "-": "\\-", "~": "\\(ti", "^": "\\(ha", "`": "\\(ga", "'": "\\(aq"}
    return "".join(escapes.get(character, character) for character in text)
