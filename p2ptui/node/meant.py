"""Whether a node is the one that the user means, checked before sending it anything or accepting
anything as its own.

Anyone can take a name, and the id of a node without keys as well. So the node that is meant is not
simply the one that answers to what was typed: it is the node that the user knows by it, if there is
one.
"""

from typing import Final

from p2ptui.core.acquaintance import Judged
from p2ptui.core.identity import canonical_id
from p2ptui.node.lookup import is_name
from p2ptui.secure.identity import is_made_of_keys
from p2ptui.secure.known_nodes import (
    SHORTEST_PREFIX,
    KnownNode,
    KnownNodes,
    Met,
    Trust,
    without_keys,
)
from p2ptui.text import printable, shown

NAMED_AT_MOST: Final = 4
"""If many nodes may be meant, this many are named."""


def against(known: KnownNodes, ref: str, judged: Judged, *, has_keys: bool) -> str:
    """What speaks against sending anything to a node, in a line for the user; empty if nothing
    does.

    Args:
        known: The nodes that the user knows.
        ref: How the user named it: a name, an id or the beginning of one; empty if by its address.
        judged: Who it is, and how that was judged.
        has_keys: Whether messages to it can only be read with the keys of its id.
    """
    met = judged.met
    if judged.judgement.trust is Trust.CHANGED:
        return judged.judgement.advice
    if not ref:
        return ""
    node_id = canonical_id(ref)
    is_by_id = met.id.startswith(node_id or ref.lower())
    if is_by_id and not has_keys and is_made_of_keys(met.id):
        return without_keys(met)
    if node_id is not None:
        return ""
    # However short the text: the node found by an id prefix is not the only one that it fits. And
    # an id takes precedence over names, which anyone can take.
    meant = known.beginning(ref, 1 if is_by_id else SHORTEST_PREFIX) or known.owners(ref)
    if not meant or any(node.id == met.lasting_id for node in meant):
        return ""
    return (
        f"{printable(ref, 80)} means the node {_ids(meant)} that you know, and"
        f" {printable(met.name, 64) or 'another node'} ({met.id}) answers to it: wait, or ask its"
        " user; if you mean this one, give its whole id"
    )


def several(known: KnownNodes, ref: str, met: Met) -> str:
    """What to say if a name or an id prefix fits a node that is here and others that the user
    knows; empty if it fits only one.

    Args:
        known: The nodes that the user knows.
        ref: The reference.
        met: The node that is here.
    """
    if not is_name(ref):
        return ""
    fitting = {node.id: node for node in (*known.named(ref), *known.beginning(ref))}
    others = [node for node in fitting.values() if node.id != met.lasting_id]
    if not others:
        return ""
    return (
        f"{shown(ref)} could be any of several nodes: {met.lasting_id}, which is here,"
        f" and {_ids(others)}, which you know; give the id"
    )


def _ids(nodes: list[KnownNode]) -> str:
    newest = sorted(nodes, key=lambda node: node.last_seen, reverse=True)
    return ", ".join(node.id for node in newest[:NAMED_AT_MOST])
