"""What all servers say of who is where, again and again, and since when that is one truth."""

import asyncio
import json
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

PAUSE_S: Final = 0.2
"""Between two looks. A look is 10 ms of each server's time for 600 nodes."""

ANSWER_S: Final = 3.0
QUIET_S: Final = 1.0
"""It is the truth if it is for so long."""


class View:
    """What one server says.

    Args:
        path: Of its socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.holders: dict[str, str] = {}
        """Which server holds each node that it lists."""
        self.times: Counter[str] = Counter()
        """How often it lists each."""
        self.is_there = False
        self.server_id = ""

    async def look(self) -> bool:
        """Ask it; whether it has answered."""
        self.is_there, writer = False, None
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=1 << 24)
                writer.write(b"\n")
                answer: dict[str, Any] = json.loads(await reader.readline())
        except (OSError, TimeoutError, ValueError):
            return False
        finally:
            if writer is not None:
                writer.close()
        self.times = Counter(node_id for node_id, _ in answer["told"])
        self.holders, self.server_id = dict(answer["told"]), answer["server"]
        self.is_there = True
        return True


class Watch:
    """All servers.

    Args:
        paths: Of their sockets.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.views = [View(path) for path in paths]
        self.wrong: list[str] = []
        """What was not so when it was last looked."""
        self.are_listed = False
        """Whether every server listed every node once then, and nobody else."""

    async def look(self, everybody: set[str]) -> bool:
        """Whether every server lists every node once and nobody else, and all say who holds it."""
        await asyncio.gather(*(view.look() for view in self.views))
        self.wrong = []
        for number, view in enumerate(self.views, 1):
            if not view.is_there:
                self.wrong.append(f"server{number} does not answer")
                continue
            missing = everybody - view.times.keys()
            others = view.times.keys() - everybody
            twice = [node_id for node_id, times in view.times.items() if times > 1]
            for what, ids in (("lacks", missing), ("lists nobody's", others), ("twice", twice)):
                if ids:
                    self.wrong.append(f"server{number} {what} {len(ids)}: {sorted(ids)[:3]}")
        self.are_listed = not self.wrong
        apart = [
            node_id
            for node_id in everybody
            if len({view.holders.get(node_id) for view in self.views}) > 1
        ]
        if apart:
            self.wrong.append(f"they differ on who holds {len(apart)}: {sorted(apart)[:3]}")
        return not self.wrong

    async def one_truth(
        self, everybody: set[str], since: float, seconds: float
    ) -> tuple[float | None, float | None]:
        """From a time until all are in all lists, and until there is one truth, for a while at
        least; None: not within seconds."""
        listed: float | None = None
        good: float | None = None
        while (now := time.monotonic()) < since + seconds + QUIET_S:
            is_good = await self.look(everybody)
            looked = time.monotonic()
            listed = (listed or looked) if self.are_listed else None
            good = (good or looked) if is_good else None
            if good is not None and now >= good + QUIET_S:
                break
            await asyncio.sleep(PAUSE_S)
        found = [None if when is None else when - since for when in (listed, good)]
        return found[0], found[1]

    def held_by(self, server_id: str) -> list[str]:
        """The nodes that all servers say one holds."""
        first, *others = self.views
        return [
            node_id
            for node_id, holder in first.holders.items()
            if holder == server_id and all(view.holders.get(node_id) == holder for view in others)
        ]


async def rest(seconds: float, busy: float = 0.75) -> float:
    """Wait until this process and those that it has started have used less than a part of the
    processors for two seconds in a row, but no longer than some seconds: right after hundreds of
    nodes have joined, they and the servers have no time for what is to be measured.

    Returns:
        The part that they used in the last second.
    """
    end, calm, part = time.monotonic() + seconds, 0, 0.0
    used, looked = _used_s(), time.monotonic()
    while calm < 2 and time.monotonic() < end:
        await asyncio.sleep(1)
        before, was, used, looked = used, looked, _used_s(), time.monotonic()
        part = max(0.0, used - before) / (looked - was) / (os.cpu_count() or 1)
        calm = calm + 1 if part < busy else 0
    return part


def _used_s() -> float:
    """Processor time of this process and its children, as far as they are there."""
    used = time.process_time()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            told = path.read_text().rpartition(")")[2].split()
            if int(told[1]) == os.getpid():
                used += (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")
    return used
