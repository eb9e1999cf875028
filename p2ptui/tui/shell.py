"""The shell command equivalent to a command of the screen, if there is one.

The target in it comes from `p2ptui.node.ways`: an address alone would often belong to another node.
"""

import json
import shlex
from collections.abc import Sequence
from typing import Any, Final

from p2ptui.nat.report_text import nat_command
from p2ptui.node import Known, PeerView
from p2ptui.text import printable
from p2ptui.verbs import Command, read_payload
from p2ptui.wire.address import parse_address

DEFAULT_NETWORK: Final = "p2p_default"

_OF_THE_USER: Final = frozenset(("trust", "forget"))
"""They need no node: known nodes belong to the user."""

MAX_CHARACTERS: Final = 4000
"""A longer command is useless on a screen: the text is then sent with --file."""


def shell_command(
    command: Command, node: Known | None, target: Sequence[str] | None, network_id: str
) -> str:
    """The equivalent shell command, on one line that a terminal can show; empty if there is none.

    Args:
        command: The command of the screen.
        node: The node that it concerns.
        target: The arguments that reach this node, see `p2ptui.node.ways.shell_target`; None or
            empty if there are none.
        network_id: This node's network.
    """
    name = command.verb.name
    if name == "nat":
        return nat_command(command.servers)
    words: list[str] = []
    if name in _OF_THE_USER:
        whom = node.node_id if node is not None else command.peer
        return shlex.join(["p2ptui", name, whom]) if whom and _is_shown_as_it_is(whom) else ""
    if name == "key":
        return "p2ptui key show"
    if name == "connect":
        words = _option("--join", command.text) if _is_address(command.text) else []
    elif node is None or not target:
        words = []
    elif name == "peers" and isinstance(node, PeerView) and len(target) == 1:
        words = ["peers", *target]
    elif name == "ping":
        words = ["ping", *target, "-n", str(command.count)]
    elif name == "send":
        words = ["send", *target, *_payload_words(command.text)]
    if not words:
        return ""
    named = network_to_name(network_id)
    if named is not None:
        words += _option("--network-id", named)
    line = shlex.join(["p2ptui", *words])
    # A command that would have to be cut or escaped to be visible is not the command shown.
    return line if len(line) <= MAX_CHARACTERS and _is_shown_as_it_is(line) else ""


def _payload_words(text: str) -> list[str]:
    """A text as arguments: as it is, or as JSON if a shell or its reader would misread it.

    A text that begins with `-` would be an option, or standard input; line ends and invisible
    characters do not survive display and copying.
    """
    payload: Any = read_payload(text)
    if isinstance(payload, str):
        if text and not text.startswith("-") and _is_shown_as_it_is(text):
            return [text]
        return [json.dumps(payload), "--json-payload"]
    return [text if _is_shown_as_it_is(text) else json.dumps(payload), "--json-payload"]


def _is_shown_as_it_is(text: str) -> bool:
    return text.isprintable() and printable(text, len(text) + 1) == text


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def _option(name: str, value: str) -> list[str]:
    """An option and its value, as one word if the value could be mistaken for an option."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def network_to_name(network_id: str) -> str | None:
    """The value for `--network-id`; None if it is not needed."""
    return None if network_id == DEFAULT_NETWORK else network_id
