"""One-shot commands: a node for as long as one question takes."""

import argparse
import asyncio
import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn


class CommandParser(argparse.ArgumentParser):
    """Arguments of a command; whatever is wrong is said in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the exit code of wrong usage."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} -h\n")


def run_command(name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command.

    Args:
        name: `ping`, `send` or `peers`; the module of this package with that name.
        arguments: What follows the name.
        environ: The environment, for the configuration.

    Returns:
        The exit code.

    Raises:
        ConfigError: The configuration cannot be used.
        P2PError: It did not work.
        KeyboardInterrupt: It was interrupted.
    """
    module = importlib.import_module(f"p2ptui.commands.{name}")
    parser = CommandParser(prog=f"p2ptui {name}", description=module.__doc__, allow_abbrev=False)
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="a configuration")
    parser.add_argument("--network-id", metavar="ID", help="the network of the target")
    module.add_arguments(parser)
    options = parser.parse_args(arguments)
    # A command answers in its own words; what the node would log is of no interest.
    logging.getLogger("p2ptui").addHandler(logging.NullHandler())
    code: int = asyncio.run(module.run(options, parser, environ))
    return code


def positive_seconds(text: str) -> float:
    """Read a duration; for argparse."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1,000,000 seconds")
    return value
