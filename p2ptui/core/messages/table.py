"""The table of messages as one node uses it: each row with the part that handles it."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from msgspec import UNSET

from p2ptui.core.accounts import Purse
from p2ptui.core.messages.budgets import Accounts, Handle
from p2ptui.core.messages.row import Reader, Row
from p2ptui.core.messages.rows import MEANINGS, ROWS
from p2ptui.core.peers import Peer
from p2ptui.core.trust import TRUSTS, Trust, vouches, whoever
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.message import Envelope

Take: TypeAlias = Callable[[Any, Envelope, Purse, float], bool]
"""Source, message, what it has earned, time; returns whether it was taken."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row with the part of a node that handles it."""

    row: Row
    handle: Handle
    """Within its budget."""
    admits: Callable[[Peer, Any, float], bool] | None
    refuse: Callable[[Peer, Any, float], None] | None
    trusts: Callable[[Peer, Any], bool]
    doubted: "Entry | None"
    """Its entry for a sender that is not trusted; None: it is dropped."""
    is_open: bool = False
    """Whether a session is all that its sender needs: `trusts` need not be called."""


@dataclass(frozen=True, slots=True)
class _Type:
    reads: Reader
    first: Entry
    meaning: Callable[[Any], Hashable] | None
    entries: dict[Hashable, Entry]


def _noting_use(capability: str, handle: Handle) -> Handle:
    """A handler that notes the use of a capability, since the peer may then be sent messages of the
    same extension."""
    if not any(row.follows and row.capability == capability for row in ROWS):
        return handle

    def handle_and_note(peer: Peer, content: Any, now: float) -> None:
        peer.facts.note_used(capability)
        handle(peer, content, now)

    return handle_and_note


def _vouching(vouch: Callable[[], None], handle: Handle) -> Handle:
    """A handler of messages that may name a handshake message of their session, and then cost
    nobody else anything."""

    def handle_and_vouch(peer: Peer, content: Any, now: float) -> None:
        if vouches(peer, getattr(content, "handshake", UNSET)):
            vouch()
        handle(peer, content, now)

    return handle_and_vouch


def _both(
    trusts: Callable[[Peer, Any], bool], is_sender: Callable[[Peer, Any], bool]
) -> Callable[[Peer, Any], bool]:
    if is_sender is whoever:
        return trusts
    if trusts is whoever:
        return is_sender
    return lambda peer, content: trusts(peer, content) and is_sender(peer, content)


class MessageTable:
    """The table as one node uses it.

    Args:
        parts: The parts that handle messages; each handler is a method of one of them.
        accounts: What has been used of the budgets.
        vouch: Called when the message being handled names something that only its sender can know.

    Handlers of each type outside of a session are in `anybody`, `stranger`, `introduced`,
    `handshaking` and `routed`: see `Row`.
    """

    def __init__(
        self, parts: Iterable[object], accounts: Accounts, vouch: Callable[[], None]
    ) -> None:
        by_class = {known.__name__: part for part in parts for known in type(part).__mro__}

        def bound(handler: Any) -> Any:
            if handler is None:
                return None
            # By name, so that a subclass may override it.
            owner, _, name = handler.__qualname__.partition(".")
            return getattr(by_class[owner], name)

        def takers(where: str) -> dict[str, Take]:
            return {row.kind: bound(at) for row in ROWS if (at := getattr(row, where)) is not None}

        self.anybody, self.stranger = takers("anybody"), takers("stranger")
        self.introduced, self.handshaking = takers("introduced"), takers("handshaking")
        self.routed = takers("routed")
        self._types: dict[str, _Type] = {}
        for row in ROWS:
            if row.handler is None:
                continue
            is_sender = bound(row.sender) or whoever
            doubted = None
            if row.doubted is not None:
                handle = accounts.guard(row.budget, _noting_use(row.capability, bound(row.doubted)))
                doubted = Entry(row, handle, None, None, is_sender, None)
            trusts = _both(TRUSTS[row.trust], is_sender)
            handler = bound(row.handler)
            if row.trust is Trust.VOUCHED or row.budget.is_vouched:
                handler = _vouching(vouch, handler)
            entry = Entry(
                row,
                accounts.guard(row.budget, _noting_use(row.capability, handler)),
                bound(row.admits),
                bound(row.refuse),
                trusts,
                doubted,
                is_open=trusts is whoever,
            )
            known = self._types.get(row.kind)
            if known is None:
                known = _Type(row.reads, entry, MEANINGS.get(row.kind), {})
                self._types[row.kind] = known
            known.entries[row.meaning] = entry

    def read(self, message: Envelope) -> tuple[Entry | None, Any, MalformedError | None]:
        """Determine what a message is: its entry, its content, and what is wrong with its payload.
        There is no entry for a type without a row, or one that is not handled within a session."""
        known = self._types.get(message.message_type)
        if known is None:
            return None, None, None
        try:
            content = known.reads(message)
        except MalformedError as error:
            return known.first, None, error
        if known.meaning is None:
            return known.first, content, None
        return known.entries[known.meaning(content)], content, None
