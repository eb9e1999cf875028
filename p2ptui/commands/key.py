"""Show this node's id and public keys (show), or create a network key (new)."""

import argparse
import base64
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from p2ptui.commands import CommandParser, Work, file_name
from p2ptui.config import Config
from p2ptui.config.load import files_to_read, load_config
from p2ptui.errors import LocalError
from p2ptui.io.key_files import KeyFileError, NoKeyFileError, create_key_file, read_key_file
from p2ptui.io.own_file import try_place, write_trouble
from p2ptui.node.own_identity import identity_path
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import SECRET_BYTES, KeyKind, Secret, write_key

RUNS_A_NODE: Final = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui key`."""
    add = parser.add_argument
    add("what", choices=("show", "new"), metavar="show|new", help="this node's id, or a new key")
    add("--identity", type=file_name, metavar="FILE", help="show the node with this identity file")
    add(
        "--output",
        type=file_name,
        metavar="FILE",
        help="write the new key there instead of printing it",
    )
    add("--json", action="store_true", help="print one JSON object")


def prepare(options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]) -> Work:
    """Check the arguments; the result does it, and prints."""
    if options.what == "new":
        if options.identity is not None:
            parser.error("--identity goes with show: an identity is made when a node starts")
        return lambda: _make(options)
    if options.output is not None:
        parser.error("--output goes with new")
    named = {} if options.identity is None else {"security.identity": options.identity}
    config = load_config(files_to_read(options.config), environ, named)
    return lambda: _show(options, config)


async def _make(options: argparse.Namespace) -> int:
    key = Secret(secrets.token_bytes(SECRET_BYTES))
    if options.output is None:
        text = write_key(KeyKind.NETWORK, key)
        if options.json:
            options.answer.tell({"network_key": text})
        else:
            print(text)
        return 0
    path = Path(options.output)
    try:
        create_key_file(path, KeyKind.NETWORK, key)
    except KeyFileError as error:
        raise LocalError(str(error)) from None
    if options.json:
        options.answer.tell({"network_key_file": str(path)})
    else:
        print(f"a new network key is in {path}; each node of the network needs it")
    return 0


async def _show(options: argparse.Namespace, config: Config) -> int:
    path, identity = _own(config)
    keys = {"x25519": _text(identity.x_public), "ed25519": _text(identity.ed_public)}
    if options.json:
        options.answer.tell({"id": identity.id, **keys, "file": str(path)})
    else:
        print(f"id       {identity.id}")
        for name, text in keys.items():
            print(f"{name:<8} {text}")
        print(f"file     {path}")
    return 0


def _own(config: Config) -> tuple[Path, Identity]:
    if config.server.node_id:
        raise LocalError(
            f"server.node_id = {config.server.node_id} is set, so that this node has no keys"
        )
    if config.security.ephemeral:
        raise LocalError("security.ephemeral is set: this node takes new keys each time it starts")
    path = identity_path(config)
    if path is None:
        raise LocalError("there is no home directory to keep an identity in: name its file")
    try:
        return path, Identity(read_key_file(path, KeyKind.SEED))
    except NoKeyFileError:
        raise LocalError(f"{path}: there is no identity yet; {_how_made(path)}") from None
    except KeyFileError as error:  # the file is the subject of the command, not its configuration
        raise LocalError(str(error)) from None


def _how_made(path: Path) -> str:
    try:
        try_place(path)
    except (OSError, ValueError) as error:
        return f"none can be made there either: {write_trouble(path, error)}"
    return "start p2ptui once, which makes it"


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
