"""Servers to which the user said goodbye: they are not joined again until the user asks for
them.
"""

import asyncio

from p2ptui.wire.address import Address


class Partings:
    """Tracks which of the servers that the node keeps joined it must leave alone."""

    def __init__(self) -> None:
        self._kept: dict[Address, Address] = {}
        """Where each server is, by its address as given."""
        self._wanted: dict[Address, asyncio.Event] = {}

    def note_joined(self, address: Address, told: Address | None = None) -> None:
        """The node keeps a server at this address joined.

        Args:
            address: Its only address from now on.
            told: Its address as given to the node; by default the same.
        """
        self._kept[told or address] = address

    def part(self, address: Address) -> bool:
        """The user says goodbye to the peer at an address; return whether it is a server kept
        joined.
        """
        if address not in self._kept.values():
            return False
        self._wanted.setdefault(address, asyncio.Event())
        return True

    def resume(self, address: Address, told: Address | None = None) -> None:
        """The user has connected to the peer at an address: it is kept joined again.

        Args:
            address: Its address.
            told: Its address as the user gave it; a host name may have been left at another
                address.
        """
        for one in {address, self._kept.get(told or address, address)}:
            wanted = self._wanted.pop(one, None)
            if wanted is not None:
                wanted.set()

    def is_parted(self, address: Address) -> bool:
        """Whether the user has said goodbye to the peer at an address, and not connected since."""
        return address in self._wanted

    async def wait_until_wanted(self, address: Address) -> bool:
        """Return when a server may be joined; the result is whether the user had said goodbye to
        it.
        """
        was_parted = False
        # Once more after each wait: it may be unwanted again before this task runs.
        while (wanted := self._wanted.get(address)) is not None:
            was_parted = True
            await wanted.wait()
        return was_parted
