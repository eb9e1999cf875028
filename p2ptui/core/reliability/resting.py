"""What is kept of an idle sender: most peers are sent nothing most of the time.

A sender has a dozen parts, which take kilobytes. Once nothing is queued or in flight and nothing
can be requested again, it is taken apart: state that equals that of a new sender is dropped, and
what was learnt or agreed stays. It is put together again for the next message.
"""

from functools import lru_cache
from typing import Final

from p2ptui.core.reliability.path_mtu import PathMtu
from p2ptui.core.reliability.receiver_room import ReceiverRoom
from p2ptui.core.reliability.skips import Skips


class Kept:
    """Parts of a sender that have learnt something; None for those that have not.

    Few senders have any: for most, only a `Resting` remains.
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
"""The value of a congestion window that has learnt nothing."""

NOTHING_KEPT: Final = Kept()


class Resting:
    """An idle sender; never changed, so that equal ones can share one object.

    Args:
        grows: As in its `PathMtu`.
        sealed_bytes: Likewise.
        passed_bytes: The largest datagram that is known to have arrived.
        window: What its congestion window has learnt.
        retransmissions: Datagrams retransmitted so far.
        learnt: Its parts that have learnt something.
    """

    __slots__ = ("grows", "learnt", "passed_bytes", "retransmissions", "sealed_bytes", "window")

    def __init__(
        self,
        *,
        grows: bool = False,
        sealed_bytes: int = 0,
        passed_bytes: int = 0,
        window: tuple[float, ...] = NEW_WINDOW,
        retransmissions: int = 0,
        learnt: Kept = NOTHING_KEPT,
    ) -> None:
        self.grows = grows
        self.sealed_bytes = sealed_bytes
        self.passed_bytes = passed_bytes
        self.window = window
        self.retransmissions = retransmissions
        self.learnt = learnt

    def agree(self, *, grows: bool) -> "Resting":
        """The peer has said whether it answers probes; see `PathMtu`."""
        if self.learnt.path is not None:
            self.learnt.path.grows = grows
        return self._with(grows, self.sealed_bytes, self.passed_bytes, self.retransmissions)

    def seal(self, overhead_bytes: int) -> "Resting":
        """As `PathMtu.seal`: what is known to have arrived had another length."""
        if overhead_bytes == self.sealed_bytes:
            return self
        if self.learnt.path is not None:
            self.learnt.path.seal(overhead_bytes)
        return self._with(self.grows, overhead_bytes, 0, self.retransmissions)

    def without_retransmissions(self) -> "Resting":
        """The same, with `retransmissions` reset to 0."""
        return self._with(self.grows, self.sealed_bytes, self.passed_bytes, 0)

    def _with(
        self, grows: bool, sealed_bytes: int, passed_bytes: int, retransmissions: int
    ) -> "Resting":
        return resting(grows, sealed_bytes, passed_bytes, self.window, retransmissions, self.learnt)


NEW: Final = Resting()
"""The value of a sender that was never active."""


def resting(
    grows: bool,
    sealed_bytes: int,
    passed_bytes: int,
    window: tuple[float, ...],
    retransmissions: int,
    learnt: Kept,
) -> Resting:
    """An idle sender; one object is shared by all with the same values, if these are few."""
    if retransmissions or not learnt.is_empty:
        return Resting(
            grows=grows,
            sealed_bytes=sealed_bytes,
            passed_bytes=passed_bytes,
            window=window,
            retransmissions=retransmissions,
            learnt=learnt,
        )
    return _alike(grows, sealed_bytes, passed_bytes, window)


@lru_cache(256)
def _alike(grows: bool, sealed_bytes: int, passed_bytes: int, window: tuple[float, ...]) -> Resting:
    return Resting(grows=grows, sealed_bytes=sealed_bytes, passed_bytes=passed_bytes, window=window)
