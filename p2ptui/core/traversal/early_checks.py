"""Checks from the other side that arrive before this side has a round to handle them."""

from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.nat.allowances import MAX_LEARNT
from p2ptui.wire.address import Address

MAX_EARLY: Final = MAX_LEARNT
"""Addresses of checks that overtook the other side's offer, which went through the server: the
first check may be the only one that shows the address that its NAT uses towards this node. A round
takes up as many."""


class EarlyChecks:
    """Where checks came from before there was a round, and what each of them allows."""

    def __init__(self) -> None:
        self._checks: BoundedTable[tuple[Address, int], tuple[bool, int]] = BoundedTable(
            lambda: MAX_EARLY
        )

    def __len__(self) -> int:
        return len(self._checks)

    def add(self, source: Address, socket: int, spare_bytes: int, *, nominated: bool) -> bool:
        """Keep a check; one on a pair that the other side chose replaces one that it did not.

        Args:
            source: Where it came from.
            socket: The number of the socket that it came to.
            spare_bytes: What may be sent back if the address is unknown.
            nominated: Whether it says that this pair was chosen.

        Returns:
            False if it, or the one that it replaced, is not kept.
        """
        key = source, socket
        is_room = key in self._checks or self._checks.has_room
        if not is_room:
            victim = next((k for k, (chosen, _) in self._checks.items() if not chosen), None)
            if victim is None or not nominated:
                return False
            del self._checks[victim]
        before, spared = self._checks.get(key, (False, 0))
        self._checks.put(key, (before or nominated, spared + spare_bytes))
        return is_room

    def take(self) -> list[tuple[Address, int, bool, int]]:
        """Remove and return all: source, socket, whether it was chosen, and spare bytes."""
        taken = [(*key, *known) for key, known in self._checks.items()]
        self._checks.clear()
        return taken

    def clear(self) -> None:
        """Forget all."""
        self._checks.clear()
