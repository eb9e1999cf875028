"""The shell command that does the same as a command of the screen, where there is one."""

import shlex

from p2ptui.nat.report_text import nat_command
from p2ptui.node import Known, OtherNode, PeerView
from p2ptui.verbs import Command, read_payload
from p2ptui.wire.address import format_address

DEFAULT_NETWORK = "p2p_default"


def shell_command(
    command: Command, node: Known | None, server: PeerView | None, network_id: str
) -> str:
    """The same for the shell; empty where there is none.

    Args:
        command: What was typed.
        node: Whom it concerns.
        server: Through whom a node without a session is found.
        network_id: This node's network.
    """
    name = command.verb.name
    if name == "connect":
        words = ["--join", command.text] if ":" in command.text else []
    elif name == "nat":
        return nat_command(command.servers)
    elif name == "peers" and isinstance(node, PeerView):
        words = ["peers", format_address(node.address)]
    elif name in ("ping", "send") and node is not None:
        words = [name, *_target(node, server)]
        if len(words) > 1 and name == "ping":
            words += ["-n", str(command.count)]
        elif len(words) > 1:
            is_json = not isinstance(read_payload(command.text), str)
            words += [command.text, *(["--json-payload"] if is_json else [])]
    else:
        words = []
    if len(words) < 2:
        return ""
    named = network_to_name(network_id)
    network = [] if named is None else ["--network-id", named]
    return shlex.join(["p2ptui", *words, *network])


def _target(node: Known, server: PeerView | None) -> list[str]:
    if not isinstance(node, OtherNode):
        return [format_address(node.address)]
    if server is None:
        return []
    return [node.node_id, "--join", format_address(server.address)]


def network_to_name(network_id: str) -> str | None:
    """What `--network-id` must say; None where it says nothing new."""
    return None if network_id == DEFAULT_NETWORK else network_id
