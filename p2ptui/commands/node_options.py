"""What `p2ptui` takes without a command: the options of a node, and which commands there are."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

from p2ptui.commands import (
    CommandParser,
    add_config_arguments,
    file_name,
    mistyped_option,
    refuse_key_on_line,
)
from p2ptui.nearest import suggestion
from p2ptui.verbs import LEVELS, VERBS
from p2ptui.version import described

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

ALL_COMMANDS: Final[Mapping[str, str]] = {
    **COMMANDS,
    "help": "explain a command or a topic",
    "completion": "complete arguments in a shell, with Tab",
}
"""These, and the commands that concern no node."""

_EPILOG: Final = "commands:\n" + "\n".join(
    f"  {name:<11}{meaning}; see p2ptui {name} -h" for name, meaning in ALL_COMMANDS.items()
)


def node_overrides(options: argparse.Namespace) -> dict[str, object]:
    """The options that the arguments of a node set, by path."""
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
    return overrides


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
"""The configuration option of each argument."""


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def node_parser() -> CommandParser:
    """The arguments of a node."""
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
        " join a server on another machine, any free port on all addresses)",
    )
    add("-m", "--max-connections", type=int, metavar="N", help="the most peers at a time")
    add_config_arguments(parser)
    add("--network-id", metavar="ID", help="only nodes of the same network become peers")
    add("--name", metavar="NAME", help="the name of this node")
    add("--heartbeat-interval", type=float, metavar="S", help="seconds between heartbeats")
    add("--connection-timeout", type=float, metavar="S", help="seconds until a silent peer is lost")
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
        help="connect to this node (with ID, to no other) and stay connected; may be given several"
        " times",
    )
    add(
        "--cluster",
        action="append",
        metavar="URL",
        help="share the network with other servers through this NATS broker, nats://HOST:PORT or"
        " tls://HOST:PORT; may be given several times",
    )
    add(
        "--identity",
        type=file_name,
        metavar="FILE",
        help="use this identity file; created if missing",
    )
    add("--ephemeral", action="store_true", help="use a new identity until this node ends")
    add("--security-mode", metavar="open|prefer|require", help="which nodes this node talks to")
    add(
        "--network-key-file",
        type=file_name,
        metavar="FILE",
        help="the key that all nodes of the network share",
    )
    add(
        "--key-log",
        type=file_name,
        metavar="FILE",
        help="append the keys of all sessions to this file, for debugging: anybody who has the"
        " file can decrypt them",
    )
    add(
        "--metrics",
        metavar="HOST:PORT",
        help="serve metrics for Prometheus at /metrics, and /healthz and /readyz; no password, so"
        " keep it on 127.0.0.1 or a private network",
    )
    add("--no-ui", action="store_true", help="no screen: log to standard error")
    levels = parser.add_mutually_exclusive_group()
    for level in map(str.upper, LEVELS):
        levels.add_argument(
            f"--{level}",
            dest="level",
            action="store_const",
            const=level.lower(),
            help=f"log {level} and above" if level != "ERROR" else "log errors only",
        )
    add("--check-config", action="store_true", help="check the configuration and exit")
    add("--print-config", action="store_true", help="print all options as TOML and exit")
    add(
        "--where", action="store_true", help="with --print-config: show where each value comes from"
    )
    add(
        "--json",
        action="store_true",
        help="with --check-config or --print-config: print one JSON object",
    )
    add("--version", action="version", version=f"p2ptui {described()}")
    return parser


def read_node_options(parser: CommandParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments of a node, or exit with the code of wrong usage."""
    refuse_key_on_line(parser, arguments)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    options, unknown = parser.parse_known_args(arguments)
    _refuse_unknown(parser, arguments, options.words, unknown)
    if any("@" in url for url in options.cluster or ()):
        parser.error(
            "a user, password or token does not belong on the command line, where everybody on this"
            " machine can read it: use cluster.credentials, or P2PTUI_CLUSTER_SERVERS"
        )
    if options.where and not options.print_config:
        parser.error("--where goes with --print-config")
    if options.json and not (options.print_config or options.check_config):
        parser.error(
            "--json goes with --check-config and --print-config; for a log in JSON, set"
            ' logging.format = "json"'
        )
    return options


def _about_unknown(command: str) -> str:
    if command in VERBS:
        return f"{command!r} is a command of the screen: run p2ptui and type it there"
    return f"unknown command {command!r}{suggestion(command, ALL_COMMANDS)}"


def _refuse_unknown(
    parser: CommandParser,
    arguments: Sequence[str],
    words: Sequence[str],
    unknown: Sequence[str],
) -> None:
    if not words and not unknown:
        return
    if words and words[0] in ALL_COMMANDS:
        parser.error(f"a command comes first: p2ptui {words[0]} ...")
    # What follows an unknown option is assumed to be its value.
    if words and not (unknown and arguments.index(unknown[0]) < arguments.index(words[0])):
        parser.error(_about_unknown(words[0]))
    parser.error(f"unknown argument {unknown[0]!r}{mistyped_option(parser, unknown[0])}")
