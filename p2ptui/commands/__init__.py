"""One-shot commands: a node for as long as one question takes."""

import argparse
import gc
import importlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from p2ptui.commands.answer import Answer, json_wanted
from p2ptui.errors import ConfigError
from p2ptui.nearest import suggestion
from p2ptui.secure.secret import looks_like_key
from p2ptui.text import printable, shown, typed

EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_MODULES: Final[Mapping[str, str]] = {"servers": "listed_servers"}
"""Commands whose module has another name."""

Work: TypeAlias = Callable[[], Coroutine[Any, Any, int]]
"""What a command does in an event loop, once its arguments are known to be right."""

LONGEST_S: Final = 1e6

_NUMBERS: Final[Mapping[Any, str]] = {int: "a whole number", float: "a number"}
"""Words for what argparse calls by the names of types."""


class CommandParser(argparse.ArgumentParser):
    """Parses arguments; any error is reported in one line."""

    answer: Answer | None = None
    """The answer for a program if the arguments are wrong."""

    def error(self, message: str) -> NoReturn:
        """Exit with the code of wrong usage."""
        # One line is enough: -h shows the usage.
        words = f"{printable(message, 1000)}; see {self.prog} -h"
        if self.answer is not None:
            self.answer.fail(words)
        self.exit(EXIT_USAGE, f"{self.prog}: {words}\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # Before Python 3.13 argparse loses this value, and leaves an empty list in its place.
        if action.option_strings and arg_strings == ["--"]:
            return self._get_value(action, "--")
        return super()._get_values(action, arg_strings)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        is_file = action.type in (Path, file_name)
        try:
            return super()._get_value(action, arg_string if is_file else typed(arg_string))
        except argparse.ArgumentError as error:
            wanted = _NUMBERS.get(action.type) or getattr(action.type, "wanted", "")
            # A type that raises its own error has said what it expects.
            if not wanted or isinstance(error.__context__, argparse.ArgumentTypeError):
                raise
            raise argparse.ArgumentError(action, f"{error.message}; write {wanted}") from None


def add_config_arguments(parser: CommandParser) -> None:
    """Which files a configuration is read from."""
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="read this configuration file, .toml or .json, instead of the default files",
    )
    add(
        "--no-config",
        dest="config",
        action="store_const",
        const=(),
        help="read no configuration file",
    )


def refuse_key_on_line(parser: CommandParser, arguments: Sequence[str]) -> None:
    """Exit with the code of wrong usage if a network key is among the arguments.

    Everybody on the machine can read those. The key is not repeated.
    """
    for argument in arguments:
        option = argument.partition("=")[0]
        if option == "--network-key" or looks_like_key(argument):
            parser.error(
                "a network key does not belong on the command line, where everybody on this machine"
                " can read it: use --network-key-file or P2PTUI_NETWORK_KEY"
            )


class Once(argparse.Action):
    """An option that may be given once: a second one would silently replace the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep the value, or exit with the code of wrong usage."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} may be given only once")
        setattr(namespace, self.dest, values)


def run_command(name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command.

    Args:
        name: `ping`, `send`, ...: see the module of this package with that name.
        arguments: What follows the name.
        environ: The environment, for the configuration.

    Returns:
        The exit code; after SIGTERM or SIGHUP that of the signal.

    Raises:
        ConfigError: The configuration cannot be used.
        P2PError: It did not work.
        KeyboardInterrupt: It was interrupted.
        SystemExit: The arguments are wrong, or asked for help.
    """
    with Answer(json_wanted(arguments)) as answer:
        code = _work(read_command(name, arguments, environ, answer))
        from p2ptui.io.signals import EXIT_BY_SIGNAL

        if code == EXIT_INTERRUPTED or code > EXIT_BY_SIGNAL:
            answer.interrupt()
        return code


def _work(work: Work) -> int:
    import logging

    from p2ptui.io.loop import run
    from p2ptui.io.signals import run_until_signalled

    # A command answers in its own words; what the node would log is of no interest.
    silence = logging.NullHandler()
    logging.getLogger("p2ptui").addHandler(silence)
    try:
        return run(run_until_signalled(work()))
    finally:
        logging.getLogger("p2ptui").removeHandler(silence)


def read_command(
    name: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    answer: Answer | None = None,
) -> Work:
    """Check a command's arguments; the result carries it out.

    Args:
        name: As for `run_command`.
        arguments: What follows the name.
        environ: The environment, for the configuration.
        answer: Holds the output of `--json`, and prints it at the end.

    Raises:
        ConfigError: The configuration cannot be used.
        P2PError: Its input cannot be read.
        SystemExit: The arguments are wrong, or asked for help.
    """
    module = _load(name)
    parser = command_parser(name)
    parser.answer = answer
    refuse_key_on_line(parser, arguments)  # before anything repeats it
    # Intermixed: `send TARGET --json hello` as well as `send TARGET hello --json`.
    options, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        words = f"unrecognized arguments: {' '.join(unknown)}"
        parser.error(words + _about_unknown(parser, options, unknown[0], module))
    options.answer = answer or Answer(wanted=options.json)
    work: Work = module.prepare(options, parser, environ)
    if _runs_a_node(module):
        from p2ptui.secure.identity import load_primitives

        load_primitives()  # before the command's timeout begins
    return work


def command_parser(name: str, parser: CommandParser | None = None) -> CommandParser:
    """The arguments of a command.

    Args:
        name: As for `run_command`.
        parser: The parser to add them to; a new one by default.
    """
    module = _load(name)
    parser = parser or CommandParser(prog=f"p2ptui {name}", allow_abbrev=False)
    parser.description = module.__doc__
    if getattr(module, "READS_FILES", True):
        add_config_arguments(parser)
    if _runs_a_node(module):
        add = parser.add_argument
        add("--network-id", metavar="ID", help="the network to join")
        add(
            "--identity",
            type=file_name,
            metavar="FILE",
            help="use this identity (default: a new one)",
        )
        add(
            "--network-key-file",
            type=file_name,
            metavar="FILE",
            help="the key that the network's nodes share",
        )
    module.add_arguments(parser)
    return parser


def _about_unknown(
    parser: CommandParser, options: argparse.Namespace, word: str, module: Any
) -> str:
    """What was probably meant by an argument that a command does not take."""
    if word.startswith("-"):
        return mistyped_option(parser, word)
    place = getattr(options, "target", None) or getattr(options, "server", None)
    if isinstance(place, str) and word.isascii() and word.isdigit() and ":" not in place:
        return f"; write {place}:{word}"
    about: Callable[[argparse.Namespace, str], str] | None = getattr(module, "about_unknown", None)
    return "" if about is None else about(options, word)


def mistyped_option(parser: CommandParser, word: str) -> str:
    """Which option was probably meant, as the end of an error message; empty if none is similar."""
    options = [name for action in parser._actions for name in action.option_strings]
    return suggestion(word.partition("=")[0], options, is_quoted=False)


def _runs_a_node(module: Any) -> bool:
    return bool(getattr(module, "RUNS_A_NODE", True))


def _load(name: str) -> Any:
    # Only once the command is certain: the node and its event loop take a fifth of a second, and a
    # twelfth of that would go to searching for garbage that modules do not leave.
    gc.disable()
    try:
        return importlib.import_module(f"p2ptui.commands.{_MODULES.get(name, name)}")
    finally:
        gc.enable()


def positive_seconds(text: str) -> float:
    """Read a duration; for argparse."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < value < LONGEST_S:
        which = "; it must be more than 0" if value == 0 else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1,000,000 seconds{which}")
    return value


def file_name(text: str) -> str:
    """Read the name of a file or folder, unchanged; for argparse."""
    return text


class OptionNumber:
    """Reads a whole number that a configuration option takes; for argparse.

    Args:
        path: The path of the option: `files.max_files`.
    """

    __name__ = "int"  # argparse calls unreadable values by this name

    def __init__(self, path: str) -> None:
        from p2ptui.config import OPTIONS  # only when a command needs it
        from p2ptui.config.option import Option

        option = OPTIONS.by_path[path]
        assert isinstance(option, Option)
        self._option = option
        self.wanted = option.bounds
        """What to write instead of an unreadable value."""

    def __call__(self, text: str) -> int:
        """See the class."""
        value = int(text)
        try:
            self._option.accept(value, self._option.path)
        except ConfigError:
            words = f"{shown(text, 40)} is not {self.wanted}"
            raise argparse.ArgumentTypeError(words) from None
        return value
