"""Sealed frames that arrive before the last message of their key exchange, and wait for it.

The asking side has the keys first, and may send as soon as that message has left. If the message
goes through a server while a direct path is found, or if the network reorders datagrams, the next
frame arrives first. Pings are not repeated, so a frame dropped for that reason would be lost (RFC
9001, section 5.7, keeps such packets too). Nothing is opened or answered before the session has
begun; then each frame is handled as if it had just arrived.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

MAX_EARLY: Final = 256
"""Key exchanges with waiting frames; the oldest makes room."""

MAX_EARLY_OF_ONE: Final = 4
"""Frames that wait for one of them."""

LONGEST_EARLY: Final = 1500
"""Most bytes of each: those of an Ethernet frame."""

WAITS_S: Final = 0.2
"""How long a frame is worth an answer. If the last message of an exchange is later than this, it
was lost: it is repeated after 0.25 s, and a frame that waited for that would report too long a
round trip."""


@dataclass(frozen=True, slots=True)
class _Held:
    frame: bytes
    address: Address
    came_at: float


class Early:
    """Keeps early frames.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._held: BoundedTable[int, tuple[_Held, ...]] = state.tables.add(
            "frames_early",
            BoundedTable(MAX_EARLY, full="early_frames_forgotten", shares=state.tables.shares),
        )
        self.take: Callable[[bytes, Address, float], None] = lambda *_: None
        """Handles a sealed frame, given its source, that was counted and paid for before."""

    def hold(self, number: int, frame: bytes, address: Address, now: float) -> bool:
        """Keep a frame for a session that may begin; returns whether there is room.

        Args:
            number: The number of the session.
            frame: As it came.
            address: Where from.
            now: The time, seconds.
        """
        held = self._held.get(number, ())
        if len(held) >= MAX_EARLY_OF_ONE or len(frame) > LONGEST_EARLY:
            return False
        return self._held.put(number, (*held, _Held(bytes(frame), address, now)), address=address)

    def release(self, number: int, now: float) -> None:
        """The session has begun: its waiting frames are handled in the order in which they
        arrived."""
        for held in self._held.pop(number) or ():
            if now > held.came_at + WAITS_S:
                self._state.counters.drop("seal_unknown_session")
                continue
            # Not from within the code that begins the session.
            self._state.timers.schedule(now, partial(self.take, held.frame, held.address))

    def forget(self, number: int) -> None:
        """The session will not begin."""
        self._held.pop(number)
