"""How far a node that is met can be trusted, given what is known about earlier ones.

A name that comes with another id, and an address where another id, or a node without keys, now
answers, are judged `changed` until the user confirms the change.
"""

from typing import Final

from p2ptui.secure.identity import is_made_of_keys
from p2ptui.secure.known_addresses import MAX_ADDRESS_TEXT, KnownAddresses
from p2ptui.secure.known_node import Judgement, Trust
from p2ptui.secure.met import MAX_KNOWN_NAME, Met
from p2ptui.secure.node_index import NodeIndex, name_key
from p2ptui.text import printable

_OPEN: Final = Judgement(Trust.OPEN)
"""The judgement of nearly all nodes without keys, as one object."""


class Judge:
    """Says how far a node can be trusted; changes nothing.

    Args:
        nodes: The nodes that were met.
        addresses: Who answered at which address.
        is_partial: Whether others were known that can no longer be read.
    """

    def __init__(self, nodes: NodeIndex, addresses: KnownAddresses, *, is_partial: bool) -> None:
        self._nodes, self._addresses, self._is_partial = nodes, addresses, is_partial

    def judge(self, met: Met) -> Judgement:
        """Judge who is on the other side; changes nothing."""
        if met.keys is not None and met.keys.id != met.id:
            return Judgement(
                Trust.CHANGED,
                f"{met.called} has keys that do not fit its id: end the session; it is not"
                " the node of that id",
            )
        if met.keys is None:
            return self._judge_open(met)
        changed = self._changed_address(met) or self.changed_name(met)
        if changed:
            return Judgement(Trust.CHANGED, changed)
        known = self._nodes.get(met.lasting_id)
        if known is None:
            return Judgement(Trust.NEW, self._doubt(met))
        return Judgement(Trust.VERIFIED if known.verified else Trust.KNOWN)

    def judge_listed(self, node_id: str, name: str) -> Judgement | None:
        """Judge a node that others list, as a session with it would be judged if it has the keys of
        the id. None for an id that was never met.

        Args:
            node_id: Its id.
            name: Its name according to others.
        """
        known = self._nodes.get(node_id)
        return None if known is None else self.judge(Met(node_id, known.keys, name))

    def _judge_open(self, met: Met) -> Judgement:
        if met.id in self._nodes:
            return Judgement(
                Trust.CHANGED,
                f"{met.called} {_does(met)} without its key, which it had before: wait, or ask"
                f" its user; if it has none any more: p2ptui forget {met.id}",
            )
        changed = self._changed_address(met) or self.changed_name(met)
        if changed:
            return Judgement(Trust.CHANGED, changed)
        return Judgement(Trust.OPEN, without_keys(met)) if is_made_of_keys(met.id) else _OPEN

    def _changed_address(self, met: Met) -> str:
        """The warning if another node was at this address before; empty otherwise."""
        if met.joined is None:
            return ""
        before = self._addresses.get(met.joined)
        if before is None or (before.id == met.lasting_id and before.passing_keys is None):
            return ""
        where = printable(met.joined, MAX_ADDRESS_TEXT)
        if met.keys is None:
            named = before.id if before.passing_keys is None else where
            return (
                f"{where} {_does(met)} without a key, and had one before: wait, or ask its user; if"
                f" it has none any more: p2ptui forget {named}"
            )
        if before.passing_keys is not None:
            return ""
        return (
            f"{where} is not the node of before: ask its user whether its id is now {met.id}, and"
            f" was {before.id}; if so: {_agree(met, before.id)}"
        )

    def changed_name(self, met: Met) -> str:
        """The warning if this name was another's before; empty otherwise."""
        if not self._nodes.has_owners:
            return ""
        if met.keys is not None and met.ephemeral:
            signer = self._nodes.get(met.lasting_id)  # it is judged like its owner
            if signer is None or not signer.disputed:
                return ""
            return self.changed_name(Met(signer.id, signer.keys, signer.name))
        known = self._nodes.get(met.id)
        if known is not None and (
            known.verified or (not known.disputed and name_key(known.name) == name_key(met.name))
        ):
            return ""
        others = self._nodes.owners_of(met.name) - {met.id}
        if not others:
            return ""
        name = printable(met.name, MAX_KNOWN_NAME)
        before = max(others, key=lambda other: self._nodes[other].last_seen)
        if met.keys is None:
            return (
                f"{name} is not the {name} of before, which had a key (id {before}): wait, or ask"
                f" its user; if it has none any more: p2ptui forget {before}"
            )
        return (
            f"{name} is not the {name} of before: ask its user whether its id is now {met.id}, and"
            f" was {before}; if so: p2ptui trust {met.id}"
        )

    def claimed_of_named(self, met: Met) -> str:
        """The id of a node that the user named or verified and whose id, name or address a
        `changed` node has taken; empty if there is none. What belongs to the node itself does not
        count."""
        own_id = "" if met.keys is None else met.lasting_id
        at = self._addresses.get(met.joined) if met.joined is not None else None
        for node_id in (
            met.id,
            at.id if at is not None else "",
            *sorted(self._nodes.owners_of(met.name)),
        ):
            known = self._nodes.get(node_id)
            if known is not None and known.named and node_id != own_id:
                return node_id
        return ""

    def _doubt(self, met: Met) -> str:
        if not self._is_partial:
            return ""
        return (
            f"{met.called} may have been met before, since not all known nodes can be read:"
            f" compare its id with its user; if it is right: p2ptui trust {met.lasting_id}"
        )


def without_keys(met: Met) -> str:
    """The warning for a node that has not proved the keys that its id is made from."""
    return (
        f"{met.called} claims an id that is made from keys, and has not shown them ({met.id}):"
        " say nothing secret; somebody on the way may have taken the exchange of keys out: ask its"
        " user, and try from another network"
    )


def _does(met: Met) -> str:
    return "asks" if met.asks else "answers"


def _agree(met: Met, before: str) -> str:
    """How the user confirms a change; what does not last cannot be trusted."""
    return f"p2ptui forget {before}" if met.ephemeral else f"p2ptui trust {met.id}"
