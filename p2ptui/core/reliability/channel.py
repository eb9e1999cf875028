"""One session with a peer: both halves of reliability, and the round trip that they share."""

from typing import Final

from p2ptui.config import Config
from p2ptui.core.reliability.duplicates import (
    RELIABLE_IDS,
    UNRELIABLE_IDS,
    ReceivedSequences,
    RecentIds,
)
from p2ptui.core.reliability.fragments import Reassembly, ReassemblyBudget
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.core.reliability.sender import ReliableSender
from p2ptui.wire.message import Envelope

EARLIER_SESSIONS: Final = 4
"""Sessions of the same peer of which a late copy is still known: it may come and go quickly."""


class Channel:
    """What is under way to a peer, and what has come from it, in one session.

    A new session gets a new channel: its windows start afresh. Of the one before it only the
    numbers are remembered, so that what arrives late is not delivered a second time.

    Args:
        config: The node's configuration.
        first_sequence: Random start of this side's numbering.
        reassembly_budget: Shared by all peers.
        rtt: The estimator of an earlier session over the same path, if there was one.
        earlier: The numbers received in that session.
    """

    __slots__ = (
        "_earlier",
        "_reliable_ids",
        "_unreliable_ids",
        "reassembly",
        "rtt",
        "sender",
        "sequences",
    )

    def __init__(
        self,
        config: Config,
        first_sequence: int,
        reassembly_budget: ReassemblyBudget,
        rtt: RttEstimator | None = None,
        earlier: tuple[ReceivedSequences, ...] = (),
    ) -> None:
        options = config.reliability
        self._earlier = earlier
        self.rtt = rtt or RttEstimator(
            options.initial_rto_ms / 1000, options.min_rto_ms / 1000, options.max_rto_ms / 1000
        )
        self.sender = ReliableSender(
            options, self.rtt, first_sequence, config.server.datagram_budget
        )
        self.sequences = ReceivedSequences(
            options.reorder_wait_ms / 1000, options.retransmit_requests
        )
        self.reassembly = Reassembly(
            config.server.max_message_size,
            options.reassembly_bytes_per_peer,
            options.reassembly_timeout,
            reassembly_budget,
        )
        self._reliable_ids = RecentIds(RELIABLE_IDS)
        self._unreliable_ids = RecentIds(UNRELIABLE_IDS)

    @property
    def received(self) -> tuple[ReceivedSequences, ...]:
        """What came in this session and the ones before, newest first."""
        return (self.sequences, *self._earlier)

    def is_new(self, message: Envelope, *, numbered: bool, now: float) -> bool:
        """Remember a message; whether it has not come before.

        Args:
            message: What was received.
            numbered: Whether the peer numbers without holes what needs an Ack.
            now: The time, seconds.
        """
        if not message.requires_ack:
            return self._unreliable_ids.add(message.id)
        number = message.sequence_number
        if numbered and number is not None:
            for sequences in self.received:
                if sequences.covers(number):
                    return sequences.add(number, now)
        return self._reliable_ids.add(message.id)

    def next_timeout(self, now: float) -> float | None:
        """When something of this session is due next, or None."""
        return _earliest(self.sender.next_timeout(now), self.next_receive_timeout())

    def next_receive_timeout(self) -> float | None:
        """When something of the receiving half is due next, or None."""
        return _earliest(self.sequences.next_timeout(), self.reassembly.next_timeout())


def _earliest(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
