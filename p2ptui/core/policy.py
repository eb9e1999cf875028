"""Which nodes are let in: the rules of [security], and each refusal in words for both sides.

The network key is required of every node with keys, in each mode, except for ids that are allowed
without it. Nodes without keys are served in the open, unless the mode is require. Without a network
key, require admits any node with keys or, if allowed ids are configured, only those.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2ptui.wire.address import Address

NETWORK_KEY_MISSING: Final = "network_key_missing"
NETWORK_KEY_WANTED: Final = "network_key_wanted"
NETWORK_KEY_DIFFERS: Final = "network_key_differs"
"""`secure.errors` has the same three, and explains each."""

OPEN: Final = "open"
"""It speaks in the open, which is not allowed."""

NOT_ALLOWED: Final = "not_allowed"
"""Its id is not one of the allowed ids."""

STRIPPED: Final = "exchange_stripped"
"""Its id is derived from keys, but it has proved none, although the server between speaks under
seal."""


class Rule(NamedTuple):
    """Why a node is refused."""

    told: str
    """The text for the other side, which may be of another kind."""
    there: str
    """The text for the user of a node that was refused by this rule."""
    here: str
    """The text for the user of the node that refuses."""


RULES: Final[Mapping[str, Rule]] = {
    NETWORK_KEY_MISSING: Rule(
        "the other side uses a network key, and this node has none",
        "it has no network key, and this node has one; give both the same key, or put its id on"
        " security.allowed_ids here",
        "it uses a network key, and this node has none; set it with --network-key-file",
    ),
    NETWORK_KEY_WANTED: Rule(
        "this node wants the network key, and the other side has offered none",
        "it wants its network key, and this node has none; set it with --network-key-file, or have"
        " this node's id put on security.allowed_ids there",
        "it has not shown the network key; give it the key, or put its id on security.allowed_ids",
    ),
    NETWORK_KEY_DIFFERS: Rule(
        "the other side uses another network key",
        "it uses another network key; give both the same one",
        "it uses another network key; give both the same one",
    ),
    OPEN: Rule(
        "this node takes secured peers only (security.mode is require)",
        "it takes secured peers only (security.mode is require there)",
        "it speaks in the open only, and security.mode is require",
    ),
    NOT_ALLOWED: Rule(
        "this node lets in only the ids on its security.allowed_ids",
        "it lets in only the ids on its security.allowed_ids; have this node's id put there",
        "its id is not on security.allowed_ids, and security.mode is require",
    ),
    STRIPPED: Rule(
        "the id of the other side is made from keys that it has not shown; the server between may"
        " have taken the key exchange out",
        "this node's id is made from keys that did not reach it; the server between may have"
        " taken the key exchange out",
        "its id is made from keys that it has not shown; the server between may have taken the key"
        " exchange out",
    ),
}

WITHOUT_KEY: Final = frozenset({NETWORK_KEY_MISSING, NETWORK_KEY_DIFFERS, OPEN})
"""After these, a node that may come without the network key is asked without it."""

WITH_KEY: Final = frozenset({NETWORK_KEY_WANTED})
"""After this one, a node that came without the network key is asked with it."""


def words_there(reason: object, words: str | None) -> str:
    """The text here when the other side refuses.

    Args:
        reason: The rule that it names, if any.
        words: Its own words, if there are any.
    """
    rule = RULES.get(reason) if isinstance(reason, str) else None
    return rule.there if rule is not None else words or "no reason given"


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """This node refused a session by a rule of [security]. In a flood, only some are reported."""

    node_id: str | None
    """The asking node; None if unknown."""
    address: Address
    """Where the request came from."""
    reason: str
    """The rule and what to do, in one line."""

    @property
    def words(self) -> str:
        """The same in one line, for people."""
        return f"refused: {self.reason}"
