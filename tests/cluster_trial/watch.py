"""What all servers say of who is where, again and again, and since when that is one truth."""

import asyncio
import json
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
        apart = [
            node_id
            for node_id in everybody
            if len({view.holders.get(node_id) for view in self.views}) > 1
        ]
        if apart:
            self.wrong.append(f"they differ on who holds {len(apart)}: {sorted(apart)[:3]}")
        return not self.wrong

    async def one_truth(self, everybody: set[str], since: float, seconds: float) -> float | None:
        """From a time until there is one truth, for a while at least; None: not within seconds."""
        good: float | None = None
        while (now := time.monotonic()) < since + seconds + QUIET_S:
            if not await self.look(everybody):
                good = None
            elif good is None:
                good = time.monotonic()
            elif now >= good + QUIET_S:
                return good - since
            await asyncio.sleep(PAUSE_S)
        return None

    def held_by(self, server_id: str) -> list[str]:
        """The nodes that all servers say one holds."""
        first, *others = self.views
        return [
            node_id
            for node_id, holder in first.holders.items()
            if holder == server_id and all(view.holders.get(node_id) == holder for view in others)
        ]


async def rest(seconds: float, idle: float = 0.25) -> float:
    """Wait until the machine has had a part of its processors to spare for two seconds in a row,
    but no longer than some seconds; the part that it has in the last of them."""
    end, calm, part = time.monotonic() + seconds, 0, 0.0
    before = _jiffies()
    while calm < 2 and time.monotonic() < end:
        await asyncio.sleep(1)
        now = _jiffies()
        part = (now[0] - before[0]) / max(1, now[1] - before[1])
        calm, before = calm + 1 if part >= idle else 0, now
    return part


def _jiffies() -> tuple[int, int]:
    """Of all processors: idle, and all."""
    with suppress(OSError):
        told = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return told[3] + told[4], sum(told)
    return 1, 1
