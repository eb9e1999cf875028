"""Explain a command or a topic; without one, list them."""

import argparse
from collections.abc import Mapping
from typing import Final

from p2ptui.commands import CommandParser, Work, command_parser
from p2ptui.commands.node_options import ALL_COMMANDS, node_parser
from p2ptui.manual.roff import manual_page
from p2ptui.manual.topics import TOPICS
from p2ptui.nearest import suggestion
from p2ptui.version import VERSION

RUNS_A_NODE: Final = False
READS_FILES: Final = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui help`."""
    parser.epilog = f"Topics: the commands, and {', '.join(TOPICS)}."
    parser.add_argument("topic", metavar="TOPIC", nargs="?", help="a command, or a topic")
    parser.add_argument("--man", action="store_true", help="print the manual page, for man")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def parsers() -> dict[str, CommandParser]:
    """All parsers: that of a node under the empty name, then each command's."""
    return {"": node_parser(), **{name: command_parser(name) for name in ALL_COMMANDS}}


def topics() -> dict[str, str]:
    """Everything that can be explained: commands, then topics, each in a few words."""
    return {**ALL_COMMANDS, **{name: topic.summary for name, topic in TOPICS.items()}}


def prepare(
    options: argparse.Namespace, parser: CommandParser, _environ: Mapping[str, str]
) -> Work:
    """Check the arguments; the result prints the explanation."""
    topic: str | None = options.topic
    if options.man and topic is not None:
        parser.error("--man is the whole page: it takes no topic")
    known = topics()
    if topic is not None and topic not in known:
        parser.error(f"unknown topic {topic!r}{suggestion(topic.lower(), known)}")
    return lambda: _run(options, topic)


def about_unknown(options: argparse.Namespace, word: str) -> str:
    """`help exit codes` means the topic `exit-codes`."""
    return suggestion(f"{options.topic}-{word}".lower(), TOPICS)


async def _run(options: argparse.Namespace, topic: str | None) -> int:
    told: dict[str, object]
    if options.man:
        text = manual_page(parsers(), VERSION)
        told = {"man": text}
    elif topic is None:
        text = _list()
        told = {"topics": topics()}
    else:
        text = text_of(topic)
        told = {"topic": topic, "text": text}
    if options.json:
        options.answer.tell(told)
    else:
        print(text, end="")
    return 0


def text_of(topic: str) -> str:
    """The text about a command or a topic."""
    if topic not in TOPICS:
        return command_parser(topic).format_help()
    usage = f"\nUsage: p2ptui {topic} -h\n" if topic in ALL_COMMANDS else ""
    return TOPICS[topic].text + usage


def _list() -> str:
    lines = [
        "p2ptui help TOPIC explains any of these; p2ptui -h lists the options.",
        "",
        "Commands:",
    ]
    lines += [f"  {name:<12}{summary}" for name, summary in ALL_COMMANDS.items()]
    lines += ["", "Topics:"]
    lines += [f"  {name:<12}{topic.summary}" for name, topic in TOPICS.items()]
    return "\n".join(lines) + "\n"
