"""Addresses from which peers send besides their own: bounded for each, and never without the one
in use."""

from collections.abc import Callable, Collection
from enum import IntEnum
from typing import Final, Generic, TypeVar

from p2ptui.nat.allowances import MAX_LEARNT
from p2ptui.nat.punching import MAX_PAIRS
from p2ptui.wire.address import Address

MAX_ALIASES: Final = MAX_PAIRS + MAX_LEARNT
"""Addresses for each peer from which checks were answered: until one is chosen the other side may
send from any of them, so there are as many as a round finds pairs from one socket."""

MAX_CLAIMED_ALIASES: Final = 8
"""Of these, addresses that only say to be the peer's: anybody who saw a check can repeat it."""

OwnerT = TypeVar("OwnerT")


class Standing(IntEnum):
    """How well it is known that an address is the owner's."""

    CLAIMED = 0
    """An authentic check came from there."""
    ANSWERED = 1
    """A check to there was answered."""
    CHOSEN = 2
    """It is the path to the owner: it always finds room and is never evicted."""


class Aliases(Generic[OwnerT]):
    """The aliases of all owners.

    Args:
        count: Called with a cause when a full table refuses or evicts an address.
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._owners: dict[Address, OwnerT] = {}
        # By owner, in the order in which they came.
        self._standings: dict[OwnerT, dict[Address, Standing]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def owner(self, address: Address) -> OwnerT | None:
        """Whose alias an address is."""
        return self._owners.get(address)

    def of(self, owner: OwnerT) -> Collection[Address]:
        """The aliases of an owner."""
        return self._standings.get(owner, {}).keys()

    def enter(self, owner: OwnerT, address: Address, standing: Standing) -> OwnerT | None:
        """What comes from an address is from an owner too.

        A claim takes no address away from another owner; an answered check does: only one node
        receives at an address.

        Args:
            owner: Whose it is.
            address: Which.
            standing: How well that is known. An owner has one chosen address at most: the one
                before counts as answered again.

        Returns:
            Who owns the address now; None if there was no room for it.
        """
        holder = self._owners.get(address)
        if holder is not None and holder is not owner and standing is Standing.CLAIMED:
            return holder
        own = self._standings.get(owner, {})
        known = own.get(address)
        if known is None and not self._make_room(owner, own, standing):
            return None
        if standing is Standing.CHOSEN:
            for other, before in own.items():
                if before is Standing.CHOSEN:
                    own[other] = Standing.ANSWERED
        if holder is not None and holder is not owner:
            self.remove(holder, address)
        self._owners[address] = owner
        self._standings.setdefault(owner, {})[address] = max(standing, known or standing)
        return owner

    def _make_room(self, owner: OwnerT, own: dict[Address, Standing], standing: Standing) -> bool:
        """Whether there is room for one more; the oldest that is known less well goes for it."""
        if standing is Standing.CLAIMED:
            claims = sum(known is Standing.CLAIMED for known in own.values())
            is_full = claims >= MAX_CLAIMED_ALIASES or len(own) >= MAX_ALIASES
        else:
            is_full = len(own) >= MAX_ALIASES
        if not is_full:
            return True
        self._count("aliases_full")
        lesser = (address for address, known in own.items() if known < standing)
        victim = min(lesser, key=own.__getitem__, default=None)
        if victim is None:
            return False
        self.remove(owner, victim)
        return True

    def remove(self, owner: OwnerT, address: Address) -> None:
        """What comes from an address is no longer from this owner."""
        if self._owners.get(address) is owner:
            del self._owners[address]
            own = self._standings[owner]
            del own[address]
            if not own:
                del self._standings[owner]

    def clear(self, owner: OwnerT) -> None:
        """This owner sends from its own address only."""
        for address in self._standings.pop(owner, ()):
            del self._owners[address]
