"""Servers to which somebody said goodbye: they are not joined again until they are asked for."""

import asyncio

from p2ptui.wire.address import Address


class Partings:
    """Knows which of the servers that the node keeps joined it must leave alone."""

    def __init__(self) -> None:
        self._kept: dict[Address, Address] = {}
        """Where each server is, by what it was told as."""
        self._wanted: dict[Address, asyncio.Event] = {}

    def note_joined(self, address: Address, told: Address | None = None) -> None:
        """The node keeps a server at this address joined.

        Args:
            address: Where it is from now on, and nowhere else.
            told: As what the node was told of it; the same without it.
        """
        self._kept[told or address] = address

    def part(self, address: Address) -> bool:
        """Somebody says goodbye to the peer at an address; whether it is a server kept joined."""
        if address not in self._kept.values():
            return False
        self._wanted.setdefault(address, asyncio.Event())
        return True

    def resume(self, address: Address, told: Address | None = None) -> None:
        """Somebody has connected to the peer at an address: it is kept joined again.

        Args:
            address: Where it is.
            told: As what it was asked for; a name may have been left at another address.
        """
        for one in {address, self._kept.get(told or address, address)}:
            wanted = self._wanted.pop(one, None)
            if wanted is not None:
                wanted.set()

    def is_parted(self, address: Address) -> bool:
        """Whether somebody has said goodbye to the peer at an address, and not connected since."""
        return address in self._wanted

    async def wait_until_wanted(self, address: Address) -> bool:
        """Return when a server may be joined; whether somebody had said goodbye to it."""
        wanted = self._wanted.get(address)
        if wanted is None:
            return False
        await wanted.wait()
        return True
