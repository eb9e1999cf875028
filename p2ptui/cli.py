"""The command line: which program is meant, with which configuration.

Nothing heavy is imported before it is known to be needed: `--version` answers
at once, and a one-shot command never waits for what only the screen uses.
"""

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from p2ptui.commands import EXIT_INTERRUPTED, EXIT_USAGE
from p2ptui.commands.answer import Answer, error_words, json_wanted
from p2ptui.commands.node_options import ALL_COMMANDS, COMMANDS, node_overrides, read_node_options
from p2ptui.commands.node_options import node_parser as _node_parser
from p2ptui.errors import ConfigError, P2PError
from p2ptui.text import printable

if TYPE_CHECKING:
    from p2ptui.config import Config

__all__ = ["COMMANDS", "EXIT_FAILED", "EXIT_OK", "complain", "main"]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for.

    Args:
        argv: The arguments without the program's name; those of the process without it.

    Returns:
        The exit code: 0 done, 1 it did not work, 2 wrong usage or configuration,
        130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks must not end the program.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_FAILED  # whoever read the output has gone, and wants no more
    except OSError as error:
        from p2ptui.io.advice import program_advice

        code = complain(program_advice(error), EXIT_FAILED)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        if arguments and arguments[0] in ALL_COMMANDS:
            from p2ptui.commands import run_command

            return run_command(arguments[0], arguments[1:], os.environ)
        return _run_node(arguments)
    except SystemExit as leaving:  # argparse has said what it had to say
        return leaving.code if isinstance(leaving.code, int) else EXIT_OK
    except ConfigError as error:
        return complain(str(error), EXIT_USAGE)
    except P2PError as error:
        return complain(error_words(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def complain(text: str, code: int) -> int:
    """Say in one line on standard error what went wrong; gives `code` back."""
    line = f"p2ptui: {printable(text, 1000)}"
    if os.environ.get("JOURNAL_STREAM"):
        import logging

        from p2ptui.logs import for_journal, is_journal

        line = for_journal(line, logging.ERROR) if is_journal(sys.stderr) else line
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
    return code


def _let_go(stream: TextIO | None) -> None:
    """What an output cannot take goes nowhere: the interpreter would complain of it at its end."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _run_node(arguments: Sequence[str]) -> int:
    parser = _node_parser()
    parser.answer = Answer(json_wanted(arguments))
    with parser.answer:
        options = read_node_options(parser, arguments)
    from p2ptui.hangups import survive, survive_hangups

    # Before all that takes time. SIGHUP ends a screen: its terminal has gone.
    if options.no_ui:
        survive_hangups()
    else:
        survive("SIGUSR1")
    overrides = node_overrides(options)
    from p2ptui.config.load import files_to_read, load_config

    files: Sequence[Path] = ()

    def read() -> "Config":
        nonlocal files
        found = files_to_read(options.config, files)
        config = load_config(found, os.environ, overrides)
        files = found
        return config

    if options.print_config or options.check_config:
        from p2ptui.checking import show_config

        return show_config(options, overrides, os.environ)
    config = read()
    # No option of a file, which others may have written, nor of the environment.
    beside: dict[str, Any] = {} if options.key_log is None else {"key_log": options.key_log}
    if files or config.cluster.servers:
        from p2ptui.config.file_rights import file_warnings

        if warnings := file_warnings(files, config):
            beside["warnings"] = warnings
    if not options.no_ui:
        from p2ptui.tui.run import run_screen

        return run_screen(config, **beside)

    from p2ptui.headless import run_headless
    from p2ptui.reloading import read_again_with

    with read_again_with(read):
        return run_headless(config, **beside)
