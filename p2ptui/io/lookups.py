"""Look-ups of host names: each in a thread, few at a time, and few of the same name.

The system's look-up cannot be cancelled, and may take minutes if no name server answers. Callers
give up sooner, and ask again.
"""

import asyncio
import socket
from collections.abc import Hashable
from typing import Any, Final, TypeAlias

from p2ptui.io.threads import in_thread

MAX_LOOKUPS: Final = 32
"""Threads for look-ups at once: half of what the systemd unit allows (`TasksMax`)."""

MAX_OF_A_NAME: Final = 2
"""How many of these one name may have: a name whose look-up hangs leaves room for others."""

FRESH_S: Final = 30.0
"""After this time another look-up of the name begins: the first may ask a network that this machine
has left."""

_Answer: TypeAlias = list[Any]


class _Name:
    """The look-ups of one name that are under way."""

    __slots__ = ("began", "looking")

    def __init__(self) -> None:
        self.began = 0.0
        """When the latest began."""
        self.looking: list[asyncio.Future[_Answer]] = []

    def may_begin(self, now: float) -> bool:
        """Whether another look-up may begin."""
        if len(self.looking) >= MAX_OF_A_NAME:
            return False
        return not self.looking or now >= self.began + FRESH_S


class Lookups:
    """The look-ups of one event loop."""

    def __init__(self) -> None:
        self._names: dict[Hashable, _Name] = {}

    async def get(self, host: Any, port: Any, **options: Any) -> _Answer:
        """Look a host up; `socket.getaddrinfo` has the arguments, the result and the errors.

        Raises:
            NoThreadError: No thread can be started for it.
        """
        # Whoever asks for another port of the same host waits for the same answer.
        asked = 0 if type(port) is int else port
        key = host, asked, *sorted(options.items())
        name = self._names.get(key) or _Name()
        now = asyncio.get_running_loop().time()
        if name.may_begin(now):
            self._require_room()
            name.looking.append(self._begin(key, name, host, asked, options))
            name.began = now
            self._names[key] = name
        # Others may wait for the same one.
        answer = await asyncio.shield(name.looking[-1])
        if asked is port:
            return list(answer)
        return [(*kind, (to[0], port, *to[2:])) for *kind, to in answer]

    def _require_room(self) -> None:
        if sum(len(name.looking) for name in self._names.values()) >= MAX_LOOKUPS:
            words = f"{MAX_LOOKUPS} look-ups of names are under way already"
            raise socket.gaierror(socket.EAI_AGAIN, words)

    def _begin(
        self, key: Hashable, name: _Name, host: Any, port: Any, options: dict[str, Any]
    ) -> "asyncio.Future[_Answer]":
        looking = in_thread(lambda: socket.getaddrinfo(host, port, **options), f"look up {host}")

        def end(_: object) -> None:
            if not looking.cancelled():
                looking.exception()  # perhaps nobody waits for it any more
            name.looking.remove(looking)
            if not name.looking:
                del self._names[key]

        looking.add_done_callback(end)
        return looking
