"""What is kept of a sender that has nothing to do: most peers are sent nothing most of the time.

A sender has a dozen parts, which take kilobytes. Once nothing waits, nothing is under way and
nothing can be asked for again, it is taken apart: what a new one would begin with anyway goes, and
what was learnt or agreed stays. It is put together again for the next message.
"""

from typing import Final

from p2ptui.core.reliability.numbering import Numbering
from p2ptui.core.reliability.path_mtu import PathMtu
from p2ptui.core.reliability.receiver_room import ReceiverRoom
from p2ptui.core.reliability.skips import Skips


class Kept:
    """Parts of a sender that have learnt something; None for those that have not.

    Few senders have any: of most nothing but a `Resting` is left.
    """

    __slots__ = ("path", "room", "skips")

    def __init__(
        self,
        path: PathMtu | None = None,
        room: ReceiverRoom | None = None,
        skips: Skips | None = None,
    ) -> None:
        self.path = path
        self.room = room
        self.skips = skips

    @property
    def is_empty(self) -> bool:
        """Whether no part has learnt anything."""
        return self.path is None and self.room is None and self.skips is None


NEW_WINDOW: Final[tuple[float, ...]] = (0.0, 0.0)
"""Of a congestion window that has learnt nothing."""

NOTHING_KEPT: Final = Kept()


class Resting:
    """A sender that rests.

    Args:
        numbering: Of its messages.
        grows: As of its `PathMtu`.
        sealed_bytes: Likewise.
        passed_bytes: The largest datagram that is known to have arrived.
        window: What its congestion window has learnt.
        retransmissions: Datagrams that were sent again so far.
        learnt: Its parts that have learnt something.
    """

    __slots__ = (
        "grows",
        "learnt",
        "numbering",
        "passed_bytes",
        "retransmissions",
        "sealed_bytes",
        "window",
    )

    def __init__(
        self,
        numbering: Numbering,
        *,
        grows: bool = False,
        sealed_bytes: int = 0,
        passed_bytes: int = 0,
        window: tuple[float, ...] = NEW_WINDOW,
        retransmissions: int = 0,
        learnt: Kept = NOTHING_KEPT,
    ) -> None:
        self.numbering = numbering
        self.grows = grows
        self.sealed_bytes = sealed_bytes
        self.passed_bytes = passed_bytes
        self.window = NEW_WINDOW if window == NEW_WINDOW else window
        self.retransmissions = retransmissions
        self.learnt = learnt

    def agree(self, *, grows: bool) -> None:
        """The peer has told whether it answers probes; see `PathMtu`."""
        self.grows = grows
        if self.learnt.path is not None:
            self.learnt.path.grows = grows

    def seal(self, overhead_bytes: int) -> None:
        """As `PathMtu.seal`: what is known to have arrived was of another length."""
        if overhead_bytes != self.sealed_bytes:
            self.sealed_bytes = overhead_bytes
            self.passed_bytes = 0
            if self.learnt.path is not None:
                self.learnt.path.seal(overhead_bytes)

    def take_retransmissions(self) -> int:
        """`retransmissions`, which count from 0 again."""
        count, self.retransmissions = self.retransmissions, 0
        return count
