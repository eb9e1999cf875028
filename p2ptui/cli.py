"""The command line: which program is meant, with which configuration.

Nothing heavy is imported before it is known to be needed: `--version` answers
at once, and a one-shot command never waits for what only the screen uses.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from p2ptui.commands import EXIT_INTERRUPTED, EXIT_USAGE, CommandParser, refuse_key_on_line
from p2ptui.errors import ConfigError, P2PError
from p2ptui.nearest import nearest
from p2ptui.text import printable
from p2ptui.verbs import VERBS
from p2ptui.version import described

if TYPE_CHECKING:
    from p2ptui.config import Config

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1

_AT_THE_END: Final = ("servers", "key", "trust", "forget")

COMMANDS: Final[Mapping[str, str]] = {
    **{
        verb.name: verb.summary
        for verb in VERBS.values()
        if verb.in_shell and verb.name not in _AT_THE_END
    },
    "receive": "keep the files that others send",
    **{name: VERBS[name].summary for name in _AT_THE_END},
}
"""The commands of the screen's grammar that the shell has too, and those that need no screen."""

LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")

_EPILOG: Final = "commands:\n" + "\n".join(
    f"  {name:<8}{meaning}; see p2ptui {name} -h" for name, meaning in COMMANDS.items()
)


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
        if arguments and arguments[0] in COMMANDS:
            from p2ptui.commands import run_command

            return run_command(arguments[0], arguments[1:], os.environ)
        return _run_node(arguments)
    except SystemExit as leaving:  # argparse has said what it had to say
        return leaving.code if isinstance(leaving.code, int) else EXIT_OK
    except ConfigError as error:
        return complain(str(error), EXIT_USAGE)
    except P2PError as error:
        return complain(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def complain(text: str, code: int) -> int:
    """Say in one line on standard error what went wrong; gives `code` back."""
    with contextlib.suppress(OSError):
        print(f"p2ptui: {printable(text, 1000)}", file=sys.stderr)
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


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def _node_parser() -> CommandParser:
    parser = CommandParser(
        prog="p2ptui",
        description="A peer-to-peer node over UDP: server and client in one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-a",
        "--address",
        "--listen-address",
        metavar="HOST:PORT",
        help="listen here; IPv6 as [::1]:8080, port 0 takes a free one (default 127.0.0.1:8080; to"
        " join a server on another machine any free port of all addresses)",
    )
    add("-m", "--max-connections", type=int, metavar="N", help="peers at the same time")
    add("-c", "--config", type=Path, metavar="FILE", help="a configuration, .toml or .json")
    add("--network-id", metavar="ID", help="only nodes of the same network become peers")
    add("--name", metavar="NAME", help="what this node is called")
    add("--heartbeat-interval", type=float, metavar="S", help="seconds between heartbeats")
    add("--connection-timeout", type=float, metavar="S", help="a peer silent this long is gone")
    add(
        "--enable-discovery",
        type=_boolean,
        metavar="true|false",
        help="look for nodes on this machine and its networks",
    )
    add("--STUN", "--stun", dest="stun", action="store_true", help="serve STUN")
    add("--relay", action="store_true", help="relay for peers that cannot reach each other")
    add(
        "--join",
        action="append",
        metavar="HOST:PORT[#ID]",
        help="connect to this node, which must have that id, and keep connected; may be given"
        " several times",
    )
    add(
        "--cluster",
        action="append",
        metavar="URL",
        help="share the network with other servers by this NATS broker, nats://HOST:PORT or"
        " tls://HOST:PORT; may be given several times",
    )
    add("--identity", metavar="FILE", help="be the node whose identity this is; made if missing")
    add("--ephemeral", action="store_true", help="take a new identity, until this node ends")
    add("--security-mode", metavar="open|prefer|require", help="whom this node talks to")
    add("--network-key-file", metavar="FILE", help="the key that all nodes of the network share")
    add(
        "--key-log",
        metavar="FILE",
        help="append the keys of all sessions to this file, for debugging: who has it reads them",
    )
    add(
        "--metrics",
        metavar="HOST:PORT",
        help="serve metrics for Prometheus at /metrics, and /healthz and /readyz; no password, so"
        " keep it on 127.0.0.1 or a private network",
    )
    add("--no-ui", action="store_true", help="no screen: log to standard error")
    levels = parser.add_mutually_exclusive_group()
    for level in LEVELS:
        levels.add_argument(
            f"--{level}",
            dest="level",
            action="store_const",
            const=level.lower(),
            help=f"log {level} and above" if level != "ERROR" else "log errors only",
        )
    add("--check-config", action="store_true", help="check the configuration, and exit")
    add("--print-config", action="store_true", help="print it as TOML with meanings, and exit")
    add("--version", action="version", version=f"p2ptui {described()}")
    add("words", nargs="*", help=argparse.SUPPRESS)
    return parser


def _about_unknown(command: str) -> str:
    if command in VERBS:
        return f"{command!r} is a command of the screen: run p2ptui and type it there"
    near = nearest(command, COMMANDS)
    return f"unknown command {command!r}" + (f"; did you mean {near!r}?" if near else "")


_OPTION_PATHS: Final[Mapping[str, str]] = {
    "address": "server.address",
    "max_connections": "server.max_connections",
    "network_id": "server.network_id",
    "name": "server.name",
    "heartbeat_interval": "server.heartbeat_interval",
    "connection_timeout": "server.connection_timeout",
    "enable_discovery": "server.enable_discovery",
    "join": "server.join",
    "cluster": "cluster.servers",
    "metrics": "metrics.address",
    "level": "logging.level",
    "identity": "security.identity",
    "security_mode": "security.mode",
    "network_key_file": "security.network_key_file",
}
"""Where each argument stands in the configuration."""


def _refuse_unknown(parser: CommandParser, words: Sequence[str], unknown: Sequence[str]) -> None:
    if not words and not unknown:
        return
    if words and words[0] in COMMANDS:
        parser.error(f"a command comes first: p2ptui {words[0]} ...")
    if words:
        parser.error(_about_unknown(words[0]))
    options = [name for action in parser._actions for name in action.option_strings]
    near = nearest(unknown[0].partition("=")[0], options)
    hint = f"; did you mean {near}?" if near else ""
    parser.error(f"unknown argument {unknown[0]!r}{hint}")


def _run_node(arguments: Sequence[str]) -> int:
    parser = _node_parser()
    refuse_key_on_line(parser, arguments)
    options, unknown = parser.parse_known_args(arguments)
    _refuse_unknown(parser, options.words, unknown)
    if any("@" in url for url in options.cluster or ()):
        parser.error(
            "a user, password or token does not belong on the command line, where everybody on this"
            " machine can read it: use cluster.credentials, or P2PTUI_CLUSTER_SERVERS"
        )
    if options.no_ui:
        from p2ptui.hangups import survive_hangups

        survive_hangups()  # before all that takes time
    overrides: dict[str, object] = {
        path: value
        for name, path in _OPTION_PATHS.items()
        if (value := getattr(options, name)) is not None
    }
    if options.stun:
        overrides["stun_server.enable"] = True
    if options.ephemeral:
        overrides["security.ephemeral"] = True
    if options.relay:
        overrides["traffic_forwarding.allow_symmetric_nat_relay"] = True

    from p2ptui.config.load import load_config

    def read() -> "Config":
        return load_config(options.config, os.environ, overrides)

    config = read()
    if options.print_config:
        from p2ptui.config.render import render_config

        print(render_config(config), end="")
        return EXIT_OK
    if options.check_config:
        from p2ptui.checking import check_config

        for warning in check_config(config):
            print(f"p2ptui: {warning}", file=sys.stderr)
        print("the configuration is valid")
        return EXIT_OK
    # No option of a file, which others may have written, nor of the environment.
    beside = {} if options.key_log is None else {"key_log": options.key_log}
    if not options.no_ui:
        from p2ptui.tui.run import run_screen

        return run_screen(config, **beside)

    from p2ptui.headless import run_headless
    from p2ptui.reloading import read_again_with

    read_again_with(read)
    return run_headless(config, **beside)
