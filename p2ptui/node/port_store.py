"""What was learnt about the NATs of networks, kept in a file of the platform's state directory."""

from pathlib import Path
from typing import Final

from p2ptui.nat.port_memory import Learnt, PortMemory
from p2ptui.node.state_file import MAX_FILE_BYTES as MAX_FILE_BYTES
from p2ptui.node.state_file import StateFile

FILE_NAME: Final = "ports.json"


class PortStore:
    """A memory of ports with a file behind it; an unusable file only means that nothing is
    remembered.

    Args:
        path: The file; by default the platform's, and none for a user without a home.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = StateFile(FILE_NAME, "what was learnt of ports", path)
        self._memory: PortMemory | None = None

    def recall(self, network: str, now_wall: float) -> Learnt | None:
        """What is known about a network.

        Args:
            network: Its name: the outside host, which identifies it later.
            now_wall: Unix time, seconds.
        """
        return self._loaded(now_wall).recall(network, now_wall)

    def remember(self, network: str, learnt: Learnt) -> None:
        """Keep what was learnt."""
        memory = self._loaded(learnt.at)
        memory.remember(network, learnt)
        self._file.write(memory.to_dict())

    def _loaded(self, now_wall: float) -> PortMemory:
        if self._memory is None:
            content = self._file.read()
            try:
                self._memory = PortMemory.from_dict(content, now_wall)
            except (ValueError, RecursionError):
                self._memory = PortMemory()
        return self._memory
