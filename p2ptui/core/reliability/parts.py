"""The parts of a sender, put together for the first message and taken apart when none is left."""

from p2ptui.config import ReliabilityOptions
from p2ptui.core.reliability.congestion import CongestionWindow
from p2ptui.core.reliability.deadlines import Deadlines
from p2ptui.core.reliability.fitting import Fitting
from p2ptui.core.reliability.numbering import Numbering
from p2ptui.core.reliability.outbox import Outbox, ResendBuffer
from p2ptui.core.reliability.path_mtu import PathMtu
from p2ptui.core.reliability.receiver_room import ReceiverRoom
from p2ptui.core.reliability.resting import NOTHING_KEPT, Kept, Resting, resting
from p2ptui.core.reliability.rtt import RttEstimator, SecondAcks
from p2ptui.core.reliability.skips import Skips
from p2ptui.core.reliability.transfers import Transfers
from p2ptui.core.reliability.turns import Turns


class SenderParts:
    """The parts of the sending half of one session.

    Args:
        options: `[reliability]` of the configuration.
        rtt: The path's round-trip estimator.
        first_sequence: Where the numbering starts; the first message has the number after it.
        datagram_bytes: Messages above this size travel in fragments at first.
        ceiling_bytes: Datagrams grow up to this size where the path carries it; None: they do not
            grow.
        rested: The remains of an earlier sender, which this one replaces.
        numbering: The earlier sender's numbering; None: a new one.
    """

    __slots__ = (
        "_deadlines",
        "_fitting",
        "_has_left_path",
        "_has_lost_path",
        "_options",
        "_outbox",
        "_resend",
        "_retransmissions",
        "_rtt",
        "_second_acks",
        "_transfers",
        "_turns",
        "_withdrawn",
        "numbering",
        "path",
        "room",
        "skips",
        "window",
    )

    def __init__(
        self,
        options: ReliabilityOptions,
        rtt: RttEstimator,
        first_sequence: int,
        datagram_bytes: int,
        ceiling_bytes: int | None = None,
        rested: Resting | None = None,
        numbering: Numbering | None = None,
    ) -> None:
        kept = NOTHING_KEPT if rested is None else rested.learnt
        self._options = options
        self._rtt = rtt
        self.path = kept.path or PathMtu(datagram_bytes, ceiling_bytes or datagram_bytes, rtt)
        self.window = CongestionWindow(
            datagram_bytes, options.initial_window, options.max_window, rtt
        )
        self.numbering = numbering or Numbering(first_sequence)
        self.skips = kept.skips or Skips(self.numbering, rtt, options.max_tries)
        self.room = kept.room or ReceiverRoom(rtt)
        self._outbox = Outbox(options.max_queued_bytes)
        self._turns = Turns(self._outbox, self.numbering, self.room)
        self._withdrawn: list[int] = []
        self._deadlines = Deadlines()
        self._second_acks = SecondAcks(rtt)
        self._resend = ResendBuffer(options.resend_buffer_bytes)
        self._transfers = Transfers(
            self._outbox, self.window, rtt, self._deadlines, self.path, options.max_tries
        )
        self._retransmissions = 0
        self._has_left_path = self._has_lost_path = False
        if rested is not None:
            self._retransmissions = rested.retransmissions
            self.path.resume(rested.sealed_bytes, rested.passed_bytes, grows=rested.grows)
            self.window.resume(self.path.size_bytes, rested.window)
        self._fitting = Fitting(self._outbox, self.window, self._transfers, self.room, self.path)

    @property
    def retransmissions(self) -> int:
        """Retransmitted datagrams."""
        return self._retransmissions + self._transfers.retransmissions

    @property
    def _is_idle(self) -> bool:
        """Whether there is nothing to do, however long one waits."""
        return not (
            len(self._outbox)
            or self._withdrawn
            or self._resend.due is not None
            or self.skips.next_timeout() is not None
        )

    def _resting(self) -> Resting:
        # A second Ack is no longer expected: acknowledged messages are kept longer than it takes.
        path = self.path
        self.numbering.join()
        kept = Kept(
            None if path.is_as_new else path,
            None if self.room.is_as_new else self.room,
            None if self.skips.is_as_new else self.skips,
        )
        return resting(
            path.grows,
            path.sealed_bytes,
            path.passed_bytes,
            self.window.learnt(),
            self.retransmissions,
            NOTHING_KEPT if kept.is_empty else kept,
        )
