"""Waiting for peers to leave, or to fall silent."""

import asyncio

from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.core.peers import Peer
from p2ptui.wire.address import Address


class _Waiting:
    """Who waits for something to happen to the peer at an address."""

    def __init__(self) -> None:
        self._waiting: dict[Address, list[asyncio.Future[None]]] = {}

    async def wait(self, address: Address) -> None:
        """Return when it happens."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(address, [])
        waiting.append(future)
        try:
            await future
        finally:
            if future in waiting:
                waiting.remove(future)
            if self._waiting.get(address) == []:
                del self._waiting[address]

    def _tell(self, address: Address) -> None:
        for future in self._waiting.pop(address, ()):
            if not future.done():
                future.set_result(None)


class Silences(_Waiting):
    """Tells those who wait that the server at an address answers no more."""

    def note(self, server: Peer, _now: float) -> None:
        """It has left several Pings unanswered."""
        self._tell(server.address)


class Departures(_Waiting):
    """Tells those who wait that the peer at an address is gone."""

    def note(self, event: PeerStatusChanged) -> None:
        """A peer's status has changed."""
        if event.status in (PeerStatus.DISCONNECTED, PeerStatus.FAILED):
            self._tell(event.address)
