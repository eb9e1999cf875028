"""What was learnt of the NATs of networks, kept in a file of the platform's state directory."""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from p2ptui.nat.port_memory import Learnt, PortMemory
from p2ptui.places import user_file

log = logging.getLogger("p2ptui.nat")

FILE_NAME: Final = "ports.json"
MAX_FILE_BYTES: Final = 1 << 20


class PortStore:
    """A memory of ports with a file behind it; a file that cannot be used costs nothing but that.

    Args:
        path: The file; that of the platform without it, and none for a user without a home.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._memory: PortMemory | None = None

    def recall(self, network: str, now_wall: float) -> Learnt | None:
        """What is known of a network.

        Args:
            network: Its name: the outside host, by which it can be known again.
            now_wall: Unix time, seconds.
        """
        return self._loaded(now_wall).recall(network, now_wall)

    def remember(self, network: str, learnt: Learnt) -> None:
        """Keep what was learnt."""
        memory = self._loaded(learnt.at)
        memory.remember(network, learnt)
        path = self._file()
        if path is None:
            return
        fresh = path.with_suffix(f".{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(memory.to_dict()), "utf-8")
            fresh.replace(path)
        except OSError as error:
            log.debug("what was learnt of ports is not kept: %s", error)
            with suppress(OSError):
                fresh.unlink()

    def _loaded(self, now_wall: float) -> PortMemory:
        if self._memory is None:
            self._memory = self._read(now_wall)
        return self._memory

    def _read(self, now_wall: float) -> PortMemory:
        path = self._file()
        if path is None:
            return PortMemory()
        try:
            data = path.read_bytes()[:MAX_FILE_BYTES]
            return PortMemory.from_dict(json.loads(data), now_wall)
        except (OSError, ValueError, RecursionError):
            return PortMemory()

    def _file(self) -> Path | None:
        return self._path or user_file("state", FILE_NAME)
