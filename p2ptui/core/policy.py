"""Whom this node lets in: the rules of [security], and each refusal in words for both sides.

The network key is wanted of every node with keys, in each mode, but for the ids that may come
without it. Who has no keys at all is served in the open, unless the mode is require. Where there is
no network key, require is for any node with keys, or, with allowed ids, for these alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2ptui.wire.address import Address

NETWORK_KEY_MISSING: Final = "network_key_missing"
NETWORK_KEY_WANTED: Final = "network_key_wanted"
NETWORK_KEY_DIFFERS: Final = "network_key_differs"
"""These three as in `secure.errors`, which says what is behind each."""

OPEN: Final = "open"
"""It speaks in the open, and is not served so."""

NOT_ALLOWED: Final = "not_allowed"
"""Its id is not one of those that are let in."""

STRIPPED: Final = "exchange_stripped"
"""Its id is made of keys, and it has shown none by way of a server that speaks under seal."""


class Rule(NamedTuple):
    """Why somebody is refused."""

    told: str
    """What goes to the other side, which may be of another kind."""
    there: str
    """How a node that knows the rule tells its user that it was refused by it."""
    here: str
    """How a node that refuses tells its own user."""


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
"""After these a node that may come without the network key is asked without it."""

WITH_KEY: Final = frozenset({NETWORK_KEY_WANTED})
"""After this one that came without it is asked with it."""


def words_there(reason: object, words: str | None) -> str:
    """How it is told here that the other side refuses.

    Args:
        reason: Which rule it names, if it does.
        words: Its own words, if there are any.
    """
    rule = RULES.get(reason) if isinstance(reason, str) else None
    return rule.there if rule is not None else words or "no reason given"


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """This node has refused a session by a rule of [security]. A flood is reported in part."""

    node_id: str | None
    """The asking node; None if it is not known."""
    address: Address
    """Where the request came from."""
    reason: str
    """The rule and what to do, in one line."""

    @property
    def words(self) -> str:
        """The same in one line, for people."""
        return f"refused: {self.reason}"
