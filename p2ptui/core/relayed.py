"""Relayed nodes by way of servers: each node at most once at each server."""

from typing import Generic, TypeVar

from p2ptui.wire.address import Address

OwnerT = TypeVar("OwnerT")


class Relayed(Generic[OwnerT]):
    """Addresses of relayed nodes besides the one that each has for its whole life.

    There are as many for each as the node asks servers for it.
    """

    def __init__(self) -> None:
        self._owners: dict[Address, OwnerT] = {}
        self._addresses: dict[OwnerT, set[Address]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def owner(self, address: Address) -> OwnerT | None:
        """Who is at an address."""
        return self._owners.get(address)

    def of(self, owner: OwnerT) -> frozenset[Address]:
        """Where somebody is."""
        return frozenset(self._addresses.get(owner, ()))

    def enter(self, owner: OwnerT, address: Address) -> bool:
        """Somebody is at an address, unless another is; whether that is so."""
        if self._owners.setdefault(address, owner) is not owner:
            return False
        self._addresses.setdefault(owner, set()).add(address)
        return True

    def clear(self, owner: OwnerT) -> None:
        """Somebody is gone."""
        for address in self._addresses.pop(owner, ()):
            del self._owners[address]
