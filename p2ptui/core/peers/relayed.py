"""Nodes relayed by servers: each node at most once at each server."""

from typing import Final, Generic, TypeVar

from p2ptui.bounded import INDEXED, BoundedTable, Limit, number_of
from p2ptui.wire.address import Address

OwnerT = TypeVar("OwnerT")

RELAYS_OF_ONE: Final = 64
"""The most addresses for each on average: servers come and go while a session lasts."""


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
        """The owner of an address; None if there is none."""

    def __len__(self) -> int:
        return len(self._owners)

    def of(self, owner: OwnerT) -> frozenset[Address]:
        """The addresses of an owner."""
        return frozenset(self._owners.of_peer(owner))

    def enter(self, owner: OwnerT, address: Address) -> bool:
        """Give an owner an address, unless another one has it; returns whether that was done."""
        known = self._owners.get(address)
        if known is not None:
            return known is owner
        return self._owners.put(address, owner, peers=(owner,))

    def clear(self, owner: OwnerT) -> None:
        """Remove an owner."""
        for address in self._owners.of_peer(owner):
            del self._owners[address]
