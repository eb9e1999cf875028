"""The options of who a node is, whom it lets in, and the key that a network shares."""

import uuid
from typing import Annotated, Literal, TypeAlias

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
            "The file with this node's identity, which is made if there is none; empty: one in the"
            " user's directory for data.",
            max_length=4096,
        ),
    ] = ""
    ephemeral: Annotated[
        bool, About("Take an identity that lasts until the node ends, and a new id with it.")
    ] = False
    mode: Annotated[
        SecurityMode,
        About(
            "Whom this node talks to. Its own kind always under seal, with a network key those"
            " alone that know it or are in allowed_ids. Programs without keys: open serves them in"
            " the open; prefer too, but nobody that had keys before; require refuses them, and,"
            " without a network key, whoever is not in allowed_ids, if that names any."
        ),
    ] = "prefer"
    allowed_ids: Annotated[
        tuple[str, ...],
        About(
            "Ids of nodes that are let in without the network key; without one, and with mode"
            " require, the only ones that are let in.",
            max_length=1000,
            form=PEER_ID,
        ),
    ] = ()
    network_key_file: Annotated[
        str,
        About(
            "The file with the key that all nodes of the network share, as p2ptui key new makes it;"
            " empty: none. P2PTUI_NETWORK_KEY may hold the key itself instead.",
            form=KEY_FILE_FORM,
        ),
    ] = ""


def check_keys(keys: KeyOptions, network_key: Secret | None, node_id: str) -> None:
    """Refuse what does not go together.

    Args:
        keys: Of [security].
        network_key: From the environment; None without one.
        node_id: `server.node_id`, which may be empty.

    Raises:
        ConfigError: An id was chosen, and keys make another; or the like.
    """
    if keys.identity and keys.ephemeral:
        raise ConfigError(
            "security.identity and security.ephemeral are both set: an identity from a file is not"
            " ephemeral; leave one out"
        )
    if network_key is not None and keys.network_key_file:
        raise ConfigError(
            f"{NETWORK_KEY_VARIABLE} and security.network_key_file both give a network key; leave"
            " one out"
        )
    if not node_id:
        return
    why = "server.node_id is set, and the id of a node with keys follows from them"
    wish = wish_for_keys(keys, network_key) or (keys.ephemeral and "security.ephemeral")
    if wish:
        raise ConfigError(f"{why}: leave out server.node_id, or {wish}")


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
    if keys.mode == "require":
        return ()
    if network_key is not None:
        return (
            f"there is a network key, and security.mode is {keys.mode}: programs without keys are"
            " let in all the same, in the open; security.mode = require keeps them out",
        )
    if keys.allowed_ids:
        return (
            "security.allowed_ids is set, there is no network key, and security.mode is"
            f" {keys.mode}: others are let in too; set a network key, or security.mode = require",
        )
    return ()


OPEN_BY_ID = (
    "server.node_id is set, so this node has no keys and is open: nobody can be sure that it is the"
    " node of that id; leave server.node_id out for an id that follows from keys"
)
"""What the user of a node with a configured id should know."""
