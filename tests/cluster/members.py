"""Buses at work, and what they have told."""

import asyncio
import random
import time
from contextlib import suppress

from brokers import until

from p2ptui.config import ClusterOptions
from p2ptui.core.cluster.bus import Publish
from p2ptui.io.nats_bus import NatsBus


class Recorder:
    """Keeps what a bus tells, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.entries: dict[str, tuple[bytes, int]] = {}

    def handle_link(self, is_up: bool, now: float) -> None:
        self.told.append(("link", is_up))

    def handle_complete(self, now: float) -> None:
        self.told.append(("complete",))

    def receive_entry(self, key: str, value: bytes | None, revision: int, now: float) -> None:
        self.told.append(("entry", key, value, revision))
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = (value, revision)

    def receive_message(self, subject: str, data: bytes, now: float) -> None:
        self.told.append(("message", subject, data))

    def handle_put(self, key: str, revision: int, now: float) -> None:
        self.told.append(("put", key, revision))

    def handle_refused(self, key: str, now: float) -> None:
        self.told.append(("refused", key))

    def handle_unsent(self, order: Publish, is_too_large: bool, now: float) -> None:
        self.told.append(("unsent", order.subject, is_too_large))


class Member:
    """A bus at work, and what it has told."""

    def __init__(self, options: ClusterOptions, network_id: str, own_id: str) -> None:
        self.heard = Recorder()
        self.id = own_id
        self.bus = NatsBus(
            options, network_id, own_id, self.heard, time.monotonic, random.Random(own_id)
        )
        self.do = self.bus.do
        self._task = asyncio.ensure_future(self.bus.run())

    @property
    def told(self) -> list[tuple[object, ...]]:
        """All that it has told."""
        return self.heard.told

    async def complete(self, times: int = 1) -> None:
        """Wait until all entries have been told, for the so-manieth time."""
        await until(lambda: self.told.count(("complete",)) >= times, "a complete view")

    async def tells(self, *what: object) -> None:
        """Wait until something was told."""
        await until(lambda: what in self.told, str(what))

    async def in_trouble(self, word: str) -> str:
        """Wait until it says that something is wrong, with a word of it."""
        await until(lambda: word in self.bus.status().trouble, word)
        return self.bus.status().trouble

    async def close(self) -> None:
        """End it."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
