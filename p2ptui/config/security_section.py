"""The options of who a node is, whom it lets in, and the key that a network shares."""

import uuid
from typing import Annotated, Final, Literal, TypeAlias

from p2ptui.config.option import About, Form, Section
from p2ptui.errors import ConfigError
from p2ptui.secure.secret import Secret, looks_like_key, looks_like_raw_key

SecurityMode: TypeAlias = Literal["open", "prefer", "require"]

NETWORK_KEY_VARIABLE = "P2PTUI_NETWORK_KEY"
"""Of the environment; the key itself, which is no option: it is in no file of options."""


def _check_key_file(text: str) -> None:
    if len(text) > 4096:
        raise ValueError
    if looks_like_key(text) or looks_like_raw_key(text):
        raise ConfigError(
            "security.network_key_file was given a key (not repeated here), and takes the name of"
            " a file that holds it"
        )


def _check_id(text: str) -> None:
    if str(uuid.UUID(text)) != text.lower():
        raise ValueError


KEY_FILE_FORM = Form("the name of a file, of at most 4096 characters", _check_key_file)
PEER_ID = Form("a node id", _check_id)


class KeyOptions(Section, frozen=True, kw_only=True):
    """Keys and policy: the first part of [security]."""

    identity: Annotated[
        str,
        About(
            "The file with this node's identity, created if it is missing; empty: a file in the"
            " user's data directory.",
            max_length=4096,
        ),
    ] = ""
    ephemeral: Annotated[
        bool, About("Use a new identity, and so a new id, until the node ends.")
    ] = False
    mode: Annotated[
        SecurityMode,
        About(
            "Which nodes this node talks to. Traffic with nodes that have keys is always"
            " encrypted; if there is a network key, they must know it or be in allowed_ids."
            " Programs without keys: open serves them in the open; prefer does too, but not a"
            " node that had keys before; require refuses them and, without a network key, also"
            " every node that is not in allowed_ids, if that is not empty."
        ),
    ] = "prefer"
    allowed_ids: Annotated[
        tuple[str, ...],
        About(
            "Ids of nodes that are let in without the network key. If there is no network key"
            " and mode is require, only these are let in.",
            max_length=1000,
            form=PEER_ID,
        ),
    ] = ()
    network_key_file: Annotated[
        str,
        About(
            "The file with the key that all nodes of the network share, made by p2ptui key new;"
            " empty: none. P2PTUI_NETWORK_KEY may hold the key itself instead.",
            form=KEY_FILE_FORM,
        ),
    ] = ""


def _two_identities(keys: KeyOptions, _network_key: Secret | None, _node_id: str) -> str:
    """`security.identity` and `security.ephemeral` exclude each other."""
    if not (keys.identity and keys.ephemeral):
        return ""
    return (
        "security.identity and security.ephemeral are both set: an identity from a file is not"
        " ephemeral; leave one out"
    )


def _two_network_keys(keys: KeyOptions, network_key: Secret | None, _node_id: str) -> str:
    """`P2PTUI_NETWORK_KEY` and `security.network_key_file` exclude each other, unless a stronger
    source sets one of them: that one counts.
    """
    if network_key is None or not keys.network_key_file:
        return ""
    return (
        f"{NETWORK_KEY_VARIABLE} and security.network_key_file both give a network key; leave"
        " one out"
    )


def _chosen_id_with_keys(keys: KeyOptions, network_key: Secret | None, node_id: str) -> str:
    """`server.node_id` excludes everything that needs keys, because an id follows from them:
    `security.identity`, `security.ephemeral`, `security.mode = "require"`,
    `security.allowed_ids`, `security.network_key_file` and `P2PTUI_NETWORK_KEY`.
    """
    wish = wish_for_keys(keys, network_key) or (keys.ephemeral and "security.ephemeral")
    if not node_id or not wish:
        return ""
    why = "server.node_id is set, and the id of a node with keys follows from them"
    return f"{why}: leave out server.node_id, or {wish}"


KEY_RULES: Final = (_two_identities, _two_network_keys, _chosen_id_with_keys)
"""Of the keys in [security], the network key from the environment, and `server.node_id`."""


def wish_for_keys(keys: KeyOptions, network_key: Secret | None) -> str:
    """Which option only a node with keys can keep: with it, none is ever started without.

    Args:
        keys: Of [security].
        network_key: From the environment; None without one.

    Returns:
        The option as the user knows it; empty if there is none.
    """
    wishes = (
        ("security.identity", keys.identity),
        ("security.mode = require", keys.mode == "require"),
        ("security.allowed_ids", keys.allowed_ids),
        ("security.network_key_file", keys.network_key_file),
        (f"the network key in {NETWORK_KEY_VARIABLE}", network_key is not None),
    )
    return next((name for name, is_set in wishes if is_set), "")


def key_notices(keys: KeyOptions, network_key: Secret | None) -> tuple[str, ...]:
    """What is allowed, and lets in more than somebody may think; one line each.

    Args:
        keys: Of [security].
        network_key: That of the network, from wherever; None without one.
    """
    return tuple(filter(None, (rule(keys, network_key) for rule in KEY_WARNINGS)))


def _open_despite_key(keys: KeyOptions, network_key: Secret | None) -> str:
    """There is a network key, and `security.mode` is not `require`: programs without keys are let
    in, unencrypted.
    """
    if keys.mode == "require" or network_key is None:
        return ""
    return (
        f"there is a network key, and security.mode is {keys.mode}: programs without keys are"
        " let in all the same, in the open; security.mode = require keeps them out"
    )


def _open_despite_list(keys: KeyOptions, network_key: Secret | None) -> str:
    """`security.allowed_ids` is set without a network key, and `security.mode` is not `require`:
    others are let in too.
    """
    if keys.mode == "require" or network_key is not None or not keys.allowed_ids:
        return ""
    return (
        "security.allowed_ids is set, there is no network key, and security.mode is"
        f" {keys.mode}: others are let in too; set a network key, or security.mode = require"
    )


KEY_WARNINGS: Final = (_open_despite_key, _open_despite_list)
"""Of the keys in [security], and the network key from wherever."""


OPEN_BY_ID = (
    "server.node_id is set, so this node has no keys and is open: nobody can be sure that it is the"
    " node of that id; leave server.node_id out for an id that follows from keys"
)
"""What the user of a node with a configured id should know."""
