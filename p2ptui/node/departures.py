"""Waiting for peers to leave."""

import asyncio

from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.wire.address import Address


class Departures:
    """Tells those who wait that the peer at an address is gone."""

    def __init__(self) -> None:
        self._waiting: dict[Address, list[asyncio.Future[None]]] = {}

    async def wait(self, address: Address) -> None:
        """Return when the peer at an address leaves."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, []).append(future)
        await future

    def note(self, event: PeerStatusChanged) -> None:
        """A peer's status has changed."""
        if event.status in (PeerStatus.DISCONNECTED, PeerStatus.FAILED):
            for future in self._waiting.pop(event.address, ()):
                if not future.done():
                    future.set_result(None)
