"""Servers to which somebody said goodbye: they are not joined again until they are asked for."""

import asyncio

from p2ptui.wire.address import Address


class Partings:
    """Knows which of the servers that the node keeps joined it must leave alone."""

    def __init__(self) -> None:
        self._kept: set[Address] = set()
        self._wanted: dict[Address, asyncio.Event] = {}

    def note_joined(self, address: Address) -> None:
        """The node keeps a server at this address joined."""
        self._kept.add(address)

    def part(self, address: Address) -> bool:
        """Somebody says goodbye to the peer at an address; whether it is a server kept joined."""
        if address not in self._kept:
            return False
        self._wanted.setdefault(address, asyncio.Event())
        return True

    def is_parted(self, address: Address) -> bool:
        """Whether the server at an address is left alone."""
        return address in self._wanted

    def resume(self, address: Address) -> None:
        """Somebody has connected to the peer at an address: it is kept joined again."""
        wanted = self._wanted.pop(address, None)
        if wanted is not None:
            wanted.set()

    async def wait_until_wanted(self, address: Address) -> bool:
        """Return when a server may be joined; whether somebody had said goodbye to it."""
        wanted = self._wanted.get(address)
        if wanted is None:
            return False
        await wanted.wait()
        return True
