"""The page of all commands, as Markdown."""

import argparse

from p2ptui.manual.arguments import Parsers, arguments_of, usage_of
from p2ptui.manual.topics import TOPICS
from p2ptui.text import between

BEGIN: str = "<!-- begin of what python -m p2ptui.commands.render writes -->"
END: str = "<!-- end of what python -m p2ptui.commands.render writes -->"


def with_reference(page: str, parsers: Parsers) -> str:
    """Put the commands and topics between their marks in a page.

    Raises:
        ValueError: The page lacks a mark.
    """
    commands = "\n".join(_command(name, parser) for name, parser in parsers.items())
    return between(page, BEGIN, END, f"{commands}\n{_topics()}")


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    lines = [
        f"## `p2ptui {name}`" if name else "## `p2ptui`",
        "",
        _one_line(parser.description),
        "",
    ]
    lines += ["```text", usage_of(parser) if name else "p2ptui [OPTION ...]", "```", ""]
    lines += ["| argument | meaning |", "| --- | --- |"]
    for argument in arguments_of(parser):
        written = argument.written.replace("|", "\\|")
        lines.append(f"| `{written}` | {argument.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _topics() -> str:
    lines = ["## Topics", "", "`p2ptui help TOPIC` explains more than commands:", ""]
    lines += [f"- `p2ptui help {name}`: {topic.summary}" for name, topic in TOPICS.items()]
    return "\n".join(lines) + "\n"


def _one_line(words: str | None) -> str:
    return " ".join((words or "").split())
