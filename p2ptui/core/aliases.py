"""Further addresses that peers send from: bounded for each peer; the one in use is never
dropped."""

from collections.abc import Callable, Collection
from enum import IntEnum
from typing import Final, Generic, TypeVar

from p2ptui.bounded import BoundedTable, Limit, Share, number_of
from p2ptui.nat.allowances import MAX_LEARNT
from p2ptui.nat.punching import MAX_PAIRS
from p2ptui.wire.address import Address

MAX_ALIASES: Final = MAX_PAIRS + MAX_LEARNT
"""Addresses of each peer that answered checks: until one is chosen the other side may send from any
of them, so there may be as many as the pairs that a round finds from one socket."""

MAX_CLAIMED_ALIASES: Final = 8
"""The part of these that are only claimed to be the peer's: anybody who saw a check can repeat
it."""

OwnerT = TypeVar("OwnerT")


class Standing(IntEnum):
    """How certain it is that an address is its owner's."""

    CLAIMED = 0
    """An authentic check came from there."""
    ANSWERED = 1
    """A check sent there was answered."""
    CHOSEN = 2
    """It is the path to the owner: it always finds room and is never evicted."""


class Aliases(Generic[OwnerT]):
    """The aliases of all owners.

    Args:
        count: Called with a cause when a full table refuses or evicts an address.
        limit: Most owners.
    """

    def __init__(self, count: Callable[[str], None], limit: Limit = 65_536) -> None:
        self._count = count
        # For each owner, in the order in which they were added.
        self._known: BoundedTable[Address, tuple[OwnerT, Standing]] = BoundedTable(
            lambda: MAX_ALIASES * number_of(limit),
            refuses=True,
            full="aliases_full",
            peer_share=Share(MAX_ALIASES),
            count=count,
        )
        self.known = self._known.get
        """The owner of an address, and how certain that is; None if it has none. Read for each
        datagram of a stranger, so it is as fast as a dict."""

    def __len__(self) -> int:
        return len(self._known)

    def owner(self, address: Address) -> OwnerT | None:
        """The owner of an address."""
        known = self.known(address)
        return None if known is None else known[0]

    def of(self, owner: OwnerT) -> Collection[Address]:
        """The aliases of an owner."""
        return self._known.of_peer(owner)

    def enter(self, owner: OwnerT, address: Address, standing: Standing) -> OwnerT | None:
        """Record that an owner also sends from an address. A claim takes no address away from
        another owner; an answered check does, since only one node receives at an address.

        Args:
            owner: The owner.
            address: The address.
            standing: How certain that is. An owner has at most one chosen address: the previous one
                counts as answered again.

        Returns:
            Who owns the address now; None if there was no room for it.
        """
        holder, known = self._known.get(address, (None, None))
        if holder is not None and holder is not owner and standing is Standing.CLAIMED:
            return holder
        if holder is not owner:
            known = None
            if not self._make_room(owner, standing):
                return None
        if standing is Standing.CHOSEN:
            for other in self._known.of_peer(owner):
                if self._known[other][1] is Standing.CHOSEN:
                    self._known.replace(other, (owner, Standing.ANSWERED))
        if known is not None:
            self._known.replace(address, (owner, max(standing, known)))
            return owner
        return owner if self._known.put(address, (owner, standing), peers=(owner,)) else None

    def _make_room(self, owner: OwnerT, standing: Standing) -> bool:
        """Whether there is room for one more; the oldest of a lower standing is evicted for it."""
        own = {address: self._known[address][1] for address in self._known.of_peer(owner)}
        is_full = len(own) >= MAX_ALIASES
        if standing is Standing.CLAIMED:
            claims = sum(known is Standing.CLAIMED for known in own.values())
            is_full = is_full or claims >= MAX_CLAIMED_ALIASES
        if not is_full:
            return True
        self._count("aliases_full")
        lesser = [address for address, known in own.items() if known < standing]
        victim = min(lesser, key=own.__getitem__, default=None)
        if victim is None:
            return False
        del self._known[victim]
        return True

    def remove(self, owner: OwnerT, address: Address) -> None:
        """An address is no longer this owner's."""
        if self.owner(address) is owner:
            del self._known[address]

    def clear(self, owner: OwnerT) -> None:
        """This owner sends from its own address only."""
        for address in self._known.of_peer(owner):
            del self._known[address]
