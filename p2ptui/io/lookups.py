"""Look-ups of host names: each in a thread, few at a time, and none twice at once.

The system's look-up cannot be cancelled, and may take minutes if no name server answers. Callers
give up sooner, and ask again.
"""

import asyncio
import socket
from collections.abc import Hashable
from typing import Any, Final

from p2ptui.io.threads import in_thread

MAX_LOOKUPS: Final = 32
"""Threads for look-ups at once: half of what the systemd unit allows (`TasksMax`)."""

FRESH_S: Final = 30.0
"""After this time another look-up begins: the first may ask a network that this machine has
left."""

_Answer = list[Any]


class Lookups:
    """The look-ups of one event loop."""

    def __init__(self) -> None:
        self._latest: dict[Hashable, tuple[float, asyncio.Future[_Answer]]] = {}
        self._under_way: set[asyncio.Future[_Answer]] = set()

    async def get(self, host: Any, port: Any, **options: Any) -> _Answer:
        """Look a host up; `socket.getaddrinfo` has the arguments, the result and the errors.

        Raises:
            NoThreadError: No thread can be started for it.
        """
        key = host, port, *sorted(options.items())
        now = asyncio.get_running_loop().time()
        began, looking = self._latest.get(key, (0.0, None))
        if looking is None or now - began >= FRESH_S:
            if len(self._under_way) >= MAX_LOOKUPS:
                words = f"{MAX_LOOKUPS} names are being looked up already"
                raise socket.gaierror(socket.EAI_AGAIN, words)
            looking = self._begin(key, host, port, options)
            self._latest[key] = now, looking
        # Others may wait for the same one.
        return await asyncio.shield(looking)

    def _begin(
        self, key: Hashable, host: Any, port: Any, options: dict[str, Any]
    ) -> "asyncio.Future[_Answer]":
        looking = in_thread(lambda: socket.getaddrinfo(host, port, **options), f"look up {host}")
        self._under_way.add(looking)

        def end(_: object) -> None:
            self._under_way.discard(looking)
            if not looking.cancelled():
                looking.exception()  # perhaps nobody waits for it any more
            if self._latest.get(key, (0.0, None))[1] is looking:
                del self._latest[key]

        looking.add_done_callback(end)
        return looking
