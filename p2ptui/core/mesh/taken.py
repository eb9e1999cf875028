"""Names that mere claims may not share: a forged handshake must not make a name unusable.

Nodes believe what a server lists. So a server lists a claim without its name while a known node has
that name, and not at all if the beginning of its id would fit two nodes. Once proved, it is listed
like any other.
"""

from collections.abc import Iterable
from typing import Final

from p2ptui.core.identity import SHORT_ID, told_name
from p2ptui.core.peers import Listed, is_claim
from p2ptui.core.state import NodeState

_HEX: Final = frozenset("0123456789abcdef-")


class Taken:
    """Which names and ids of some claims already mean a better known node.

    Args:
        state: The shared state.
        claims: The claims.
    """

    def __init__(self, state: NodeState, claims: Iterable[Listed]) -> None:
        self._state = state
        self._wanted = {word for claim in claims for word in _words(claim.node_id, claim.name)}
        self._taken = set[str]()

    def note_servers(self, now: float) -> None:
        """Note that this server and the others of its network are known."""
        if self._wanted:
            own = self._state.identity
            self._note(own.id, own.name)
            for server in self._state.elsewhere.servers_told(now):
                self._note(server.id, server.name)

    def note(self, node: Listed) -> None:
        """Note a known node that is no claim."""
        if self._wanted:
            self._note(node.node_id, node.name)

    def _note(self, node_id: str, name: str) -> None:
        self._taken |= self._wanted & _words(node_id, name)

    def naming(self, node: Listed) -> bool | None:
        """Whether a node is listed with its name, as each that is no claim is; None: it is not
        listed."""
        if not is_claim(node):
            return True
        if not self._taken.isdisjoint(_words(node.node_id, "")):
            return None
        return self._taken.isdisjoint(_words(node.node_id, node.name))


def told_of(state: NodeState, node_ids: Iterable[str], now: float) -> list[tuple[Listed, bool]]:
    """Which newcomers are announced, and whether by name.

    What another node is known by is withheld from a claim until it is proved.

    Args:
        state: The shared state.
        node_ids: The newcomers.
        now: The time, seconds.
    """
    found = [
        node for node_id in node_ids if (node := state.find(node_id)) is not None and node.is_plain
    ]
    claims = [node for node in found if is_claim(node)]
    if not claims:
        return [(node, True) for node in found]
    taken = Taken(state, claims)
    taken.note_servers(now)
    for known in state.peers:
        if known.is_authenticated and not known.is_claim:
            taken.note(known)
    told = list[tuple[Listed, bool]]()
    for node in found:
        is_named = taken.naming(node)
        if is_named is not None:
            told.append((node, is_named))
    return told


def _words(node_id: str, name: str) -> set[str]:
    """What a person may call a node: its name, and what the screen shows of its id. A mark keeps
    the two apart, except for a name that could be the beginning of an id."""
    words = {node_id[:SHORT_ID]}
    if name:
        words.add("@" + told_name(name))
    beginning = name[:SHORT_ID].lower()
    if len(beginning) == SHORT_ID and _HEX.issuperset(beginning):
        words.add(beginning)
    return words
