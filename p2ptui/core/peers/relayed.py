"""Nodes relayed by servers: each node at most once at each server."""

from typing import Final, Generic, TypeVar

from p2ptui.bounded import INDEXED, BoundedTable, Limit, number_of
from p2ptui.wire.address import Address

OwnerT = TypeVar("OwnerT")

RELAYS_OF_ONE: Final = 64
"""Of each on the average, at most: servers come and go while a session lasts."""


class Relayed(Generic[OwnerT]):
    """Further addresses of relayed nodes, besides the one that each keeps for its whole life.

    A node has one for each server that this node uses to reach it.

    Args:
        limit: Most owners.
    """

    def __init__(self, limit: Limit = 65_536) -> None:
        self._owners: BoundedTable[Address, OwnerT] = BoundedTable(
            lambda: RELAYS_OF_ONE * number_of(limit), refuses=True, peer_share=INDEXED
        )
        self.owner = self._owners.get
        """Who is at an address; None if nobody is."""

    def __len__(self) -> int:
        return len(self._owners)

    def of(self, owner: OwnerT) -> frozenset[Address]:
        """Where somebody is."""
        return frozenset(self._owners.of_peer(owner))

    def enter(self, owner: OwnerT, address: Address) -> bool:
        """Somebody is at an address, unless another is; whether that is so."""
        known = self._owners.get(address)
        if known is not None:
            return known is owner
        return self._owners.put(address, owner, peers=(owner,))

    def clear(self, owner: OwnerT) -> None:
        """Somebody is gone."""
        for address in self._owners.of_peer(owner):
            del self._owners[address]
